"""Log-probabilities and an entropy that carries a gradient, for the entropy bonus.

`ponder.models.logprobs.token_logprobs` computes in chunks that keep no entropy for the backward pass. This holds the
logits of all completion tokens of a micro-batch: 4 bytes x tokens x vocabulary, two or three times over.
"""

from __future__ import annotations

from typing import Any

import torch


def token_logprobs_and_entropy(
    model: Any,
    input_ids_BT: torch.Tensor,
    attention_mask_BT: torch.Tensor,
    completion_mask_BT: torch.Tensor,
    temperature: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `token_logprobs`, for rows that are padded on the right; both results carry the gradient."""
    rows_N, columns_N = (completion_mask_BT != 0).nonzero(as_tuple=True)
    logits_BTV = model(input_ids=input_ids_BT, use_cache=False).logits
    logps_NV = torch.log_softmax(logits_BTV[rows_N, columns_N - 1].float() / temperature, dim=-1)
    # A log p of -inf (a token that the model forbids) adds 0, not NaN.
    entropy_N = -(logps_NV.exp() * logps_NV.clamp(min=torch.finfo(logps_NV.dtype).min)).sum(-1)
    logp_N = logps_NV.gather(-1, input_ids_BT[rows_N, columns_N][:, None])[:, 0]
    blank_BT = torch.zeros(input_ids_BT.shape, dtype=logp_N.dtype, device=logp_N.device)
    return blank_BT.index_put((rows_N, columns_N), logp_N), blank_BT.index_put((rows_N, columns_N), entropy_N)
