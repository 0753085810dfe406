"""Checkpoints: weights, optimiser and place in the run, as one frontier that is either whole or not there.

`checkpoints/step-000100/` holds `model/` (Hugging Face layout, loads in transformers alone), `optimizer.pt`, perhaps
`reference/`, and `state.json`, written last, with the size and checksum of every other file. It is built under another
name, flushed to the disk and renamed; only then is the oldest deleted.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from ponder.core.errors import PonderError
from ponder.core.records import explained, fsync_path, write_json_atomic

log = logging.getLogger("ponder")

_STEP = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: where it lies, its step, and what the loop said of itself."""

    path: Path
    step: int
    state: dict[str, Any]


def save_checkpoint(
    folder: Path,
    step: int,
    state: Mapping[str, Any],
    model: Any,
    tokenizer: Any,
    optimizer_state: Mapping[str, Any],
    reference: Any = None,
    keep: int = 2,
    save: Callable[[Path, Any, Any], None] | None = None,
) -> Path:
    """Write `folder/step-NNNNNN` and delete all but the newest `keep`. Called by one rank.

    save: writes the model into a folder, where that is not `save_model` (an adapter alone, say).

    Raises PonderError for a full disk or an unwritable folder; the older checkpoints are then still there.
    """
    path, partial = folder / f"step-{step:06d}", folder / f".partial-{step:06d}"
    with explained(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (save or save_model)(partial / "model", model, tokenizer)
        if reference is not None:
            save_model(partial / "reference", reference, None)
        torch.save(dict(optimizer_state), partial / "optimizer.pt")
        written = sorted(file for file in partial.rglob("*") if file.is_file())
        for file in written:
            fsync_path(file)
        files = {str(file.relative_to(partial)): _print_of(file) for file in written}
        for inner in partial.iterdir():
            if inner.is_dir():
                fsync_path(inner)
        write_json_atomic(partial / "state.json", {"step": step, "state": dict(state), "files": files})
        if path.exists():  # damaged, or it would have been resumed from
            shutil.rmtree(path)
        os.replace(partial, path)
        fsync_path(folder)
        for old_step, old in _found(folder)[keep:]:
            if old_step < step:
                shutil.rmtree(old, ignore_errors=True)
    return path


def save_model(path: Path, model: Any, tokenizer: Any) -> None:
    """Write a model (and its tokenizer) in Hugging Face layout; the gradients' flat buffer is not part of it."""
    path.mkdir(parents=True, exist_ok=True)
    with _quiet():
        model.save_pretrained(path)
    if tokenizer is not None:
        tokenizer.save_pretrained(path)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint, or None where there is none at all.

    One that is damaged is passed over with a warning. Raises PonderError where all of them are damaged.
    """
    for leftover in folder.glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = _found(folder)
    damage: list[str] = []
    for step, path in found:
        try:
            content = json.loads((path / "state.json").read_text(encoding="utf-8"))
            state, files = dict(content["state"]), dict(content["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            fault = f"state.json cannot be read ({type(error).__name__})"
        else:
            fault = next((f"{name} {why}" for name, told in files.items() if (why := _differs(path / name, told))), "")
        if not fault:
            if damage:
                log.warning("%s; going on from %s instead", "; ".join(damage), path.name)
            return Checkpoint(path, step, state)
        damage.append(f"checkpoint {path.name} is damaged: {fault}")
    if damage:
        raise PonderError(f"{'; '.join(damage)}; there is no other: delete {folder} to begin again")
    return None


def load_weights(path: Path, model: Any) -> None:
    """Copy the weights of a Hugging Face folder into `model`, in place: whoever shares its tensors sees them."""
    with _quiet():
        loaded = type(model).from_pretrained(path, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())


def load_optimizer(path: Path) -> dict[str, Any]:
    """The optimiser's state; plain tensors and numbers only (nothing in the file is executed)."""
    return torch.load(path, map_location="cpu", weights_only=True)


def agree(checkpoint: Checkpoint, now: Mapping[str, Any]) -> None:
    """Raise PonderError unless the run that goes on is the run that stopped: same values under every key of `now`."""
    for key, value in now.items():
        before = checkpoint.state.get(key)
        if before != value:
            raise PonderError(
                f"{checkpoint.path}: {key} was {before!r} and is now {value!r}; put it back to go on, or begin in "
                "another folder"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars, which would break the live line."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _found(folder: Path) -> list[tuple[int, Path]]:
    """Newest first."""
    paths = folder.glob("step-*") if folder.is_dir() else []
    return sorted(((int(m[1]), p) for p in paths if (m := _STEP.fullmatch(p.name))), reverse=True)


def _print_of(path: Path) -> list[int]:
    """Size in bytes and CRC-32: finds a torn or rotten file at the speed of the disk."""
    crc = size = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return [size, crc]


def _differs(path: Path, told: Any) -> str:
    try:
        found = _print_of(path)
    except OSError:
        return "is missing"
    if found[0] != told[0]:
        return f"has {found[0]} bytes instead of {told[0]}"
    return "" if found == told else "has changed"
