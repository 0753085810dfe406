"""Where a model lies (the embedded one, a directory, a hub id) and whether its files are whole. Loads no torch."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import urllib.parse
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError

EMBEDDED = {"mini": "weights", "mini-small": "weights_small"}
"""Models that come with Ponder, and the folder of `ponder/mini/` that holds each."""

RECIPE = {"mini": "mini-base", "mini-small": "mini-small"}
"""The recipes that make them."""

_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json", "*.model", "*.tiktoken")
_HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken", "*.jinja")


def resolve_model(name_or_dir: str | Path) -> Path | str:
    """The directory that holds the model, or the hub id as it is; no network."""
    name = str(name_or_dir)
    if name in EMBEDDED:
        weights = mini_weights(name)
        if weights is None:
            raise PonderError(f"{name} has no weights here; make them with `ponder run {RECIPE[name]}`")
        return weights
    if not name.strip():
        raise PonderError("no model is named; give a directory, a hub id, 'mini' or 'mini-small'")
    path = Path(name).expanduser()
    if path.is_dir():
        return path if _is_model_config(path / "config.json") else _model_inside(path)
    if path.exists():
        raise PonderError(f"{name} is a file; give the model's directory, a hub id, 'mini' or 'mini-small'")
    if isinstance(name_or_dir, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise PonderError(f"{name}: no such directory; give a model's directory, a hub id, 'mini' or 'mini-small'")
    return name


def mini_weights(name: str = "mini") -> Path | None:
    """The directory of an embedded model's weights, or None where they have not been made."""
    path = Path(str(resources.files("ponder"))) / "mini" / EMBEDDED[name]
    return path if (path / "config.json").is_file() else None


def fetch(hub_id: str, patterns: Sequence[str] = _HUB_FILES) -> Path:
    """The local copy of a hub model, downloaded where the cache has it not; without a network, the cache's at once."""
    import huggingface_hub
    from huggingface_hub import constants  # the package does not bring it along by itself

    offline = _offline(constants.ENDPOINT)
    with one_line(hub_id, "no network here, and it is not in the cache" if offline else ""):

        def fetch(patterns: Sequence[str]) -> Path:
            return Path(
                huggingface_hub.snapshot_download(
                    hub_id,
                    allow_patterns=list(patterns),
                    ignore_patterns=["*/*", "consolidated*"],
                    local_files_only=offline,
                )
            )

        path = fetch(patterns)
        if patterns is _HUB_FILES and not any(path.glob("*.safetensors")):
            path = fetch([*patterns, "pytorch_model*"])  # an old model, in PyTorch's own format
    return path


def cached(hub_id: str, file: str) -> Path | None:
    """A file of a hub model that the cache holds, else None; no network."""
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(hub_id, file)
    return Path(found) if isinstance(found, str) else None


def _offline(endpoint: str) -> bool:
    """Whether the hub's name cannot even be looked up: then asking it would only cost half a minute of retries."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return False  # the proxy looks names up
    try:
        socket.getaddrinfo(urllib.parse.urlparse(endpoint).hostname, None)
    except OSError:
        return True
    return False


def _model_inside(path: Path) -> Path:
    """The `model/` of a finished stage, or of the one stage of a run that made a model; else `path` itself."""
    if (path / "model" / "config.json").is_file():
        return path / "model"
    made = [config.parent for config in path.glob("*/model/config.json")]
    made = [folder for folder in made if (folder.parent / "manifest.json").is_file()]
    return made[0] if len(made) == 1 else path


def _is_model_config(file: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return "model_type" in json.loads(file.read_bytes())
    return False


def check_directory(path: Path) -> list[Path]:
    """Raise PonderError for what is missing or damaged; returns the safetensors files (none: the weights are .bin)."""
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise PonderError(f"{path} holds a LoRA adapter, not a model; merge it into its base model first")
        raise PonderError(f"{path} has no config.json: not a model in Hugging Face layout")
    _read_json(path / "config.json")
    if not any(file for name in _TOKENIZER_FILES for file in path.glob(name)):
        raise PonderError(f"{path} has no tokenizer; copy tokenizer.json and tokenizer_config.json there")
    index = path / "model.safetensors.index.json"
    shards: list[Path]
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (path / name).is_file()]
        if missing or not names:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            what = f"{missing[0]} is missing{more}" if names else f"{index.name} names no files"
            raise PonderError(f"{path}: {what}; copy the weights there again")
        shards = [path / name for name in names]
    else:
        shards = [file for file in [path / "model.safetensors"] if file.is_file()]
        if not shards and not any(path.glob("pytorch_model*.bin*")):
            raise PonderError(f"{path} has no weights: neither model.safetensors nor an index of its parts")
    for shard in shards:
        check_safetensors(shard)
    return shards


def check_safetensors(file: Path) -> dict[str, list[int]]:
    """The shape of each tensor, from the header; PonderError where the file is cut short or the header is damaged.

    The format: 8 bytes of header length (little-endian), a JSON header with each tensor's byte range, the bytes.
    """
    size = file.stat().st_size
    with open(file, "rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = stream.read(length) if 8 + length <= size else b""
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        end = max(entry["data_offsets"][1] for entry in tensors.values())
        shapes = {name: list(entry["shape"]) for name, entry in tensors.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise PonderError(f"{file} is damaged or not a safetensors file; copy it there again") from error
    if size != 8 + length + end:
        raise PonderError(f"{file} is cut short: {size} bytes of {8 + length + end}; copy it there again")
    return shapes


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise PonderError(f"{file} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise PonderError(f"{file} is damaged: not a JSON object")
    return value


@contextlib.contextmanager
def one_line(name: str, reason: str = "") -> Iterator[None]:
    """Turn whatever goes wrong in the libraries that load `name` into a PonderError; `reason` says it in our words."""
    try:
        yield
    except PonderError:
        raise
    except Exception as error:  # transformers, tokenizers, safetensors and the hub each raise their own kinds
        first = " ".join(str(error).split("\n")[0].split())[:160]
        reason = reason or f"{type(error).__name__}: {first}"
        remedy = "" if Path(name).is_dir() else ": give a directory, a hub id, 'mini' or 'mini-small'"
        raise PonderError(f"{name} could not be loaded{remedy} ({reason})") from error
