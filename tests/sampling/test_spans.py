"""Attention in spans: which rows are looked at together, and that nothing but time depends on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ponder.core.types import SamplingParams
from ponder.sampling import decode
from ponder.sampling import spans as module
from ponder.sampling.decode import FusedSession
from ponder.sampling.local import LocalSampler
from ponder.sampling.spans import PART, better_order, spans
from tests.sampling.tiny_models import full_logprobs, make_model, make_prompts, make_tokenizer


def test_rows_of_one_length_are_one_span() -> None:
    assert spans(np.full(256, 70), worth=1) == [(0, 256, 70)]
    assert spans(np.array([5]), worth=1) == [(0, 1, 5)]


def test_spans_cover_every_row_with_its_longest() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 3 * PART + 5)
    got = spans(lengths, worth=1)
    assert [start for start, _, _ in got] == [0, *(stop for _, stop, _ in got[:-1])]
    assert got[-1][1] == len(lengths)
    assert all(length == lengths[start:stop].max() for start, stop, length in got)


def test_spans_are_made_only_where_they_save_enough() -> None:
    lengths = np.array([10] * PART + [30] * PART)
    assert len(spans(lengths, worth=20 * PART)) == 2
    assert len(spans(lengths, worth=20 * PART + 1)) == 1


def test_rows_are_reordered_only_where_it_pays_for_the_copying() -> None:
    mixed = np.array([10, 400] * PART * 2)
    order = better_order(mixed, worth=1)
    assert order is not None
    assert (np.diff(mixed[order]) >= 0).all()
    assert better_order(mixed[order], worth=1) is None, "in order already"
    assert better_order(mixed, worth=10**9) is None
    assert better_order(np.array([100] * (4 * PART - 1) + [110]), worth=1) is None, "saves less than it copies"
    assert better_order(np.array([7, 3]), worth=0) is None


@pytest.mark.parametrize(("name", "dtype"), [("qwen3", torch.float32), ("llama", torch.bfloat16)])
def test_sorted_rows_in_spans_sample_the_same(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans of two rows, reordered at every chance, against one span in the order of arrival."""
    model = make_model(name).to(dtype)
    prompts = make_prompts([3, 60, 9, 41, 17, 2, 55, 30, 4, 12, 70, 8])
    params = SamplingParams(n=2, max_completion_length=40, temperature=0.7)

    def sample() -> list[Any]:
        return LocalSampler(model, make_tokenizer(), max_batch_rows=9, eos_ids=range(1, 16)).sample_ids(
            prompts, params, 3
        )

    plain = sample()
    sorts: list[bool] = []
    original = FusedSession.sort

    def watched(self: FusedSession, rows: int) -> Any:
        order = original(self, rows)
        sorts.append(order is not None)
        return order

    monkeypatch.setattr(FusedSession, "sort", watched)
    monkeypatch.setattr(module, "PART", 2)
    monkeypatch.setattr(decode, "_WORTH_CPU", 0)
    monkeypatch.setattr(module, "_COPIES", 0)
    monkeypatch.setattr("ponder.sampling.schedule.EVERY", 3)
    sorted_ = sample()
    assert sum(sorts) >= 3, "the rows must really have been reordered"
    assert len({len(c.token_ids) for c in plain}) > 5, "and have been of many lengths"
    for a, b in zip(plain, sorted_, strict=True):
        if dtype == torch.float32:
            assert a.token_ids == b.token_ids
        expected = full_logprobs(model, b.prompt_ids, b.token_ids, 0.7)
        tolerance = 2e-5 if dtype == torch.float32 else 0.5
        torch.testing.assert_close(torch.tensor(b.logprobs), expected, atol=tolerance, rtol=0)
