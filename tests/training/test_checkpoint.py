"""Checkpoints: whole or not there, and what happens to damaged ones."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import make_model, make_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from ponder.core.errors import PonderError
from ponder.training import checkpoint
from ponder.training.checkpoint import (
    agree,
    load_optimizer,
    load_weights,
    newest_checkpoint,
    save_checkpoint,
)
from ponder.training.step import Optimizer


def train_a_little(model: Any, optimizer: Optimizer) -> None:
    optimizer.gradient.normal_(generator=torch.Generator().manual_seed(1))
    optimizer.apply(0.01)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Any, Optimizer]:
    model = make_model()
    optimizer = Optimizer(model)
    for step in (1, 2, 3):
        train_a_little(model, optimizer)
        save_checkpoint(tmp_path, step, {"cursor": step * 4}, model, make_tokenizer(), optimizer.state_dict())
    return tmp_path, model, optimizer


def test_the_last_two_are_kept_and_the_newest_is_found(saved: tuple[Path, Any, Optimizer]) -> None:
    folder, _, _ = saved
    assert sorted(path.name for path in folder.iterdir()) == ["step-000002", "step-000003"]
    found = newest_checkpoint(folder)
    assert found is not None and (found.step, found.state) == (3, {"cursor": 12})


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "none") is None


def test_weights_and_optimiser_come_back_bit_for_bit_and_in_place(saved: tuple[Path, Any, Optimizer]) -> None:
    folder, model, optimizer = saved
    other = make_model(seed=5)
    tensors = [p.data_ptr() for p in other.parameters()]
    other_optimizer = Optimizer(other)
    load_weights(folder / "step-000003" / "model", other)
    other_optimizer.load_state_dict(load_optimizer(folder / "step-000003" / "optimizer.pt"))
    assert tensors == [p.data_ptr() for p in other.parameters()]
    train_a_little(model, optimizer)
    train_a_little(other, other_optimizer)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_weights_whose_memory_is_joined_for_sampling_are_saved_each_for_itself(tmp_path: Path) -> None:
    from ponder.sampling.weights import read_weights

    model = make_model()
    read_weights(model)
    attention = model.model.layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == attention.k_proj.weight.untyped_storage().data_ptr()
    checkpoint.save_model(tmp_path, model, make_tokenizer())
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    for (name, a), (_, b) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_model_loads_in_transformers_alone(saved: tuple[Path, Any, Optimizer]) -> None:
    folder, model, _ = saved
    loaded = AutoModelForCausalLM.from_pretrained(folder / "step-000003" / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "step-000003" / "model")
    ids = torch.tensor([tokenizer("1+1=?")["input_ids"]])
    with torch.no_grad():
        assert torch.equal(loaded.eval()(ids).logits, model(ids).logits)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("model/model.safetensors", cut, r"model/model.safetensors has \d+ bytes instead of \d+"),
        ("model/model.safetensors", flip, "model/model.safetensors has changed"),
        ("optimizer.pt", Path.unlink, "optimizer.pt is missing"),
        ("state.json", cut, "state.json cannot be read"),
        ("state.json", Path.unlink, "state.json cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_with_a_note(
    saved: tuple[Path, Any, Optimizer], caplog: pytest.LogCaptureFixture, file: str, damage: Any, told: str
) -> None:
    folder, _, _ = saved
    damage(folder / "step-000003" / file)
    with caplog.at_level(logging.WARNING, "ponder"):
        found = newest_checkpoint(folder)
    assert found is not None and found.step == 2
    assert "checkpoint step-000003 is damaged" in caplog.text and "going on from step-000002" in caplog.text
    damage(folder / "step-000002" / file)
    with pytest.raises(PonderError, match=f"{told}.*there is no other: delete .* to begin again"):
        newest_checkpoint(folder)


def test_a_half_written_checkpoint_is_not_one(saved: tuple[Path, Any, Optimizer]) -> None:
    folder, _, _ = saved
    shutil.copytree(folder / "step-000003", folder / ".partial-000004")
    found = newest_checkpoint(folder)
    assert found is not None and found.step == 3 and not (folder / ".partial-000004").exists()


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(saved: tuple[Path, Any, Optimizer]) -> None:
    folder, model, optimizer = saved
    flip(folder / "step-000003" / "optimizer.pt")
    save_checkpoint(folder, 3, {"cursor": 12}, model, make_tokenizer(), optimizer.state_dict())
    found = newest_checkpoint(folder)
    assert found is not None and found.step == 3


def test_a_full_disk_leaves_the_older_ones(saved: tuple[Path, Any, Optimizer], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, model, optimizer = saved

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(PonderError, match="the disk is full"):
        save_checkpoint(folder, 4, {}, model, make_tokenizer(), optimizer.state_dict())
    found = newest_checkpoint(folder)
    assert found is not None and found.step == 3


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PonderError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "x", 1, {}, make_model(), None, {})


def test_what_must_agree_is_named_with_both_values(saved: tuple[Path, Any, Optimizer]) -> None:
    found = newest_checkpoint(saved[0])
    assert found is not None
    agree(found, {"cursor": 12})
    with pytest.raises(PonderError, match="cursor was 12 and is now 13; put it back"):
        agree(found, {"cursor": 13})


def test_every_file_is_under_a_checksum(saved: tuple[Path, Any, Optimizer]) -> None:
    path = saved[0] / "step-000003"
    listed = set(json.loads((path / "state.json").read_text())["files"])
    there = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    assert there - listed == {"state.json"}
