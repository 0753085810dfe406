"""The reference's log-probabilities: once, kept, checked, and no second model in memory."""

from __future__ import annotations

import gc
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from preference_world import encoded, make_pairs, make_settings, run
from tiny_world import make_model, make_tokenizer
from transformers import PreTrainedModel

import ponder.training.preference as trainer
import ponder.training.reference as reference
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.training.distributed import World
from ponder.training.preference import train_preference
from ponder.training.reference import pair_logps


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs went through `_compute`, call by call."""
    calls: list[int] = []
    real = reference._compute

    def counted(pairs: Any, *rest: Any) -> Any:
        calls.append(len(pairs))
        return real(pairs, *rest)

    monkeypatch.setattr(reference, "_compute", counted)
    return calls


def test_reference_numbers_are_the_models_own_at_the_start(tmp_path: Path) -> None:
    run(World(), tmp_path, {"max_steps": 2}, validation=make_pairs(5, 50))
    for name, rows in (("train", make_pairs()), ("validation", make_pairs(5, 50))):
        kept = json.loads((tmp_path / "reference" / f"{name}.json").read_text())
        with torch.no_grad():
            told = pair_logps(make_model(), encoded(rows))
        torch.testing.assert_close(torch.tensor(kept["chosen"]), told.chosen_B)
        torch.testing.assert_close(torch.tensor(kept["rejected"]), told.rejected_B)
    first = next(iter(read_jsonl(tmp_path / "metrics.jsonl")))
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5) and abs(first["rewards/margins"]) < 1e-5


def test_a_resumed_run_does_not_compute_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_passes(monkeypatch)
    run(World(), tmp_path, {"max_steps": 2}, validation=make_pairs(5, 50))
    assert calls == [24, 5]
    run(World(), tmp_path, {"max_steps": 2}, validation=make_pairs(5, 50))
    assert calls == [24, 5]


@pytest.mark.parametrize("damage", ["other rows", "other weights", "half a file", "not numbers"])
def test_numbers_of_something_else_are_not_used(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    calls = count_passes(monkeypatch)
    run(World(), tmp_path, {"max_steps": 2})
    shutil.rmtree(tmp_path / "checkpoints")
    kept = tmp_path / "reference" / "train.json"
    pairs, model = make_pairs(), make_model()
    if damage == "other rows":
        pairs = make_pairs(24, 1)
    elif damage == "other weights":
        model = make_model(1)
    elif damage == "half a file":
        kept.write_text(kept.read_text()[:200])
    else:
        kept.write_text(kept.read_text().replace('"chosen": [', '"chosen": [null,', 1))
    with caplog.at_level(logging.WARNING, "ponder"):
        train_preference(make_settings(max_steps=1), model, make_tokenizer(), pairs, tmp_path)
    assert calls == [24, 24] and str(kept) in caplog.text


def test_a_checkpoint_of_other_pairs_is_refused(tmp_path: Path) -> None:
    run(World(), tmp_path, {"max_steps": 2})
    with pytest.raises(PonderError, match="pairs was '.*' and is now '.*'"):
        run(World(), tmp_path, {"max_steps": 4}, make_pairs(24, 1))


def test_another_model_as_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_model(5)
    other.save_pretrained(tmp_path / "other")
    make_tokenizer().save_pretrained(tmp_path / "other")
    opened: list[Any] = []
    real = trainer.load_model
    monkeypatch.setattr(trainer, "load_model", lambda *a, **k: opened.append(a) or real(*a, **k))
    out = tmp_path / "run"
    run(World(), out, {"max_steps": 1}, reference=tmp_path / "other", validation=make_pairs(3, 40))
    kept = json.loads((out / "reference" / "train.json").read_text())
    with torch.no_grad():
        told = pair_logps(other, encoded(make_pairs()))
    torch.testing.assert_close(torch.tensor(kept["chosen"]), told.chosen_B)
    assert len(opened) == 1, "one load for both sets of rows"
    run(World(), out, {"max_steps": 1}, reference=tmp_path / "other", validation=make_pairs(3, 40))
    assert len(opened) == 1, "and none where the numbers are there"


def test_a_reference_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PonderError, match="the reference mini has another vocabulary"):
        run(World(), tmp_path, {"max_steps": 1}, reference="mini")


def test_no_second_model_while_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(5).save_pretrained(tmp_path / "other")
    make_tokenizer().save_pretrained(tmp_path / "other")
    gc.collect()
    before = {id(o) for o in gc.get_objects() if isinstance(o, PreTrainedModel)}
    seen: list[int] = []
    real = trainer.train_supervised

    def counted(*given: Any, **named: Any) -> Any:
        gc.collect()
        seen.append(sum(isinstance(o, PreTrainedModel) and id(o) not in before for o in gc.get_objects()))
        return real(*given, **named)

    monkeypatch.setattr(trainer, "train_supervised", counted)
    run(World(), tmp_path / "run", {"max_steps": 1}, reference=tmp_path / "other")
    # the policy is a causal model around its backbone: two modules that are models
    assert seen == [sum(isinstance(m, PreTrainedModel) for m in make_model().modules())]
