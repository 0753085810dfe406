"""The local sampler against transformers: the same greedy tokens, and the log-probabilities of an uncached forward."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from ponder.core.types import Completion, SamplingParams
from ponder.sampling.local import LocalSampler
from tests.sampling.tiny_models import EOS, FUSED, GENERIC, PAD, full_logprobs, make_model, make_prompts, make_tokenizer

LENGTHS = [9, 1, 4, 23, 2, 9, 17, 5, 3, 12, 7, 30]
NEW = 24


def generated(model: Any, prompt_ids: list[int], new: int = NEW) -> list[int]:
    """What `transformers.generate` answers greedily."""
    ids = torch.tensor([prompt_ids], device=model.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, eos_token_id=EOS,
            pad_token_id=PAD,
        )  # fmt: skip
    return out[0, len(prompt_ids) :].tolist()


def greedy(model: Any, prompts: list[list[int]], rows: int, n: int = 1) -> list[Completion]:
    params = SamplingParams(n=n, max_completion_length=NEW, temperature=0.0)
    return LocalSampler(model, make_tokenizer(), max_batch_rows=rows).sample_ids(prompts, params, seed=0)


@pytest.mark.parametrize("name", [*FUSED, *GENERIC])
def test_greedy_equals_generate(name: str) -> None:
    """Token for token, with prompts of mixed lengths and more work than rows in flight."""
    model, prompts = make_model(name), make_prompts(LENGTHS)
    assert LocalSampler(model, make_tokenizer()).fused == (name in FUSED)
    completions = greedy(model, prompts, rows=5)
    expected = [generated(model, prompt) for prompt in prompts]
    assert [list(c.token_ids) for c in completions] == expected
    assert len({tuple(tokens) for tokens in expected}) == len(prompts), "the prompts must lead to different answers"


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_greedy_stops_where_generate_stops(name: str) -> None:
    """With an end token that these models do reach, at different steps, and several samples a prompt."""
    model, prompts = make_model(name), make_prompts(LENGTHS)
    with torch.no_grad():  # the embedding's row is the head's: a longer one is reached sooner
        model.get_output_embeddings().weight[EOS] *= 4.0
    completions = greedy(model, prompts, rows=4, n=2)
    expected = [tokens for prompt in prompts for tokens in [generated(model, prompt)] * 2]
    assert [list(c.token_ids) for c in completions] == expected
    assert {c.finish for c in completions} == {"stop", "length"}
    assert all((c.finish == "stop") == (c.token_ids[-1] == EOS) for c in completions)


def test_a_hidden_key_is_never_seen() -> None:
    """Batched as alone: neither padding nor what a former row left in a slot may leak into a row."""
    model, prompts = make_model("qwen3"), make_prompts([30, 2, 25, 3])
    together = greedy(model, prompts, rows=2)
    assert [c.token_ids for c in together] == [greedy(model, [p], rows=1)[0].token_ids for p in prompts]


@pytest.mark.parametrize(
    ("name", "temperature"), [*((name, 1.0) for name in [*FUSED, *GENERIC]), ("qwen3", 0.7), ("gpt2", 0.7)]
)
def test_logprobs_equal_an_uncached_forward(name: str, temperature: float) -> None:
    model = make_model(name)
    params = SamplingParams(n=3, max_completion_length=NEW, temperature=temperature)
    sampler = LocalSampler(model, make_tokenizer(), max_batch_rows=5)
    for c in sampler.sample_ids(make_prompts(LENGTHS[:6]), params, seed=1):
        expected = full_logprobs(model, c.prompt_ids, c.token_ids, temperature)
        torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=2e-5, rtol=0)


def test_greedy_logprobs_are_those_at_temperature_one() -> None:
    model = make_model("qwen3")
    for c in greedy(model, make_prompts(LENGTHS), rows=5):
        expected = full_logprobs(model, c.prompt_ids, c.token_ids)
        torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("filters", [{"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.2}])
def test_filters_do_not_change_what_the_logprobs_speak_of(filters: dict[str, Any]) -> None:
    model = make_model("qwen3")
    params = SamplingParams(max_completion_length=NEW, temperature=1.3, **filters)
    for c in LocalSampler(model, make_tokenizer()).sample_ids(make_prompts(LENGTHS), params, seed=2):
        expected = full_logprobs(model, c.prompt_ids, c.token_ids, 1.3)
        torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_half_precision_follows_the_model(name: str) -> None:
    """bf16: log-probabilities of float32 softmaxes over the model's own bf16 logits, within its rounding."""
    model = make_model(name).bfloat16()
    sampler = LocalSampler(model, make_tokenizer(), max_batch_rows=5)
    assert sampler.fused
    params = SamplingParams(max_completion_length=NEW)
    errors = [
        (torch.tensor(c.logprobs) - full_logprobs(model, c.prompt_ids, c.token_ids)).abs()
        for c in sampler.sample_ids(make_prompts(LENGTHS), params, seed=3)
    ]
    assert torch.cat(errors).mean() < 0.05
    assert torch.cat(errors).max() < 0.5


def test_adapters_are_sampled_with_the_weights_that_they_add() -> None:
    """A LoRA model of PEFT: not the decode loop's, and padded rows still get their right positions."""
    peft = pytest.importorskip("peft")
    base = make_model("qwen3")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], lora_dropout=0.5)
    model = peft.get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    sampler = LocalSampler(model, make_tokenizer(), max_batch_rows=5)
    assert not sampler.fused
    sampled = sampler.sample_ids(make_prompts(LENGTHS[:6]), SamplingParams(n=2, max_completion_length=NEW), seed=1)
    model.eval()
    for c in sampled:
        expected = full_logprobs(model, c.prompt_ids, c.token_ids)
        torch.testing.assert_close(torch.tensor(c.logprobs), expected, atol=2e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama-scaled-rope", "smollm3", "gpt2"])
def test_on_a_gpu_as_on_a_cpu(name: str) -> None:
    """float32: greedy tokens of `generate`; both precisions: the log-probabilities of an uncached forward."""
    torch.backends.cuda.matmul.allow_tf32 = False
    model, prompts = make_model(name).cuda(), make_prompts(LENGTHS)
    assert [list(c.token_ids) for c in greedy(model, prompts, rows=5)] == [generated(model, p) for p in prompts]
    params = SamplingParams(n=2, max_completion_length=NEW)
    for dtype, bound in ((torch.float32, 1e-4), (torch.bfloat16, 0.5)):
        sampler = LocalSampler(model.to(dtype), make_tokenizer(), max_batch_rows=5)
        for c in sampler.sample_ids(prompts, params, seed=1):
            error = (torch.tensor(c.logprobs) - full_logprobs(model, c.prompt_ids, c.token_ids)).abs().max()
            assert error < bound, (dtype, error)
