"""Verdicts on programs: modes, statuses, partial credit, rows of data sets."""

from __future__ import annotations

import json

import pytest

from ponder.core.errors import PonderError
from ponder.sandbox.grade import code_of, run_tests, test_of
from ponder.sandbox.limits import Limits, Outcome
from ponder.sandbox.rows import blocks
from tests.sandbox.fake import Counting

test_of.__test__ = False  # type: ignore[attr-defined]  # a function with this name is not a test here

ADD = "def add(a, b):\n    return a + b\n"
SUMS = {"mode": "call", "entry": "add", "cases": [[[1, 2], 3], [[2, 2], 4], [[-1, 1], 0]]}
SHORT = Limits(cpu_s=0.2, wall_s=2)
"""The processor's clock decides behind walls, the wall's on the stand-in."""


def grade(code, test, **options):
    return run_tests(code, test, sandbox=Counting(), **options)  # type: ignore[arg-type]


# ---- calls -----------------------------------------------------------------------------------------------------------


def test_calls():
    verdict = grade(ADD, SUMS)
    assert (verdict.correct, verdict.passed, verdict.total, verdict.status, verdict.share) == (True, 3, 3, "ok", 1.0)
    assert verdict.ms > 0 and verdict.tier


@pytest.mark.parametrize(
    "code, status",
    [
        ("def add(a, b): return a - b", "wrong"), ("def add(a, b): return str(a + b)", "wrong"),
        ("def add(a, b): return print", "wrong"), ("def add(a, b): raise ValueError(1)", "raised"),
        ("x = 1", "load-error"),
        ("def add(a, b: return", "load-error"), ("1/0", "load-error"), ("import sys; sys.exit(0)", "load-error"),
        ("import os; os._exit(0)", "crash"), ("def add(a, b):\n    import os; os._exit(0)", "crash"),
        ("def add(a, b): exit()", "raised"), ("add = 5", "raised"), ("\0", "load-error"), ("\ud800", "load-error"),
        ("", "load-error"), ("print('passed')", "load-error"), ("def add(a, b):\n    while True: pass", "timeout"),
    ],
)  # fmt: skip
def test_wrong_programs(code, status):
    verdict = grade(code, SUMS, limits=SHORT)
    assert (
        verdict.correct is False
        and verdict.passed == 0
        and verdict.status.startswith(status)
        and verdict.total in (1, 3)
    )


def test_partial_credit_is_the_share_of_tests_passed():
    code = "def add(a, b):\n    return a + b if a > 0 else None\n"
    verdict = grade(code, SUMS, stop_early=False)
    assert (verdict.correct, verdict.passed, verdict.total) == (False, 2, 3)
    assert "test 3: returned None, expected 0" in verdict.note
    assert verdict.share == pytest.approx(2 / 3)


def test_all_or_nothing_stops_at_the_first_failure():
    code = "import os\ndef add(a, b):\n    if a == 2: os._exit(0)\n    return 0\n"
    assert grade(code, SUMS).status == "wrong"
    assert grade(code, SUMS, stop_early=False).passed == 1


def test_a_crash_loses_its_test_and_the_rest_goes_to_a_new_child():
    code = "import os\ndef add(a, b):\n    if a == 2: os._exit(0)\n    return a + b\n"
    sandbox = Counting()
    verdict = run_tests(code, SUMS, sandbox=sandbox, stop_early=False)  # type: ignore[arg-type]
    assert (verdict.passed, verdict.status, sandbox.opened) == (2, "crash", 2)


def test_respawns_are_bounded():
    sandbox = Counting()
    many = {**SUMS, "cases": [[[n, 0], n] for n in range(40)]}
    verdict = run_tests("import os\ndef add(a, b): os._exit(0)", many, sandbox=sandbox, stop_early=False)  # type: ignore[arg-type]
    assert (verdict.correct, verdict.passed, verdict.total, sandbox.opened) == (False, 0, 40, 4)
    once_each = (
        "import os\nn = 0\ndef add(a, b):\n    global n\n    n += 1\n    if n > 1:\n        while 1: pass\n"
        "    return a\n"
    )
    sandbox = Counting()
    verdict = run_tests(once_each, many, sandbox=sandbox, limits=Limits(cpu_s=0.05, wall_s=0.5), stop_early=False)  # type: ignore[arg-type]
    assert verdict.correct is False and sandbox.opened <= 16


def test_a_limit_that_the_other_tests_used_up_is_tried_alone():
    code = "import time\ndef add(a, b):\n    time.sleep(0.5)\n    return a + b\n"
    assert grade(code, SUMS, limits=Limits(wall_s=1.2)).correct is True


def test_json_values():
    code = "def f(x): return x"
    for got, want in [
        ("(1, (2,))", [1, [2]]),
        ("True", 1),
        ("2.0", 2),
        ("float('nan')", float("nan")),
        ("{'a': None}", {"a": None}),
    ]:
        test = {"mode": "call", "entry": "f", "cases": [[[0], want]]}
        assert grade(f"def f(x): return {got}", test).correct is True, got
    for got, want in [
        ("'1'", 1),
        ("[1]", 1),
        ("{1: 2}", {"1": 2}),
        ("[1, 2, 3]", [1, 2]),
        ("None", False),
        ("{1}", [1]),
    ]:
        test = {"mode": "call", "entry": "f", "cases": [[[0], want]]}
        assert grade(f"def f(x): return {got}", test).correct is False, got
    assert grade(code, {"mode": "call", "entry": "f", "cases": [[{"x": 5}, 5]]}).correct is True
    near = {"mode": "call", "entry": "f", "cases": [[[1.0000001], 1.0]]}
    assert grade(code, near).correct is False and grade(code, {**near, "tolerance": 1e-6}).correct is True
    assert grade(code, {**near, "tolerance": {"relative": 1e-6}}).correct is True


def test_arguments_longer_than_a_frame():
    big = list(range(180_000))
    test = {"mode": "call", "entry": "f", "cases": [[[[1]], 1], [[big], 180_000], [["x" * 1_100_000], 1_100_000]]}
    assert grade("def f(x): return len(x)", test).correct is True
    assert grade("def f(x): return x", {**test, "cases": [[[big], big]]}).status == "wrong"


def test_methods_of_a_solution_class():
    code = "class Solution:\n    def add(self, a, b):\n        return a + b\n"
    for entry in ("add", "Solution.add", "Solution().add"):
        assert grade(code, {**SUMS, "entry": entry}).correct is True
    assert grade(code, {**SUMS, "entry": "Other().add"}).status == "load-error"


# ---- standard input and output ---------------------------------------------------------------------------------------

TOTAL = "print(sum(map(int, input().split())))\n"
IO = {"mode": "stdio", "cases": [["1 2\n", "3\n"], ["2 2\n", "4"], ["", "0"]]}


def test_stdio():
    code = "import sys\nprint(sum(map(int, sys.stdin.read().split())))\n"
    assert grade(code, IO).correct is True
    verdict = grade(TOTAL, IO, stop_early=False)
    assert (verdict.correct, verdict.passed, verdict.status) == (False, 2, "raised") and "EOFError" in verdict.note


@pytest.mark.parametrize("code", ["print(3)\nraise SystemExit(1)", "print(3)\n1/0", "print(3)\nimport os; os.abort()"])
def test_the_right_output_with_a_wrong_end_is_wrong(code):
    verdict = grade(code, {"mode": "stdio", "cases": [["", "3"]]})
    assert verdict.correct is False and verdict.status in ("raised", "crash")


def test_stdio_runs_one_child_a_test_and_gives_up_on_a_program_that_hangs():
    sandbox = Counting()
    test = {"mode": "stdio", "cases": [["", "1"]] * 20}
    limits = Limits(cpu_s=0.05, wall_s=0.5)
    verdict = run_tests("while True: pass", test, sandbox=sandbox, limits=limits, stop_early=False)  # type: ignore[arg-type]
    assert verdict.status.startswith("timeout") and (verdict.total, sandbox.ran) == (20, 4)
    sandbox = Counting()
    run_tests("print(2)", test, sandbox=sandbox)  # type: ignore[arg-type]
    assert sandbox.ran == 1


def test_tolerance_and_checkers():
    third = {"mode": "stdio", "cases": [["", "0.333333333333"]]}
    assert grade("print(1/3)", third).correct is False
    assert grade("print(1/3)", {**third, "tolerance": 1e-6}).correct is True
    assert grade("print(1/2)", {**third, "tolerance": 1e-6}).correct is False
    factors = {"mode": "stdio", "cases": [["15", "3 5"]]}
    source = (
        "def check(given, want, got):\n    print('noise')\n    a, b = map(int, got.split())\n"
        "    return a * b == int(given)\n"
    )
    for checker in (source, lambda given, want, got: sorted(got.split()) == want.split()):
        assert grade("print(5, 3)", {**factors, "checker": checker}).correct is True
        assert grade("print(5, 4)", {**factors, "checker": checker}).correct is False
    broken = grade("print(5, 3)", {**factors, "checker": "def check(a, b, c):\n    return 1 / 0\n"})
    assert broken.correct is None and broken.status == "test-error" and "ZeroDivisionError" in broken.note


# ---- what is unknown -------------------------------------------------------------------------------------------------


class Broken(Counting):
    """Fails the first `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def run(self, program, stdin=b"", limits=None):
        self.times -= 1
        failed = Outcome("infra", b"", "", 0.0, 0.0, None, "no worker")
        return failed if self.times >= 0 else super().run(program, stdin, limits or Limits())


def test_infrastructure_is_retried_once_and_then_unknown():
    test = {"mode": "stdio", "cases": [["", "3"]]}
    assert run_tests("print(3)", test, sandbox=Broken(1)).correct is True  # type: ignore[arg-type]
    verdict = run_tests("print(3)", test, sandbox=Broken(2))  # type: ignore[arg-type]
    assert verdict.correct is None and verdict.status == "infra" and "no worker" in verdict.note


def test_a_machine_without_a_worker_to_spare_is_unknown_too():
    class Exhausted(Counting):
        def open(self, driver, payload, limits):
            raise OSError(24, "Too many open files")

    for test in (SUMS, {"mode": "assert", "entry": "add", "src": "for i in range(3):\n    assert add(i, 0) == i"}):
        verdict = run_tests(ADD, test, sandbox=Exhausted())  # type: ignore[arg-type]
        assert verdict.correct is None and verdict.status == "infra" and "Too many" in verdict.note


@pytest.mark.parametrize(
    "test, told",
    [
        ({}, "test.mode is None"), ({"mode": "x"}, "stdio, call, assert"),
        ({"mode": "call", "cases": [[[], 1]]}, "test.entry"),
        ({"mode": "call", "entry": "f"}, "test.cases"), ({"mode": "stdio", "cases": []}, "at least one"),
        ({"mode": "stdio", "cases": [["a"]]}, "case 1"), ({"mode": "stdio", "cases": [["a", 1]]}, "two texts"),
        ({"mode": "call", "entry": "f", "cases": [["ab", 1]]}, "arguments must be a list"),
        ({"mode": "call", "entry": "f", "cases": [[[1], object()]]}, "not plain"),
        ({"mode": "assert", "entry": "f"}, "test.src"),
        ({"mode": "assert", "entry": "f", "src": "", "exports": "Node"}, "test.exports"),
        ({"mode": "stdio", "cases": [["", ""]], "tolerance": -1}, "test.tolerance"),
        ({"mode": "stdio", "cases": [["", ""]], "checker": 5}, "test.checker"),
    ],
)  # fmt: skip
def test_malformed_tests_are_told_in_one_line(test, told):
    with pytest.raises(PonderError) as error:
        grade("x = 1", test)
    assert told in str(error.value) and "\n" not in str(error.value)


# ---- rows ------------------------------------------------------------------------------------------------------------

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": (
        "from typing import List\n\n\ndef helper(x):\n    return x + 1\n\n\n"
        "def up(xs: List[int]) -> List[int]:\n    '''Each plus one.'''\n"
    ),
    "entry_point": "up",
    "canonical_solution": "    return [helper(x) for x in xs]\n",
    "test": (
        "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1]) == [2]\n"
        "    assert candidate([]) == []\n"
    ),
}


@pytest.mark.parametrize(
    "text",
    [
        "    return [helper(x) for x in xs]\n",
        "\n    return [helper(x) for x in xs]\n",
        "return [helper(x) for x in xs]",
        "out = []\n    for x in xs:\n        out.append(helper(x))\n    return out",
        "out = []\nfor x in xs:\n    out.append(helper(x))\nreturn out",
        "    return [helper(x) for x in xs]\n\nThe function adds one.\n\ndef main(:\n",
        "    return [helper(x) for x in xs]\n```\nThat is all.",
        "def up(xs):\n    return [helper(x) for x in xs]\n",
        "Here it is:\n```python\ndef up(xs: List[int]):\n    return [x + 1 for x in xs]\n```\nand its use:\n"
        "```python\nprint(up([1]))\n```\n",
        "<think>```python\ndef up(xs): return 0\n```</think>\n```python\n    return [x + 1 for x in xs]\n```",
        "```\ndef up(xs):\n    return [x + 1 for x in xs]\n```",
        "```py\ndef up(xs):\n    return [x + 1 for x in xs]",
        "first\n```python\ndef up(xs): return 1\n```\nbetter\n```python\ndef up(xs): return [x + 1 for x in xs]\n```",
        "```python\nreturn [x + 1 for x in xs]\n```",
        "```python\n" + HUMANEVAL["prompt"] + HUMANEVAL["canonical_solution"] + "```",
    ],
)
def test_completions_of_every_kind_become_programs(text):
    verdict = grade(code_of(text, HUMANEVAL), test_of(HUMANEVAL))
    assert verdict.correct is True, (code_of(text, HUMANEVAL), verdict)


@pytest.mark.parametrize(
    "text", ["", "    pass", "no code at all", "```python\n```", "def other(): pass", "    return xs"]
)
def test_other_completions_do_not(text):
    assert grade(code_of(text, HUMANEVAL), test_of(HUMANEVAL)).correct is False


def test_parsing_a_models_text_is_silent_and_total(recwarn):
    odd = ["    return 1if 1else 2", "    return '\\d'"]
    deep = ["    " + "-" * 100_000, "    " + "(" * 5000, "    x = " + "a." * 60_000]
    for text in odd + deep:
        assert code_of(text, HUMANEVAL).endswith(text)
    assert not recwarn.list


def test_blocks():
    assert blocks("a\n```python\nx\n```\nb\n~~~\ny\n~~~\n```js\nz") == [("python", "x\n"), ("", "y\n"), ("js", "z")]
    assert blocks("````python\n```\ninner\n```\n````") == [("python", "```\ninner\n```\n")]
    assert len(blocks("```\n" * 100_000)) == 50_000
    assert code_of("plain = 1", {}) == "plain = 1"


def test_mbpp_rows():
    row = {
        "text": "…",
        "code": (
            "class Pair(object):\r\n    def __init__(self, a, b):\r\n        self.a = a\r\n"
            "        self.b = b\r\ndef first(p, k):\r\n    return p[0].a"
        ),
        "test_list": ["assert first([Pair(5, 24), Pair(1, 2)], 4) == 5"],
        "test_setup_code": "",
        "challenge_test_list": ["assert first([Pair(7, 1)], 1) == 7"],
    }
    test = test_of(row)
    assert test["entry"] == "first" and test["exports"] == ["Pair"]
    verdict = grade(row["code"], test)
    assert verdict.correct is True and verdict.total == 2
    setup = {"test_setup_code": "p = Pair(3, 4)", "test_list": ["assert first([p], 0) == 3", "assert p.b == 4"]}
    assert grade(row["code"], test_of({**row, **setup})).correct is True
    sizes = {"test_list": ["assert size((1, 2)) == sys.getsizeof((1, 2))"], "test_imports": ["import math"]}
    assert grade("import sys\ndef size(x): return sys.getsizeof(x)", test_of(sizes)).correct is True
    assert test_of({"test_list": ["assert sum(1, 2) == 3"]})["entry"] == "sum"
    assert grade("def sum(a, b): return a + b", test_of({"test_list": ["assert sum(1, 2) == 3"]})).correct is True


@pytest.mark.parametrize(
    "row, mode",
    [
        ({"test": SUMS}, "call"), (SUMS, "call"),
        ({"tests": [{"input": "1 2", "output": "3", "type": "stdin_stdout"}]}, "stdio"),
        ({"test_cases": json.dumps([{"input": "1 2", "output": "3"}])}, "stdio"),
        ({"verification_info": {"test_cases": [{"input": "1 2", "output": "3", "type": "stdin"}]}},
         "stdio"),
        ({"input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]})}, "stdio"),
        ({"input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]})}, "call"),
        ({"input_output": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}}, "call"),
        ({"reward_model": {"ground_truth": json.dumps({"inputs": ["1 2"], "outputs": ["3"]})}},
         "stdio"),
        ({"public_test_cases": json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}])}, "stdio"),
        ({"public_test_cases": json.dumps([{"input": "1\n2", "output": "3", "testtype": "functional"}]),
          "metadata": json.dumps({"func_name": "add"})}, "call"),
        ({"tests": ["assert add(1, 2) == 3"]}, "assert"), ({"ground_truth": "assert add(1, 2) == 3"}, "assert"),
        ({"tests": [{"input": [1, 2], "output": 3, "type": "function_call", "fn_name": "add"}]}, "call"),
        ({"input_output": {"inputs": [["1 2", ""]], "outputs": [["3"]]}}, "stdio"),
    ],
)  # fmt: skip
def test_rows_of_data_sets(row, mode):
    test = test_of(row)
    assert test["mode"] == mode
    right, wrong = (TOTAL, "input(); print(4)") if mode == "stdio" else (ADD, "def add(a, b): return 4")
    assert grade(right, test).correct is True
    assert grade(wrong, test).correct is False


@pytest.mark.parametrize(
    "row, told",
    [
        ({"problem": "x"}, "this one has problem"), ({}, "no fields"), ({"test": "x", "entry_point": 5}, "entry_point"),
        ({"test_list": ["assert f("]}, "does not parse"), ({"test_list": [5]}, "list of assert"),
        ({"test_list": ["x = 1"]}, "entry_point"),
        ({"tests": [{"input": "1"}]}, "test 1 needs"),
        ({"tests": [{"input": "1", "output": "1", "type": "magic"}]}, "'magic'"),
        ({"input_output": "{broken"}, "not valid JSON"),
        ({"input_output": {"inputs": ["1"], "outputs": []}}, "1 inputs and 0 outputs"),
        ({"public_test_cases": '[{"input": "", "output": ""}]', "private_test_cases": "eJxr"}, "compressed pickle"),
        ({"tests": [{"input": [1], "output": 1, "type": "functional"}]}, "fn_name"),
        ({"tests": {"a": 1}}, "holds no tests"),
        ({"tests": [{"input": "x y", "output": 1, "type": "functional", "fn_name": "f"}]}, "not JSON"),
    ],
)  # fmt: skip
def test_rows_without_tests_are_told_in_one_line(row, told):
    with pytest.raises(PonderError) as error:
        test_of(row)
    assert told in str(error.value) and "\n" not in str(error.value)
