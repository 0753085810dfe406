"""Pairs: which two of the given numbers have a given sum? A search-like kind: at most ten pairs, in a fixed order."""

from __future__ import annotations

import random
import re
from itertools import combinations

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask, right_or_wrong

WORDINGS = {
    "en": ("Which two of {n} add up to {t}?", "Pick two of {n} with sum {t}."),
    "de": ("Welche zwei von {n} ergeben zusammen {t}?", "Wähle zwei von {n} mit Summe {t}."),
}
SIZES = {1: (4, 20), 2: (5, 30), 3: (6, 60)}
"""How many numbers, and the largest of them, by level."""

_TWO = re.compile(r"(\d{1,6})\s{0,3}(?:\+|,|and|und|\s)\s{0,3}(\d{1,6})\s{0,3}\.?", re.ASCII)


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """Different numbers, exactly one pair of which has the target as its sum."""
    count, largest = SIZES[level]
    while True:
        numbers = rng.sample(range(2, largest + 1), count)
        pair = rng.choice(list(combinations(numbers, 2)))
        target = sum(pair)
        if sum(a + b == target for a, b in combinations(numbers, 2)) == 1:
            break
    prompt = rng.choice(WORDINGS[lang]).format(n=" ".join(map(str, numbers)), t=target)
    data = {
        "key": f"{sorted(numbers)} {target}", "level": level, "lang": lang, "numbers": numbers, "target": target,
    }  # fmt: skip
    return Problem("pairs", prompt, f"{pair[0]}+{pair[1]}", data)


def check(problem: Problem, answer: str) -> Score:
    """Right when exactly two of the given numbers are named (`4+17`, `4 and 17`) and they have the target as sum."""
    shape = _TWO.fullmatch(answer.strip())
    if not shape:
        return right_or_wrong(False, "not two numbers")
    first, second = int(shape[1]), int(shape[2])
    if first == second or not {first, second} <= set(problem.data["numbers"]):
        return right_or_wrong(False, "not two of the given numbers")
    return right_or_wrong(first + second == problem.data["target"], f"sum {first + second}")


PAIRS = MiniTask("pairs", make, check)
