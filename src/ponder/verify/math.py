"""Whether a mathematical answer is right: found in the completion, then compared by tiers, cheapest first.

Tiers: string (one spelling for all of LaTeX), number (exact rationals), structure (sets, intervals, matrices, units,
equations, expressions to sixty digits), and last symbolic (`ponder.verify.symbolic`, a process that can be killed).
No tier of this process evaluates text, and each is linear in it and bounded in its cost.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal

from ponder.core.errors import PonderError
from ponder.verify.extract_math import find_answer, last_boxed
from ponder.verify.latex import Token, Unreadable, spelling, tokens
from ponder.verify.readings import Node, read_tokens
from ponder.verify.structure import Rules, same
from ponder.verify.verdict import Verdict

FORMS = ("completion", "bare", "raw")
MAX_ANSWER = 20_000
CACHE_SIZE = 16_384


@dataclass(frozen=True)
class MathOptions:
    """The conventions of one grading run; each has a stated default.

    box_required: only a closed `<answer>` or box counts (reinforcement learning); else cues, formulas and numbers are
        read too (evaluation).
    percent: "unit": 10% is 10, and not 1/10; "fraction": 10% is 1/10; "either": both.
    units: "both": compared where both sides name one (5 m is 500 cm, not 5 cm), and 5 is 5 cm; "required": a unit on
        one side must be on the other; "ignore": never compared.
    ordered: whether bare lists `1, 2` must come in the gold answer's order. Tuples always must, sets never.
    float_digits: a decimal with at least so many significant digits is a rounded float, and right to its last digit;
        0: never, every decimal is exact.
    decimals: numbers that differ by at most half a unit of this decimal place are the same; None: exact.
    decimal_comma: whether `2,74` may be read as 2.74; None: only in the form "raw".
    symbolic: whether the last tier, the worker process, is asked at all; else such answers are unknown.
    cap_s: seconds of wall clock that the symbolic tier may take.
    """

    box_required: bool = False
    percent: Literal["unit", "fraction", "either"] = "unit"
    units: Literal["both", "required", "ignore"] = "both"
    ordered: bool = False
    float_digits: int = 15
    decimals: int | None = None
    decimal_comma: bool | None = None
    symbolic: bool = True
    cap_s: float = 5.0

    def __post_init__(self) -> None:
        for name, allowed in (("percent", ("unit", "fraction", "either")), ("units", ("both", "required", "ignore"))):
            if getattr(self, name) not in allowed:
                raise PonderError(f"MathOptions.{name} is {getattr(self, name)!r}: one of {', '.join(allowed)}")
        if not 0 < self.cap_s <= 600:
            raise PonderError(f"MathOptions.cap_s is {self.cap_s}: between 0 and 600 seconds")
        if self.decimals is not None and not 0 <= self.decimals <= 50:
            raise PonderError(f"MathOptions.decimals is {self.decimals}: between 0 and 50, or None")


_cache: OrderedDict[tuple[str, str, MathOptions], Verdict] = OrderedDict()
_lock = threading.Lock()


def verify_math(pred: str, gold: str, form: str = "completion", options: MathOptions = MathOptions()) -> Verdict:
    """Grade `pred` against `gold`.

    form: "completion": pred is a model's text and gold a bare answer; "bare": both are bare answers; "raw": the answer
        is looked for in both texts.
    Total: every pair of strings gets a verdict, in time linear in them beside the symbolic tier's cap.
    Raises PonderError for an unknown form.
    """
    began = time.perf_counter()
    if form not in FORMS:
        raise PonderError(f"unknown form {form!r}: one of {', '.join(FORMS)}")
    answer = _unboxed(pred) if form == "bare" else _found(pred, options.box_required)
    wanted = (_found(gold, False) or gold.strip()) if form == "raw" else _unboxed(gold)
    if not wanted:
        return _timed(Verdict(None, "gold", note="the gold answer is empty"), began)
    if not answer:
        return _timed(Verdict(False, "extraction", note="no answer found", gold=wanted), began)
    if form == "raw" and options.decimal_comma is None:
        options = replace(options, decimal_comma=True)
    key = (answer, wanted, options)
    with _lock:
        known = _cache.get(key)
        if known is not None:
            _cache.move_to_end(key)
            return known
    try:
        verdict = _timed(_graded(answer, wanted, options), began)
    except Exception as error:  # a fault of ours, on text that nobody foresaw: unknown, and said
        told = f"{type(error).__name__}: {error}"[:200]
        return _timed(Verdict(None, "fault", note=told, extracted=answer, gold=wanted), began)
    if not verdict.timed_out and len(answer) + len(wanted) < MAX_ANSWER:
        remembered = replace(verdict, ms=0.0)
        with _lock:
            _cache[key] = remembered
            while len(_cache) > CACHE_SIZE:
                _cache.popitem(last=False)
    return verdict


def clear_cache() -> None:
    """Forget every verdict."""
    with _lock:
        _cache.clear()


def _timed(verdict: Verdict, began: float) -> Verdict:
    ms = (time.perf_counter() - began) * 1e3
    return replace(verdict, ms=ms)


def _unboxed(answer: str) -> str:
    """A bare answer, out of its box if it has one."""
    if "boxed" in answer or "fbox" in answer:
        return last_boxed(answer, lenient=False) or answer.strip()
    return answer.strip()


def _found(text: str, box_required: bool) -> str | None:
    found = find_answer(text, box_required)
    return found.answer if found else None


# ---- tiers ----

_DIGITS = re.compile(r"([-+−]?)(\d+)(?:\.(\d*))?", re.ASCII)
_CHOICE = re.compile(r"\s*(?:\\text(?:bf|rm)?\{)?\s*\(?([A-J])[).:]\)?\s*\}?\s*(.+)", re.DOTALL)
_LETTER = re.compile(r"[\s({\\]*(?:text(?:bf|rm)?\{)?\(?\s*([A-J])\s*\)?[\s.})]*")


def _graded(answer: str, gold: str, options: MathOptions) -> Verdict:
    if answer == gold:
        return Verdict(True, "string", extracted=answer[:500], gold=gold[:500])
    plain = _plain_digits(answer, gold)
    if plain is not None:
        return Verdict(plain, "number", extracted=answer[:500], gold=gold[:500])
    if len(answer) > MAX_ANSWER or len(gold) > MAX_ANSWER:
        return Verdict(False, "string", note="too long to be read", extracted=answer[:500], gold=gold[:500])
    rules = Rules(options.percent, options.units, options.ordered, options.float_digits, options.decimals)
    decided = _by_reading(answer, gold, options, rules)
    if decided.correct is not True:
        other = _choice(answer, gold, options, rules)
        if other is not None and (other.correct or decided.correct is None):
            return other
    if decided.correct is not None:
        return decided
    if not options.symbolic:
        return replace(decided, correct=False) if decided.method == "malformed" else decided
    return _symbolic(answer, gold, options, decided)


def _plain_digits(answer: str, gold: str) -> bool | None:
    """Plain decimals compared digit by digit, so that any length is cheap; None where either is something else."""
    one, other = _DIGITS.fullmatch(answer), _DIGITS.fullmatch(gold)
    if one is None or other is None:
        return None
    values = []
    for sign, whole, part in (one.groups(), other.groups()):
        digits = (whole.lstrip("0"), (part or "").rstrip("0"))
        values.append((sign in ("-", "−") and any(digits), *digits))
    if values[0] == values[1]:
        return True
    digits_written = max(len(m[2].lstrip("0") + (m[3] or "")) for m in (one, other) if m[3] is not None) if (
        one[3] is not None or other[3] is not None) else 0  # fmt: skip
    return None if 15 <= digits_written < 400 else False  # long decimals may be rounded floats


def _by_reading(answer: str, gold: str, options: MathOptions, rules: Rules) -> Verdict:
    note, best = "", None
    for thousands, comma in _ways(answer, gold, options):
        try:
            wanted = tokens(gold, thousands, comma)
            given = tokens(answer, thousands, comma)
        except Unreadable as cause:
            return Verdict(None, "structure", note=str(cause), extracted=answer[:500], gold=gold[:500])
        spelled, spelled_gold = spelling(given), spelling(wanted)
        if spelled == spelled_gold and spelled:
            return Verdict(True, "string", extracted=spelled[:500], gold=spelled_gold[:500])
        try:
            left, right = _reading(given, "answer"), _reading(wanted, "gold answer")
            verdict = same(left, right, rules)
            method = "number" if left[0] == right[0] == "num" else "structure"
        except Unreadable as cause:
            note, verdict, method = str(cause), None, "structure"
            if note.startswith("answer: ") and "\\" not in note and _readable(wanted):
                method = "malformed"
        except RecursionError:
            note, verdict, method = "nested too deeply", None, "structure"
        found = Verdict(verdict, method, note=note, extracted=spelled[:500], gold=spelled_gold[:500])
        if verdict is True:
            return found
        best = best or found
    assert best is not None  # there is always at least one way
    return best


def _readable(found: list[Token]) -> bool:
    try:
        read_tokens(found)
    except (Unreadable, RecursionError):
        return False
    return True


def _reading(found: list[Token], whose: str) -> Node:
    try:
        return read_tokens(found)
    except Unreadable as cause:
        raise Unreadable(f"{whose}: {cause}") from None


_THOUSANDS = re.compile(r"\d,\d{3}(?!\d)", re.ASCII)
_COMMA = re.compile(r"(?<!\d)\d+,\d+", re.ASCII)


def _ways(answer: str, gold: str, options: MathOptions) -> list[tuple[bool, bool]]:
    """The readings of commas between digits that are worth a try: thousands, lists, decimals."""
    ways = [(True, False)]
    if _THOUSANDS.search(answer) or _THOUSANDS.search(gold):
        ways.append((False, False))
    if options.decimal_comma and (_COMMA.search(answer) or _COMMA.search(gold)):
        ways.append((True, True))
    return ways


def _choice(answer: str, gold: str, options: MathOptions, rules: Rules) -> Verdict | None:
    """`B. 12` against `12` or `B`; None where neither is such a choice."""
    for lettered, plain, swapped in ((answer, gold, False), (gold, answer, True)):
        chosen = _CHOICE.fullmatch(lettered)
        if chosen is None or _CHOICE.fullmatch(plain):
            continue
        letter = _LETTER.fullmatch(plain)
        if letter is not None:
            return Verdict(letter[1] == chosen[1], "choice", extracted=answer[:500], gold=gold[:500])
        rest = chosen[2].strip()
        verdict = _by_reading(plain if swapped else rest, rest if swapped else plain, options, rules)
        if verdict.correct is not None:
            return verdict
    return None


def _symbolic(answer: str, gold: str, options: MathOptions, before: Verdict) -> Verdict:
    from ponder.verify.symbolic import equivalent  # here, so that a worker is only thought of where one is needed

    verdict = equivalent(answer, gold, cap_s=options.cap_s)
    if verdict.correct is None and not verdict.timed_out and before.method == "malformed":
        return replace(before, correct=False)  # the gold answer can be read, and the answer by nobody
    note = "; ".join(part for part in (before.note, verdict.note) if part)
    return replace(verdict, note=note, extracted=before.extracted, gold=before.gold)
