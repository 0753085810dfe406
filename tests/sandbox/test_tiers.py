"""The tier is chosen by proof; where none holds nothing runs, and the message says why and what to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ponder.sandbox import jail as jail_module
from ponder.sandbox import worker
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import SandboxUnavailable

linux = pytest.mark.skipif(sys.platform != "linux", reason="filters are Linux's")

SIMULATED = """
import errno, json, struct, sys
from ponder.sandbox import kernel, seccomp
denied, no_filters, mode = json.loads(sys.argv[1])
numbers = {"unshare": (272, 97), "mount": (165, 40), "setns": (308, 268), "pivot_root": (155, 41)}
numbers |= {"landlock": (444, 444), "memfd_create": (319, 279)}
arch, column = seccomp.AUDIT_ARCH[kernel.MACHINE]
steps = [(0x20, 0, 0, 0)]
for name in denied:
    answer = 0x50000 | (errno.ENOSYS if name == "landlock" else errno.EPERM)
    steps += [(0x15, 0, 1, numbers[name][column]), (0x06, 0, 0, answer)]
if no_filters:  # prctl(PR_SET_SECCOMP) fails, as on a kernel without it
    steps += [(0x15, 0, 3, seccomp.RULED["prctl"][column]), (0x20, 0, 0, 16), (0x15, 0, 1, 22)]
    steps += [(0x06, 0, 0, 0x50000 | errno.EINVAL)]
steps.append((0x06, 0, 0, 0x7FFF0000))
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(b"".join(struct.pack("=HBBI", *step) for step in steps))
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import SandboxUnavailable
try:
    with Sandbox(mode, workers=1) as jail:
        print(json.dumps([jail.tier, jail.run("print(1)").stdout.decode()]))
except SandboxUnavailable as error:
    print(json.dumps(["refused", str(error)]))
"""


def simulated(denied: list[str], no_filters: bool = False, mode: str = "auto") -> list[str]:
    """[tier, output] or ["refused", message] of a sandbox on a machine where these calls are refused by a filter."""
    asked = json.dumps([denied, no_filters, mode])
    done = subprocess.run([sys.executable, "-c", SIMULATED, asked], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def works(tier: str) -> bool:
    try:
        worker.start(worker.TIERS[tier]).stop()
    except worker.WorkerFailed:
        return False
    return True


NAMESPACES = ["unshare", "mount", "setns", "pivot_root"]


@linux
def test_a_container_that_refuses_namespaces_gets_the_second_tier():
    if not works("nons"):
        pytest.skip("this machine has no Landlock")
    assert simulated(NAMESPACES) == ["nons", "1\n"]
    assert simulated(["mount"]) == ["nons", "1\n"]


@linux
def test_a_kernel_without_landlock_keeps_the_first_tier_without_it():
    if not works("full without landlock"):
        pytest.skip("this machine has no user namespaces")
    for mode in ("auto", "full"):
        assert simulated(["landlock"], mode=mode) == ["full without landlock", "1\n"]


@linux
def test_a_kernel_that_cannot_come_back_from_a_pid_namespace_does_without():
    if not works("full"):
        pytest.skip("this machine has no user namespaces")
    assert simulated(["setns"]) == ["full", "1\n"]


@linux
@pytest.mark.parametrize("mode", ["auto", "full", "nons"])
def test_with_neither_nothing_runs(mode):
    tier, message = simulated([*NAMESPACES, "landlock"], mode=mode)
    assert tier == "refused" and "\n" not in message
    assert message.startswith("this machine cannot wall programs off, so none is run (")
    for named in jail_module.MODES[mode]:
        assert f"{named}: " in message
    if mode != "nons":
        assert "unshare: Operation not permitted" in message
    if mode != "full":
        assert "landlock_create: Function not implemented" in message
    for way_out in ("remote endpoint", "container", "'weak'"):
        assert way_out in message


@linux
def test_without_filters_nothing_runs():
    tier, message = simulated([], no_filters=True)
    assert tier == "refused" and "prctl 22" in message


@linux
def test_weak_is_not_a_fallback_and_works_where_all_else_fails():
    assert simulated([*NAMESPACES, "landlock"], no_filters=True, mode="weak") == ["weak", "1\n"]


def test_a_tier_whose_canaries_get_through_is_not_used(monkeypatch):
    monkeypatch.setattr(jail_module, "_proved", set())
    monkeypatch.setitem(worker.TIERS, "nons", worker.Tier())  # its walls do not go up, and nothing says so
    leaks = ["reads a file of the host", "starts a process", "sends a datagram", "signals its owner"]
    monkeypatch.setattr(jail_module.canaries, "failures", lambda one: leaks)
    with pytest.raises(SandboxUnavailable, match="nons: reads a file of the host; starts .* and 1 more"):
        Sandbox("nons")


@linux
def test_a_tier_is_proved_once_in_a_process(monkeypatch):
    asked = []
    monkeypatch.setattr(jail_module, "_proved", set())
    monkeypatch.setattr(jail_module.canaries, "failures", lambda one: asked.append(one) or [])
    for _ in range(2):
        try:
            Sandbox("auto", workers=1).close()
        except SandboxUnavailable as error:
            pytest.skip(str(error))
    assert len(asked) == 1
