"""Batches: what is where in the tensors, and how rows are cut into micro-batches."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from ponder.core.types import Completion, Group, Problem, Rollout, Score
from ponder.training.batch import Batch, Row, rows_of, split


def completion(prompt: int, tokens: int, finish: str = "stop", known: bool = True) -> Completion:
    logprobs = tuple(-0.5 - t for t in range(tokens)) if known else ()
    return Completion(tuple(range(1, prompt + 1)), tuple(range(50, 50 + tokens)), logprobs, "", finish)  # type: ignore[arg-type]


def test_every_tensor_is_aligned_to_tokens() -> None:
    batch = Batch.of([Row(completion(3, 2), 1.5), Row(completion(1, 3), -1.5)], pad_id=9)
    assert batch.input_ids_BT.tolist() == [[1, 2, 3, 50, 51], [1, 50, 51, 52, 9]]
    assert batch.attention_mask_BT.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.mask_BT.tolist() == [[0, 0, 0, 1, 1], [0, 1, 1, 1, 0]]
    assert batch.sampler_logp_BT.tolist() == [[0, 0, 0, -0.5, -1.5], [0, -0.5, -1.5, -2.5, 0]]
    assert batch.advantages_B.tolist() == [1.5, -1.5]


def test_a_sampler_that_cannot_say_gives_nan_on_the_completion_alone() -> None:
    logps = Batch.of([Row(completion(2, 2, known=False), 1.0)]).sampler_logp_BT[0]
    assert logps[:2].tolist() == [0, 0] and bool(logps[2:].isnan().all())


def test_rows_leave_out_the_unknown_the_empty_and_the_masked() -> None:
    scores = [Score(1.0, True), Score(None, None), Score(0.0, False), Score(0.5, False)]
    completions = [completion(2, 3), completion(2, 4), completion(2, 5, "length"), completion(2, 0)]
    pairs = zip(completions, scores, strict=True)
    group = Group(Problem("t", "p", "a"), tuple(Rollout(c, s) for c, s in pairs))
    assert [(len(r.completion.token_ids), r.advantage) for r in rows_of(group, [1, -1, 0])] == [(3, 1), (5, -1)]
    assert [len(r.completion.token_ids) for r in rows_of(group, [1, -1, 0], mask_truncated=True)] == [3]


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(1, 100))
def test_a_split_keeps_every_row_within_the_budget(lengths: list[int], budget: int) -> None:
    rows = [Row(completion(1, length), float(i)) for i, length in enumerate(lengths)]
    parts = split(rows, budget)
    assert sorted(row.advantage for part in parts for row in part) == list(map(float, range(len(rows))))
    assert all(len(part) * max(row.length for row in part) <= budget or len(part) == 1 for part in parts)
    widths = [max(row.length for row in part) for part in parts]
    assert widths == sorted(widths, reverse=True)
    assert all(math.isfinite(float(Batch.of(part).sampler_logp_BT.sum())) for part in parts)


def test_tensors_are_what_torch_wants() -> None:
    batch = Batch.of([Row(completion(2, 2), 1.0)])
    assert batch.input_ids_BT.dtype == torch.int64 and batch.mask_BT.dtype == torch.bool
