"""The local sampler: what a completion is, when it ends, and what it may depend on."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Sampler, SamplingParams
from ponder.sampling import local
from ponder.sampling.local import LocalSampler
from tests.sampling.tiny_models import EOS, make_model, make_prompts, make_tokenizer

LENGTHS = [9, 1, 4, 23, 2, 9, 17, 5]
TEXTS = ["What is 12 times 7?", "Solve for x:", "Alice says"]


def writer(text: str, context: int = 128) -> Any:
    """A model that, from any prompt of one token, writes `text` (whose tokens must differ) and then the end token.

    GPT-2 without attention or feed-forward: each token's embedding leads to the next token alone.
    """
    model = make_model("gpt2", max_position_embeddings=context)
    ids = make_tokenizer()(text)["input_ids"]
    assert len(set(ids)) == len(ids), "a token stands for a state"
    with torch.no_grad():
        for parameter in model.transformer.h.parameters():
            parameter.zero_()
        model.transformer.wpe.weight.zero_()
        model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
        embedding = torch.randn(model.transformer.wte.weight.shape, generator=torch.Generator().manual_seed(0))
        model.transformer.wte.weight.copy_(embedding)
        for now, following in zip([5, *ids], [*ids, EOS], strict=True):
            state = model.transformer.ln_f(embedding[now])
            model.lm_head.weight[following] += 50 * state / state.norm() ** 2
    return model


def complete(model: Any, params: SamplingParams, **options: Any) -> Completion:
    return LocalSampler(model, make_tokenizer(), **options).sample_ids([[5]], params, seed=0)[0]


def test_it_is_a_sampler_and_returns_what_it_promises(qwen3: Any, tokenizer: Any) -> None:
    sampler = LocalSampler(qwen3, tokenizer, version=7)
    assert isinstance(sampler, Sampler)
    completions = sampler.sample(TEXTS, SamplingParams(n=3, max_completion_length=10), seed=0)
    assert len(completions) == 9
    for at, c in enumerate(completions):
        assert list(c.prompt_ids) == tokenizer(TEXTS[at // 3])["input_ids"]
        assert 1 <= len(c.token_ids) <= 10
        assert len(c.logprobs) == len(c.token_ids)
        assert all(logp <= 0 for logp in c.logprobs)
        assert c.text == tokenizer.decode(c.token_ids)
        assert c.finish == "length"
        assert c.version == 7
        assert all(type(token) is int for token in c.token_ids)
    assert len({c.token_ids for c in completions}) == 9


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_a_result_does_not_depend_on_the_batch(name: str, tokenizer: Any) -> None:
    """Alone, among others, in another order, with other numbers of rows in flight: in float64 to the last token."""
    model = make_model(name).double()
    prompts, params = make_prompts(LENGTHS), SamplingParams(n=3, max_completion_length=20)
    reference = LocalSampler(model, tokenizer, max_batch_rows=64).sample_ids(prompts, params, seed=5)
    assert len({c.token_ids for c in reference}) == len(reference)

    for rows in (1, 4):
        again = LocalSampler(model, tokenizer, max_batch_rows=rows).sample_ids(prompts, params, seed=5)
        assert [c.token_ids for c in again] == [c.token_ids for c in reference]
    backwards = LocalSampler(model, tokenizer, max_batch_rows=7).sample_ids(prompts[::-1], params, seed=5)
    for at in range(len(prompts)):
        mirrored = len(prompts) - 1 - at
        assert [c.token_ids for c in backwards[3 * mirrored : 3 * mirrored + 3]] == [
            c.token_ids for c in reference[3 * at : 3 * at + 3]
        ]
    alone = LocalSampler(model, tokenizer).sample_ids([prompts[3]], params, seed=5)
    assert [c.token_ids for c in alone] == [c.token_ids for c in reference[9:12]]
    fewer = LocalSampler(model, tokenizer).sample_ids(
        [prompts[3]], SamplingParams(n=1, max_completion_length=9), seed=5
    )
    assert fewer[0].token_ids == reference[9].token_ids[:9]


def test_another_seed_gives_other_samples(qwen3: Any, tokenizer: Any) -> None:
    sampler, params = LocalSampler(qwen3, tokenizer), SamplingParams(max_completion_length=10)
    first, second = (sampler.sample(TEXTS, params, seed) for seed in (1, 2))
    assert first == sampler.sample(TEXTS, params, 1)
    assert all(a.token_ids != b.token_ids for a, b in zip(first, second, strict=True))


def test_the_global_generator_is_left_alone(qwen3: Any, tokenizer: Any) -> None:
    state = torch.random.get_rng_state()
    LocalSampler(qwen3, tokenizer).sample(TEXTS, SamplingParams(max_completion_length=5), seed=0)
    assert torch.equal(state, torch.random.get_rng_state())


def test_greedy_samples_of_a_prompt_are_alike(qwen3: Any, tokenizer: Any) -> None:
    params = SamplingParams(n=2, max_completion_length=8, temperature=0.0)
    seen: list[int] = []
    out = LocalSampler(qwen3, tokenizer).sample(TEXTS, params, 0, on_finish=lambda index, _: seen.append(index))
    assert [out[0], out[2], out[4]] == [out[1], out[3], out[5]]
    assert sorted(seen) == list(range(6))


def test_nothing_to_do_gives_nothing(qwen3: Any, tokenizer: Any) -> None:
    assert LocalSampler(qwen3, tokenizer).sample([], SamplingParams(), seed=0) == []


def test_every_end_token_ends_and_is_kept_but_not_read(tokenizer: Any) -> None:
    model = writer("yes, 84")
    whole = complete(model, SamplingParams(temperature=0.0))
    assert (whole.text, whole.finish, whole.token_ids[-1]) == ("yes, 84", "stop", EOS)
    second = tokenizer("yes, 84")["input_ids"][1]
    early = complete(model, SamplingParams(temperature=0.0), eos_ids=(EOS, second))
    assert (early.finish, early.token_ids) == ("stop", whole.token_ids[:2])
    assert early.text == tokenizer.decode(whole.token_ids[:1])
    endless = complete(model, SamplingParams(temperature=0.0, max_completion_length=20), eos_ids=())
    assert endless.finish == "length"
    assert EOS in endless.token_ids
    assert "<eos>" in endless.text, "a special token that ends nothing stays in the text"


def test_an_end_token_as_the_last_that_fits_is_an_end() -> None:
    model = writer("yes, 84")
    length = len(make_tokenizer()("yes, 84")["input_ids"])
    exact = complete(model, SamplingParams(temperature=0.0, max_completion_length=length + 1))
    short = complete(model, SamplingParams(temperature=0.0, max_completion_length=length))
    assert (exact.finish, short.finish) == ("stop", "length")
    assert short.text == exact.text == "yes, 84"


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (("84",), "70 + 14 = "),
        ((" + 14 =",), "70"),  # over several tokens
        (("=", "14"), "70 + "),  # the earlier of two
        (("4 = ", "14 = 84"), "70 + 1"),  # the shorter is complete before the longer
        (("7",), ""),  # with the first token
        (("absent", " = 83"), "70 + 14 = 84"),  # a near miss
    ],
)
def test_stop_strings(stop: tuple[str, ...], text: str, tokenizer: Any) -> None:
    model = writer("70 + 14 = 84")
    c = complete(model, SamplingParams(temperature=0.0, stop=stop))
    assert c.text == text
    assert c.finish == "stop"
    read = tokenizer.decode(c.token_ids)
    if not text.endswith("84"):
        assert any(s in read for s in stop)
        assert not any(s in tokenizer.decode(c.token_ids[:-1]) for s in stop), "ends with the token that completes it"


def test_a_stop_string_inside_a_character_of_several_tokens() -> None:
    c = complete(writer("12x Übung"), SamplingParams(temperature=0.0, stop=("Ü",)))
    assert (c.text, c.finish) == ("12x ", "stop")
    c = complete(writer("a☃b"), SamplingParams(temperature=0.0, stop=("☃",)))  # three bytes, no merge
    assert (c.text, c.finish, len(c.token_ids)) == ("a", "stop", 4)


def test_stop_strings_in_sampled_text_match_a_search_of_the_whole_text(qwen3: Any, tokenizer: Any) -> None:
    """Random text, many rows, rows replaced: each ends where the same text without stop strings first holds one."""
    stop = ("e", " t", "10", "%Z")
    sampler = LocalSampler(qwen3, tokenizer, max_batch_rows=6, eos_ids=())
    free = sampler.sample(TEXTS, SamplingParams(n=12, max_completion_length=40), seed=3)
    held = sampler.sample(TEXTS, SamplingParams(n=12, max_completion_length=40, stop=stop), seed=3)
    assert {c.finish for c in held} == {"stop", "length"}
    for a, b in zip(free, held, strict=True):
        ends = [k for k in range(1, 41) if any(s in tokenizer.decode(a.token_ids[:k]) for s in stop)]
        assert b.token_ids == a.token_ids[: ends[0] if ends else 40]
        text = tokenizer.decode(b.token_ids)
        assert b.text == text[: min((text.find(s) for s in stop if s in text), default=len(text))]
        assert b.finish == ("stop" if ends else "length")


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_the_context_ends_a_completion_before_it_overflows(name: str, tokenizer: Any) -> None:
    model = make_model(name, max_position_embeddings=24)
    prompts = make_prompts([3, 20, 23])
    out = LocalSampler(model, tokenizer, eos_ids=()).sample_ids(prompts, SamplingParams(), seed=0)
    assert [len(c.prompt_ids) + len(c.token_ids) for c in out] == [24, 24, 24]
    assert {c.finish for c in out} == {"length"}
    shorter = LocalSampler(model, tokenizer, context_length=22, eos_ids=())
    assert len(shorter.sample_ids(prompts[:1], SamplingParams(), seed=0)[0].token_ids) == 19


@pytest.mark.parametrize("length", [24, 40])
def test_a_prompt_without_room_is_refused_by_name(length: int, tokenizer: Any) -> None:
    sampler = LocalSampler(make_model("qwen3", max_position_embeddings=24), tokenizer)
    with pytest.raises(PonderError, match=rf"prompt 1 has {length} tokens and the model's context is 24.*at most 23"):
        sampler.sample_ids(make_prompts([3, length]), SamplingParams(), seed=0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"max_completion_length": 0}, "max_completion_length is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"min_p": 1.5}, "min_p is 1.5"),
        ({"stop": ("",)}, "stop is"),
        ({"stop": "END"}, "stop is 'END'"),
    ],
)
def test_impossible_settings_are_refused_by_name(
    params: dict[str, Any], message: str, qwen3: Any, tokenizer: Any
) -> None:
    with pytest.raises(PonderError, match=message):
        LocalSampler(qwen3, tokenizer).sample(TEXTS, SamplingParams(**params), seed=0)


def test_what_cannot_be_sampled_from_is_refused_by_name(tokenizer: Any) -> None:
    model = make_model("qwen3")
    with pytest.raises(PonderError, match="prompts is one text"):
        LocalSampler(model, tokenizer).sample("What is 12 times 7?", SamplingParams(), seed=0)
    with pytest.raises(PonderError, match="prompt 1 is empty"):
        LocalSampler(model, tokenizer).sample(["x", ""], SamplingParams(), seed=0)
    with pytest.raises(PonderError, match="prompt 0 holds the token 320, and the model's vocabulary has 320"):
        LocalSampler(model, tokenizer).sample_ids([[5, 320]], SamplingParams(), seed=0)
    with pytest.raises(PonderError, match="context_length is 500, but the model's context is 128"):
        LocalSampler(model, tokenizer, context_length=500)
    with pytest.raises(PonderError, match="max_batch_rows is 0"):
        LocalSampler(model, tokenizer, max_batch_rows=0)
    nameless = make_model("qwen3", eos_token_id=None)
    nameless.generation_config.eos_token_id = None
    with pytest.raises(PonderError, match="names an end token"):
        LocalSampler(nameless, PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer))
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(PonderError, match="not finite"):
        LocalSampler(model, tokenizer).sample(["x"], SamplingParams(max_completion_length=3), seed=0)


def test_recurrent_models_are_refused(tokenizer: Any) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=320, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(PonderError, match="recurrent state"):
        LocalSampler(model, tokenizer)


def test_an_interrupt_leaves_the_sampler_and_the_model_as_they_were(tokenizer: Any) -> None:
    for name in ("qwen3", "gpt2"):
        model = make_model(name).train()
        model.get_input_embeddings().eval()  # a module with a mode of its own
        modes = [module.training for module in model.modules()]
        sampler, params = LocalSampler(model, tokenizer, max_batch_rows=2), SamplingParams(n=2, max_completion_length=5)
        expected = sampler.sample(TEXTS, params, seed=0)

        def interrupt(index: int, completion: Completion) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sampler.sample(TEXTS, params, seed=0, on_finish=interrupt)
        assert [module.training for module in model.modules()] == modes
        assert sampler.sample(TEXTS, params, seed=0) == expected
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_dropout_is_off_while_sampling(tokenizer: Any) -> None:
    model = make_model("gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    params = SamplingParams(max_completion_length=6)
    expected = LocalSampler(model, tokenizer).sample(TEXTS, params, seed=0)
    assert LocalSampler(model.train(), tokenizer).sample(TEXTS, params, seed=0) == expected


def test_completions_are_reported_as_they_end(qwen3: Any, tokenizer: Any) -> None:
    prompts = make_prompts([3, 100, 110, 90])  # the context ends them at different steps
    seen: list[tuple[int, Completion]] = []
    sampler = LocalSampler(qwen3, tokenizer, max_batch_rows=2, eos_ids=())
    out = sampler.sample_ids(prompts, SamplingParams(), 0, on_finish=lambda i, c: seen.append((i, c)))
    assert [index for index, _ in seen] != sorted(index for index, _ in seen)
    assert dict(seen) == dict(enumerate(out))


def test_a_callback_may_train(qwen3: Any, tokenizer: Any) -> None:
    weight = torch.nn.Parameter(torch.ones(2))

    def on_finish(index: int, completion: Completion) -> None:
        (weight * torch.tensor(completion.logprobs[:2])).sum().backward()

    LocalSampler(qwen3, tokenizer).sample(TEXTS, SamplingParams(max_completion_length=3), 0, on_finish=on_finish)
    assert weight.grad is not None


def test_beginning_of_text_is_added_once() -> None:
    inner = make_tokenizer().backend_tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", bos_token="<pad>")
    params, ids = SamplingParams(max_completion_length=1), tuple(make_tokenizer()("yes")["input_ids"])

    def read(sampler: LocalSampler, prompts: list[str]) -> list[tuple[int, ...]]:
        return [c.prompt_ids for c in sampler.sample(prompts, params, seed=0)]

    assert read(LocalSampler(make_model("qwen3"), tokenizer), ["yes"]) == [ids]
    with_bos = copy.deepcopy(tokenizer)
    with_bos.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<pad> $A <eos>", special_tokens=[("<pad>", 0), ("<eos>", 1)]
    )
    sampler = LocalSampler(make_model("qwen3"), with_bos)
    assert read(sampler, ["yes", "<pad>yes", ""]) == [(0, *ids), (0, *ids), (0,)]


def test_few_rows_are_in_flight_where_memory_is_short(
    qwen3: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = LocalSampler(qwen3, tokenizer, max_batch_rows=100)
    a_row = 2 * 2 * 2 * 16 * 4 * 60  # keys and values, layers, heads, head size, bytes, positions
    monkeypatch.setattr(local, "_free_memory", lambda device: int(a_row * 7 / local._MEMORY_SHARE) + 9)
    assert sampler._affordable(longest=60, fused=True) == 7
    assert sampler._affordable(longest=60, fused=False) == 2
    monkeypatch.setattr(local, "_free_memory", lambda device: 1)
    assert sampler._affordable(longest=60, fused=True) == 1
    monkeypatch.undo()
    assert sampler._affordable(longest=60, fused=True) == 100


def test_a_callers_autocast_does_not_round_what_is_sampled(qwen3: Any, tokenizer: Any) -> None:
    params = SamplingParams(max_completion_length=8)
    expected = LocalSampler(qwen3, tokenizer).sample(TEXTS, params, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert LocalSampler(qwen3, tokenizer).sample(TEXTS, params, seed=0) == expected


def test_a_model_that_cannot_be_batched_is_not_sampled_from_in_silence(tokenizer: Any) -> None:
    """One that takes no position ids counts padding as text."""

    class Unpositioned(GPT2LMHeadModel):
        def forward(self, input_ids: Any, attention_mask: Any = None, past_key_values: Any = None, **_: Any) -> Any:
            positions = torch.arange(input_ids.shape[1])[None]
            if past_key_values is not None:
                positions = positions + past_key_values.get_seq_length()
            return super().forward(
                input_ids=input_ids, attention_mask=attention_mask, past_key_values=past_key_values,
                position_ids=positions, use_cache=past_key_values is not None,
            )  # fmt: skip

    model = make_model("gpt2")
    model.__class__ = Unpositioned
    with pytest.warns(UserWarning, match="sampled in batches, its logits differ"):
        LocalSampler(model, tokenizer)
