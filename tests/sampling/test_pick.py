"""Drawing a token: the random numbers, the draw, its log-probability."""

from __future__ import annotations

import math

import pytest
import torch

from ponder.core.types import SamplingParams
from ponder.sampling import pick
from ponder.sampling.pick import choose, row_keys, uniforms

LOGITS = torch.tensor([1.5, -0.3, 0.0, 2.2, -4.0, 0.7])
DRAWS = 40_000


def draws(
    params: SamplingParams, logits: torch.Tensor = LOGITS, count: int = DRAWS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Many draws from one distribution, each with its own key."""
    key = torch.tensor(row_keys(11, [1, 2, 3], count))
    return choose(logits.expand(count, -1).clone(), key, torch.zeros(count, dtype=torch.long), params)


def test_the_random_numbers_are_splitmix64() -> None:
    """The generator's published first outputs for the seeds 0 and 1234567, as 53-bit fractions."""
    expected = {
        0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
        1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423],
    }
    for seed, outputs in expected.items():
        got = uniforms(torch.full((3,), seed), torch.arange(3))
        assert got.tolist() == [(output >> 11) * 2.0**-53 for output in outputs]


def test_keys_differ_by_seed_prompt_and_sample() -> None:
    keys = [row_keys(seed, prompt, 50) for seed in (0, 1, -1, 2**63 + 5) for prompt in ([1], [1, 2], [2, 1], [12])]
    flat = [key for group in keys for key in group]
    assert len(set(flat)) == len(flat)
    assert all(-(2**63) <= key < 2**63 for key in flat)
    assert row_keys(3, [4, 5], 9)[:4] == row_keys(3, [4, 5], 4)


def test_uniforms_are_uniform_across_keys_and_positions() -> None:
    key = torch.tensor(row_keys(0, [1], 64))[:, None].expand(64, 512).reshape(-1)
    u = uniforms(key, torch.arange(512).repeat(64))
    counts = torch.histc(u.float(), 20, 0.0, 1.0)
    expected = len(u) / 20
    assert float(((counts - expected) ** 2 / expected).sum()) < 43.8  # chi-square, 19 degrees of freedom, p = 0.001
    pairs = u.view(64, 512)
    for other in (pairs.roll(1, 0), pairs.roll(1, 1)):  # neighbouring rows, neighbouring positions
        assert abs(float(torch.corrcoef(torch.stack([u, other.reshape(-1)]))[0, 1])) < 0.03


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_match_probabilities(temperature: float) -> None:
    p = (LOGITS / temperature).softmax(-1)
    token, logp = draws(SamplingParams(temperature=temperature))
    counts = torch.bincount(token, minlength=len(p))
    assert float(((counts - DRAWS * p) ** 2 / (DRAWS * p)).sum()) < 20.5  # 5 degrees of freedom, p = 0.001
    torch.testing.assert_close(logp, p.log()[token], atol=1e-6, rtol=0)


def test_filtered_frequencies_are_renormalised() -> None:
    token, logp = draws(SamplingParams(top_k=3))
    kept = torch.tensor([0, 3, 5])
    p = torch.zeros(6).index_copy_(0, kept, LOGITS[kept].softmax(-1))
    counts = torch.bincount(token, minlength=6)
    assert counts[[1, 2, 4]].sum() == 0
    chi = ((counts - DRAWS * p) ** 2 / (DRAWS * p))[kept].sum()
    assert float(chi) < 13.8  # 2 degrees of freedom, p = 0.001
    torch.testing.assert_close(logp, LOGITS.log_softmax(-1)[token], atol=1e-6, rtol=0)


def test_greedy_takes_the_best_whatever_the_filters() -> None:
    token, logp = draws(SamplingParams(temperature=0.0, top_k=2, top_p=0.3), count=5)
    assert token.tolist() == [3] * 5
    torch.testing.assert_close(logp, LOGITS.log_softmax(-1)[token], atol=1e-6, rtol=0)


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf])
    token, logp = draws(SamplingParams(), logits)
    assert set(token.tolist()) == {1, 3}
    torch.testing.assert_close(logp, torch.full((DRAWS,), math.log(0.5)))


def test_a_vocabulary_too_large_for_one_piece_is_drawn_from_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(37, 50, generator=torch.Generator().manual_seed(0))
    key, position = torch.tensor(row_keys(0, [7], 37)), torch.arange(37)
    whole = choose(logits.clone(), key, position, SamplingParams(temperature=0.8, top_p=0.9))
    monkeypatch.setattr(pick, "_CHUNK_ELEMENTS", 50 * 5)
    parts = choose(logits.clone(), key, position, SamplingParams(temperature=0.8, top_p=0.9))
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


def test_half_precision_logits_are_widened_first() -> None:
    logits = torch.randn(16, 300, generator=torch.Generator().manual_seed(0)).bfloat16()
    key = torch.tensor(row_keys(0, [7], 16))
    token, logp = choose(logits, key, torch.zeros(16, dtype=torch.long), SamplingParams())
    assert logp.dtype == torch.float32
    expected = logits.float().log_softmax(-1).gather(1, token[:, None])[:, 0]
    torch.testing.assert_close(logp, expected, atol=1e-6, rtol=0)
