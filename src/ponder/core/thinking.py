"""Thought and answer: reading `<think>…</think><answer>…</answer>` out of a completion.

Every function is total and runs in linear time: it searches for fixed strings, never with a backtracking pattern.
"""

from __future__ import annotations

from dataclasses import dataclass

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)
NO_THOUGHT = f"{THINK_OPEN}\n\n{THINK_CLOSE}\n\n"
"""An empty thought, closed: what a template writes into the prompt where the model is to answer at once."""


@dataclass(frozen=True)
class Parsed:
    """A completion taken apart.

    thought: the text of the first thought (to the end of the text where it is never closed), or "".
    rest: what follows the thought; the whole text where there is none.
    answer: the text of the first `<answer>` outside the thought, or None.
    well_formed: exactly one non-empty thought (none at all where the prompt closed it), then exactly one non-empty
        answer, and nothing else.
    fault: what breaks the form, in a few words; "" when well formed.
    """

    thought: str
    rest: str
    answer: str | None
    well_formed: bool
    fault: str


def opens_thought(prompt: str) -> bool:
    """Whether a completion of `prompt` begins inside a thought, because its template already wrote `<think>`."""
    return prompt.rstrip().endswith(THINK_OPEN)


def closes_thought(prompt: str) -> bool:
    """Whether `prompt` ends with an empty thought, closed (`NO_THOUGHT`): its completion is to answer at once."""
    end = prompt.rstrip()
    return end.endswith(THINK_CLOSE) and end.removesuffix(THINK_CLOSE).rstrip().endswith(THINK_OPEN)


def parse(text: str, opened: bool = False, closed: bool = False) -> Parsed:
    """Take a completion apart.

    opened: the prompt's template already wrote `<think>`. closed: it wrote a whole, empty thought; then any other one
    is a fault.
    """
    whole = THINK_OPEN + text if opened and not text.lstrip().startswith(THINK_OPEN) else text
    start = whole.find(THINK_OPEN)
    end = whole.find(THINK_CLOSE, start if start >= 0 else 0)
    if start >= 0:
        thought = whole[start + len(THINK_OPEN) : end if end >= 0 else len(whole)]
        rest = whole[end + len(THINK_CLOSE) :] if end >= 0 else ""
    else:
        thought, rest = "", whole
    answer = _between(rest, ANSWER_OPEN, ANSWER_CLOSE)
    fault = _fault_at_once(text, answer) if closed else _fault(whole, thought, answer)
    return Parsed(thought.strip(), rest.strip(), answer, not fault, fault)


def _between(text: str, opening: str, closing: str) -> str | None:
    start = text.find(opening)
    if start < 0:
        return None
    end = text.find(closing, start + len(opening))
    return text[start + len(opening) : end].strip() if end >= 0 else None


def _fault(whole: str, thought: str, answer: str | None) -> str:
    for tag in TAGS:
        count = whole.count(tag)
        if count != 1:
            return f"no {tag}" if count == 0 else f"{count} times {tag}"
    places = [whole.find(tag) for tag in TAGS]
    if places != sorted(places):
        return "tags out of order"
    if whole[: places[0]].strip():
        return "text before the thought"
    if not thought.strip():
        return "empty thought"
    if whole[places[1] + len(THINK_CLOSE) : places[2]].strip():
        return "text between thought and answer"
    if not (answer or "").strip():
        return "empty answer"
    if whole[places[3] + len(ANSWER_CLOSE) :].strip():
        return "text after the answer"
    return ""


def _fault_at_once(text: str, answer: str | None) -> str:
    if THINK_OPEN in text or THINK_CLOSE in text:
        return "a thought where none was asked for"
    for tag in (ANSWER_OPEN, ANSWER_CLOSE):
        count = text.count(tag)
        if count != 1:
            return f"no {tag}" if count == 0 else f"{count} times {tag}"
    before, _, rest = text.partition(ANSWER_OPEN)
    if before.strip():
        return "text before the answer"
    if not (answer or "").strip():
        return "empty answer"
    return "text after the answer" if rest.partition(ANSWER_CLOSE)[2].strip() else ""
