"""The scripted sampler behaves like a real one, but for its words."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Sampler, SamplingParams
from ponder.sampling.scripted import BYTES_EOS, ScriptedSampler


def texts(sampler: ScriptedSampler, prompts: list[str], n: int = 1, **params: Any) -> list[str]:
    return [c.text for c in sampler.sample(prompts, SamplingParams(n=n, **params), seed=0)]


def test_the_three_kinds_of_script() -> None:
    assert texts(ScriptedSampler(lambda prompt, index: f"{prompt}{index}"), ["a", "b"], n=2) == ["a0", "a1", "b0", "b1"]
    mapping = ScriptedSampler({"a": "one", "b": ["two", "three"]})
    assert texts(mapping, ["b", "a"], n=3) == ["two", "three", "two", "one", "one", "one"]
    assert texts(ScriptedSampler(["x", "y", "z"]), ["a", "b"], n=2) == ["x", "y", "z", "x"]
    assert texts(ScriptedSampler("always"), ["a", "b"]) == ["always", "always"]


def test_a_completion_is_a_real_one(tokenizer: Any) -> None:
    sampler = ScriptedSampler(["84 naïve"], tokenizer, logprob=-0.5, version=3)
    assert isinstance(sampler, Sampler)
    (c,) = sampler.sample(["What is 12 times 7?"], SamplingParams(), seed=0)
    ids = tokenizer("84 naïve")["input_ids"]
    assert c.prompt_ids == tuple(tokenizer("What is 12 times 7?")["input_ids"])
    assert c.token_ids == (*ids, tokenizer.eos_token_id)
    assert c.logprobs == (-0.5,) * (len(ids) + 1)
    assert (c.text, c.finish, c.version) == ("84 naïve", "stop", 3)


def test_limits_and_stop_strings_are_those_of_a_real_sampler() -> None:
    sampler = ScriptedSampler(["3 + 4 = 7"])
    (c,) = sampler.sample(["?"], SamplingParams(max_completion_length=5), seed=0)
    assert (c.text, c.finish, c.token_ids) == ("3 + 4", "length", tuple(b"3 + 4"))
    (c,) = sampler.sample(["?"], SamplingParams(max_completion_length=9), seed=0)
    assert (c.text, c.finish) == ("3 + 4 = 7", "length")
    (c,) = sampler.sample(["?"], SamplingParams(max_completion_length=10), seed=0)
    assert (c.text, c.finish, c.token_ids[-1]) == ("3 + 4 = 7", "stop", BYTES_EOS)
    (c,) = sampler.sample(["?"], SamplingParams(stop=("4 =", "+ 4")), seed=0)
    assert (c.text, c.finish, c.token_ids) == ("3 ", "stop", tuple(b"3 + 4"))
    (c,) = sampler.sample(["?"], SamplingParams(stop=("= 7",), max_completion_length=4), seed=0)
    assert (c.text, c.finish) == ("3 + ", "length")


def test_it_remembers_what_it_was_asked_and_reports_each_end() -> None:
    sampler, seen = ScriptedSampler(["x"]), []

    def on_finish(index: int, completion: Completion) -> None:
        seen.append((index, completion.text))

    sampler.sample(["p", "q"], SamplingParams(n=2), seed=9, on_finish=on_finish)
    assert seen == [(i, "x") for i in range(4)]
    (call,) = sampler.calls
    assert (call.prompts, call.params.n, call.seed) == (("p", "q"), 2, 9)


def test_a_script_that_lacks_a_text_says_so() -> None:
    with pytest.raises(PonderError, match="no text for the prompt 'b'"):
        ScriptedSampler({"a": "x"}).sample(["b"], SamplingParams(), seed=0)
    with pytest.raises(PonderError, match="script is empty"):
        ScriptedSampler([])
