"""Thirty seeded steps of preference optimisation on a tiny random model, against numbers kept in `dpo.jsonl`.

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
GOLDEN = HERE / "dpo.jsonl"
KEYS = (
    "step", "loss", "grad_norm", "entropy", "rewards/chosen", "rewards/rejected", "rewards/margins",
    "rewards/accuracies", "logps/chosen", "logps/rejected", "num_tokens",
)  # fmt: skip
# Adam's epsilon is large, as in the golden run of GRPO: another CPU's rounding must not become another run.
CHANGES: dict[str, Any] = {
    "max_steps": 30, "save_steps": 30, "batch_size": 6, "learning_rate": 3e-3, "adam_epsilon": 1e-2, "beta": 0.2,
    "label_smoothing": 0.1, "lr_scheduler_type": "cosine", "warmup_steps": 3, "token_budget": 64,
}  # fmt: skip

sys.path.insert(0, str(HERE.parent / "training"))


def golden_run(out_dir: Path) -> list[dict[str, Any]]:
    from preference_world import run

    from ponder.core.records import read_jsonl
    from ponder.training.distributed import World

    run(World(), out_dir, CHANGES)
    return [{key: row[key] for key in KEYS} for row in read_jsonl(out_dir / "metrics.jsonl")]


def test_the_golden_run_is_the_same(tmp_path: Path) -> None:
    expected = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    found = golden_run(tmp_path)
    assert len(found) == len(expected) == 30
    for row, golden in zip(found, expected, strict=True):
        for key in KEYS:
            if key == "rewards/accuracies" and row["step"] == 1:
                continue  # the rewards are differences of equal numbers there: which is larger is a matter of rounding
            assert row[key] == pytest.approx(golden[key], rel=1e-4, abs=1e-5), f"{key} at step {row['step']}"
    assert expected[-1]["loss"] < 0.75 * expected[0]["loss"], "the golden run should be one that learns"


if __name__ == "__main__":
    import tempfile

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = golden_run(Path(folder))
    GOLDEN.write_text("".join(json.dumps(row) + "\n" for row in rows))
