"""From preference rows to token ids: both sides of a pair, and which pairs can be learnt from.

What cannot be learnt from (nothing in a completion, two sides that are equal, a row longer than the context) is left
out, counted, and named by its row. What is no preference row at all is an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ponder.core.errors import PonderError
from ponder.models.encode import Encoded, Unusable, encode_completion
from ponder.models.template_check import TemplateReport, check_template
from ponder.tasks.shapes import Completed, Message, Preference

log = logging.getLogger("ponder")

Truncation = Literal["drop", "cut", "error"]

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
        return 2 * max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True)
class Pairs:
    """The pairs to learn from. dropped: the numbers of the rows left out, by reason. cut: those that were cut."""

    pairs: tuple[Pair, ...]
    dropped: Mapping[str, tuple[int, ...]]
    cut: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """A hash of all token ids and masks, in order."""
        content = [[side.ids, list(map(int, side.mask))] for p in self.pairs for side in (p.chosen, p.rejected)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return {why: len(rows) for why, rows in self.dropped.items()}


def encode_pairs(
    examples: Sequence[Preference], tokenizer: Any, max_length: int, truncation: Truncation,
    arguments: Mapping[str, Any] | None = None, ends: Sequence[int] = (),
) -> Pairs:  # fmt: skip
    """Tokenise; leave out what cannot be learnt from.

    max_length: tokens of prompt and completion at most. truncation: what becomes of a longer side: the pair is dropped,
    the end of its completion is cut, or it is an error. arguments: of the chat template; a row's own
    `chat_template_kwargs` come before them.
    ends: tokens that end a completion, the first of them for texts; the tokenizer's own where not given.
    Raises PonderError for a row of which one part is text and another messages, and for arguments of a template that
    no text goes through.
    """
    pairs: list[Pair] = []
    dropped: dict[str, list[int]] = {}
    cut: list[int] = []
    for example in examples:
        try:
            chosen, rejected = _sides(example, tokenizer, ends, _own(example, arguments))
        except Unusable as error:
            dropped.setdefault(error.reason, []).append(example.row)
            continue
        longest = max(len(chosen), len(rejected))
        if longest > max_length and truncation == "error":
            raise PonderError(
                f"row {example.row}: {longest} tokens, more than {max_length} (max_length); shorten it, or set "
                "truncation to drop or cut"
            )
        pair = Pair(chosen.cut(max_length), rejected.cut(max_length), example.row)
        if longest > max_length and truncation == "drop":
            why = f"longer than {max_length} tokens"
        elif not (pair.chosen.learnt and pair.rejected.learnt):
            why = f"the prompt fills the {max_length} tokens"
        elif pair.chosen.ids == pair.rejected.ids:
            why = "chosen and rejected are equal" + (" once cut" if longest > max_length else "")
        else:
            pairs.append(pair)
            cut += [example.row] if longest > max_length else []
            continue
        dropped.setdefault(why, []).append(example.row)
    return Pairs(tuple(pairs), {why: tuple(rows) for why, rows in dropped.items()}, tuple(cut))


def check_pairs(
    tokenizer: Any, examples: Sequence[Preference], found: Pairs, arguments: Mapping[str, Any], ends: Sequence[int]
) -> TemplateReport:
    """The check that fine-tuning makes of its rows, on the chosen sides; a rejected one may well be malformed."""
    sides = []
    for e in examples:
        said = e.chosen if isinstance(e.chosen, str) else tuple(_without_prompt(e.prompt, e.chosen))
        sides.append(Completed(e.prompt, said, e.row, _own(e, arguments)))
    return check_template(tokenizer, sides, [p.chosen for p in found.pairs], ends=ends, template_arguments=arguments)


def warn_of(what: str, found: Pairs) -> None:
    """One warning for each reason for which rows of `what` were left out, and one for those that were cut."""
    told = [*found.dropped.items(), *([("cut at the end of the completion", found.cut)] if found.cut else [])]
    total = len(found.pairs) + sum(found.counts.values())
    for why, rows in told:
        named = ", ".join(map(str, rows[:NAMED])) + (", …" if len(rows) > NAMED else "")
        verb = "" if rows is found.cut else "dropped: "
        log.warning("%d of %d %s %s%s (row %s)", len(rows), total, what, verb, why, named)


def _sides(
    example: Preference, tokenizer: Any, ends: Sequence[int], arguments: Mapping[str, Any]
) -> tuple[Encoded, Encoded]:  # fmt: skip
    """Both sides, or the reason why one of them cannot be learnt from, as `Unusable`."""
    found = []
    for name in ("chosen", "rejected"):
        said = getattr(example, name)
        if isinstance(said, str) and arguments:
            raise PonderError(f"row {example.row}: chat_template_kwargs are given, but {name} is text; give messages")
        try:
            said = said if isinstance(said, str) else _without_prompt(example.prompt, said)
            side = encode_completion(
                tokenizer, example.prompt, said, row=example.row, ends=ends, template_arguments=arguments
            )
        except Unusable as error:
            raise Unusable(example.row, f"{name}: {error.reason}") from error
        found.append(side)
    return found[0], found[1]


def _own(example: Preference, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(arguments or {}), **example.chat_template_kwargs}


def _without_prompt(prompt: str | Sequence[Message], said: Sequence[Message]) -> Sequence[Message]:
    """What follows the prompt, where a side is the whole conversation (as in UltraFeedback's rows)."""
    asked: Sequence[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    repeated = [_key(m) for m in said[: len(asked)]] == [_key(m) for m in asked]
    return said[len(asked) :] if repeated else said


def _key(message: Message) -> tuple[Any, Any]:
    return message.get("role"), message.get("content")
