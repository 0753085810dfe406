"""One step of PPO with a critic.

From prompts to new weights it reads: `ppo_step` here, then `collect` (the completions), `ppo_credit` (values, GAE,
whitening) and `step.update` (each optimiser). What is optimised is in `ponder.objectives` (`policy`, `gae`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch

from ponder.models.logprobs import token_logprobs
from ponder.objectives import FAMILY, Extent, PolicyTerms, policy_loss
from ponder.objectives.gae import value_loss
from ponder.objectives.policy import token_mean
from ponder.training.batch import Batch
from ponder.training.collect import Clock, collect
from ponder.training.critic import token_values
from ponder.training.entropy import token_logprobs_and_entropy
from ponder.training.grpo_step import Place, Stepped, Team, check_finite, mix_reference
from ponder.training.journal import batch_metrics, machine_metrics, rollout_metrics, update_metrics
from ponder.training.ppo_credit import Lesson, Part, PPOTeam, lessons_of
from ponder.training.step import Optimizer, Stats, Update, learning_rate_at, update

Share = Callable[[PPOTeam, Extent, Part], tuple[torch.Tensor, Stats]]


def ppo_step(team: PPOTeam, place: Place) -> Stepped:
    """Sample and grade, estimate advantages, move the policy and the critic. Every rank calls this; all end with equal
    weights. In the first `critic_warmup` steps the policy stays."""
    settings, actor, clock, step = team.settings, team.actor, Clock(), place.step + 1
    rate = _rate(team, step, settings.learning_rate)
    value_rate = _rate(team, step, settings.value_learning_rate or settings.learning_rate)
    with clock("step"):
        collected = collect(
            settings, actor.sampler_of(place.step), actor.problems, actor.render, actor.reward, actor.world, step,
            place.cursor, clock,
        )  # fmt: skip
        lessons, advantages, critic_metrics = lessons_of(team, collected, clock)
        policy_updates: list[Update] = []
        value_updates: list[Update] = []
        skipped = place.skipped_in_a_row
        for lesson in [*lessons] * settings.num_iterations:
            done = []
            if step > settings.critic_warmup:
                with clock("update"):
                    done.append(_move(team, actor.optimizer, share_of_policy_loss, lesson, rate))
                policy_updates.append(done[-1])
            with clock("update_critic"):
                done.append(_move(team, team.value_optimizer, share_of_value_loss, lesson, value_rate))
            value_updates.append(done[-1])
            skipped = 0 if all(one.applied for one in done) else skipped + 1
            check_finite(actor, step, skipped)
        if settings.sync_ref_model and step % settings.ref_model_sync_steps == 0:
            mix_reference(actor.reference, actor.policy, settings.ref_model_mixup_alpha)
    place = Place(step, collected.cursor, place.num_tokens + collected.tokens, skipped)
    metrics = {
        "step": step,
        **update_metrics(policy_updates),
        **value_metrics(value_updates),
        **critic_metrics,
        "learning_rate": rate if step > settings.critic_warmup else 0.0,
        "value/learning_rate": value_rate,
        **rollout_metrics(collected.records),
        **(collected.metrics() if settings.dynamic_sampling else {}),
        **(actor.observe.step(collected.groups, actor.world) if actor.observe else {}),
        **batch_metrics([part.batch for lesson in lessons for part in lesson.parts]),
        "num_tokens": place.num_tokens,
        **clock.metrics(),
        **{f"timing_s/{name}": clock.seconds.get(name, 0.0) for name in ("values", "update_critic")},
        **machine_metrics(collected.tokens, clock.seconds["step"], actor.device),
    }
    return Stepped(place, metrics, collected, advantages)


def _rate(team: PPOTeam, step: int, height: float) -> float:
    settings = team.settings
    return learning_rate_at(
        step, height, settings.lr_scheduler_type, settings.warmup_steps, settings.max_steps, settings.min_lr_ratio
    )


def _move(team: PPOTeam, optimizer: Optimizer, share: Share, lesson: Lesson, rate: float) -> Update:
    return update(
        optimizer,
        partial(share, team, lesson.extent),
        lesson.parts,
        learning_rate=rate,
        max_grad_norm=team.settings.max_grad_norm,
        world=team.world,
    )


def share_of_policy_loss(team: PPOTeam, extent: Extent, part: Part) -> tuple[torch.Tensor, Stats]:
    """A micro-batch's share of the update's policy loss, less the entropy bonus, and its statistics as sums."""
    settings, batch = team.settings, part.batch
    logp_BT, entropy_BT = _logprobs_and_entropy(team.actor, batch, settings.entropy_coef > 0)
    terms = PolicyTerms(
        advantages_B=batch.advantages_B,
        mask_BT=batch.mask_BT,
        old_logp_BT=batch.old_logp_BT,
        ref_logp_BT=batch.ref_logp_BT,
        sampler_logp_BT=batch.sampler_logp_BT,
    )
    loss, stats = policy_loss(logp_BT, terms, FAMILY["ppo"], extent, settings.policy)
    if settings.entropy_coef:
        loss = loss - settings.entropy_coef * token_mean(entropy_BT, batch.mask_BT, extent)
        stats = {**stats, "loss": loss.detach()}
    return loss, {**stats, "entropy": (entropy_BT.detach() * batch.mask_BT).sum()}


def share_of_value_loss(team: PPOTeam, extent: Extent, part: Part) -> tuple[torch.Tensor, Stats]:
    """A micro-batch's share of the update's value loss, and its statistics as sums."""
    with team.actor.autocast():
        values_BT, _ = token_values(team.value_model, part.batch)
    loss, stats = value_loss(
        values_BT, part.values_BT, part.returns_BT, part.batch.mask_BT, extent, team.settings.cliprange_value
    )
    return team.settings.vf_coef * loss, stats


def value_metrics(updates: Sequence[Update]) -> dict[str, float]:
    """The metrics of a step's updates of the critic: their mean."""
    told = [
        {
            "value/loss": float(done.stats["value_loss"]),
            "value/clip_ratio": float(done.stats["value_clipped"]) / max(float(done.stats["value_tokens"]), 1.0),
            "value/grad_norm": done.grad_norm,
        }
        for done in updates
    ]
    row = {name: statistics.fmean(one[name] for one in told) for name in (told[0] if told else ())}
    return row | {"value/updates_skipped": float(sum(not done.applied for done in updates))}


def _logprobs_and_entropy(actor: Team, batch: Batch, differentiable: bool) -> tuple[torch.Tensor, torch.Tensor]:
    of = token_logprobs_and_entropy if differentiable else token_logprobs
    with actor.autocast():
        return of(actor.policy, batch.input_ids_BT, batch.attention_mask_BT, batch.mask_BT, actor.settings.temperature)
