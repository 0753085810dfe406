"""From rows to token ids and the mask of what is learnt: the one place that does so.

The mask says of each token whether the model has to write it. It comes from the character offsets that the tokenizer
gives for the whole text, and from the places of the turns in it (`ponder.models.turns`, or the template's own
`{% generation %}` marks); nothing is tokenised in pieces, so the ids are those of the text. A token that lies across
the border of a prompt and its completion belongs to the completion. The end token of every turn is inside the mask:
a model that has not learnt to end does not end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ponder.core.errors import PonderError
from ponder.models.turns import Message, Turn, assistant_turns, has_marks, render_chat, with_thoughts
from ponder.tasks.shapes import Chat, Completed, Example, Text

Learnt = Literal["assistant", "last", "all"]
"""Of a chat: every assistant turn, the last one, or every token."""


class Unusable(PonderError):
    """A row from which nothing can be learnt (an empty completion, no assistant turn): a trainer counts and drops it.

    reason: without the row's number, for counting.
    """

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row, self.reason = row, reason

    def __reduce__(self) -> tuple[Any, ...]:  # it crosses processes
        return Unusable, (self.row, self.reason)


@dataclass(frozen=True)
class Encoded:
    """Token ids, and whether each is learnt; the first never is, for nothing comes before it.

    row: the number of the row in its file.
    """

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    row: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt(self) -> int:
        """Tokens in the loss."""
        return sum(self.mask)

    def cut(self, length: int) -> Encoded:
        """The first `length` tokens."""
        return Encoded(self.ids[:length], self.mask[:length], self.row)


def encode_example(
    tokenizer: Any, example: Example, *, ends: Sequence[int] = (), assistant_only: bool = True,
    completion_only: bool = True, template_arguments: Mapping[str, Any] | None = None,
) -> Encoded:  # fmt: skip
    """A row of any shape that SFT knows: `Text`, `Chat` or `Completed`.

    ends: tokens that end a completion, the first of them for texts; the tokenizer's own where not given.
    assistant_only: of chats, learn assistant turns only, else every token. completion_only: of prompt and completion,
    learn the completion only. Raises PonderError for other shapes, and as the functions below do.
    """
    if isinstance(example, Text):
        return encode_text(tokenizer, example.text, row=example.row, ends=ends)
    if isinstance(example, Chat):
        learn: Learnt = "assistant" if assistant_only else "all"
        return encode_chat(
            tokenizer, example.messages, row=example.row, ends=ends, learn=learn, template_arguments=template_arguments
        )
    if isinstance(example, Completed):
        return encode_completion(
            tokenizer, example.prompt, example.completion, row=example.row, ends=ends, completion_only=completion_only,
            template_arguments=template_arguments,
        )  # fmt: skip
    raise PonderError(
        f"row {example.row} is a {type(example).__name__} row; supervised fine-tuning takes messages, "
        "prompt + completion, or text"
    )


def encode_text(tokenizer: Any, text: str, *, row: int = 0, ends: Sequence[int] = ()) -> Encoded:
    """Plain text and the end token, all of it learnt."""
    if not text.strip():
        raise Unusable(row, "the text is empty")
    ids, _ = tokens_of(tokenizer, text, row)
    ids, mask = _ended(ids, [True] * len(ids), ends_of(tokenizer, ends))
    return _encoded(tokenizer, ids, mask, row)


def encode_completion(
    tokenizer: Any, prompt: str | Sequence[Message], completion: str | Sequence[Message], *, row: int = 0,
    ends: Sequence[int] = (), completion_only: bool = True, template_arguments: Mapping[str, Any] | None = None,
) -> Encoded:  # fmt: skip
    """A prompt and what follows it: two texts, joined as they are, with the end token; or two lists of messages.

    prompt: a text beside a list of messages is the user's turn. Of messages, the assistant turns of the completion
    are learnt. Raises Unusable for an empty completion.
    """
    if not isinstance(completion, str):
        before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        return encode_chat(
            tokenizer, [*before, *completion], row=row, ends=ends, learn="assistant" if completion_only else "all",
            first=len(before), template_arguments=template_arguments,
        )  # fmt: skip
    if not isinstance(prompt, str):
        raise PonderError(f"row {row}: prompt is a list of messages and completion is text; give both alike")
    if not completion.strip():
        raise Unusable(row, "the completion is empty")
    ids, offsets = tokens_of(tokenizer, prompt + completion, row)
    mask = [not completion_only or stop > len(prompt) for _, stop in offsets]
    ids, mask = _ended(ids, mask, ends_of(tokenizer, ends))
    return _encoded(tokenizer, ids, mask, row)


def encode_chat(
    tokenizer: Any, messages: Sequence[Message], *, row: int = 0, ends: Sequence[int] = (),
    learn: Learnt = "assistant", first: int = 0, template_arguments: Mapping[str, Any] | None = None,
) -> Encoded:  # fmt: skip
    """A conversation as its template renders it.

    learn: what is learnt. first: of the assistant turns, only those from this message on. template_arguments: the
    template's own (`enable_thinking`).
    Raises Unusable for a chat without an assistant turn to learn, or whose every turn is empty; PonderError for a
    template without an end token: one that ends turns with nothing, or with a token that does not end a generation.
    """
    wanted = [at for at, m in enumerate(messages) if m["role"] == "assistant" and at >= first]
    if not wanted:
        raise Unusable(row, "no assistant turn")
    wanted = wanted[-1:] if learn == "last" else wanted
    if all(_blank(messages[at]) for at in wanted):
        raise Unusable(row, "every assistant turn is empty")
    arguments = dict(template_arguments or {})
    messages = with_thoughts(tokenizer, messages, row, **arguments)
    text = render_chat(tokenizer, messages, row, **arguments)
    ids, offsets = tokens_of(tokenizer, text, row)
    turns = assistant_turns(tokenizer, messages, text, row, **arguments)
    stops = _stops(tokenizer, ids, offsets, text, turns, messages, ends_of(tokenizer, ends), row)
    if learn == "all":
        return _encoded(tokenizer, ids, [True] * len(ids), row)
    spans = [(turn.start, stop) for turn, stop in zip(turns, stops, strict=True) if turn.message in wanted]
    inside = _inside(offsets, spans)
    if has_marks(tokenizer):
        inside = _marked(tokenizer, messages, ids, inside, arguments, row)
    return _encoded(tokenizer, ids, inside, row)


def ends_of(tokenizer: Any, ends: Sequence[int] = ()) -> tuple[int, ...]:
    """The tokens that end a completion: `ends`, or the tokenizer's own. Raises PonderError where there is none."""
    found = tuple(ends) or (() if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),))
    if not found:
        raise PonderError("the tokenizer has no end token; set eos_token")
    return found


def tokens_of(tokenizer: Any, text: str, row: int = 0) -> tuple[list[int], list[tuple[int, int]]]:
    """The ids of `text`, nothing added, and the characters that each stands for."""
    if not getattr(tokenizer, "is_fast", False):
        raise PonderError(f"row {row}: the tokenizer tells no character offsets; use its fast version")
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(read["input_ids"]), [(int(a), int(b)) for a, b in read["offset_mapping"]]


# Pieces -----------------------------------------------------------------------------------------------------


def _blank(message: Message) -> bool:
    return not str(message.get("content") or "").strip() and not message.get("tool_calls")


def _ended(ids: list[int], mask: list[bool], ends: tuple[int, ...]) -> tuple[list[int], list[bool]]:
    return (ids, mask) if ids[-1:] and ids[-1] in ends else ([*ids, ends[0]], [*mask, True])


def _encoded(tokenizer: Any, ids: list[int], mask: list[bool], row: int) -> Encoded:
    """With the beginning-of-text token that the sampler would put there too, and the first token out of the loss."""
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is not None and ids[:1] != [bos] and tokenizer("")["input_ids"][:1] == [bos]:
        ids, mask = [bos, *ids], [False, *mask]
    return Encoded(tuple(ids), (False, *mask[1:]), row)


def _inside(offsets: Sequence[tuple[int, int]], spans: Iterable[tuple[int, int]]) -> list[bool]:
    """Whether each token has a character in one of the spans, which are in order."""
    inside, left = [], list(spans)
    for start, stop in offsets:
        while left and left[0][1] <= start:
            left.pop(0)
        inside.append(bool(left) and stop > left[0][0] and stop > start)
    return inside


def _stops(
    tokenizer: Any, ids: Sequence[int], offsets: Sequence[tuple[int, int]], text: str, turns: Sequence[Turn],
    messages: Sequence[Message], ends: tuple[int, ...], row: int,
) -> list[int]:  # fmt: skip
    """Where, in characters, each turn's end token stops.

    Between a turn's words and its end token the template may write something of its own: what that is, the last turn
    shows. An earlier turn that ends with no end token (some templates write another sign there) ends with its words.
    """
    tokens = [(start, stop) for token, (start, stop) in zip(ids, offsets, strict=True) if token in ends]
    stops: list[int] = []
    usual = ""
    for turn in reversed(turns):
        final = turn.message == len(messages) - 1
        start, stop = next((t for t in tokens if t[0] >= turn.said), (-1, -1))
        gap = text[turn.said : max(start, turn.said)]
        usual = gap if final else usual
        at_once = gap.strip() in ("", usual.strip()) or bool(messages[turn.message].get("tool_calls"))
        if start >= 0 and (final or at_once):
            stops.append(stop)
        elif turn is turns[-1]:
            named = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(list(ends))))
            raise PonderError(
                f"row {row}: a template without an end token: an assistant turn is followed by "
                f"{text[turn.said : turn.said + 20]!r}, and a generation ends with {named}; set eos_token to what the "
                "template ends turns with, or mend the template"
            )
        else:
            stops.append(turn.said)
    return stops[::-1]


def _marked(
    tokenizer: Any, messages: Sequence[Message], ids: Sequence[int], inside: Sequence[bool],
    arguments: Mapping[str, Any], row: int,
) -> list[bool]:  # fmt: skip
    """The template's own marks where they touch a wanted turn (`inside`), up to its end token, which is in always."""
    read = tokenizer.apply_chat_template(
        list(messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **arguments
    )
    if list(read["input_ids"]) != list(ids):
        raise PonderError(f"row {row}: the tokenizer reads the rendered chat in two ways; leave its special tokens off")
    marks = [bool(mark) for mark in read["assistant_masks"]]
    if not any(marks):
        raise PonderError(f"row {row}: the template's {{% generation %}} marks hold nothing; mend it, or take them out")
    found = [mark and wanted for mark, wanted in zip(marks, inside, strict=True)]
    for at, wanted in enumerate(inside):
        begins = wanted and not (at and inside[at - 1])
        back = at - 1
        while begins and back >= 0 and marks[back] and marks[at]:  # a header that is inside the marks
            found[back], back = True, back - 1
        if wanted and not (at + 1 < len(inside) and inside[at + 1]):
            found[at] = True
    return found
