"""The policy loss: importance ratio, surrogate, KL to a reference, aggregation. Tensors in, tensors out.

Shape letters: B rows, T positions; index t speaks of token t. A name without letters is a scalar.

Every function works under two rules. What lies outside the mask never matters, not even if it is NaN. And a loss is this
micro-batch's *share* of the whole step's: denominators come from `Extent`, so shares, and the gradients of shares, add up
to the same step however it is split into micro-batches or over ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from ponder.core.errors import PonderError
from ponder.objectives.batch import Extent, PolicyTerms

if TYPE_CHECKING:
    from ponder.objectives.family import PolicySettings, Variant

Level = Literal["token", "sequence", "trajectory"]
"""What an importance ratio speaks of: a token; a sequence, by the mean of its log-ratios (GSPO); a sequence, by their sum
(the ratio of the two trajectories' probabilities, RLOO)."""

# exp of this is still finite in fp32. Only a fault gives ratios like that, but an infinite one would make NaN of gradients
# that clipping sets to 0.
LOG_RATIO_LIMIT = 80.0


@dataclass(frozen=True)
class Clip:
    """The range of the ratio: [low, high], and `delta`, the two-sided variant's bound where the advantage is negative."""

    low: float
    high: float
    delta: float | None = None


Surrogate = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Clip], torch.Tensor]
"""(logp_BT, ratio_BT, advantages_BT, clip) -> loss_BT"""

Aggregate = Callable[[torch.Tensor, torch.Tensor, Extent], torch.Tensor]
"""(loss_BT, mask_BT, extent) -> this micro-batch's share of the step's loss"""


# ---- surrogates ----


def clipped(logp_BT: torch.Tensor, ratio_BT: torch.Tensor, advantages_BT: torch.Tensor, clip: Clip) -> torch.Tensor:
    """-min(r A, clip(r) A): PPO-clip (arXiv 1707.06347, equation 7), with clip-higher (DAPO, equation 8) by `clip.high`.

    `clip.delta` bounds r from above where A < 0, where PPO leaves it unbounded: dual-clip PPO (arXiv 1912.09729, equation
    5) and INTELLECT-2's two-sided clipping (arXiv 2505.07291).
    """
    bounded_BT = ratio_BT if clip.delta is None else ratio_BT.clamp(max=clip.delta)
    return -torch.minimum(bounded_BT * advantages_BT, ratio_BT.clamp(clip.low, clip.high) * advantages_BT)


def weighted_logp(logp_BT: torch.Tensor, ratio_BT: torch.Tensor, advantages_BT: torch.Tensor, clip: Clip) -> torch.Tensor:
    """-sg(min(r, high)) A log p: CISPO (MiniMax-M1, arXiv 2506.13585, equation 4); without a bound, REINFORCE.

    The weight is clipped, not the update: every token keeps a gradient. On-policy the weight is 1 and this is
    -A log p, the textbook's score function.
    """
    return -ratio_BT.detach().clamp(max=clip.high) * advantages_BT * logp_BT


# ---- KL to a reference ----


def kl_k1(logp_BT: torch.Tensor, ref_logp_BT: torch.Tensor) -> torch.Tensor:
    """log p - log ref. Its mean over samples of p is KL(p || ref), unbiased; a value can be negative.

    Its own gradient, that of log p, has mean zero and is *not* an estimator of the KL's gradient. So the gradient here
    is (log p - log ref) times that of log p, which is what k1 gives when it is subtracted from the reward: unbiased
    for the gradient of KL(p || ref).
    """
    k1_BT = logp_BT - ref_logp_BT
    k2_BT = 0.5 * k1_BT.square()
    return k1_BT.detach() + (k2_BT - k2_BT.detach())


def kl_k2(logp_BT: torch.Tensor, ref_logp_BT: torch.Tensor) -> torch.Tensor:
    """(log p - log ref)^2 / 2. Biased in value, but its gradient is unbiased for that of KL(p || ref)."""
    return 0.5 * (logp_BT - ref_logp_BT).square()


def kl_k3(logp_BT: torch.Tensor, ref_logp_BT: torch.Tensor) -> torch.Tensor:
    """ref/p - log(ref/p) - 1: GRPO's (arXiv 2402.03300, equation 4). Unbiased for KL(p || ref) in value, never negative.

    Its gradient, (1 - ref/p) times that of log p, is unbiased for the gradient of the *other* direction, KL(ref || p);
    the two agree to first order near the reference. `use_bias_correction_kl` makes it that of KL(p || ref).
    """
    log_BT = (ref_logp_BT - logp_BT).clamp(max=LOG_RATIO_LIMIT)
    # expm1(x) - x is x^2 / 2 at small x, where exp(x) - x - 1 rounds to something that can be negative.
    return (torch.expm1(log_BT) - log_BT).clamp(min=0.0)


KL: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


def kl_penalty(
    logp_BT: torch.Tensor, ref_logp_BT: torch.Tensor, ratio_BT: torch.Tensor, estimator: str, corrected: bool
) -> torch.Tensor:
    """The KL estimate a token, [B, T]; `corrected` weighs it by the token's importance ratio.

    Samples come from the old policy: weighing by p/old makes the estimate one under the current. For k3 the weight keeps
    its gradient, which also turns k3's into the one of KL(p || ref) (DeepSeek-V3.2, arXiv 2512.02556, section 3.1); so
    corrected, all three have the same gradient, ratio (log p - log ref) grad log p, on-policy and off.
    """
    kl_BT = KL[estimator](logp_BT, ref_logp_BT)
    if not corrected:
        return kl_BT
    return kl_BT * (ratio_BT if estimator == "k3" else ratio_BT.detach())


# ---- aggregation ----


def sequence_mean(loss_BT: torch.Tensor, mask_BT: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Mean over each sequence's tokens, then over the step's sequences (GRPO). A fully masked row adds 0 / sequences."""
    lengths_B = mask_BT.sum(-1).clamp(min=1)
    return ((loss_BT * mask_BT).sum(-1) / lengths_B).sum() / max(extent.sequences, 1)


def sequence_sum(loss_BT: torch.Tensor, mask_BT: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Sum over each sequence's tokens, mean over the step's sequences: the gradient of an expected return, unscaled."""
    return (loss_BT * mask_BT).sum() / max(extent.sequences, 1)


def token_mean(loss_BT: torch.Tensor, mask_BT: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Mean over the step's trained tokens (DAPO, equation 8): long answers weigh more than short ones."""
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


@torch.no_grad()
def mismatch_kl(
    trainer_logp_BT: torch.Tensor, sampler_logp_BT: torch.Tensor, mask_BT: torch.Tensor
) -> dict[str, torch.Tensor]:
    """How far sampler and trainer disagree on the sampled tokens: k3 estimates of KL(sampler || trainer), in nats.

    Returns the sum, the number of tokens (those that the sampler scored) and the maximum. On-policy with the policy's
    own tensors it is 0 up to rounding; anything else means that stale or differently computed probabilities are trained on.
    """
    known_BT = (mask_BT != 0) & ~sampler_logp_BT.isnan()
    sampler_BT = torch.where(known_BT, sampler_logp_BT, 0.0)
    k3_BT = kl_k3(sampler_BT, torch.where(known_BT, trainer_logp_BT, 0.0))
    largest = k3_BT.max() if k3_BT.numel() else k3_BT.new_zeros(())
    return {"mismatch_kl": k3_BT.sum(), "mismatch_tokens": known_BT.sum().to(k3_BT), "mismatch_kl_max": largest}


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
        raise PonderError(f"beta is {settings.beta} but no reference log-probabilities were given; give them or set beta=0")

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
