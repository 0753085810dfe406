"""Packed rows are the rows alone, in log-probabilities and in gradient; models that cannot are refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from sft_world import make_model
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from ponder.core.errors import PonderError
from ponder.models.encode import Encoded
from ponder.models.packed_attention import NAME, check_packed_attention, packed_attention
from ponder.models.token_scores import score_tokens

SIZES: dict[str, Any] = dict(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16, max_position_embeddings=128, bos_token_id=None, eos_token_id=2, pad_token_id=0,
)  # fmt: skip


def rows(seed: int = 0) -> list[Encoded]:
    rng = random.Random(seed)
    found = []
    for number, length in enumerate([9, 2, 17, 5, 17, 30, 3]):
        mask = (False, *(rng.random() < 0.6 for _ in range(length - 2)), True)
        found.append(Encoded(tuple(rng.randrange(64) for _ in range(length)), mask, number))
    return found


def _fresh(cls: Any, config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return cls(config).eval()


MODELS = {
    "qwen3": lambda: make_model(),
    "llama": lambda: _fresh(LlamaForCausalLM, LlamaConfig(**SIZES)),
    "mistral, a window of 4": lambda: _fresh(MistralForCausalLM, MistralConfig(**SIZES, sliding_window=4)),
}


def scores_and_gradient(model: Any, packed: bool) -> tuple[torch.Tensor, ...]:
    model.zero_grad()
    scores = score_tokens(model, rows(), packed)
    weights = torch.linspace(0.5, 1.5, len(scores.logp_N))
    (-(scores.logp_N * weights).sum() / len(weights)).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return scores.logp_N.detach(), scores.entropy_N, scores.right_N.float(), gradient


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_is_padded(kind: str, checkpointing: bool) -> None:
    from ponder.training.prepare import prepare

    model = MODELS[kind]()
    prepare(model, checkpointing)
    padded = scores_and_gradient(model, False)
    with packed_attention(model):
        check_packed_attention(model, 64)
        packed = scores_and_gradient(model, True)
        beside = scores_and_gradient(model, False)  # rows that are not packed go through as before
    for expected, found, other in zip(padded, packed, beside, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other, expected, atol=1e-5, rtol=1e-5)
    assert model.config._attn_implementation == "sdpa"


def test_a_row_in_a_pack_has_no_gradient_from_its_neighbours() -> None:
    few = [Encoded(tuple(range(at, at + 5)), (False,) * 4 + (True,), at) for at in (10, 20, 30)]
    untied = make_model()  # so that what is looked up is told apart from what is predicted
    untied.config.tie_word_embeddings = False
    untied.lm_head.weight = torch.nn.Parameter(untied.lm_head.weight.detach().clone())
    with packed_attention(untied):
        score_tokens(untied, few, True).logp_N[1].backward()
    touched = untied.get_input_embeddings().weight.grad.abs().sum(-1).nonzero().flatten().tolist()
    assert touched == [20, 21, 22, 23]


def test_scores_are_those_of_the_logits() -> None:
    model = make_model()
    scores = score_tokens(model, rows(), False)
    logps, right = [], []
    for row in rows():
        logits_TV = torch.log_softmax(model(torch.tensor([row.ids])).logits[0], -1)
        for at in range(1, len(row)):
            if row.mask[at]:
                logps.append(float(logits_TV[at - 1, row.ids[at]].detach()))
                right.append(int(logits_TV[at - 1].argmax()) == row.ids[at])
    torch.testing.assert_close(scores.logp_N.tolist(), logps, atol=1e-5, rtol=1e-5)
    assert scores.right_N.tolist() == right
    chunked = score_tokens(model, rows(), False, logits_bytes=4 * 64 * 3)  # three tokens at a time
    torch.testing.assert_close(chunked.logp_N, scores.logp_N, atol=1e-6, rtol=1e-6)
    assert chunked.right_N.tolist() == right


def _modern(q: Any, k: Any, v: Any, starts: Any, _: Any, longest: int, __: int, *, scale: Any = None,
            window_size: tuple[int, int] = (-1, -1)) -> torch.Tensor:  # fmt: skip
    return _reference(q, k, v, starts, longest, scale, window_size)


def _older(q: Any, k: Any, v: Any, starts: Any, _: Any, longest: int, __: int, is_causal: bool = False) -> torch.Tensor:
    return _reference(q, k, v, starts, longest, None, (-1, 0 if is_causal else -1))


def _reference(
    q_NHD: Any, k_NHD: Any, v_NHD: Any, starts: Any, longest: int, scale: Any, window: tuple[int, int]
) -> torch.Tensor:
    """What PyTorch's `varlen_attn` is documented to do, written out with a mask of all by all."""
    assert longest == int(starts.diff().max()) and q_NHD.shape == k_NHD.shape and window[1] == 0
    place = torch.arange(len(q_NHD))
    document = torch.bucketize(place, starts[1:].long(), right=True)
    behind = place[:, None] - place[None]
    keep = (document[:, None] == document[None]) & (behind >= 0)
    keep &= (behind <= window[0]) if window[0] >= 0 else torch.ones_like(keep)
    logits_HNN = torch.einsum("nhd,mhd->hnm", q_NHD, k_NHD) * (scale or q_NHD.shape[-1] ** -0.5)
    return torch.einsum("hnm,mhd->nhd", logits_HNN.masked_fill(~keep, -torch.inf).softmax(-1), v_NHD)


@pytest.mark.parametrize("kernel", [_modern, _older])
@pytest.mark.parametrize("scale", [None, 0.4])
@pytest.mark.parametrize("window", [None, 3])
def test_the_one_kernel_is_called_as_it_is_documented(
    kernel: Any, scale: float | None, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU needed: a stand-in for the kernel shows that shapes, windows and scales arrive as they should."""
    from torch.nn.attention import varlen

    from ponder.models import packed_attention as module

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, 16, 8) for heads in (4, 2, 2))
    starts = torch.tensor([0, 7, 9, 16], dtype=torch.int32)
    if kernel is _older and window is not None:
        with pytest.raises(NotImplementedError, match="sliding window"):
            module._one_kernel(q, k, v, starts, 7, scale, window)
        return
    loop, _ = module._attention(torch.nn.Identity(), q, k, v, None, scaling=scale, sliding_window=window,
                                cu_seq_lens_q=starts, max_length_q=7)  # fmt: skip
    torch.testing.assert_close(module._one_kernel(q, k, v, starts, 7, scale, window), loop, atol=1e-5, rtol=1e-5)


def test_models_that_cannot_are_refused() -> None:
    gemma = _fresh(Gemma2ForCausalLM, Gemma2Config(**SIZES))  # soft-capped attention
    with packed_attention(gemma), pytest.raises(PonderError, match="softcap.*set packing=false"):
        check_packed_attention(gemma, 64)


def test_documents_that_see_one_another_are_found() -> None:
    model = make_model()
    with packed_attention(model):
        inner = model.model.forward
        model.model.forward = lambda *a, cu_seq_lens_q=None, **k: inner(*a, **k)  # a model that loses the borders
        with pytest.raises(PonderError, match="see one another in a pack .logits off by"):
            check_packed_attention(model, 64)
    assert model.config._attn_implementation != NAME
