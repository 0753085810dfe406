"""What PPO adds to the policy loss: rewards a token, generalised advantage estimation, and the critic's loss.

Shape letters: B rows, T positions; index t speaks of token t. values_BT[b, t] is V(s_t), the worth of row b *before*
token t is chosen: what the critic reads off the token before it. Tensors in, tensors out; what lies outside the mask
never matters, not even if it is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ponder.objectives.batch import Extent
from ponder.objectives.policy import token_mean

WHITEN_EPSILON = 1e-8
"""Added to a variance before its root, as TRL and verl do."""


def token_rewards(
    scores_B: torch.Tensor, mask_BT: torch.Tensor, kl_BT: torch.Tensor | None = None, kl_coef: float = 0.0
) -> torch.Tensor:
    """The reward of every token, [B, T]: -kl_coef x KL, and at a row's last trained token its score besides.

    kl_BT: an estimate a token of the divergence from the reference (arXiv 2203.02155, equation 2; `objectives.kl`).
    A row without a trained token has no reward.
    """
    inside_BT = mask_BT != 0
    rewards_BT = torch.zeros_like(inside_BT, dtype=scores_B.dtype)
    if kl_BT is not None:
        rewards_BT = torch.where(inside_BT, -kl_coef * kl_BT, 0.0)
    after_BT = inside_BT.flip(-1).cumsum(-1).flip(-1)  # trained tokens from here on
    last_BT = inside_BT & (after_BT == 1)
    return rewards_BT + torch.where(last_BT, scores_B[:, None], 0.0)


def gae(
    rewards_BT: torch.Tensor,
    values_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    gamma: float,
    lam: float,
    bootstrap_B: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns, [B, T], without gradient (arXiv 1506.02438, equations 11 and 16).

    delta_t = r_t + gamma V(s_t+1) - V(s_t);  A_t = sum over l of (gamma lam)^l delta_t+l;  return_t = A_t + V(s_t),
    the critic's target. "t+1" is the next *trained* token: what the mask leaves out takes no time, so it neither
    discounts nor decays. Behind the last one stands `bootstrap_B`: V of the state where a completion was cut off, or
    0 (and 0 for all where not given), for the text is over.
    """
    inside_BT = mask_BT != 0
    rewards_BT = torch.where(inside_BT, rewards_BT.detach(), 0.0)
    values_BT = torch.where(inside_BT, values_BT.detach(), 0.0)
    next_value_B = torch.zeros_like(values_BT[:, 0]) if bootstrap_B is None else bootstrap_B.detach().to(values_BT)
    advantage_B = torch.zeros_like(next_value_B)
    advantages_BT = torch.zeros_like(values_BT)
    for t in reversed(range(values_BT.shape[1])):
        inside_B = inside_BT[:, t]
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        advantage_B = torch.where(inside_B, delta_B + gamma * lam * advantage_B, advantage_B)
        next_value_B = torch.where(inside_B, values_BT[:, t], next_value_B)
        advantages_BT[:, t] = torch.where(inside_B, advantage_B, 0.0)
    return advantages_BT, advantages_BT + values_BT


# ---- whitening over a whole step ----


@dataclass(frozen=True)
class Moments:
    """Count, sum, sum of squares and range of some values. They add up, so micro-batches and ranks can sum theirs."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, values: torch.Tensor, mask: torch.Tensor) -> Moments:
        """Of the values where the mask is not 0, summed in double precision."""
        kept = values.detach()[mask != 0].double()
        if not kept.numel():
            return cls()
        return cls(kept.numel(), float(kept.sum()), float((kept * kept).sum()), float(kept.min()), float(kept.max()))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def mean(self) -> float:
        """0 of nothing."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """With Bessel's correction; 0 of fewer than two."""
        if self.count < 2:
            return 0.0
        return max(0.0, self.squares - self.count * self.mean**2) / (self.count - 1)


def whiten(values_BT: torch.Tensor, mask_BT: torch.Tensor, whole: Moments, shift_mean: bool = True) -> torch.Tensor:
    """Values of mean 0 (or their own, without `shift_mean`) and variance 1 over the *whole step*; 0 outside the mask.

    whole: the moments of the step's values, over all micro-batches and ranks: those of one micro-batch would make an
    answer's advantage depend on its neighbours in memory.
    """
    white_BT = (values_BT - whole.mean) * (whole.variance + WHITEN_EPSILON) ** -0.5
    return torch.where(mask_BT != 0, white_BT if shift_mean else white_BT + whole.mean, 0.0)


def explained_variance(errors: Moments, returns: Moments) -> float | None:
    """1 - Var(return - value) / Var(return): 1 for a perfect critic, 0 for a constant, less for a harmful one.

    errors: of returns less values, which are the advantages before they are whitened. None where all returns are equal.
    """
    if returns.variance <= 1e-12:
        return None
    return 1.0 - errors.variance / returns.variance


# ---- the critic's loss ----


def value_loss(
    values_BT: torch.Tensor,
    old_values_BT: torch.Tensor,
    returns_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    extent: Extent,
    cliprange_value: float = 0.0,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """This micro-batch's share of the step's value loss, and statistics that add up.

    Half the mean over the step's tokens of max((v - return)^2, (clip(v) - return)^2), where clip keeps v within
    `cliprange_value` of the value that the rollout was judged by, `old_values_BT`. 0 never clips: half the mean
    squared error. As in TRL and verl; the clip is that of the first PPO implementations, not of the paper.
    """
    inside_BT = mask_BT != 0
    mask = inside_BT.to(values_BT.dtype)
    values_BT = torch.where(inside_BT, values_BT, 0.0)
    old_BT = torch.where(inside_BT, old_values_BT.detach(), 0.0)
    returns_BT = torch.where(inside_BT, returns_BT.detach(), 0.0)
    error_BT = (values_BT - returns_BT).square()
    clipped_BT = torch.zeros_like(inside_BT)
    if cliprange_value:
        near_BT = old_BT + (values_BT - old_BT).clamp(-cliprange_value, cliprange_value)
        near_error_BT = (near_BT - returns_BT).square()
        clipped_BT = near_error_BT > error_BT
        error_BT = torch.maximum(error_BT, near_error_BT)
    loss = 0.5 * token_mean(error_BT, mask, extent)
    return loss, {"value_loss": loss.detach(), "value_clipped": (clipped_BT * mask).sum(), "value_tokens": mask.sum()}
