"""Conversations as other tools write them, brought to `role` and `content`, the prompt apart from its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import eq
from typing import Any

Message = Mapping[str, Any]

SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "observation": "tool"}
"""ShareGPT's names of roles that are not the field's."""


def from_sharegpt(turns: Sequence[Message], system: str | None = None) -> list[Message]:
    """ShareGPT's turns of `from` and `value` as messages; turns that are messages already stay as they are.

    system: the row's system prompt, which becomes the first message where the turns have none.
    """
    messages: list[Message] = [
        {"role": SPEAKERS.get(turn["from"], turn["from"]), "content": turn.get("value")} if "from" in turn else turn
        for turn in turns
    ]
    if system and not any(message.get("role") == "system" for message in messages):
        messages.insert(0, {"role": "system", "content": system})
    return messages


def alike(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many messages two conversations begin with alike, the last of either not counted: their common prompt."""
    return [*map(eq, one[:-1], other[:-1]), False].index(False)


def after_prompt(prompt: str | Sequence[Message], said: Sequence[Message]) -> tuple[Message, ...]:
    """What follows the prompt, where `said` is the whole conversation (UltraFeedback's rows); else `said`."""
    asked: Sequence[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    repeated = [_key(message) for message in said[: len(asked)]] == [_key(message) for message in asked]
    return tuple(said[len(asked) :] if repeated and len(said) > len(asked) else said)


def _key(message: Message) -> tuple[Any, Any]:
    return message.get("role"), message.get("content")
