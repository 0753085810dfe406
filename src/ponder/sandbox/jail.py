"""The jail: run untrusted programs behind the strongest walls that this machine proves to hold, or not at all."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType

from ponder.core.errors import PonderError
from ponder.core.records import usable_cores
from ponder.sandbox import canaries
from ponder.sandbox import worker as workers_
from ponder.sandbox.child import Child, driver_bytes
from ponder.sandbox.limits import Limits, Outcome, SandboxUnavailable
from ponder.sandbox.worker import TIERS, Worker, WorkerFailed

RECYCLE = 10_000  # programs after which a worker is replaced: what little a zygote keeps of each stays bounded

MODES = {
    "auto": ("full", "full without landlock", "nons"),
    "full": ("full", "full without landlock"),
    "nons": ("nons",),
    "weak": ("weak",),
}


class Sandbox:
    """A pool of walled workers. Thread-safe; a forked process gets workers of its own. Use `with`, or `close`.

    mode: "auto" takes the strongest tier that passes its proof; "full" and "nons" ask for one; "weak" is limits without
        walls, for programs that are trusted: it is never chosen by itself.
    workers: programs that may run at once; None for one a core (less one from 5 cores on), at most 8. A thread that has
        one child open may always open another, whatever the number.
        Each may use Limits.memory_mb of memory; where the host runs out, the kernel ends programs first.
    packages: installed packages, loaded beforehand, that programs may import ("numpy").
    Raises SandboxUnavailable where no tier holds, PonderError for a mistake in the arguments.
    """

    def __init__(self, mode: str = "auto", workers: int | None = None, packages: Sequence[str] = ()) -> None:
        if mode not in MODES:
            raise PonderError(f"sandbox mode {mode!r} is unknown; use auto, full, nons or weak")
        if workers is not None and workers < 1:
            raise PonderError(f"sandbox workers is {workers}; it must be at least 1")
        self.mode, self.packages = mode, tuple(packages)
        cores = usable_cores()
        self.workers = workers or (cores if cores <= 4 else min(8, cores - 1))
        self._closed = False
        self._forget()
        self.tier, first = prove(mode, self.packages)
        self._idle.append(first)
        _sandboxes.add(self)

    def _forget(self) -> None:
        """Starts without workers: at first, and in a forked process, whose parent keeps those there are."""
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a forgotten child may be closed by the collector, inside a locked part
        self._idle: list[Worker] = []
        self._slots = threading.BoundedSemaphore(self.workers)
        self._holding: dict[int, int] = {}

    def run(self, program: str, stdin: bytes = b"", limits: Limits | None = None) -> Outcome:
        """Runs a program as `python main.py < stdin` would. Never raises for what the program does.

        Where the machinery fails it is tried again, once more than there are idle workers (all of them may have died at
        once, and a dying one cannot be told from a live one); then the status is "infra", unknown, never wrong.
        """
        limits = limits or Limits()
        body = program.encode("utf-8", "surrogatepass")
        with self._lock:
            tries = 2 + len(self._idle)
        for _ in range(tries):
            try:
                outcome = self._begin(body, None, stdin, limits).wait()
            except (WorkerFailed, OSError) as error:  # no descriptors, no memory, no processes left on this host
                outcome = Outcome("infra", b"", "", 0.0, 0.0, None, f"the sandbox cannot start a program: {error}")
            if outcome.status != "infra":
                break
        return outcome

    def open(self, driver: str, payload: bytes = b"", limits: Limits | None = None) -> Child:
        """A walled process in which the trusted source `driver` runs, with the names `payload` (bytes), `read_frame()`
        (bytes or None) and `write_frame(bytes)`. What the driver runs may speak in its place: no frame is a proof.
        """
        try:
            return self._begin(driver_bytes(driver), payload, b"", limits or Limits())
        except (WorkerFailed, OSError) as error:
            raise SandboxUnavailable(
                f"the sandbox cannot start a program: {error}; free memory or descriptors"
            ) from error

    def close(self) -> None:
        """Ends all idle workers; those in use end with their program."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.stop()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, body: bytes, payload: bytes | None, stdin: bytes, limits: Limits) -> Child:
        if limits.scratch and not TIERS[self.tier].namespaces:
            raise SandboxUnavailable(
                f"scratch space needs namespaces, and this sandbox is {self.tier!r}; run without scratch, or in a "
                "container that allows user namespaces"
            )
        if self._pid != os.getpid():
            self._forget()
        thread = threading.get_ident()
        with self._lock:
            nested = self._holding.get(thread, 0) > 0
        slots = None if nested else self._slots
        if slots is not None:
            slots.acquire()
        try:
            worker = self._take()
        except BaseException:
            if slots is not None:
                slots.release()
            raise
        with self._lock:
            self._holding[thread] = self._holding.get(thread, 0) + 1
        done = self._give_back(worker, thread, slots)
        try:
            return Child(worker, body, payload, stdin, limits, done)
        except BaseException:
            done(False)
            raise

    def _take(self) -> Worker:
        with self._lock:
            if self._closed:
                raise PonderError("this sandbox is closed; open another")
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    return worker
                worker.stop()
        try:
            return workers_.start(TIERS[self.tier], self.packages)
        except WorkerFailed:
            return workers_.start(TIERS[self.tier], self.packages)

    def _give_back(
        self, worker: Worker, thread: int, slots: threading.BoundedSemaphore | None
    ) -> Callable[[bool], None]:
        def done(healthy: bool) -> None:
            with self._lock:
                left = self._holding.get(thread, 1) - 1
                self._holding[thread] = left
                if not left:
                    del self._holding[thread]
                keep = healthy and not self._closed and worker.jobs < RECYCLE and len(self._idle) < 2 * self.workers
                if keep and worker.owner == os.getpid():
                    self._idle.append(worker)
            if slots is not None:
                slots.release()
            if not keep:
                worker.stop()

        return done


_proved: set[str] = set()


def prove(mode: str, packages: Sequence[str]) -> tuple[str, Worker]:
    """The strongest tier of `mode` that holds, and its first worker. Raises SandboxUnavailable where none does."""
    failed = []
    for tier in MODES[mode]:
        try:
            worker = workers_.start(TIERS[tier], packages)
            leaks = [] if tier == "weak" or tier in _proved else canaries.failures(worker)
        except (WorkerFailed, OSError) as error:
            failed.append(f"{tier}: {error}")
            continue
        if not leaks:
            _proved.add(tier)
            return tier, worker
        worker.stop()
        failed.append(f"{tier}: {'; '.join(leaks[:3])}{f' and {len(leaks) - 3} more' if len(leaks) > 3 else ''}")
    raise SandboxUnavailable(
        f"this machine cannot wall programs off, so none is run ({' | '.join(failed)}). Ways out: a remote endpoint "
        "(SandboxFusion, Piston, E2B); a Linux container or virtual machine that allows user namespaces or Landlock; "
        "or mode 'weak', limits without walls, for programs that you trust"
    )


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()
_shared: dict[str, Sandbox] = {}
_shared_lock = threading.Lock()


def get_sandbox(mode: str = "auto") -> Sandbox:
    """The sandbox that this process shares, started at first use and closed at exit. Raises as `Sandbox`."""
    with _shared_lock:
        if mode not in _shared or _shared[mode]._closed:
            _shared[mode] = Sandbox(mode)
        return _shared[mode]


def _close_all() -> None:
    for sandbox in list(_sandboxes):
        with contextlib.suppress(Exception):
            sandbox.close()


def _after_fork() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    workers_.forget_lock()
    for sandbox in list(_sandboxes):
        inherited = sandbox._idle
        sandbox._forget()
        for worker in inherited:
            worker.link.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
