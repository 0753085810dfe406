"""One program that runs: frames to and from it, the wall-clock backstop, and what came of it."""

from __future__ import annotations

import contextlib
import functools
import marshal
import os
import select
import struct
import time
from collections.abc import Callable
from types import TracebackType

from ponder.core.errors import PonderError
from ponder.sandbox.limits import FRAME_BYTES, STDERR_TAIL, TOTAL_BYTES, Limits, Outcome, Status
from ponder.sandbox.program import LOAD_ERROR, MEMORY
from ponder.sandbox.worker import GRACE_S, Worker, WorkerFailed, job_message, memory_file, waiting_s

BLIND = 3  # walls of grace where the kernel does not tell how long a process waited for a processor
LAST_S = 1.0  # seconds for a child that hung up to end
STARVED = 20  # walls of waiting for a processor, after which the host is to blame and the verdict unknown


class Child:
    """A walled process that runs a trusted driver; `send` and `receive` frames, then `close`. One thread at a time."""

    def __init__(
        self,
        worker: Worker,
        body: bytes,
        payload: bytes | None,
        stdin: bytes,
        limits: Limits,
        done: Callable[[bool], None],
    ) -> None:
        """Starts `body` on `worker`: a script (payload None) or a marshalled driver. `done(healthy)` gives it back."""
        self._worker, self._limits, self._done = worker, limits, done
        self._owner = os.getpid()
        self._outcome: Outcome | None = None
        self._end: dict[str, object] | None = None
        self._waited, self._patience, self._buffer, self._taken = 0.0, 0.001, bytearray(), 0
        self._pidfd: int | None = None
        self._hung_up = False
        self._struck: tuple[Status, str] | None = None
        self._frames_in = self._frames_out = -1
        files = [memory_file(stdin), memory_file(), memory_file()]
        self._stdout, self._stderr = files[1], files[2]
        given = [memory_file(body + (payload or b""), sealed=True), *files]
        ends: list[int] = []
        if payload is not None:
            theirs_in, self._frames_out = os.pipe()
            self._frames_in, theirs_out = os.pipe()
            os.set_blocking(self._frames_in, False)
            os.set_blocking(self._frames_out, False)
            ends = [theirs_in, theirs_out]
        try:
            worker.tell(job_message(limits, len(body), payload is not None, worker), given + ends)
        except WorkerFailed as error:
            self._fail(str(error))
        finally:
            for fd in [given[0], files[0], *ends]:
                os.close(fd)
        worker.jobs += 1

    def send(self, frame: bytes) -> None:
        """Sends a frame of at most 1 MiB. To a child that has ended it does nothing: `receive` tells.

        Waiting for a child that does not read counts as wall time. Raises PonderError for a larger frame.
        """
        self._check_owner()
        if len(frame) > FRAME_BYTES:
            raise PonderError(f"a frame of {len(frame)} bytes; the most is {FRAME_BYTES}")
        view = memoryview(struct.pack("<I", len(frame)) + frame)
        while view and not self._over:
            try:
                view = view[os.write(self._frames_out, view) :]
            except BlockingIOError:
                self._await(self._frames_out, select.POLLOUT, None)
            except OSError:
                return

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """The next frame; None where the child ended or a limit struck.

        timeout_s: wall seconds for this frame, after which the child is struck; Limits.wall_s is for all of them.
            As there, time in which the child waited for a processor is not counted.
        """
        self._check_owner()
        began = time.monotonic()
        while True:
            if len(self._buffer) >= 4:
                size = struct.unpack_from("<I", self._buffer)[0]
                if size > FRAME_BYTES:
                    self._strike("protocol", f"it sent a frame of {size} bytes; the most is {FRAME_BYTES}")
                    return None
                if len(self._buffer) >= 4 + size:
                    frame = bytes(self._buffer[4 : 4 + size])
                    del self._buffer[: 4 + size]
                    return frame
            try:
                part = os.read(self._frames_in, 1 << 18) if self._frames_in >= 0 else b""
            except BlockingIOError:
                if self._over:
                    return None
                self._await(self._frames_in, select.POLLIN, None if timeout_s is None else (began, timeout_s))
                continue
            if not part:
                self._hung_up = True
                return None
            self._taken += len(part)
            if self._taken > TOTAL_BYTES:
                self._strike("protocol", f"it sent more than {TOTAL_BYTES} bytes of frames")
                return None
            self._buffer += part

    def close(self) -> Outcome:
        """Ends the child if it still runs, and says what came of it. May be called again."""
        if self._outcome is None:
            self._check_owner()
            self._hang_up()
            # One that hung up is about to end by itself, and how it does should be known.
            if not self._over and not self._listen(LAST_S if self._hung_up else 0.0):
                self._strike("killed", "closed by the caller before its end")
            self._outcome = self._finish()
        return self._outcome

    def wait(self) -> Outcome:
        """Waits until the child ends or a limit strikes."""
        while not self._over:
            self._await(None, 0, None)
        return self.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_outcome", True) is None and self._owner == os.getpid():
            with contextlib.suppress(Exception):
                self.close()

    @property
    def _over(self) -> bool:
        return self._end is not None or self._struck is not None

    def _await(self, fd: int | None, event: int, frame: tuple[float, float] | None) -> None:
        """Waits for `fd` or for the child's end, no longer than the wall clock allows; strikes where it does not."""
        began = time.monotonic()
        left = self._limits.wall - self._waited
        if frame is not None:
            left = min(left, frame[0] + frame[1] - began)
        poll = select.poll()
        poll.register(self._worker.link, select.POLLIN)
        if fd is not None:
            poll.register(fd, event)
        events = poll.poll(max(self._patience, left) * 1000)
        self._waited += time.monotonic() - began
        ready = {which for which, _ in events}
        if self._worker.link.fileno() in ready:
            self._listen(0.0)
        elif not events:
            self._out_of_time(frame)

    def _out_of_time(self, frame: tuple[float, float] | None) -> None:
        """Strikes, unless the child spent its time waiting for a processor: that time is the host's."""
        wall, waited = self._limits.wall, self._waited
        starved = self._starved_s()
        if self._over:
            return
        if starved is None:  # the kernel does not tell: be generous
            starved = min(waited, BLIND * (wall if frame is None else min(wall, frame[1])))
        late_frame = frame is not None and time.monotonic() - frame[0] - starved > frame[1]
        if waited - starved > wall or late_frame:
            limit = frame[1] if late_frame and frame is not None else wall
            return self._strike("timeout-wall", f"it stood still for {limit:g} s")
        if waited > wall * STARVED:
            return self._strike("infra", f"the host let it wait {starved:.0f} s for a processor")
        self._patience = 0.02  # ask again soon, not at once

    def _starved_s(self) -> float | None:
        if self._pidfd is None:
            with contextlib.suppress(WorkerFailed):
                self._worker.tell({"pidfd": True})
            self._listen(GRACE_S, until="pidfd")
        return None if self._pidfd is None or self._pidfd < 0 else waiting_s(self._pidfd)

    def _listen(self, timeout_s: float, until: str = "end") -> bool:
        """Takes messages of the zygote until the one asked for, or its end. Whether one came."""
        deadline = time.monotonic() + timeout_s
        while self._end is None:
            try:
                heard = self._worker.listen(deadline - time.monotonic())
            except WorkerFailed as error:
                self._fail(str(error))
                return True
            if heard is None:
                return False
            message, fds = heard
            if "pidfd" in message:
                self._pidfd = fds[0] if fds else -1
            if "end" in message:
                self._end = message["end"]
            if until in message:
                break
        return True

    def _strike(self, status: Status, note: str) -> None:
        """Has the child killed; if it ended by itself in that moment, its own end counts."""
        if self._over:
            return
        self._struck = (status, note)
        with contextlib.suppress(WorkerFailed):
            self._worker.tell({"kill": status})
        if not self._listen(GRACE_S):
            self._fail("the sandbox worker does not answer")

    def _fail(self, note: str) -> None:
        self._end = {"error": note}

    def _check_owner(self) -> None:
        if self._owner != os.getpid():
            raise PonderError("this child was opened before a fork, and belongs to that process; open another")

    def _hang_up(self) -> None:
        for fd in (self._frames_in, self._frames_out):
            if fd >= 0:
                os.close(fd)
        self._frames_in = self._frames_out = -1

    def _finish(self) -> Outcome:
        if self._end is None and not self._listen(GRACE_S):
            self._fail("the sandbox worker does not answer")
        assert self._end is not None
        stdout = os.pread(self._stdout, self._limits.output_bytes + 1, 0)
        size = os.fstat(self._stderr).st_size
        tail = os.pread(self._stderr, 4 * STDERR_TAIL, max(0, size - 4 * STDERR_TAIL))
        full = max(len(stdout), size) >= self._limits.output_bytes
        for fd in (self._stdout, self._stderr, self._pidfd if self._pidfd is not None else -1):
            if fd >= 0:
                os.close(fd)
        self._done(not self._end.get("error"))
        stderr = tail.decode("utf-8", "replace")[-STDERR_TAIL:]
        return judge(self._end, self._struck, stdout[: self._limits.output_bytes], stderr, full, self._limits)


def judge(
    end: dict[str, object], struck: tuple[Status, str] | None, stdout: bytes, stderr: str, full: bool, limits: Limits
) -> Outcome:
    """The outcome, from what wait4 told the zygote and from what this process did."""
    cpu, wall = float(str(end.get("cpu_s", 0.0))), float(str(end.get("wall_s", 0.0)))
    code, number, why = end.get("code"), end.get("signal"), end.get("why")
    status: Status
    note, exit_code = "", int(str(code)) if code is not None else None
    large = int(str(end.get("rss_kb", 0))) * 1024 > 0.6 * limits.memory_mb * 2**20
    if end.get("error"):
        status, note = "infra", str(end["error"])
    elif struck is not None and (why is not None or struck[0] in ("protocol", "infra")):
        status, note = struck
    elif why == "cpu" or (number in (9, 24) and cpu >= limits.cpu_s):
        status, note = "timeout-cpu", f"it used its {limits.cpu_s:g} s of CPU time"
    elif full:
        status, note = "output-limit", f"it wrote {limits.output_bytes} bytes or more"
    elif number is not None:
        names = {4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV", 25: "SIGXFSZ"}
        if number in names:
            status, note = "crash", f"it died of {names[int(str(number))]}"
        elif number == 9 and large:
            status, note = "memory", "the kernel killed it while it was large"
        else:
            status, note = "killed", "a forbidden system call" if number == 31 else f"killed by signal {number}"
    elif code == 0:
        status = "ok"
    elif code == LOAD_ERROR:
        status, exit_code, note = "load-error", 1, last_line(stderr)
    elif code == MEMORY:
        status, exit_code, note = "memory", 1, f"it needed more than {limits.memory_mb} MiB"
    else:
        status, note = "raised", last_line(stderr) or f"exit code {code}"
    return Outcome(status, stdout, stderr, cpu, wall, exit_code, note)


def last_line(text: str) -> str:
    """For a note: what a terminal would obey is left out."""
    lines = text.strip().splitlines()
    return "".join(letter for letter in lines[-1][:200] if letter.isprintable()) if lines else ""


@functools.lru_cache(maxsize=64)
def driver_bytes(driver: str) -> bytes:
    """A trusted driver compiled once: the zygote runs the same interpreter."""
    return marshal.dumps(compile(driver, "<driver>", "exec", dont_inherit=True))
