"""The benchmark of GRPO beside PPO: its arithmetic, and a whole run of both on a few short rows."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "grpo_vs_ppo.py"
_spec = importlib.util.spec_from_file_location("grpo_vs_ppo", SCRIPT)
assert _spec is not None and _spec.loader is not None
bench = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bench)


def _row(seconds: float, **changes: Any) -> dict[str, Any]:
    row = dict(
        step_s=seconds, cpu_s=seconds, rollout_s=seconds / 2, policy_s=seconds / 4, value_s=0.0, peak_mb=700.0,
        loaded_mb=400.0, trained=2**20, tokens=30.0, accuracy_P=[0.25, 0.75], explained_variance=None,
    )  # fmt: skip
    return row | changes


def test_ratios_are_taken_within_a_round() -> None:
    pairs = [
        {"grpo": _row(1.0), "ppo": _row(2.0, trained=2**21, value_s=0.5, peak_mb=1000.0)},
        {"grpo": _row(10.0), "ppo": _row(15.0, trained=2**21, value_s=0.5, peak_mb=1000.0)},
    ]
    lines = {line[:28].strip(): line for line in bench.table(pairs)}
    assert lines["step, s"].endswith("1.75 (1.50 to 2.00)")
    assert lines["values and critic, s"].endswith("only PPO has it")
    assert (
        "300 (300 to 300)" in lines["above the loaded model"]
        and "2.00 (2.00 to 2.00)" in lines["above the loaded model"]
    )
    assert "16.0 (16.0 to 16.0)" in lines["training state, MB"] and "32.0 (32.0 to 32.0)" in lines["training state, MB"]


def test_the_gap_is_ppo_less_grpo() -> None:
    pairs = [{"grpo": _row(1.0), "ppo": _row(2.0, accuracy_P=[0.5, 1.0], explained_variance=0.4)}]
    lines = bench.accuracies(_row(0.0, accuracy_P=[0.0, 0.0]), pairs)
    assert lines[0].startswith("held-out accuracy, before 0.000") and "ppo    0.750" in lines[2]
    assert lines[3].startswith("PPO less GRPO: +0.250") and lines[4].endswith("0.40 (0.40 to 0.40)")


@pytest.mark.slow
def test_both_run(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, str(SCRIPT), "--rounds", "1", "--steps", "1", "--questions", "2", "--generations", "2"]
    command += ["--length", "16", "--held-out", "7", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert (
        rows["ppo"]["trained"] > 1.9 * rows["grpo"]["trained"] and rows["ppo"]["value_s"] > 0 == rows["grpo"]["value_s"]
    )
    assert "PPO less GRPO" in done.stdout and "training state, MB" in done.stdout
    wrong = subprocess.run([sys.executable, str(SCRIPT), "--random", "12"], capture_output=True, text=True, timeout=300)
    assert wrong.returncode == 1 and "should be HIDDENxLAYERS" in wrong.stderr
