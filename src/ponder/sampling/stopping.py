"""When a completion ends: end tokens, and stop strings, which may span tokens."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

EOS, LOOK = 1, 2
"""Flags of a token: it ends the completion; it may complete a stop string, so the text must be looked at."""


class StopText:
    """Finds the token that completes one of `stop`, without decoding after every token.

    Only a token whose own text holds the last character of a stop string can complete it. Those few are flagged once
    for the whole vocabulary; after them, and only then, the last tokens are decoded, and on a hit all of them.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        # A token is at least a byte of text, but for oddities.
        self.tail = max((len(text.encode()) for text in stop), default=0) + 4

    def flags(self, size: int) -> list[bool]:
        """Which of the `size` tokens may complete a stop string."""
        last = {text[-1] for text in self.stop}
        # Some tokenizers add or drop a space according to a token's neighbours.
        anything = any(char.isspace() for char in last)
        # U+FFFD: part of a character, which may be the last one.
        texts = _token_texts(self.tokenizer)[:size]
        flags = [anything or not text or "\ufffd" in text or not last.isdisjoint(text) for text in texts]
        return flags + [False] * (size - len(flags))

    def near(self, tail_ids: Sequence[int]) -> bool:
        """Whether a completion that ends in these tokens (`self.tail` of them, or all) may end in a stop string.

        The whole text decides (`cut`): a tail's first characters may be decoded differently there.
        """
        text = decode(self.tokenizer, tail_ids)
        short = len(text) < max(map(len, self.stop)) and len(tail_ids) >= self.tail  # tokens without text
        return short or any(stop in text for stop in self.stop)

    def cut(self, text: str) -> str | None:
        """`text` up to the first stop string; None where it holds none."""
        places = [place for stop in self.stop if (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else None


_TEXTS: weakref.WeakKeyDictionary[Any, list[str]] = weakref.WeakKeyDictionary()


def _token_texts(tokenizer: Any) -> list[str]:
    """Each token's text by itself; worked out once for a tokenizer, and again where tokens were added to it."""
    size = len(tokenizer)
    if len(_TEXTS.get(tokenizer, ())) != size:
        _TEXTS[tokenizer] = [decode(tokenizer, [token]) for token in range(size)]
    return _TEXTS[tokenizer]


def decode(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """The tokens' text, special tokens kept and spaces left alone."""
    text: str = tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def token_flags(size: int, eos_ids: Sequence[int], stop: StopText | None, device: torch.device) -> Tensor:
    """uint8 [V]: EOS and LOOK of every token."""
    flags_V = torch.zeros(size, dtype=torch.uint8)
    if stop is not None:
        flags_V[torch.tensor(stop.flags(size))] = LOOK
    flags_V[[token for token in eos_ids if 0 <= token < size]] = EOS
    return flags_V.to(device)
