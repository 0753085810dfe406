"""What the walls refuse, wall by wall; and that each attack succeeds where its wall is taken away."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ponder.sandbox import canaries, landlock, mounts, worker
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import Limits, SandboxUnavailable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")


@pytest.fixture(scope="module", params=["full", "nons"])
def jail(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        sandbox = Sandbox(request.param, workers=1)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with sandbox:
        yield sandbox


def refused(jail: Sandbox, expression: str, setup: str = "") -> str:
    """The name of the error that the expression raises behind the walls, or "done"."""
    program = f"import ctypes, os, socket, resource, signal\n{setup}\ntry:\n    {expression}\n    print('done')\n"
    program += "except OSError as error:\n    import errno\n    print(errno.errorcode[error.errno])\n"
    outcome = jail.run(program, limits=Limits(cpu_s=2))
    assert outcome.status == "ok", outcome
    return outcome.stdout.decode().strip()


def test_the_files_of_the_host_are_out_of_sight(jail, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o666)
    for path in (secret, Path("/etc/passwd"), Path("/proc/self/environ"), Path("/proc/1/cmdline"), Path(__file__)):
        assert refused(jail, f"open({str(path)!r})") in ("ENOENT", "EACCES")
        assert refused(jail, f"open({str(path)!r}, 'w')") in ("ENOENT", "EACCES", "EROFS")
    for call in ("unlink", "rmdir", "mkdir", "readlink", "listdir"):
        assert refused(jail, f"os.{call}({str(secret)!r})") != "done"
    for call in ("chmod({!r}, 0)", "truncate({!r}, 0)", "utime({!r})", "rename({!r}, '/x')", "symlink({!r}, '/x')"):
        assert refused(jail, "os." + call.format(str(secret))) != "done"
    assert secret.read_text() == "secret" and secret.stat().st_mode & 0o777 == 0o666
    if jail.tier != "nons":
        assert refused(jail, f"os.stat({str(secret)!r})") == "ENOENT"


def test_the_standard_library_is_readable_and_nothing_else(jail):
    assert refused(jail, "import difflib, xml.dom.minidom, unittest, sqlite3, zoneinfo") == "done"
    assert refused(jail, "open(os.__file__, 'ab')") in ("EROFS", "EACCES")
    assert (
        refused(jail, "open('/dev/null', 'w').write('x'); os.urandom(8); open('/dev/urandom', 'rb').read(1)") == "done"
    )
    assert refused(jail, "open('/dev/mem')") != "done"


def test_no_process_no_signal_no_rights(jail):
    victim = os.getpid()
    for call in ("os.fork()", "os.execv('/bin/true', ['x'])", "os.posix_spawn('/bin/true', ['x'], {})", "os.kill(1, 0)",
                 f"os.kill({victim}, 0)", "os.killpg(0, 9)", "os.setuid(0)", "os.chroot('/')", "os.nice(-1)",
                 "os.setsid()", "os.sched_setaffinity(0, {0})", "resource.prlimit(1, resource.RLIMIT_CPU)",
                 "os.memfd_create('x')", "os.pidfd_open(os.getpid())", "os.mknod('/tmp/x')"):  # fmt: skip
        assert refused(jail, call) in ("EPERM", "EACCES"), call
    assert refused(jail, "signal.raise_signal(9)") == "EPERM"
    identity = jail.run("import os; print(os.getuid(), os.geteuid(), os.getgroups())").stdout.split()
    assert b"0" not in identity[:2] or jail.tier == "nons"


def test_no_network(jail):
    for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"):
        assert refused(jail, f"socket.socket(socket.{family}, socket.SOCK_STREAM)") == "EPERM"
    assert refused(jail, "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)") == "EPERM"
    assert refused(jail, "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'") == "done"


def test_limits_hold_and_cannot_be_raised(jail):
    for name in ("CPU", "DATA", "AS", "FSIZE", "NOFILE", "NPROC", "CORE"):
        soft = f"soft, hard = resource.getrlimit(resource.RLIMIT_{name}); assert soft == hard != -1"
        assert refused(jail, "pass", setup=soft) == "done"
    raised = "resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))"
    assert jail.run(f"import resource\n{raised}").status == "raised"
    assert refused(jail, "[os.dup(1) for _ in range(100)]") == "EMFILE"
    threads = "import threading, time\nfor n in range(2000):\n "
    threads += "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    assert jail.run(threads, limits=Limits(cpu_s=3)).stderr.strip().endswith("can't start new thread")
    big = jail.run("x = bytearray(200 << 20)", limits=Limits(memory_mb=128))
    assert big.status == "memory" and big.note == "it needed more than 128 MiB"


def test_memory_outside_the_data_limit_is_bounded_too(jail):
    grab = "import mmap\nkept = [mmap.mmap(-1, 64 << 20, flags={}) for _ in range(64)]"
    assert jail.run(grab.format("mmap.MAP_SHARED")).status == "raised"  # not at all
    assert jail.run(grab.format("mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS"), limits=Limits(memory_mb=256)).status != "ok"


def test_a_foreign_descriptor_is_not_there(jail):
    opened = "print(sum(ok(fd) for fd in range(300)))"
    setup = "import os\ndef ok(fd):\n    try: os.fstat(fd); return True\n    except OSError: return False\n"
    assert jail.run(setup + opened).stdout == b"3\n"
    with jail.open(setup + "write_frame(str(sum(ok(fd) for fd in range(300))).encode())") as child:
        assert child.receive() == b"5"


ABLATIONS = [
    (worker.Tier(namespaces=True, landlock=True, seccomp=True), None),
    (worker.Tier(namespaces=True, seccomp=True), None),
    (worker.Tier(landlock=True, seccomp=True), None),
    (worker.Tier(namespaces=True, landlock=True), "starts a process"),
    (worker.Tier(landlock=True), "sends a datagram"),
    (worker.Tier(seccomp=True), "reads a file of the host"),
]


@pytest.mark.parametrize(("tier", "leak"), ABLATIONS, ids=str)
def test_canaries_tell_which_wall_is_missing(tier, leak):
    try:
        one = worker.start(tier)
    except worker.WorkerFailed as error:
        pytest.skip(str(error))
    try:
        leaks = canaries.failures(one)
    finally:
        one.stop()
    assert leaks == [] if leak is None else leak in leaks


def test_the_readable_paths_are_no_homes():
    paths = mounts.readable_paths([])
    assert any(path in (os.path.dirname(os.__file__), "/usr/lib") for path in paths)
    for path in paths:
        assert path not in mounts.NEVER and not Path(__file__).is_relative_to(path)


def test_landlock_answers_with_a_version_or_an_error():
    try:
        assert landlock.abi() >= 1
    except OSError as error:
        pytest.skip(f"no Landlock here: {error}")
    with pytest.raises(OSError, match="landlock_restrict"):
        landlock.restrict(-1)


def test_the_attack_program_of_the_proof_does_break_things_without_walls(tmp_path):
    # A canary that could not succeed anywhere would prove nothing. Harmless parts only, without any walls.
    script = (
        canaries.ATTACKS.split('attack("reads a file')[0]
        + "attack('reads', lambda: read(at['token']))\nprint(breached)"
    )
    token = tmp_path / "token"
    token.write_text("x")
    with Sandbox("weak", workers=1) as jail:
        assert jail.run(script, json.dumps({"token": str(token)}).encode()).stdout == b"['reads']\n"
