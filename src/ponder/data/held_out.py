"""Problems that are measured on must never be trained on: each data stage asks here, and stops where one is met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.tasks import KINDS
from ponder.tasks.audit import found_suite, signs_of
from ponder.tasks.drawing import split_of
from ponder.tasks.rows import read_rows

Row = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationSet:
    """A named set that is measured on. problems: in its order."""

    name: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class HeldOut:
    """What may not be trained on, as it is looked up: by the problem's id, by (kind, content key), by its question.

    A content key is what makes a problem of the miniature world whatever its words and language; a question is compared
    without case, spacing and punctuation.
    """

    ids: Mapping[str, str]
    keys: Mapping[tuple[str, str], str]
    questions: Mapping[tuple[str, ...], str]

    def why(self, row: Row | Problem) -> str:
        """In which set a row or problem is held out and how that shows, or ""."""
        problem = row if isinstance(row, Problem) else problem_in(row)
        ids = (problem.id,) if isinstance(row, Problem) else (str(row.get("id", "")), problem.id)
        for one in ids:
            if one in self.ids:
                return f"its id is in {self.ids[one]}"
        key = problem.data.get("key")
        if key is not None:
            place = (problem.task, str(key))
            if place in self.keys:
                return f"its content is in {self.keys[place]}"
            if problem.task in KINDS and (split := split_of(*place)) != "train":
                return f"its content is of the {split} split"
        signs = signs_of(problem.prompt)
        return f"its question is in {self.questions[signs]}" if signs in self.questions else ""


def held_out_of(sets: Iterable[EvaluationSet]) -> HeldOut:
    """The sets, ready to be looked up in."""
    ids: dict[str, str] = {}
    keys: dict[tuple[str, str], str] = {}
    questions: dict[tuple[str, ...], str] = {}
    for one in sets:
        for problem in one.problems:
            ids.setdefault(problem.id, one.name)
            if "key" in problem.data:
                keys.setdefault((problem.task, str(problem.data["key"])), one.name)
            if signs := signs_of(problem.prompt):
                questions.setdefault(signs, one.name)
    return HeldOut(ids, keys, questions)


def assert_no_held_out(rows: Iterable[Row | Problem], held_out: HeldOut, stage: str) -> None:
    """Raise PonderError with the id of the first row that is held out; every stage that leads to training calls this.

    rows: traces (`ponder.data.trace`) or problems. stage: the name for the message. A problem of the miniature world is
    held out by its content alone, also where no set names it.
    """
    for number, row in enumerate(rows, 1):
        if why := held_out.why(row):
            named = row.id if isinstance(row, Problem) else row.get("id") or problem_in(row).id
            raise PonderError(
                f"{stage}: problem {named} (row {number}) is held out: {why}; it may not be trained on, leave it out"
            )


def problem_in(row: Row) -> Problem:
    """The problem that a trace answers. A row without a question is a PonderError."""
    question = row.get("problem")
    if not isinstance(question, str):
        raise PonderError(f"row {row.get('id', '?')}: no problem; a trace needs the bare question under that name")
    data = row.get("data")
    return Problem(str(row.get("task") or "rows"), question, str(row.get("answer") or ""), dict(data or {}))


def evaluation_sets(names: Sequence[str], beside: Path = Path()) -> tuple[EvaluationSet, ...]:
    """Sets by name: a suite (`gsm8k`, searched beside `beside`, in the working directory and in $PONDER_DATA), a file,
    or a hub id. Raises PonderError where one cannot be found or read."""
    return tuple(EvaluationSet(name, tuple(read_rows(found_suite(name, beside), on_error="collect"))) for name in names)
