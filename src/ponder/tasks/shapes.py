"""What a row is: the columns that make each shape, and the typed examples of the shapes that are trained on.

The shapes are the field's own (`text`, `messages` or ShareGPT's `conversations`, `prompt` + `completion`, `prompt` +
`chosen` + `rejected`, stepwise `prompt` + `completions` + `labels`); verifiable ones are `ponder.tasks.rows`' problems.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ponder.core.errors import PonderError
from ponder.tasks.conversations import after_prompt, alike, from_sharegpt
from ponder.tasks.loading import RowError, Rows, collected, read_source

Row = Mapping[str, Any]
Message = Mapping[str, Any]
"""`role`, `content`, and whatever else the file gives (`reasoning_content`, `tool_calls`, `name`)."""

EMPTY = "is empty"
"""In the message of a row that lacks nothing but a text: trainers leave such rows out and count them."""

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython")


@dataclass(frozen=True)
class Text:
    """Plain text, for pretraining. row: its number in the file, as in all examples."""

    text: str
    row: int


@dataclass(frozen=True)
class Chat:
    """A conversation, for supervised fine-tuning.

    chat_template_kwargs: the row's own arguments of the chat template, as in all shapes with messages.
    """

    messages: tuple[Message, ...]
    row: int
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Completed:
    """A prompt and its completion; both texts, or both lists of messages."""

    prompt: str | tuple[Message, ...]
    completion: str | tuple[Message, ...]
    row: int
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Preference:
    """Two completions of one prompt, the better one named; all texts, or all lists of messages."""

    prompt: str | tuple[Message, ...]
    chosen: str | tuple[Message, ...]
    rejected: str | tuple[Message, ...]
    row: int
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Stepwise:
    """The steps of one solution, each right or wrong, for process reward models."""

    prompt: str
    completions: tuple[str, ...]
    labels: tuple[bool, ...]
    row: int


Example = Text | Chat | Completed | Preference | Stepwise

COLUMNS: dict[str, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "stepwise": ("prompt", "completions", "labels"),
    "messages": ("messages",),
    "completion": ("prompt", "completion"),
    "text": ("text",),
}
"""The columns of each shape of example; a row is of the first shape one of whose telling columns it has."""

TELLING = {
    "preference": ("chosen", "rejected"), "stepwise": ("completions", "labels"), "messages": ("messages",),
    "completion": ("completion",), "text": ("text",),
}  # fmt: skip


def read_examples(
    source: str | Path, shape: str | None = None, *,
    split: str | None = None, config: str | None = None, on_error: str = "raise",
) -> Rows[Example]:  # fmt: skip
    """The examples of `source`, all of one shape.

    source, split, config, on_error: as `ponder.tasks.loading.load_rows` has them.
    shape: a key of `COLUMNS`; by default that of the first row whose columns tell.
    Raises PonderError naming file, row and what is missing, for an unknown shape, and for a source without rows.
    """
    if shape is not None and shape not in COLUMNS:
        raise PonderError(f"unknown shape {shape!r}: one of {', '.join(COLUMNS)}")

    def results() -> Iterator[Example | RowError]:
        known = shape
        for result in read_source(source, split, config):
            if isinstance(result, RowError):
                yield result
                continue
            number, row = result
            where = f"{source}, row {number}"
            try:
                row = _as_messages(where, row)
                known = known or shape_of(where, row)
                yield READ[known](where, as_row(where, row), number)
            except PonderError as error:
                yield RowError(number, str(error))

    examples: Rows[Example] = collected(results(), on_error)
    if not examples and not examples.errors:
        raise PonderError(f"{source} holds no rows")
    return examples


def _as_messages(where: str, row: Any) -> Any:
    """A ShareGPT row (`conversations` of `from` and `value`, and perhaps `system`) as one of `messages`; any other row
    as it is."""
    if not isinstance(row, Mapping) or not given(row.get("conversations")) or given(row.get("messages")):
        return row
    turns = structure(where, "conversations", row["conversations"])
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise PonderError(f"{where}: conversations is no list of turns; give [{{from, value}}, …]")
    return {**row, "messages": from_sharegpt(turns, row["system"] if given(row.get("system")) else None)}


def shape_of(where: str, row: Any) -> str:
    """The shape that a row's columns tell. Raises PonderError where they tell none."""
    names = as_row(where, row)
    for shape, telling in TELLING.items():
        if any(given(names.get(name)) for name in telling):
            return shape
    empty = [name for telling in TELLING.values() for name in telling if name in names]
    if empty:
        raise PonderError(f"{where}: {empty[0]} {EMPTY}; fill it in, or leave the row out")
    shapes = "; ".join(" + ".join(columns) for columns in COLUMNS.values())
    found = ", ".join(map(str, names)) or "none"
    raise PonderError(f"{where}: columns {found} are of no known shape; give one of: {shapes}")


def as_row(where: str, row: Any) -> Row:
    """`row` as a mapping. Raises PonderError for anything else."""
    if not isinstance(row, Mapping):
        raise PonderError(f"{where}: expected a JSON object, found {type(row).__name__}")
    return row


def given(value: Any) -> bool:
    """Whether a cell holds something: not None, NaN (an empty cell of many a table), a blank text or an empty list."""
    if isinstance(value, float):
        return not math.isnan(value)
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value != [] and value != {}


def structure(where: str, name: str, value: Any) -> Any:
    """A list or an object, also where a table keeps it as JSON text; other values as they are."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise PonderError(f"{where}: {name} looks like JSON and is not ({error})") from error
    return value


def clean(where: str, name: str, value: str) -> str:
    """`value`, or PonderError where it holds half of a surrogate pair, which no file and no tokenizer can take."""
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PonderError(f"{where}: {name} holds half a character (a lone surrogate); mend the text") from error
    return value


def messages_in(where: str, name: str, value: Any) -> tuple[Message, ...]:
    """A list of messages, each with a role and a text. Raises PonderError naming the message that is none."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise PonderError(f"{where}: {name} is no list of messages; give [{{role, content}}, …]")
    for at, message in enumerate(value, 1):
        if not isinstance(message, Mapping):
            raise PonderError(f"{where}: message {at} of {name} is no object; give role and content")
        if message.get("role") not in ROLES:
            said = message.get("role")
            raise PonderError(f"{where}: message {at} of {name} has role {said!r}; one of {', '.join(ROLES)}")
        content = message.get("content")
        if not isinstance(content, str) and not message.get("tool_calls"):
            raise PonderError(f"{where}: message {at} of {name} has no content that is text")
        clean(where, name, str(content))
    return tuple(value)


def _missing(where: str, shape: str, row: Row, name: str) -> NoReturn:
    if name in row:
        raise PonderError(f"{where}: {name} {EMPTY}; fill it in, or leave the row out")
    there = ", ".join(str(key) for key in row) or "none"
    columns = " + ".join(COLUMNS[shape])
    raise PonderError(f"{where}: no {name}; a row of shape {columns} needs it (columns: {there})")


def _part(where: str, shape: str, row: Row, name: str) -> str | tuple[Message, ...]:
    value = row.get(name)
    if not given(value):
        _missing(where, shape, row, name)
    if isinstance(value, str):
        return clean(where, name, value)
    return messages_in(where, name, value)


def _alike(where: str, row: Row, shape: str) -> list[Any]:
    parts = [_part(where, shape, row, name) for name in COLUMNS[shape]]
    if len({isinstance(part, str) for part in parts}) > 1 and not isinstance(parts[0], str):
        raise PonderError(f"{where}: prompt is a list of messages and the rest is not; give both as lists, or as text")
    return parts


def _text(where: str, row: Row, number: int) -> Text:
    value = row.get("text")
    if not given(value):
        _missing(where, "text", row, "text")
    if not isinstance(value, str):
        raise PonderError(f"{where}: text holds a {type(value).__name__}; give text")
    return Text(clean(where, "text", value), number)


def _arguments(where: str, row: Row) -> dict[str, Any]:
    """A row's arguments of the chat template, such as `{"enable_thinking": false}`."""
    value = structure(where, "chat_template_kwargs", row.get("chat_template_kwargs"))
    if not given(value):
        return {}
    if not isinstance(value, Mapping):
        raise PonderError(f"{where}: chat_template_kwargs is no object; give e.g. {{\"enable_thinking\": false}}")
    return {str(name): inner for name, inner in value.items() if inner is not None}


def _chat(where: str, row: Row, number: int) -> Chat:
    if not given(row.get("messages")):
        _missing(where, "messages", row, "messages")
    messages = messages_in(where, "messages", structure(where, "messages", row["messages"]))
    return Chat(messages, number, _arguments(where, row))


def _completed(where: str, row: Row, number: int) -> Completed:
    prompt, completion = _alike(where, row, "completion")
    return Completed(prompt, completion, number, _arguments(where, row))


def _preference(where: str, row: Row, number: int) -> Preference:
    chosen, rejected = (structure(where, name, row.get(name)) for name in ("chosen", "rejected"))
    if not given(row.get("prompt")) and isinstance(chosen, list) and isinstance(rejected, list):
        # Two whole conversations: the prompt is what they begin with alike.
        at = alike(chosen, rejected)
        row = {**row, "prompt": chosen[:at], "chosen": chosen[at:], "rejected": rejected[at:]}
    prompt, chosen, rejected = _alike(where, row, "preference")
    chosen, rejected = (one if isinstance(one, str) else after_prompt(prompt, one) for one in (chosen, rejected))
    return Preference(prompt, chosen, rejected, number, _arguments(where, row))


def _stepwise(where: str, row: Row, number: int) -> Stepwise:
    cells = {name: structure(where, name, row.get(name)) for name in COLUMNS["stepwise"]}
    for name in COLUMNS["stepwise"]:
        if not given(cells[name]):
            _missing(where, "stepwise", row, name)
    steps, labels = cells["completions"], cells["labels"]
    if not isinstance(cells["prompt"], str):
        raise PonderError(f"{where}: prompt holds a {type(cells['prompt']).__name__}; give text")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise PonderError(f"{where}: completions is no list of texts, one a step")
    if not isinstance(labels, list) or not all(label in (0, 1) and label is not None for label in labels):
        raise PonderError(f"{where}: labels is no list of true and false, one a step")
    if len(steps) != len(labels):
        raise PonderError(f"{where}: {len(steps)} completions and {len(labels)} labels; give one label a step")
    texts = tuple(clean(where, "completions", step) for step in steps)
    return Stepwise(clean(where, "prompt", cells["prompt"]), texts, tuple(map(bool, labels)), number)


READ: dict[str, Callable[[str, Row, int], Example]] = {
    "preference": _preference, "stepwise": _stepwise, "messages": _chat, "completion": _completed, "text": _text,
}  # fmt: skip
