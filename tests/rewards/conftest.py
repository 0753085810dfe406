"""What the tests of rewards share: completions from texts, and a task of sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

import ponder.tasks
from ponder.core.types import Completion, Problem, Score


class Sums:
    """Answers compared as text; "?" is beyond the grader."""

    name = "sums"

    def problems(self, split: str, n: int, seed: str = "") -> list[Problem]:
        return []

    def grade(self, problem: Problem, answer: str) -> Score:
        correct = None if answer == "?" else answer == problem.answer
        return Score(None if correct is None else float(correct), correct)


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> Problem:
    """A problem of a kind that is graded: 1+1."""
    monkeypatch.setitem(ponder.tasks.TASKS, "sums", Sums())
    return Problem("sums", "1+1?", "2")


@pytest.fixture
def say() -> Callable[..., list[Completion]]:
    """Texts as completions, of `tokens` tokens each where given."""

    def completions(*texts: str, tokens: int | Sequence[int] = 2) -> list[Completion]:
        counts = [tokens] * len(texts) if isinstance(tokens, int) else list(tokens)
        return [Completion((1,), (2,) * n, (-0.1,) * n, text, "stop") for text, n in zip(texts, counts, strict=True)]

    return completions
