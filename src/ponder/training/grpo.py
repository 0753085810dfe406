"""GRPO and its family: the loop, and one step of it.

A step, from prompts to new weights, reads: `grpo_step` here, then `collect` (the groups), `batch` (the tensors) and
`step.update` (the optimiser). What is optimised is in `ponder.objectives`.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.records import explained
from ponder.core.types import Problem, Sampler
from ponder.models.logprobs import token_logprobs
from ponder.objectives import FAMILY, Extent, PolicyTerms, has_gradient, policy_loss
from ponder.rewards import Reward
from ponder.sampling.local import LocalSampler
from ponder.training.batch import Batch, rows_of, split
from ponder.training.checkpoint import (
    agree,
    load_optimizer,
    load_weights,
    newest_checkpoint,
    save_checkpoint,
    save_model,
)
from ponder.training.collect import Clock, Collected, Render, RewardFn, collect
from ponder.training.distributed import World, under_torchrun
from ponder.training.interrupt import Stopped, ctrl_c
from ponder.training.journal import (
    Journal,
    Observer,
    Record,
    batch_metrics,
    machine_metrics,
    rollout_metrics,
    update_metrics,
)
from ponder.training.questions import Intake, check_lengths, encoder, usable
from ponder.training.settings import HARMLESS, GRPOSettings
from ponder.training.step import Optimizer, Stats, Update, learning_rate_at, update

__all__ = ["Observer", "Place", "Stopped", "Team", "grpo_step", "train_grpo"]

log = logging.getLogger("ponder")


@dataclass(frozen=True)
class Place:
    """How far a run is; with the weights and the optimiser's state, all that it needs to go on."""

    step: int = 0
    cursor: int = 0
    num_tokens: int = 0
    skipped_in_a_row: int = 0


@dataclass(frozen=True)
class Team:
    """All that a step works with. Only the policy, the reference and the optimiser change."""

    settings: GRPOSettings
    policy: Any
    reference: Any
    optimizer: Optimizer
    sampler_of: Callable[[int], Sampler]
    problems: tuple[Problem, ...]
    render: Render
    reward: RewardFn
    world: World = World()
    observe: Observer | None = None

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        return self.optimizer.gradient.device

    @property
    def token_budget(self) -> int:
        """Padded tokens of a micro-batch at most. On a CPU small ones are the faster: they stay in its caches."""
        return self.settings.token_budget or (4096 if self.device.type == "cpu" else 16384)

    def autocast(self) -> torch.autocast:
        """bf16 compute, where it was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16)


@dataclass(frozen=True)
class MiniBatch:
    """What one optimiser update learns from: this rank's micro-batches, and the size of the update over all ranks."""

    parts: tuple[Batch, ...]
    extent: Extent


@dataclass(frozen=True)
class Stepped:
    """A step that is done: the place behind it, its metrics, its groups, and the advantages of their known rewards."""

    place: Place
    metrics: dict[str, Any]
    collected: Collected
    advantages: list[list[float]]


# ---- one step ----


def grpo_step(team: Team, place: Place) -> Stepped:
    """Sample and grade the groups, and move the policy. Every rank calls this; all end with equal weights."""
    settings, clock, step = team.settings, Clock(), place.step + 1
    rate = learning_rate_at(
        step, settings.learning_rate, settings.lr_scheduler_type, settings.warmup_steps, settings.max_steps,
        settings.min_lr_ratio,
    )  # fmt: skip
    with clock("step"):
        sampler = team.sampler_of(place.step)
        collected = collect(
            settings, sampler, team.problems, team.render, team.reward, team.world, step, place.cursor, clock
        )
        with clock("adv"):
            advantages = _advantages(settings, collected.records)
        mini_batches = _mini_batches(team, collected, advantages, clock)
        updates: list[Update] = []
        skipped = place.skipped_in_a_row
        with clock("update"):
            for mini_batch in [*mini_batches] * settings.num_iterations:
                done = update(
                    team.optimizer,
                    partial(_share_of_loss, team, mini_batch.extent),
                    mini_batch.parts,
                    learning_rate=rate,
                    max_grad_norm=settings.max_grad_norm,
                    world=team.world,
                )
                updates.append(done)
                skipped = 0 if done.applied else skipped + 1
                _check_finite(team, step, skipped)
        if settings.sync_ref_model and step % settings.ref_model_sync_steps == 0:
            _mix(team.reference, team.policy, settings.ref_model_mixup_alpha)
    place = Place(step, collected.cursor, place.num_tokens + collected.tokens, skipped)
    metrics = {
        "step": step,
        **update_metrics(updates),
        "learning_rate": rate,
        **rollout_metrics(collected.records),
        **(collected.metrics() if settings.dynamic_sampling else {}),
        **(team.observe.step(collected.groups, team.world) if team.observe else {}),
        **batch_metrics([part for mini_batch in mini_batches for part in mini_batch.parts]),
        "num_tokens": place.num_tokens,
        **clock.metrics(),
        **machine_metrics(collected.tokens, clock.seconds["step"]),
    }
    return Stepped(place, metrics, collected, advantages)


def _advantages(settings: GRPOSettings, records: Sequence[Record]) -> list[list[float]]:
    """One list a group, in the order of its known rewards; empty where none is known."""
    known = [record.rewards for record in records if record.rewards]
    given = iter(FAMILY[settings.loss_type].advantages(known, settings.policy))
    return [next(given) if record.rewards else [] for record in records]


def _mini_batches(
    team: Team, collected: Collected, advantages: Sequence[Sequence[float]], clock: Clock
) -> list[MiniBatch]:
    """A step's groups in `num_mini_batches` runs of neighbours (ranks hold every n-th group, so each has some of each).

    A group without a gradient costs no backward pass, but stays in the extent. A run in which no rank has anything to
    learn from makes no update.
    """
    settings, records = team.settings, collected.records
    masked = settings.mask_truncated_completions
    mini_batches = []
    for part in range(settings.num_mini_batches):
        places = [i for i in range(len(records)) if i * settings.num_mini_batches // len(records) == part]
        taught = [i for i in places if has_gradient(advantages[i], settings.policy) and records[i].has_trained(masked)]
        if not taught:
            continue
        lengths = [length for i in places for length in records[i].trained_lengths(masked)]
        held = [(group, advantages[i]) for i in taught if (group := collected.groups[i]) is not None]
        rows = [row for group, values in held for row in rows_of(group, values, masked)]
        parts = [Batch.of(part_rows, device=team.device) for part_rows in split(rows, team.token_budget)]
        extent = Extent.of_lengths(lengths, settings.max_completion_length)
        mini_batches.append(MiniBatch(tuple(_with_fixed_logps(team, batch, clock) for batch in parts), extent))
    return mini_batches


def _with_fixed_logps(team: Team, batch: Batch, clock: Clock) -> Batch:
    """Add the log-probabilities that stay fixed while the policy moves: the old ones, and the reference's.

    With one update a step the old policy is the current one, and needs no pass. With more, the sampler's own
    log-probabilities stand for it, for they are the trainer's, unless the trainer computes in bf16 or the sampler
    cannot say.
    """
    if team.settings.updates_per_step > 1:
        old_logp_BT = batch.sampler_logp_BT
        if team.settings.bf16 or bool(old_logp_BT.isnan().any()):
            with clock("old_log_prob"), torch.no_grad():
                old_logp_BT, _ = _logprobs(team, team.policy, batch)
        batch = replace(batch, old_logp_BT=old_logp_BT)
    if team.reference is not None:
        with clock("ref"), torch.no_grad():
            ref_logp_BT, _ = _logprobs(team, team.reference, batch)
        batch = replace(batch, ref_logp_BT=ref_logp_BT)
    return batch


def _share_of_loss(team: Team, extent: Extent, batch: Batch) -> tuple[torch.Tensor, Stats]:
    """A micro-batch's share of the whole update's loss, and its statistics as sums."""
    logp_BT, entropy_BT = _logprobs(team, team.policy, batch)
    terms = PolicyTerms(
        advantages_B=batch.advantages_B,
        mask_BT=batch.mask_BT,
        old_logp_BT=batch.old_logp_BT,
        ref_logp_BT=batch.ref_logp_BT,
        sampler_logp_BT=batch.sampler_logp_BT,
    )
    loss, stats = policy_loss(logp_BT, terms, FAMILY[team.settings.loss_type], extent, team.settings.policy)
    return loss, {**stats, "entropy": (entropy_BT * batch.mask_BT).sum()}


def _logprobs(team: Team, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    with team.autocast():
        return token_logprobs(
            model, batch.input_ids_BT, batch.attention_mask_BT, batch.mask_BT, team.settings.temperature
        )


def _check_finite(team: Team, step: int, skipped: int) -> None:
    if skipped and team.world.first:
        log.warning("step %d: the gradient is not finite; the update was skipped (%d in a row)", step, skipped)
    if skipped >= team.settings.max_nonfinite:
        raise PonderError(
            f"step {step}: the gradient was not finite {skipped} times in a row (max_nonfinite); the last "
            "checkpoint is whole: lower learning_rate, or look into samples/"
        )


@torch.no_grad()
def _mix(reference: Any, policy: Any, alpha: float) -> None:
    for old, new in zip(reference.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, alpha)


# ---- the loop ----


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
    resume: bool = True,
) -> dict[str, Any]:
    """Train `model`, in place, and write `out_dir/model`; returns the last step's metrics and what was dropped.

    Every rank calls this with equal arguments (`ponder.training.distributed.launch`).

    reward: what `ponder.rewards.compose` returns, or a function of that shape. render: a problem as the prompt's text.
    evaluate(step): called on every rank every `eval_steps`; rank 0's mapping joins the step's metrics. It must not
    touch the weights. observe: behaviour metrics of the samples. sampler_of(step): another sampler than the local one;
    it must sample from `model` as it then is. context_length, eos_ids: the model's own where not given. resume: go on
    from the checkpoint in `out_dir`, if there is one, and end with the very weights of a run that was never stopped.

    Raises PonderError for what the user can mend, before the first step where that is possible, and `Stopped` after
    Ctrl-C.
    """
    world, out_dir = world or World(), Path(out_dir)
    _check_machine(settings, model, world)
    context = context_length or getattr(model.config, "max_position_embeddings", None)
    intake = Intake(())
    if world.first:  # graders can be slow, and a warning is to be read once
        intake = usable(problems, settings.questions_per_step)
        if context is not None:
            check_lengths(intake.problems, render, encoder(tokenizer), settings.max_completion_length, context)
    intake = world.broadcast(intake)
    ends = None if eos_ids is None else tuple(eos_ids)

    _prepare(model, settings)
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
        reward=_weighted(reward, settings),
        world=world,
        observe=observe,
    )
    identity = _identity(team)
    place = _go_on(team, out_dir, identity) if resume else _begin_anew(world, out_dir)
    journal = Journal(out_dir, settings, place.step) if world.first else None
    with ctrl_c(world) as stop_asked, Progress(settings.max_steps, "step", enabled=world.first) as progress:
        while place.step < settings.max_steps:
            stepped = grpo_step(team, place)
            place, metrics = stepped.place, stepped.metrics
            if evaluate is not None and settings.eval_steps and place.step % settings.eval_steps == 0:
                metrics |= evaluate(place.step) or {}
            if journal is not None:
                journal.write(metrics, stepped.collected, stepped.advantages)
                progress.update(place.step, **_headline(metrics))
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


def _check_machine(settings: GRPOSettings, model: Any, world: World) -> None:
    if settings.processes not in (0, world.size) and not under_torchrun():
        raise PonderError(
            f"processes is {settings.processes}, but {world.size} run: start them with "
            "ponder.training.distributed.launch, or set processes to 0"
        )
    device = next(model.parameters()).device
    if settings.bf16 and not (device.type == "cuda" and torch.cuda.is_bf16_supported()):
        raise PonderError(f"bf16 is on, but this {device.type} has no fast bfloat16; set bf16=false")


def _prepare(model: Any, settings: GRPOSettings) -> None:
    """Float32 weights, and no dropout: the policy that learns is the one that sampled."""
    model.float()
    model.eval()
    if settings.gradient_checkpointing:
        # The name is another from transformers 5.23 on.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        try:
            enable({"use_reentrant": False})
        except ValueError as error:
            raise PonderError(f"gradient_checkpointing is on, but {error}; set gradient_checkpointing=false") from error
        for module in model.modules():
            if getattr(module, "gradient_checkpointing", False):
                module.training = True  # this module alone, not its children: they would switch their dropout on


def _weighted(reward: RewardFn, settings: GRPOSettings) -> RewardFn:
    if settings.reward_weights is None:
        return reward
    if not isinstance(reward, Reward):
        raise PonderError("reward_weights needs a reward made by compose; leave it out, or weigh inside the reward")
    return reward.reweighted(settings.reward_weights)


def _identity(team: Team) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    settings = team.settings.model_dump(mode="json")
    content = hashlib.sha256("".join(problem.id for problem in team.problems).encode()).hexdigest()[:16]
    kept = {f"settings.{name}": value for name, value in settings.items() if name not in HARMLESS | {"processes"}}
    return {"processes": team.world.size, "problems": content, **kept}


def _begin_anew(world: World, out_dir: Path) -> Place:
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


def _headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reward": metrics["reward"],
        "acc": metrics["accuracy"],
        "len": metrics.get("completions/mean_length"),
        "tok/s": metrics["perf/throughput"],
    }
