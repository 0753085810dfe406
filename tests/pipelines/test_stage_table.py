"""The table of stages: what a column counts, intervals, win rates, verdicts, and what it looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.pipelines.models_table import checked
from ponder.pipelines.stage_table import (
    Column,
    as_table,
    cell_text,
    composite_difference,
    difference,
    figures,
    in_kinds,
    mean,
    read_table,
    share,
    win_rates,
    write_table,
)
from ponder.report.stages import stage_table, stages


def row(at: int, sample: int = 0, **told: Any) -> dict[str, Any]:
    """An evaluation row, as far as a table looks at it."""
    return {"id": f"p{at}", "content": f"c{at}", "task": "a" if at % 2 else "b", "sample": sample, "finish": "stop",
            "correct": True, "tokens": 10, **told}  # fmt: skip


RIGHT = Column("right", "right", share(lambda r: r["correct"]))


def test_a_share_leaves_out_what_is_unknown_given_up_or_of_another_kind() -> None:
    rows = [row(1), row(2, correct=False), row(3, correct=None), row(4, finish="abort"), row(5, correct=False)]
    only = Column("a", "a", share(lambda r: r["correct"], in_kinds(["a"])))
    found = figures(rows, [RIGHT, only, Column("n", "tokens", mean("tokens"), percent=False)])
    assert found["right"].value == pytest.approx(1 / 3) and found["right"].n == 3
    assert found["a"].value == pytest.approx(1 / 2) and found["n"].value == 10.0
    assert 0.0 <= found["right"].low <= found["right"].value <= found["right"].high <= 1.0  # type: ignore[operator]


def test_samples_of_one_problem_are_not_independent() -> None:
    apart = [row(at, correct=at % 2 == 0) for at in range(80)]
    together = [row(at // 8, sample=at % 8, correct=(at // 8) % 2 == 0) for at in range(80)]
    wide, narrow = (figures(rows, [RIGHT])["right"] for rows in (together, apart))
    assert wide.value == narrow.value == 0.5
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)  # type: ignore[operator]


def test_a_difference_is_paired_and_said_in_words() -> None:
    a = [row(at, correct=at % 3 == 0) for at in range(60)]
    b = [row(at, correct=at % 3 != 1) for at in range(60)]
    gap, word = difference(a, [*b, row(99)], RIGHT)
    assert word == "higher" and gap.value == pytest.approx(1 / 3) and gap.low > 0  # type: ignore[operator]
    told = {"told": "t", "column": "right", "expected": "lower"}
    assert checked(told, a, b, RIGHT)["verdict"] == "does not agree"
    assert checked({**told, "expected": "higher"}, a, b, RIGHT)["verdict"] == "agrees"
    assert checked({**told, "expected": "higher"}, a, a, RIGHT)["verdict"] == "not shown"


def test_a_mean_of_columns_is_compared_with_an_interval() -> None:
    form = Column("form", "form", share(lambda r: r["tokens"] > 5))
    a = [row(at, correct=at % 3 == 0) for at in range(90)]
    b = [row(at, correct=at % 3 != 1) for at in range(90)]
    gap = composite_difference(a, b, [RIGHT, form])
    assert gap.value == pytest.approx(1 / 6) and 0 < gap.low < gap.value < gap.high < 1 / 3  # type: ignore[operator]
    same = composite_difference(a, a, [RIGHT, form])
    assert same.value == same.low == same.high == 0.0


def test_win_rates_count_ties_as_a_half_and_only_the_same_problem() -> None:
    base = [row(1, 0, preference=0.0), row(1, 1, preference=2.0), row(2, 0, preference=9.0)]
    rows = [row(1, 0, preference=1.0), row(1, 1, preference=2.0), row(2, 0, preference=1.0), row(3, 0, preference=5.0),
            row(4, 0)]  # fmt: skip
    assert [r["win"] for r in win_rates(rows, base)] == [0.5, 0.75, 0.0, None, None]
    against_itself = [r["win"] for r in win_rates(base, base)]
    assert sum(against_itself) / 3 == 0.5


def test_written_read_and_drawn(tmp_path: Path) -> None:
    rows = {"base": [row(at, correct=at % 4 == 0) for at in range(40)], "<later>": [row(at) for at in range(40)]}
    cells = {name: figures(part, [RIGHT]) for name, part in rows.items()}
    gap = checked({"told": "it <b>rises</b>", "column": "right", "expected": "higher"}, *rows.values(), RIGHT)
    assert read_table(tmp_path) is None
    folder = tmp_path / "table"
    folder.mkdir()
    write_table(folder, as_table("a table", [RIGHT], cells, checks=[gap], notes=["one note"]))
    assert read_table(tmp_path) is None  # not finished yet
    (folder / "manifest.json").write_text("{}")
    table = read_table(tmp_path)
    assert table is not None and table["rows"][1]["cells"]["right"]["value"] == 1.0
    told = stage_table(tmp_path, [])
    assert told is not None
    page = stages(told)
    assert "25.0%" in page and "agrees" in page and "one note" in page
    assert "<later>" not in page and "it <b>rises" not in page and "&lt;later&gt;" in page
    (folder / "table.json").write_text("{")
    with pytest.raises(PonderError, match="cannot be read"):
        read_table(tmp_path)
    unread: list[str] = []
    assert stage_table(tmp_path, unread) is None and len(unread) == 1


def test_cells_in_words() -> None:
    assert cell_text({"value": 0.895, "low": 0.867, "high": 0.919}, True) == "89.5 (86.7-91.9)"
    assert cell_text({"value": 43.21, "low": None, "high": None}, False) == "43.2"
    assert cell_text({"value": 345678.0}, False) == "345678" and cell_text(None, True) == "-"
    assert json.dumps(as_table("t", [], {}))
