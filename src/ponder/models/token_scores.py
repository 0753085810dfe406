"""What supervised training asks of a model at each learnt token: log-probability, entropy, and whether it is the
likeliest token. For rows padded on the right, or packed into one.

Shape letters: B rows, T positions, N learnt tokens, D hidden size, V vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ponder.models.encode import Encoded
from ponder.models.logprobs import LOGITS_BYTES, from_logits, head_logprobs, hidden_states, parts_of
from ponder.models.packed_attention import packed_inputs


@dataclass(frozen=True)
class TokenScores:
    """Of each learnt token, row after row: logp_N (carries the gradient) and entropy_N in nats; right_N, whether no
    token was likelier."""

    logp_N: torch.Tensor
    entropy_N: torch.Tensor
    right_N: torch.Tensor


def score_tokens(
    model: nn.Module, rows: Sequence[Encoded], packed: bool, logits_bytes: int = LOGITS_BYTES
) -> TokenScores:
    """Run `model` over `rows` and score their learnt tokens.

    packed: the rows one behind the other, without padding, inside `ponder.models.packed_attention.packed_attention`;
    else side by side, padded on the right. logits_bytes: the most bytes of fp32 logits at once.
    """
    device = next(model.parameters()).device
    inputs, wanted_BT = (_packed if packed else _padded)(rows, device)
    ids_M = inputs["input_ids"].reshape(-1)
    # A row's first token is never learnt, so the place before a learnt one is of the same row.
    places_N = wanted_BT.reshape(-1).nonzero(as_tuple=True)[0]
    targets_N = ids_M.index_select(0, places_N)
    parts = parts_of(model, ids_M)
    if parts is None:
        logits_BTV = model(**inputs, use_cache=False).logits
        logits_NV = logits_BTV.reshape(-1, logits_BTV.shape[-1]).index_select(0, places_N - 1)
        logp_N, entropy_N = from_logits(logits_NV, targets_N)
        return TokenScores(logp_N, entropy_N, logits_NV.detach().argmax(-1) == targets_N)
    hidden_BTD = hidden_states(parts.backbone, inputs)
    hidden_ND = hidden_BTD.reshape(-1, hidden_BTD.shape[-1]).index_select(0, places_N - 1)
    head = parts.head
    logp_N, entropy_N = head_logprobs(hidden_ND, head.weight, head.bias, targets_N, logits_bytes=logits_bytes)
    return TokenScores(logp_N, entropy_N, _likeliest(hidden_ND, head, logits_bytes) == targets_N)


@torch.no_grad()
def _likeliest(hidden_ND: torch.Tensor, head: nn.Linear, logits_bytes: int) -> torch.Tensor:
    """The likeliest token of each place, in chunks. A second product with the head, forward only."""
    chunk = max(1, logits_bytes // (4 * head.weight.shape[0]))
    dtype = head.weight.dtype
    found = [F.linear(part.to(dtype), head.weight, head.bias).argmax(-1) for part in hidden_ND.split(chunk)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.long, device=hidden_ND.device)


def _padded(rows: Sequence[Encoded], device: torch.device) -> tuple[dict[str, Any], torch.Tensor]:
    """Padding on the right of causal rows: no token can see it, so there is no mask, and what it holds is all one."""
    width = max(map(len, rows))
    ids_BT = torch.tensor([[*row.ids, *[0] * (width - len(row))] for row in rows], device=device)
    wanted_BT = torch.tensor([[*row.mask, *[False] * (width - len(row))] for row in rows], device=device)
    return {"input_ids": ids_BT}, wanted_BT


def _packed(rows: Sequence[Encoded], device: torch.device) -> tuple[dict[str, Any], torch.Tensor]:
    ids_1N = torch.tensor([[token for row in rows for token in row.ids]], device=device)
    wanted_1N = torch.tensor([[wanted for row in rows for wanted in row.mask]], device=device)
    return {"input_ids": ids_1N, **packed_inputs([len(row) for row in rows], device)}, wanted_1N
