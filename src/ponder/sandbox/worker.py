"""One zygote, seen from the owner: start it, give it a program, read what came of it. All reads have a deadline."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import itertools
import os
import platform
import queue
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponder.sandbox.limits import Limits
from ponder.sandbox.zygote import hear, say

START_S = 60.0  # a loaded host may take long to start a process
GRACE_S = 20.0  # for the zygote to report what it was told to kill

BOOT = """
import sys, types
for name in ("ponder", "ponder.sandbox"):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
module.__path__.append(sys.argv[1])
from ponder.sandbox import zygote
zygote.main()
"""
ENVIRONMENT = {  # a fixed hash seed: the order of a set must not differ between two runs
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LANG": "C.UTF-8",
}


PER_NAMESPACE = [*map(int, re.findall(r"\d+", platform.release())[:2])] >= [5, 14]
_started = itertools.count()


class WorkerFailed(Exception):
    """The machinery failed, not the program."""


@dataclass(frozen=True)
class Tier:
    """Which walls a tier has."""

    namespaces: bool = False
    landlock: bool = False
    seccomp: bool = False


TIERS = {  # strongest first
    "full": Tier(namespaces=True, landlock=True, seccomp=True),
    "full without landlock": Tier(namespaces=True, seccomp=True),
    "nons": Tier(landlock=True, seccomp=True),
    "weak": Tier(),
}


class Worker:
    """A zygote and the socket to it. Not thread-safe: it has one user at a time."""

    def __init__(
        self, process: subprocess.Popen[bytes], link: socket.socket, hello: dict[str, Any], tier: Tier
    ) -> None:
        self.process, self.link, self.hello, self.tier = process, link, hello, tier
        self.jobs = 0
        self.owner = os.getpid()

    def listen(self, timeout_s: float) -> tuple[dict[str, Any], list[int]] | None:
        """The next message, or None after `timeout_s`. Raises WorkerFailed where the zygote has gone."""
        if not readable(self.link, timeout_s):
            return None
        try:
            heard = hear(self.link)
        except (OSError, ValueError) as error:
            raise WorkerFailed(f"the sandbox worker broke off: {error}") from error
        if heard is None:
            raise WorkerFailed("the sandbox worker ended")
        return heard

    def tell(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        """Sends a message. Raises WorkerFailed where the zygote has gone."""
        try:
            say(self.link, message, fds)
        except OSError as error:
            raise WorkerFailed(f"the sandbox worker ended: {error}") from error

    def stop(self) -> None:
        """Ends the zygote and with it whatever it runs."""
        self.link.close()
        if self.owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)


def readable(source: socket.socket | int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def start(tier: Tier, packages: Sequence[str] = ()) -> Worker:
    """A worker behind the walls of `tier`, with `packages` preloaded. Raises WorkerFailed saying which wall failed."""
    config = {
        "owner": os.getpid(),
        "namespaces": tier.namespaces,
        "landlock": tier.landlock,
        "seccomp": tier.seccomp,
        "uid": 0x3F000000 + (os.getpid() * 64 + next(_started)) % 0x1000000,
        **_packages(tuple(packages)),
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryFile() as complaints:
        try:
            process = _in_lasting_thread(lambda: _spawn(theirs.fileno(), complaints.fileno()))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = Worker(process, ours, {}, tier)
        try:
            worker.tell(config)
            heard = worker.listen(START_S)
            if heard is None:
                raise WorkerFailed(f"the sandbox worker did not start within {START_S:.0f} s")
        except WorkerFailed as error:
            worker.stop()
            complaints.seek(0)
            said = complaints.read()[-400:].decode("utf-8", "replace").strip().splitlines()
            raise WorkerFailed(f"{error}{': ' + said[-1] if said else ''}") from error
        if "error" in heard[0]:
            worker.stop()
            raise WorkerFailed(str(heard[0]["error"]))
        worker.hello = heard[0]
        return worker


def _spawn(fd: int, complaints: int) -> subprocess.Popen[bytes]:
    executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    # The control socket must be descriptor 3 in the child, whatever is open here.
    command = [executable, "-s", "-S", "-P", "-X", "utf8", "-c", f"import os; os.dup2({fd}, 3)\n" + BOOT]
    return subprocess.Popen(
        [*command, str(Path(__file__).parent)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        pass_fds=(fd,),
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


@functools.cache
def _packages(names: tuple[str, ...]) -> dict[str, list[str]]:
    """Where the packages are. Raises WorkerFailed for one that is not installed."""
    readable: list[str] = []
    path: list[str] = []
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or not found.origin:
            raise WorkerFailed(f"package {name} is not installed, so programs cannot have it")
        origin = Path(found.origin)
        root = origin.parent.parent if origin.name == "__init__.py" else origin.parent
        readable.append(str(origin.parent if origin.name == "__init__.py" else origin))
        readable += [str(root / f"{name}.libs")]
        path += [str(root)] if str(root) not in path else []
    return {"preload": list(names), "readable": readable, "path": path}


_spawner: tuple[int, queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]]] | None = None
_spawner_lock = threading.Lock()


def _in_lasting_thread(work: Callable[[], Any]) -> Any:
    """`work` in a thread that lasts: what the kernel ties to a parent, it ties to the thread that forked."""
    global _spawner
    with _spawner_lock:
        if _spawner is None or _spawner[0] != os.getpid():
            jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
            threading.Thread(target=_spawn_loop, args=(jobs,), name="sandbox-spawner", daemon=True).start()
            _spawner = (os.getpid(), jobs)
        future: Future[Any] = Future()
        _spawner[1].put((work, future))
    return future.result()


def forget_lock() -> None:
    """In a forked process, whose parent may have held it."""
    global _spawner_lock
    _spawner_lock = threading.Lock()


def _spawn_loop(jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]]) -> None:
    while True:
        work, future = jobs.get()
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)


def memory_file(content: bytes = b"", sealed: bool = False) -> int:
    """A descriptor of a file in memory; sealed, nobody can change it any more."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            return os.dup(file.fileno())
    fd = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    if sealed:
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        )
    return fd


def job_message(limits: Limits, program_bytes: int, frames: bool, worker: Worker) -> dict[str, Any]:
    """What the zygote is told of a job; the program itself goes in a memory file."""
    # RLIMIT_NPROC counts all threads of a user; in a user namespace those inside it, the zygote and its guard.
    alone = worker.tier.namespaces and PER_NAMESPACE or worker.hello.get("dedicated")
    return {
        "job": {
            "cpu_s": limits.cpu_s,
            "memory_mb": limits.memory_mb,
            "output_bytes": limits.output_bytes,
            "open_files": limits.open_files,
            "threads": limits.threads,
            "scratch": limits.scratch,
            "scratch_mb": limits.scratch_mb,
            "processes": 4 if alone else 256 + threads_of_user(),
            "program_bytes": program_bytes,
            "frames": frames,
        }
    }


_counted: tuple[float, int] = (-1e9, 0)


def threads_of_user() -> int:
    """Threads of this user on the host, counted at most every ten seconds: RLIMIT_NPROC counts them all."""
    global _counted
    if time.monotonic() - _counted[0] > 10:
        total, uid = 0, os.getuid()
        for entry in os.scandir("/proc") if os.path.isdir("/proc") else ():
            with contextlib.suppress(OSError, ValueError):
                if entry.name.isdigit() and entry.stat().st_uid == uid:
                    with open(f"/proc/{entry.name}/stat", "rb") as file:
                        total += int(file.read().rsplit(b")", 1)[1].split()[17])
        _counted = (time.monotonic(), total)
    return _counted[1]


def waiting_s(pidfd: int) -> float | None:
    """Seconds that a process has been ready to run and was not let; None where the kernel does not tell.

    /proc/<pid>/task/*/schedstat, whose second field is nanoseconds in the run queue: the most of any thread.
    """
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as info:
            pid = next(int(line.split()[1]) for line in info if line.startswith("Pid:"))
        delays = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                delays.append(int(file.read().split()[1]))
        return max(delays) / 1e9
    except (OSError, ValueError, IndexError, StopIteration):
        return None
