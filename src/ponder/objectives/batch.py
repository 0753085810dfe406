"""What an objective sees: the tensors of one micro-batch, and the size of the whole step that it is a part of.

Shape letters: B rows (one completion each), T positions. Index t speaks of token t: `mask_BT[b, t]` is 1 where token t
of row b is a trained completion token, and every log-probability at [b, t] is that token's own. Whether T spans prompt
and completion or the completion alone is the caller's choice: objectives only ever look where the mask is 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ponder.core.errors import PonderError


@dataclass(frozen=True)
class PolicyTerms:
    """One micro-batch, as tensors that carry no gradient.

    advantages_B: one advantage a row, [B]; or one a token, [B, T], where a critic gives them.
    mask_BT: 1 (or True) on trained completion tokens; 0 on prompt, padding, and, with
        `mask_truncated_completions`, on every token of a truncated answer.
    old_logp_BT: log-probabilities under the weights that the step started from. None: the step is on-policy and the
        current ones, detached, stand for them.
    ref_logp_BT: log-probabilities under the reference policy. Needed when `beta` is not 0.
    sampler_logp_BT: log-probabilities as the sampler reported them. Needed for the importance-sampling correction, and
        for the mismatch statistics. NaN where the sampler could not say.
    """

    advantages_B: torch.Tensor
    mask_BT: torch.Tensor
    old_logp_BT: torch.Tensor | None = None
    ref_logp_BT: torch.Tensor | None = None
    sampler_logp_BT: torch.Tensor | None = None


@dataclass(frozen=True)
class Extent:
    """How large a whole optimiser step is: all its micro-batches, on all ranks. These are the denominators of the loss.

    Extents add up (`a + b`), so ranks and micro-batches can sum theirs; the integers may as well be all-reduced.

    sequences: graded completions of the step. Counted in: groups whose rewards are all equal, which cost no backward
        pass, and truncated answers whose mask is zero. Left out: completions whose reward is unknown.
    tokens: trained completion tokens (mask 1) of those sequences. Counted in: the tokens of groups without signal.
        Left out: the tokens of masked truncated answers.
    max_completion_length: the setting of that name, the constant of `dr_grpo`. Not summed: equal in every part.
    """

    sequences: int
    tokens: int
    max_completion_length: int

    def __add__(self, other: Extent) -> Extent:
        if self.max_completion_length != other.max_completion_length:
            raise PonderError(
                f"two parts of one step disagree on max_completion_length: {self.max_completion_length} and "
                f"{other.max_completion_length}; every rank must run with the same settings"
            )
        return Extent(self.sequences + other.sequences, self.tokens + other.tokens, self.max_completion_length)

    @classmethod
    def of(cls, mask_BT: torch.Tensor, max_completion_length: int) -> Extent:
        """The extent of a batch that is already tensors: every row counts as a sequence."""
        return cls(mask_BT.shape[0], int((mask_BT != 0).sum()), max_completion_length)

    @classmethod
    def of_lengths(cls, trained_tokens: Iterable[int], max_completion_length: int) -> Extent:
        """The extent from one number a sequence: its trained tokens, 0 for a masked truncated answer."""
        lengths = list(trained_tokens)
        return cls(len(lengths), sum(lengths), max_completion_length)
