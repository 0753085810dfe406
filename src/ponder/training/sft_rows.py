"""From examples to the rows that supervised fine-tuning learns from: tokenised, of fitting length, counted.

What cannot be learnt from (an empty completion, a chat without an assistant turn, a row longer than `max_length`) is
left out, counted, and named by its row. What cannot be read at all is an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ponder.core.errors import PonderError
from ponder.models.encode import Encoded, Unusable, encode_example
from ponder.tasks.shapes import Chat, Completed, Example
from ponder.training.distributed import World, unshare

log = logging.getLogger("ponder")

Truncation = Literal["drop", "cut", "error"]

NAMED = 5
"""Rows that a warning names, for each reason."""


@dataclass(frozen=True)
class Taken:
    """The rows to learn from. dropped: the numbers of the rows left out, by reason. cut: of those that were cut."""

    rows: tuple[Encoded, ...]
    dropped: Mapping[str, tuple[int, ...]]
    cut: tuple[int, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return {why: len(rows) for why, rows in self.dropped.items()}


def take_rows(
    tokenizer: Any, examples: Sequence[Example], *, max_length: int, truncation: Truncation = "drop",
    ends: Sequence[int] = (), assistant_only: bool = True, completion_only: bool = True,
    template_arguments: Mapping[str, Any] | None = None, what: str = "rows", world: World | None = None,
) -> Taken:  # fmt: skip
    """Tokenise, each rank its share; every rank gets all rows, in the order of the examples.

    max_length: tokens of a row at most. truncation: what becomes of longer ones: dropped, cut at the end, or an error
    that names them. A row's own `chat_template_kwargs`, where it has any, come before `template_arguments`.
    what: what the rows are called in warnings. The other arguments are `ponder.models.encode.encode_example`'s.
    Raises PonderError where no row is left, saying why.
    """
    world = world or World()
    if template_arguments and not any(map(_rendered, examples)):
        raise PonderError(f"chat_template_kwargs are set, and none of the {what} has messages; leave them out")
    mine: list[Encoded | Unusable] = []
    for example in world.share(examples):
        own = getattr(example, "chat_template_kwargs", None) or {}
        if own and not _rendered(example):
            raise PonderError(f"row {example.row}: chat_template_kwargs are given, but the row is text; give messages")
        try:
            mine.append(
                encode_example(
                    tokenizer, example, ends=ends, assistant_only=assistant_only, completion_only=completion_only,
                    template_arguments={**(template_arguments or {}), **own},
                )
            )  # fmt: skip
        except Unusable as unusable:
            mine.append(unusable)
    taken = _fitting(unshare(world.gather(mine)), max_length, truncation)
    if world.first:
        _warn(taken, len(examples), what, max_length)
    if not taken.rows:
        told = "; ".join(f"{count} dropped: {why}" for why, count in taken.counts.items()) or "there are none"
        raise PonderError(f"no {what} to learn from: {told}")
    return taken


def _rendered(example: Example) -> bool:
    """Whether the row goes through the chat template."""
    return isinstance(example, Chat) or (isinstance(example, Completed) and not isinstance(example.completion, str))


def _fitting(encoded: Iterable[Encoded | Unusable], max_length: int, truncation: Truncation) -> Taken:
    rows: list[Encoded] = []
    dropped: dict[str, list[int]] = {}
    cut: list[int] = []
    longer: list[Encoded] = []
    for row in encoded:
        if isinstance(row, Unusable):
            dropped.setdefault(row.reason, []).append(row.row)
            continue
        long, kept = len(row) > max_length, row.cut(max_length)
        if long and truncation == "error":
            longer.append(row)
        elif long and truncation == "drop":
            dropped.setdefault(f"longer than max_length ({max_length} tokens)", []).append(row.row)
        elif not kept.learnt:
            why = f"the prompt fills the {max_length} tokens (max_length)" if long else "no token to learn"
            dropped.setdefault(why, []).append(row.row)
        else:
            rows.append(kept)
            cut += [row.row] if long else []
    if longer:
        most = max(map(len, longer))
        raise PonderError(
            f"{len(longer)} rows are longer than max_length ({max_length} tokens; the longest has {most}): row "
            f"{named(row.row for row in longer)}; raise max_length, or set truncation to drop or cut"
        )
    return Taken(tuple(rows), {why: tuple(numbers) for why, numbers in dropped.items()}, tuple(cut))


def _warn(taken: Taken, total: int, what: str, max_length: int) -> None:
    for why, rows in taken.dropped.items():
        log.warning("%d of %d %s dropped: %s (row %s)", len(rows), total, what, why, named(rows))
    if taken.cut:
        log.warning("%d of %d %s cut to %d tokens (row %s)", len(taken.cut), total, what, max_length, named(taken.cut))


def named(rows: Iterable[int]) -> str:
    """The first few of some row numbers."""
    numbers = list(rows)
    return ", ".join(map(str, numbers[:NAMED])) + (", …" if len(numbers) > NAMED else "")


def digest(examples: Sequence[Example], tokenizer: Any) -> str:
    """A hash of the examples and of what turns them into tokens.

    Not of the tokens: a template may write the date, and a run must be able to go on tomorrow.
    """
    content = [asdict(example) for example in examples]
    about = [str(getattr(tokenizer, "chat_template", "")), len(tokenizer), tokenizer.eos_token]
    return hashlib.sha256(json.dumps([about, content], sort_keys=True, default=str).encode()).hexdigest()[:16]
