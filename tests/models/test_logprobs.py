"""Token log-probabilities: log_softmax over the full logits, for every kind of head, padding and chunk size."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from ponder.core.errors import PonderError
from ponder.models import logprobs
from ponder.models.logprobs import from_logits, head_logprobs, token_logprobs

V, D, T = 61, 32, 14
COMMON: dict[str, Any] = {
    "vocab_size": V, "hidden_size": D, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GPT2 = {
    "vocab_size": V,
    "n_embd": D,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = {
    "qwen3-tied": lambda: transformers.Qwen3Config(**COMMON, head_dim=8, tie_word_embeddings=True),
    "qwen2": lambda: transformers.Qwen2Config(**COMMON),
    "llama": lambda: transformers.LlamaConfig(**COMMON),
    "smollm3": lambda: transformers.SmolLM3Config(**COMMON),
    "gpt2": lambda: transformers.GPT2Config(**GPT2),
    "phi": lambda: transformers.PhiConfig(**COMMON),  # a head with a bias
    "gemma2": lambda: transformers.Gemma2Config(**COMMON, head_dim=8, final_logit_softcapping=5.0),
    "cohere": lambda: transformers.CohereConfig(**COMMON, logit_scale=0.3),
    "granite": lambda: transformers.GraniteConfig(**COMMON, logits_scaling=4.0),
}
GENERIC = {"gemma2", "cohere", "granite"}  # soft-capped or scaled logits: the head's product is not the model's logits


def build(name: str, scale: float = 8.0) -> Any:
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    with torch.no_grad():  # a fresh model's logits are nearly 0, where every mistake looks small
        model.get_output_embeddings().weight.mul_(scale)
        if model.get_output_embeddings().bias is not None:
            model.get_output_embeddings().bias.normal_()
    return model


def batch(side: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three rows of (prompt, completion) tokens (4, 10), (3, 5) and (2, 1), padded on `side`."""
    generator = torch.Generator().manual_seed(3)
    ids_BT = torch.randint(3, V, (3, T), generator=generator)
    attention_BT, completion_BT = torch.zeros_like(ids_BT), torch.zeros_like(ids_BT)
    for b, (prompt, answer) in enumerate(((4, 10), (3, 5), (2, 1))):
        start = 0 if side == "right" else T - prompt - answer
        attention_BT[b, start : start + prompt + answer] = 1
        completion_BT[b, start + prompt : start + prompt + answer] = 1
    return ids_BT * attention_BT, attention_BT, completion_BT


def reference(
    model: Any, ids_BT: torch.Tensor, attention_BT: torch.Tensor, completion_BT: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row alone, without padding, through the whole model; a token at a time."""
    logps, entropies = torch.zeros(ids_BT.shape), torch.zeros(ids_BT.shape)
    for b in range(ids_BT.shape[0]):
        places = attention_BT[b].nonzero()[:, 0].tolist()
        logits_SV = model(ids_BT[b, places][None], use_cache=False).logits[0] / temperature
        logps_SV = torch.log_softmax(logits_SV.float(), -1)
        for s, t in enumerate(places):
            if completion_BT[b, t]:
                logps = logps.index_put((torch.tensor(b), torch.tensor(t)), logps_SV[s - 1, ids_BT[b, t]])
                entropies[b, t] = -(logps_SV[s - 1].exp() * logps_SV[s - 1]).sum().detach()
    return logps, entropies


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", CONFIGS)
def test_values_are_those_of_each_row_alone(name: str, side: str) -> None:
    model, inputs = build(name), batch(side)
    for temperature in (1.0, 0.6):
        logp_BT, entropy_BT = token_logprobs(model, *inputs, temperature=temperature)
        wanted_BT, entropies_BT = reference(model, *inputs, temperature)
        torch.testing.assert_close(logp_BT, wanted_BT, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(entropy_BT, entropies_BT, atol=1e-5, rtol=1e-5)
        assert (logp_BT[inputs[2] == 0] == 0).all() and (entropy_BT[inputs[2] == 0] == 0).all()
        assert logp_BT.requires_grad and not entropy_BT.requires_grad
    assert (logprobs.parts_of(model, inputs[0][inputs[1] == 1]) is None) == (name in GENERIC)


@pytest.mark.parametrize("logits_bytes", [1, 4 * V * 3, 4 * V * 15, logprobs.LOGITS_BYTES])
@pytest.mark.parametrize("name", ["qwen3-tied", "llama", "phi"])
def test_gradients_of_every_parameter(name: str, logits_bytes: int) -> None:
    """Chunks of 1, 3 and 15 of 16 tokens, and the plain path: a loss that is not linear in logp, as a ratio is."""
    model, inputs = build(name), batch("right")
    weight_BT = torch.randn(3, T, generator=torch.Generator().manual_seed(1))

    def gradients(logp_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        (weight_BT * (logp_BT / 5).exp() * inputs[2]).sum().backward()
        return {key: value.grad.clone() for key, value in model.named_parameters()}

    got = gradients(token_logprobs(model, *inputs, temperature=0.7, logits_bytes=logits_bytes)[0])
    wanted = gradients(reference(model, *inputs, 0.7)[0])
    for key, value in wanted.items():
        assert value.abs().max() > 1e-4, key
        torch.testing.assert_close(got[key], value, atol=1e-5, rtol=1e-5)


def tensors(dtype: torch.dtype, bias: bool = True) -> list[torch.Tensor | None]:
    generator = torch.Generator().manual_seed(2)
    hidden_ND = torch.randn(23, D, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight_VD = torch.randn(V, D, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    bias_V = torch.randn(V, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() if bias else None
    return [hidden_ND, weight_VD, bias_V]


TARGETS = torch.arange(23) * 5 % V


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 4, 22])
def test_chunked_equals_plain(chunk: int, bias: bool) -> None:
    results = []
    for logits_bytes in (4 * V * chunk, 4 * V * 23):
        leaves = tensors(torch.float64, bias)
        logp_N, entropy_N = head_logprobs(*leaves, TARGETS, 0.8, logits_bytes)  # type: ignore[arg-type]
        assert ("_ChunkedLogProbs" in str(logp_N.grad_fn)) == (chunk < 23 and logits_bytes < 4 * V * 23)
        logp_N.exp().sum().backward()
        results.append([logp_N.detach(), entropy_N, *(leaf.grad for leaf in leaves if leaf is not None)])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-14)


def test_the_backward_pass_by_finite_differences() -> None:
    leaves = tensors(torch.float64)

    def run(*leaves: torch.Tensor) -> torch.Tensor:
        return head_logprobs(*leaves, TARGETS, 0.8, 4 * V * 5)[0]

    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, atol=1e-7)


def test_gradients_only_where_they_are_wanted() -> None:
    hidden_ND, weight_VD, _ = tensors(torch.float64, False)
    head_logprobs(hidden_ND.detach(), weight_VD, None, TARGETS, 1.0, 4 * V * 5)[0].sum().backward()  # type: ignore
    full = weight_VD.grad.clone()  # type: ignore[union-attr]
    head_logprobs(hidden_ND, weight_VD.detach(), None, TARGETS, 1.0, 4 * V * 5)[0].sum().backward()  # type: ignore
    assert torch.equal(weight_VD.grad, full) and hidden_ND.grad.abs().sum() > 0  # type: ignore[union-attr, arg-type]


def test_bf16_sums_over_chunks_are_kept_in_fp32() -> None:
    """Against fp32 on the same rounded values: one token a chunk is no worse than all in one."""
    exact = [leaf.detach().float().requires_grad_() for leaf in tensors(torch.bfloat16)]
    head_logprobs(*exact, TARGETS)[0].sum().backward()
    for chunk in (1, 23):
        leaves = tensors(torch.bfloat16)
        logp_N, _ = head_logprobs(*leaves, TARGETS, 1.0, 4 * V * chunk)
        assert logp_N.dtype == torch.float32
        logp_N.sum().backward()
        for leaf, true in zip(leaves, exact, strict=True):
            error = (leaf.grad.float() - true.grad).norm() / true.grad.norm()
            assert error < 0.01, f"{error:.4f}"


def test_under_autocast_chunked_equals_plain() -> None:
    """The backward pass runs outside autocast: it must recompute the logits in the dtype of the forward pass."""
    results = []
    for chunk in (4, 23):
        leaves = tensors(torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logp_N, entropy_N = head_logprobs(*leaves, TARGETS, 0.8, 4 * V * chunk)
        assert logp_N.dtype == torch.float32
        logp_N.exp().sum().backward()
        results.append([logp_N.detach(), entropy_N, *(leaf.grad for leaf in leaves)])
        assert all(leaf.grad.dtype == torch.float32 for leaf in leaves)
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)


# ---- memory ----


class Largest(TorchDispatchMode):
    """The most elements in the result of any one operation."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.numel())
        return out


def test_no_full_logits_are_ever_made_or_saved() -> None:
    n, v, d, chunk = 200, 1000, 8, 10
    hidden_ND, weight_VD = torch.randn(n, d, requires_grad=True), torch.randn(v, d, requires_grad=True)
    targets_N = torch.randint(v, (n,))
    saved = [0]

    def pack(value: torch.Tensor) -> torch.Tensor:
        saved[0] += value.numel()
        return value

    sizes = {}
    for name, logits_bytes in (("chunked", 4 * v * chunk), ("plain", 4 * v * n)):
        saved[0] = 0
        with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            head_logprobs(hidden_ND, weight_VD, None, targets_N, 1.0, logits_bytes)[0].sum().backward()
        sizes[name] = (largest.numel, saved[0])
    assert sizes["plain"][0] == n * v and sizes["plain"][1] >= n * v, "the measure sees what it should"
    assert sizes["chunked"][0] == chunk * v
    assert sizes["chunked"][1] <= n * d + v * d + 3 * n  # hidden states, weight, targets, one normaliser a token


def test_only_completion_positions_go_through_the_head() -> None:
    model, inputs = build("llama"), batch("right")
    token_logprobs(model, *inputs)  # the probe is over
    model.requires_grad_(False)
    rows: list[int] = []

    class Heads(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dim() == 2 and out.shape[-1] == V and "mm" in str(func):
                rows.append(out.shape[0])
            return out

    with Heads():
        token_logprobs(model, *inputs)
    assert rows == [int(inputs[2].sum())]


# ---- finding the head ----


def test_a_soft_cap_is_noticed_where_logits_are_still_small() -> None:
    """A fresh model's logits are too small for the cap to show; after training they are not."""
    model, inputs = build("gemma2", scale=0.01), batch("right")
    token_logprobs(model, *inputs)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(3000)
    logp_BT, _ = token_logprobs(model, *inputs)
    torch.testing.assert_close(logp_BT, reference(model, *inputs, 1.0)[0], atol=1e-5, rtol=1e-5)


def test_an_adapter_put_on_the_head_later_is_noticed() -> None:
    peft = pytest.importorskip("peft")
    model, inputs = build("llama"), batch("right")
    assert token_logprobs(model, *inputs)[0].isfinite().all()
    tuned = peft.get_peft_model(model, peft.LoraConfig(target_modules=["lm_head", "q_proj"], r=2))
    token_logprobs(tuned, *inputs)  # the adapter is still 0
    with torch.no_grad():
        for key, value in tuned.named_parameters():
            if "lora_B" in key:
                value.normal_()
    tuned.eval()
    for one in (tuned, model):
        logp_BT, _ = token_logprobs(one, *inputs)
        torch.testing.assert_close(logp_BT, reference(one, *inputs, 1.0)[0], atol=1e-5, rtol=1e-5)


def test_an_adapter_in_the_layers_trains_through_the_fast_path() -> None:
    peft = pytest.importorskip("peft")
    inputs = batch("right")
    model = peft.get_peft_model(build("llama"), peft.LoraConfig(target_modules=["q_proj"], r=2)).eval()
    assert logprobs.parts_of(model, inputs[0][0]) is not None
    logp_BT, _ = token_logprobs(model, *inputs)
    logp_BT.sum().backward()
    grads = [value.grad for key, value in model.named_parameters() if "lora_B" in key]
    assert grads and all(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_positions_reach_a_wrapped_model() -> None:
    """GPT-2's positions are absolute: padded on the left, it is wrong without them."""
    peft = pytest.importorskip("peft")
    inputs = batch("left")
    for name in ("gpt2", "llama"):
        model = build(name)
        wanted_BT, _ = reference(model, *inputs, 1.0)
        parts = ["c_attn"] if name == "gpt2" else ["q_proj"]
        for wrapped in (Wrapped(model), peft.get_peft_model(model, peft.LoraConfig(target_modules=parts)).eval()):
            torch.testing.assert_close(token_logprobs(wrapped, *inputs)[0], wanted_BT, atol=1e-5, rtol=1e-5)


class Wrapped(torch.nn.Module):
    """A wrapper with a forward of its own, as DistributedDataParallel is."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **inputs: Any) -> Any:
        return self.module(*args, **inputs)


def test_a_patched_head_and_a_bare_module_take_the_generic_path() -> None:
    model, inputs = build("llama"), batch("right")
    head = model.get_output_embeddings()
    plain = type(head).forward
    head.forward = lambda hidden: plain(head, hidden) * 0.5
    assert logprobs.parts_of(model, inputs[0][0]) is None
    torch.testing.assert_close(token_logprobs(model, *inputs)[0], reference(model, *inputs, 1.0)[0])
    torch.testing.assert_close(token_logprobs(Wrapped(model), *inputs)[0], reference(model, *inputs, 1.0)[0])


def test_the_probe_leaves_the_model_as_it_was() -> None:
    model, inputs = build("gpt2"), batch("right")
    model.train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    token_logprobs(model, *inputs)
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.transformer._forward_hooks
    assert all(value.grad is None for value in model.parameters())
    assert logprobs._PROBED[model][2], "dropout must not make the probe fail"


def test_the_cache_is_off() -> None:
    model, inputs = build("llama"), batch("right")
    token_logprobs(model, *inputs)
    seen: list[dict] = []
    handle = model.model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    token_logprobs(model, *inputs)
    handle.remove()
    assert [kwargs["use_cache"] for kwargs in seen] == [False]


# ---- edges ----


def test_an_empty_mask_gives_zeros_that_can_be_differentiated() -> None:
    for name in ("llama", "gemma2"):
        model, (ids_BT, attention_BT, _) = build(name), batch("right")
        logp_BT, entropy_BT = token_logprobs(model, ids_BT, attention_BT, torch.zeros_like(ids_BT))
        assert not logp_BT.any() and not entropy_BT.any()
        logp_BT.sum().backward()
        assert all(value.grad is None or not value.grad.any() for value in model.parameters())


def test_masks_of_any_dtype() -> None:
    model, (ids_BT, attention_BT, completion_BT) = build("llama"), batch("left")
    wanted_BT, _ = token_logprobs(model, ids_BT, attention_BT, completion_BT)
    for dtype in (torch.bool, torch.float32):
        got_BT, _ = token_logprobs(model, ids_BT, attention_BT.to(dtype), completion_BT.to(dtype))
        assert torch.equal(got_BT, wanted_BT)


def test_entropy_of_known_distributions() -> None:
    uniform = from_logits(torch.zeros(1, 8), torch.tensor([0]))
    assert uniform[0].item() == pytest.approx(-math.log(8)) and uniform[1].item() == pytest.approx(math.log(8))
    forbidden = from_logits(torch.tensor([[0.0, 0.0, -math.inf]]), torch.tensor([0]))
    assert forbidden[1].item() == pytest.approx(math.log(2))
    sharp = from_logits(torch.tensor([[0.0, math.log(3)]]), torch.tensor([1]), temperature=0.5)
    assert sharp[0].item() == pytest.approx(math.log(0.9))


def test_refusals() -> None:
    model, (ids_BT, attention_BT, completion_BT) = build("llama"), batch("left")
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(PonderError, match="temperature is"):
            token_logprobs(model, ids_BT, attention_BT, completion_BT, temperature)
    first = attention_BT.cumsum(-1) == 1  # row 1's first real token has only padding before it, row 0's has nothing
    for row in (0, 1):
        mask_BT = torch.zeros_like(ids_BT)
        mask_BT[row] = first[row]
        with pytest.raises(PonderError, match="has no token before it"):
            token_logprobs(model, ids_BT, attention_BT, mask_BT)
    ids_BT, attention_BT, completion_BT = batch("right")
    completion_BT[1, 8] = 1
    with pytest.raises(PonderError, match="is padding"):
        token_logprobs(model, ids_BT, attention_BT, completion_BT)
