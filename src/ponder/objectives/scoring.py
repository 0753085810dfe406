"""Losses of models that score: Bradley-Terry on pairs, binary cross-entropy on labels, whole or step by step.

Shape letters: P pairs, N scores. Denominators come from outside, so that any split of a step gives the same gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def pair_loss(
    chosen_P: torch.Tensor, rejected_P: torch.Tensor, pairs: float, center_rewards_coefficient: float = 0.0
) -> torch.Tensor:
    """A part's share of the Bradley-Terry loss -log sigmoid(chosen - rejected) (arXiv 2203.02155, eq. 1), a scalar.

    pairs: those of the whole step. center_rewards_coefficient: weight of (chosen + rejected)^2, which keeps scores
    around 0, where the first term does not care (arXiv 2312.09244, eq. 2; TRL's name).
    """
    loss = -F.logsigmoid(chosen_P - rejected_P).sum() / pairs
    if center_rewards_coefficient:
        loss = loss + center_rewards_coefficient * (chosen_P + rejected_P).square().sum() / pairs
    return loss


def label_loss(logits_N: torch.Tensor, labels_N: torch.Tensor, count: float) -> torch.Tensor:
    """A part's share of the binary cross-entropy of sigmoid(logits) against labels in 0..1, a scalar.

    Outcomes (arXiv 2110.14168) and steps (arXiv 2312.08935, eq. 2; soft labels eq. 4) alike. count: labels of the whole
    step.
    """
    return F.binary_cross_entropy_with_logits(logits_N, labels_N.to(logits_N.dtype), reduction="sum") / count
