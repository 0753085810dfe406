"""A Llama-shaped model's weights as the decode loop wants them: joined projections that share the parameters' memory.

`q_proj`, `k_proj` and `v_proj` are applied to the same input, and so are `gate_proj` and `up_proj`; one multiplication
by the joined matrix is faster than three or two. A joined COPY would go stale at the next optimiser step. Here the
joined matrix is the only memory there is: the parameters become views of its rows, so that whatever writes to them (an
optimiser, `load_state_dict`, `copy_`) writes to it. `read_weights` looks at every parameter again each time; where
something has given one memory of its own (`model.to(...)`, `param.data = ...`), they are joined anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_FAMILIES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "SmolLM3ForCausalLM": "smollm3",
}
_FIXED_ROPE = ("default", "linear", "llama3", "yarn")  # the others change with the length of the sequence


@dataclass(frozen=True)
class Layer:
    """One decoder layer. Matrices are [out, in]; `head_norm`, if any, is [heads + key-value heads, head size]."""

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    head_norm: Tensor | None
    rope: bool
    output: Tensor
    output_bias: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


@dataclass(frozen=True)
class Weights:
    """All that the decode loop reads of a model."""

    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Tensor
    head_bias: Tensor | None
    rotary: nn.Module
    activation: Callable[[Tensor], Tensor]
    heads: int
    kv_heads: int
    head_size: int
    epsilon: float


def why_not(model: PreTrainedModel) -> str:
    """Why the decode loop cannot run this model; "" where it can. Looks at structure only."""
    name = type(model).__name__
    family = _FAMILIES.get(name)
    if family is None or type(model).__module__ != f"transformers.models.{family}.modeling_{family}":
        return f"{name} is not one of {', '.join(_FAMILIES)} of transformers"
    config = model.config
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", family == "mistral"):
        return "it attends through a sliding window"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "a layer does not attend to everything before it"
    if (kind := (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")) not in _FIXED_ROPE:
        return f"its rotary angles ({kind}) change with the length"
    for path, module in model.named_modules():
        if path.endswith(("_proj", "lm_head")) and type(module) is not nn.Linear:
            return f"{path} is a {type(module).__name__}, not a plain linear layer"
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        # Gradient checkpointing hangs this one on the embedding, where it changes no number.
        hooks = [hook for hook in hooks if getattr(hook, "__name__", "") != "make_inputs_require_grads"]
        if hooks or "forward" in vars(module):
            return f"{path or name} has a hook or a forward of its own"
    for path, parameter in model.named_parameters():
        plain = type(parameter) is nn.Parameter and type(parameter.data) is Tensor
        if not plain or not parameter.is_floating_point():
            return f"{path} is not a plain floating-point tensor"
    if len({(parameter.dtype, parameter.device) for parameter in model.parameters()}) > 1:
        return "its parameters differ in dtype or device"
    return ""


def read_weights(model: PreTrainedModel) -> Weights:
    """The model's weights, joined where need be; call it before each use, after which they cannot be stale."""
    # A tensor born under inference_mode could never be trained again, and the caller may be inside it.
    with torch.inference_mode(False), torch.no_grad():
        config, inner = model.config, model.model
        attention = inner.layers[0].self_attn
        head_size, heads = attention.head_dim, config.num_attention_heads
        layers = tuple(_read_layer(layer, heads, config.num_key_value_heads) for layer in inner.layers)
        return Weights(
            embedding=inner.embed_tokens.weight.detach(),
            layers=layers,
            norm=inner.norm.weight.detach(),
            head=model.lm_head.weight.detach(),
            head_bias=_detached(model.lm_head.bias),
            rotary=inner.rotary_emb,
            activation=inner.layers[0].mlp.act_fn,
            heads=heads,
            kv_heads=config.num_key_value_heads,
            head_size=head_size,
            epsilon=config.rms_norm_eps,
        )


def _read_layer(layer: Any, heads: int, kv_heads: int) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    q_norm, k_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
    head_norm = None
    if q_norm is not None and k_norm is not None:  # a copy, tiny, made anew at each reading
        head_norm = torch.cat([q_norm.weight.expand(heads, -1), k_norm.weight.expand(kv_heads, -1)])
    return Layer(
        attention_norm=layer.input_layernorm.weight.detach(),
        qkv=joined([linear.weight for linear in projections]),
        qkv_bias=_joined_bias(projections),
        head_norm=head_norm,
        rope=bool(getattr(attention, "use_rope", True)),
        output=attention.o_proj.weight.detach(),
        output_bias=_detached(attention.o_proj.bias),
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        gate_up=joined([mlp.gate_proj.weight, mlp.up_proj.weight]),
        gate_up_bias=_joined_bias((mlp.gate_proj, mlp.up_proj)),
        down=mlp.down_proj.weight.detach(),
        down_bias=_detached(mlp.down_proj.bias),
    )


def joined(parameters: Sequence[nn.Parameter]) -> Tensor:
    """One tensor whose rows are those of all `parameters`, in their memory, which is moved together if need be."""
    first = parameters[0]
    if not _adjacent(parameters):
        whole = torch.cat([parameter.detach() for parameter in parameters])
        start = 0
        for parameter in parameters:
            parameter.data = whole[start : start + parameter.shape[0]]
            start += parameter.shape[0]
    rows = sum(parameter.shape[0] for parameter in parameters)
    return first.detach().as_strided((rows, *first.shape[1:]), first.stride(), first.storage_offset())


def _adjacent(parameters: Sequence[nn.Parameter]) -> bool:
    storage, offset = parameters[0].untyped_storage().data_ptr(), parameters[0].storage_offset()
    for parameter in parameters:
        if parameter.untyped_storage().data_ptr() != storage or parameter.storage_offset() != offset:
            return False
        if not parameter.is_contiguous():
            return False
        offset += parameter.numel()
    return True


def _joined_bias(linears: Sequence[nn.Linear]) -> Tensor | None:
    return None if linears[0].bias is None else joined([linear.bias for linear in linears])


def _detached(parameter: nn.Parameter | None) -> Tensor | None:
    return None if parameter is None else parameter.detach()
