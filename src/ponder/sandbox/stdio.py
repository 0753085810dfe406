"""Contest-style tests: a program reads standard input and writes standard output; the comparison is out here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ponder.sandbox.compare import clip, near
from ponder.sandbox.limits import Limits, Outcome
from ponder.sandbox.tally import MAX_LOST, Tally

if TYPE_CHECKING:
    from ponder.sandbox.jail import Sandbox

Checker = Callable[[str, str, str], bool]
"""(input, expected output, the program's output) -> whether it is right."""

_NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
STRUCK = ("timeout-cpu", "timeout-wall", "memory", "output-limit", "crash", "killed")


def same_output(got: str, want: str, absolute: float = 0.0, relative: float = 0.0) -> bool:
    """Whether two outputs are the same: as many lines once trailing white space is gone, and the same words on each.

    absolute, relative: two words that are both numerals are also the same when they differ by no more than
    max(absolute, relative |want|); with both 0 they must be the same text. Linear in the texts.
    """
    mine, theirs = got.rstrip().split("\n"), want.rstrip().split("\n")
    if len(mine) != len(theirs):
        return False
    for line, other in zip(mine, theirs, strict=True):
        words, expected = line.split(), other.split()
        if len(words) != len(expected):
            return False
        for word, target in zip(words, expected, strict=True):
            if word != target and not (absolute or relative):
                return False
            if word != target and not _near(word, target, absolute, relative):
                return False
    return True


def _near(word: str, target: str, absolute: float, relative: float) -> bool:
    if len(word) > 400 or len(target) > 400 or not (_NUMERAL.fullmatch(word) and _NUMERAL.fullmatch(target)):
        return False
    one, two = float(word), float(target)
    return math.isfinite(one) and math.isfinite(two) and near(one, two, absolute, relative)


def run_stdio(
    code: str,
    cases: Sequence[tuple[str, str]],
    sandbox: Sandbox,
    limits: Limits,
    *,
    stop_early: bool,
    absolute: float = 0.0,
    relative: float = 0.0,
    checker: Checker | None = None,
) -> Tally:
    """One fresh child per (input, expected output). A test passes when the program ends with exit code 0 by itself,
    within its limits, and its output is right; the limits are per test."""
    passed = lost = 0
    status, note = "ok", ""
    for index, (given, want) in enumerate(cases):
        if lost > MAX_LOST:
            break
        outcome = sandbox.run(code, given.encode("utf-8", "surrogatepass"), limits)
        if outcome.status == "infra":
            return Tally(passed, len(cases), "infra", outcome.note)
        got = outcome.stdout.decode("utf-8", "surrogateescape")
        right = outcome.status == "ok" and outcome.exit_code == 0
        if right:
            right = _checked(checker, given, want, got) if checker else same_output(got, want, absolute, relative)
        if right:
            passed += 1
            continue
        lost += outcome.status in STRUCK
        if status == "ok":
            status, note = _why(index, outcome, got, want)
        if stop_early:
            break
    return Tally(passed, len(cases), status, note)


def _checked(checker: Checker, given: str, want: str, got: str) -> bool:
    """A checker that fails on this output, and not on the expected one, was given rubbish: the output is wrong."""
    try:
        return checker(given, want, got)
    except ValueError:
        checker(given, want, want)
        return False


def _why(index: int, outcome: Outcome, got: str, want: str) -> tuple[str, str]:
    if outcome.status == "ok" and outcome.exit_code == 0:
        return "wrong", f"test {index + 1}: printed {clip(repr(got[:200]), 80)}, expected {clip(repr(want[:200]), 80)}"
    status = outcome.status if outcome.status != "ok" else "raised"
    last = outcome.stderr.strip().rpartition("\n")[2]
    return status, f"test {index + 1}: {clip(outcome.note or last or f'exit code {outcome.exit_code}')}"


def checker_of(source: str, sandbox: Sandbox, limits: Limits) -> Checker:
    """A checker from the text of `check(input, expected, output) -> bool`, which runs in a sandbox of its own.

    Raises ValueError, when it is used, where it does not give a plain True or False: the test is at fault then.
    """
    program = (
        "import json as _j, sys as _s\n_given = _j.load(_s.stdin)\n_out = _s.stdout\n_s.stdout = _s.stderr\n"
        f"_ns = {{'__name__': 'checker'}}\nexec(compile({source!r}, '<checker>', 'exec'), _ns)\n"
        "_said = _ns['check'](*_given)\n_out.write('1' if _said else '0')\n"
    )

    def check(given: str, want: str, got: str) -> bool:
        outcome = sandbox.run(program, json.dumps([given, want, got]).encode("ascii"), limits)
        if outcome.status != "ok" or outcome.stdout not in (b"0", b"1"):
            last = outcome.stderr.strip().rpartition("\n")[2]
            raise ValueError(f"the checker ended with {outcome.status}: {clip(outcome.note or last)}")
        return outcome.stdout == b"1"

    return check
