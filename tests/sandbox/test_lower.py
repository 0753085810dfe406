"""Asserts read as calls: which are, what they ask, and that the reading agrees with Python."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from ponder.sandbox.compare import guard
from ponder.sandbox.lower import lower


def verdicts(source: str, answers: list) -> list[bool]:
    """Of each lowered assert of f, the verdict on one answer; every call gets the same."""
    cases = lower(source, "f")
    assert cases is not None, source
    return [case.check([guard(answer)] * len(case.calls)) for case in cases for answer in answers]


def natively(source: str, answer) -> bool:
    try:
        exec(source, {"f": lambda *args, **kwargs: answer, "math": math})
    except Exception:
        return False
    return True


ANSWERS = [
    None, True, False, 0, 1, 2, 2.0, 2.0000001, 3, -2, math.nan, math.inf, "", "2", "ab", [], [1], [1, 2], [2, 1],
    [1, 1, 2],
    (1, 2), (2, 1), {1, 2}, frozenset({1, 2}), {1: 2}, {2: 1, 1: 5}, {"a": 1}, 10**30, 1j, Decimal(2), [[1], [2]],
    ["b", "a"],
    [1, "a"], b"ab", [None], {(1, 2): 3}, "abc", range(3), [3.0, 1],
]  # fmt: skip

SOURCES = [
    "assert f(1) == 2", "assert 2 == f(1)", "assert f() != 2", "assert f(1)", "assert not f(1)", "assert f(1) == True",
    "assert f(1) is True", "assert f(1) is None", "assert f(1) is not None", "assert f([1, 2], x=3) == [1, 2]",
    "assert f(1) == (1, 2)", "assert f(1) == {1, 2}", "assert set(f(1)) == {1, 2}", "assert set(f(1)) == set([1, 2])",
    "assert sorted(f(1)) == [1, 2]", "assert sorted(f(1)) == sorted([2, 1])", "assert len(f(1)) == 2",
    "assert len(set(f(1))) == 2", "assert tuple(f(1)) == (1, 2)", "assert list(f(1)) == list((1, 2))",
    "assert f(1) < 3",
    "assert 1 <= f(1) <= 2", "assert f(1) > 1", "assert f(1) >= [1]", "assert f(1) in [1, 2]",
    "assert f(1) not in (1, 2)",
    "assert 1 in f(1)", "assert 'a' in f(1)", "assert [1] not in f(1)", "assert abs(f(1) - 2) < 1e-6",
    "assert abs(f(1)) == 2",
    "assert math.isclose(f(1), 2.0)", "assert math.isclose(f(1), 2.0, rel_tol=1e-3)", "assert math.fabs(f(1) - 2) < 1",
    "assert round(f(1), 2) == 2.0", "assert round(f(1)) == 2", "assert int(f(1)) == 2", "assert float(f(1)) == 2.0",
    "assert bool(f(1)) == True", "assert f(1)[0] == 1", "assert f(1)[1] == 2", "assert f(1)['a'] == 1",
    "assert f(1)[-1] == 2",
    "assert f(1) == 1 or f(1) == 2", "assert -f(1) == 2", "assert f(1) % 2 == 0", "assert f(1) * 3 == 6",
    "assert 6 / f(1) == 3",
    "assert f(1) == (3 + 5 + 7, 3 * 5)", "assert f('ab' + 'c') == [1] * 2", "assert (f(1), 1) == (2, 1)",
    "assert f(1) == {'a': 1}",
    "assert f(1) == 2 and True", "assert (f(1) == 2) == True", "assert f(1) == float('inf')", "assert not (f(1) == 2)",
    "assert f(1) == 1 + 1 + 0 ** 0", "assert f(1, -2, [1.5, None]) == -2", "assert tuple(f(1)) == tuple(f(2))",
    "assert f(1) == 1j",
    "assert f(1) == frozenset([1, 2])", "assert len(f(1)) > 1", "assert f(1) == list(range(3))",
    "assert f(1) == range(3)",
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_the_reading_agrees_with_python(source):
    if lower(source, "f") is None:
        assert " or " in source  # two calls, of which Python may make one
        return
    for answer in ANSWERS:
        assert verdicts(source, [answer]) == [natively(source, answer)], (source, answer)


def test_check_functions():
    source = "METADATA = {'a': 1}\n\ndef check(candidate):\n    'doc'\n    assert candidate(1) == 2, 'why'\n"
    source += "    assert True\n    assert f(3 * 19) == 4\n"
    for more in ("", "check(f)\n", "check(candidate)\n", "import math\nfrom typing import List\n"):
        cases = lower(source + more, "f")
        assert cases is not None and [case.calls[0].args for case in cases] == [(1,), (57,)]
    twice = lower(source + "check(f)\ncheck(f)\n", "f")
    assert twice is not None and len(twice) == 4


def test_arguments_are_constants():
    (case,) = lower("assert f(1, 'a', *[], ) == 1", "f") or (None,)
    assert case is None
    (case,) = lower("assert f((4, 7.7), int, x=float('inf'), y={'k': {1}}) == [7.7]", "f") or (None,)
    assert case and case.calls[0].args == ((4, 7.7), int)
    assert dict(case.calls[0].kwargs) == {"x": math.inf, "y": {"k": {1}}}


@pytest.mark.parametrize(
    "source",
    [
        "for x in range(3):\n    assert f(x) == x", "x = f(1)\nassert x == 1", "assert f(y) == 1",
        "assert f(g(1)) == 1",
        "assert str(f(1)) == '1'", "assert f(1) == g(2)", "assert all(f(i) for i in (1, 2))", "assert f(1).real == 1",
        "def check(c):\n    x = 1\n    y = c(x)\n    assert y", "try:\n    f(1)\nexcept ValueError:\n    assert True",
        "assert 1 == 1",
        "assert False", "", "x = 1", "abs = len\nassert abs(f(1)) == 1", "from m import abs\nassert abs(f(1)) == 1",
        "from m import *\nassert f(1) == 1", "import numpy as math\nassert math.fabs(f(1)) == 1", "assert f(1) is 5",
        "assert f(1) == 1 or f(2) == 2", "assert True or f(1)", "assert f(1) == 9 ** 9 ** 9",
        "assert f('a' * 10**9) == 1",
        "assert f(1) == list(range(10**9))", "def f(x): return 1\nassert f(1) == 1", "assert f(1) ==",
        "assert f(1)[1:] == [2]",
        "def other(c):\n    assert c(1) == 1\n", "@g\ndef check(c):\n    assert c(1) == 1\n",
        "assert (lambda: f(1))() == 1", "assert f(1) == " + "(" * 300 + "1" + ")" * 300,
        "import os\nos.system('true')\nassert f(1) == 1",
        "assert sorted(f(1), reverse=True) == [2, 1]", "assert f(1) == 1 if True else False", "assert len(f) == 1",
    ],
)  # fmt: skip
def test_whatever_else_is_left_to_the_split_judge(source):
    assert lower(source, "f") is None


def test_names_that_the_helpers_redefine():
    assert lower("assert abs(f(1)) == 1", "f", "def abs(x):\n    return 1\n") is None
    assert lower("assert sorted([2, 1]) == [1, 2]", "sorted") is None
    assert lower("assert f(1) == 1", "f", "def f(x):\n    pass\n") is not None


def test_an_answer_cannot_make_a_check_raise_or_run_long():
    for answer in ["9" * 100_000, 1 << 3_000_000, [1 << 100_000] * 5, 1e308, ["a", 1], [[[]]] * 50]:
        for source in SOURCES:
            if lower(source, "f"):
                verdicts(source, [answer])
