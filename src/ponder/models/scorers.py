"""Scores of responses: a number a response from an outcome model, a number a step from a process model.

Rows are tokenised here for training and for scoring alike: prompt and response with the end token behind them, or
prompt and step after step, each with the separator behind it. Scoring is deterministic, without gradient, rows of like
length together.

Shape letters: B rows, T positions, N scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.core.steps import AGGREGATES, aggregate, split_steps
from ponder.models.encode import encode_completion
from ponder.models.heads import Kind, LoadedHead, load_head, separator_ids
from ponder.models.turns import Message

__all__ = ["AGGREGATES", "OutcomeScorer", "StepScorer", "StepTokens", "aggregate", "outcome_scores", "split_steps",
           "step_logits", "tokens_of", "tokens_of_steps"]  # fmt: skip

TOKEN_BUDGET = 8192
"""Padded tokens that go through the model at once."""


@dataclass(frozen=True)
class StepTokens:
    """A row for a process model. ends: the place in `ids` of each step's last token, the separator's."""

    ids: tuple[int, ...]
    ends: tuple[int, ...]


def tokens_of(
    tokenizer: Any, prompt: str | Sequence[Message], response: str | Sequence[Message], row: int = 0
) -> tuple[int, ...]:
    """A row for an outcome model: prompt and response, up to and with the response's end token.

    Texts are joined as they are; messages go through the chat template (`ponder.models.encode`). A blank text is a
    response too, as a policy may give it: the end token alone. Raises Unusable for messages that say nothing.
    """
    if isinstance(response, str) and not response.strip():
        response += tokenizer.eos_token or ""
    encoded = encode_completion(tokenizer, prompt, response, row=row)
    return encoded.ids[: max(at for at, learnt in enumerate(encoded.mask) if learnt) + 1]


def tokens_of_steps(tokenizer: Any, prompt: str, steps: Sequence[str], step_separator: str) -> StepTokens:
    """A row for a process model, made as TRL's PRM trainer makes it: each part on its own, the separator behind each
    step, the beginning-of-text token where the tokenizer wants one."""
    ids, ends, behind = _ids(tokenizer, prompt), [], separator_ids(tokenizer, step_separator)
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is not None and ids[:1] != [bos] and tokenizer("")["input_ids"][:1] == [bos]:
        ids = [bos, *ids]
    for step in steps:
        ids += [*_ids(tokenizer, step), *behind]
        ends.append(len(ids) - 1)
    return StepTokens(tuple(ids), tuple(ends))


def outcome_scores(model: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """The score of each row, at its last token that is not padding, as transformers reads it: scores_B, fp32."""
    logits = model(input_ids=_padded(model, rows), use_cache=False).logits
    if logits.dim() != 2 or logits.shape[-1] != 1:
        raise PonderError(f"the outcome model gives outputs of shape {tuple(logits.shape)}, not one number a row")
    scores: torch.Tensor = logits[:, 0].float()
    return scores


def step_logits(model: Any, rows: Sequence[StepTokens]) -> torch.Tensor:
    """The logit of "right so far" at each step's last token, all rows' one after the other: logits_N, fp32."""
    logits_BT1 = model(input_ids=_padded(model, [row.ids for row in rows]), use_cache=False).logits
    if logits_BT1.dim() != 3 or logits_BT1.shape[-1] != 1:
        raise PonderError(f"the process model gives outputs of shape {tuple(logits_BT1.shape)}, not one number a token")
    width = logits_BT1.shape[1]
    flat = [number * width + end for number, row in enumerate(rows) for end in row.ends]
    places_N = torch.tensor(flat, dtype=torch.long, device=logits_BT1.device)
    logits: torch.Tensor = logits_BT1.reshape(-1).index_select(0, places_N).float()
    return logits


class OutcomeScorer:
    """Scores whole responses with an outcome model. head: one that is loaded, or where it lies."""

    def __init__(self, head: LoadedHead | str | Path, token_budget: int = TOKEN_BUDGET) -> None:
        self.head, self.token_budget = _head(head, "outcome"), token_budget

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """One score a response, without bounds: the higher the better.

        prompts: rendered texts (template applied), one a response. responses: texts as a sampler gives them.
        Raises PonderError for lists of different lengths, a row beyond the model's context, a score that is not finite.
        """
        tokenizer, most = self.head.tokenizer, self.head.context_length
        rows = [tokens_of(tokenizer, p, r) for p, r in _zipped(prompts, responses, "responses")]
        # Where all but the end token fits, it stays away: a policy that fills its context is scored too.
        rows = [row[:most] if len(row) == most + 1 else row for row in rows]
        found = _scored(
            self.head, rows, rows, lambda part: outcome_scores(self.head.model, part), lambda row: 1, self.token_budget
        )
        return [scores[0] for scores in found]


class StepScorer:
    """Scores the steps of responses with a process model. head: one that is loaded, or where it lies."""

    def __init__(self, head: LoadedHead | str | Path, token_budget: int = TOKEN_BUDGET) -> None:
        self.head, self.token_budget = _head(head, "process"), token_budget

    def split(self, response: str) -> list[str]:
        """The steps of a response, between this model's separators."""
        return split_steps(response, self.head.step_separator)

    def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float]]:
        """For each row, a number from 0 to 1 a step: how likely the solution is right so far.

        prompts: rendered texts. steps: each row's, without separators (`split`); a solution that is not finished has
        those that are there, and a row without steps gets an empty list.
        Raises PonderError as `OutcomeScorer.score`.
        """
        separator = self.head.step_separator
        rows = [tokens_of_steps(self.head.tokenizer, p, s, separator) for p, s in _zipped(prompts, steps, "steps")]
        return _scored(
            self.head, rows, [row.ids for row in rows],
            lambda part: torch.sigmoid(step_logits(self.head.model, part)), lambda row: len(row.ends),
            self.token_budget,
        )  # fmt: skip

    def score_responses(self, prompts: Sequence[str], responses: Sequence[str], how: str = "min") -> list[float]:
        """One number a response: its steps' scores, put together by `how` (a key of `AGGREGATES`); 0 without a step."""
        aggregate([], how)  # an unknown name fails before the work
        return [aggregate(scores, how) for scores in self.score(prompts, [self.split(text) for text in responses])]


def _scored(
    head: LoadedHead,
    rows: Sequence[Any],
    ids: Sequence[Sequence[int]],
    run: Callable[[list[Any]], torch.Tensor],
    count: Callable[[Any], int],
    token_budget: int,
) -> list[list[float]]:
    for number, row in enumerate(ids, 1):
        if not row:
            raise PonderError(f"row {number} to score is empty: no prompt and no response")
        if len(row) > head.context_length:
            raise PonderError(
                f"row {number} to score has {len(row)} tokens, and the context of {head.source} is "
                f"{head.context_length}: shorten it, or score it with a model of longer context"
            )
    results: list[list[float]] = [[] for _ in rows]
    parts: list[list[int]] = []
    for at in sorted(range(len(rows)), key=lambda i: (len(ids[i]), i), reverse=True):
        if parts and len(ids[parts[-1][0]]) * (len(parts[-1]) + 1) <= token_budget:
            parts[-1].append(at)
        else:
            parts.append([at])
    training = head.model.training
    head.model.eval()
    try:
        with torch.inference_mode():
            for part in parts:
                values = run([rows[at] for at in part]).tolist()
                for at in part:
                    own, values = values[: count(rows[at])], values[count(rows[at]) :]
                    results[at] = own
    finally:
        head.model.train(training)
    for number, scores in enumerate(results, 1):
        if not all(map(math.isfinite, scores)):
            raise PonderError(
                f"{head.source} scores row {number} as {next(s for s in scores if not math.isfinite(s))}: its weights "
                "are damaged, or its training went astray; go back to an earlier checkpoint"
            )
    return results


def _padded(model: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    # Padding stands on the right of causal rows, so no token can see it, and no mask is needed.
    pad = model.config.get_text_config().pad_token_id or 0
    longest = max(map(len, rows))
    device = next(model.parameters()).device
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)


def _head(head: LoadedHead | str | Path, kind: Kind) -> LoadedHead:
    if not isinstance(head, LoadedHead):
        return load_head(head, kind)
    if head.kind != kind:
        raise PonderError(f"{head.source} is a model of the {head.kind} sort; a scorer of {kind}s is asked for")
    return head


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _zipped(prompts: Sequence[str], others: Sequence[Any], what: str) -> list[tuple[str, Any]]:
    if isinstance(prompts, str) or len(prompts) != len(others):
        count = "one text" if isinstance(prompts, str) else str(len(prompts))
        raise PonderError(f"{count} as prompts and {len(others)} {what}: give lists of the same length")
    return list(zip(prompts, others, strict=True))
