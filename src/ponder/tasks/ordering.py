"""Ordering puzzles: who is the tallest? The usual misconception is to name whoever is mentioned first."""

from __future__ import annotations

import random

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask, right_or_wrong

NAMES = ("Ann", "Bob", "Cara", "Dan", "Eva", "Finn", "Gina", "Hugo")
WORDS = {
    "en": {
        "tall": ("taller than", "tallest", "shortest"),
        "old": ("older than", "oldest", "youngest"),
        "fast": ("faster than", "fastest", "slowest"),
    },
    "de": {
        "tall": ("größer als", "größte", "kleinste"),
        "old": ("älter als", "älteste", "jüngste"),
        "fast": ("schneller als", "schnellste", "langsamste"),
    },
}
SENTENCE = {"en": "{a} is {r} {b}.", "de": "{a} ist {r} {b}."}
QUESTION = {"en": "Who is the {s}?", "de": "Wer ist am Ende der {s}?"}


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """A chain of three (level 1), four (2) or five (3) people, told in any order; asked for one end of it."""
    chain = rng.sample(NAMES, level + 2)
    facts = [(a, b) for a, b in zip(chain, chain[1:], strict=False)]
    rng.shuffle(facts)
    quality = rng.choice(tuple(WORDS[lang]))
    than, most, least = WORDS[lang][quality]
    top = rng.random() < 0.5
    story = " ".join(SENTENCE[lang].format(a=a, b=b, r=than) for a, b in facts)
    prompt = f"{story} {QUESTION[lang].format(s=most if top else least)}"
    data = {
        "key": f"{chain} {top}", "level": level, "lang": lang, "chain": chain, "facts": facts, "top": top,
    }  # fmt: skip
    return Problem("ordering", prompt, chain[0] if top else chain[-1], data)


def check(problem: Problem, answer: str) -> Score:
    """Right when the answer is the name, and nothing but the name."""
    return right_or_wrong(answer.strip().rstrip(".").lower() == problem.answer.lower())


ORDERING = MiniTask("ordering", make, check)
