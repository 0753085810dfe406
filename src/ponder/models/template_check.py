"""What is asked of a chat template and a tokenizer before the first step, so that nobody finds it out after the last.

Fatal, a PonderError: a template that does not render the thoughts that the rows carry. (A template without an end
token does not come so far: `ponder.models.encode` refuses it.) Odd, a warning: text that does not come back from its
tokens; turns that are trained at another place than they are prompted at (templates that drop earlier thoughts do
that: the mask is right all the same, for it is of the text as it is rendered); `</think>` without its `<think>`; an
end token inside a turn. And some rows are printed, with what is learnt of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.thinking import THINK_CLOSE, THINK_OPEN
from ponder.models.encode import Encoded, ends_of, tokens_of
from ponder.models.turns import assistant_turns, has_marks, keeps_thought, render_chat, thought_of, with_thoughts
from ponder.tasks.shapes import Chat, Completed, Example, Text

LEARNT_OPEN, LEARNT_CLOSE = "⟦", "⟧"
LOOKED_AT = 200
"""Examples that are checked, spread over all of them."""
PRINTED = 3


@dataclass(frozen=True)
class TemplateReport:
    """warnings: what is odd, a line each. text: the whole report, with some rows as they are learnt."""

    warnings: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class _Seen:
    """An example as the model sees it: its text, the ids of it, and the text of each stretch that is learnt, behind
    the end of what stands before it."""

    row: int
    text: str
    encoded: Encoded
    stretches: tuple[tuple[str, str], ...]
    as_prompted: bool


def check_template(
    tokenizer: Any, examples: Sequence[Example], rows: Sequence[Encoded], *, ends: Sequence[int] = (),
    template_arguments: Mapping[str, Any] | None = None,
) -> TemplateReport:  # fmt: skip
    """Look at `LOOKED_AT` of the examples and at the template itself.

    examples: the ones that `rows` were made of (others among them are passed over). Raises PonderError, naming the row,
    for a thought that the template does not render.
    """
    arguments, ends = dict(template_arguments or {}), ends_of(tokenizer, ends)
    pairs = list(_pairs(examples, rows))
    pairs = pairs[:: max(1, len(pairs) // LOOKED_AT)][:LOOKED_AT]
    chats = [example for example, _ in pairs if _messages(example)]
    thinker = next((e for e in chats if any(thought_of(m) or _tagged(m) for m in _messages(e))), None)
    if thinker is not None and not keeps_thought(tokenizer, thinker.row, **_own(thinker, arguments)):
        raise PonderError(
            f"row {thinker.row}: the chat template leaves out the thought of the last turn, so it could not be learnt; "
            "give a template that renders it, or rows of prompt + completion as text"
        )
    seen = [_look(tokenizer, example, row, _own(example, arguments)) for example, row in pairs]
    warnings = [*_of_template(tokenizer, chats, arguments), *_of_rows(tokenizer, seen, ends)]
    return TemplateReport(tuple(warnings), _report(tokenizer, seen, warnings, ends, bool(chats)))


def mask_text(tokenizer: Any, encoded: Encoded) -> str:
    """The row as text, what is learnt in ⟦ ⟧, and how much that is."""
    parts = [_decode(tokenizer, ids) if not on else LEARNT_OPEN + _decode(tokenizer, ids) + LEARNT_CLOSE
             for on, ids in _runs(encoded)]  # fmt: skip
    return f"row {encoded.row}: {len(encoded)} tokens, {encoded.learnt} learnt\n{''.join(parts)}"


def _of_template(tokenizer: Any, chats: Sequence[Example], arguments: Mapping[str, Any]) -> Iterator[str]:
    if not chats:
        return
    asked = [{"role": "user", "content": "x"}]
    bare, prompt = (render_chat(tokenizer, asked, prompt=on, **arguments) for on in (False, True))
    if bare == prompt:
        yield "the template has no generation prompt: prompts end with the user's turn, and the model learns the header"
    thinking = {"role": "assistant", "content": "y", "reasoning_content": "z"}
    said = [*asked, thinking, *asked, {"role": "assistant", "content": "y"}]
    try:
        messages = with_thoughts(tokenizer, said, **arguments)
        whole = render_chat(tokenizer, messages, **arguments)
        kept = whole.startswith(render_chat(tokenizer, messages[:2], **arguments).rstrip())
    except PonderError as error:
        yield f"a chat of two rounds could not be tried: {error}"
        return
    if not kept:
        yield (
            "prefix: a turn with a thought is rendered otherwise once another follows (earlier thoughts are dropped); "
            "earlier turns are learnt as they are rendered, without their thoughts"
        )


def _of_rows(tokenizer: Any, seen: Sequence[_Seen], ends: Sequence[int]) -> Iterator[str]:
    unknown = getattr(tokenizer, "unk_token_id", None)
    tests: dict[str, Callable[[_Seen], bool]] = {
        "round trip: the text does not come back from its tokens": lambda s: not _comes_back(tokenizer, s),
        "prefix: an assistant turn stands at another place than it is prompted at": lambda s: not s.as_prompted,
        "an orphan </think>: it closes a thought that was never opened": lambda s: any(
            _orphan(*stretch) for stretch in s.stretches
        ),
        "a thought is opened and not closed": lambda s: any(_unclosed(*stretch) for stretch in s.stretches),
        "an end token stands inside what is learnt, before its end": lambda s: (
            any(token in ends for on, ids in _runs(s.encoded) if on for token in ids[:-1])
            and not all(s.encoded.mask[1:])
        ),
        "a token that the tokenizer does not know is learnt": lambda s: (
            unknown is not None
            and unknown not in ends
            and any(on and token == unknown for token, on in zip(s.encoded.ids, s.encoded.mask, strict=True))
        ),
    }
    for said, fails in tests.items():
        numbers = [s.row for s in seen if fails(s)]
        if numbers:
            shown = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
            yield f"{said}, in {len(numbers)} of {len(seen)} rows looked at (row {shown})"


def _report(tokenizer: Any, seen: Sequence[_Seen], warnings: Sequence[str], ends: Sequence[int], chats: bool) -> str:
    lines = [
        "Template check",
        f"end tokens: {', '.join(map(repr, tokenizer.convert_ids_to_tokens(list(ends))))}",
        f"rows looked at: {len(seen)}; learnt: {sum(s.encoded.learnt for s in seen)} of "
        f"{sum(len(s.encoded) for s in seen)} tokens",
    ]
    if chats:
        how = "the template's own generation marks" if has_marks(tokenizer) else "rendering"
        lines.append(f"assistant turns found by: {how}")
    lines += [f"warning: {warning}" for warning in warnings] or ["nothing odd"]
    lines += ["", f"What is learnt stands in {LEARNT_OPEN} {LEARNT_CLOSE}.", ""]
    lines += [mask_text(tokenizer, s.encoded) + "\n" for s in seen[:: max(1, len(seen) // PRINTED)][:PRINTED]]
    return "\n".join(lines)


# Looking at one example ---------------------------------------------------------------------------------------


def _pairs(examples: Sequence[Example], rows: Sequence[Encoded]) -> Iterator[tuple[Example, Encoded]]:
    """Each row beside its example; both are in one order, and examples that were dropped have no row."""
    left = iter(examples)
    for row in rows:
        for example in left:
            if example.row == row.row:
                yield example, row
                break


def _look(tokenizer: Any, example: Example, row: Encoded, arguments: Mapping[str, Any]) -> _Seen:
    text, prompted = _text(example), True
    messages = _messages(example)
    if messages:
        messages = with_thoughts(tokenizer, messages, example.row, **arguments)
        text = render_chat(tokenizer, messages, example.row, **arguments)
        turns = assistant_turns(tokenizer, messages, text, example.row, **arguments)
        prompted = all(turn.as_prompted for turn in turns)
    stretches, before = [], ""
    for on, ids in _runs(row):
        said = _decode(tokenizer, ids)
        if on:
            stretches.append((before, said))
        before += said
    return _Seen(example.row, text, row, tuple(stretches), prompted)


def _own(example: Example, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {**arguments, **(getattr(example, "chat_template_kwargs", None) or {})}


def _messages(example: Example) -> list[Mapping[str, Any]]:
    if isinstance(example, Chat):
        return list(example.messages)
    if isinstance(example, Completed) and not isinstance(example.completion, str):
        user = {"role": "user", "content": example.prompt}
        return [*([user] if isinstance(example.prompt, str) else example.prompt), *example.completion]
    return []


def _text(example: Example) -> str:
    if isinstance(example, Text):
        return example.text
    if isinstance(example, Completed) and isinstance(example.prompt, str) and isinstance(example.completion, str):
        return example.prompt + example.completion
    return ""


def _tagged(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant" and THINK_CLOSE in str(message.get("content") or "")


def _runs(encoded: Encoded) -> Iterator[tuple[bool, list[int]]]:
    """Stretches of tokens that are alike learnt, or alike not."""
    run: list[int] = []
    for at, token in enumerate(encoded.ids):
        if run and encoded.mask[at] != encoded.mask[at - 1]:
            yield encoded.mask[at - 1], run
            run = []
        run.append(token)
    if run:
        yield encoded.mask[-1], run


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _comes_back(tokenizer: Any, seen: _Seen) -> bool:
    ids, _ = tokens_of(tokenizer, seen.text, seen.row)
    return _decode(tokenizer, ids) == seen.text


def _orphan(before: str, said: str) -> bool:
    """Whether a `</think>` comes before any `<think>`, which the prompt may have opened."""
    opened = before.rfind(THINK_OPEN) > before.rfind(THINK_CLOSE)
    for piece in said.split(THINK_OPEN):
        closings = piece.count(THINK_CLOSE)
        if closings > int(opened):
            return True
        opened = True
    return False


def _unclosed(before: str, said: str) -> bool:
    opened = said.rfind(THINK_OPEN)
    if opened < 0:
        opened = 0 if before.rfind(THINK_OPEN) > before.rfind(THINK_CLOSE) else -1
    return opened >= 0 and THINK_CLOSE not in said[opened:]
