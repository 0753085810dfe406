"""What makes a text readable, part by part; and the punishment of length."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem
from ponder.rewards import compose, overlong, parts_of
from ponder.rewards.readability import LONGEST, PARTS, readability

GOOD = (
    "<think>\nFirst we add the two numbers, and then we check.\n2 + 3 = 5, so the answer is right.\n</think>\n"
    "<answer>5</answer>"
)


def test_a_good_answer_is_readable() -> None:
    found = readability(GOOD)
    assert found.score == 1.0 and found.lang == "en" and found.fault == "" and tuple(found.parts) == PARTS
    assert readability(GOOD, "en").score == 1.0
    assert readability(GOOD, "de").score == 0.0 and readability(GOOD, "de").fault == "mixed languages"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (GOOD.replace("and then we check", "und dann prüfen wir das noch einmal"), "one_language"),
        (GOOD.replace("</think>", ""), "closed"),
        (GOOD.replace("<think>", ""), "closed"),
        (GOOD + "<think>", "closed"),
        (GOOD.replace("</answer>", ""), "closed"),
        (GOOD.replace("2 + 3", "```\n2 + 3"), "closed"),
        (GOOD.replace("2 + 3", r"\[ 2 + 3"), "closed"),
        (GOOD.replace("2 + 3", r"$$ 2 + 3"), "closed"),
        (GOOD.replace("<answer>5</answer>", ""), "once"),
        (GOOD + "<answer>5</answer>", "once"),
        ("<think>we add</think> It is \\boxed{5}, no, \\boxed{6}.", "once"),
        ("<think>we add and we add", "once"),
        ("", "once"),
        (GOOD.replace("First", "Now we add again.\nNow we add again.\nNow we add again.\nFirst"), "fresh"),
        (GOOD.replace("First", "we add one and two and then look again " * 4 + "First"), "fresh"),
        (GOOD.replace("First", "First " + " ".join(f"word{i}" for i in range(LONGEST))), "paragraphs"),
        (GOOD.replace("First", "F\ufffdrst"), "clean"),
        (GOOD.replace("First", "F\x00rst"), "clean"),
    ],
)
def test_each_part_falls_by_its_own_fault(text: str, part: str) -> None:
    found = readability(text)
    assert found.parts[part] < 1.0 and found.score < 1.0 and found.fault


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 5.",  # no thought at all
        "<think>we add</think> It is \\boxed{5}, as I said: \\boxed{ 5}.",
        GOOD.replace("2 + 3", "\\begin{align} a &= b \\\\[2pt] c &= d \\end{align} 2 + 3"),
        GOOD.replace("2 + 3", "```python\nfor i in x: y\n``` \\[ x \\] $$y$$ \\(z\\) 2 + 3"),
        GOOD.replace("First", "So.\nSo.\nSo.\nFirst"),  # a word is no repeated line
    ],
)
def test_what_is_no_fault(text: str) -> None:
    assert readability(text).score == 1.0, readability(text)


def test_a_template_that_opened_the_thought() -> None:
    text = GOOD.removeprefix("<think>")
    assert readability(text).parts["closed"] == 0.0 and readability(text, opened=True).score == 1.0


def test_the_more_often_the_less_readable() -> None:
    line = "we check this number again and it is right\n"
    scores = [readability(GOOD.replace("First", line * times + "First")).score for times in (1, 2, 4, 16)]
    assert scores == sorted(scores, reverse=True) and scores[0] == 1.0 and scores[-1] < 0.3


def test_scripts_without_spaces() -> None:
    chinese = "<think>首先我们把两个数相加。所以答案是三。</think><answer>三</answer>"
    assert readability(chinese).score == 1.0 and readability(chinese).lang == "zh"
    assert readability(chinese.replace("首先", "首先" + "等等" * 40)).parts["fresh"] < 0.6
    assert readability(chinese.replace("首先", "".join(chr(0x4E00 + i) for i in range(500)))).parts["paragraphs"] < 1
    japanese = "<think>まず二つの数を足します。</think><answer>三</answer>"
    assert readability(japanese).parts["one_language"] == 1.0 and readability(japanese, "ja").score == 1.0


def test_as_a_part_its_parts_are_logged() -> None:
    problem = Problem("sums", "1+1?", "2", {"lang": "de"})
    said = [
        Completion((1,), (2,), (), text, "stop") for text in (GOOD, "<think>wir rechnen</think>und<answer>2</answer>")
    ]
    english, german = compose(parts_of([{"name": "readability", "weight": 1.0}]))([problem] * 2, said)
    assert english.value == 0.0 and english.note == "readability: mixed languages" and german.value == 1.0
    assert {f"readability/{name}" for name in PARTS} <= set(english.parts)
    opened = compose(parts_of(["readability"], opened=True))
    assert (
        opened([Problem("sums", "?", "")], [Completion((1,), (2,), (), "so</think>5", "stop")])[0].parts["readability"]
        == 1.0
    )
    with pytest.raises(PonderError, match="cannot be told"):
        readability(GOOD, "klingon")


@given(st.text(max_size=300) | st.text(alphabet="<>/thinkaswer.`$\\[]{}boxed \n", max_size=300), st.booleans())
def test_it_is_total_and_bounded(text: str, opened: bool) -> None:
    found = readability(text, opened=opened)
    assert 0.0 <= found.score <= 1.0 and all(0.0 <= value <= 1.0 for value in found.parts.values())
    assert bool(found.fault) == (found.score < 1.0)


@pytest.mark.parametrize(
    "unit", ["<think>", "\\boxed{", "\\boxed{{", "{}", "a b\n", "等", "```", "\\[", "$", "\n", "a "]
)
def test_time_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            readability(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(100_000) < 40 * seconds(10_000) + 0.05


# ---- overlong ----


def test_overlong_is_the_trainers_own_punishment() -> None:
    from ponder.objectives.credit import overlong_penalty

    for tokens in range(0, 140, 7):
        said = [Completion((1,), (2,) * tokens, (), "", "stop")]
        (score,) = overlong([Problem("sums", "?", "")], said, max_length=100, buffer=40)
        assert score.value == pytest.approx(overlong_penalty(tokens, 100, 40))


def test_overlong_from_a_recipe() -> None:
    entry: dict[str, Any] = {"name": "overlong", "max_length": 100, "buffer": 50, "weight": 1.0}
    said = [Completion((1,), (2,) * n, (), "", "stop") for n in (10, 50, 75, 100, 1000)]
    scores = compose(parts_of([entry]))([Problem("sums", "?", "")] * 5, said)
    assert [score.value for score in scores] == [0.0, 0.0, -0.5, -1.0, -1.0]
    with pytest.raises(PonderError, match="buffer is 200, beyond max_length 100"):
        compose(parts_of([{**entry, "buffer": 200}]))([Problem("sums", "?", "")], said[:1])
