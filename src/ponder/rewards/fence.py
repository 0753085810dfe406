"""Texts shown to a judge so that they cannot pass for anything but what is judged.

They stand between lines with a mark that is a hash of themselves: no writer can have put it there, for a text that
holds its own hash cannot be found; nothing is drawn at random, so the same text gives the same prompt. Special tokens
written as text are broken, or a chat template would read them as the end of a turn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_SPECIAL = re.compile(
    r"<(?=[|｜])|(?<=[|｜])>|<(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|turn|begin_of_text)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS)\])|<(?=<SYS>>|</SYS>>)"
)


def mark_of(*texts: str) -> str:
    """24 hexadecimal digits that occur in none of `texts`, a function of them alone."""
    digest = hashlib.sha256("\x1f".join(f"{len(text)}:{text}" for text in texts).encode("utf-8", "replace"))
    mark = digest.hexdigest()[:24]
    while any(mark in text for text in texts):
        mark = hashlib.sha256(mark.encode()).hexdigest()[:24]
    return mark


def fenced(title: str, text: str, mark: str) -> str:
    """`text` between two lines with its title and the mark."""
    return f"===== {title} {mark} =====\n{text}\n===== end of {title} {mark} ====="


def defused(text: str, special: Sequence[str] = (), most: int = 24_000) -> str:
    """`text` with special tokens broken by a blank after their first sign, and its middle left out beyond `most`
    characters.

    special: the tokens of the judge's own tokenizer, besides the usual ones.
    """
    if len(text) > most:
        half = most // 2
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters are left out here ...]\n{text[-half:]}"
    for token in sorted(special, key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return _SPECIAL.sub(lambda match: match[0] + " " if match[0] in "<[" else " " + match[0], text)
