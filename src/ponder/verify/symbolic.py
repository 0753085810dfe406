"""Are two answers the same thing? The last and dearest tier: computer algebra, in a process that can be killed."""

from __future__ import annotations

import json
import time

from ponder.core.errors import PonderError
from ponder.verify.guards import guard, least_digits, peel
from ponder.verify.symbolic_text import strange, tokens
from ponder.verify.verdict import Verdict
from ponder.verify.worker import Pool, shared_pool

METHOD = "symbolic"
WORKERS = 2
MEMORY_MB = 1024
_MODULE = "ponder.verify.symbolic_child"


def equivalent(
    pred: str, gold: str, *, cap_s: float = 5.0, workers: int = WORKERS, memory_mb: int = MEMORY_MB
) -> Verdict:
    """Whether `pred` and `gold`, answers in LaTeX or plain text, say the same. Total: any two strings get a verdict.

    cap_s: seconds of wall time from when a worker starts on the pair; then it is killed and replaced, and the verdict
    is unknown with `timed_out`. Time in the queue does not count. workers: processes at most, shared by all threads.
    memory_mb: what one worker may take.

    Hostile input (towers of exponents, huge factorials, deep nesting) is told from the text and never evaluated: the
    verdict is unknown, its method "guard". A "right" stands on exact or high-precision evaluation of our own; where
    only Math-Verify says so and it cannot be confirmed, the verdict is unknown.
    Raises PonderError for options that make no sense.
    """
    if not cap_s > 0 or workers < 1 or memory_mb < 200:
        raise PonderError(
            f"equivalent: cap_s {cap_s}, workers {workers}, memory_mb {memory_mb}: all positive, memory_mb at least 200"
        )
    began = time.perf_counter()

    def verdict(correct: bool | None, note: str, method: str = METHOD, timed_out: bool = False) -> Verdict:
        ms = (time.perf_counter() - began) * 1000
        return Verdict(correct, method, ms, note, pred[:500], gold[:500], timed_out)

    if not pred.strip() or not gold.strip():
        return verdict(False if gold.strip() else None, "nothing to compare")
    if pred.strip() == gold.strip():
        return verdict(True, "the same text")
    pred, gold = peel(pred), peel(gold)
    if pred == gold:
        return verdict(True, "the same text")
    for side, text in (("answer", pred), ("gold", gold)):
        reason = guard(text)
        if reason and _too_large(pred, gold):
            return verdict(False, f"{side}: {reason}, far larger than the other", "guard")
        if reason:
            return verdict(None, f"{side}: {reason}", "guard")
    left, right = tokens(pred), tokens(gold)
    if not left or not right:
        return verdict(False if right else None, "nothing to compare")
    if left == right:
        return verdict(True, "the same symbols")
    if _words(left) and _words(right):
        return verdict(False, "other words")
    trouble = strange(left), strange(right)
    if trouble[1]:
        return verdict(None, f"not read: gold: {trouble[1]}")
    if trouble[0]:
        return verdict(False, f"not read: answer: {trouble[0]}")
    reply = _pool(workers, memory_mb).ask({"pred": pred, "gold": gold}, cap_s)
    if reply.value is None:
        return verdict(None, reply.note, timed_out=reply.timed_out)
    correct = reply.value.get("correct")
    return verdict(
        correct if isinstance(correct, bool) else None,
        str(reply.value.get("note", "")),
        timed_out=bool(reply.value.get("memory")),
    )


def warm(workers: int = WORKERS, memory_mb: int = MEMORY_MB) -> str:
    """Starts a worker now, about half a second, so that the first answer does not wait. Returns why not, or nothing."""
    return _pool(workers, memory_mb).warm()


def _pool(workers: int, memory_mb: int) -> Pool:
    return shared_pool(_MODULE, json.dumps({"memory_mb": memory_mb}), workers)


def _words(parts: list[str]) -> bool:
    return all(part.startswith('"') for part in parts)


def _too_large(pred: str, gold: str) -> bool:
    """Whether one is a literal tower or factorial with more digits than the other, a plain number, can have."""
    for tower, other in ((pred, gold), (gold, pred)):
        digits, known = least_digits(tower), least_digits(other)
        plain = other.strip().lstrip("+-")
        if digits and plain.replace(".", "", 1).replace(",", "").isdecimal() and digits > len(plain) + 2:
            return True
        if digits and known is not None and known < 1e6 and digits > 2 * known + 100:
            return True
    return False
