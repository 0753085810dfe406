"""What a program in the jail may use, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ponder.core.errors import PonderError

Status = Literal[
    "ok",  # ended with exit code 0
    "raised",  # an uncaught exception, or another exit code
    "load-error",  # it does not compile
    "timeout-cpu",  # used up its CPU seconds
    "timeout-wall",  # slept, waited or stood still for longer than the wall-clock backstop
    "memory",  # MemoryError, or killed by the kernel while large
    "crash",  # a fatal signal of its own making: SIGSEGV, SIGABRT, ...
    "killed",  # killed by the walls (a forbidden system call interface) or closed by the caller before its end
    "output-limit",  # wrote more than output_bytes
    "protocol",  # broke the frame protocol: a frame over 1 MiB, or more than 16 MiB in all
    "infra",  # the machinery failed, not the program: its verdict is unknown, never wrong
]

FRAME_BYTES = 1 << 20  # the largest frame either side may send
TOTAL_BYTES = 16 << 20  # the most that a child may send in all
STDERR_TAIL = 4096  # characters of standard error that an outcome keeps


class SandboxUnavailable(PonderError):
    """This machine cannot wall a program off, so it is not run. Names each tier, why it failed and the ways out."""


@dataclass(frozen=True)
class Limits:
    """Limits of one program.

    cpu_s: CPU seconds of all its threads. This decides time-outs: wall time would turn a loaded host into wrong scores.
    wall_s: backstop in seconds for programs that sleep; None means 2 * cpu_s + 2. Time that the program waited for a
        processor is not counted, nor is time during which nobody waits for a `Child`.
    memory_mb: MiB of private memory (RLIMIT_DATA; the address space may be 1 GiB larger).
    output_bytes: bytes of standard output, and as many of standard error.
    open_files, threads: descriptors and threads it may have.
    scratch: a private, writable /tmp of scratch_mb MiB that is gone with the program.
    """

    cpu_s: float = 6.0
    wall_s: float | None = None
    memory_mb: int = 1024
    output_bytes: int = 1 << 20
    open_files: int = 64
    threads: int = 64
    scratch_mb: int = 16
    scratch: bool = False

    def __post_init__(self) -> None:
        leasts = {"cpu_s": 0.01, "memory_mb": 32, "output_bytes": 1, "open_files": 16, "threads": 1, "scratch_mb": 1}
        for name, least in leasts.items():
            value = getattr(self, name)
            if not least <= value < 1e9:
                raise PonderError(f"Limits.{name} is {value!r}; it must be at least {least} and finite")
        if self.wall_s is not None and not 0.01 <= self.wall_s < 1e9:
            raise PonderError(f"Limits.wall_s is {self.wall_s!r}; it must be at least 0.01, or None for 2 * cpu_s + 2")

    @property
    def wall(self) -> float:
        """The wall-clock backstop in seconds."""
        return 2 * self.cpu_s + 2 if self.wall_s is None else self.wall_s


@dataclass(frozen=True)
class Outcome:
    """What came of one program. Nothing here is a verdict: a program chooses its output and its exit code.

    status: see Status. stdout: at most output_bytes. stderr: its last 4096 characters. cpu_s, wall_s: seconds, measured
    outside the program. exit_code: None if it did not exit by itself. note: why, for people.
    """

    status: Status
    stdout: bytes
    stderr: str
    cpu_s: float
    wall_s: float
    exit_code: int | None
    note: str = ""
