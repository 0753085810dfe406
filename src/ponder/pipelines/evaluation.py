"""Measure one model, and nothing else: what `ponder eval` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from ponder.core.config import Settings
from ponder.core.progress import Progress
from ponder.core.records import usable_cores
from ponder.core.seeds import seed_of
from ponder.core.store import Run
from ponder.core.types import Problem, SamplingParams
from ponder.evals import evaluate, merge, shard, spec_of, write_result
from ponder.models.chat import renderer
from ponder.models.load import load_model, parameter_count, resolve_model
from ponder.pipelines.r1_zero import SMALL_MODEL, with_sandbox
from ponder.pipelines.together import stage
from ponder.sampling.local import LocalSampler
from ponder.tasks import KINDS, draw_mix
from ponder.tasks.rows import read_rows
from ponder.training.distributed import World, launch

RESULT = "result"


class EvalSettings(Settings):
    """The settings of `ponder eval`."""

    model: str
    """`mini`, a directory in Hugging Face layout, or a hub id."""
    prompt_style: str | None = None
    """A row of `ponder.models.chat.STYLES`; `chat` where the model has a template, else `qa`, if not given."""
    tasks: tuple[str, ...] = KINDS
    """Kinds of the miniature world, in equal shares; not used where `file` is given."""
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    level: int | None = Field(None, ge=1, le=3)
    split: Literal["validation", "test"] = "test"
    file: Path | None = None
    """JSONL or JSON rows with `problem` and `answer`, in place of the miniature world."""
    problems: int = Field(560, ge=1)
    """Problems over all kinds; at most the rows of `file`."""
    n: int = Field(4, ge=1)
    """Samples a problem."""
    temperature: float = Field(1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_completion_length: int = Field(512, ge=1)
    """Tokens."""
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core for a small model on a CPU, else one."""
    dtype: str = "auto"
    device: str = "auto"


def evaluate_model(settings: EvalSettings, out: Path) -> Path:
    """Sample, grade and summarise; returns the result's file (`ponder.evals.read_result` reads it)."""
    settings = with_sandbox(settings, "eval")
    processes = settings.processes
    if not processes:
        on_gpu = torch.cuda.is_available() and settings.device != "cpu"
        processes = usable_cores() if not on_gpu and parameter_count(settings.model) <= SMALL_MODEL else 1
    launch(_run, processes, (settings, Path(out)))
    return Path(out) / "evaluation" / f"{RESULT}.json"


def _run(world: World, settings: EvalSettings, out: Path) -> None:
    stage(world, Run(out), "evaluation", measure, settings, model=resolve_model(settings.model))


def problems_of(settings: EvalSettings) -> list[Problem]:
    """What is measured on."""
    if settings.file is not None:
        return read_rows(settings.file)[: settings.problems]
    return draw_mix(settings.tasks, settings.split, settings.problems, seed="held out", level=settings.level)


def measure(settings: EvalSettings, folder: Path, *, world: World, model: Path | str) -> Mapping[str, Any]:
    """The stage: each rank takes its share of the problems, the first writes rows and summary."""
    problems = problems_of(settings)
    loaded = load_model(str(model), settings.dtype, settings.device)
    style = settings.prompt_style or ("chat" if loaded.tokenizer.chat_template else "qa")
    params = SamplingParams(settings.n, settings.max_completion_length, settings.temperature, settings.top_p)
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    mine, seed = shard(problems, world.rank, world.size), seed_of(settings.seed, "evaluation")
    with Progress(len(mine), "problems", enabled=world.first) as progress:
        render = renderer(loaded.tokenizer, style)
        rows = evaluate(sampler, mine, render, params, seed, lambda done, _: progress.update(done)) if mine else []
    rows = merge(world.gather(rows), problems)
    if world.first:
        spec = spec_of(problems, params, style, seed, dtype=str(loaded.model.dtype).removeprefix("torch."))
        write_result(folder, RESULT, spec, rows, model=settings.model)
    return {"accuracy": sum(row["correct"] is True for row in rows) / len(rows)}


measure.version = 1  # type: ignore[attr-defined]
