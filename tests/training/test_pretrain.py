"""Pre-training: a small model learns the miniature web, and a stopped run ends with the weights of an unbroken one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import same_bits, weights_of

from ponder.core.records import read_jsonl
from ponder.mini.corpus import documents
from ponder.mini.model import new_model
from ponder.mini.tokenizer import train_tokenizer
from ponder.training import pretrain as module
from ponder.training.distributed import World, launch
from ponder.training.pretrain import PretrainSettings, batches_of, pretrain


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer((d.text for d in islice(documents("test tokenizer"), 2000)), 512)


def _block(tokenizer: Any, index: int) -> list[list[int]]:
    texts = [d.text for d in islice(documents(f"test {index}"), 256)]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def _run(world: World, out: Path, tokenizer: Any, steps: int, **changes: Any) -> dict[str, Any]:
    small = {"max_steps": steps, "tokens_per_step": 2048, "warmup_steps": 5, "logging_steps": 1}
    settings = PretrainSettings(**small | changes)
    model = new_model(tokenizer, seed=0, hidden=64, layers=2)
    return dict(pretrain(settings, model, tokenizer, lambda i: _block(tokenizer, i), out, world, "seed"))


def test_a_small_model_learns(tmp_path: Path, tokenizer: Any) -> None:
    result = _run(World(), tmp_path, tokenizer, steps=60)
    losses = [row["loss"] for row in read_jsonl(tmp_path / "metrics.jsonl")]
    assert losses[0] > 6  # ln(1024) = 6.93: it knows nothing
    assert sum(losses[-5:]) / 5 < 3.0
    assert result["num_tokens"] > 60 * 1000
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_stopped_and_gone_on_is_the_same_run(tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(World(), tmp_path / "whole", tokenizer, steps=8, save_steps=3)
    calls, real = 0, module.update

    def breaking(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "update", breaking)
    with pytest.raises(KeyboardInterrupt):
        _run(World(), tmp_path / "stopped", tokenizer, steps=8, save_steps=3)
    monkeypatch.setattr(module, "update", real)
    _run(World(), tmp_path / "stopped", tokenizer, steps=8, save_steps=3)
    assert same_bits(weights_of(tmp_path / "whole" / "model"), weights_of(tmp_path / "stopped" / "model"))
    rows = read_jsonl(tmp_path / "stopped" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))


def test_two_processes_train_as_one(tmp_path: Path, tokenizer: Any) -> None:
    one = _run(World(), tmp_path / "one", tokenizer, steps=3)
    two = launch(_run, 2, (tmp_path / "two", tokenizer, 3))
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    first, second = (weights_of(tmp_path / name / "model") for name in ("one", "two"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-2, atol=5e-4)  # Muon magnifies rounding


def test_batches_hold_every_document_once_within_the_budget() -> None:
    rows = [[1] * n for n in (5, 50, 7, 9, 30, 31, 2, 1)]
    batches = batches_of(rows, 64, "seed")
    kept = sorted(len(row) for batch in batches for row in batch)
    assert kept == [2, 5, 7, 9, 30, 31, 50]  # one token alone predicts nothing
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= 64 for batch in batches)
    assert batches == batches_of(rows, 64, "seed")
