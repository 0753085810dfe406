"""GRPO and its family: the loop around `ponder.training.grpo_step`, from the first check to the saved model."""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.records import explained
from ponder.core.types import Problem, Sampler
from ponder.rewards import Reward
from ponder.sampling.local import LocalSampler
from ponder.training.checkpoint import (
    agree,
    load_optimizer,
    load_weights,
    newest_checkpoint,
    save_checkpoint,
    save_model,
)
from ponder.training.collect import Render, RewardFn
from ponder.training.distributed import World
from ponder.training.grpo_step import Place, Team, grpo_step
from ponder.training.interrupt import Stopped, ctrl_c
from ponder.training.journal import Journal, Observer
from ponder.training.prepare import check_machine, prepare
from ponder.training.questions import Intake, check_lengths, encoder, usable
from ponder.training.settings import HARMLESS, GRPOSettings
from ponder.training.step import Optimizer

__all__ = ["GRPOSettings", "Observer", "Stopped", "train_grpo"]

log = logging.getLogger("ponder")


def train_grpo(
    settings: GRPOSettings,
    model: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    reward: RewardFn,
    out_dir: Path,
    render: Render,
    world: World | None = None,
    evaluate: Callable[[int], Mapping[str, Any] | None] | None = None,
    *,
    observe: Observer | None = None,
    sampler_of: Callable[[int], Sampler] | None = None,
    context_length: int | None = None,
    eos_ids: Sequence[int] | None = None,
    config: Mapping[str, Any] | None = None,
    resume: bool = True,
) -> dict[str, Any]:
    """Train `model`, in place, and write `out_dir/model`; returns the last step's metrics and what was dropped.

    Every rank calls this with equal arguments (`ponder.training.distributed.launch`).

    reward: what `ponder.rewards.compose` returns, or a function of that shape. render: a problem as the prompt's text.
    evaluate(step): called on every rank every `eval_steps`; rank 0's mapping joins the step's metrics. It must not
    touch the weights. observe: behaviour metrics of the samples. sampler_of(step): another sampler than the local one;
    it must sample from `model` as it then is. context_length, eos_ids: the model's own where not given. config: the
    whole run's settings, for `config.json`; these settings alone where not given. resume: go on from the checkpoint in
    `out_dir`, if there is one, and end with the very weights of a run that was never stopped.

    Raises PonderError for what the user can mend, before the first step where that is possible, and `Stopped` after
    Ctrl-C.
    """
    world, out_dir = world or World(), Path(out_dir)
    check_machine(model, settings.processes, settings.bf16, world)
    context = context_length or getattr(model.config, "max_position_embeddings", None)
    intake = Intake(())
    if world.first:  # graders can be slow, and a warning is to be read once
        intake = usable(problems, settings.questions_per_step)
        if context is not None:
            check_lengths(intake.problems, render, encoder(tokenizer), settings.max_completion_length, context)
    intake = world.broadcast(intake)
    ends = None if eos_ids is None else tuple(eos_ids)

    prepare(model, settings.gradient_checkpointing)
    team = Team(
        settings=settings,
        policy=model,
        reference=copy.deepcopy(model).requires_grad_(False) if settings.beta > 0 else None,
        optimizer=Optimizer(
            model,
            betas=(settings.adam_beta1, settings.adam_beta2),
            epsilon=settings.adam_epsilon,
            weight_decay=settings.weight_decay,
        ),
        sampler_of=sampler_of
        or (lambda step: LocalSampler(model, tokenizer, context_length=context, eos_ids=ends, version=step)),
        problems=intake.problems,
        render=render,
        reward=weighted(reward, settings),
        world=world,
        observe=observe,
    )
    identity = identity_of(team)
    place = _go_on(team, out_dir, identity) if resume else begin_anew(world, out_dir)
    journal = Journal(out_dir, settings, place.step, config) if world.first else None
    with ctrl_c(world) as stop_asked, Progress(settings.max_steps, "step", enabled=world.first) as progress:
        while place.step < settings.max_steps:
            stepped = grpo_step(team, place)
            place, metrics = stepped.place, stepped.metrics
            if evaluate is not None and settings.eval_steps and place.step % settings.eval_steps == 0:
                metrics |= evaluate(place.step) or {}
            if journal is not None:
                journal.write(metrics, stepped.collected, stepped.advantages)
                progress.update(place.step, **headline(metrics))
            last = place.step == settings.max_steps
            stop = world.broadcast(stop_asked.is_set()) and not last
            if stop or last or place.step % settings.save_steps == 0:
                if journal is not None:
                    journal.sync()
                    _save(team, tokenizer, out_dir, place, identity)
                world.gather(None)
            if stop:
                raise Stopped(f"stopped after step {place.step}; run the same command again to go on")
    result: dict[str, Any] = {}
    if journal is not None:
        with explained(out_dir):
            save_model(out_dir / "model", model, tokenizer)
        result = {**journal.close(), "problems": len(intake.problems), "dropped": intake.dropped}
    return world.broadcast(result)


def weighted(reward: RewardFn, settings: GRPOSettings) -> RewardFn:
    """The reward with the settings' weights. Raises PonderError where it has no parts to weigh."""
    if settings.reward_weights is None:
        return reward
    if not isinstance(reward, Reward):
        raise PonderError("reward_weights needs a reward made by compose; leave it out, or weigh inside the reward")
    return reward.reweighted(settings.reward_weights)


def identity_of(team: Team) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    settings = team.settings.model_dump(mode="json")
    content = hashlib.sha256("".join(problem.id for problem in team.problems).encode()).hexdigest()[:16]
    kept = {f"settings.{name}": value for name, value in settings.items() if name not in HARMLESS | {"processes"}}
    return {"processes": team.world.size, "problems": content, **kept}


def begin_anew(world: World, out_dir: Path) -> Place:
    """Delete what an earlier run left, on every rank at once."""
    if world.first:
        for name in ("checkpoints", "samples", "model"):
            shutil.rmtree(out_dir / name, ignore_errors=True)
    world.gather(None)
    return Place()


def _go_on(team: Team, out_dir: Path, identity: Mapping[str, Any]) -> Place:
    newest = newest_checkpoint(out_dir / "checkpoints") if team.world.first else None
    found = team.world.broadcast(newest)
    if found is None:
        return Place()
    agree(found, identity)
    load_weights(found.path / "model", team.policy)
    if team.settings.sync_ref_model:
        load_weights(found.path / "reference", team.reference)
    team.optimizer.load_state_dict(load_optimizer(found.path / "optimizer.pt"))
    if team.world.first:
        log.info("going on from step %d", found.step)
    return Place(**found.state["place"])


def _save(team: Team, tokenizer: Any, out_dir: Path, place: Place, identity: Mapping[str, Any]) -> None:
    save_checkpoint(
        out_dir / "checkpoints",
        place.step,
        {**identity, "place": asdict(place)},
        team.policy,
        tokenizer,
        team.optimizer.state_dict(),
        reference=team.reference if team.settings.sync_ref_model else None,
    )


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the live line shows of a step."""
    return {
        "reward": metrics["reward"],
        "acc": metrics["accuracy"],
        "len": metrics.get("completions/mean_length"),
        "tok/s": metrics["perf/throughput"],
    }
