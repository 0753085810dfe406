"""Models of one family merged into one: linear, SLERP, TIES and DARE, a tensor at a time.

    merge(["runs/apo/model", "runs/mid/model"], Path("merged"), weights=[0.9, 0.1])

Shards are read through their headers and a memory map, and the result is written as it is computed, so memory holds
one tensor of each model however large the models are. The result is in Hugging Face layout with the first model's
configuration, tokenizer, chat template, generation settings and number format; `merge.json` says how it was made.

Why not mergekit (0.1.5), which has these methods: it installs beside our pins, but it is LGPL and brings datasets,
SciPy, sentencepiece and protobuf into every installation (a pipeline that merges would need them all); DARE's draws
come from the process's one global generator, so they change with the order of loading; and models of different
vocabularies or heads are merged without a word. peft's functions stack all models at once and weigh after the election.
Both are compared with in tests/models/test_merge.py.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import safe_open
from torch import Tensor

from ponder.core.errors import PonderError
from ponder.core.records import explained, write_json_atomic
from ponder.core.seeds import seed_of
from ponder.models.files import check_directory, fetch, resolve_model
from ponder.models.merge_checks import check_alike, check_asked
from ponder.models.merge_formulas import dropped, elected, linear, slerp, summed, trimmed

METHODS = ("linear", "slerp", "ties", "dare_linear", "dare_ties")
COPIED = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
MADE = "merge.json"
NOT_COPIED = (MADE, "pytorch_model.bin.index.json")


def merge(
    models: Sequence[str | Path], out: str | Path, method: str = "linear", weights: Sequence[float] | None = None,
    base: str | Path | None = None, density: float = 1.0, normalize: bool | None = None, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Merge `models` into the folder `out`, which is new or empty; a stopped merge leaves nothing under that name.

    models: `mini`, directories or hub ids; two or more (one or more for TIES and DARE, besides the base).
    method: a name in `METHODS`. `linear`: weighted sum. `slerp`: two models, from the first to the second by the second
        weight. `ties`, `dare_linear`, `dare_ties`: weighted differences from `base`, thinned to `density`.
    weights: one a model. Equal ones where not given (1 each for TIES and DARE).
    base: what the models were trained from, for TIES and DARE.
    density: the share of each difference that is kept, in (0, 1].
    normalize: divide by the weights' sum. By default only `ties` does, as in mergekit; weights of `linear` and `slerp`
        must then sum to 1 by themselves.
    seed: of DARE's draws; each tensor has its own stream by name.
    Returns the number of tensors and parameters and each model's relative distance from the result.
    Raises PonderError, one line, for models that do not match, settings that do not fit the method, a folder in use.
    """
    given = check_asked(models, METHODS, method, weights, base, density, normalize)
    paths = [_path(model) for model in (*models, *([base] if base is not None else []))]
    sources = [_Source.of(path) for path in paths]
    check_alike(paths, [source.shapes for source in sources])
    recipe = _Recipe(method, given, density, method == "ties" if normalize is None else normalize, seed)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PonderError(f"{out} is in use; choose another folder (--out DIR), or empty it")
    partial = out.with_name(f".{out.name}.merging")  # not NAME.partial: that is an unfinished stage's
    with explained(partial):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        counts = _write_weights(partial, sources, recipe, based=base is not None)
        for pattern in COPIED:
            for file in sorted(paths[0].glob(pattern)):
                if file.name not in NOT_COPIED:
                    shutil.copyfile(file, partial / file.name)
        how = {
            "method": method, "models": [str(model) for model in models], "weights": list(given),
            "base": None if base is None else str(base), "density": density, "normalize": recipe.normalize,
            "seed": seed, **counts,
        }  # fmt: skip
        write_json_atomic(partial / MADE, how)
        if out.exists():
            out.rmdir()
        os.replace(partial, out)
    return counts


@dataclass(frozen=True)
class _Recipe:
    method: str
    weights: Sequence[float]
    density: float
    normalize: bool
    seed: int

    def of(self, name: str, tensors: Sequence[Tensor], base: Tensor | None) -> Tensor:
        """The merged tensor `name`; all in float32 or float64."""
        if base is None:
            total = math.fsum(self.weights) if self.normalize else 1.0
            weights = [weight / total for weight in self.weights]
            return slerp(tensors[0], tensors[1], weights[1]) if self.method == "slerp" else linear(tensors, weights)
        deltas = [tensor.sub_(base) for tensor in tensors]
        if self.method == "ties":
            deltas = [trimmed(delta, self.density) for delta in deltas]
        else:
            for at, delta in enumerate(deltas):
                generator = torch.Generator().manual_seed(seed_of("dare", self.seed, name, at))
                deltas[at] = dropped(delta, self.density, generator)
        if self.method == "dare_linear":
            merged = summed(deltas, self.weights)
            return base + (merged / math.fsum(self.weights) if self.normalize else merged)
        return base + elected(deltas, self.weights, self.normalize)


@dataclass(frozen=True)
class _Source:
    """A model's weights, read through their headers. where: the file of each tensor."""

    path: Path
    shapes: Mapping[str, Sequence[int]]
    where: Mapping[str, Path]
    headers: Mapping[Path, Mapping[str, Any]] = field(repr=False)

    @classmethod
    def of(cls, path: Path) -> _Source:
        shards = check_directory(path)
        if not shards:
            raise PonderError(f"{path}: its weights are .bin files; save the model as safetensors to merge it")
        headers = {shard: _header(shard) for shard in shards}
        shapes = {name: entry["shape"] for header in headers.values() for name, entry in header.items()}
        return cls(path, shapes, {name: shard for shard, header in headers.items() for name in header}, headers)

    def tensor(self, name: str) -> Tensor:
        """A tensor as it lies in the file, by a memory map of its own that ends with this call."""
        with safe_open(self.where[name], framework="pt", device="cpu") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor


def _header(shard: Path) -> dict[str, Any]:
    with open(shard, "rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header


def _path(model: str | Path) -> Path:
    source = resolve_model(model)
    return source if isinstance(source, Path) else fetch(source)


def _write_weights(folder: Path, sources: Sequence[_Source], recipe: _Recipe, based: bool) -> dict[str, Any]:
    """Files of the same names and tensors as the first model's, written from front to back."""
    first, count = sources[0], len(recipe.weights)
    parameters, distance, size = 0, [0.0] * count, 0.0
    for shard, header in first.headers.items():
        order = sorted(header, key=lambda name: header[name]["data_offsets"][0])
        with open(folder / shard.name, "wb") as stream:
            _begin(stream, order, header)
            for name in order:
                stored = [source.tensor(name) for source in sources]
                merged = _merged(name, stored, recipe, based)
                parameters += merged.numel()
                size += _square(merged)
                for at, tensor in enumerate(stored[:count]):
                    distance[at] += _square(tensor.float() - merged.float())
                stream.write(merged.contiguous().flatten().view(torch.uint8).numpy().data)
            stream.flush()
            os.fsync(stream.fileno())
    away = [round(math.sqrt(square / size), 6) if size else 0.0 for square in distance]
    return {"tensors": len(first.shapes), "parameters": parameters, "distance": away}


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.float())) ** 2


def _merged(name: str, stored: Sequence[Tensor], recipe: _Recipe, based: bool) -> Tensor:
    kept = stored[0].dtype
    if not kept.is_floating_point:
        if not all(torch.equal(stored[0], tensor) for tensor in stored[1:]):
            raise PonderError(f"{name} holds whole numbers ({kept}) that differ between the models; they have no mean")
        return stored[0]
    work = torch.float64 if kept == torch.float64 else torch.float32
    wide = [tensor.to(work, copy=True) for tensor in stored]
    merged = recipe.of(name, wide[:-1] if based else wide, wide[-1] if based else None).to(kept)
    if not bool(torch.isfinite(merged).all()):
        raise PonderError(f"{name}: the merged tensor is not finite; a model holds NaN, or {kept} is too small")
    return merged


def _begin(stream: BinaryIO, order: Sequence[str], header: Mapping[str, Any]) -> None:
    """A safetensors header for tensors in `order` without gaps, as the format wants them."""
    made: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in order:
        begin, end = header[name]["data_offsets"]
        made[name] = {**header[name], "data_offsets": [at, at + end - begin]}
        at += end - begin
    text = json.dumps(made, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    stream.write(struct.pack("<Q", len(text)) + text)
