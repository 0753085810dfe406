"""Word problems of two or three steps. The usual misconception is to add every number that is mentioned."""

from __future__ import annotations

import random

from ponder.core.types import Problem, Score
from ponder.tasks.drawing import MiniTask, right_or_wrong
from ponder.verify.numbers import same_number

NAMES = ("Tom", "Anna", "Ben", "Clara", "Paul", "Mia", "Felix", "Lena")
THINGS = {
    "en": ("apples", "coins", "books", "cards", "pens", "eggs", "stones", "cakes"),
    "de": ("Äpfel", "Münzen", "Bücher", "Karten", "Stifte", "Eier", "Steine", "Kuchen"),
}
STORIES = {
    "en": {
        "bags": "{w} has {a} {t}. {w} buys {b} bags with {c} {t} each. How many {t} does {w} have now?",
        "bags_gone": "{w} has {b} bags with {c} {t} each. {w} gives away {a} {t}. How many {t} are left?",
        "bags_both": "{w} has {a} {t} and buys {b} bags with {c} {t} each. Then {w} loses {d}. How many {t} are left?",
        "times_more": "{w} has {b} {t}. {v} has {c} times as many. How many {t} do they have together?",
    },
    "de": {
        "bags": "{w} hat {a} {t}. {w} kauft {b} Tüten mit je {c} {t}. Wie viele {t} hat {w} jetzt?",
        "bags_gone": "{w} hat {b} Tüten mit je {c} {t}. {w} verschenkt {a} {t}. Wie viele {t} bleiben?",
        "bags_both": "{w} hat {a} {t} und kauft {b} Tüten mit je {c} {t}. Dann verliert {w} {d}. "
        "Wie viele {t} bleiben?",
        "times_more": "{w} hat {b} {t}. {v} hat {c} mal so viele. Wie viele {t} haben beide zusammen?",
    },
}


def make(rng: random.Random, level: int, lang: str) -> Problem:
    """By level: 1 a product and a sum, 2 a product and a difference or a multiple, 3 three steps."""
    story = {1: "bags", 2: rng.choice(("bags_gone", "times_more")), 3: "bags_both"}[level]
    while True:
        b, c = rng.randint(2, 9), rng.randint(2, 9)
        a = rng.randint(2, 20) if story != "bags_gone" else rng.randint(1, b * c - 1)
        d = rng.randint(1, a) if story == "bags_both" else 0
        value, misconceived = {
            "bags": (a + b * c, a + b + c),
            "bags_gone": (b * c - a, a + b + c),
            "bags_both": (a + b * c - d, a + b + c - d),
            "times_more": (b + b * c, b + c),
        }[story]
        if value != misconceived:  # else the misconception would be right (2 bags with 2 each)
            break
    w, v = rng.sample(NAMES, 2)
    thing = rng.randrange(len(THINGS[lang]))
    prompt = STORIES[lang][story].format(w=w, v=v, t=THINGS[lang][thing], a=a, b=b, c=c, d=d)
    numbers = [b, c] if story == "times_more" else [a, b, c, d] if story == "bags_both" else [a, b, c]
    key = f"{story} {sorted(numbers)}"
    data = {"key": key, "level": level, "lang": lang, "story": story, "a": a, "b": b, "c": c, "d": d}
    return Problem("word_problems", prompt, str(value), data)


def check(problem: Problem, answer: str) -> Score:
    """Right when the answer is the gold number, with or without the name of the things that were asked for."""
    words = answer.strip().rstrip(".").split()
    named = len(words) == 2 and words[1] in THINGS[problem.data["lang"]] and words[1] in problem.prompt
    return right_or_wrong(same_number(words[0] if named else answer, problem.answer))


WORD_PROBLEMS = MiniTask("word_problems", make, check)
