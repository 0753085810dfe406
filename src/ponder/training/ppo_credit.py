"""From a step's groups to what PPO learns from: micro-batches with values, whitened advantages and returns.

It reads: `lessons_of`, then `_valued` (what the models say of a micro-batch) and `ponder.objectives.gae`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ponder.objectives.batch import Extent
from ponder.objectives.gae import Moments, explained_variance, gae, token_rewards, whiten
from ponder.objectives.kl import KL
from ponder.training.batch import Batch, Row, is_trained, split
from ponder.training.collect import Clock, Collected
from ponder.training.critic import token_values
from ponder.training.distributed import World
from ponder.training.grpo_step import Team, logprobs_of, with_fixed_logps
from ponder.training.ppo_settings import PPOSettings
from ponder.training.step import Optimizer


@dataclass(frozen=True)
class PPOTeam:
    """All that a step works with: the policy's side as GRPO has it, and the critic."""

    settings: PPOSettings
    actor: Team
    value_model: Any
    value_optimizer: Optimizer

    @property
    def world(self) -> World:
        """This process's place."""
        return self.actor.world


@dataclass(frozen=True)
class Episode(Row):
    """One completion, its reward, and where it stands: group of the step, and place among the group's known rewards.

    `advantage` is unused: PPO has one a token.
    """

    reward: float = 0.0
    group: int = 0
    index: int = 0


@dataclass(frozen=True)
class Part:
    """A micro-batch. `batch.advantages_B` is [B, T] here; old values and returns are aligned to tokens as all else."""

    episodes: tuple[Episode, ...]
    batch: Batch
    rewards_BT: torch.Tensor
    values_BT: torch.Tensor
    after_B: torch.Tensor
    returns_BT: torch.Tensor


@dataclass(frozen=True)
class Lesson:
    """What one pair of updates (policy, critic) learns from: this rank's parts, and the size over all ranks."""

    parts: tuple[Part, ...]
    extent: Extent


def lessons_of(
    team: PPOTeam, collected: Collected, clock: Clock
) -> tuple[list[Lesson], list[list[float]], dict[str, float | None]]:
    """A step's lessons, each completion's mean advantage (as `Stepped.advantages` has it), and the critic's metrics.

    `num_mini_batches` runs of neighbouring groups make a lesson each. Every rank calls this.
    """
    settings, records = team.settings, collected.records
    masked, count = settings.mask_truncated_completions, settings.num_mini_batches
    lessons = []
    for part in range(count):
        places = [i for i in range(len(records)) if i * count // len(records) == part]
        if not any(records[i].has_trained(masked) for i in places):
            continue  # on every rank alike
        lengths = [length for i in places for length in records[i].trained_lengths(masked)]
        rows = [episode for i in places for episode in _episodes(collected, i, masked)]
        parts = tuple(_valued(team, episodes, clock) for episodes in split(rows, team.actor.token_budget))
        lessons.append(Lesson(parts, Extent.of_lengths(lengths, settings.max_completion_length)))
    with clock("adv"):
        lessons, metrics = _with_advantages(settings, lessons, team.world)
        means = _mean_advantages(collected, lessons, team.world)
    return lessons, means, metrics


def _episodes(collected: Collected, place: int, masked: bool) -> list[Episode]:
    group = collected.groups[place]
    if group is None:
        return []
    return [
        Episode(one.completion, 0.0, float(reward), place, index)
        for index, (one, reward) in enumerate(zip(group.known, group.rewards, strict=True))
        if is_trained(one.completion.finish, len(one.completion.token_ids), masked)
    ]


@torch.no_grad()
def _valued(team: PPOTeam, episodes: list[Row], clock: Clock) -> Part:
    """A micro-batch with what stays fixed while the models move: log-probabilities, rewards a token, values."""
    settings, actor = team.settings, team.actor
    rows = tuple(row for row in episodes if isinstance(row, Episode))
    batch = with_fixed_logps(actor, Batch.of(rows, device=actor.device), clock)
    with clock("values"), actor.autocast():
        values_BT, after_B = token_values(team.value_model, batch)
    scores_B = torch.tensor([row.reward for row in rows], dtype=torch.float32, device=actor.device)
    kl_BT = None
    if batch.ref_logp_BT is not None:
        kl_BT = KL[settings.kl_estimator](_rollout_logps(actor, batch, clock), batch.ref_logp_BT)
        kl_BT = torch.where(batch.mask_BT, kl_BT, 0.0)
    rewards_BT = token_rewards(scores_B, batch.mask_BT, kl_BT, settings.kl_coef)
    return Part(rows, batch, rewards_BT, values_BT, after_B, torch.zeros_like(values_BT))


def _rollout_logps(actor: Team, batch: Batch, clock: Clock) -> torch.Tensor:
    """Log-probabilities under the weights that the step began with."""
    if batch.old_logp_BT is not None:
        return batch.old_logp_BT
    if not actor.settings.bf16 and not bool(batch.sampler_logp_BT.isnan().any()):
        return batch.sampler_logp_BT
    with clock("old_log_prob"):
        return logprobs_of(actor, actor.policy, batch)[0]


# ---- over the whole step ----


def _with_advantages(
    settings: PPOSettings, lessons: list[Lesson], world: World
) -> tuple[list[Lesson], dict[str, float | None]]:
    parts = [part for lesson in lessons for part in lesson.parts]
    sums = {
        "score": _rank_moments(parts, lambda p: (p.batch.mask_BT.any(-1), _column(p, lambda e: e.reward))),
        "rewards": _rank_moments(parts, lambda p: (p.batch.mask_BT.any(-1), p.rewards_BT.sum(-1))),
        "token_rewards": _rank_moments(parts, lambda p: (p.batch.mask_BT, p.rewards_BT)),
    }
    whole = _over_ranks(sums, world)
    if settings.whiten_rewards:
        scale = whole["token_rewards"]
        lessons = _each(
            lessons,
            lambda p: replace(p, rewards_BT=whiten(p.rewards_BT, p.batch.mask_BT, scale, shift_mean=False)),
        )
    lessons = _each(lessons, lambda p: _estimated(settings, p))
    parts = [part for lesson in lessons for part in lesson.parts]
    sums = {
        "values": _rank_moments(parts, lambda p: (p.batch.mask_BT, p.values_BT)),
        "returns": _rank_moments(parts, lambda p: (p.batch.mask_BT, p.returns_BT)),
        "advantages": _rank_moments(parts, lambda p: (p.batch.mask_BT, p.batch.advantages_B)),
    }
    whole |= _over_ranks(sums, world)
    if settings.scale_rewards != "none":
        raw = whole["advantages"]
        lessons = _each(lessons, lambda p: _with(p, whiten(p.batch.advantages_B, p.batch.mask_BT, raw)))
    return lessons, _critic_metrics(whole)


def _estimated(settings: PPOSettings, part: Part) -> Part:
    cut_B = _column(part, lambda episode: float(episode.completion.finish == "length"))
    bootstrap_B = part.after_B * cut_B if settings.bootstrap_truncated else None
    advantages_BT, returns_BT = gae(
        part.rewards_BT, part.values_BT, part.batch.mask_BT, settings.gamma, settings.lam, bootstrap_B
    )
    return replace(_with(part, advantages_BT), returns_BT=returns_BT)


def _with(part: Part, advantages_BT: torch.Tensor) -> Part:
    return replace(part, batch=replace(part.batch, advantages_B=advantages_BT))


def _each(lessons: list[Lesson], change: Callable[[Part], Part]) -> list[Lesson]:
    return [replace(lesson, parts=tuple(map(change, lesson.parts))) for lesson in lessons]


def _column(part: Part, value_of: Callable[[Episode], float]) -> torch.Tensor:
    return torch.tensor([value_of(episode) for episode in part.episodes]).to(part.values_BT)


def _rank_moments(parts: list[Part], of: Callable[[Part], tuple[torch.Tensor, torch.Tensor]]) -> Moments:
    total = Moments()
    for part in parts:
        mask, values = of(part)
        total = total + Moments.of(values, mask)
    return total


def _over_ranks(sums: Mapping[str, Moments], world: World) -> dict[str, Moments]:
    whole = {name: Moments() for name in sums}
    for told in world.gather(dict(sums)):
        whole = {name: whole[name] + told[name] for name in whole}
    return whole


def _critic_metrics(whole: Mapping[str, Moments]) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {
        "value/explained_variance": explained_variance(whole["advantages"], whole["returns"])
    }
    for name in ("score", "rewards", "values", "returns", "advantages"):
        moments = whole[name]
        known = moments.count > 0
        metrics[f"critic/{name}/mean"] = moments.mean if known else None
        metrics[f"critic/{name}/min"] = moments.low if known else None
        metrics[f"critic/{name}/max"] = moments.high if known else None
    return metrics


def _mean_advantages(collected: Collected, lessons: list[Lesson], world: World) -> list[list[float]]:
    """One list a group, in the order of its known rewards: the mean over a completion's tokens, 0 where none is
    trained."""
    told: dict[tuple[int, int], float] = {}
    for lesson in lessons:
        for part in lesson.parts:
            mask_BT = part.batch.mask_BT
            means = ((part.batch.advantages_B * mask_BT).sum(-1) / mask_BT.sum(-1)).tolist()
            told |= {(episode.group, episode.index): m for episode, m in zip(part.episodes, means, strict=True)}
    known = {key: value for rank in world.gather(told) for key, value in rank.items()}
    return [
        [known.get((place, index), 0.0) for index in range(len(record.rewards))]
        for place, record in enumerate(collected.records)
    ]
