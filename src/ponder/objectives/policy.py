"""The policy loss: importance ratio, surrogate, aggregation (and KL, from `kl`). Tensors in, tensors out.

Shape letters: B rows, T positions; index t speaks of token t. A name without letters is a scalar.

Every function works under two rules. What lies outside the mask never matters, not even if it is NaN. And a loss is
this micro-batch's *share* of the whole step's: denominators come from `Extent`, so shares, and the gradients of shares,
add up to the same step however it is split into micro-batches or over ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from ponder.core.errors import PonderError
from ponder.objectives.batch import Extent, PolicyTerms
from ponder.objectives.kl import LOG_RATIO_LIMIT, kl_penalty, mismatch_kl

if TYPE_CHECKING:
    from ponder.objectives.family import PolicySettings, Variant

Level = Literal["token", "sequence", "trajectory"]
"""What an importance ratio speaks of: a token; a sequence, by the mean of its log-ratios (GSPO); a sequence, by their
sum (the ratio of the two trajectories' probabilities, RLOO)."""


@dataclass(frozen=True)
class Clip:
    """The ratio's range: [low, high], and `delta`, the two-sided variant's bound where the advantage is negative."""

    low: float
    high: float
    delta: float | None = None


Surrogate = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Clip], torch.Tensor]
"""(logp_BT, ratio_BT, advantages_BT, clip) -> loss_BT"""

Aggregate = Callable[[torch.Tensor, torch.Tensor, Extent], torch.Tensor]
"""(loss_BT, mask_BT, extent) -> this micro-batch's share of the step's loss"""


# ---- surrogates ----


def clipped(logp_BT: torch.Tensor, ratio_BT: torch.Tensor, advantages_BT: torch.Tensor, clip: Clip) -> torch.Tensor:
    """-min(r A, clip(r) A): PPO-clip (arXiv 1707.06347, equation 7); an own `clip.high` is clip-higher (DAPO, eq. 8).

    `clip.delta` bounds r from above where A < 0, where PPO leaves it unbounded: dual-clip PPO (arXiv 1912.09729) and
    INTELLECT-2's two-sided clipping (arXiv 2505.07291).
    """
    bounded_BT = ratio_BT if clip.delta is None else ratio_BT.clamp(max=clip.delta)
    return -torch.minimum(bounded_BT * advantages_BT, ratio_BT.clamp(clip.low, clip.high) * advantages_BT)


def weighted_logp(
    logp_BT: torch.Tensor, ratio_BT: torch.Tensor, advantages_BT: torch.Tensor, clip: Clip
) -> torch.Tensor:
    """-sg(min(r, high)) A log p: CISPO (MiniMax-M1, arXiv 2506.13585, section 3.1); without a bound, REINFORCE.

    The weight is clipped, not the update: every token keeps a gradient. On-policy the weight is 1 and this is
    -A log p, the textbook's score function.
    """
    return -ratio_BT.detach().clamp(max=clip.high) * advantages_BT * logp_BT


# ---- aggregation ----


def sequence_mean(loss_BT: torch.Tensor, mask_BT: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Mean over each sequence's tokens, then over the step's sequences (GRPO). A fully masked row adds 0."""
    lengths_B = mask_BT.sum(-1).clamp(min=1)
    return ((loss_BT * mask_BT).sum(-1) / lengths_B).sum() / max(extent.sequences, 1)


def sequence_sum(loss_BT: torch.Tensor, mask_BT: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Sum over each sequence's tokens, mean over the step's sequences: the gradient of an expected return, unscaled."""
    return (loss_BT * mask_BT).sum() / max(extent.sequences, 1)


def token_mean(loss_BT: torch.Tensor, mask_BT: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Mean over the step's trained tokens (DAPO, arXiv 2503.14476, equation 8): every token weighs the same."""
    return (loss_BT * mask_BT).sum() / max(extent.tokens, 1)


def constant_length(loss_BT: torch.Tensor, mask_BT: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Sum over tokens by sequences x max_completion_length (Dr. GRPO, arXiv 2503.20783): free of length bias."""
    return (loss_BT * mask_BT).sum() / max(extent.sequences * extent.max_completion_length, 1)


# ---- off-policy samples ----


def sampler_weights(
    old_logp_BT: torch.Tensor, sampler_logp_BT: torch.Tensor, mask_BT: torch.Tensor, mode: str, cap: float
) -> torch.Tensor:
    """Weights that correct for samples drawn from another distribution than the trainer's own, without gradient.

    exp(old - sampler), a token or (`sequence_*`) a sequence, broadcast to [B, T]. `*_truncate`: at most `cap`
    (truncated importance sampling, TIS); `*_mask`: 0 above `cap`. A token whose sampler value is NaN counts as 1.
    """
    difference_BT = torch.where(mask_BT, old_logp_BT.detach() - sampler_logp_BT, 0.0).nan_to_num(nan=0.0)
    level, what = mode.split("_")
    if level == "sequence":
        difference_BT = difference_BT.sum(-1, keepdim=True).expand_as(difference_BT)
    weight_BT = difference_BT.clamp(max=LOG_RATIO_LIMIT).exp()
    if what == "truncate":
        return weight_BT.clamp(max=cap)
    return torch.where(weight_BT > cap, 0.0, weight_BT)


# ---- the loss ----


def policy_loss(
    logp_BT: torch.Tensor, terms: PolicyTerms, variant: Variant, extent: Extent, settings: PolicySettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """This micro-batch's share of the step's policy loss, and statistics that add up.

    logp_BT: the current policy's log-probability of each token, with its gradient.
    variant: a row of `FAMILY`. extent: the size of the whole step.

    Returns (loss, stats): the loss is a scalar whose value and gradient, summed over micro-batches and ranks, are the
    step's. `stats` holds detached sums: add them with `merge_stats`, read them with `summarise`.
    Raises PonderError for settings that the row cannot honour, or for missing reference or sampler log-probabilities.
    """
    clip, level = variant.clip(settings), variant.level_of(settings)
    inside_BT = terms.mask_BT != 0
    logp_BT = _inside(logp_BT, inside_BT)
    mask_BT = inside_BT.to(logp_BT.dtype)
    advantages = terms.advantages_B.to(logp_BT.dtype)
    advantages_BT = (advantages if advantages.dim() == 2 else advantages[:, None]).expand_as(logp_BT)
    advantages_BT = torch.where(inside_BT, advantages_BT, 0.0)
    old_BT = logp_BT.detach() if terms.old_logp_BT is None else _inside(terms.old_logp_BT.detach(), inside_BT)

    token_ratio_BT = _exp(logp_BT - old_BT)
    ratio_BT, weight_BT = _at_level(logp_BT - old_BT, mask_BT, level)
    loss_BT = variant.surrogate(logp_BT, ratio_BT, advantages_BT, clip) * weight_BT
    stats = _clip_stats(ratio_BT.detach(), advantages_BT, mask_BT, clip, level)

    if terms.sampler_logp_BT is not None:
        sampler_BT = torch.where(inside_BT, terms.sampler_logp_BT.to(logp_BT.dtype), 0.0)
        stats |= mismatch_kl(old_BT, sampler_BT, mask_BT)
    if settings.importance_sampling_correction != "none":
        if terms.sampler_logp_BT is None:
            raise PonderError(
                f"importance_sampling_correction={settings.importance_sampling_correction} needs the sampler's "
                "log-probabilities, and this sampler returned none; use one that does, or set it to none"
            )
        mode, cap = settings.importance_sampling_correction, settings.importance_sampling_clip_max
        correction_BT = sampler_weights(old_BT, sampler_BT, inside_BT, mode, cap)
        loss_BT = loss_BT * correction_BT
        stats["sampler_weight"] = (correction_BT * mask_BT).sum()
    if terms.ref_logp_BT is not None:
        ref_BT = _inside(terms.ref_logp_BT.detach(), inside_BT)
        kl_BT = kl_penalty(logp_BT, ref_BT, token_ratio_BT, settings.kl_estimator, settings.use_bias_correction_kl)
        stats["kl"] = (kl_BT.detach() * mask_BT).sum()
        if settings.beta:
            loss_BT = loss_BT + settings.beta * kl_BT
    elif settings.beta:
        raise PonderError(f"beta is {settings.beta}, and there are no reference log-probabilities; set beta to 0")

    loss = variant.aggregate(loss_BT, mask_BT, extent)
    stats |= {"loss": loss.detach(), "tokens": mask_BT.sum(), "sequences": mask_BT.new_tensor(float(mask_BT.shape[0]))}
    return loss, stats


def _inside(values_BT: torch.Tensor, inside_BT: torch.Tensor) -> torch.Tensor:
    """Values where the mask is 1 and 0 elsewhere, in at least fp32. `where` first: NaN times a mask of 0 is NaN."""
    return torch.where(inside_BT, values_BT if values_BT.dtype == torch.float64 else values_BT.float(), 0.0)


def _exp(log_BT: torch.Tensor) -> torch.Tensor:
    return log_BT.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()


def _at_level(
    log_ratio_BT: torch.Tensor, mask_BT: torch.Tensor, level: Level
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """The ratio at its level, broadcast to [B, T], and the weight of each token's loss.

    A trajectory has one loss, not one a token: each of its tokens carries an equal part, so that summing over tokens
    gives the sequence's loss once, and a KL per token keeps its own scale.
    """
    if level == "token":
        return _exp(log_ratio_BT), 1.0
    lengths_B1 = mask_BT.sum(-1, keepdim=True).clamp(min=1)
    total_B1 = (log_ratio_BT * mask_BT).sum(-1, keepdim=True)
    if level == "sequence":
        return _exp(total_B1 / lengths_B1).expand_as(log_ratio_BT), 1.0
    return _exp(total_B1).expand_as(log_ratio_BT), 1.0 / lengths_B1


# ---- statistics ----


def _clip_stats(
    ratio_BT: torch.Tensor, advantages_BT: torch.Tensor, mask_BT: torch.Tensor, clip: Clip, level: Level
) -> dict[str, torch.Tensor]:
    # One unit is what has a ratio of its own: a token, or else a sequence, whose tokens share one between them.
    unit_BT = mask_BT if level == "token" else mask_BT / mask_BT.sum(-1, keepdim=True).clamp(min=1)
    low_BT = (ratio_BT < clip.low) & (advantages_BT < 0)
    high_BT = (ratio_BT > clip.high) & (advantages_BT > 0)
    return {
        "ratio": (ratio_BT * unit_BT).sum(),
        "clip_low": (low_BT * unit_BT).sum(),
        "clip_high": (high_BT * unit_BT).sum(),
        "clip_region": ((low_BT | high_BT) * unit_BT).sum(),
        "units": unit_BT.sum(),
    }


def merge_stats(*parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Sum the statistics of micro-batches or ranks, key by key; names that end in `_max` take the maximum."""
    merged: dict[str, torch.Tensor] = {}
    for part in parts:
        for name, value in part.items():
            if name not in merged:
                merged[name] = value
            elif name.endswith("_max"):
                merged[name] = torch.maximum(merged[name], value)
            else:
                merged[name] = merged[name] + value
    return merged


def summarise(stats: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Merged sums as the metrics that are logged: means over tokens (or sequences, where those have the ratio)."""
    sums = {name: float(value) for name, value in stats.items()}
    units, tokens = max(sums["units"], 1.0), max(sums["tokens"], 1.0)
    metrics = {
        "loss": sums["loss"],
        "ratio": sums["ratio"] / units,
        "clip_ratio/low_mean": sums["clip_low"] / units,
        "clip_ratio/high_mean": sums["clip_high"] / units,
        "clip_ratio/region_mean": sums["clip_region"] / units,
    }
    if "kl" in sums:
        metrics["kl"] = sums["kl"] / tokens
    if "sampler_weight" in sums:
        metrics["sampler_weight"] = sums["sampler_weight"] / tokens
    if "mismatch_kl" in sums:
        metrics["mismatch_kl/mean"] = sums["mismatch_kl"] / max(sums["mismatch_tokens"], 1.0)
        metrics["mismatch_kl/max"] = sums["mismatch_kl_max"]
    return metrics
