"""The GRPO benchmark: its arithmetic, and a whole run of both engines on a few short rows."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ponder.core.records import usable_cores

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "grpo_step.py"
_spec = importlib.util.spec_from_file_location("grpo_step", SCRIPT)
assert _spec is not None and _spec.loader is not None
bench = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bench)


def _row(setting: str, seconds: float, **changes: Any) -> dict[str, Any]:
    row = dict(
        setting=setting, step_s=seconds, rollout_s=seconds / 2, update_s=seconds / 4, completion_tokens=100,
        all_tokens=300, grad_norm=0.5,
    )  # fmt: skip
    return row | changes


def test_recorded_lengths_have_a_long_tail_and_are_the_same_each_time() -> None:
    lengths = bench.recorded_lengths(256, 160)
    assert lengths == bench.recorded_lengths(256, 160)
    assert max(lengths) == 160
    assert 26 < statistics.fmean(lengths) < 34
    assert statistics.median(lengths) < 24


def test_a_row_ends_with_an_end_token_unless_the_limit_cuts_it() -> None:
    assert bench.record_row([5, 6, 7], limit=4, eos_id=0) == [5, 6, 0]
    assert bench.record_row([5, 6, 7, 8], limit=4, eos_id=0) == [5, 6, 7, 8]


def test_every_ratio_is_above_one_where_ponder_is_faster() -> None:
    runs = [{"ponder": [_row("free", 2.0)], "trl": [_row("free", 6.0)]}]
    lines = bench.table(runs, "free")
    assert all(line.endswith("3.00 (3.00 to 3.00)") for line in lines[1:5]), lines


def test_ratios_are_of_pairs_and_steps_of_the_other_setting_do_not_count() -> None:
    runs = [
        {"ponder": [_row("free", 1.0), _row("recorded", 50.0)], "trl": [_row("free", 2.0), _row("recorded", 1.0)]},
        {"ponder": [_row("free", 10.0)], "trl": [_row("free", 40.0)]},
    ]
    assert bench.table(runs, "free")[4].endswith("3.00 (2.00 to 4.00)")


@pytest.mark.parametrize("changes", [{"grad_norm": 0.51}, {"all_tokens": 301}])
def test_recorded_steps_of_other_work_are_called_out(changes: dict[str, Any]) -> None:
    same = [{"ponder": [_row("recorded", 1.0)], "trl": [_row("recorded", 2.0)]}]
    other = [{"ponder": [_row("recorded", 1.0, **changes)], "trl": [_row("recorded", 2.0)]}]
    assert bench.same_work(same).endswith("the same work")
    assert "NOT THE SAME WORK" in bench.same_work(other)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", ["1x1", "2x1"])
def test_both_engines_do_the_recorded_work(tmp_path: Path, layout: str) -> None:
    pytest.importorskip("trl")
    processes = 2 if usable_cores() > 1 else 1
    done = subprocess.run(
        [
            sys.executable, str(SCRIPT), "--model", "random", "--processes", str(processes), "--rounds", "1", "--steps",
            "1", "--questions", "4", "--generations", "4", "--max-completion-length", "20", "--trl-layout", layout,
            "--out", str(tmp_path / "rows.jsonl"),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["engine"], row["setting"]) for row in rows] == [
        (engine, setting) for engine in ("ponder", "trl") for setting in ("recorded", "free")
    ]
    ponder, trl = rows[0], rows[2]
    assert ponder["completion_tokens"] == trl["completion_tokens"] == sum(bench.recorded_lengths(16, 20))
    assert ponder["prompt_tokens"] == trl["prompt_tokens"] > 0
    assert ponder["grad_norm"] == pytest.approx(trl["grad_norm"], rel=1e-3)
    assert (ponder["processes"], ponder["threads"]) == (processes, 1)
    assert f"{trl['processes']}x{trl['threads']}" == layout
    for row in rows:
        assert 0 < row["rollout_s"] + row["update_s"] <= row["step_s"]
    assert "the same work" in done.stdout and "NOT" not in done.stdout
