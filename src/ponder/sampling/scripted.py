"""A sampler that plays a script: the public fake for tests and for trying out everything around a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Finish, SamplingParams
from ponder.sampling.stopping import StopText

Script = Callable[[str, int], str] | Mapping[str, str | Sequence[str]] | Sequence[str]

BYTES_EOS = 256
"""The end token where there is no tokenizer, and a text's tokens are its bytes."""


@dataclass(frozen=True)
class Call:
    """What `ScriptedSampler.sample` was asked for."""

    prompts: tuple[str, ...]
    params: SamplingParams
    seed: int


class ScriptedSampler:
    """Answers from a script instead of a model, in the same tokens, limits, stop strings and order as a real sampler.

    script: a function `(prompt, index of the sample) -> text`; or a mapping from the prompt to its text, or to texts
        that its samples take in turn; or a list of texts, which the completions of a call take in turn, prompt-major.
    tokenizer: a Hugging Face tokenizer with an end token; without one, tokens are UTF-8 bytes and `BYTES_EOS`.
    logprob: what every token is said to have; 0, certainty, is the truth of a script.

    `calls` records what was asked. A text that is cut by `max_completion_length` finishes with "length".
    """

    def __init__(self, script: Script, tokenizer: Any = None, *, logprob: float = 0.0, version: int = 0) -> None:
        if isinstance(script, str):
            script = [script]
        if not callable(script) and not script:
            raise PonderError("the script is empty: give a function, a mapping or at least one text")
        self.script, self.tokenizer, self.logprob, self.version = script, tokenizer or _Bytes(), logprob, version
        self.calls: list[Call] = []

    def sample(
        self,
        prompts: Sequence[str],
        params: SamplingParams,
        seed: int,
        on_finish: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """`params.n` completions of each prompt, prompt-major; `seed` and the filters change nothing."""
        self.calls.append(Call(tuple(prompts), params, seed))
        completions = []
        for place in range(len(prompts) * params.n):
            prompt, index = prompts[place // params.n], place % params.n
            completions.append(self._completion(prompt, self._text(prompt, index, place), params))
            if on_finish is not None:
                on_finish(place, completions[-1])
        return completions

    def _text(self, prompt: str, index: int, place: int) -> str:
        if callable(self.script):
            return self.script(prompt, index)
        if isinstance(self.script, Mapping):
            if prompt not in self.script:
                raise PonderError(f"the script has no text for the prompt {prompt!r}")
            texts = self.script[prompt]
            return texts if isinstance(texts, str) else texts[index % len(texts)]
        return self.script[place % len(self.script)]

    def _completion(self, prompt: str, text: str, params: SamplingParams) -> Completion:
        prompt_ids = self._encode(prompt)
        token_ids = [*self._encode(text), self.tokenizer.eos_token_id]
        finish: Finish = "stop"
        stop = StopText(self.tokenizer, params.stop)
        if params.stop and stop.cut(text) is not None:
            ends = (
                count for count in range(1, len(token_ids)) if stop.cut(self._decode(token_ids[:count])) is not None
            )
            token_ids = token_ids[: next(ends, len(token_ids))]
        if len(token_ids) > params.max_completion_length:
            token_ids, finish = token_ids[: params.max_completion_length], "length"
        ended = token_ids[-1] == self.tokenizer.eos_token_id
        text = self._decode(token_ids[:-1] if ended else token_ids)
        cut = stop.cut(text) if params.stop else None
        logprobs = (self.logprob,) * len(token_ids)
        return Completion(
            tuple(prompt_ids), tuple(token_ids), logprobs, text if cut is None else cut, finish, self.version
        )

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(
            list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text


class _Bytes:
    """Bytes as tokens, with the few methods of a tokenizer that are used here."""

    eos_token_id = BYTES_EOS

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        return {"input_ids": list(text.encode())}

    def decode(self, token_ids: Sequence[int], **_: Any) -> str:
        return bytes(token for token in token_ids if token < BYTES_EOS).decode(errors="replace")
