"""Joined weights share the parameters' memory: nothing can be stale, and nothing else notices."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ponder.core.types import SamplingParams
from ponder.sampling.local import LocalSampler
from ponder.sampling.weights import joined, read_weights
from tests.sampling.tiny_models import full_logprobs, make_model, make_prompts, make_tokenizer


def adamw_step(model: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    ids = torch.tensor([make_prompts([20])[0]])
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


def in_place(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.2)


def behind_autograd(model: Any) -> None:
    """Writes through `.data`, which no version counter sees."""
    for parameter in model.parameters():
        parameter.data.mul_(1.2)


def new_memory(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 1.2


def one_projection_replaced(model: Any) -> None:
    model.model.layers[0].self_attn.k_proj.weight.data = torch.randn_like(model.model.layers[0].self_attn.k_proj.weight)


def one_parameter_replaced(model: Any) -> None:
    projection = model.model.layers[1].mlp.up_proj
    projection.weight = torch.nn.Parameter(torch.randn_like(projection.weight))


def loaded(model: Any) -> None:
    model.load_state_dict(make_model("qwen3", seed=7).state_dict())


def assigned(model: Any) -> None:
    model.load_state_dict(make_model("qwen3", seed=7).state_dict(), assign=True)


@pytest.mark.parametrize(
    "change",
    [
        adamw_step,
        in_place,
        behind_autograd,
        new_memory,
        one_projection_replaced,
        one_parameter_replaced,
        loaded,
        assigned,
    ],
)
def test_every_way_of_changing_weights_is_seen(change: Callable[[Any], None]) -> None:
    model = make_model("qwen3")
    sampler = LocalSampler(model, make_tokenizer())
    params = SamplingParams(max_completion_length=12)
    before = sampler.sample_ids(make_prompts([5, 9]), params, seed=0)
    change(model)
    after = sampler.sample_ids(make_prompts([5, 9]), params, seed=0)
    assert sampler.fused
    assert [c.logprobs for c in before] != [c.logprobs for c in after]
    for c in after:
        expected = full_logprobs(model, c.prompt_ids, c.token_ids)
        torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=2e-5, rtol=1e-4)


def test_joining_changes_no_number_and_no_gradient() -> None:
    """Also when the sampler is first made inside inference_mode, whose tensors could not be trained."""
    joint, apart = make_model("llama-biases"), make_model("llama-biases")
    with torch.inference_mode():
        LocalSampler(joint, make_tokenizer()).sample_ids(make_prompts([4]), SamplingParams(max_completion_length=4), 0)
    ids = torch.tensor([make_prompts([20])[0]])
    losses = [model(input_ids=ids, labels=ids).loss for model in (joint, apart)]
    for loss in losses:
        loss.backward()
    assert losses[0] == losses[1]
    for (name, a), (_, b) in zip(joint.named_parameters(), apart.named_parameters(), strict=True):
        assert not a.is_inference()
        assert torch.equal(a, b), name
        assert torch.equal(a.grad, b.grad), name
    for model in (joint, apart):
        torch.optim.AdamW(model.parameters(), lr=0.1).step()
    for (name, a), (_, b) in zip(joint.named_parameters(), apart.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_joined_rows_are_the_parameters_own_memory() -> None:
    parameters = [torch.nn.Parameter(torch.randn(rows, 3)) for rows in (4, 2, 2)]
    values = torch.cat([p.detach().clone() for p in parameters])
    whole = joined(parameters)
    assert torch.equal(whole, values)
    assert joined(parameters).data_ptr() == whole.data_ptr(), "joined once, they stay joined"
    with torch.no_grad():
        parameters[1].fill_(5.0)
    assert torch.equal(whole[4:6], torch.full((2, 3), 5.0))


def test_a_joined_model_is_copied_and_saved_like_any_other(tmp_path: Path) -> None:
    model = make_model("qwen3")
    read_weights(model)
    twin = copy.deepcopy(model)
    in_place(twin)
    assert not torch.equal(twin.model.layers[0].self_attn.q_proj.weight, model.model.layers[0].self_attn.q_proj.weight)
    model.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    state = torch.load(tmp_path / "state.pt")
    for name, value in make_model("qwen3").state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
        assert torch.equal(state[name], value), name


def test_a_half_way_change_of_dtype_is_followed() -> None:
    model = make_model("qwen3")
    sampler = LocalSampler(model, make_tokenizer())
    params = SamplingParams(max_completion_length=12)
    sampler.sample_ids(make_prompts([5]), params, seed=0)
    model.double()
    for c in sampler.sample_ids(make_prompts([5, 9]), params, seed=0):
        expected = full_logprobs(model, c.prompt_ids, c.token_ids)
        torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=1e-6, rtol=1e-6)


def test_what_the_decode_loop_cannot_see_sends_sampling_through_the_model() -> None:
    """A hook, a layer of another class, and arithmetic that only a comparison of logits can tell."""
    params = SamplingParams(max_completion_length=12)

    hooked = make_model("qwen3")
    sampler = LocalSampler(hooked, make_tokenizer())
    handle = hooked.model.layers[0].mlp.register_forward_hook(lambda module, args, out: out * 0.5)
    assert not sampler.fused
    other = make_model("qwen3")

    class Doubled(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2

    other.model.layers[1].self_attn.q_proj.__class__ = Doubled
    assert not LocalSampler(other, make_tokenizer()).fused

    subtle = make_model("qwen3")
    subtle.model.layers[0].self_attn.scaling *= 3.0
    with pytest.warns(UserWarning, match="decode loop's logits differ"):
        assert not LocalSampler(subtle, make_tokenizer()).fused

    for model in (hooked, other, subtle):
        for c in LocalSampler(model, make_tokenizer()).sample_ids(make_prompts([5, 9]), params, seed=0):
            expected = full_logprobs(model, c.prompt_ids, c.token_ids)
            torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=2e-5, rtol=0)
    handle.remove()
    assert sampler.fused


def test_gradient_checkpointings_own_hook_is_no_hindrance() -> None:
    model = make_model("qwen3")
    model.enable_input_require_grads()
    assert LocalSampler(model, make_tokenizer()).fused
