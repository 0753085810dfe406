"""From groups to padded micro-batches.

Shapes: B rows, T positions of prompt, completion and padding. Every per-token tensor is aligned to tokens: index t
speaks of token t. The one shift between logits and tokens is in `ponder.models.logprobs.token_logprobs`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ponder.core.types import Completion, Group


@dataclass(frozen=True)
class Row:
    """One completion to learn from."""

    completion: Completion
    advantage: float

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.completion.prompt_ids) + len(self.completion.token_ids)


@dataclass(frozen=True)
class Batch:
    """Rows of like length: prompt, completion, padding on the right.

    attention_mask_BT: True on tokens. mask_BT: True on completion tokens, all of which are trained. sampler_logp_BT:
    log-probabilities as sampled, NaN where the sampler cannot say, 0 outside the completion. old_logp_BT: under the
    weights that the step began with; None on-policy. ref_logp_BT: under the reference policy, where there is one.
    """

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    mask_BT: torch.Tensor
    advantages_B: torch.Tensor
    sampler_logp_BT: torch.Tensor
    old_logp_BT: torch.Tensor | None = None
    ref_logp_BT: torch.Tensor | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], pad_id: int = 0, device: torch.device | str = "cpu") -> Batch:
        """Pad `rows` to their longest. What the padding holds does not matter: nothing looks at it."""
        width = max(row.length for row in rows)
        ids, logps = [], []
        for row in rows:
            prompt, tokens = row.completion.prompt_ids, row.completion.token_ids
            padding = width - row.length
            told = row.completion.logprobs or (math.nan,) * len(tokens)
            ids.append([*prompt, *tokens, *[pad_id] * padding])
            logps.append([*[0.0] * len(prompt), *told, *[0.0] * padding])
        place_T = torch.arange(width)
        starts_B1 = torch.tensor([len(row.completion.prompt_ids) for row in rows])[:, None]
        ends_B1 = torch.tensor([row.length for row in rows])[:, None]
        return cls(
            input_ids_BT=torch.tensor(ids).to(device),
            attention_mask_BT=(place_T < ends_B1).to(device),
            mask_BT=((place_T >= starts_B1) & (place_T < ends_B1)).to(device),
            advantages_B=torch.tensor([row.advantage for row in rows], dtype=torch.float32).to(device),
            sampler_logp_BT=torch.tensor(logps, dtype=torch.float32).to(device),
        )


def is_trained(finish: str, length: int, mask_truncated: bool) -> bool:
    """Whether a completion's tokens are in the loss: not if it has none, or was cut and `mask_truncated` says so."""
    return length > 0 and not (mask_truncated and finish == "length")


def rows_of(group: Group, advantages: Sequence[float], mask_truncated: bool = False) -> list[Row]:
    """The trained rows of a group; `advantages` are in the order of `group.known`."""
    return [
        Row(rollout.completion, advantage)
        for rollout, advantage in zip(group.known, advantages, strict=True)
        if is_trained(rollout.completion.finish, len(rollout.completion.token_ids), mask_truncated)
    ]


def split(rows: Sequence[Row], token_budget: int) -> list[list[Row]]:
    """Micro-batches of rows of like length, longest first, each of at most `token_budget` padded tokens.

    A row that is longer than the budget makes a micro-batch of its own. The longest come first, so that a step that
    does not fit into memory fails at once.
    """
    parts: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.length):
        if parts and parts[-1][0].length * (len(parts[-1]) + 1) <= token_budget:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts
