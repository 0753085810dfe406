"""Problems from a file of rows: `problem` (or `question`, `prompt`) and `answer` (or `solution`, `ground_truth`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.types import Problem, Score
from ponder.tasks.drawing import right_or_wrong
from ponder.verify.numbers import read_number, same_number

QUESTION_FIELDS = ("problem", "question", "prompt")
ANSWER_FIELDS = ("answer", "solution", "ground_truth")


def read_rows(path: str | Path) -> list[Problem]:
    """Problems from a JSONL or JSON file.

    Raises PonderError naming file and row for a row without a question or an answer, or one that is no JSON object.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise PonderError(f"{file} cannot be read: {error}") from error
    rows = _json_rows(file, text) if file.suffix == ".json" else _jsonl_rows(file, text)
    problems = [_problem(file, number, row) for number, row in rows]
    if not problems:
        raise PonderError(f"{file} holds no rows: give one JSON object a line, with `problem` and `answer`")
    return problems


def _jsonl_rows(file: Path, text: str) -> list[tuple[int, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:  # also for 5,000 digits or brackets
                why = getattr(error, "msg", error)
                raise PonderError(f"{file}, line {number}: not JSON ({why}); mend or remove the line") from error
    return rows


def _json_rows(file: Path, text: str) -> list[tuple[int, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise PonderError(f"{file}{line}: not JSON ({getattr(error, 'msg', error)})") from error
    if not isinstance(rows, list):
        raise PonderError(f"{file}: expected a list of rows, found {type(rows).__name__}")
    return list(enumerate(rows, 1))


def _problem(file: Path, number: int, row: Any) -> Problem:
    if not isinstance(row, Mapping):
        raise PonderError(f"{file}, row {number}: expected a JSON object, found {type(row).__name__}")
    question = _text(f"{file}, row {number}", row, "question", QUESTION_FIELDS)
    answer = _text(f"{file}, row {number}", row, "answer", ANSWER_FIELDS)
    gold = answer.rpartition("####")[2].strip()  # GSM8K's solutions end with `#### answer`
    if not gold:
        raise PonderError(f"{file}, row {number}: no answer after ####")
    return Problem(ROWS.name, question, gold, {"row": number})


def _text(where: str, row: Mapping[str, Any], what: str, names: Sequence[str]) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, Mapping | list):
            raise PonderError(f"{where}: {name} holds a {type(value).__name__}; give text or a number")
        if value is not None and str(value).strip():
            return str(value)
    raise PonderError(f"{where}: no {what}; give one of {', '.join(names)}")


class _Rows:
    """Grades by value where the gold answer is a number, else by the text without case and surrounding space."""

    name = "rows"

    def problems(self, split: str, n: int, seed: str = "") -> list[Problem]:
        """There is nothing to draw from: rows are read from a file by `read_rows`."""
        raise PonderError("problems of kind 'rows' come from a file: give data.train_file and data.test_file")

    def grade(self, problem: Problem, answer: str) -> Score:
        """Right when both are the same number, or the same text."""
        if read_number(problem.answer) is not None:
            return right_or_wrong(same_number(answer, problem.answer))
        return right_or_wrong(answer.strip().lower() == problem.answer.strip().lower())


ROWS = _Rows()
