"""What a grader says of one answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Right, wrong or unknown, and how that was found.

    correct: None is unknown: the grader failed or ran out of time. It is counted and reported, never taken for wrong.
    method: the tier or rule that decided ("string", "number", "structure", "symbolic", "choice", ...).
    ms: milliseconds that it took; 0 for an answer out of the cache.
    note: for people: why, in a few words.
    extracted, gold: what was compared, after normalisation; None where nothing was found.
    timed_out: whether a worker was stopped by the clock.
    """

    correct: bool | None
    method: str
    ms: float = 0.0
    note: str = ""
    extracted: str | None = None
    gold: str | None = None
    timed_out: bool = False
