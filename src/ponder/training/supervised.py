"""Learning from rows that are there: the loop that SFT, preference optimisation and reward models share.

What differs between them is a `Lesson`: the rows, how long each is, the loss of some of them, the denominators of a
whole step. Everything else (order, micro-batches, several processes, checkpoints, going on after a stop, metrics) is
here once. A step reads: `rows_of_step`, `micro_batches`, then `ponder.training.step.update`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.records import JsonlWriter, explained, read_jsonl, write_json_atomic
from ponder.core.seeds import random_of
from ponder.training.checkpoint import (
    agree,
    load_optimizer,
    load_weights,
    newest_checkpoint,
    save_checkpoint,
    save_model,
)
from ponder.training.distributed import World
from ponder.training.interrupt import Stopped, ctrl_c
from ponder.training.journal import machine_metrics
from ponder.training.prepare import check_machine, prepare
from ponder.training.step import Optimizer, Stats, learning_rate_at, update
from ponder.training.trackers import Tracker, Trackers

R = TypeVar("R")
E = TypeVar("E")

log = logging.getLogger("ponder")

HARMLESS = frozenset({"save_steps", "eval_steps", "logging_steps", "report_to"})
"""Settings that may change between a stop and the next start: they do not touch the weights."""


class SupervisedSettings(Settings):
    """What every trainer that learns from rows can be told, under TRL's names."""

    num_train_epochs: float = Field(1.0, gt=0)
    """Passes over the rows; each is in an order of its own."""
    max_steps: int = Field(0, ge=0)
    """Optimiser steps; 0: `num_train_epochs` decides."""
    batch_size: int = Field(32, ge=1)
    """Rows an optimiser step, over all processes and micro-batches."""
    learning_rate: float = Field(2e-5, gt=0)
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls from its height, after the warm-up, to `min_lr_ratio` of it at the last step."""
    warmup_steps: int = Field(0, ge=0)
    min_lr_ratio: float = Field(0.1, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled decay of the matrices; vectors (norms, biases) have none."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, ge=0)
    """The gradient's norm at most; 0 never clips."""
    max_nonfinite: int = Field(3, ge=1)
    """Stop after so many updates in a row whose gradient was not finite; each is skipped and reported."""
    token_budget: int = Field(0, ge=0)
    """Padded tokens of a micro-batch at most: memory and speed, not the gradient. 0: 4096 on a CPU, else 16384."""
    gradient_checkpointing: bool = False
    bf16: bool = False
    """Train in bfloat16 (autocast); weights, gradients and log-probabilities stay in float32."""
    processes: int = Field(0, ge=0)
    """Processes that share a step; 0 is one a core on a CPU, and the launcher's number under torchrun."""
    seed: int = 0
    save_steps: int = Field(100, ge=1)
    eval_steps: int = Field(0, ge=0)
    """Look at the validation rows every so many steps; 0: only at the end."""
    logging_steps: int = Field(1, ge=1)
    report_to: tuple[Tracker, ...] = ()
    """Trackers that get a copy of the metrics: tensorboard, wandb, trackio."""

    @model_validator(mode="after")
    def _warm_up_fits(self) -> SupervisedSettings:
        if self.max_steps and self.warmup_steps > self.max_steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, more than max_steps ({self.max_steps})")
        return self

    def steps_for(self, rows: int) -> int:
        """Optimiser steps on so many rows."""
        return self.max_steps or max(1, math.ceil(rows * self.num_train_epochs / self.batch_size - 1e-9))


@dataclass(frozen=True)
class Lesson(Generic[R, E]):
    """What is learnt, and how a part of it adds to a step.

    rows: all of them, already tokenised, equal on every rank. length: padded tokens that a row costs; rows of like
        length share a micro-batch.
    extent: the denominators of a whole step, from all of its rows on all ranks.
    loss: a micro-batch's share of the whole step's loss, and statistics that add up over micro-batches and ranks.
    metrics: what is logged, from the step's summed statistics and its extent.
    evaluate: `evaluate(step)` on every rank, at `eval_steps` and at the end; it must not touch the weights.
    """

    rows: Sequence[R]
    length: Callable[[R], int]
    extent: Callable[[Sequence[R]], E]
    loss: Callable[[Sequence[R], E], tuple[torch.Tensor, Stats]]
    metrics: Callable[[Mapping[str, float], E], Mapping[str, float]]
    evaluate: Callable[[int], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Place:
    """How far a run is; with the weights and the optimiser's state, all that it needs to go on."""

    step: int = 0
    num_tokens: int = 0
    skipped_in_a_row: int = 0


def rows_of_step(rows: Sequence[R], step: int, settings: SupervisedSettings) -> list[R]:
    """The rows of step 1, 2, …: epoch after epoch, each in an order of its own, cut into batches.

    The last step of a run of whole epochs holds what is left. A function of the arguments alone: that is the cursor.
    """
    size, count = settings.batch_size, len(rows)
    end = step * size
    if not settings.max_steps:
        end = min(end, max(1, round(count * settings.num_train_epochs)))
    places = range((step - 1) * size, end)
    orders = {epoch: _order(count, settings.seed, epoch) for epoch in {place // count for place in places}}
    return [rows[orders[place // count][place % count]] for place in places]


def _order(count: int, seed: int, epoch: int) -> list[int]:
    order = list(range(count))
    random_of("rows", seed, epoch).shuffle(order)
    return order


def micro_batches(rows: Sequence[R], length: Callable[[R], int], token_budget: int) -> list[list[R]]:
    """Rows of like length, longest first, each part of at most `token_budget` padded tokens.

    A row that is longer than the budget makes a part of its own. The longest come first, so that a step that does not
    fit into memory fails at once.
    """
    parts: list[list[R]] = []
    for row in sorted(rows, key=length, reverse=True):
        if parts and length(parts[-1][0]) * (len(parts[-1]) + 1) <= token_budget:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def train_supervised(
    settings: SupervisedSettings,
    lesson: Lesson[R, E],
    model: Any,
    tokenizer: Any,
    out_dir: Path,
    world: World | None = None,
    *,
    identity: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
    save: Callable[[Path, Any, Any], None] = save_model,
    load: Callable[[Path, Any], None] = load_weights,
    headline: Sequence[str] = ("loss",),
    label: str = "step",
) -> dict[str, Any]:
    """Train `model`, in place, and write `out_dir/model`; returns the last step's metrics.

    Every rank calls this with equal arguments. identity: what must be the same when a stopped run goes on, besides the
    settings (a hash of the rows, say). config: the whole run's settings for `config.json`; these alone where not given.
    save, load: how the model is written and read back, where only a part of it is trained. headline: metrics of the
    live line. The run goes on from the newest checkpoint in `out_dir`, if there is one, and ends with the very weights
    of a run that was never stopped.
    Raises PonderError for no rows, a machine that cannot, gradients that stay infinite; `Stopped` after Ctrl-C.
    """
    world, out_dir = world or World(), Path(out_dir)
    if not lesson.rows:
        raise PonderError("there are no rows to train on; see what was dropped, and why, above")
    check_machine(model, settings.processes, settings.bf16, world)
    prepare(model, settings.gradient_checkpointing)
    optimizer = Optimizer(
        model, betas=(settings.adam_beta1, settings.adam_beta2), epsilon=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
    )  # fmt: skip
    steps = settings.steps_for(len(lesson.rows))
    told = settings.model_dump(mode="json", exclude={*HARMLESS, "processes"})
    kept = {f"settings.{name}": value for name, value in told.items()}
    same = {"processes": world.size, "rows": len(lesson.rows), **dict(identity), **kept}
    place = _go_on(model, optimizer, out_dir, same, world, load)
    journal = _Journal(out_dir, settings, place.step, config) if world.first else None
    with ctrl_c(world) as stop_asked, Progress(steps, label, enabled=world.first) as progress:
        while place.step < steps:
            place, metrics = _step(settings, lesson, optimizer, place, steps, world)
            last = place.step == steps
            if lesson.evaluate is not None and (
                last or (settings.eval_steps and place.step % settings.eval_steps == 0)
            ):
                metrics |= lesson.evaluate(place.step)
            if journal is not None:
                if last or place.step % settings.logging_steps == 0:
                    journal.write(metrics)
                progress.update(place.step, **{k: metrics.get(k) for k in headline}, **{"tok/s": metrics[SPEED]})
            stop = world.broadcast(stop_asked.is_set()) and not last
            if stop or last or place.step % settings.save_steps == 0:
                if journal is not None:
                    journal.metrics.sync()
                    state = {**same, "place": asdict(place)}
                    save_checkpoint(
                        out_dir / "checkpoints", place.step, state, model, tokenizer, optimizer.state_dict(), save=save
                    )
                world.gather(None)
            if stop:
                raise Stopped(f"stopped after step {place.step}; run the same command again to go on")
    result: dict[str, Any] = {}
    if journal is not None:
        result = journal.close()
        with explained(out_dir):
            save(out_dir / "model", model, tokenizer)
    return world.broadcast(result)


SPEED = "perf/throughput"


def _step(
    settings: SupervisedSettings, lesson: Lesson[R, E], optimizer: Optimizer, place: Place, steps: int, world: World
) -> tuple[Place, dict[str, Any]]:
    began, step = time.perf_counter(), place.step + 1
    rows = sorted(rows_of_step(lesson.rows, step, settings), key=lesson.length, reverse=True)
    device = optimizer.gradient.device
    budget = settings.token_budget or (4096 if device.type == "cpu" else 16384)
    mine = micro_batches(world.share(rows), lesson.length, budget)
    extent = lesson.extent(rows)
    rate = learning_rate_at(
        step, settings.learning_rate, settings.lr_scheduler_type, min(settings.warmup_steps, steps), steps,
        settings.min_lr_ratio,
    )  # fmt: skip
    done = update(
        optimizer, partial(_loss, lesson.loss, extent, device, settings.bf16), mine, learning_rate=rate,
        max_grad_norm=settings.max_grad_norm, world=world,
    )  # fmt: skip
    skipped = 0 if done.applied else place.skipped_in_a_row + 1
    if skipped and world.first:
        log.warning("step %d: the gradient is not finite; the update was skipped (%d in a row)", step, skipped)
    if skipped >= settings.max_nonfinite:
        raise PonderError(
            f"step {step}: the gradient was not finite {skipped} times in a row (max_nonfinite); the last checkpoint "
            "is whole: lower learning_rate, or look into the rows"
        )
    tokens, seconds = sum(map(lesson.length, rows)), time.perf_counter() - began
    padded = sum(lesson.length(part[0]) * len(part) for part in mine)
    filled = sum(lesson.length(row) for part in mine for row in part)
    place = Place(step, place.num_tokens + tokens, skipped)
    metrics = {
        "step": step,
        "epoch": step * settings.batch_size / len(lesson.rows),
        **lesson.metrics({name: float(value) for name, value in done.stats.items()}, extent),
        "grad_norm": done.grad_norm,
        "learning_rate": rate,
        "updates_skipped": float(not done.applied),
        "num_tokens": place.num_tokens,
        "batch/pad_frac": 1 - filled / padded if padded else 0.0,
        "step_time": seconds,
        **machine_metrics(tokens, seconds, device),
    }
    return place, metrics


def _loss(
    loss: Callable[[Sequence[R], E], tuple[torch.Tensor, Stats]], extent: E, device: torch.device, bf16: bool,
    part: Sequence[R],
) -> tuple[torch.Tensor, Stats]:  # fmt: skip
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return loss(part, extent)


def _go_on(
    model: Any, optimizer: Optimizer, out_dir: Path, same: Mapping[str, Any], world: World,
    load: Callable[[Path, Any], None],
) -> Place:  # fmt: skip
    found = world.broadcast(newest_checkpoint(out_dir / "checkpoints") if world.first else None)
    if found is None:
        return Place()
    agree(found, same)
    load(found.path / "model", model)
    optimizer.load_state_dict(load_optimizer(found.path / "optimizer.pt"))
    if world.first:
        log.info("going on from step %d", found.step)
    return Place(**found.state["place"])


class _Journal:
    """`metrics.jsonl`, `config.json` and the trackers of a run."""

    def __init__(
        self, out_dir: Path, settings: SupervisedSettings, frontier: int, config: Mapping[str, Any] | None
    ) -> None:
        config = config or settings.model_dump(mode="json")
        with explained(out_dir):
            out_dir.mkdir(parents=True, exist_ok=True)
        write_json_atomic(out_dir / "config.json", config)
        self.trackers = Trackers(settings.report_to, out_dir, config, frontier)
        self.metrics = JsonlWriter(out_dir / "metrics.jsonl")
        self.metrics.truncate_after("step", frontier)

    def write(self, row: Mapping[str, Any]) -> None:
        self.metrics.write(row)
        self.trackers.write(row)

    def close(self) -> dict[str, Any]:
        self.trackers.close()
        self.metrics.close()
        rows = read_jsonl(self.metrics.path)
        return dict(rows[-1]) if rows else {}
