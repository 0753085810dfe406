"""What must fit before models are merged: the settings with the method, and the models with one another."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError

FREE = frozenset(
    (
        "_name_or_path architectures transformers_version dtype torch_dtype use_cache bos_token_id eos_token_id "
        "pad_token_id initializer_range attention_dropout hidden_dropout max_position_embeddings"
    ).split()
)
"""Keys of config.json that may differ: they do not change what a weight means."""


def check_asked(
    models: Sequence[Any], methods: Sequence[str], method: str, weights: Sequence[float] | None, base: Any,
    density: float, normalize: bool | None,
) -> list[float]:  # fmt: skip
    """The weights, one a model. Raises PonderError for settings that do not fit `method`."""
    if method not in methods:
        raise PonderError(f"unknown merge method {method!r}: one of {', '.join(methods)}")
    from_base = method not in ("linear", "slerp")
    if from_base and base is None:
        raise PonderError(f"{method} merges differences from a base: name the model that all come from (--base)")
    if not from_base and (base is not None or density != 1):
        name = "base" if base is not None else "density"
        raise PonderError(f"{name} is for ties, dare_linear and dare_ties; {method} does not use it, so leave it out")
    if len(models) < (1 if from_base else 2):
        raise PonderError(f"{method} needs {'a model' if from_base else 'two models'} at least; {len(models)} given")
    if method == "slerp" and len(models) != 2:
        raise PonderError(f"slerp goes from one model to another: give two, not {len(models)}")
    if not 0 < density <= 1:
        raise PonderError(f"density is {density}: should be above 0 and at most 1")
    given = list(weights) if weights is not None else [1.0 if from_base else 1 / len(models)] * len(models)
    if len(given) != len(models):
        raise PonderError(f"{len(given)} weights for {len(models)} models; give one a model")
    if not all(math.isfinite(weight) for weight in given):
        raise PonderError(f"weights are {given}: each should be a finite number")
    total = math.fsum(given)
    if normalize and abs(total) < 1e-8:
        raise PonderError(f"weights {_told(given)} sum to 0; they cannot be normalised")
    if not from_base and not normalize and abs(total - 1) > 1e-6:
        raise PonderError(f"weights {_told(given)} sum to {total:g}, not 1; change them, or normalize (--normalize)")
    return given


def _told(weights: Sequence[float]) -> str:
    return " ".join(f"{weight:g}" for weight in weights)


def check_alike(paths: Sequence[Path], shapes: Sequence[Mapping[str, Sequence[int]]]) -> None:
    """Raise PonderError for the first thing in which a model differs from the first one: architecture, tokenizer,
    names of tensors, their shapes."""
    for path, found in zip(paths[1:], shapes[1:], strict=True):
        first = f"{path} and {paths[0]} do not match"
        for check in (_configuration, _vocabulary):
            different = check(paths[0], path)
            if different:
                raise PonderError(f"{first}: {different}")
        for here, there, holder in ((shapes[0], found, paths[0]), (found, shapes[0], path)):
            lacking = sorted(here.keys() - there.keys())
            if lacking:
                more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
                raise PonderError(f"{first}: only {holder} has the tensor {lacking[0]}{more}")
        for name, shape in shapes[0].items():
            if list(shape) != list(found[name]):
                raise PonderError(f"{first}: {name} is {_shape(found[name])} in the one, {_shape(shape)} in the other")


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise PonderError(f"{file} is damaged: {error}") from error
    return value if isinstance(value, dict) else {}


def _configuration(first: Path, second: Path) -> str:
    one, two = (_json(path / "config.json") for path in (first, second))
    for key in ["model_type", *sorted({*one, *two} - {"model_type"})]:
        if key not in FREE and key in one and key in two and one[key] != two[key]:
            return f"{key} is {_short(two[key])} in the one, {_short(one[key])} in the other"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _vocabulary(first: Path, second: Path) -> str:
    """Only what gives a token its number counts; chat template, padding and the like may differ."""
    for name in ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "tekken.json"):
        one, two = first / name, second / name
        if not (one.is_file() and two.is_file()):
            continue
        if one.read_bytes() == two.read_bytes():
            return ""
        if name != "tokenizer.json":
            return f"their tokenizers differ ({name}); models can be merged only over one vocabulary"
        ids = [_ids(_json(file)) for file in (one, two)]
        if ids[0] == ids[1]:
            return ""
        token = min((t for t in ids[0].keys() | ids[1].keys() if ids[0].get(t) != ids[1].get(t)), key=repr)
        told = " and ".join("none" if token not in known else f"number {known[token]}" for known in ids[::-1])
        return f"their tokenizers differ (token {token!r} is {told}); models can be merged only over one vocabulary"
    return ""


def _ids(tokenizer: Mapping[str, Any]) -> dict[Any, Any]:
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
    if not isinstance(vocabulary, Mapping):  # unigram: a list of (token, score)
        vocabulary = {entry[0]: at for at, entry in enumerate(vocabulary)}
    added = {entry["content"]: entry["id"] for entry in tokenizer.get("added_tokens") or ()}
    return {**vocabulary, **added}
