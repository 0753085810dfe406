"""Token ids and loss masks of a prompt's completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError


@dataclass(frozen=True)
class Encoded:
    ids: tuple[int, ...]
    mask: tuple[bool, ...]


def _joined(prompt: Sequence[int], whole: Sequence[int]) -> Encoded:
    at = 0
    while at < min(len(prompt), len(whole)) and prompt[at] == whole[at]:
        at += 1
    return Encoded(tuple(whole), tuple(i >= at for i in range(len(whole))))


def encode_completion(tokenizer: Any, prompt: str, completion: str) -> Encoded:
    head = list(tokenizer(prompt)["input_ids"])
    tail = list(tokenizer(completion, add_special_tokens=False)["input_ids"])
    if tail[-1:] != [tokenizer.eos_token_id]:
        tail.append(tokenizer.eos_token_id)
    return _joined(head, [*head, *tail])


def encode_chat(tokenizer: Any, messages: Sequence[Mapping[str, Any]], prompt: int, **arguments: Any) -> Encoded:
    if not tokenizer.chat_template:
        raise PonderError("the tokenizer has no chat template; give rows of text")
    render = lambda part, **more: list(  # noqa: E731
        tokenizer.apply_chat_template(list(part), tokenize=True, return_dict=False, **more, **arguments)
    )
    return _joined(render(messages[:prompt], add_generation_prompt=True), render(messages))
