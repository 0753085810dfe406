"""Countdown: reach a target with three given numbers, each used once, by + - and *.

A search-like kind: the ten expressions of `FORMS` cover the space, in a fixed and learnable order.
"""

from __future__ import annotations

import random
from collections import Counter

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask, right_or_wrong
from ponder.verify.expression import ExpressionError, read_expression

FORMS = ("a+b+c", "a+b-c", "a-b+c", "b+c-a", "a*b+c", "a*b-c", "a*c+b", "a*c-b", "b*c+a", "b*c-a")
"""Every way that is tried, in this order; `a`, `b`, `c` are the numbers as given."""

WORDINGS = {
    "en": ("Use {a} {b} {c} to make {t}.", "Make {t} from {a} {b} {c}."),
    "de": ("Bilde {t} aus {a} {b} {c}.", "Nimm {a} {b} {c} und bilde {t}."),
}
LARGEST = {1: 6, 2: 9, 3: 12}


def written(form: str, numbers: list[int]) -> str:
    """`a*b-c` with the numbers put in."""
    return form.replace("a", str(numbers[0])).replace("b", str(numbers[1])).replace("c", str(numbers[2]))


def value_of(form: str, numbers: list[int]) -> int:
    """What a form is worth for these numbers."""
    a, b, c = numbers
    return {
        "a+b+c": a + b + c, "a+b-c": a + b - c, "a-b+c": a - b + c, "b+c-a": b + c - a, "a*b+c": a * b + c,
        "a*b-c": a * b - c, "a*c+b": a * c + b, "a*c-b": a * c - b, "b*c+a": b * c + a, "b*c-a": b * c - a,
    }[form]  # fmt: skip


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """Three different numbers from 1 up to 6, 9 or 12 by level; a positive target, hit by few of the forms."""
    while True:
        numbers = rng.sample(range(1, LARGEST[level] + 1), 3)
        form = rng.choice(FORMS)
        target = value_of(form, numbers)
        hits = [f for f in FORMS if value_of(f, numbers) == target]
        if target > 0 and len(hits) == 1:
            break
    prompt = rng.choice(WORDINGS[lang]).format(a=numbers[0], b=numbers[1], c=numbers[2], t=target)
    data = {
        "key": f"{sorted(numbers)} {target}", "level": level, "lang": lang, "numbers": numbers, "target": target,
    }  # fmt: skip
    return Problem("countdown", prompt, written(form, numbers), data)


def check(problem: Problem, answer: str) -> Score:
    """Right when the expression uses each number exactly once and is worth the target; `=target` may follow."""
    left, equals, right = answer.partition("=")
    if equals and right.strip() != str(problem.data["target"]):
        return right_or_wrong(False, "the claimed value is not the target")
    try:
        expression = read_expression(left)
    except ExpressionError as error:
        return right_or_wrong(False, str(error))
    if Counter(expression.numbers) != Counter(problem.data["numbers"]):
        return right_or_wrong(False, "not each number once")
    return right_or_wrong(expression.value == problem.data["target"], f"worth {expression.value}")


COUNTDOWN = MiniTask("countdown", make, check)
