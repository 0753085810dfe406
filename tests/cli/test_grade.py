"""`ponder grade`, as a person pipes rows through it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ponder.cli.app import run_app
from ponder.core.errors import PonderError
from ponder.tasks import grading
from ponder.tasks.grading import KINDS, MALFORMED, Options, graded, grader, kind_of

MATH = {"pred": "The answer is \\boxed{1/2}.", "gold": "0.5"}
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "math": (MATH, {**MATH, "pred": "The answer is \\boxed{1/3}."}),
    "choice": (
        {"pred": "The answer is (B).", "gold": "B", "choices": ["one", "two"]},
        {"pred": "The answer is (A).", "gold": "B", "choices": ["one", "two"]},
    ),
    "ifeval": (
        {"response": "no commas here", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        {"response": "one, two", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    ),
    "countdown": (
        {"pred": "<answer>3*5+7</answer>", "numbers": [3, 5, 7], "target": 22},
        {"pred": "<answer>3*5-7</answer>", "numbers": [3, 5, 7], "target": 22},
    ),
    "ordering": (
        {"pred": "<answer>Ann, Bob, Cid</answer>", "gold": "Ann, Bob, Cid"},
        {"pred": "<answer>Bob, Ann, Cid</answer>", "gold": "Ann, Bob, Cid"},
    ),
    "truth_tellers": (
        {"pred": "<answer>Ann is a knight, Bob is a knave</answer>", "gold": "Ann is a knight, Bob is a knave"},
        {"pred": "<answer>Ann is a knave, Bob is a knave</answer>", "gold": "Ann is a knight, Bob is a knave"},
    ),
}
FIELDS = {"correct", "method", "ms", "note"}


def lines(rows: list[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def run(capsys: Any, monkeypatch: Any, rows: list[Any], *options: str) -> tuple[int, list[dict[str, Any]], str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines(rows)))
    code = run_app(["grade", "-", *options])
    shown = capsys.readouterr()
    return code, [json.loads(line) for line in shown.out.splitlines()], shown.err


@pytest.mark.parametrize("kind", ROWS)
def test_right_and_wrong_of_every_kind(kind: str, capsys: Any, monkeypatch: Any) -> None:
    assert set(ROWS) == set(KINDS) - {"code"}
    code, out, err = run(capsys, monkeypatch, list(ROWS[kind]), "--kind", kind)
    assert code == 0 and "2 rows: 1 right, 1 wrong" in err
    assert [row["correct"] for row in out] == [True, False]
    for given, row in zip(ROWS[kind], out, strict=True):
        assert row.items() >= given.items() and set(row) >= FIELDS and row["ms"] >= 0


def test_the_kind_is_found_row_by_row(capsys: Any, monkeypatch: Any) -> None:
    told = ("math", "choice", "ifeval", "countdown")
    code, out, _ = run(capsys, monkeypatch, [row for kind in told for row in ROWS[kind]])
    assert code == 0 and [row["correct"] for row in out] == [True, False] * len(told)
    assert [kind_of(ROWS[kind][0]) for kind in told] == list(told) and kind_of({"code": "", "test": {}}) == "code"


def test_a_malformed_row_names_its_line_and_the_good_ones_are_graded(capsys: Any, monkeypatch: Any) -> None:
    rows = [MATH, '{"pred": ', {"pred": "1"}, "[1]", {**MATH, "form": "round"}, {**MATH, "pred": None}, "", MATH]
    code, out, err = run(capsys, monkeypatch, rows)
    assert code == 2 and [row["correct"] for row in out] == [True, None, None, None, None, None, True]
    assert [row["method"] == MALFORMED for row in out] == [False, *[True] * 5, False]
    faults = ((2, "not JSON"), (3, "no `gold`"), (4, "expected a JSON object"), (5, "`form`"), (6, "`pred`"))
    for number, missing in faults:
        assert any(f"line {number}: " in line and missing in line for line in err.splitlines()), (number, err)
    assert "5 malformed" in err and out[2]["pred"] == "1" and "line 3" in out[2]["note"]


def test_rows_come_back_in_order_and_unchanged(capsys: Any, monkeypatch: Any) -> None:
    rows = [{"id": i, "pred": f"\\boxed{{{i}}}", "gold": str(i - i % 2), "über": [i, None]} for i in range(300)]
    code, out, _ = run(capsys, monkeypatch, rows, "--workers", "3")
    assert code == 0 and [{k: row[k] for k in rows[0]} for row in out] == rows
    assert [row["correct"] for row in out] == [i % 2 == 0 for i in range(300)]


def test_a_row_is_answered_before_the_next_is_sent() -> None:
    """Whoever pipes one row and waits for its verdict is not kept waiting for a buffer to fill."""
    command = [sys.executable, "-m", "ponder", "grade", "-", "--kind", "math"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        watch = threading.Timer(60, process.kill)
        watch.start()
        for gold in ("1", "2"):
            process.stdin.write(json.dumps({"pred": "\\boxed{1}", "gold": gold}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["correct"] is (gold == "1")
        process.stdin.close()
        assert process.wait() == 0
        watch.cancel()


def test_grading_needs_no_torch(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(lines([MATH]))
    script = (
        "import sys; from ponder.cli.app import run_app; code = run_app(['grade', sys.argv[1]]); "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(rows)], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["correct"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kind", "mathe"], "did you mean math?"),
        (["nonsense=1"], "nonsense is unknown"),
        (["math.percnt=true"], "math.percnt is unknown"),
        (["limits.cpu_s=fast", "--kind", "code"], "limits.cpu_s is 'fast'"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(options: list[str], said: str, capsys: Any, monkeypatch: Any) -> None:
    code, out, err = run(capsys, monkeypatch, [MATH], *options)
    assert code == 2 and not [row for row in out if row["correct"] is not None]
    assert said in err


def test_a_file_that_is_not_there(capsys: Any, tmp_path: Path) -> None:
    assert run_app(["grade", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl cannot be read" in capsys.readouterr().err


def test_code_rows(capsys: Any, monkeypatch: Any) -> None:
    test = {"mode": "call", "entry": "f", "cases": [[[1], 2], [[2], 3]]}
    programs = ("def f(x): return x + 1", "def f(x): return 2", "def f(x): raise SystemExit(0)", "def f(x:")
    rows = [{"code": code, "test": test} for code in programs]
    try:
        grader("code", Options())
    except PonderError as error:
        pytest.skip(f"no jail on this machine: {error}")
    code, out, _ = run(capsys, monkeypatch, rows, "--all-tests")
    assert code == 0 and [row["correct"] for row in out] == [True, False, False, False]
    assert [(row["passed"], row["total"]) for row in out] == [(2, 2), (1, 2), (0, 2), (0, 2)]
    assert all(row["sandbox"] != "weak" for row in out)


def test_any_line_has_a_verdict() -> None:
    grade = grader(None)
    for text in ("null", "3", '"x"', "{}", "{" * 10_000, "\x00", '{"pred": {}, "gold": []}', '{"code": 1}'):
        row, fault = graded(text, "line 1", grade)
        assert row["correct"] is None and row["method"] == MALFORMED and fault.startswith("line 1: ")


def test_half_characters_and_bytes_that_are_no_text() -> None:
    rows = b'{"pred": "\\ud800 \\\\boxed{1}", "gold": "1"}\n{"pred": "\xff\xfe \\\\boxed{2}", "gold": "2"}\n'
    command = [sys.executable, "-m", "ponder", "grade", "-"]
    done = subprocess.run(command, input=rows, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["correct"] for line in done.stdout.splitlines()] == [True, True]


def test_a_fault_of_a_grader_is_unknown_and_the_rows_go_on(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(grading._KINDS, "math", lambda options: lambda row: {}[row["gold"]])
    code, out, _ = run(capsys, monkeypatch, [MATH, ROWS["choice"][0]])
    assert code == 0 and [row["correct"] for row in out] == [None, True] and out[0]["method"] == "fault"
