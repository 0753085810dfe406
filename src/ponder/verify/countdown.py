"""Countdown: an expression over given numbers that is worth a target. Model text is never evaluated."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from ponder.core.errors import PonderError
from ponder.verify.expression import MAX_LENGTH, Expression, ExpressionError, read_expression
from ponder.verify.regions import answer_region
from ponder.verify.verdict import Verdict

_SIGNS = (
    (r"\\(?:left|right|displaystyle|,|;|!|quad)", ""),
    (r"\\(?:times|cdot|ast)(?![a-z])|(?<=[\d)\s])[xX](?=[\d(\s])|\u2217|\u22c5|\u2022", "*"),
    (r"\\div(?![a-z])|\u2215|\u2044", "/"),
    (r"\\[dt]?frac\s*\{([^{}]{0,80})\}\s*\{([^{}]{0,80})\}", r"((\1)/(\2))"),
    (r"[\u2013\u2212]", "-"),
    (r"[\[{]", "("),
    (r"[\]}]", ")"),
    (r"\\[()\[\]]|[$`\"]|\*\*(?=\s*$)|^\s*\*\*", ""),
)


def verify_countdown(
    pred: str,
    numbers: Sequence[int],
    target: int | Fraction,
    *,
    use_all: bool = True,
    form: str = "completion",
) -> Verdict:
    """Whether the answer is an expression in `+ - * /` and brackets over the numbers, worth the target.

    numbers: what may be used, each as often as it is given. use_all: each must be used (the usual rule of the puzzle);
        else some may be left out.
    target: the value, compared exactly. `= target` may follow, and further sides of an equation must all be worth it.
    form: as in `regions.answer_region`; in a text without tag, box or cue the last line that has a digit is read.

    Expressions have 200 characters, brackets 20 deep and numbers of 12 digits at most. Raises PonderError for numbers
    or a target that are no whole numbers (or fractions).
    """
    start = time.perf_counter()
    _check(numbers, target)
    text, marked = answer_region(pred, form)
    lines = [line for line in text.split("\n") if re.search(r"\d", line)]
    written = "" if not lines else lines[0] if marked == "cue" else text if marked else lines[-1]
    if marked == "tag" and len(lines) == 1:
        written = lines[0]
    found, note = _right(_plain(written), Counter(numbers), Fraction(target), use_all)
    milliseconds = (time.perf_counter() - start) * 1000
    return Verdict(found, "countdown", milliseconds, note, written.strip()[:MAX_LENGTH] or None, str(target))


def _check(numbers: Sequence[int], target: int | Fraction) -> None:
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers)
    if isinstance(numbers, str) or not numbers or not whole:
        raise PonderError(f"countdown numbers must be whole numbers of 0 or more, but are {numbers!r}")
    if not isinstance(target, int | Fraction) or isinstance(target, bool):
        raise PonderError(f"countdown target must be a whole number, but is {target!r}")


def _plain(text: str) -> str:
    text = text.strip()[:1000]
    for pattern, sign in _SIGNS:
        text = re.sub(pattern, sign, text)
    return re.sub(r"^.{0,60}?:\s*(?=[-(\d])", "", text).strip().rstrip(".,;").strip()


def _right(text: str, numbers: Counter[int], target: Fraction, use_all: bool) -> tuple[bool, str]:
    if not text:
        return False, "no answer was found"
    sides = text.split("=")
    if len(sides) > 10:
        return False, "too many sides of an equation"
    try:
        read = [read_expression(side) for side in sides]
    except ExpressionError as error:
        return False, str(error)
    written = read[0] if len(read[0].numbers) > 1 or len(read) == 1 else read[-1]  # `24 = 4*6` says the same
    if fault := _used(written, numbers, use_all):
        return False, fault
    for one in read:
        if one.value != target:
            return False, f"worth {one.value}"[:60]
    return True, ""


def _used(expression: Expression, numbers: Counter[int], use_all: bool) -> str:
    used = Counter(expression.numbers)
    if extra := used - numbers:
        return f"{min(extra)} is used more often than it is given"
    return "not every number is used" if use_all and used != numbers else ""
