"""From logits to a token: counter-based random numbers, the filters, the draw and its log-probability.

Shape letters: B rows, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from ponder.core.types import SamplingParams

_CHUNK_ELEMENTS = 1 << 24  # the float64 running sum of one chunk of rows stays below 128 MiB
_HEAD = 64  # most top-p cuts fall within this many best tokens, so that the vocabulary need not be sorted


def _signed(value: int) -> int:
    """The 64-bit pattern of `value` as a signed integer, which is all that torch multiplies."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_STRIDE = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def row_keys(seed: int, prompt_ids: Sequence[int], n: int) -> list[int]:
    """One 64-bit key for each of the `n` samples of a prompt: a hash of (seed, prompt, index of the sample)."""
    prompt = hashlib.blake2b(repr(seed).encode() + b"\0" + array("q", prompt_ids).tobytes(), digest_size=16).digest()
    digests = (hashlib.blake2b(prompt + index.to_bytes(8, "little"), digest_size=8).digest() for index in range(n))
    return [int.from_bytes(digest, "little", signed=True) for digest in digests]


def uniforms(key_B: Tensor, position_B: Tensor) -> Tensor:
    """Uniform float64 numbers in [0, 1), one for each (key, position): splitmix64 (Steele et al., 2014) as a counter.

    Both arguments are int64 [B]. A row's number depends on nothing but its own key and position.
    """
    z_B = key_B + (position_B + 1) * _STRIDE
    z_B = (z_B ^ ((z_B >> 30) & ((1 << 34) - 1))) * _FIRST  # the masks make the shifts logical ones
    z_B = (z_B ^ ((z_B >> 27) & ((1 << 37) - 1))) * _SECOND
    z_B = z_B ^ ((z_B >> 31) & ((1 << 33) - 1))
    return ((z_B >> 11) & ((1 << 53) - 1)).double() * 2.0**-53


def choose(logits_BV: Tensor, key_B: Tensor, position_B: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Draw one token a row: `(token_B int64, logp_B float32)`.

    The log-probability is that of the whole tempered distribution, log_softmax(logits / temperature), in float32, also
    where a filter narrows what may be drawn: it is what a trainer computes, and a filter shows as a mismatch, not as a
    silently different number. At temperature 0 the token is the most probable one and the log-probability is taken at
    temperature 1.
    """
    rows = max(1, _CHUNK_ELEMENTS // logits_BV.shape[1])
    if logits_BV.shape[0] <= rows:
        return _choose(logits_BV, key_B, position_B, params)
    parts = [
        _choose(logits_BV[at : at + rows], key_B[at : at + rows], position_B[at : at + rows], params)
        for at in range(0, logits_BV.shape[0], rows)
    ]
    return torch.cat([token for token, _ in parts]), torch.cat([logp for _, logp in parts])


def _choose(logits_BV: Tensor, key_B: Tensor, position_B: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    x_BV = logits_BV.float()
    if params.temperature == 0.0:
        top_B, token_B = x_BV.max(-1)
        return token_B, top_B - x_BV.logsumexp(-1)
    if params.temperature != 1.0:
        x_BV = x_BV / params.temperature
    top_B1 = x_BV.amax(-1, keepdim=True)
    weight_BV = (x_BV - top_B1).exp_()
    if params.top_k or params.top_p < 1.0 or params.min_p:
        total_B1 = weight_BV.sum(-1, keepdim=True, dtype=torch.float64)
        weight_BV.masked_fill_(removed(x_BV, params.top_k, params.top_p, params.min_p), 0.0)
        cdf_BV = weight_BV.cumsum(-1, dtype=torch.float64)
    else:
        cdf_BV = weight_BV.cumsum(-1, dtype=torch.float64)
        total_B1 = cdf_BV[:, -1:]
    # The first token whose running sum exceeds the threshold: never one of weight 0, and u < 1 stays below the total.
    threshold_B1 = cdf_BV[:, -1:] * uniforms(key_B, position_B)[:, None]
    token_B1 = torch.searchsorted(cdf_BV, threshold_B1, right=True).clamp_max_(x_BV.shape[1] - 1)
    logp_B1 = (x_BV.gather(1, token_B1) - top_B1) - total_B1.log()
    return token_B1[:, 0], logp_B1[:, 0].float()


def removed(x_BV: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Which tokens the filters forbid, as a boolean [B, V]. `x_BV`: logits after temperature.

    Meaning and order are Hugging Face's: top-k (ties with the k-th stay), top-p over what top-k left (the smallest set
    whose mass reaches top_p), min-p relative to the most probable token. That token always stays.
    """
    out_BV = torch.zeros_like(x_BV, dtype=torch.bool)
    if 0 < top_k < x_BV.shape[1]:
        out_BV |= x_BV < x_BV.topk(top_k).values[:, -1:]
    if top_p < 1.0:
        left_BV = x_BV.masked_fill(out_BV, -math.inf) if top_k else x_BV
        out_BV |= _outside_nucleus(left_BV, top_p)
    if min_p:
        out_BV |= x_BV < x_BV.amax(-1, keepdim=True) + math.log(min_p)
    return out_BV


def _outside_nucleus(x_BV: Tensor, top_p: float) -> Tensor:
    """Top-p: True outside the smallest set of best tokens whose probabilities reach `top_p`."""
    size = x_BV.shape[1]
    head = size if x_BV.is_cuda else min(_HEAD, size)  # sorting is cheap on a GPU, a second look costs a stall there
    logz_B1 = x_BV.logsumexp(-1, keepdim=True)
    best_BH, index_BH = x_BV.topk(head)
    p_BH = (best_BH - logz_B1).exp_()
    stays_BH = (p_BH.cumsum(-1) - p_BH) < top_p
    stays_BH[:, 0] = True
    out_BV = torch.ones_like(x_BV, dtype=torch.bool).scatter_(1, index_BH, ~stays_BH)
    if head < size:
        wide_R = stays_BH[:, -1].nonzero()[:, 0]  # rows whose nucleus reaches beyond the head
        if len(wide_R):
            x_RV = x_BV[wide_R]
            best_RV, index_RV = x_RV.sort(-1, descending=True)
            p_RV = (best_RV - logz_B1[wide_R]).exp_()
            out_BV[wide_R] = torch.ones_like(x_RV, dtype=torch.bool).scatter_(
                1, index_RV, (p_RV.cumsum(-1) - p_RV) >= top_p
            )
    return out_BV
