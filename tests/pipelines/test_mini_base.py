"""The embedded base's own pipeline, in small: made, measured, its card; a second run does nothing again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ponder.models.load import load_model
from ponder.pipelines import mini_base
from ponder.pipelines.mini_base import MiniBaseSettings
from ponder.training.pretrain import PretrainSettings


def test_it_makes_a_model_with_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_base, "TOKENIZER_DOCUMENTS", 1000)
    monkeypatch.setattr(mini_base, "BLOCK", 128)
    settings = MiniBaseSettings(
        hidden=64,
        layers=1,
        processes=1,
        evaluation_problems=7,
        pretrain=PretrainSettings(max_steps=3, tokens_per_step=1024, warmup_steps=1),
    )
    model = mini_base.run(settings, tmp_path)
    assert load_model(str(model)).context_length == 512
    card = (model / "README.md").read_text()
    assert "1 layers of width 64" in card and "| countdown |" in card and "nats a token" in card
    written = (model / "model.safetensors").stat().st_mtime_ns
    assert mini_base.run(settings, tmp_path) == model
    assert (model / "model.safetensors").stat().st_mtime_ns == written
    assert [row.state for row in mini_base.plan(settings, tmp_path)] == ["done", "done"]
