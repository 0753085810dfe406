"""Arithmetic: products, order of operations, brackets. The usual misconception is to work from left to right."""

from __future__ import annotations

import random
import re

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask, right_or_wrong
from ponder.verify.numbers import same_number

WORDINGS = {
    "en": ("What is {e}?", "Compute {e}.", "Calculate {e}.", "How much is {e}?"),
    "de": ("Was ist {e}?", "Berechne {e}.", "Wie viel ist {e}?"),
}


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """Forms by level: 1 `a+b*c`; 2 `(a+b)*c`, `a*(b-c)`, two digits times one; 3 `a*b+c*d`, two digits times two."""
    digit = lambda: rng.randint(2, 9)  # noqa: E731
    if level == 1:
        form = "sum_product"
        numbers = [rng.randint(2, 20), digit(), digit()]
    elif level == 2:
        form = rng.choice(("bracket_sum", "bracket_difference", "long_product"))
        if form == "bracket_sum":
            numbers = [digit(), rng.randint(2, 12), digit()]
        elif form == "bracket_difference":
            small = digit()
            numbers = [digit(), small + digit(), small]
        else:
            numbers = [rng.randint(12, 49), digit()]
    else:
        form = rng.choice(("two_products", "long_long_product"))
        numbers = [digit() for _ in range(4)] if form == "two_products" else [rng.randint(11, 39), rng.randint(11, 29)]
        while form == "long_long_product" and numbers[0] % 10 == numbers[1] % 10 == 0:
            numbers[1] = rng.randint(11, 29)  # with two round numbers the misconception would be right
    expression, value = _written(form, numbers)
    prompt = rng.choice(WORDINGS[lang]).format(e=expression)
    key = f"{re.sub('[0-9]+', 'n', expression)} {sorted(numbers)}"  # 12*15 and 15*12 are the same content
    data = {"key": key, "level": level, "lang": lang, "form": form, "numbers": numbers, "expression": expression}
    return Problem("arithmetic", prompt, str(value), data)


def _written(form: str, n: list[int]) -> tuple[str, int]:
    return {
        "sum_product": lambda: (f"{n[0]}+{n[1]}*{n[2]}", n[0] + n[1] * n[2]),
        "bracket_sum": lambda: (f"({n[0]}+{n[1]})*{n[2]}", (n[0] + n[1]) * n[2]),
        "bracket_difference": lambda: (f"{n[0]}*({n[1]}-{n[2]})", n[0] * (n[1] - n[2])),
        "long_product": lambda: (f"{n[0]}*{n[1]}", n[0] * n[1]),
        "two_products": lambda: (f"{n[0]}*{n[1]}+{n[2]}*{n[3]}", n[0] * n[1] + n[2] * n[3]),
        "long_long_product": lambda: (f"{n[0]}*{n[1]}", n[0] * n[1]),
    }[form]()


def check(problem: Problem, answer: str) -> Score:
    """Right when the answer is the gold number, in any usual notation."""
    return right_or_wrong(same_number(answer, problem.answer))


ARITHMETIC = MiniTask("arithmetic", make, check)
