"""The built-in parts: accuracy and format, both strict.

`opened` says that the prompt's template already wrote `<think>`, so that a completion which does not repeat it is
still read as one thought. Bind it with `functools.partial`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.core.errors import PonderError
from ponder.core.thinking import parse
from ponder.core.types import Completion, Problem, Score
from ponder.tasks import TASKS


def accuracy(problems: Sequence[Problem], completions: Sequence[Completion], opened: bool = False) -> list[Score]:
    """What the task's own grader says of the first `<answer>` outside the thought; no such answer is wrong.

    Nothing after that answer is graded, so a second guess earns nothing. Whether the form around it is right is the
    business of `format`. Raises PonderError for a task that has no grader.
    """
    return [_grade(problem, completion.text, opened) for problem, completion in zip(problems, completions, strict=True)]


def _grade(problem: Problem, text: str, opened: bool) -> Score:
    task = TASKS.get(problem.task)
    if task is None:
        known = ", ".join(sorted(TASKS)) or "none"
        raise PonderError(
            f"problem {problem.id}: task {problem.task!r} has no grader; the tasks are {known}, and a reward function "
            "of your own can grade any other"
        )
    answer = parse(text, opened).answer
    return task.grade(problem, answer) if answer else Score(0.0, False, note="no answer")


def format(problems: Sequence[Problem], completions: Sequence[Completion], opened: bool = False) -> list[Score]:
    """1 where the text is one thought, then one answer, and nothing else; 0 otherwise, with the fault as the note."""
    scores = []
    for completion in completions:
        parsed = parse(completion.text, opened)
        scores.append(Score(1.0 if parsed.well_formed else 0.0, None, note=parsed.fault))
    return scores
