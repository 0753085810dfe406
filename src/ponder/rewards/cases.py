"""What a reward report counts besides the reward: answers that could not be found or graded, and credit for form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ponder.rewards.parts import NO_ANSWER


class Graded(Protocol):
    """A completion with its score."""

    @property
    def reward(self) -> float | None: ...

    @property
    def correct(self) -> bool | None: ...

    @property
    def note(self) -> str: ...


def extraction_failed(answer: Graded) -> bool:
    """No answer was found in the completion, by the note of a built-in part."""
    return any(note.endswith(f": {NO_ANSWER}") or note == NO_ANSWER for note in answer.note.split("; "))


def unknown(answer: Graded) -> bool:
    """The completion has no reward: a grader failed, was given up, or could not say."""
    return answer.reward is None


def format_only(answer: Graded) -> bool:
    """A wrong answer that was paid for something."""
    return answer.correct is False and answer.reward is not None and answer.reward > 0


CASES: dict[str, Callable[[Graded], bool]] = {
    "extraction_failed": extraction_failed,
    "unknown": unknown,
    "format_only": format_only,
}
"""Name -> whether a completion is one; their shares are logged as `rewards/{name}`."""
