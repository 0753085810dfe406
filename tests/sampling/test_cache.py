"""Key-value slots against a plain record of what was written."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ponder.core.types import SamplingParams
from ponder.sampling import cache
from ponder.sampling.cache import BLOCK, Slots
from ponder.sampling.local import LocalSampler
from tests.sampling.tiny_models import full_logprobs, make_model, make_prompts, make_tokenizer

ROWS, HEADS, SIZE = 5, 2, 3


def test_slots_hold_what_was_written_through_growth_moves_and_reordering() -> None:
    generator = torch.Generator().manual_seed(0)
    slots = Slots(2, ROWS, HEADS, SIZE, torch.float32, torch.device("cpu"))
    held: list[list[torch.Tensor]] = [[] for _ in range(ROWS)]  # of layer 1: [HEADS, SIZE] for each position

    slots.reserve(4, ROWS, longest=4)
    assert slots.capacity == BLOCK
    prefix = torch.randn(2, HEADS, 4, SIZE, generator=generator)
    slots.fill(1, torch.tensor([3, 0]), prefix, -prefix)
    for row, values in ((3, prefix[0]), (0, prefix[1])):
        held[row] = list(values.unbind(1))
    for step in range(2 * BLOCK):
        lengths = [len(row) for row in held]
        slots.reserve(max(lengths) + 1, ROWS, longest=10 * BLOCK)
        new = torch.randn(ROWS, HEADS, SIZE, generator=generator)
        slots.write(1, slots.flat_index(torch.tensor(lengths)), new, -new)
        for row in range(ROWS):
            held[row].append(new[row])
        if step == 50:
            slots.move(torch.tensor([4, 2]), torch.tensor([0, 1]), max(lengths) + 1)
            held[0], held[1] = list(held[4]), list(held[2])
        if step == 90:
            order = [4, 0, 3, 1, 2]
            slots.arrange(torch.tensor(order), max(lengths) + 1)
            held = [list(held[row]) for row in order]
    for row in range(ROWS):
        expected = torch.stack(held[row], 1)
        length = expected.shape[1]
        assert torch.equal(slots.key[1][row, :, :length], expected)
        assert torch.equal(slots.value[1][row, :, :length], -expected)
    assert not slots.key[0].any(), "the other layer was not written to"


def test_growth_is_by_half_up_to_what_a_row_may_need_and_gives_dead_rows_back() -> None:
    slots = Slots(1, 8, HEADS, SIZE, torch.float32, torch.device("cpu"))
    slots.reserve(10, 8, longest=5000)
    assert slots.capacity == cache.START
    slots.reserve(cache.START + 1, 3, longest=5000)
    assert slots.key[0].shape == (3, HEADS, cache.START * 3 // 2, SIZE)
    slots.reserve(cache.START * 3 // 2 + 1, 3, longest=cache.START * 3 // 2 + 2)
    assert slots.capacity == cache.START * 3 // 2 + BLOCK, "no further than the longest row"


def test_sampling_goes_on_through_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "START", BLOCK)
    model: Any = make_model("qwen3", max_position_embeddings=256)
    sampler = LocalSampler(model, make_tokenizer(), max_batch_rows=3, eos_ids=range(1, 3))
    for c in sampler.sample_ids(make_prompts([40, 3, 90, 60, 7]), SamplingParams(), seed=0):
        expected = full_logprobs(model, c.prompt_ids, c.token_ids)
        torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=2e-5, rtol=0)
