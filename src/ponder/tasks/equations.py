"""Linear equations in one unknown. The usual misconception is to move a term across without changing its sign."""

from __future__ import annotations

import random

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask, right_or_wrong
from ponder.verify.numbers import same_number

WORDINGS = {
    "en": ("Solve {e} for x.", "Find x if {e}.", "If {e}, what is x?"),
    "de": ("Löse {e} nach x auf.", "Finde x mit {e}.", "Es gilt {e}. Was ist x?"),
}


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """By level: 1 `ax+b=c`, 2 `ax+b=c` or `ax-b=c` with larger numbers, 3 the unknown on both sides."""
    a, x = rng.randint(2, 9), rng.randint(2, 9 if level == 1 else 12)
    b = rng.randint(1, 9 if level == 1 else 20)
    sign = "-" if level == 2 and rng.random() < 0.5 else "+"
    if sign == "-" and a * x <= b:
        b = rng.randint(1, a * x - 1)
    right = a * x + b if sign == "+" else a * x - b
    c = rng.randint(1, a - 1) if level == 3 else 0
    d = right - c * x
    equation = f"{a}x{sign}{b}={c}x+{d}" if level == 3 else f"{a}x{sign}{b}={d}"
    prompt = rng.choice(WORDINGS[lang]).format(e=equation)
    data = {
        "key": equation, "level": level, "lang": lang, "equation": equation,
        "a": a, "b": b, "sign": sign, "c": c, "d": d,
    }  # fmt: skip
    return Problem("equations", prompt, str(x), data)


def check(problem: Problem, answer: str) -> Score:
    """Right when the answer is the gold number; `x=5` is read as 5."""
    left, equals, right = answer.partition("=")
    value = right if equals and left.strip().lower() == "x" else answer
    return right_or_wrong(same_number(value, problem.answer))


EQUATIONS = MiniTask("equations", make, check)
