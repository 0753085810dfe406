"""Which problems are trained on, and in which order."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import make_problems, make_tokenizer, render

import ponder.training.questions as questions
from ponder.core.errors import PonderError
from ponder.core.types import Problem, Score
from ponder.training.questions import check_lengths, draw, encoder, usable


class Even:
    """A task whose grader accepts even numbers only."""

    name = "even"

    def problems(self, split: str, n: int, seed: str = "") -> list[Problem]:
        return []

    def grade(self, problem: Problem, answer: str) -> Score:
        if answer == "?":
            return Score(None, None)
        return Score(1.0, True) if int(answer) % 2 == 0 else Score(0.0, False)


def test_problems_that_cannot_be_trained_on_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(questions.TASKS, "even", Even())
    rows = [("a", "2"), ("b", ""), ("c", "  "), ("d", "3"), ("e", "?"), ("a", "2"), ("f", "4")]
    problems = [Problem("even", prompt, answer) for prompt, answer in rows] + [Problem("of no table", "g", "x")]
    with caplog.at_level(logging.WARNING, "ponder"):
        intake = usable(problems)
    assert [p.prompt for p in intake.problems] == ["a", "f", "g"]
    assert intake.dropped == {"no answer": 2, "gold answer rejected": 2, "repeated": 1}
    assert "5 of 8 problems dropped: 2 no answer, 2 gold answer rejected, 1 repeated" in caplog.text


def test_too_few_problems_are_refused() -> None:
    with pytest.raises(PonderError, match="the problem set is empty"):
        usable([])
    with pytest.raises(PonderError, match=r"0 of 1 problems can be trained on \(1 no answer\)"):
        usable([Problem("t", "p", "")])
    with pytest.raises(
        PonderError, match="24 of 24 .* fewer than the 32 of a step; add problems or lower questions_per"
    ):
        usable(make_problems(24), 32)


def test_prompts_that_leave_no_room_are_refused() -> None:
    encode, problems = encoder(make_tokenizer()), make_problems()
    longest = max(len(p.prompt) for p in problems)
    assert check_lengths(problems, render, encode, 10, longest + 10) == longest
    with pytest.raises(PonderError, match=rf"beyond the model's context of {longest + 9}: lower .* to 9 or less"):
        check_lengths(problems, render, encode, 10, longest + 9)
    with pytest.raises(PonderError, match="leave that problem out"):
        check_lengths(problems, render, encode, 10, longest - 1)


def test_an_epoch_asks_every_question_once_and_the_next_in_another_order() -> None:
    problems = make_problems(10)
    first, cursor = draw(problems, 0, 0, 10)
    second, cursor = draw(problems, 0, cursor, 10)
    assert cursor == 20 and {p.id for p in first} == {p.id for p in second} == {p.id for p in problems}
    assert first != second and first != problems
    assert draw(problems, 1, 0, 10)[0] != first


@given(st.integers(1, 12), st.integers(0, 40), st.integers(1, 12), st.integers(0, 3))
def test_a_step_never_asks_a_question_twice(size: int, cursor: int, count: int, seed: int) -> None:
    problems = make_problems(size)
    drawn, after = draw(problems, seed, cursor, count)
    assert len({p.id for p in drawn}) == len(drawn) == min(count, size)
    again, _ = draw(problems, seed, after, count, taken={p.id for p in drawn})
    assert not {p.id for p in again} & {p.id for p in drawn}
    assert len(again) == min(count, size - len(drawn))


def test_the_order_does_not_depend_on_the_size_of_a_step() -> None:
    problems, cursor, single = make_problems(10), 0, []
    for _ in range(10):
        drawn, cursor = draw(problems, 5, cursor, 1)
        single += drawn
    assert single == draw(problems, 5, 0, 10)[0]
    assert max(Counter(p.id for p in single).values()) == 1
