"""What `ponder plan` says beside a pipeline's stages: what they are planned for, what is not known, what does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ponder.core.config import Settings
from ponder.models.files import resolve_model
from ponder.models.size import model_size
from ponder.pipelines import Plan
from ponder.pipelines.estimate import BATCH_TOKENS, Target
from ponder.pipelines.hardware import THIS, Hardware
from ponder.tasks.loading import is_hub_id
from ponder.training.settings import GRPOSettings
from ponder.training.supervised import SupervisedSettings

MODELS = ("model", "student", "teacher", "teacher_base")
"""The settings that name a model."""

FILES = ("file", "traces", "scorer")
"""The settings that name a file; so do those that end in `_file`."""


def target_of(settings: Settings, hardware: Hardware) -> Target:
    """What is planned for: the hardware, and the memory settings of the pipeline's trainings, the dearest of each."""
    trainings = [s for _, s in _groups(settings) if isinstance(s, (GRPOSettings, SupervisedSettings))]
    if not trainings:
        return Target(hardware)
    usual = BATCH_TOKENS * (4 if hardware.gpu else 1)
    return Target(
        hardware,
        batch_tokens=max(s.token_budget or usual for s in trainings),
        checkpointing=all(s.gradient_checkpointing for s in trainings),
        bf16=all(s.bf16 for s in trainings),
        references=int(any(isinstance(s, GRPOSettings) and s.beta > 0 for s in trainings)),
        lora=all(getattr(s, "lora", None) is not None for s in trainings),
    )


def notes_of(settings: Settings, rows: Sequence[Plan], hardware: Hardware) -> list[str]:
    """One line each on what the estimates rest on, files that were not read, and memory that is not there."""
    return [
        *_of_hardware(hardware), *dict.fromkeys(_of_models(settings)), *_of_files(settings), *_unfit(rows, hardware)
    ]  # fmt: skip


def _of_hardware(hardware: Hardware) -> Iterator[str]:
    if hardware.name == THIS:
        return
    each = f"{hardware.devices} x {hardware.title}" if hardware.devices > 1 else hardware.title
    yield (
        f"for {each}, {hardware.memory_gb:g} GB each: not measured; by its maker's rates and assumed shares of them, "
        "so within a factor of three at best"
    )


def _of_models(settings: Settings) -> Iterator[str]:
    for key, group in _groups(settings):
        for name in MODELS:
            model = getattr(group, name, None)
            if not isinstance(model, str) or isinstance(resolve_model(model), Path):
                continue
            size = model_size(model)
            if size.read_from == "name":
                active = f", {size.active / 1e9:.3g} B of them active" if size.active < size.total else ""
                where = "its name (it is not in the cache here)"
                yield f"{key}{name}: {model} is taken to have {size.total / 1e9:.3g} B parameters{active}, by {where}"


def _of_files(settings: Settings) -> Iterator[str]:
    for key, group in _groups(settings):
        for name in type(group).model_fields:
            path = getattr(group, name)
            if not isinstance(path, Path) or not (name in FILES or name.endswith("_file")):
                continue
            if is_hub_id(path):
                yield f"{key}{name}: {path} is on the hub and was not read: its rows are not known, counts are at most"
            elif not path.exists():
                yield f"{key}{name}: {path} is not here; its rows are not known"


def _unfit(rows: Sequence[Plan], hardware: Hardware) -> Iterator[str]:
    most = max(rows, key=lambda row: row.memory_gb or 0.0, default=None)
    if most is None or most.memory_gb is None or most.memory_gb <= hardware.memory_gb:
        return
    many = sum((row.memory_gb or 0.0) > hardware.memory_gb for row in rows)
    there = f"{'each device has' if hardware.devices > 1 and hardware.gpu else 'there are'} {hardware.memory_gb:g} GB"
    more = f" (and {many - 1} more stages)" if many > 1 else ""
    why = "; every process holds the whole model" if hardware.devices > 1 else ""
    yield f"does not fit: {most.stage} needs about {most.memory_gb:,.0f} GB, {there}{more}{why}"


def _groups(settings: Settings, key: str = "") -> Iterator[tuple[str, Any]]:
    """The settings and every group in them that was set, with the prefix of its keys."""
    yield key, settings
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from _groups(value, f"{key}{name}.")
