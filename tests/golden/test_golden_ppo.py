"""Thirty seeded steps of PPO on a tiny random model and critic, against numbers that are kept in `ppo.jsonl`.

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
GOLDEN = HERE / "ppo.jsonl"
KEYS = (
    "step", "loss", "kl", "entropy", "grad_norm", "reward", "completions/mean_length", "num_tokens", "value/loss",
    "value/grad_norm", "critic/values/mean", "critic/returns/mean", "critic/rewards/mean", "critic/advantages/max",
)  # fmt: skip
# Adam's epsilon is large for the reason that test_golden_grpo.py gives. As it is, weights that differ in the last bit
# give the same numbers to 1e-5.
CHANGES: dict[str, Any] = {
    "max_steps": 30, "save_steps": 30, "questions_per_step": 4, "num_generations": 4, "learning_rate": 1e-1,
    "adam_epsilon": 1.0, "kl_coef": 0.02, "num_iterations": 2, "num_mini_batches": 2, "lr_scheduler_type": "cosine",
    "warmup_steps": 3, "gamma": 0.99, "lam": 0.9, "sample_steps": 0,
}  # fmt: skip

sys.path.insert(0, str(HERE.parent / "training"))


def golden_run(out_dir: Path) -> list[dict[str, Any]]:
    from tiny_ppo import run_ppo

    from ponder.core.records import read_jsonl
    from ponder.training.distributed import World

    run_ppo(World(), out_dir, CHANGES)
    return [{key: row[key] for key in KEYS} for row in read_jsonl(out_dir / "metrics.jsonl")]


def test_the_golden_run_is_the_same(tmp_path: Path) -> None:
    expected = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    found = golden_run(tmp_path)
    assert len(found) == len(expected) == 30
    for row, golden in zip(found, expected, strict=True):
        for key in KEYS:
            assert row[key] == pytest.approx(golden[key], rel=3e-5, abs=1e-6), f"{key} at step {row['step']}"
    assert expected[-1]["reward"] > 1.5 * expected[0]["reward"], "the golden run should be one that learns"


if __name__ == "__main__":
    import tempfile

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = golden_run(Path(folder))
    GOLDEN.write_text("".join(json.dumps(row) + "\n" for row in rows))
