"""From preference rows to token ids: both sides of a pair, and which pairs can be learnt from.

What cannot be learnt from (nothing in a completion, two sides that are equal, a row longer than the context) is left
out, counted, and named by its row. What is no preference row at all is an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ponder.core.errors import PonderError
from ponder.tasks.shapes import Message, Preference
from ponder.training.preference_encode import Encoded, encode_chat, encode_completion

log = logging.getLogger("ponder")

Truncation = Literal["drop", "cut", "error"]

TemplateArguments = Callable[[Preference], Mapping[str, Any]]

NAMED = 5
"""Rows that a warning names, for each reason."""


@dataclass(frozen=True)
class Pair:
    """A pair, tokenised: prompt and completion of each side; `mask` is 1 on the completion's tokens."""

    chosen: Encoded
    rejected: Encoded
    row: int

    @property
    def length(self) -> int:
        """Padded tokens that the pair costs: both sides share a micro-batch, padded to the longer one."""
        return 2 * max(len(self.chosen.ids), len(self.rejected.ids))


@dataclass(frozen=True)
class Pairs:
    """The pairs to learn from. dropped: the numbers of the rows left out, by reason. cut: those that were cut."""

    pairs: tuple[Pair, ...]
    dropped: Mapping[str, tuple[int, ...]]
    cut: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """A hash of all token ids and masks, in order."""
        content = [[list(side.ids), list(map(int, side.mask))] for p in self.pairs for side in (p.chosen, p.rejected)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return {why: len(rows) for why, rows in self.dropped.items()}


def template_arguments(pair: Preference) -> Mapping[str, Any]:
    """A row's `chat_template_kwargs` (such as `{"enable_thinking": false}`), where it has any."""
    return getattr(pair, "chat_template_kwargs", None) or {}


def encode_pairs(
    examples: Sequence[Preference], tokenizer: Any, max_length: int, truncation: Truncation,
    arguments_of: TemplateArguments = template_arguments,
) -> Pairs:  # fmt: skip
    """Tokenise; leave out what cannot be learnt from.

    max_length: tokens of prompt and completion at most. truncation: what becomes of a longer side: the pair is dropped,
    the end of its completion is cut, or it is an error. arguments_of: a row's arguments of the chat template.
    Raises PonderError for a row whose sides are no answers to its prompt.
    """
    pairs: list[Pair] = []
    dropped: dict[str, list[int]] = {}
    cut: list[int] = []
    for example in examples:
        why = _blank(example)
        if not why:
            arguments = arguments_of(example)
            sides = [_side(example, name, tokenizer, arguments) for name in ("chosen", "rejected")]
            longest = max(len(side.ids) for side in sides)
            if longest > max_length and truncation == "error":
                raise PonderError(
                    f"row {example.row}: {longest} tokens, more than {max_length} (max_length); shorten it, or set "
                    "truncation to drop or cut"
                )
            if longest > max_length and truncation == "drop":
                why = f"longer than {max_length} tokens"
            else:
                chosen, rejected = (_head(side, max_length) for side in sides)
                if not any(chosen.mask) or not any(rejected.mask):
                    why = f"prompt fills the {max_length} tokens"
                elif tuple(chosen.ids) == tuple(rejected.ids):
                    why = "chosen and rejected are equal" + (" once cut" if longest > max_length else "")
                else:
                    pairs.append(Pair(chosen, rejected, example.row))
                    cut += [example.row] if longest > max_length else []
        if why:
            dropped.setdefault(why, []).append(example.row)
    return Pairs(tuple(pairs), {why: tuple(rows) for why, rows in dropped.items()}, tuple(cut))


def warn_of(what: str, found: Pairs) -> None:
    """One warning for each reason for which rows of `what` were left out, and one for those that were cut."""
    told = [*found.dropped.items(), *([("cut at the end of the completion", found.cut)] if found.cut else [])]
    total = len(found.pairs) + sum(found.counts.values())
    for why, rows in told:
        named = ", ".join(map(str, rows[:NAMED])) + (", …" if len(rows) > NAMED else "")
        verb = "" if rows is found.cut else "dropped: "
        log.warning("%d of %d %s %s%s (row %s)", len(rows), total, what, verb, why, named)


def _head(side: Encoded, max_length: int) -> Encoded:
    return side if len(side.ids) <= max_length else Encoded(side.ids[:max_length], side.mask[:max_length])


def _blank(example: Preference) -> str:
    for name in ("chosen", "rejected"):
        side = getattr(example, name)
        texts = [side] if isinstance(side, str) else [_said(m) for m in side if m.get("role") == "assistant"]
        if texts and not any(text.strip() for text in texts):
            return f"{name} is empty"
    return ""


def _said(message: Message) -> str:
    parts = (message.get("reasoning_content"), message.get("content"), message.get("tool_calls"))
    return "".join(str(part) for part in parts if part)


def _side(example: Preference, name: str, tokenizer: Any, arguments: Mapping[str, Any]) -> Encoded:
    """One side's tokens. A prompt that is text before messages is the user's turn (unless they repeat it)."""
    prompt, side = example.prompt, getattr(example, name)
    where = f"row {example.row}"
    if isinstance(side, str):
        if not isinstance(prompt, str):
            raise PonderError(f"{where}: prompt is a list of messages and {name} is text; give both as lists, or text")
        if arguments:
            raise PonderError(f"{where}: chat_template_kwargs are given, but its prompt is text; give messages")
        return encode_completion(tokenizer, prompt, side)
    asked: tuple[Message, ...] = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else tuple(prompt)
    said = tuple(side)
    if [_key(m) for m in said[: len(asked)]] == [_key(m) for m in asked]:
        said = said[len(asked) :]
    if not said or said[-1].get("role") != "assistant":
        raise PonderError(f"{where}: {name} does not end with an assistant's turn; a completion is what was answered")
    return encode_chat(tokenizer, (*asked, *said), prompt=len(asked), **arguments)


def _key(message: Message) -> tuple[Any, Any]:
    return message.get("role"), message.get("content")
