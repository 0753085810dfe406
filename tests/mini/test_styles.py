"""Styles: which method a completion shows, how often each is right, and which of them pays."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.core.seeds import random_of
from ponder.mini.attempts import attempt
from ponder.mini.styles import STYLES, StyleRow, pays, style_of, style_table
from ponder.tasks import KINDS, SEARCH_LIKE, TASKS
from ponder.tasks.drawing import LANGUAGES, MiniTask

SAMPLES = {
    "direct": [
        "",
        "The answer is 27.",
        "<think>\nI guess\n</think>\n<answer>27</answer>",
        "<think>\neinfach\n</think>\n<answer>Ann</answer>",
        "Die Antwort ist 3*5+7.",
        "<think>\n</think>",
        "There is no answer, or yes, maybe; I know nothing of it",
    ],
    "one pass": [
        "2*5=10\n2+10=12\nThe answer is 12.",
        "<think>\n3x=27-12\n3x=15\nx=5\n</think>\n<answer>5</answer>",
        "<think>\n3*5+7=22\n</think>\n<answer>3*5+7</answer>",
        "<think>\n3*5=15\nokay, no doubt\n</think>",
        "first Ann > Bob\nThe answer is Ann.",
    ],
    "check or search": [
        "<think>\n2*5=10\ncheck: times before plus ok\n</think>\n<answer>12</answer>",
        "2+5=7\n7*5=35\nProbe: mal vor plus falsch\nMoment\n2*5=10",
        "<think>\n3+5+7=15 no\n3*5+7=22 yes\n</think>\n<answer>3*5+7</answer>",
        "versuche 3+5+7=15 nein\nDie Antwort ist 3*5+7.",
        "try 3*5+7=22 yes  \nThe answer is 3*5+7.",
        "check: Bob < Ann no\ncheck: Ann < nobody yes",
    ],
}


@pytest.mark.parametrize(("style", "text"), [(style, text) for style, texts in SAMPLES.items() for text in texts])
def test_style_of(style: str, text: str) -> None:
    assert style_of(text) == style


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_corpus_writes_is_recognised(kind: str) -> None:
    task = TASKS[kind]
    assert isinstance(task, MiniTask)
    rng = random_of("styles", kind)
    wanted = {"direct": "direct", "check": "check or search", "search": "check or search"}
    if kind not in ("requests", "functions"):  # their single passes are words and expressions, not sums
        wanted["steps"] = "one pass"
    for method, style in wanted.items():
        for at in range(40):
            problem = task.draw(rng, at % 3 + 1, LANGUAGES[at % 2])
            found = attempt(problem, method, rng, LANGUAGES[at // 2 % 2])
            thought = "\n".join(found.lines)
            for text in (
                f"{thought}\nThe answer is {found.answer}.",
                f"<think>\n{thought}\n</think>\n<answer>{found.answer}</answer>",
            ):
                assert style_of(text) == style, text


def rows(kind: str, sample: str, right: int, wrong: int, tokens: int = 10) -> list[dict[str, Any]]:
    verdicts: list[bool | None] = [True] * right + [False] * wrong
    return [{"task": kind, "output": sample, "correct_lenient": verdict, "tokens": tokens} for verdict in verdicts]


ONE, MANY, NONE = (SAMPLES[style][1] for style in ("one pass", "check or search", "direct"))


def test_the_table() -> None:
    made = rows("pairs", MANY, 3, 1, 30) + rows("pairs", ONE, 1, 4, 12) + rows("pairs", NONE, 0, 1, 4)
    made += [{"task": "requests", "output": NONE, "correct_lenient": None, "tokens": 6}]
    made[0]["tokens"] = 34
    assert style_table(reversed(made)) == [
        StyleRow("pairs", "direct", 1, 0.1, 0.0, 4.0),
        StyleRow("pairs", "one pass", 5, 0.5, 0.2, 12.0),
        StyleRow("pairs", "check or search", 4, 0.4, 0.75, 31.0),
    ]  # an unknown verdict is neither right nor wrong
    assert style_table([]) == [] and set(SAMPLES) == set(STYLES)


def test_what_pays() -> None:
    kind, other, third = SEARCH_LIKE
    made = rows(kind, ONE, 10, 20) + rows(kind, MANY, 20, 10)  # twice as often
    made += rows(other, ONE, 15, 15) + rows(other, MANY, 20, 10)  # 1.33 times
    made += rows(third, ONE, 5, 15) + rows(third, MANY, 19, 0)  # too few to say
    made += rows("arithmetic", ONE, 1, 29) + rows("arithmetic", MANY, 30, 0)  # pays, but is not search-like
    table = style_table(made)
    assert pays(table) == [kind]
    assert pays(table, factor=1.3) == [kind, other]
    assert pays(table, least=19) == [kind, third]
    assert pays(table, factor=2.0) == [kind] and pays(table, factor=2.01) == []
    assert pays(row for row in table if row.style != "one pass") == [] == pays([])
