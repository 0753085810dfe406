"""`Remote`: an object with the face of `ponder.sandbox.jail.Sandbox` whose programs run on other people's machines.

Only running is remote. Expected values and comparisons stay here, so what comes back can be wrong but never forged.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

from ponder.core.errors import PonderError
from ponder.sandbox.child import Child
from ponder.sandbox.drivers import JUDGE
from ponder.sandbox.jail import get_sandbox
from ponder.sandbox.limits import FRAME_BYTES, Limits, Outcome, SandboxUnavailable
from ponder.sandbox.remote.pool import Pool
from ponder.sandbox.remote.programs import replay, script

START_S = 2.0  # of a program's wall clock, for a box to start Python


class RemoteChild:
    """A driver that is asked in turns, on a service that knows single programs only.

    Each turn runs the driver anew over every frame sent so far and reads what it writes beyond what was read before:
    state lives on (objects made by one call are there for the next) and nothing has to stay open between turns. The
    driver must not depend on chance; a candidate that does merely gives each turn its own luck. All turns count
    together against `limits`, since the last one repeats them.
    """

    def __init__(self, pool: Pool, driver: str, payload: bytes, limits: Limits) -> None:
        self._pool, self._driver, self._payload, self._limits = pool, driver, payload, limits
        self._sent: list[bytes] = []
        self._read: list[bytes] = []
        self._waiting: list[bytes] = []
        self._turns = -1  # frames that the last run was given
        self._outcome = Outcome("ok", b"", "", 0.0, 0.0, None, "nothing was asked of it")

    def send(self, frame: bytes) -> None:
        """Give the driver a frame of at most 1 MiB; it is run when an answer is asked for."""
        if len(frame) > FRAME_BYTES:
            raise PonderError(f"a frame of {len(frame)} bytes; the most is {FRAME_BYTES}")
        self._sent.append(frame)

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """The next frame that the driver writes; None where it ended, a limit struck or no endpoint answered.

        Args:
            timeout_s: seconds that the driver may take for it, on top of what its earlier turns took.
        """
        if not self._waiting and self._turns < len(self._sent) and self._may_go_on():
            self._run(timeout_s)
        if not self._waiting:
            return None
        self._read.append(self._waiting.pop(0))
        return self._read[-1]

    def _may_go_on(self) -> bool:
        return self._turns < 0 or self._outcome.status == "ok"

    def _run(self, timeout_s: float | None) -> None:
        wall_s = self._limits.wall
        if timeout_s is not None:
            wall_s = min(wall_s, self._outcome.wall_s + timeout_s + START_S)
        limits = replace(self._limits, wall_s=wall_s, output_bytes=max(self._limits.output_bytes, 2 * FRAME_BYTES))
        program, stdin = replay(self._driver, self._payload, self._sent, limits)
        self._turns = len(self._sent)
        self._outcome = self._pool.run(program, stdin, limits)
        frames = _frames(self._outcome.stdout)
        if frames is None:
            self._outcome = replace(self._outcome, status="protocol", note="the driver's output is no list of frames")
            frames = []
        self._waiting = frames[len(self._read) :]

    def close(self) -> Outcome:
        """The outcome of the last run; its output is frames, so it is left out."""
        return replace(self._outcome, stdout=b"")


def _frames(stdout: bytes) -> list[bytes] | None:
    """The frames of an output, one base64 line each. A last line cut short is no frame; None for anything else."""
    lines = stdout.split(b"\n")[:-1]
    try:
        frames = [base64.b64decode(line, validate=True) for line in lines]
    except ValueError:
        return None
    return None if any(len(frame) > FRAME_BYTES for frame in frames) else frames


class Remote:
    """A sandbox elsewhere; thread-safe; a context manager.

    Args:
        service: "fusion" (SandboxFusion), "fusion-open" (the same, where it runs programs without isolation and that is
            accepted), "piston" or "e2b".
        bases: its addresses; programs are spread over them.
        tries, pause_s, at_once: as `Pool`.
    Raises:
        PonderError: as `Pool`; from `check` and `run` where an endpoint refuses (key, address, its own ceilings).
    """

    def __init__(
        self, service: str, bases: Sequence[str], *, tries: int = 5, pause_s: float = 0.5, at_once: int = 8
    ) -> None:
        self._pool = Pool(service, bases, tries=tries, pause_s=pause_s, at_once=at_once)
        self.tier = service
        self.bases = tuple(bases)

    def check(self) -> None:
        """Ask the endpoints whether they are fit for use; PonderError with the remedy where one is not."""
        self._pool.check()

    def run(self, program: str, stdin: bytes = b"", limits: Limits | None = None) -> Outcome:
        """Run `program` as a script, as `Sandbox.run`. `infra` where no endpoint could: unknown, never a fail."""
        limits = limits or Limits()
        if _is_text(stdin):
            return self._pool.run(script(program, limits), stdin, limits)
        return self._pool.run(script(program, limits, stdin), b"", limits)

    def open(self, driver: str, payload: bytes = b"", limits: Limits | None = None) -> RemoteChild | Child:
        """A driver to be asked in turns, as `Sandbox.open`.

        The judge of a split test stays here, in this machine's own jail, where it has one: its code is the test's.
        """
        if driver == JUDGE:
            try:
                return get_sandbox("auto").open(driver, payload, limits)
            except SandboxUnavailable:
                pass
        return RemoteChild(self._pool, driver, payload, limits or Limits())

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_text(stdin: bytes) -> bool:
    try:
        stdin.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
