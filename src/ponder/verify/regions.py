"""The part of a completion that holds its answer, for graders that read more than a number or a letter."""

from __future__ import annotations

import re

from ponder.core.errors import PonderError
from ponder.core.thinking import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from ponder.verify.choice_reading import box_spans, clean

FORMS = ("raw", "bare", "completion")
READ = 20_000
"""Characters of a text that are read, from its end."""
_CUE = re.compile(
    r"(?:\b(?:answer|solution|order(?:ing)?|ranking|conclusion|result|antwort|lösung|reihenfolge|ergebnis|rangfolge)\b"
    r"[^.:\n]{0,60}?(?::|=|\bis\b|\bare\b|\bist\b|\blautet\b|\bwould be\b)|#{4})",
    re.IGNORECASE,
)


def answer_region(text: str, form: str = "completion") -> tuple[str, str]:
    """The text to read, and how it was marked: "tag", "box", "cue", or "" for all of it, unmarked.

    completion: what follows the thought (nothing, where that never ends), in it the last `<answer>`, else the last
    `\\boxed{}`, else what follows the last cue ("The order is:", "Antwort:"), else all. raw: the same without thought
    and tags. bare: all of it, as if it were tagged. At most the last 20,000 characters are read; linear.
    """
    if form not in FORMS:
        raise PonderError(f"unknown form {form!r}: one of {', '.join(FORMS)}")
    if form == "bare":
        return text[-READ:], "tag"
    if form == "completion":
        if THINK_CLOSE in text:
            text = text[text.rfind(THINK_CLOSE) + len(THINK_CLOSE) :]
        elif THINK_OPEN in text:
            return "", ""
        start = text.rfind(ANSWER_OPEN)
        if start >= 0:
            return text[start + len(ANSWER_OPEN) :].split(ANSWER_CLOSE, 1)[0][-READ:], "tag"
    text = text[-READ:]
    spans = box_spans(text)
    if spans:
        # boxes in one line are one answer, so that none of several is picked
        first = len(spans) - 1
        while first and "\n" not in text[spans[first - 1][1] : spans[first][0]]:
            first -= 1
        return text[spans[first][0] : spans[-1][1]], "box"
    for match in reversed(list(_CUE.finditer(text))):
        if text[match.end() :].strip(" \t\n.:*"):
            return text[match.end() :], "cue"
    return text, ""


def readable(text: str) -> str:
    """Without marks of emphasis and LaTeX; its signs for "greater" and arrows as plain ones."""
    for name, sign in (
        (r"\\(?:to|rightarrow|Rightarrow|longrightarrow)\b|→|⇒|[-=]>", " -> "),
        (r"\\(?:gt|succ)\b|≻|＞|&gt;", ">"),
        (r"\\(?:lt|prec)\b|≺|＜|&lt;", "<"),
        (r"\\\\|\\newline\b", "\n"),
    ):
        text = re.sub(name, sign, text)
    return clean(text)
