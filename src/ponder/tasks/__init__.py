"""The kinds of problem: one file each, with its generator and its grader; `TASKS` is the table of them."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.core.errors import PonderError, nearest
from ponder.core.seeds import random_of
from ponder.core.types import Problem, Task
from ponder.sandbox.choice import default_sandbox
from ponder.sandbox.limits import SandboxUnavailable
from ponder.tasks.arithmetic import ARITHMETIC
from ponder.tasks.countdown import COUNTDOWN
from ponder.tasks.equations import EQUATIONS
from ponder.tasks.factors import FACTORS
from ponder.tasks.functions import FUNCTIONS
from ponder.tasks.gym import GYM_TASKS, PREFIX, gym_task
from ponder.tasks.ordering import ORDERING
from ponder.tasks.requests import REQUESTS
from ponder.tasks.row_tasks import ROW_TASKS, ROWS
from ponder.tasks.word_problems import WORD_PROBLEMS

MINIATURE = (ARITHMETIC, EQUATIONS, WORD_PROBLEMS, COUNTDOWN, FACTORS, ORDERING, REQUESTS, FUNCTIONS)

TASKS: dict[str, Task] = {**{task.name: task for task in (*MINIATURE, ROWS)}, **ROW_TASKS, **GYM_TASKS}
"""Every grader by the `task` of its problems: the miniature world, rows of files by kind, reasoning-gym."""

KINDS = ("arithmetic", "equations", "word_problems", "countdown", "factors", "ordering", "requests", "functions")
"""The kinds of the miniature world: what R1-Zero trains on and is measured on by default."""

PROGRAMS = ("functions",)
"""The kinds whose answers are run, which needs a sandbox."""

SEARCH_LIKE = ("countdown", "factors", "ordering")
"""The kinds where a short search or a cheap check is right about twice as often as one pass, in the embedded base."""


def draw_mix(kinds: Sequence[str], split: str, n: int, seed: str = "", level: int | None = None) -> list[Problem]:
    """`n` distinct problems, the kinds in equal shares, shuffled.

    Raises PonderError for no kind, an unknown one, or one that is named twice.
    """
    if not kinds:
        raise PonderError("no kinds of problem were named: give at least one, e.g. tasks=[countdown]")
    if len(set(kinds)) < len(kinds):
        raise PonderError(f"a kind of problem is named twice in {', '.join(kinds)}: name each once")
    if wrong := unknown_kind(kinds):
        raise PonderError(wrong)
    known = {task.name: task for task in MINIATURE}
    problems: list[Problem] = []
    for place, kind in enumerate(kinds):
        share = n // len(kinds) + (place < n % len(kinds))
        task = known[kind] if kind in known else gym_task(kind)
        problems += task.problems(split, share, seed, level=level)
    random_of("mix", split, seed).shuffle(problems)
    return problems


def unknown_kind(kinds: Sequence[str]) -> str:
    """What to say of the first of `kinds` that there is none of; "" where all are known."""
    known = [task.name for task in MINIATURE]
    for kind in kinds:
        if kind not in known and not kind.startswith(PREFIX):
            near = nearest(kind, known)
            return f"unknown kind of problem {kind!r}: one of {', '.join(known)}, or gym:NAME{near}"
    return ""


def grade(problem: Problem, answer: str | None) -> bool | None:
    """Whether `answer` is right, by the problem's own grader; no answer is wrong, None is unknown."""
    return False if answer is None else TASKS[problem.task].grade(problem, answer).correct


def runnable(kinds: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Those of `kinds` that can be graded on this machine, and why the others cannot ("" where all can)."""
    if not any(kind in PROGRAMS for kind in kinds):
        return tuple(kinds), ""
    try:
        default_sandbox()
    except SandboxUnavailable as error:
        return tuple(kind for kind in kinds if kind not in PROGRAMS), str(error)
    return tuple(kinds), ""
