"""Attention of packed rows: documents one behind the other in a single row, each seeing only itself.

transformers can tell packed documents by their positions, but only through a mask of all tokens by all tokens (and only
without a cache: with one it silently does not). Here each document goes through its own causal attention, which needs
no mask: the cost is the sum of the squares, not the square of the sum. Under CUDA in half precision it is one kernel.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface

from ponder.core.errors import PonderError

NAME = "ponder_packed"
_UNSUPPORTED = ("softcap", "s_aux", "position_bias", "cache")
"""What attention of some models is given besides; here it would be left out in silence."""


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Inside, `model` takes packed rows (`packed_inputs`), and rows padded on the right as before.

    The backward pass must lie inside too, for checkpointed layers run again in it.
    Raises PonderError for a model whose attention cannot be exchanged.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = base.config._attn_implementation
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _no_mask)
    base.set_attn_implementation(NAME)
    if base.config._attn_implementation != NAME:
        raise PonderError(f"packing is on, but the attention of {type(base).__name__} is its own; set packing=false")
    try:
        yield
    finally:
        base.set_attn_implementation(before)


def packed_inputs(lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """What tells the documents of one row apart: positions that begin anew, and the places where each begins."""
    sizes = torch.tensor(list(lengths))
    starts = F.pad(sizes.cumsum(0), (1, 0)).to(torch.int32)
    positions_1N = torch.cat([torch.arange(length) for length in lengths])[None]
    return {
        "position_ids": positions_1N.to(device),
        "cu_seq_lens_q": starts.to(device), "cu_seq_lens_k": starts.to(device),
        "max_length_q": max(lengths), "max_length_k": max(lengths),
    }  # fmt: skip


def check_packed_attention(model: nn.Module, vocabulary: int) -> None:
    """Raise PonderError unless two documents in one row get the logits that they get alone, on this very model.

    Called inside `packed_attention`. Models with a state that runs on from token to token do not pass.
    """
    device = next(model.parameters()).device
    lengths = (5, 3, 7)
    ids_1N = (torch.arange(sum(lengths), device=device)[None] * 7 + 1) % vocabulary
    modes = {module: module.training for module in model.modules()}
    model.eval()  # dropout would make any two passes differ
    try:
        with torch.no_grad():
            together = model(input_ids=ids_1N, use_cache=False, **packed_inputs(lengths, device)).logits
            alone = [model(input_ids=part, use_cache=False).logits for part in ids_1N.split(lengths, dim=1)]
    except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:120]
        raise PonderError(
            f"packing is on, but this model does not take packed rows ({said}); set packing=false"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    apart = torch.cat(alone, dim=1)
    tolerance = 1e-4 if together.dtype in (torch.float32, torch.float64) else 3e-2
    off = float((together - apart).abs().max())
    if not off <= tolerance * max(1.0, float(apart.abs().max())):
        raise PonderError(
            f"packing is on, but this model's documents see one another in a pack (logits off by {off:.2g}); set "
            "packing=false"
        )


def _no_mask(*_: Any, **__: Any) -> None:
    """No mask is ever made: `_attention` is causal, and padding stands on the right."""


def _attention(
    module: nn.Module, query_BHTD: torch.Tensor, key_BKTD: torch.Tensor, value_BKTD: torch.Tensor,
    attention_mask: torch.Tensor | None, dropout: float = 0.0, scaling: float | None = None,
    sliding_window: int | None = None, cu_seq_lens_q: torch.Tensor | None = None, max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """transformers' attention function. B rows (1 when packed), H query heads, K key heads, T tokens, D head size."""
    extra = [name for name in _UNSUPPORTED if kwargs.get(name) is not None]
    if extra or dropout or kwargs.get("is_causal") is False:
        raise NotImplementedError(f"attention with {', '.join(extra) or 'dropout, or not causal'}")
    if cu_seq_lens_q is None:
        return _causal(query_BHTD, key_BKTD, value_BKTD, scaling, sliding_window).transpose(1, 2).contiguous(), None
    if query_BHTD.is_cuda and query_BHTD.dtype in (torch.float16, torch.bfloat16):
        qkv = (query_BHTD, key_BKTD, value_BKTD)
        return _one_kernel(*qkv, cu_seq_lens_q, int(max_length_q or 0), scaling, sliding_window), None
    sizes = cu_seq_lens_q.diff().tolist()
    parts = zip(*(tensor.split(sizes, dim=2) for tensor in (query_BHTD, key_BKTD, value_BKTD)), strict=True)
    outs = [_causal(q, k, v, scaling, sliding_window).transpose(1, 2) for q, k, v in parts]
    return torch.cat(outs, dim=1), None


def _causal(
    q_BHTD: torch.Tensor, k_BKTD: torch.Tensor, v_BKTD: torch.Tensor, scaling: float | None, window: int | None
) -> torch.Tensor:
    mask_TT = None
    length = q_BHTD.shape[2]
    if window is not None and length > window:
        place_T = torch.arange(length, device=q_BHTD.device)
        behind_TT = place_T[:, None] - place_T[None]
        mask_TT = (behind_TT >= 0) & (behind_TT < window)
    return F.scaled_dot_product_attention(
        q_BHTD, k_BKTD, v_BKTD, attn_mask=mask_TT, is_causal=mask_TT is None, scale=scaling,
        enable_gqa=q_BHTD.shape[1] != k_BKTD.shape[1],
    )  # fmt: skip


def _one_kernel(
    q_1HND: torch.Tensor, k_1KND: torch.Tensor, v_1KND: torch.Tensor, starts: torch.Tensor, longest: int,
    scaling: float | None, window: int | None,
) -> torch.Tensor:  # fmt: skip
    """All documents in one launch of PyTorch's own variable-length attention, whose arguments differ by version."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (tensor[0].transpose(0, 1) for tensor in (q_1HND, k_1KND, v_1KND))
    if k.shape[1] != q.shape[1]:
        k, v = (tensor.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for tensor in (k, v))
    known = inspect.signature(varlen_attn).parameters
    how: dict[str, Any] = {"scale": scaling} if "scale" in known else {}
    if "window_size" in known:
        how["window_size"] = (-1 if window is None else window - 1, 0)
    elif window is None:
        how["is_causal"] = True
    else:
        raise NotImplementedError("a sliding window in this version of PyTorch")
    if scaling is not None and "scale" not in known:
        q = q * (scaling * q.shape[-1] ** 0.5)
    out_NHD: Any = varlen_attn(q.contiguous(), k.contiguous(), v.contiguous(), starts, starts, longest, longest, **how)
    return out_NHD[None]
