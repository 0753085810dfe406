"""The embedded base model, from nothing: its tokenizer, its pre-training on the miniature web, its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from ponder.core.config import Settings
from ponder.core.records import usable_cores, write_atomic
from ponder.core.seeds import seed_of
from ponder.core.store import Run
from ponder.core.types import SamplingParams
from ponder.evals import evaluate, merge, shard, spec_of, write_result
from ponder.mini.card import card
from ponder.mini.corpus import assert_no_held_out, documents
from ponder.mini.model import CONTEXT_LENGTH, new_model
from ponder.mini.styles import style_table
from ponder.mini.tokenizer import VOCABULARY, train_tokenizer
from ponder.models.chat import renderer
from ponder.models.load import load_model
from ponder.pipelines import Pipeline, Plan
from ponder.pipelines.estimate import matrix_rate, memory_gb, sampling_seconds, training_seconds
from ponder.pipelines.together import stage
from ponder.sampling.local import LocalSampler
from ponder.tasks import KINDS, draw_mix, runnable
from ponder.training.distributed import World, launch
from ponder.training.pretrain import PretrainSettings, pretrain

TOKENIZER_DOCUMENTS = 20_000
BLOCK = 4096
"""Documents that are batched together."""


class MiniBaseSettings(Settings):
    """The settings of `ponder run mini-base`."""

    hidden: int = Field(128, ge=64, multiple_of=32)
    layers: int = Field(4, ge=1)
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core."""
    pretrain: PretrainSettings = PretrainSettings()
    evaluation_problems: int = Field(350, ge=1)


def run(settings: MiniBaseSettings, out: Path) -> Path:
    """Do what is left of the run in `out`; returns the model's folder (`out/mini-base/model`)."""
    launch(_run, settings.processes or usable_cores(), (settings, Path(out)))
    return Path(out) / "mini-base" / "model"


def _run(world: World, settings: MiniBaseSettings, out: Path) -> None:
    run_ = Run(out)
    base = stage(world, run_, "mini-base", make, settings)
    stage(world, run_, "evaluation", measure, {"problems": settings.evaluation_problems}, model=base / "model")
    if world.first:
        model = base / "model"
        measured = json.loads((out / "evaluation" / "styles.json").read_text())
        trained = json.loads((base / "manifest.json").read_text())["metrics"]
        write_atomic(model / "README.md", card(settings.model_dump(mode="json"), trained, measured))


def make(settings: MiniBaseSettings, folder: Path, *, world: World) -> Mapping[str, Any]:
    """Tokenizer, fresh weights, pre-training."""
    texts = (document.text for document in islice(documents("tokenizer"), TOKENIZER_DOCUMENTS))
    tokenizer = train_tokenizer(texts, CONTEXT_LENGTH)
    model = new_model(tokenizer, settings.seed, settings.hidden, settings.layers)

    def block(index: int) -> list[list[int]]:
        found = list(islice(documents(f"train {settings.seed} {index}"), BLOCK))
        for document in found:
            assert_no_held_out(document)
        ids = tokenizer([document.text for document in found], add_special_tokens=False)["input_ids"]
        return [row[:CONTEXT_LENGTH] for row in ids]

    result = pretrain(settings.pretrain, model, tokenizer, block, folder, world, settings.seed)
    return {**result, "parameters": sum(p.numel() for p in model.parameters())}


make.version = 1  # type: ignore[attr-defined]


def measure(cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path) -> Mapping[str, Any]:
    """Validation accuracy by kind, sampled and greedy, and how often each style is right."""
    loaded = load_model(str(model))
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    kinds, _ = runnable(KINDS)
    problems = draw_mix(kinds, "validation", cfg["problems"], seed="mini-base")
    figures: dict[str, Any] = {}
    for name, style, n, temperature in (
        ("sampled", "chat", 4, 1.0), ("greedy", "chat", 1, 0.0), ("cot-greedy", "chat-cot", 1, 0.0),
    ):  # fmt: skip
        params = SamplingParams(n=n, temperature=temperature, max_completion_length=160)
        seed = seed_of("mini-base", name)
        problems_here, render = shard(problems, world.rank, world.size), renderer(loaded.tokenizer, style)
        mine = evaluate(sampler, problems_here, render, params, seed)
        rows = merge(world.gather(mine), problems)
        figures[name] = {
            kind: {
                figure: round(sum(row[figure] is True for row in part) / len(part), 3)
                for figure in ("correct", "correct_lenient", "well_formed")
            }
            for kind in (*kinds, "all")
            if (part := [row for row in rows if kind in (row["task"], "all")])
        }
        if name == "sampled":
            figures["styles"] = [row.__dict__ for row in style_table(rows)]
        if world.first:
            write_result(folder, name, spec_of(problems, params, style, seed), rows)
    if world.first:
        write_atomic(folder / "styles.json", json.dumps(figures, indent=2))
    return {"accuracy": figures["sampled"]["all"]["correct"]}


measure.version = 1  # type: ignore[attr-defined]


def plan(settings: MiniBaseSettings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory on this machine."""
    state, processes = Run(out).state, settings.processes or usable_cores()
    parameters = settings.layers * 16 * settings.hidden**2 + VOCABULARY * settings.hidden
    tokens, rate = settings.pretrain.max_steps * settings.pretrain.tokens_per_step, matrix_rate() * processes
    samples = 6 * settings.evaluation_problems
    return [
        Plan(
            "mini-base",
            state("mini-base"),
            f"pre-train on {tokens / 1e6:.0f} M tokens",
            training_seconds(tokens, parameters, rate),
            memory_gb(parameters, processes, settings.pretrain.tokens_per_step // processes),
        ),
        Plan(
            "evaluation",
            state("evaluation"),
            f"{settings.evaluation_problems} problems, three ways",
            sampling_seconds(samples, 160, parameters, rate),
            memory_gb(parameters, processes),
        ),
    ]


MINI_BASE = Pipeline("mini-base", MiniBaseSettings, run, plan)
