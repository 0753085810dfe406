"""Log-probabilities of tokens under a causal language model, at completion positions only, in little memory.

This is the one place that shifts: logits at position s speak of token s + 1, and everything returned here is aligned to
tokens, so that index t speaks of token t.

Shape letters: B rows, T positions, N completion tokens of the batch, D hidden size, V vocabulary, C tokens of a chunk.
With V = 150k the logits of a batch take gigabytes, and log_softmax and its backward hold two or three copies. So only
completion positions go through the head, and above 64 MiB of logits they go through it in chunks whose logits are
computed again in the backward pass.
"""

from __future__ import annotations

import inspect
import weakref
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ponder.core.errors import PonderError

LOGITS_BYTES = 64 * 2**20
"""The most bytes of fp32 logits that exist at once."""


def token_logprobs(
    model: nn.Module,
    input_ids_BT: torch.Tensor,
    attention_mask_BT: torch.Tensor,
    completion_mask_BT: torch.Tensor,
    temperature: float = 1.0,
    logits_bytes: int = LOGITS_BYTES,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of every completion token given what precedes it, and the entropy of its distribution.

    input_ids_BT: prompt and completion, padded on either side. attention_mask_BT: 1 on real tokens.
    completion_mask_BT: 1 on the tokens whose log-probability is wanted; the first real token of a row has none.
    temperature: the logits are divided by it, as in sampling. logits_bytes: bound on the fp32 logits held at once.

    Returns (logp_BT, entropy_BT), fp32 (fp64 for an fp64 model), in nats, 0 where completion_mask_BT is 0. `logp_BT`
    carries the gradient; `entropy_BT` carries none.
    Raises PonderError for a temperature that is not positive, or a mask that asks for a token with nothing before it.
    """
    if not temperature > 0:
        raise PonderError(f"temperature is {temperature}; log-probabilities need a positive one")
    wanted_BT = completion_mask_BT != 0
    rows_N, columns_N = wanted_BT.nonzero(as_tuple=True)
    before_N = columns_N - 1
    real_BT = attention_mask_BT != 0
    if bool((before_N < 0).any()) or not bool((real_BT[rows_N, before_N] & real_BT[rows_N, columns_N]).all()):
        raise PonderError("a completion token is padding, or has no token before it; a prompt needs at least one token")
    targets_N = input_ids_BT[rows_N, columns_N]
    inputs = _model_inputs(model, input_ids_BT, real_BT)

    parts = parts_of(model, input_ids_BT[real_BT])
    flat_N = rows_N * input_ids_BT.shape[1] + before_N  # index_select's backward is faster than x[rows, columns]'s
    if parts is None:
        logits_BTV = model(**inputs, use_cache=False).logits
        logits_NV = logits_BTV.reshape(-1, logits_BTV.shape[-1]).index_select(0, flat_N)
        logp_N, entropy_N = from_logits(logits_NV, targets_N, temperature)
    else:
        hidden_BTD = hidden_states(parts.backbone, inputs)
        hidden_ND = hidden_BTD.reshape(-1, hidden_BTD.shape[-1]).index_select(0, flat_N)
        logp_N, entropy_N = head_logprobs(
            hidden_ND, parts.head.weight, parts.head.bias, targets_N, temperature, logits_bytes
        )
    blank_BT = torch.zeros(input_ids_BT.shape, dtype=logp_N.dtype, device=logp_N.device)
    where = (rows_N, columns_N)
    return blank_BT.index_put(where, logp_N), blank_BT.index_put(where, entropy_N)


# ---- from hidden states, or logits, to log-probabilities ----


def head_logprobs(
    hidden_ND: torch.Tensor,
    weight_VD: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_N: torch.Tensor,
    temperature: float = 1.0,
    logits_bytes: int = LOGITS_BYTES,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(logp_N, entropy_N) of softmax((hidden W' + bias) / temperature) at `targets_N`; differentiable in logp_N.

    One piece where the logits fit into `logits_bytes`, else chunks of logits_bytes / 4 V tokens. The results are equal
    up to the order of summation. The product is taken in the model's dtype (autocast's where that is on), as the model
    itself and the sampler take it; the softmax in fp32.
    """
    device = hidden_ND.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
    hidden_ND, weight_VD = hidden_ND.to(dtype), weight_VD.to(dtype)
    bias_V = None if bias_V is None else bias_V.to(dtype)
    chunk = max(1, logits_bytes // (4 * weight_VD.shape[0]))
    if hidden_ND.shape[0] <= chunk:
        with torch.autocast(device, enabled=False):
            return from_logits(F.linear(hidden_ND, weight_VD, bias_V), targets_N, temperature)
    logp_N, entropy_N = _ChunkedLogProbs.apply(hidden_ND, weight_VD, bias_V, targets_N, temperature, chunk)
    return logp_N, entropy_N


def from_logits(
    logits_NV: torch.Tensor, targets_N: torch.Tensor, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(logp_N, entropy_N) from logits that are all there: the plain path, and what the chunks are tested against."""
    logps_NV = torch.log_softmax(_full(logits_NV) / temperature, dim=-1)
    with torch.no_grad():
        entropy_N = _entropy(logps_NV)
    return logps_NV.gather(-1, targets_N[:, None]).squeeze(-1), entropy_N


class _ChunkedLogProbs(torch.autograd.Function):
    """Saves the hidden states and one log-normaliser a token; never more than [C, V] logits at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_N: torch.Tensor,
        temperature: float,
        chunk: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n = hidden_ND.shape[0]
        dtype = torch.float64 if weight_VD.dtype == torch.float64 else torch.float32
        norm_N, logp_N, entropy_N = (torch.empty(n, dtype=dtype, device=hidden_ND.device) for _ in range(3))
        for start in range(0, n, chunk):
            part = slice(start, min(start + chunk, n))
            logits_CV = _chunk_logits(hidden_ND[part], weight_VD, bias_V, temperature)
            norm_N[part] = logits_CV.logsumexp(-1)
            logits_CV -= norm_N[part, None]
            logp_N[part] = logits_CV.gather(-1, targets_N[part, None]).squeeze(-1)
            entropy_N[part] = _entropy(logits_CV)
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N, norm_N)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.mark_non_differentiable(entropy_N)
        return logp_N, entropy_N

    @staticmethod
    def backward(ctx: Any, grad_N: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, targets_N, norm_N = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_hidden_ND = torch.empty_like(hidden_ND) if need_hidden else None
        # Sums over chunks are kept in fp32: rounding each chunk's part to bf16 would bias them.
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=norm_N.dtype) if need_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=norm_N.dtype) if need_bias else None
        for start in range(0, hidden_ND.shape[0], ctx.chunk):
            part = slice(start, min(start + ctx.chunk, hidden_ND.shape[0]))
            logits_CV = _chunk_logits(hidden_ND[part], weight_VD, bias_V, ctx.temperature)
            # d logp / d logits = (onehot - softmax) / temperature, built in place of the logits
            grad_CV = logits_CV.sub_(norm_N[part, None]).exp_().neg_()
            ones_C1 = torch.ones_like(grad_CV[:, :1])
            grad_CV.scatter_add_(-1, targets_N[part, None], ones_C1).mul_(grad_N[part, None] / ctx.temperature)
            if grad_bias_V is not None:
                grad_bias_V += grad_CV.sum(0)
            grad_CV = grad_CV.to(weight_VD.dtype)
            if grad_hidden_ND is not None:
                grad_hidden_ND[part] = grad_CV @ weight_VD
            if grad_weight_VD is not None:
                _add_product(grad_weight_VD, grad_CV, hidden_ND[part])
        grad_weight = None if grad_weight_VD is None else grad_weight_VD.to(weight_VD.dtype)
        grad_bias = None if grad_bias_V is None else grad_bias_V.to(bias_V.dtype)
        return grad_hidden_ND, grad_weight, grad_bias, None, None, None


def _chunk_logits(
    hidden_CD: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor | None, temperature: float
) -> torch.Tensor:
    with torch.autocast(hidden_CD.device.type, enabled=False):
        logits_CV = _full(F.linear(hidden_CD, weight_VD, bias_V))
    return logits_CV if temperature == 1.0 else logits_CV.div_(temperature)


def _add_product(total_VD: torch.Tensor, grad_CV: torch.Tensor, hidden_CD: torch.Tensor) -> None:
    if total_VD.dtype == grad_CV.dtype:
        total_VD.addmm_(grad_CV.T, hidden_CD)
    else:
        total_VD += grad_CV.T @ hidden_CD


def _full(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _entropy(logps_NV: torch.Tensor) -> torch.Tensor:
    """-sum p log p, in nats. A log p of -inf (a token that the model forbids) adds 0, not NaN."""
    return -(logps_NV.exp() * logps_NV.clamp(min=torch.finfo(logps_NV.dtype).min)).sum(-1)


# ---- running the model: backbone and head apart where that is exactly the model, else the model as it is ----


@dataclass(frozen=True)
class _Parts:
    backbone: nn.Module
    head: nn.Linear


def _model_inputs(model: nn.Module, input_ids_BT: torch.Tensor, real_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the model is called with, beside `use_cache=False` (with a cache, transformers does not see packed rows).

    Padding on the right alone needs no mask: attention is causal, so no real token sees it. Without a mask the kernels
    take their fast causal path. Anything else gets its mask, and positions that count real tokens only.
    """
    padded_right = not bool((real_BT[:, 1:] & ~real_BT[:, :-1]).any())
    if padded_right:
        return {"input_ids": input_ids_BT}
    inputs = {"input_ids": input_ids_BT, "attention_mask": real_BT.long()}
    if "position_ids" in inspect.signature(_unwrapped(model).forward).parameters:
        inputs["position_ids"] = (real_BT.long().cumsum(-1) - 1).clamp(min=0)
    return inputs


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, out of an adapter's or a distributed wrapper, whose own forward takes anything."""
    base = getattr(model, "get_base_model", None)
    inner = base() if base is not None else getattr(model, "module", None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else model


def hidden_states(backbone: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The backbone's last hidden states: hidden_BTD."""
    output = backbone(**inputs, use_cache=False)
    return output[0] if isinstance(output, tuple) else output.last_hidden_state


_PROBED: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Any, bool]] = weakref.WeakKeyDictionary()


def parts_of(model: nn.Module, input_ids_T: torch.Tensor) -> _Parts | None:
    """Backbone and head, if a probe on this very model shows that head(backbone(x)) is model(x).logits; else None.

    Soft-capped or scaled logits, adapters on the head, virtual prompt tokens, sharded heads: all take the generic path,
    model(x).logits, which is right for every model and only costs memory. The answer holds until a module changes.
    """
    parts = _candidates(model)
    if parts is None:
        return None
    known = _PROBED.get(model)
    if known is None or known[0]() is not parts.backbone or known[1]() is not parts.head:
        same = _is_model(model, parts, input_ids_T[:8])
        _PROBED[model] = known = (weakref.ref(parts.backbone), weakref.ref(parts.head), same)
    return parts if known[2] else None


def _candidates(model: nn.Module) -> _Parts | None:
    get_decoder, get_head = getattr(model, "get_decoder", None), getattr(model, "get_output_embeddings", None)
    if get_decoder is None or get_head is None:
        return None
    backbone, head = get_decoder(), get_head()
    if not isinstance(backbone, nn.Module) or backbone is model:
        return None
    # A plain nn.Linear and nothing hung on it: no adapter, hook, parametrisation, patched forward or sharded weight.
    plain = type(head) is nn.Linear and "forward" not in vars(head) and not hasattr(head, "parametrizations")
    hooks = plain and (head._forward_hooks or head._forward_pre_hooks)
    if not plain or hooks or type(head.weight.data) is not torch.Tensor:
        return None
    return _Parts(backbone, head)


@torch.no_grad()
def _is_model(model: nn.Module, parts: _Parts, input_ids_T: torch.Tensor) -> bool:
    """Two questions, on a few tokens: does the backbone alone give the hidden states that it gives inside the model,
    and is the model's way from hidden states to logits the head's product, also where logits are large?

    The second cannot be asked at the model's own hidden states alone: a soft cap of 30 changes logits of 0.1 by 1e-7.
    """
    few = {"input_ids": input_ids_T[None]}
    modes = {module: module.training for module in model.modules()}
    seen: list[torch.Tensor] = []

    def enlarge(module: nn.Module, args: Any, output: Any) -> Any:
        hidden_BTD = output[0] if isinstance(output, tuple) else output.last_hidden_state
        seen.append(hidden_BTD)
        largest = F.linear(hidden_BTD, parts.head.weight, parts.head.bias).abs().max().clamp(min=1e-6)
        seen.append(hidden_BTD * (100.0 / largest))
        if isinstance(output, tuple):
            return (seen[-1], *output[1:])
        output.last_hidden_state = seen[-1]
        return output

    try:
        model.eval()  # dropout would make any two passes differ
        alone_BTD = hidden_states(parts.backbone, few)
        handle = parts.backbone.register_forward_hook(enlarge)
        try:
            logits_BTV = model(**few, use_cache=False).logits
        finally:
            handle.remove()
    finally:
        for module, training in modes.items():
            module.training = training
    if len(seen) != 2:
        return False  # the model does not call this module, or calls it more than once
    expected_BTV = F.linear(seen[1], parts.head.weight, parts.head.bias)
    return _close(seen[0], alone_BTD) and _close(logits_BTV, expected_BTV)


def _close(left: torch.Tensor, right: torch.Tensor) -> bool:
    if left.shape != right.shape:
        return False
    tolerance = 1e-4 if left.dtype in (torch.float32, torch.float64) else 2e-2
    scale = right.float().abs().max().clamp(min=1e-6)
    return bool((left.float() - right.float()).abs().max() <= tolerance * scale)
