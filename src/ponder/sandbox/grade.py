"""Programs against tests: a verdict that the program cannot forge, or none at all.

Whatever a program prints, raises, patches, registers or writes to a descriptor, it is only ever asked for outputs and
values; what was expected, and the comparison, are never where it runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ponder.core.errors import PonderError
from ponder.sandbox.calls import run_calls
from ponder.sandbox.codec import Uncrossable
from ponder.sandbox.compare import Rules, clip, guard, same, show
from ponder.sandbox.judge import run_split
from ponder.sandbox.limits import Limits
from ponder.sandbox.lower import Call, Case, lower
from ponder.sandbox.rows import code_of as code_of
from ponder.sandbox.rows import test_of as test_of
from ponder.sandbox.stdio import checker_of, run_stdio
from ponder.sandbox.tally import Tally

if TYPE_CHECKING:
    from ponder.sandbox.jail import Sandbox

UNKNOWN = ("infra", "test-error")
"""Statuses that say nothing of the program: the machinery, or the test itself, failed."""


@dataclass(frozen=True)
class CodeVerdict:
    """Right, wrong or unknown, and how much of it.

    correct: whether every test passed; None where the sandbox or the test itself failed, never for a program's doing.
    passed, total: tests. status: why the first failing test failed ("ok" where none did): wrong, raised, load-error,
    timeout-cpu, timeout-wall, memory, crash, killed, output-limit, protocol, no-asserts, test-error, infra.
    ms: milliseconds in all. note: for people. tier: how strong the walls were.
    """

    correct: bool | None
    passed: int
    total: int
    status: str
    ms: float
    note: str = ""
    tier: str = ""

    @property
    def share(self) -> float:
        """Partial credit: the share of tests passed, from 0 to 1."""
        return self.passed / self.total if self.total else 0.0


def run_tests(
    code: str,
    test: Mapping[str, Any],
    *,
    sandbox: Sandbox | None = None,
    limits: Limits | None = None,
    stop_early: bool = True,
) -> CodeVerdict:
    """Runs a program against a test.

    code: the program's source. test: {"mode": "stdio", "cases": [[stdin, stdout]], "tolerance", "checker"} or
    {"mode": "call", "entry", "cases": [[args, expected]], "tolerance"} or {"mode": "assert", "entry", "src", "setup",
    "exports"}; `test_of` makes one from a row. `tolerance` is a number, absolute and relative, or {"absolute",
    "relative"}; `checker` a function (input, expected, output) -> bool or the source of `check`.
    limits: per test for stdio; for the others per child, which answers all tests in turn.
    stop_early: all or nothing, so the first failure ends it and `share` says little; False runs every test.
    Raises PonderError for a test that is malformed, and SandboxUnavailable where no walls can be had.
    """
    started = time.perf_counter()
    limits = limits or Limits()
    run = _runner(test)
    if sandbox is None:
        from ponder.sandbox.jail import get_sandbox

        sandbox = get_sandbox()
    try:
        code.encode("utf-8")
        tally = _attempt(run, code, sandbox, limits, stop_early)
        if tally.status == "infra":
            tally = _attempt(run, code, sandbox, limits, stop_early)
    except UnicodeEncodeError:
        tally = Tally(0, 1, "load-error", "the program holds characters that are no text")
    correct = None if tally.status in UNKNOWN else tally.status == "ok" and 0 < tally.total == tally.passed
    ms = 1000 * (time.perf_counter() - started)
    return CodeVerdict(correct, tally.passed, tally.total, tally.status, ms, tally.note, sandbox.tier)


def _attempt(run: Any, code: str, sandbox: Sandbox, limits: Limits, stop_early: bool) -> Tally:
    from ponder.sandbox.worker import WorkerFailed

    try:
        return run(code, sandbox, limits, stop_early)
    except (WorkerFailed, OSError) as error:  # no worker, no descriptor, no memory for one: not the program's doing
        return Tally(0, 1, "infra", clip(f"{type(error).__name__}: {error}"))


def _runner(test: Mapping[str, Any]) -> Any:
    mode = test.get("mode")
    if mode not in MODES:
        raise PonderError(f"test.mode is {mode!r}; it must be one of {', '.join(MODES)}")
    return MODES[mode](test)


def _stdio(test: Mapping[str, Any]) -> Any:
    cases = [(str(given), str(want)) for given, want in _cases(test, (str, str))]
    absolute, relative = _tolerance(test)
    checker = test.get("checker")
    if not (checker is None or callable(checker) or isinstance(checker, str)):
        raise PonderError("test.checker must be a function, or the source of check(input, expected, output)")

    def run(code: str, sandbox: Sandbox, limits: Limits, stop_early: bool) -> Tally:
        judge = checker_of(checker, sandbox, limits) if isinstance(checker, str) else checker
        options: dict[str, Any] = {"stop_early": stop_early, "absolute": absolute, "relative": relative}
        try:
            return run_stdio(code, cases, sandbox, limits, checker=judge, **options)
        except ValueError as error:
            return Tally(0, len(cases), "test-error", str(error))

    return run


def _call(test: Mapping[str, Any]) -> Any:
    absolute, relative = _tolerance(test)
    rules = Rules(json=True, absolute=absolute, relative=relative)
    entry = _entry(test)
    try:
        cases = [_case(args, want, rules, bool(test.get("wrapped"))) for args, want in _cases(test, (object, object))]
    except Uncrossable as error:
        raise PonderError(f"test.cases holds {error}") from None
    return lambda code, sandbox, limits, stop_early: run_calls(
        code, entry, cases, sandbox, limits, stop_early=stop_early
    )


def _case(args: Any, want: Any, rules: Rules, wrapped: bool) -> Case:
    if not isinstance(args, (list, tuple, dict)):
        raise PonderError(f"test.cases: arguments must be a list, or an object of names; got {args!r:.60}")
    call = Call((), tuple(args.items())) if isinstance(args, dict) else Call(tuple(args))
    guard([list(call.args), dict(call.kwargs)])
    accepted = [guard(want)]
    if wrapped and isinstance(want, (list, tuple)) and len(want) == 1:
        accepted.append(guard(want[0]))  # APPS writes an answer as a list of one
    return Case((call,), lambda answers: any(same(answers[0], value, rules) for value in accepted), show(accepted[-1]))


def _assert(test: Mapping[str, Any]) -> Any:
    entry, source, setup = _entry(test), test.get("src"), test.get("setup") or ""
    exports = test.get("exports") or []
    if not isinstance(source, str) or not isinstance(setup, str):
        raise PonderError("test.src must be the source of the test, with its asserts, and test.setup source as well")
    if not isinstance(exports, Sequence) or isinstance(exports, str) or not all(isinstance(n, str) for n in exports):
        raise PonderError("test.exports must be a list of names")
    cases = lower(source, entry, setup) if not exports else None

    def run(code: str, sandbox: Sandbox, limits: Limits, stop_early: bool) -> Tally:
        if cases is not None:
            return run_calls(code, entry, cases, sandbox, limits, stop_early=stop_early)
        options: dict[str, Any] = {"setup": setup, "exports": tuple(exports), "stop_early": stop_early}
        return run_split(code, entry, source, sandbox, limits, **options)

    return run


MODES: dict[str, Any] = {"stdio": _stdio, "call": _call, "assert": _assert}


def _entry(test: Mapping[str, Any]) -> str:
    entry = test.get("entry")
    if not isinstance(entry, str) or not entry:
        raise PonderError(f"test.entry is {entry!r}; it must name the function under test")
    return entry


def _cases(test: Mapping[str, Any], kinds: tuple[type, type]) -> list[tuple[Any, Any]]:
    cases = test.get("cases")
    if not isinstance(cases, Sequence) or isinstance(cases, str) or not cases:
        raise PonderError("test.cases must be a list of [input, expected] pairs, at least one")
    for number, case in enumerate(cases, 1):
        if not isinstance(case, Sequence) or isinstance(case, str) or len(case) != 2:
            raise PonderError(f"test.cases: case {number} is not an [input, expected] pair")
        if not all(isinstance(part, kind) for part, kind in zip(case, kinds, strict=True)):
            raise PonderError(f"test.cases: case {number} must be two texts; got {clip(repr(case), 80)}")
    return [(case[0], case[1]) for case in cases]


def _tolerance(test: Mapping[str, Any]) -> tuple[float, float]:
    given = test.get("tolerance") or 0.0
    both = (given.get("absolute", 0.0), given.get("relative", 0.0)) if isinstance(given, Mapping) else (given, given)
    if not all(isinstance(part, (int, float)) and 0 <= part < float("inf") for part in both):
        raise PonderError(f"test.tolerance is {given!r}; it must be a number >= 0, or {{absolute, relative}}")
    return float(both[0]), float(both[1])
