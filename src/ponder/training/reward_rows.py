"""The rows that reward models learn from: judged responses, which rows fit, and how a run knows its rows again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import Field

from ponder.core.errors import PonderError
from ponder.models.encode import Unusable
from ponder.tasks.loading import RowError, Rows, collected, read_source
from ponder.tasks.shapes import Message, Preference, as_row, clean, given, messages_in, read_examples
from ponder.training.distributed import World
from ponder.training.supervised import SupervisedSettings

log = logging.getLogger("ponder")

Row = TypeVar("Row", bound="Numbered")
T = TypeVar("T", bound="Sided")

Said = str | tuple[Message, ...]


@dataclass(frozen=True)
class Judged:
    """A prompt, a completion and whether it is right; texts, or lists of messages. row: its number in the file."""

    prompt: Said
    completion: Said
    label: bool
    row: int = 0


class Fitting(SupervisedSettings):
    """What the trainers of outcome and process models are told alike."""

    learning_rate: float = Field(1e-4, gt=0)
    max_length: int = Field(0, ge=0)
    """Tokens of a row at most; 0: the model's context."""
    truncation: Literal["drop", "error"] = "drop"
    """What becomes of a longer row; it is never cut, for a solution without its end is another solution."""


class Numbered(Protocol):
    """A row with its number in the file."""

    @property
    def row(self) -> int:
        """The number."""
        ...


class Sided(Protocol):
    """A tokenised row: one or two rows of tokens that go through the model."""

    @property
    def sides(self) -> tuple[tuple[int, ...], ...]:
        """The rows of tokens."""
        ...


def read_reward_rows(source: str | Path, *, on_error: str = "raise") -> Rows[Preference] | Rows[Judged]:
    """Pairs (`prompt`, `chosen`, `rejected`) or judged rows (`prompt`, `completion`, `label`) of a file or hub id.

    A trace (`prompt`, `completion`, `correct`) is a judged row too; one whose `correct` is null is passed over.
    Raises PonderError naming file and row.
    """
    first = next((row for row in read_source(source) if not isinstance(row, RowError)), None)
    if first is not None and isinstance(first[1], Mapping) and not {"label", "correct"} & first[1].keys():
        return read_examples(source, "preference", on_error=on_error)  # type: ignore[return-value]
    results: list[Judged | RowError] = []
    for result in read_source(source):
        if isinstance(result, RowError):
            results.append(result)
            continue
        number, row = result
        try:
            judged = _judged(f"{source}, row {number}", row, number)
        except PonderError as error:
            results.append(RowError(number, str(error)))
        else:
            results += [] if judged is None else [judged]
    rows: Rows[Judged] = collected(iter(results), on_error)
    if not rows and not rows.errors:
        raise PonderError(f"{source} holds no row with a known label")
    return rows


def _judged(where: str, row: Any, number: int) -> Judged | None:
    cells = as_row(where, row)
    label = cells["label"] if "label" in cells else cells.get("correct")
    if label is None and "correct" in cells:
        return None
    if label not in (0, 1):
        raise PonderError(f"{where}: label is {label!r}; give true (right) or false (wrong)")
    for name in ("prompt", "completion"):
        if not given(cells.get(name)):
            raise PonderError(f"{where}: no {name}; a judged row needs prompt + completion + label")
    sides = [
        clean(where, name, cells[name]) if isinstance(cells[name], str) else messages_in(where, name, cells[name])
        for name in ("prompt", "completion")
    ]
    return Judged(sides[0], sides[1], bool(label), number)


def fitting_rows(
    rows: Sequence[Row], tokens: Callable[[Row], T], model: Any, settings: Fitting, world: World, what: str
) -> list[T]:
    """The rows, tokenised by `tokens`, but for those that nothing can be learnt from and those that are too long.

    What is left out is counted and named in a warning. what: how the rows are called there.
    Raises PonderError for a max_length beyond the context, a row that is too long under `truncation=error`, and where
    none is left.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
    if settings.max_length > context:
        raise PonderError(
            f"max_length is {settings.max_length}, more than the model's context ({context}); lower it, or set 0"
        )
    longest = settings.max_length or context
    kept: list[T] = []
    out: dict[str, list[int]] = {}
    for row in rows:
        try:
            made = tokens(row)
        except Unusable as error:
            out.setdefault(error.reason, []).append(row.row)
            continue
        size = max(map(len, made.sides))
        if size <= longest:
            kept.append(made)
        elif settings.truncation == "error":
            raise PonderError(
                f"row {row.row} has {size} tokens, more than {longest}; raise max_length or set truncation=drop"
            )
        else:
            out.setdefault(f"longer than {longest} tokens", []).append(row.row)
    for reason, numbers in out.items() if world.first else ():
        named = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
        log.warning("%d of %d %s left out (%s): %s", len(numbers), len(rows), what, reason, named)
    if rows and not kept:
        raise PonderError(f"none of the {len(rows)} {what} can be used: {'; '.join(out)}")
    return kept


def fingerprint(rows: Sequence[Any]) -> str:
    """A hash of tokenised rows, by which a run that goes on knows them again."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()[:16]
