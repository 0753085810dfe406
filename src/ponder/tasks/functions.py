"""Small Python functions, with the calls that a right one must answer.

Model text is never executed in this process, so a completion's verdict is unknown (None) until it is run in a sandbox;
the kind is part of the corpus and can be drawn, and is left out of training and evaluation.
"""

from __future__ import annotations

import random

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask

ASK = {
    "en": "Write a Python function f({p}) that returns {d}.",
    "de": "Schreibe eine Python-Funktion f({p}) mit dem Ergebnis {d}.",
}
CALLS = (-3, 0, 1, 2, 7, 10)


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """By level: one operation; two operations; a choice between two values."""
    a, b = rng.randint(2, 9), rng.randint(1, 9)
    if level == 1:
        operator = rng.choice("+-*")
        expression = f"x{operator}{a}"
        value = {"+": lambda x: x + a, "-": lambda x: x - a, "*": lambda x: x * a}[operator]
    elif level == 2:
        expression, value = rng.choice(
            (
                (f"{a}*x+{b}", lambda x: a * x + b),
                (f"{a}*x-{b}", lambda x: a * x - b),
                (f"x*x+{b}", lambda x: x * x + b),
            )
        )
    else:
        expression, value = rng.choice(((f"max(x,{a})", lambda x: max(x, a)), (f"min(x,{a})", lambda x: min(x, a))))
    prompt = ASK[lang].format(p="x", d=expression)
    tests = [[[x], value(x)] for x in CALLS]
    data = {"key": expression, "level": level, "lang": lang, "entry": "f", "tests": tests}
    return Problem("functions", prompt, f"def f(x): return {expression}", data)


def check(problem: Problem, answer: str) -> Score:
    """Unknown: a program is judged by running it, and that needs a sandbox."""
    return Score(None, None, {}, "a program is graded by running it in a sandbox, which this version does not have")


FUNCTIONS = MiniTask("functions", make, check)
