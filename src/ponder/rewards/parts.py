"""The built-in parts that say what is right: accuracy by kind of task, and code tests.

`opened` says that the prompt's template already wrote `<think>`, so that a completion which does not repeat it is
still read as one thought. Bind it with `functools.partial`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.thinking import parse
from ponder.core.types import Completion, Problem, Score
from ponder.tasks import TASKS
from ponder.tasks.row_tasks import ROW_TASKS, ROWS
from ponder.tasks.rows import last_boxed

NO_ANSWER = "no answer"
"""The note on a completion in which no answer was found."""

SLOW_TASKS = frozenset({"code", "functions", "math"})
"""Kinds whose graders wait for other processes: a sandbox, or a symbolic worker."""


def accuracy(problems: Sequence[Problem], completions: Sequence[Completion], opened: bool = False) -> list[Score]:
    """What the task's own grader says of the first `<answer>` outside the thought; no such answer is wrong.

    Nothing after that answer is graded, so a second guess earns nothing. Problems from files may also be answered in a
    `\\boxed{}` behind the thought (the last one counts), and where the task grades whole responses (programs, texts
    that follow instructions) all that follows the thought is the answer. Whether the form around it is right is the
    business of `format`. Raises PonderError for a task that has no grader.
    """
    return [_grade(problem, completion.text, opened) for problem, completion in zip(problems, completions, strict=True)]


def accuracy_is_slow(problem: Problem) -> bool:
    """Whether grading this problem waits for another process."""
    return problem.task in SLOW_TASKS


def _grade(problem: Problem, text: str, opened: bool) -> Score:
    task = TASKS.get(problem.task)
    if task is None:
        known = ", ".join(sorted(TASKS)) or "none"
        raise PonderError(
            f"problem {problem.id}: task {problem.task!r} has no grader; the tasks are {known}, and a reward function "
            "of your own can grade any other"
        )
    answer = _answer(problem.task, text, opened)
    return task.grade(problem, answer) if answer else Score(0.0, False, note=NO_ANSWER)


def _answer(task: str, text: str, opened: bool) -> str:
    parsed = parse(text, opened)
    if parsed.answer is not None:
        return parsed.answer
    if getattr(TASKS[task], "whole", False):
        return parsed.rest
    return last_boxed(parsed.rest) if task in ROW_TASKS or task == ROWS.name else ""


def code(
    problems: Sequence[Problem], completions: Sequence[Completion], opened: bool = False, *, partial: bool = False
) -> list[Score]:
    """The program in the answer, run on the problem's tests in the sandbox; unknown where the sandbox could not say.

    partial: the value is the share of tests that pass, not all or nothing. `correct` is all of them either way.
    Raises PonderError for a problem without tests.
    """
    return [_run(p, c.text, opened, partial) for p, c in zip(problems, completions, strict=True)]


def _run(problem: Problem, text: str, opened: bool, partial: bool) -> Score:
    from ponder.sandbox.choice import default_sandbox
    from ponder.sandbox.grade import code_of, run_tests

    data = problem.data
    test = _test(problem)
    parsed = parse(text, opened)
    response = parsed.rest if parsed.answer is None else parsed.answer
    if not response:
        return Score(0.0, False, note=NO_ANSWER)
    # What the row said of the program's beginning (HumanEval); `code_of` reads the rest from the response.
    program = code_of(response, {"test": "", "entry_point": data.get("entry_point"), "prompt": data.get("stub")})
    verdict = run_tests(program, test, sandbox=default_sandbox(), stop_early=not partial)
    if verdict.correct is None:
        return Score(None, None, note=verdict.note or verdict.status)
    value = verdict.share if partial else float(verdict.correct)
    return Score(value, verdict.correct, {"tests": verdict.share}, verdict.note or verdict.status)


def _test(problem: Problem) -> Mapping[str, Any]:
    from ponder.sandbox.grade import test_of

    data = problem.data
    if isinstance(data.get("test"), Mapping):
        return dict(data["test"])
    if "entry" in data and "tests" in data:  # the miniature world's functions
        return {"mode": "call", "entry": data["entry"], "cases": data["tests"]}
    try:
        return test_of(data)
    except PonderError as error:
        raise PonderError(f"reward 'code': problem {problem.id} ({problem.task}) has no tests: {error}") from error
