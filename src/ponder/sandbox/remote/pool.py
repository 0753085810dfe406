"""Many endpoints of one service as one `run`: the least busy is asked, a failing one rests, tries are spaced."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.core.errors import PonderError
from ponder.sandbox.limits import Limits, Outcome
from ponder.sandbox.remote.exchange import Exchange, Trouble, Unanswerable
from ponder.sandbox.remote.wires import WIRES, Wire


@dataclass
class _Endpoint:
    base: str
    busy: int = 0
    rests_until: float = 0.0


class Pool:
    """The endpoints of one service.

    Args:
        service: a key of `WIRES`.
        bases: addresses (http://host:port), all of the same service.
        tries: most requests for one program, the first included; then its outcome is `infra`: unknown, never 0.
        pause_s: the mean wait before the second try; it doubles with each further one, up to `longest_pause_s`.
        at_once: programs that each endpoint is given at a time; more callers wait.
    Raises:
        PonderError: an unknown service or an address that is none.
    """

    def __init__(
        self,
        service: str,
        bases: Sequence[str],
        *,
        tries: int = 5,
        pause_s: float = 0.5,
        longest_pause_s: float = 15.0,
        at_once: int = 8,
    ) -> None:
        if service not in WIRES:
            raise PonderError(f"{service!r} is no remote sandbox; known are {', '.join(sorted(WIRES))}")
        if not bases:
            raise PonderError(f"{service} needs an address: {service}:http://host:port")
        for base in bases:
            if not base.startswith(("http://", "https://")):
                raise PonderError(f"{service}: {base!r} is no address; write it as {service}:http://host:port")
        self.wire: Wire = WIRES[service]
        self.tries, self.pause_s, self.longest_pause_s = tries, pause_s, longest_pause_s
        key = os.environ.get(self.wire.key_env, "")
        self._exchange = Exchange(self.wire.header(key) if key else {}, self.wire.key_env)
        self._endpoints = [_Endpoint(base.rstrip("/")) for base in bases]
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(at_once * len(bases))
        self._random = random.Random()

    def check(self) -> None:
        """Ask every endpoint whether it is the service and fit for use. Raises PonderError with the remedy."""
        for endpoint in self._endpoints:
            try:
                self.wire.check(self._exchange, endpoint.base)
            except (Trouble, Unanswerable) as error:
                raise PonderError(
                    f"{self.wire.name} at {endpoint.base} is not usable: {error}; {self.wire.remedy}"
                ) from error

    def run(self, program: str, stdin: bytes, limits: Limits) -> Outcome:
        """The outcome of a program text; `infra` where no endpoint could run it. Raises PonderError for a refusal."""
        begin, said = time.monotonic(), ""
        with self._places:
            for number in range(self.tries):
                endpoint = self._take()
                try:
                    return self.wire.execute(self._exchange, endpoint.base, program, stdin, limits)
                except Unanswerable as error:
                    said = str(error)
                    break
                except Trouble as error:
                    said = str(error)
                    # Full jitter: callers that failed together must not come back together.
                    pause_s = min(self.pause_s * 2**number, self.longest_pause_s) * 2 * self._random.random()
                    pause_s = max(pause_s, error.after_s or 0.0)
                    endpoint.rests_until = time.monotonic() + pause_s
                    if number + 1 < self.tries:
                        time.sleep(self._wait_s())
                finally:
                    with self._lock:
                        endpoint.busy -= 1
        note = (
            f"{self.wire.name}: {said}; {self.wire.remedy}"
            if "could not be asked" in said
            else f"{self.wire.name}: {said}"
        )
        return Outcome("infra", b"", "", 0.0, time.monotonic() - begin, None, note)

    def _take(self) -> _Endpoint:
        """The least busy of those that do not rest, or the first that will be done resting."""
        with self._lock:
            now = time.monotonic()
            endpoint = min(self._endpoints, key=lambda e: (max(e.rests_until - now, 0.0), e.busy))
            endpoint.busy += 1
            return endpoint

    def _wait_s(self) -> float:
        """Seconds until some endpoint does not rest: none where another one is at hand."""
        with self._lock:
            return max(min(e.rests_until for e in self._endpoints) - time.monotonic(), 0.0)

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()
