"""The graders of problems that come from files: mathematics, multiple choice, code, instructions, plain text.

Each hands over to the grader of its kind in `ponder.verify` or `ponder.sandbox`, which are imported on first use.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from ponder.core.errors import PonderError
from ponder.core.types import Problem, Score
from ponder.tasks.drawing import right_or_wrong
from ponder.verify.numbers import read_number, same_number

_FENCE = re.compile(r"^[ \t]{0,3}```[\w+-]{0,20}[ \t]*\r?$", re.MULTILINE)
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|textit|mathbf|mbox)\s{0,2}\{([^{}]{0,500})\}")


@dataclass(frozen=True)
class RowTask:
    """A kind of problem that is read from files and never drawn.

    check: (problem, answer) -> Score; total.
    whole: what is graded is the whole response after the thought (a program, a text that follows instructions), not
        an answer that is searched for in it.
    """

    name: str
    check: Callable[[Problem, str], Score]
    whole: bool = False

    def problems(self, split: str, n: int, seed: str = "") -> list[Problem]:
        """There is nothing to draw from: rows are read from a file by `ponder.tasks.rows.read_rows`."""
        raise PonderError(f"problems of kind {self.name!r} come from a file: give data.train_file and data.test_file")

    def grade(self, problem: Problem, answer: str) -> Score:
        """Grade an extracted answer (a response, where `whole`); never raises, for any string."""
        return self.check(problem, answer)


def score_of(correct: bool | None, note: str = "", **parts: float) -> Score:
    """The score of a verdict: unknown stays unknown."""
    return Score(None if correct is None else float(correct), correct, parts, note)


def _text(problem: Problem, answer: str) -> Score:
    """Right when both are the same number, or the same text but for case, spacing, `\\text{}` and a full stop."""
    if read_number(problem.answer) is not None:
        return right_or_wrong(same_number(answer, problem.answer))
    return right_or_wrong(plain(answer) == plain(problem.answer))


def plain(text: str) -> str:
    """A short answer without what does not count: case, spacing, `$`, `\\text{}`, emphasis, a full stop."""
    bare = _WRAPPED.sub(r"\1", text).strip().strip("$*").strip().rstrip(".")
    return " ".join(bare.split()).casefold()


def _math(problem: Problem, answer: str) -> Score:
    from ponder.verify.math import verify_math

    verdict = verify_math(answer, problem.answer, form="bare")  # the answer is extracted: no box is asked for
    return score_of(verdict.correct, verdict.note or verdict.method)


def _choice(problem: Problem, answer: str) -> Score:
    from ponder.verify.choice import verify_choice

    verdict = verify_choice(answer, problem.answer, problem.data.get("choices"), form="bare")
    return score_of(verdict.correct, verdict.note or verdict.method)


def _code(problem: Problem, answer: str) -> Score:
    from ponder.sandbox.grade import run_tests

    test = problem.data["test"]
    verdict = run_tests(program_of(answer, str(problem.data.get("stub", "")), str(test.get("entry") or "")), test)
    if verdict.correct is None:
        return score_of(None, verdict.note or verdict.status)
    return score_of(verdict.correct, verdict.note or verdict.status, tests=verdict.share)


def _instructions(problem: Problem, answer: str) -> Score:
    from ponder.verify.instructions import verify_instructions

    data = problem.data
    verdict = verify_instructions(answer, data["instruction_ids"], data["kwargs"], prompt=problem.prompt)
    return score_of(verdict.correct, verdict.note)


def program_of(answer: str, stub: str = "", entry: str = "") -> str:
    """The program in a response: what the last fence encloses, else all of it.

    stub: the beginning that the question gave (HumanEval: imports, helpers, the function's head). It stands before the
        program; where the program does not define `entry` again, it is read as the body of the stub's function.
    """
    code = fenced(answer)
    if code is None:
        code = answer
    if not stub:
        return code
    if entry and re.search(rf"^\s*(?:async )?def {re.escape(entry)}\b", code, re.MULTILINE):
        return f"{stub.rstrip()}\n\n\n{textwrap.dedent(code)}"
    return stub.rstrip("\n") + "\n" + _as_body(code)


def fenced(text: str) -> str | None:
    """What stands between the last opened ``` fence and its end (or the text's), or None where there is no fence."""
    marks = list(_FENCE.finditer(text))
    if not marks:
        return None
    opening = (len(marks) - 1) // 2 * 2
    end = marks[opening + 1].start() if opening + 1 < len(marks) else len(text)
    return text[marks[opening].end() : end].strip("\r\n")


def _as_body(code: str) -> str:
    """Code indented as a function's body: an answer's first line often lost its indentation when it was cut out."""
    lines = code.strip("\r\n").split("\n")
    if not lines[0].strip() or lines[0][0] in " \t":
        return "\n".join(lines)
    others = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    least = min(others, default=0)
    cut_out = least >= 8 or (least >= 4 and not lines[0].rstrip().endswith(":"))
    if cut_out:
        return "\n".join(["    " + lines[0], *lines[1:]])
    return textwrap.indent("\n".join(lines), "    ")


ROWS = RowTask("rows", _text)
"""Plain text and numbers, for answers that are neither mathematics nor one of several choices."""

ROW_TASKS: dict[str, RowTask] = {
    "math": RowTask("math", _math),
    "choice": RowTask("choice", _choice),
    "code": RowTask("code", _code, whole=True),
    "ifeval": RowTask("ifeval", _instructions, whole=True),
}
"""The kinds that files hold besides plain text (`ROWS`)."""
