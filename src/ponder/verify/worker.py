"""A small pool of worker processes that are killed by wall clock: for work that may hang, crash or eat memory.

A worker is a fresh interpreter, never a fork: the same from the main thread, other threads, asyncio and forked
processes. It talks in lines of JSON over two pipes. It dies with its parent: by the kernel's parent-death signal, by
the end of its standard input, and, should both fail, by an alarm of its own a little after each request's time.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

START_S = 60.0  # imports on a loaded machine; a request's own time starts after
MAX_REPLY = 1 << 16
_ROOT = str(Path(__file__).resolve().parents[2])
_PROGRAM = (
    "import sys, json; sys.path[:0] = [{root!r}]; sys.path += json.loads({paths!r}); "
    "from {module} import main; main({settings!r})"
)


@dataclass(frozen=True)
class Reply:
    """value: what the worker answered, None where there is no answer. note: why not. ms: wall time, queue left out.

    timed_out: the clock struck or the worker died, and it was replaced. unavailable: no worker can be had at all.
    """

    value: Mapping[str, Any] | None
    note: str = ""
    ms: float = 0.0
    timed_out: bool = False
    unavailable: bool = False


@dataclass
class _Slot:
    """One place in the pool; its process is started when it is first used."""

    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    rest: bytes = b""
    served: int = 0


@dataclass
class Pool:
    """workers: processes at most. module: a module with `main(settings)`, which serves lines of JSON.

    settings: handed to it as text. recycle: requests after which a worker is replaced, so that no cache grows for ever.
    asked: requests answered so far.
    """

    module: str
    settings: str = "{}"
    workers: int = 2
    recycle: int = 5000
    asked: int = 0
    pid: int = field(default_factory=os.getpid)
    _idle: list[_Slot] = field(default_factory=list)
    _free: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False
    _all: list[_Slot] = field(default_factory=list)
    _broken: str = ""

    def __post_init__(self) -> None:
        self._all = [_Slot() for _ in range(max(1, self.workers))]
        self._idle = list(self._all)

    def ask(self, request: Mapping[str, Any], cap_s: float) -> Reply:
        """The worker's answer to `request`. cap_s: seconds from when a worker starts on it, then SIGKILL."""
        slot = self._take()
        if slot is None:
            return Reply(None, "the pool is closed", unavailable=True)
        try:
            return self._serve(slot, request, cap_s)
        except BaseException:  # an interrupt while a worker is busy: its answer would belong to nobody
            _kill(slot)
            raise
        finally:
            self._give(slot)

    def warm(self) -> str:
        """Starts one worker now. Returns why it could not, or nothing."""
        slot = self._take()
        if slot is None:
            return "the pool is closed"
        try:
            return self._start(slot)
        finally:
            self._give(slot)

    def pids(self) -> list[int]:
        """The processes that are alive."""
        return [slot.process.pid for slot in self._all if slot.process is not None and slot.process.poll() is None]

    def close(self) -> None:
        """Kills and reaps every worker. In a forked process it only forgets them: they are the parent's."""
        self._closed = True
        if self.pid != os.getpid():
            return
        with self._free:
            self._free.notify_all()
        for slot in self._all:
            _kill(slot)

    def _take(self) -> _Slot | None:
        if self.pid != os.getpid():  # held across a fork: the workers are the parent's, and so was the lock
            for slot in self._all:
                _disown(slot)
            self.pid, self._free = os.getpid(), threading.Condition()
            self.__post_init__()
        with self._free:
            while not self._idle and not self._closed:
                self._free.wait()
            if self._closed:
                return None
            # one that runs already, before another is started
            best = max(range(len(self._idle)), key=lambda at: self._idle[at].process is not None)
            return self._idle.pop(best)

    def _give(self, slot: _Slot) -> None:
        with self._free:
            self._idle.append(slot)
            self._free.notify()

    def _serve(self, slot: _Slot, request: Mapping[str, Any], cap_s: float) -> Reply:
        for attempt in (0, 1):  # a worker that died while idle is not the request's fault: one more try, on a new one
            trouble = self._start(slot)
            if trouble:
                return Reply(None, trouble, unavailable=True)
            began = time.perf_counter()
            line = json.dumps({**request, "cap_s": cap_s}).encode() + b"\n"
            assert slot.process is not None and slot.process.stdin is not None
            try:
                sent = 0
                while sent < len(line):
                    sent += os.write(slot.process.stdin.fileno(), line[sent:])
            except OSError:
                _kill(slot)
                if attempt == 0:
                    continue
                return Reply(None, "the worker died", timed_out=True)
            answer = _line(slot, began + cap_s)
            ms = (time.perf_counter() - began) * 1000
            break
        if answer is None:
            clock = ms >= cap_s * 1000
            _kill(slot)
            return Reply(None, f"no answer within {cap_s:g} s" if clock else "the worker died", ms, timed_out=True)
        value = _object(answer)
        if value is None:
            _kill(slot)
            return Reply(None, "the worker's answer could not be read", ms, timed_out=True)
        slot.served += 1
        with self._free:
            self.asked += 1
        if slot.served >= self.recycle or value.get("last"):
            _kill(slot)
        return Reply(value, "", ms)

    def _start(self, slot: _Slot) -> str:
        """A running worker in `slot`; why there is none, otherwise. Only a missing module is remembered."""
        if self._broken:
            return self._broken
        if slot.process is not None and slot.process.poll() is None and slot.ready:
            return ""
        _kill(slot)
        try:
            slot.process = _spawn(self.module, self.settings)
        except OSError as error:
            return f"no worker process: {error.strerror or error}"
        answer = _line(slot, time.perf_counter() + START_S)
        greeting = (_object(answer) if answer else None) or {"error": f"the worker did not start within {START_S:g} s"}
        slot.ready = "error" not in greeting
        if slot.ready:
            return ""
        _kill(slot)
        if greeting.get("missing"):
            self._broken = str(greeting["error"])
        return str(greeting["error"])


_pools: dict[tuple[str, str, int], Pool] = {}
_lock = threading.Lock()
_jobs: SimpleQueue[tuple[str, str, Future[subprocess.Popen[bytes]]]] | None = None


def _spawn(module: str, settings: str) -> subprocess.Popen[bytes]:
    """A new process, started by one thread that lives as long as this process.

    The parent-death signal comes when the THREAD that started a child ends, so a passing thread must not be the one.
    """
    global _jobs
    with _lock:
        if _jobs is None:
            jobs: SimpleQueue[tuple[str, str, Future[subprocess.Popen[bytes]]]] = SimpleQueue()
            try:
                threading.Thread(target=_spawner, args=(jobs,), name="ponder-spawner", daemon=True).start()
            except RuntimeError:  # the interpreter is shutting down and starts no thread
                return _popen(module, settings)
            _jobs = jobs
    answer: Future[subprocess.Popen[bytes]] = Future()
    _jobs.put((module, settings, answer))
    return answer.result()


def _spawner(jobs: SimpleQueue[tuple[str, str, Future[subprocess.Popen[bytes]]]]) -> None:
    while True:
        module, settings, answer = jobs.get()
        try:
            answer.set_result(_popen(module, settings))
        except BaseException as error:  # handed to the thread that asked
            answer.set_exception(error)


def _popen(module: str, settings: str) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(
        root=_ROOT, paths=json.dumps([one for one in sys.path if one]), module=module, settings=settings
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # gmpy2 holds the interpreter in C; the same hash seed everywhere gives the same verdict everywhere
    fixed = {"PYTHONHASHSEED": "0", "SYMPY_GROUND_TYPES": "python", "MPMATH_NOGMPY": "1", "OMP_NUM_THREADS": "1"}
    fixed |= {"PONDER_PARENT": str(os.getpid()), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=kept | fixed,
        cwd="/",
        close_fds=True,
        start_new_session=True,  # Ctrl-C in the terminal is the parent's to handle
    )


def _line(slot: _Slot, deadline: float) -> bytes | None:
    """The next line from the worker; None when it ended, said too much, or `deadline` (perf_counter) has passed."""
    assert slot.process is not None and slot.process.stdout is not None
    descriptor = slot.process.stdout.fileno()
    watch = select.poll()
    watch.register(descriptor, select.POLLIN | select.POLLHUP)
    while b"\n" not in slot.rest:
        left = deadline - time.perf_counter()
        if left <= 0 or len(slot.rest) > MAX_REPLY:
            return None
        if watch.poll(left * 1000 + 1):
            got = os.read(descriptor, MAX_REPLY)
            if not got:
                return None
            slot.rest += got
    line, slot.rest = slot.rest.split(b"\n", 1)
    return line


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _kill(slot: _Slot) -> None:
    process, slot.process, slot.ready, slot.rest, slot.served = slot.process, None, False, b"", 0
    if process is None:
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def shared_pool(module: str, settings: str = "{}", workers: int = 2) -> Pool:
    """The process-wide pool with these settings; a forked process gets its own. Closed when the interpreter exits."""
    with _lock:
        pool = _pools.get((module, settings, workers))
        if pool is None or pool._closed:
            pool = _pools[module, settings, workers] = Pool(module, settings, workers)
        return pool


def close_pools() -> None:
    """Ends every worker of this process; the next request starts new ones."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


def _disown(slot: _Slot) -> None:
    if slot.process is not None:
        slot.process.returncode = 0  # nobody here waits for another's child
        for pipe in (slot.process.stdin, slot.process.stdout):
            with contextlib.suppress(OSError, AttributeError):
                pipe.close()  # type: ignore[union-attr]
        slot.process = None


def _forget() -> None:
    """In a forked process: the parent's workers are not ours, nor may we hold their pipes open."""
    global _lock, _jobs
    _lock, _jobs = threading.Lock(), None  # the lock may have been held at the fork; the thread is the parent's
    for pool in _pools.values():
        for slot in pool._all:
            _disown(slot)
    _pools.clear()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_pools)
