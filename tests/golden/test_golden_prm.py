"""Thirty seeded steps of a process reward model on a tiny random model, against numbers kept in `prm.jsonl`.

A change that is not meant to change the mathematics leaves them as they are. One that is meant to: run this file as a
program, look at the difference, and say in the commit why it is right.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "prm.jsonl"
KEYS = ("step", "loss", "accuracy", "label_mean", "grad_norm", "num_tokens")
# A large epsilon, as in the other golden runs: rounding of gradients near 0 must not become whole steps.
CHANGES: dict[str, Any] = {
    "max_steps": 30, "save_steps": 30, "batch_size": 8, "learning_rate": 1e-2, "adam_epsilon": 1e-2,
    "lr_scheduler_type": "cosine", "warmup_steps": 3, "weight_decay": 0.01,
}  # fmt: skip

sys.path.insert(0, str(HERE.parent / "training"))


def golden_run(out_dir: Path) -> list[dict[str, Any]]:
    from reward_world import run_process, stepwise

    from ponder.core.records import read_jsonl
    from ponder.training.distributed import World

    run_process(World(), out_dir, stepwise(48), **CHANGES)
    return [{key: row[key] for key in KEYS} for row in read_jsonl(out_dir / "metrics.jsonl")]


def test_the_golden_run_is_the_same(tmp_path: Path) -> None:
    expected = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    found = golden_run(tmp_path)
    assert len(found) == len(expected) == 30
    for row, golden in zip(found, expected, strict=True):
        for key in KEYS:
            assert row[key] == pytest.approx(golden[key], rel=3e-5, abs=1e-6), f"{key} at step {row['step']}"
    assert expected[-1]["loss"] < 0.85 * expected[0]["loss"], "the golden run should be one that learns"


if __name__ == "__main__":
    import tempfile

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = golden_run(Path(folder))
    GOLDEN.write_text("".join(json.dumps(row) + "\n" for row in rows))
