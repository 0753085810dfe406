"""Three estimators of a Kullback-Leibler divergence from samples, and the gradients that they give.

Shape letters: B rows, T positions; index t speaks of token t. Names after Schulman, "Approximating KL divergence"
(2020): tokens are sampled from p, and each function gives an estimate a token of KL(p || ref), in nats.

"Its gradient" is that of the divergence between the next-token distributions at the token's own prefix. What a token
does to the prefixes after it is left out, as in GRPO.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# exp of this is still finite in fp32. Only a fault gives ratios like that, but an infinite one would make NaN of
# gradients that clipping sets to 0.
LOG_RATIO_LIMIT = 80.0


def kl_k1(logp_BT: torch.Tensor, ref_logp_BT: torch.Tensor) -> torch.Tensor:
    """log p - log ref. Its mean over samples of p is KL(p || ref), unbiased; a value can be negative.

    Its own gradient, that of log p, has mean zero and is *not* an estimator of the KL's gradient. So the gradient here
    is (log p - log ref) times that of log p, which is what k1 gives when it is subtracted from the token's
    reward: unbiased for the gradient of KL(p || ref).
    """
    k1_BT = logp_BT - ref_logp_BT
    k2_BT = 0.5 * k1_BT.square()
    return k1_BT.detach() + (k2_BT - k2_BT.detach())


def kl_k2(logp_BT: torch.Tensor, ref_logp_BT: torch.Tensor) -> torch.Tensor:
    """(log p - log ref)^2 / 2. Biased in value, but its gradient is unbiased for that of KL(p || ref)."""
    return 0.5 * (logp_BT - ref_logp_BT).square()


def kl_k3(logp_BT: torch.Tensor, ref_logp_BT: torch.Tensor) -> torch.Tensor:
    """ref/p - log(ref/p) - 1: GRPO's (arXiv 2402.03300, equation 4). Unbiased for KL(p || ref), never negative.

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

    Samples come from the old policy: weighing by p/old makes the estimate one under the current. For k3 the weight
    keeps its gradient, which also turns k3's into the one of KL(p || ref) (DeepSeek-V3.2, arXiv 2512.02556, section
    3.1); so corrected, all three have the same gradient, ratio (log p - log ref) grad log p, on-policy and off.
    """
    kl_BT = KL[estimator](logp_BT, ref_logp_BT)
    if not corrected:
        return kl_BT
    return kl_BT * (ratio_BT if estimator == "k3" else ratio_BT.detach())


@torch.no_grad()
def mismatch_kl(
    trainer_logp_BT: torch.Tensor, sampler_logp_BT: torch.Tensor, mask_BT: torch.Tensor
) -> dict[str, torch.Tensor]:
    """How far sampler and trainer disagree on the sampled tokens: k3 estimates of KL(sampler || trainer), in nats.

    Returns the sum, the number of tokens (those that the sampler scored) and the maximum. On-policy with the policy's
    own tensors it is 0 up to rounding; anything else means that other probabilities are trained on than were sampled.
    """
    known_BT = (mask_BT != 0) & ~sampler_logp_BT.isnan()
    sampler_BT = torch.where(known_BT, sampler_logp_BT, 0.0)
    k3_BT = kl_k3(sampler_BT, torch.where(known_BT, trainer_logp_BT, 0.0))
    largest = k3_BT.max() if k3_BT.numel() else k3_BT.new_zeros(())
    return {"mismatch_kl": k3_BT.sum(), "mismatch_tokens": known_BT.sum().to(k3_BT), "mismatch_kl_max": largest}
