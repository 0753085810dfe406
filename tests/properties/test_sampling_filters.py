"""Top-k, top-p and min-p forbid what Hugging Face's processors forbid, alone and in combination."""

from __future__ import annotations

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList, MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from ponder.sampling.pick import removed

ROWS = 4


def theirs(x_BV: torch.Tensor, top_k: int, top_p: float, min_p: float) -> torch.Tensor:
    """What transformers forbids, in the order in which `generate` applies its processors."""
    processors = LogitsProcessorList()
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        processors.append(TopPLogitsWarper(top_p))
    if min_p:
        processors.append(MinPLogitsWarper(min_p))
    return torch.isneginf(processors(torch.zeros(len(x_BV), 1, dtype=torch.long), x_BV.clone()))


def near_an_edge(x_BV: torch.Tensor, top_k: int, top_p: float, min_p: float) -> torch.Tensor:
    """Rows [B] where rounding alone may decide: a running sum, or a ratio, within 1e-4 of its threshold."""
    left_BV = x_BV if not top_k else x_BV.masked_fill(theirs(x_BV, top_k, 1.0, 0.0), -torch.inf)
    sums_BV = left_BV.double().sort(descending=True).values.softmax(-1).cumsum(-1)
    at_top_p = ((sums_BV - top_p).abs() < 1e-4).any(-1) & (top_p < 1.0)
    ratio_BV = (x_BV - x_BV.amax(-1, keepdim=True)).double().exp()
    at_min_p = ((ratio_BV - min_p).abs() < 1e-6).any(-1) & (min_p > 0)
    return at_top_p | at_min_p


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([3, 40, 300]),
    scale=st.sampled_from([0.05, 1.0, 6.0]),
    top_k=st.sampled_from([0, 1, 2, 17, 200, 1000]),
    top_p=st.sampled_from([1.0, 0.999, 0.95, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
@example(seed=0, size=300, scale=0.05, top_k=0, top_p=0.95, min_p=0.0)  # a nucleus far wider than the head
@example(seed=0, size=300, scale=6.0, top_k=0, top_p=0.95, min_p=0.0)  # and one far narrower
def test_support_equals_transformers(
    seed: int, size: int, scale: float, top_k: int, top_p: float, min_p: float
) -> None:
    x_BV = torch.randn(ROWS, size, generator=torch.Generator().manual_seed(seed)) * scale
    got = removed(x_BV, top_k, top_p, min_p)
    sure = ~near_an_edge(x_BV, top_k, top_p, min_p)
    assert torch.equal(got[sure], theirs(x_BV, top_k, top_p, min_p)[sure])
    assert not got.gather(1, x_BV.argmax(-1, keepdim=True)).any(), "the most probable token must stay"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=12), st.integers(1, 14))
def test_ties_with_the_kth_stay_as_in_transformers(values: list[float], top_k: int) -> None:
    x_BV = torch.tensor([values])
    assert torch.equal(removed(x_BV, top_k, 1.0, 0.0), theirs(x_BV, top_k, 1.0, 0.0))
