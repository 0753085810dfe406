"""`ponder data filter`: the kept rows, the table, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ponder.cli.data_filter import filter_
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Problem
from ponder.data.rows import write_rows
from tests.data.traces import trace

ONE = Problem("rows", "What is 2+3?", "5")
TWO = Problem("rows", "How many legs have three spiders and two birds together?", "28")


def _traces(folder: Path) -> Path:
    rows = [trace(ONE, f"way {k}", "5", k < 3, k) for k in range(4)] + [trace(TWO, "legs", "28", True)]
    write_rows(folder / "traces.jsonl", rows)
    return folder / "traces.jsonl"


def test_kept_rows_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _traces(tmp_path)
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": TWO.prompt, "answer": "28"}) + "\n")
    out = tmp_path / "deep" / "kept.jsonl"
    assert filter_(file, ["max_per_problem=2", f"against=[{tmp_path}/eval.jsonl]"], out) == 0
    kept = read_jsonl(out)
    assert [(row["id"], row["sample"]) for row in kept] == [(ONE.id, 0), (ONE.id, 1)]
    assert kept[0] == read_jsonl(file)[0] and kept[0]["provenance"]["teacher"] == "t"
    table = json.loads((tmp_path / "deep" / "kept.table.json").read_text())
    assert {row["filter"]: row["taken"] for row in table["filters"]} == {
        "empty": 0, "unfinished": 0, "held out": 1, "right": 1, "duplicate": 0, "per problem": 1,
    }  # fmt: skip
    assert table["rows"] == 5 and table["kept"] == 2 and table["settings"]["max_per_problem"] == 2
    told = capsys.readouterr().out
    assert "5 rows, 2 kept" in told and "wrong: 1" in told and f"{TWO.id}/0" in told


def test_mistakes_are_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    file = _traces(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text('{"id": "x", "problem": "?"}\n')
    before = sorted(tmp_path.iterdir())
    for source, settings, line in (
        (file, ["rihgt=true"], "did you mean right"), (tmp_path / "bad.jsonl", [], "bad.jsonl, row 1: no completion"),
        (tmp_path / "empty.jsonl", [], "holds no rows"), (file, ["against=[no.jsonl]"], "no.jsonl"),
        (file, ["language=xx"], "cannot be told"), (file, ["which=best", "max_per_problem=1"], "no row has a score"),
    ):  # fmt: skip
        with pytest.raises(PonderError, match=line) as caught:
            filter_(source, settings, tmp_path / "kept.jsonl")
        assert "\n" not in str(caught.value)
    with pytest.raises(PonderError, match="is the file that is read"):
        filter_(file, [], file)
    assert sorted(tmp_path.iterdir()) == before
