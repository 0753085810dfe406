"""One step of GRPO and its family.

From prompts to new weights it reads: `grpo_step` here, then `collect` (the groups), `batch` (the tensors) and
`step.update` (the optimiser). What is optimised is in `ponder.objectives`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.core.types import Problem, Sampler
from ponder.models.logprobs import token_logprobs
from ponder.objectives import FAMILY, Extent, PolicyTerms, has_gradient, policy_loss
from ponder.training.batch import Batch, rows_of, split
from ponder.training.collect import Clock, Collected, Render, RewardFn, collect
from ponder.training.distributed import World
from ponder.training.journal import (
    Observer,
    Record,
    batch_metrics,
    machine_metrics,
    rollout_metrics,
    update_metrics,
)
from ponder.training.settings import GRPOSettings
from ponder.training.step import Optimizer, Stats, Update, learning_rate_at, update

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
            advantages = advantages_of(settings, collected.records)
        mini_batches = mini_batches_of(team, collected, advantages, clock)
        updates: list[Update] = []
        skipped = place.skipped_in_a_row
        with clock("update"):
            for mini_batch in [*mini_batches] * settings.num_iterations:
                done = update(
                    team.optimizer,
                    partial(share_of_loss, team, mini_batch.extent),
                    mini_batch.parts,
                    learning_rate=rate,
                    max_grad_norm=settings.max_grad_norm,
                    world=team.world,
                )
                updates.append(done)
                skipped = 0 if done.applied else skipped + 1
                check_finite(team, step, skipped)
        if settings.sync_ref_model and step % settings.ref_model_sync_steps == 0:
            mix_reference(team.reference, team.policy, settings.ref_model_mixup_alpha)
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
        **machine_metrics(collected.tokens, clock.seconds["step"], team.device),
    }
    return Stepped(place, metrics, collected, advantages)


def advantages_of(settings: GRPOSettings, records: Sequence[Record]) -> list[list[float]]:
    """One list a group, in the order of its known rewards; empty where none is known."""
    known = [record.rewards for record in records if record.rewards]
    given = iter(FAMILY[settings.loss_type].advantages(known, settings.policy))
    return [next(given) if record.rewards else [] for record in records]


def mini_batches_of(
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
        mini_batches.append(MiniBatch(tuple(with_fixed_logps(team, batch, clock) for batch in parts), extent))
    return mini_batches


def with_fixed_logps(team: Team, batch: Batch, clock: Clock) -> Batch:
    """Add the log-probabilities that stay fixed while the policy moves: the old ones, and the reference's.

    With one update a step the old policy is the current one, and needs no pass. With more, the sampler's own
    log-probabilities stand for it, for they are the trainer's, unless the trainer computes in bf16, the sampler cannot
    say, or a correction of their difference is asked for.
    """
    if team.settings.updates_per_step > 1:
        old_logp_BT = batch.sampler_logp_BT
        apart = team.settings.bf16 or team.settings.importance_sampling_correction != "none"
        if apart or bool(old_logp_BT.isnan().any()):
            with clock("old_log_prob"), torch.no_grad():
                old_logp_BT, _ = logprobs_of(team, team.policy, batch)
        batch = replace(batch, old_logp_BT=old_logp_BT)
    if team.reference is not None:
        with clock("ref"), torch.no_grad():
            ref_logp_BT, _ = logprobs_of(team, team.reference, batch)
        batch = replace(batch, ref_logp_BT=ref_logp_BT)
    return batch


def share_of_loss(team: Team, extent: Extent, batch: Batch) -> tuple[torch.Tensor, Stats]:
    """A micro-batch's share of the whole update's loss, and its statistics as sums."""
    logp_BT, entropy_BT = logprobs_of(team, team.policy, batch)
    terms = PolicyTerms(
        advantages_B=batch.advantages_B,
        mask_BT=batch.mask_BT,
        old_logp_BT=batch.old_logp_BT,
        ref_logp_BT=batch.ref_logp_BT,
        sampler_logp_BT=batch.sampler_logp_BT,
    )
    loss, stats = policy_loss(logp_BT, terms, FAMILY[team.settings.loss_type], extent, team.settings.policy)
    return loss, {**stats, "entropy": (entropy_BT * batch.mask_BT).sum()}


def logprobs_of(team: Team, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(logp_BT, entropy_BT) of a batch under `model`, at the sampling temperature."""
    with team.autocast():
        return token_logprobs(
            model, batch.input_ids_BT, batch.attention_mask_BT, batch.mask_BT, team.settings.temperature
        )


def check_finite(team: Team, step: int, skipped: int) -> None:
    """Warn of a skipped update; PonderError after `max_nonfinite` in a row."""
    if skipped and team.world.first:
        log.warning("step %d: the gradient is not finite; the update was skipped (%d in a row)", step, skipped)
    if skipped >= team.settings.max_nonfinite:
        raise PonderError(
            f"step {step}: the gradient was not finite {skipped} times in a row (max_nonfinite); the last "
            "checkpoint is whole: lower learning_rate, or look into samples/"
        )


@torch.no_grad()
def mix_reference(reference: Any, policy: Any, alpha: float) -> None:
    """reference = alpha * policy + (1 - alpha) * reference, in place."""
    for old, new in zip(reference.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, alpha)
