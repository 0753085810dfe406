"""`ponder data audit`: the table, audit.json, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from ponder.cli.data import HEADINGS, data_app
from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.pipelines.audit import BANDS, Difficulty, band_of


def run(*arguments: str) -> int:
    app = typer.Typer()
    app.add_typer(data_app, name="data")
    return int(app(["data", "audit", *arguments], standalone_mode=False) or 0)


def write(path: Path, *rows: object) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


GOOD = {"problem": "What is 2+3?", "answer": "5"}


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.jsonl", GOOD, {"problem": "Who wrote Faust?", "answer": "Goethe"})
    assert run(file, "--out", str(tmp_path / "out"), "--against", file) == 0
    shown = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert report["passed"] and report["kinds"] == {"math": 1, "rows": 1} and "difficulty" not in report
    assert report["overlaps"][file] == {"rows": 2, "of": 2} and report["counts"] == {"overlap": 2}
    assert "gold right" in shown and "     2 rows that overlap with an evaluation set" in shown
    assert all(heading in shown for heading in HEADINGS.values())


def test_a_gold_that_fails_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.jsonl", GOOD, {"problem": "Odd?", "answer": "see <answer> here"}, GOOD)
    assert run(file, "--out", str(tmp_path)) == 1
    report = json.loads((tmp_path / "audit.json").read_text())
    assert not report["passed"] and report["counts"] == {"gold": 1, "duplicate": 1}
    shown = capsys.readouterr().out
    assert "     1 gold answers that their own grader rejects\n       row 2: 'see <answer> here'" in shown


def test_an_unreadable_row_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.jsonl", GOOD, {"problem": "no answer"})
    assert run(file, "--out", str(tmp_path)) == 1
    assert "row 2: no answer; give one of answer, solution, ground_truth" in capsys.readouterr().out


def test_the_folder_is_named_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(write(tmp_path / "rows.jsonl", GOOD)) == 0
    assert (tmp_path / "runs" / "audit-rows" / "audit.json").is_file()


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(PonderError, match="cannot be read"):
        run(str(tmp_path / "missing.jsonl"))
    with pytest.raises(PonderError, match="evaluation set math500: no math500_test.json in"):
        run(write(tmp_path / "rows.jsonl", GOOD), "--against", "math500")


@pytest.mark.parametrize(
    ("rate", "band"),
    [(0.0, "never right"), (0.01, "rarely (to 1/4)"), (0.25, "rarely (to 1/4)"), (0.5, "sometimes (to 3/4)"),
     (0.99, "often"), (1.0, "always right")],
)  # fmt: skip
def test_bands(rate: float, band: str) -> None:
    assert band_of(rate) == band and band in BANDS


def test_difficulty_as_json() -> None:
    measured = Difficulty("mini", 4, {1: 0.0, 2: 1.0, 5: 0.5}, 1)
    assert measured.mean == 0.5 and measured.bands == {
        "never right": 1, "rarely (to 1/4)": 0, "sometimes (to 3/4)": 1, "often": 0, "always right": 1
    }  # fmt: skip
    assert measured.as_json()["rates"] == {"1": 0.0, "2": 1.0, "5": 0.5} and measured.as_json()["problems"] == 3
    assert Difficulty("mini", 4, {}, 0).mean == 0.0


def test_difficulty_for_the_embedded_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"problem": f"What is {a}+{b}*2?", "answer": a + 2 * b} for a, b in ((2, 3), (4, 5), (7, 2), (7, 2))]
    file = write(tmp_path / "rows.jsonl", *rows)
    options = ["--model", "mini", "--samples", "4", "--max-completion-length", "96", "--out", str(tmp_path)]
    assert run(file, *options, "--problems", "2") == 0
    report = json.loads((tmp_path / "audit.json").read_text())["difficulty"]
    assert report["problems"] == 2 and report["samples"] == 4 and sum(report["bands"].values()) == 2
    assert all(rate * 4 == int(rate * 4) and 0 <= rate <= 1 for rate in report["rates"].values())
    assert "difficulty for mini: 4 samples each" in capsys.readouterr().out
    assert run(file, *options, "--problems", "0") == 0
    assert len(json.loads((tmp_path / "audit.json").read_text())["difficulty"]["rates"]) == 3


def test_difficulty_needs_problems() -> None:
    from ponder.pipelines.audit import difficulty

    for problems, samples in (([], 1), ([Problem("rows", "q", "a")], 0)):
        with pytest.raises(PonderError, match="needs problems, and at least one sample"):
            difficulty(problems, "mini", samples=samples)
