"""Factors: two numbers with a given product and a given sum (difference, sum with the second doubled).

A search-like kind: counting one number up from 1 covers the space, and each try is one product.
"""

from __future__ import annotations

import random
import re

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask, right_or_wrong

WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "sum": ("Find two numbers with sum {s} and product {p}.", "Which two numbers have sum {s} and product {p}?"),
        "difference": (
            "Find two numbers with difference {s} and product {p}.",
            "Which two numbers have difference {s} and product {p}?",
        ),
        "double": ("One number plus twice another is {s}, and their product is {p}. Find them.",),
    },
    "de": {
        "sum": ("Finde zwei Zahlen mit Summe {s} und Produkt {p}.",),
        "difference": ("Finde zwei Zahlen mit Differenz {s} und Produkt {p}.",),
        "double": ("Eine Zahl plus zweimal eine andere ist {s}, ihr Produkt ist {p}. Finde sie.",),
    },
}
LARGEST = {1: 9, 2: 16, 3: 20}

_TWO = re.compile(r"(\d{1,6})\s{0,3}(?:\*|×|,|and|und|\s)\s{0,3}(\d{1,6})\s{0,3}\.?", re.ASCII)


def partner(form: str, total: int, x: int) -> int:
    """The other number, when one of them is `x`; below 1 where there is none."""
    return {"sum": total - x, "difference": total + x, "double": total - 2 * x}[form]


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """Numbers up to 9, 16 or 20 by level; sum and difference at level 1, all three forms above."""
    form = rng.choice(("sum", "difference") if level == 1 else ("sum", "difference", "double"))
    a, b = sorted(rng.sample(range(1, LARGEST[level] + 1), 2))
    if form == "double":
        a, b = rng.randint(1, 9), rng.randint(1, LARGEST[level])
    totals = {"sum": a + b, "difference": b - a, "double": b + 2 * a}
    total, product = totals[form], a * b
    prompt = rng.choice(WORDINGS[lang][form]).format(s=total, p=product)
    data = {
        "key": f"{form} {total} {product}", "level": level, "lang": lang, "form": form, "total": total,
        "product": product,
    }  # fmt: skip
    first = next(x for x in range(1, product + 1) if x * partner(form, total, x) == product)  # `double` may have two
    return Problem("factors", prompt, f"{product // first}*{first}", data)


def check(problem: Problem, answer: str) -> Score:
    """Right when exactly two numbers are named (`9*4`, `4 and 9`) and they meet both conditions, in either order."""
    shape = _TWO.fullmatch(answer.strip())
    if not shape:
        return right_or_wrong(False, "not two numbers")
    form, total, product = (problem.data[k] for k in ("form", "total", "product"))
    pair = int(shape[1]), int(shape[2])
    fits = any(partner(form, total, x) == y for x, y in (pair, pair[::-1]))
    return right_or_wrong(fits and pair[0] * pair[1] == product, f"product {pair[0] * pair[1]}")


FACTORS = MiniTask("factors", make, check)
