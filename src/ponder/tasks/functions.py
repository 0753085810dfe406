"""Small Python functions, told in words: what is added, multiplied and taken away, one after the other.

A program is judged by its tests alone, in the sandbox (`ponder.sandbox`); it never runs in this process.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask

Step = tuple[str, int]
"""An operation (`+`, `-` or `*`) and its number."""

ASK = {"en": "Write a Python function f(x) that {d}.", "de": "Schreibe eine Python-Funktion f(x), die {d}."}
SAID = {
    "en": {"+": "adds {n}", "-": "subtracts {n}", "*": "multiplies by {n}", "last": "{d} and then {e}"},
    "de": {"+": "{n} addiert", "-": "{n} subtrahiert", "*": "mit {n} multipliziert", "last": "{d} und dann {e}"},
}
ORDERS = {1: ("am", "ma"), 2: ("ama", "mam", "maa"), 3: ("amam", "mama")}
"""By level, what follows what: `a` adds or subtracts, `m` multiplies."""
CALLS = (-3, 0, 1, 2, 7, 10)
"""The arguments of the tests."""


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """Two, three or four operations by level, at least one of each sort."""
    steps = [_step(rng, sort) for sort in rng.choice(ORDERS[level])]
    said = [SAID[lang][sign].format(n=n) for sign, n in steps]
    told = SAID[lang]["last"].format(d=", ".join(said[:-1]), e=said[-1])
    start = value(steps, 0)
    data = {
        # What the function is, not how it was told: (x+1)*5 and x*5+5 are one content, and fall into one split.
        "key": f"{value(steps, 1) - start}x{start:+}", "level": level, "lang": lang, "steps": [[*s] for s in steps],
        "test": {"mode": "call", "entry": "f", "cases": [[[x], value(steps, x)] for x in CALLS]},
    }  # fmt: skip
    return Problem("functions", ASK[lang].format(d=told), f"def f(x): return {expression(steps)}", data)


def _step(rng: random.Random, sort: str) -> Step:
    return ("*", rng.randint(2, 9)) if sort == "m" else (rng.choice("++-"), rng.randint(1, 9))


def value(steps: Sequence[Step], x: int) -> int:
    """The function at `x`."""
    for sign, n in steps:
        x = x + n if sign == "+" else x - n if sign == "-" else x * n
    return x


def expression(steps: Sequence[Step]) -> str:
    """The function as Python: a sum stands in brackets before it is multiplied."""
    text, is_sum = "x", False
    for sign, n in steps:
        text = f"({text}){sign}{n}" if sign == "*" and is_sum else f"{text}{sign}{n}"
        is_sum = sign != "*"
    return text


def check(problem: Problem, answer: str) -> Score:
    """Right when every test passes in the sandbox; `parts` holds the share of them. Unknown where it could not run."""
    from ponder.sandbox.choice import default_sandbox
    from ponder.sandbox.grade import code_of, run_tests
    from ponder.sandbox.limits import Limits

    program = code_of(answer, {"test": ""})
    found = run_tests(program, problem.data["test"], sandbox=default_sandbox(), limits=Limits(cpu_s=1.0))
    share = None if found.correct is None else found.share
    score = None if found.correct is None else float(found.correct)
    return Score(score, found.correct, {"tests": share}, found.note)


FUNCTIONS = MiniTask("functions", make, check)
