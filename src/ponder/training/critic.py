"""What PPO asks of its value model: V of every state of a completion.

The value model is a token classifier with one label (`ponder.models.heads.new_value_model`): its output at position s
speaks of the text up to and with token s, so V(s_t), before token t, is its output at t - 1. That shift is here, once.
"""

from __future__ import annotations

from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.training.batch import Batch


def token_values(value_model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """V before each completion token, values_BT (0 elsewhere), and V behind the last one, after_B; fp32.

    Both carry the gradient. Rows are padded on the right, so causal attention needs no mask.
    Raises PonderError for a model whose output is not one number a token.
    """
    logits = value_model(input_ids=batch.input_ids_BT, use_cache=False).logits
    if logits.dim() != 3 or logits.shape[-1] != 1:
        raise PonderError(
            f"the value model gives outputs of shape {tuple(logits.shape)}, not one a token; make it with "
            "ponder.models.heads.new_value_model"
        )
    out_BT = logits[..., 0].float()
    before_BT = torch.cat([out_BT[:, :1], out_BT[:, :-1]], dim=1)
    last_B1 = batch.attention_mask_BT.sum(-1, keepdim=True) - 1
    return torch.where(batch.mask_BT, before_BT, 0.0), out_BT.gather(1, last_B1)[:, 0]
