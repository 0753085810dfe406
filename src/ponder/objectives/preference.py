"""Losses on pairs of completions, one preferred: DPO, IPO, APO-zero, APO-down. Tensors in, tensors out.

Shape letters: B pairs. A log-probability here is a whole completion's: the sum over its tokens, in nats. All losses see
the log-ratios to the reference, log p(y|x) - log p_ref(y|x), and nothing else of the two models. A loss is this
micro-batch's *share* of the whole step's: the number of pairs of the step comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from ponder.core.errors import PonderError

LossType = Literal["sigmoid", "ipo", "apo_zero", "apo_down"]

PairLoss = Callable[[torch.Tensor, torch.Tensor, float, float], torch.Tensor]
"""(log-ratio of the chosen_B, of the rejected_B, beta, label_smoothing) -> loss_B"""


def sigmoid(chosen_B: torch.Tensor, rejected_B: torch.Tensor, beta: float, label_smoothing: float) -> torch.Tensor:
    """-log sigmoid(beta (chosen - rejected)): DPO (arXiv 2305.18290, equation 7).

    label_smoothing: the share of pairs taken to be labelled the wrong way round (conservative DPO, Mitchell 2023):
    -(1 - s) log sigmoid(h) - s log sigmoid(-h).
    """
    h_B = beta * (chosen_B - rejected_B)
    return -(1 - label_smoothing) * F.logsigmoid(h_B) - label_smoothing * F.logsigmoid(-h_B)


def ipo(chosen_B: torch.Tensor, rejected_B: torch.Tensor, beta: float, label_smoothing: float) -> torch.Tensor:
    """(chosen - rejected - 1 / (2 beta))²: IPO (arXiv 2310.12036, equation 17, whose tau is beta).

    The log-ratios are means over a completion's tokens (`PER_TOKEN`), as the paper's authors had them and TRL has.
    """
    return (chosen_B - rejected_B - 1 / (2 * beta)) ** 2


def apo_zero(chosen_B: torch.Tensor, rejected_B: torch.Tensor, beta: float, label_smoothing: float) -> torch.Tensor:
    """1 - sigmoid(beta chosen) + sigmoid(beta rejected): APO-zero (arXiv 2408.06266, equation 7, plus 1).

    The chosen becomes likelier and the rejected less so, each by itself: for answers better than the model's own.
    """
    return torch.sigmoid(-beta * chosen_B) + torch.sigmoid(beta * rejected_B)


def apo_down(chosen_B: torch.Tensor, rejected_B: torch.Tensor, beta: float, label_smoothing: float) -> torch.Tensor:
    """sigmoid(beta chosen) + 1 - sigmoid(beta (chosen - rejected)): APO-down (arXiv 2408.06266, equation 8, plus 1).

    Both become less likely, the rejected more so: for chosen answers that are worse than the model's own.
    """
    return torch.sigmoid(beta * chosen_B) + torch.sigmoid(-beta * (chosen_B - rejected_B))


LOSSES: dict[str, PairLoss] = {"sigmoid": sigmoid, "ipo": ipo, "apo_zero": apo_zero, "apo_down": apo_down}

PER_TOKEN = frozenset({"ipo"})
"""The losses whose log-ratios are divided by the completion's length."""

SMOOTHED = frozenset({"sigmoid"})
"""The losses that know label smoothing."""


@dataclass(frozen=True)
class PairTerms:
    """One micro-batch of pairs.

    chosen_logp_B, rejected_logp_B: log-probabilities of the completions under the model; they carry the gradient.
    ref_chosen_logp_B, ref_rejected_logp_B: under the reference. chosen_tokens_B, rejected_tokens_B: tokens that each
    sum runs over; at least 1.
    """

    chosen_logp_B: torch.Tensor
    rejected_logp_B: torch.Tensor
    ref_chosen_logp_B: torch.Tensor
    ref_rejected_logp_B: torch.Tensor
    chosen_tokens_B: torch.Tensor
    rejected_tokens_B: torch.Tensor


def pair_losses(terms: PairTerms, loss_type: str, beta: float, label_smoothing: float = 0.0) -> torch.Tensor:
    """loss_B, one a pair.

    loss_type: a key of `LOSSES`. beta: how dear it is to leave the reference; above 0. label_smoothing: in [0, 0.5).
    Raises PonderError for what is not of these, and for smoothing with a loss that knows none.
    """
    if loss_type not in LOSSES:
        raise PonderError(f"loss_type is {loss_type!r}: should be one of {', '.join(LOSSES)}")
    if not beta > 0:
        raise PonderError(f"beta is {beta}; a preference loss needs it above 0")
    if not 0 <= label_smoothing < 0.5:
        raise PonderError(f"label_smoothing is {label_smoothing}; it is a share of wrong labels, at least 0, below 0.5")
    if label_smoothing and loss_type not in SMOOTHED:
        raise PonderError(f"label_smoothing is {label_smoothing}, but {loss_type} knows none: set it to 0")
    chosen_B = terms.chosen_logp_B - terms.ref_chosen_logp_B
    rejected_B = terms.rejected_logp_B - terms.ref_rejected_logp_B
    if loss_type in PER_TOKEN:
        chosen_B = chosen_B / terms.chosen_tokens_B
        rejected_B = rejected_B / terms.rejected_tokens_B
    return LOSSES[loss_type](chosen_B, rejected_B, beta, label_smoothing)


def preference_loss(
    terms: PairTerms, loss_type: str, beta: float, label_smoothing: float, pairs: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """This micro-batch's share of the mean loss over the step's `pairs`, and statistics that add up.

    The statistics are sums over pairs; `summarise_pairs` turns the sums of a whole step into what is logged. The
    rewards are implicit ones: beta times the log-ratio (arXiv 2305.18290, section 5), for every loss.
    """
    loss = pair_losses(terms, loss_type, beta, label_smoothing).sum() / max(pairs, 1)
    with torch.no_grad():
        chosen_B = beta * (terms.chosen_logp_B - terms.ref_chosen_logp_B)
        rejected_B = beta * (terms.rejected_logp_B - terms.ref_rejected_logp_B)
        stats = {
            "loss": loss.detach(),
            "rewards/chosen": chosen_B.sum(),
            "rewards/rejected": rejected_B.sum(),
            "rewards/margins": (chosen_B - rejected_B).sum(),
            "rewards/accuracies": (chosen_B > rejected_B).sum(),
            "logps/chosen": terms.chosen_logp_B.sum(),
            "logps/rejected": terms.rejected_logp_B.sum(),
        }
    return loss, stats


def summarise_pairs(stats: Mapping[str, float], pairs: int) -> dict[str, float]:
    """The step's metrics from its summed statistics: means over its `pairs`; the loss is one already."""
    return {name: value if name == "loss" else value / max(pairs, 1) for name, value in stats.items()}
