"""The words of a text: what is left without think / answer tags, code, formulas and addresses.

A language is spoken in words; a program or a formula is the same in all of them. Every function is total and takes
linear time: fixed strings are searched for, and patterns are bounded.
"""

from __future__ import annotations

import re

from ponder.core.thinking import TAGS

_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|textrm|textsf|emph|underline|mbox)\s?\{")
"""Commands whose argument is prose."""

_COMMAND = re.compile(r"\\[A-Za-z]{1,40}\*?(?:\{[^{}\n]{0,120}\}){0,4}")
"""A command with its simple arguments; what is nested deeper is mostly single letters."""

_DISPLAY, _INLINE = re.compile(r"\$\$[^$]*\$\$"), re.compile(r"\$(?![\s$])([^$\n]{0,400})(?<!\s)\$(?!\d)")
"""Between dollar signs stands a formula where none of them touches a space inside; prices ($5 and $10) do."""

_ENDS = re.compile(r"\\(begin|end)\s?\{([A-Za-z]{1,30})\*?\}")
_WORDY = frozenset(
    """document abstract quote quotation center itemize enumerate description theorem lemma proof definition corollary
    remark example proposition flushleft flushright""".split()
)
"""Environments that hold prose."""

_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_CODE_SPAN = re.compile(r"``(?!`)(?:[^`\n]|`(?!`)){1,200}``(?!`)|(?<!`)`[^`\n]{1,200}`(?!`)")


def prose(text: str) -> str:
    """`text` without tags, code (fenced and between backticks), formulas (`$..$`, `$$..$$`, `\\(..\\)`, `\\[..\\]`,
    environments, bare commands) and addresses; a blank stands for each of them.

    A fence that is never closed reaches to the end of the text, a formula to the end of its paragraph.
    """
    for tag in TAGS:
        text = text.replace(tag, " ")
    if "`" in text:
        text = _CODE_SPAN.sub(" ", _without(text, "```", "```", to_the_end=True))
    if "~~~" in text:
        text = _without(text, "~~~", "~~~", to_the_end=True)
    if "\\" in text:
        text = text.replace("\\\\", " ").replace("\\$", " ")
        text = _without_environments(text)
        text = _without(_without(text, "\\[", "\\]"), "\\(", "\\)")
    if "$" in text:
        text = _INLINE.sub(" ", _DISPLAY.sub(" ", text))
    if "\\" in text:
        text = _COMMAND.sub(" ", _TEXT_COMMAND.sub(" ", text))
    return _ADDRESS.sub(" ", text) if "://" in text or "www." in text else text


def open_ends(text: str) -> tuple[str, ...]:
    """What a text opens and never closes, of: ```` ``` ````, `\\[`, `\\(`, `$$`."""
    outside = _without(text, "```", "```", to_the_end=True)
    found = ["```"] if text.count("```") % 2 else []
    found += [opening for opening, closing in (("\\[", "\\]"), ("\\(", "\\)")) if _open(outside, opening, closing)]
    return (*found, "$$") if outside.count("$$") % 2 else tuple(found)


def _open(text: str, opening: str, closing: str) -> bool:
    plain = text.replace("\\\\", "  ")  # \\[2pt] is a row's end
    return plain.rfind(opening) > plain.rfind(closing)


def _without(text: str, opening: str, closing: str, to_the_end: bool = False) -> str:
    """Each stretch from `opening` to the next `closing` as a blank."""
    pieces, at, closable = [], 0, True
    while (start := text.find(opening, at)) >= 0:
        pieces.append(text[at:start])
        end = text.find(closing, start + len(opening)) if closable else -1
        if end >= 0:
            at = end + len(closing)
            continue
        if to_the_end:
            return " ".join(pieces)
        closable = False  # searched for once
        at = text.find("\n\n", start)
        if at < 0:
            return " ".join(pieces)
    pieces.append(text[at:])
    return " ".join(pieces)


def _without_environments(text: str) -> str:
    """Without `\\begin{..}` to its `\\end`, for environments of formulas and code; of the others only the commands."""
    pieces, at, depth = [], 0, 0
    for match in _ENDS.finditer(text):
        if match[2] in _WORDY:
            continue
        if match[1] == "begin":
            if depth == 0:
                pieces.append(text[at : match.start()])
                at = match.end()
            depth += 1
        elif depth:
            depth -= 1
            at = match.end() if depth == 0 else at
    if depth:  # never closed
        end = text.find("\n\n", at)
        at = len(text) if end < 0 else end
    pieces.append(text[at:])
    return " ".join(pieces)
