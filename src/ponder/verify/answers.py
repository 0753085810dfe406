"""Finding the answer in a completion: strictly, as RL reads it, or leniently, as evaluation may."""

from __future__ import annotations

import re

from ponder.core.thinking import ANSWER_CLOSE, ANSWER_OPEN, TAGS, THINK_CLOSE, THINK_OPEN, parse

MODES = ("strict", "lenient")
CUES = ("the answer is", "answer:", "die antwort ist", "antwort:", "####")
_NUMBER = re.compile(r"(?:(?<![\d)])-)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?", re.ASCII)


def extract(text: str, mode: str = "strict", opened: bool = False) -> str | None:
    """The answer in `text`, or None.

    strict: what stands in the one `<answer>` of a well-formed completion (`ponder.core.thinking.parse`).
    lenient: the last `<answer>`, closed or not, outside the thought or inside; else the last `\\boxed{}`; else what
        follows the last cue ("The answer is", "Antwort:", "####"), to the end of the line; else the last number of the
        text; else its last line. A form is never asked for, so that form and skill can be told apart.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: one of {', '.join(MODES)}")
    if mode == "strict":
        parsed = parse(text, opened)
        return parsed.answer if parsed.well_formed else None
    return _tagged(text) or _boxed(text) or _after_cue(text) or _last_number(text) or _last_line(text)


def _tagged(text: str) -> str | None:
    start = text.rfind(ANSWER_OPEN)
    if start < 0:
        return None
    inside = text[start + len(ANSWER_OPEN) :]
    for tag in (ANSWER_CLOSE, THINK_OPEN, THINK_CLOSE):
        inside = inside.split(tag, 1)[0]
    return _after_cue(inside) or inside.strip() or None


def _boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 7 : at].strip() or None
    return None


def _after_cue(text: str) -> str | None:
    low = text.replace("İ", "I").lower()  # the one letter whose lower case is two, which would shift all that follows
    start, cue = max((low.rfind(cue), cue) for cue in CUES)
    if start < 0:
        return None
    rest = text[start + len(cue) :].lstrip(": *\t\r\n")  # `The answer is: 5`, `**Answer:** 5`
    line = rest.split("\n", 1)[0]
    for tag in TAGS:
        line = line.split(tag, 1)[0]
    return line.strip().rstrip(".* ").strip() or None


def _last_number(text: str) -> str | None:
    found = None
    for match in _NUMBER.finditer(text):
        found = match[0]
    return found


def _last_line(text: str) -> str | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1].rstrip(".").strip() or None) if lines else None
