"""HumanEval and MBPP: every canonical solution passes; every stub and every corrupted solution fails.

A corrupted solution is the canonical one with what it returns to the test bent: another truth value, a number off by
one, a longer text or list. So it differs from the right one on every call that it bends, by construction.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ponder.sandbox import grade
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import Limits, SandboxUnavailable
from ponder.sandbox.lower import lower

DATA = Path(os.environ.get("PONDER_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
LIMITS = Limits(cpu_s=60)
"""One MBPP reference takes 23 CPU seconds natively on the machine of sandbox.md."""

BENT = """

def _bent(v, kind=type):
    if v is None: return "wrong"
    if isinstance(v, bool): return not v
    if isinstance(v, int): return v + 1
    if isinstance(v, float): return v * 2 + 1 if v - v == 0 else 0.5
    if isinstance(v, complex): return v + 1
    if isinstance(v, str): return v + "x"
    if isinstance(v, list): return v + ["wrong"]
    if isinstance(v, tuple): return tuple(v) + ("wrong",)
    if isinstance(v, dict): return {**v, "wrong": 1}
    if isinstance(v, (set, frozenset)): return set(v) | {"wrong"}
    return "wrong"

def _corrupt(right, first):
    state = {"inside": False, "calls": 0}
    def wrong(*args, **kwargs):
        if state["inside"]: return right(*args, **kwargs)
        state["inside"] = True
        try: value = right(*args, **kwargs)
        finally: state["inside"] = False
        state["calls"] += 1
        return _bent(value) if state["calls"] >= first else value
    return wrong
"""


def rows(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand (looked in ../shared/data; PONDER_SHARED_DATA names another place)")
    opened = gzip.open(path, "rt") if name.endswith(".gz") else path.open()
    with opened as lines:
        return [json.loads(line) for line in lines]


def humaneval() -> list[dict[str, Any]]:
    return [{**row, "solution": grade.code_of(row["canonical_solution"], row)} for row in rows("HumanEval.jsonl.gz")]


def mbpp() -> list[dict[str, Any]]:
    return [{**row, "solution": row["code"]} for row in rows("mbpp.jsonl")]


SETS: dict[str, Callable[[], list[dict[str, Any]]]] = {"humaneval": humaneval, "mbpp": mbpp}


def canonical(row: dict[str, Any], entry: str) -> str:
    return row["solution"]


def stub(row: dict[str, Any], entry: str) -> str:
    return f"{row['solution']}\ndef {entry}(*args, **kwargs):\n    pass\n"


def constant(row: dict[str, Any], entry: str) -> str:
    return f"{row['solution']}\ndef {entry}(*args, **kwargs):\n    return '\\0 no answer \\0'\n"


def bent(row: dict[str, Any], entry: str) -> str:
    return f"{row['solution']}{BENT}\n{entry} = _corrupt({entry}, 1)\n"


def bent_at_last(row: dict[str, Any], entry: str) -> str:
    """Right on all calls but the last."""
    test = grade.test_of(row)
    cases = lower(test["src"], entry, test["setup"]) if "exports" not in test else None
    last = sum(len(case.calls) for case in cases) if cases else 2
    return f"{row['solution']}{BENT}\n{entry} = _corrupt({entry}, {last})\n"


WRONG = {"stub": stub, "constant": constant, "bent": bent, "bent at last": bent_at_last}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        with Sandbox() as opened:
            yield opened
    except SandboxUnavailable as error:
        pytest.skip(f"no walls here: {error}")


def graded(
    sandbox: Sandbox, chosen: list[dict[str, Any]], make: Callable[[dict[str, Any], str], str], limits: Limits = LIMITS
) -> dict[str, list[str]]:
    """{"True" | "False" | "None": [task and why]}"""
    found: dict[str, list[str]] = {"True": [], "False": [], "None": []}
    for row in chosen:
        test = grade.test_of(row)
        verdict = grade.run_tests(make(row, test["entry"]), test, sandbox=sandbox, limits=limits)
        found[str(verdict.correct)].append(f"{row['task_id']}: {verdict.status} {verdict.note}")
    return found


@pytest.mark.parametrize("name", SETS)
def test_a_sample(sandbox: Sandbox, name: str) -> None:
    chosen = random.Random(3).sample(SETS[name](), 24)
    right = graded(sandbox, chosen, canonical)
    assert len(right["True"]) == 24, right
    for make in WRONG.values():
        wrong = graded(sandbox, chosen[:12], make)
        assert len(wrong["False"]) == 12, (make.__name__, wrong["True"], wrong["None"])


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", SETS)
def test_all_canonical_solutions_pass(sandbox: Sandbox, name: str) -> None:
    chosen = SETS[name]()
    found = graded(sandbox, chosen, canonical)
    assert len(found["True"]) == len(chosen), (found["False"], found["None"])


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("name", SETS)
def test_all_corrupted_solutions_fail(sandbox: Sandbox, name: str, how: str) -> None:
    chosen = SETS[name]()
    found = graded(sandbox, chosen, WRONG[how])
    assert len(found["False"]) == len(chosen), (found["True"], found["None"])


@pytest.mark.parametrize("name, at_least", [("humaneval", 150), ("mbpp", 960)])
def test_most_are_lowered(name: str, at_least: int) -> None:
    tests = [grade.test_of(row) for row in SETS[name]()]
    lowered = [test for test in tests if "exports" not in test and lower(test["src"], test["entry"], test["setup"])]
    assert len(lowered) >= at_least


def test_the_split_judge_agrees_with_the_lowered_tests(sandbox: Sandbox) -> None:
    for row in random.Random(5).sample(humaneval(), 12):
        test = grade.test_of(row)
        split = {**test, "src": "for _ in range(1):\n    pass\n" + test["src"]}
        assert lower(split["src"], split["entry"], split["setup"]) is None
        for make, correct in ((canonical, True), (bent, False)):
            verdict = grade.run_tests(make(row, test["entry"]), split, sandbox=sandbox)
            assert verdict.correct is correct, (row["task_id"], verdict)
