"""When a completion ends: end tokens, and stop strings, which may span tokens."""

from __future__ import annotations

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
        self.tail = (
            max((len(text.encode()) for text in stop), default=0) + 4
        )  # a token is at least one byte, but for oddities

    def flags(self, size: int) -> list[bool]:
        """Which of the `size` tokens may complete a stop string."""
        last = {text[-1] for text in self.stop}
        texts = self.tokenizer.batch_decode([[token] for token in range(min(size, len(self.tokenizer)))])
        anything = any(
            char.isspace() for char in last
        )  # some tokenizers add or drop a space according to the neighbours
        # U+FFFD: part of a character, which may be the last one.
        flags = [anything or not text or "�" in text or not last.isdisjoint(text) for text in texts]
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
