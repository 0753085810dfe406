"""PPO with a critic: the loop around `ponder.training.ppo_step`, from the first check to the saved models.

What GRPO replaced (arXiv 2402.03300, section 4.1): a value model of the policy's size, trained beside it, gives every
token a baseline of its own. The RLHF form, as TRL and verl have it.
"""

from __future__ import annotations

import copy
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
from ponder.training.grpo import begin_anew, headline, identity_of, weighted
from ponder.training.grpo_step import Place, Team
from ponder.training.interrupt import Stopped, ctrl_c
from ponder.training.journal import Journal, Observer
from ponder.training.ppo_credit import PPOTeam
from ponder.training.ppo_settings import PPO_ALIASES, PPOSettings
from ponder.training.ppo_step import ppo_step
from ponder.training.prepare import check_machine, prepare
from ponder.training.questions import Intake, check_lengths, encoder, usable
from ponder.training.step import Optimizer

__all__ = ["PPO_ALIASES", "PPOSettings", "Stopped", "train_ppo"]

log = logging.getLogger("ponder")


def train_ppo(
    settings: PPOSettings,
    model: Any,
    value_model: Any,
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
    """Train `model` and `value_model`, in place; write `out_dir/model` and `out_dir/value_model`.

    Every rank calls this with equal arguments (`ponder.training.distributed.launch`).

    value_model: a token classifier with one label (`ponder.models.heads.new_value_model`). All else is as in
    `ponder.training.grpo.train_grpo`: the arguments, what is returned and written, what is raised, and that a run that
    was stopped, however, goes on to the very weights of one that was not.
    """
    world, out_dir = world or World(), Path(out_dir)
    check_machine(model, settings.processes, settings.bf16, world)
    _check_critic(model, value_model)
    context = context_length or getattr(model.config, "max_position_embeddings", None)
    intake = Intake(())
    if world.first:  # graders can be slow, and a warning is to be read once
        intake = usable(problems, settings.questions_per_step)
        if context is not None:
            check_lengths(intake.problems, render, encoder(tokenizer), settings.max_completion_length, context)
    intake = world.broadcast(intake)
    ends = None if eos_ids is None else tuple(eos_ids)

    prepare(model, settings.gradient_checkpointing)
    prepare(value_model, settings.gradient_checkpointing)
    actor = Team(
        settings=settings,
        policy=model,
        reference=copy.deepcopy(model).requires_grad_(False) if settings.needs_reference else None,
        optimizer=_optimizer(model, settings),
        sampler_of=sampler_of
        or (lambda step: LocalSampler(model, tokenizer, context_length=context, eos_ids=ends, version=step)),
        problems=intake.problems,
        render=render,
        reward=weighted(reward, settings),
        world=world,
        observe=observe,
    )
    team = PPOTeam(settings, actor, value_model, _optimizer(value_model, settings))
    identity = identity_of(actor)
    place = _go_on(team, out_dir, identity) if resume else _anew(world, out_dir)
    journal = Journal(out_dir, settings, place.step, config) if world.first else None
    with ctrl_c(world) as stop_asked, Progress(settings.max_steps, "step", enabled=world.first) as progress:
        while place.step < settings.max_steps:
            stepped = ppo_step(team, place)
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
            save_model(out_dir / "value_model", value_model, tokenizer)
        result = {**journal.close(), "problems": len(intake.problems), "dropped": intake.dropped}
    return world.broadcast(result)


def _optimizer(model: Any, settings: PPOSettings) -> Optimizer:
    return Optimizer(
        model,
        betas=(settings.adam_beta1, settings.adam_beta2),
        epsilon=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
    )


def _check_critic(model: Any, value_model: Any) -> None:
    """Raise PonderError for a value model that cannot judge this policy's texts."""
    if value_model is model:
        raise PonderError("the value model is the policy itself; make one with ponder.models.heads.new_value_model")
    if getattr(value_model.config, "num_labels", None) != 1:
        raise PonderError(
            f"the value model has {getattr(value_model.config, 'num_labels', 'no')} labels; it needs one number a "
            "token: make it with ponder.models.heads.new_value_model"
        )
    ours, theirs = (one.get_input_embeddings().weight for one in (model, value_model))
    if ours.shape[0] > theirs.shape[0]:
        raise PonderError(
            f"the value model knows {theirs.shape[0]} tokens, the policy {ours.shape[0]}; make it from the same base"
        )
    if ours.device != theirs.device:
        raise PonderError(f"the policy is on {ours.device}, the value model on {theirs.device}; put both on one")


def _anew(world: World, out_dir: Path) -> Place:
    if world.first:
        shutil.rmtree(out_dir / "value_model", ignore_errors=True)
    return begin_anew(world, out_dir)


def _go_on(team: PPOTeam, out_dir: Path, identity: Mapping[str, Any]) -> Place:
    newest = newest_checkpoint(out_dir / "checkpoints") if team.world.first else None
    found = team.world.broadcast(newest)
    if found is None:
        return Place()
    agree(found, identity)
    load_weights(found.path / "model", team.actor.policy)
    load_weights(found.path / "value_model", team.value_model)
    if team.settings.sync_ref_model:
        load_weights(found.path / "reference", team.actor.reference)
    states = load_optimizer(found.path / "optimizer.pt")
    team.actor.optimizer.load_state_dict(states["policy"])
    team.value_optimizer.load_state_dict(states["value"])
    if team.world.first:
        log.info("going on from step %d", found.step)
    return Place(**found.state["place"])


def _save(team: PPOTeam, tokenizer: Any, out_dir: Path, place: Place, identity: Mapping[str, Any]) -> None:
    def both(path: Path, model: Any, tokenizer: Any) -> None:
        save_model(path, model, tokenizer)
        save_model(path.parent / "value_model", team.value_model, None)

    save_checkpoint(
        out_dir / "checkpoints",
        place.step,
        {**identity, "place": asdict(place)},
        team.actor.policy,
        tokenizer,
        {"policy": team.actor.optimizer.state_dict(), "value": team.value_optimizer.state_dict()},
        reference=team.actor.reference if team.settings.sync_ref_model else None,
        save=both,
    )
