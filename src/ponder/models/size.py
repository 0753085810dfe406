"""How large a model is, without its weights: from its files, from the hub's cache, or from its name. Loads no torch
for a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ponder.core.errors import PonderError
from ponder.models.files import cached, resolve_model

NAMED = {
    "deepseek-v3": (671e9, 37e9), "deepseek-v3-base": (671e9, 37e9), "deepseek-r1": (671e9, 37e9),
    "deepseek-r1-zero": (671e9, 37e9), "gpt2": (0.124e9, 0.124e9), "phi-4": (14.7e9, 14.7e9),
}  # fmt: skip
"""Parameters, all and active, of models that are often used and whose names do not say."""

_UNIT = {"b": 1e9, "m": 1e6}
_COUNT = re.compile(r"(?<![a-z0-9.])(a?)(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


@dataclass(frozen=True)
class ModelSize:
    """total: parameters, which take memory. active: those that a token meets (fewer where experts take turns), which
    take time. read_from: `files`, `cache` or `name`."""

    total: int
    active: int
    read_from: str = "files"


def size_in_name(name: str) -> ModelSize | None:
    """What a model's name says: `Qwen2.5-1.5B`, `gpt-j-6b`, `671B-A37B` (all and active), `8x7B` (experts, two active);
    None where it says nothing."""
    last = str(name).rstrip("/").rpartition("/")[2].lower()
    if last in NAMED:
        total, active = NAMED[last]
        return ModelSize(int(total), int(active), "name")
    found = _COUNT.findall(last)
    sizes = [(float(n) * _UNIT[unit] * int(experts or 1), int(experts or 1)) for a, experts, n, unit in found if not a]
    if not sizes:
        return None
    total, experts = max(sizes)
    told = [float(n) * _UNIT[unit] for a, _, n, unit in found if a]
    active = min(total, max(told)) if told else total * min(2, experts) / experts
    return ModelSize(round(total), round(active), "name")


def model_size(name_or_dir: str | Path) -> ModelSize:
    """The size of `mini`, a directory or a hub id: of the hub, the configuration in the cache, else the name, and only
    where neither tells, the hub itself. Raises PonderError where nothing tells."""
    from ponder.models.load import parameter_count

    source = resolve_model(name_or_dir)
    if isinstance(source, Path):
        count = parameter_count(source)
        return ModelSize(count, count)
    folder = cached(source, "config.json")
    named = size_in_name(source)
    if folder is None and named is not None:
        return named
    try:
        count = parameter_count(source)
    except PonderError as error:
        if folder is not None:
            raise
        raise PonderError(f"{error}; nor does its name tell its size, as in Qwen2.5-1.5B") from error
    # A configuration counts every expert; of those that a token meets the name is the one that tells.
    active = min(count, named.active) if named is not None and named.active < named.total else count
    return ModelSize(count, active, "cache")
