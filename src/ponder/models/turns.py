"""Chats as their template renders them, and where in that text each assistant turn lies.

A turn is what the model has to write: from the end of the generation prompt to the template's end token. Its place is
found by rendering, never by searching for the message's words (they may stand elsewhere too, and templates trim them,
split them, and drop the thoughts of earlier turns). The start is the end of the generation prompt of what precedes the
turn. The end of what a message says is where the text becomes the same again when the message is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.thinking import THINK_CLOSE, THINK_OPEN

Message = Mapping[str, Any]

_OTHER = "\ue0f5"
"""Stands for a message's words where the chat is rendered again to find them: a private character, in no text."""

_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
_REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Turn:
    """An assistant turn in the rendered text, in characters.

    message: its place among the messages. start: where the model begins to write. said: where the message's own words
    end; the end token follows. as_prompted: whether the text up to `start` is what the model is prompted with there.
    """

    message: int
    start: int
    said: int
    as_prompted: bool


def render_chat(
    tokenizer: Any, messages: Sequence[Message], row: int = 0, prompt: bool = False, **arguments: Any
) -> str:
    """The chat as text. prompt: with the generation prompt at its end. arguments: the template's own.

    Raises PonderError where there is no template, or the template does not take the messages.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise PonderError(
            f"row {row}: messages need a chat template and the tokenizer has none; give rows of prompt + completion, "
            "or a tokenizer with a template"
        )
    try:
        return str(
            tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt, **arguments)
        )
    except Exception as error:  # a template is a program of its own: it may raise anything
        said = " ".join(str(error).split())[:200]
        raise PonderError(f"row {row}: the chat template refuses the messages: {said}") from error


def assistant_turns(
    tokenizer: Any, messages: Sequence[Message], text: str, row: int = 0, **arguments: Any
) -> list[Turn]:
    """Every assistant turn of `text`, which is `render_chat` of `messages`. Raises PonderError for one not in it."""
    turns = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        other = render_chat(tokenizer, [*messages[:at], _replaced(message), *messages[at + 1 :]], row, **arguments)
        if _OTHER not in other:
            raise PonderError(f"row {row}: the chat template leaves message {at + 1} (assistant) out; mend it")
        first = common_prefix(text, other)
        said = max(first, len(text) - common_suffix(text, other))
        prompted = render_chat(tokenizer, messages[:at], row, prompt=True, **arguments) if at else ""
        if at and text.startswith(prompted):
            turns.append(Turn(at, len(prompted), said, True))
            continue
        # Earlier turns are rendered otherwise when a later one follows: look for the turn's own header instead.
        bare = render_chat(tokenizer, messages[:at], row, **arguments) if at else ""
        header = prompted[len(bare) :] if prompted.startswith(bare) else ""
        turns.append(Turn(at, _after_header(text, header, first), said, False))
    return turns


def _replaced(message: Message) -> dict[str, Any]:
    """The message, saying something else in the same form."""
    other = {name: value for name, value in message.items() if name not in _REASONING}
    other["content"] = _OTHER
    if message.get("tool_calls"):
        other["tool_calls"] = [{"type": "function", "id": "0", "function": {"name": _OTHER, "arguments": {}}}]
    return other


def _after_header(text: str, header: str, first: int) -> int:
    """The end of the last header at or before `first`: of the whole generation prompt, or of what it has before a
    thought that it opens (an earlier turn, whose thought is dropped, has only that)."""
    for wanted in (header, header.partition(THINK_OPEN)[0]):
        found = text.rfind(wanted, 0, max(first, 0) + len(wanted)) if wanted else -1
        if found >= 0 and text[found + len(wanted) : first].strip() in ("", THINK_OPEN):
            return found + len(wanted)
    return first


def common_prefix(left: str, right: str) -> int:
    """How many characters two texts have in common at their beginning; by halving, for texts are long."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def common_suffix(left: str, right: str) -> int:
    """How many characters two texts have in common at their end."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[len(left) - middle : len(left) - low] == right[len(right) - middle : len(right) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def has_marks(tokenizer: Any) -> bool:
    """Whether the template itself says, with `{% generation %}`, what the model writes."""
    template = getattr(tokenizer, "chat_template", None)
    texts = template.values() if isinstance(template, Mapping) else [template or ""]
    return any(_MARKS.search(text) for text in texts)


# Thoughts ---------------------------------------------------------------------------------------------------


def with_thoughts(tokenizer: Any, messages: Sequence[Message], row: int = 0, **arguments: Any) -> list[Message]:
    """The messages with each thought where the template looks for it.

    A thought is in `reasoning_content` (or `reasoning`, `thinking`, as some servers call it), or already in the
    content. A template that knows `reasoning_content` gets it; for another the thought is written before the content,
    as `<think>`, newline, thought, newline, `</think>`, newline.
    """
    thoughts = {at: thought for at, m in enumerate(messages) if (thought := thought_of(m))}
    if not any(name in message for message in messages for name in _REASONING):
        return list(messages)
    knows = bool(thoughts) and knows_reasoning(tokenizer, row, **arguments)
    changed: list[Message] = []
    for at, message in enumerate(messages):
        bare = {name: value for name, value in message.items() if name not in _REASONING}
        if at in thoughts and THINK_CLOSE not in str(message.get("content") or ""):
            if knows:
                bare["reasoning_content"] = thoughts[at]
            else:
                bare["content"] = joined(thoughts[at], str(message.get("content") or ""))
        changed.append(bare)
    return changed


def joined(thought: str, content: str) -> str:
    """Thought and answer as one text. A content that begins with a newline keeps its own distance."""
    gap = "" if content.startswith("\n") else "\n"
    return f"{THINK_OPEN}\n{thought.strip()}\n{THINK_CLOSE}{gap}{content}"


def knows_reasoning(tokenizer: Any, row: int = 0, **arguments: Any) -> bool:
    """Whether the template renders `reasoning_content` in the last turn."""
    said = {"role": "assistant", "content": "x", "reasoning_content": _OTHER}
    return _OTHER in render_chat(tokenizer, [{"role": "user", "content": "x"}, said], row, **arguments)


def keeps_thought(tokenizer: Any, row: int = 0, **arguments: Any) -> bool:
    """Whether the template renders the thought of the last turn at all, wherever `with_thoughts` puts it."""
    said = {"role": "assistant", "content": "x", "reasoning_content": _OTHER}
    messages = with_thoughts(tokenizer, [{"role": "user", "content": "x"}, said], row, **arguments)
    return _OTHER in render_chat(tokenizer, messages, row, **arguments)


def thought_of(message: Message) -> str:
    """The message's thought where it is a field of its own, else ""."""
    for name in _REASONING:
        value = message.get(name)
        if isinstance(value, str) and value.strip():
            return value
    return ""
