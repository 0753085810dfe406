"""What all requests to one endpoint share: when to wait, when to give the endpoint up, and what was counted."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from ponder.core.errors import PonderError
from ponder.sampling.endpoint.dialect import is_long
from ponder.sampling.endpoint.exchange import Refused, Trouble
from ponder.sampling.endpoint.reply import Reply, Usage


class Circuit:
    """Opens (raises) when `most_failures` tries in a row have failed and none succeeded for `patience_s` seconds, and
    when an endpoint that never answered has refused `most_refusals` requests in a row.

    Thread-safe. A Retry-After of one request holds all of them back.
    """

    def __init__(self, shown: str, most_failures: int, patience_s: float, most_refusals: int) -> None:
        self.shown, self.most_failures, self.patience_s = shown, most_failures, patience_s
        self.most_refusals = most_refusals
        self._lock = threading.Lock()
        self._failures, self._since, self._not_before = 0, time.monotonic(), 0.0
        self._refusals, self._last, self._reached, self._answered = 0, "", False, False
        self._usage = Usage()

    @property
    def usage(self) -> Usage:
        """What was counted so far."""
        with self._lock:
            return self._usage

    def begin(self) -> None:
        """Patience begins anew with each call: the time between two calls is not the endpoint's fault."""
        with self._lock:
            self._since = time.monotonic()

    def hold(self) -> float:
        """Seconds until the endpoint wants to be asked again."""
        with self._lock:
            return max(0.0, self._not_before - time.monotonic())

    def sent(self, again: bool) -> None:
        """A request goes out; again: it is not the first for its samples."""
        with self._lock:
            self._usage = replace(
                self._usage, requests=self._usage.requests + 1, retries=self._usage.retries + bool(again)
            )

    def alive(self) -> None:
        """The endpoint answered in order."""
        with self._lock:
            self._failures, self._since, self._refusals, self._answered = 0, time.monotonic(), 0, True

    def failed(self, trouble: Trouble) -> None:
        """A try failed. Raises PonderError where that is one too many."""
        with self._lock:
            self._failures += 1
            self._reached |= trouble.reached
            self._last = str(trouble)
            if trouble.after_s:
                self._not_before = max(self._not_before, time.monotonic() + trouble.after_s)
            for_s, failures = time.monotonic() - self._since, self._failures
        if failures >= self.most_failures and for_s >= self.patience_s:
            raise PonderError(
                f"{self.shown}: the last {failures} requests failed, none succeeded for {for_s:.0f} s, and the last of "
                f"them: {trouble}; when it is up, run the same command again (what was answered is kept)"
            )

    def refused(self, refusal: Refused) -> None:
        """A request was refused for what is in it. Raises PonderError where so many were, and none was answered, that
        it is not the prompts' fault."""
        with self._lock:
            self._failures, self._reached, self._last = 0, True, str(refusal)
            self._refusals += not is_long(str(refusal))
            many = self._refusals >= self.most_refusals and not self._answered
        if many:
            raise PonderError(f"{refusal}; every request is refused: mend the setting that it names")

    def end(self, asked: int) -> None:
        """A call for so many samples is over. Raises PonderError where the endpoint has never answered anything, so
        that this is no matter of single samples."""
        with self._lock:
            answered, reached, refusals, last = self._answered, self._reached, self._refusals, self._last
        if answered or (reached and not refusals and asked == 1):
            return
        if not reached:
            raise PonderError(f"{self.shown} cannot be reached: {last}; is it running, and is its port right?")
        if refusals:
            raise PonderError(f"{last}; every request was refused: mend the setting that it names")
        raise PonderError(f"{self.shown} answered none of {asked} requests; the last: {last}")

    def count(self, reply: Reply) -> None:
        """Add a sample to the sums."""
        with self._lock:
            had = self._usage
            if reply.finish == "abort":
                self._usage = replace(had, failed=had.failed + 1)
                return
            cost = had.cost if reply.cost is None else (had.cost or 0.0) + reply.cost
            self._usage = replace(
                had,
                answered=had.answered + 1,
                uncounted=had.uncounted + (reply.completion_tokens is None),
                prompt_tokens=had.prompt_tokens + (reply.prompt_tokens or 0),
                completion_tokens=had.completion_tokens + (reply.completion_tokens or 0),
                reasoning_tokens=had.reasoning_tokens + (reply.reasoning_tokens or 0),
                cost=cost,
            )
