"""Rows graded one by one, whatever their kind: what `ponder grade` does, as a function.

A row comes back as it was, with `correct` (true, false or null), `method`, `ms` and `note`. A row that lacks what its
kind needs is not graded, and its note says what is missing; the rows around it are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from ponder.core.errors import PonderError, nearest
from ponder.sandbox.limits import SandboxUnavailable

Row = dict[str, Any]
Grader = Callable[[Mapping[str, Any]], Row]
"""A row's verdict: `correct`, `method`, `ms`, `note`, and what else the kind has to say."""

FORMS = ("completion", "raw", "bare")
MALFORMED = "malformed"
"""The `method` of a row that could not be graded because of what it lacks."""


@dataclass(frozen=True)
class Options:
    """How rows are graded.

    sandbox: where code runs: auto, full, nons, weak, or an endpoint (`ponder.sandbox.remote`).
    stop_early: a program's tests end at the first that fails; else all run, and `passed` counts them.
    loose: IFEval's eight lenient readings of a response.
    math: fields of `ponder.verify.math.MathOptions`.
    limits: fields of `ponder.sandbox.limits.Limits`.
    """

    sandbox: str = "auto"
    stop_early: bool = True
    loose: bool = False
    math: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def grader(kind: str | None, options: Options = Options()) -> Grader:
    """What grades rows of `kind`; None decides row by row (`kind_of`).

    Raises PonderError for an unknown kind or option, and SandboxUnavailable where code cannot be run here. The grader
    itself raises PonderError for a row that lacks a field.
    """
    if kind is not None and kind not in KINDS:
        raise PonderError(f"kind {kind!r} is unknown{nearest(kind, KINDS)}: one of {', '.join(KINDS)}")
    made = cache(lambda name: _KINDS[name](options))  # a kind costs nothing, and needs nothing, before its first row
    if kind is not None:
        return made(kind)
    return lambda row: made(kind_of(row))(row)


def kind_of(row: Mapping[str, Any]) -> str:
    """The kind of a row that does not say: by the fields that only that kind has; else mathematics."""
    if "instruction_id_list" in row:
        return "ifeval"
    if "numbers" in row and "target" in row:
        return "countdown"
    if row.get("choices") or row.get("options"):
        return "choice"
    return "code" if "code" in row or "completion" in row else "math"


def graded(text: str, where: str, grade: Grader) -> tuple[Row, str]:
    """A line of JSONL with its verdict, and what is wrong with the line ("" where nothing is)."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _malformed({}, f"{where}: not JSON ({getattr(error, 'msg', error)}); mend or remove the line")
    if not isinstance(row, dict):
        return _malformed({}, f"{where}: expected a JSON object, found {type(row).__name__}")
    try:
        return {**row, **grade(row)}, ""
    except SandboxUnavailable:
        raise
    except PonderError as error:
        return _malformed(row, f"{where}: {error}")
    except Exception as error:  # a fault of ours, on a row that nobody foresaw: unknown, and the other rows go on
        told = f"{where}: {type(error).__name__}: {error}"[:300]
        return {**row, "correct": None, "method": "fault", "ms": 0.0, "note": told}, ""


def _malformed(row: Row, fault: str) -> tuple[Row, str]:
    return {**row, "correct": None, "method": MALFORMED, "ms": 0.0, "note": fault}, fault


# ---- what a row must hold ----


def _text(row: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            raise PonderError(f"`{name}` is a {type(value).__name__}; give text")
    raise PonderError(f"no `{names[0]}`" + (f" (nor {', '.join(names[1:])})" if names[1:] else ""))


def _list(row: Mapping[str, Any], name: str, of: type | tuple[type, ...]) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list) or not all(isinstance(item, of) and not isinstance(item, bool) for item in value):
        raise PonderError(f"no `{name}`" if value is None else f"`{name}` is not a list of the right things")
    return value


def _form(row: Mapping[str, Any]) -> str:
    form = row.get("form") or "completion"
    if form not in FORMS:
        raise PonderError(f"`form` is {form!r}: one of {', '.join(FORMS)}")
    return str(form)


def _verdict(found: Any) -> Row:
    """A `Verdict` as fields of a row."""
    extra = {"extracted": found.extracted} if found.extracted is not None else {}
    return {"correct": found.correct, "method": found.method, "ms": round(found.ms, 3), "note": found.note, **extra}


# ---- the kinds ----


def _math(options: Options) -> Grader:
    from ponder.verify.math import MathOptions, verify_math

    chosen = _fields(MathOptions, options.math, "math")
    return lambda row: _verdict(verify_math(_text(row, "pred"), _text(row, "gold", "answer"), _form(row), chosen))


def _code(options: Options) -> Grader:
    from ponder.sandbox.limits import Limits
    from ponder.sandbox.remote import sandbox_of

    limits = _fields(Limits, options.limits, "limits")
    return partial(_run_code, sandbox_of(options.sandbox), options.stop_early, limits)


def _run_code(sandbox: Any, stop_early: bool, limits: Any, row: Mapping[str, Any]) -> Row:
    from ponder.sandbox.grade import code_of, run_tests, test_of

    # `code` is a program as it is; a completion is searched for one.
    code = _text(row, "code") if "code" in row else code_of(_text(row, "completion", "pred"), row)
    test = row["test"] if isinstance(row.get("test"), Mapping) else test_of(row)
    found = run_tests(code, test, sandbox=sandbox, limits=limits, stop_early=stop_early)
    return {
        "correct": found.correct, "method": f"code:{found.status}", "ms": round(found.ms, 3), "note": found.note,
        "passed": found.passed, "total": found.total, "sandbox": found.tier,
    }  # fmt: skip


def _choice(options: Options) -> Grader:
    from ponder.verify.choice import verify_choice

    def grade(row: Mapping[str, Any]) -> Row:
        name = "choices" if row.get("choices") else "options"
        choices = _list(row, name, (str, int, float)) if row.get(name) else None
        texts = None if choices is None else [str(choice) for choice in choices]
        return _verdict(verify_choice(_text(row, "pred"), _text(row, "gold", "answer"), texts, _form(row)))

    return grade


def _ifeval(options: Options) -> Grader:
    from ponder.verify.instructions import verify_instructions

    def grade(row: Mapping[str, Any]) -> Row:
        ids, kwargs = _list(row, "instruction_id_list", str), _list(row, "kwargs", dict)
        if len(ids) != len(kwargs):
            raise PonderError(f"{len(ids)} instructions and {len(kwargs)} `kwargs`: one each is due")
        response, prompt = _text(row, "response", "pred"), str(row.get("prompt", ""))
        found = verify_instructions(response, ids, kwargs, prompt=prompt, loose=options.loose)
        base = {"correct": found.correct, "method": found.method, "ms": round(found.ms, 3), "note": found.note}
        return {**base, "followed": list(found.followed)}

    return grade


def _countdown(options: Options) -> Grader:
    from ponder.verify.countdown import verify_countdown

    def grade(row: Mapping[str, Any]) -> Row:
        target = row.get("target")
        if not isinstance(target, int):
            raise PonderError("no `target`" if target is None else "`target` is not a whole number")
        return _verdict(verify_countdown(_text(row, "pred"), _list(row, "numbers", int), target))

    return grade


def _ordering(options: Options) -> Grader:
    from ponder.verify.logic import verify_ordering

    return lambda row: _verdict(verify_ordering(_text(row, "pred"), _text(row, "gold", "answer")))


def _truth_tellers(options: Options) -> Grader:
    from ponder.verify.logic import verify_truth_tellers

    return lambda row: _verdict(verify_truth_tellers(_text(row, "pred"), _text(row, "gold", "answer")))


_KINDS: dict[str, Callable[[Options], Grader]] = {
    "math": _math, "code": _code, "choice": _choice, "ifeval": _ifeval, "countdown": _countdown,
    "ordering": _ordering, "truth_tellers": _truth_tellers,
}  # fmt: skip
KINDS = tuple(_KINDS)


def _fields(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    """`cls(**values)`, for a frozen dataclass of plain fields."""
    known = {field.name: field for field in dataclasses.fields(cls)}
    default = cls()
    for name, value in values.items():
        if name not in known:
            raise PonderError(f"{where}.{name} is unknown{nearest(name, known)}: one of {', '.join(known)}")
        expected = getattr(default, name)
        number = isinstance(expected, (int, float)) and not isinstance(expected, bool)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) if number else True
        if not fits or (isinstance(expected, (bool, str)) and not isinstance(value, type(expected))):
            raise PonderError(f"{where}.{name} is {value!r}: expected a {type(expected).__name__}")
    return dataclasses.replace(default, **values)
