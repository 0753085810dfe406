"""Finding a mathematical answer in a completion: tags, boxes matched brace by brace, cues, and last whatever is there.

One pass each, whatever the text: linear time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ponder.core.thinking import ANSWER_CLOSE, ANSWER_OPEN, TAGS, THINK_CLOSE


class Found(NamedTuple):
    """answer: the text of the answer. how: what it was found by: answer tag, box, cue, math, number, text."""

    answer: str
    how: str


_PIECE = re.compile(r"\\{1,2}(?:boxed|fbox|framebox)\s{0,3}\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s{1,3}([^\s\\{}$]{1,40}|\\[a-zA-Z]{1,20})")
_CONNECTIVE = re.compile(
    r"(?:\s|[$~.]|\\[()\[\],;:! ]|\\q?quad|\\text(?:rm|bf)?|\\mathrm|[{}]|\\\\|&|\*)*"
    r"(?:and|or|,|;|und|oder)(?:\s|[$~]|\\[()\[\],;:! ]|\\q?quad|\\text(?:rm|bf)?|\\mathrm|[{}]|\\\\|&|\*|,|and|or)*"
)
_CUES = ("answer is", "answers are", "answer:", "answer :", "die antwort ist", "antwort:", "####", "answer**:",
         "solution is", "\na: ", "final answer")  # fmt: skip
_DISPLAY = re.compile(
    r"\$\$(?P<dd>[^$]{1,2000})\$\$|\$(?P<d>(?:\\\$|[^$\n]){1,1000}?)(?<!\\)\$"
    r"|\\\((?P<p>(?:[^\\]|\\[^()]){1,1000}?)\\\)|\\\[(?P<b>(?:[^\\]|\\[^\[\]]){1,2000}?)\\\]"
    r"|\*\*(?P<s>[^*\n]{1,300})\*\*",
    re.DOTALL,
)
_NUMBER = re.compile(
    r"(?:(?<![\w.)\]])[-−+])?[$€£]?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:[. ]\d{3})+,\d+"
    r"|\d{1,3}(?: \d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?)"
    r"(?:\s?/\s?\d+(?:\.\d+)?)?(?:[eE][-+]?\d+)?(?:\s?%)?",
    re.ASCII,
)
_CONTROL = re.compile(
    r"\\(?:text|mathrm|textbf|mbox)\s?\{[^{}]{0,40}\}|\\[a-zA-Z]+|\b(?:pi|sqrt|sin|cos|tan|log|ln)\b"
    r"|(?<![a-zA-Z])(?:and|or)(?![a-z])"
)
_PROSE = re.compile(r"[^\W\d_]{3,}|\*\*|\\[(\[]|[<>]{2}|\n")
_SENTENCE_END = re.compile(r"(?<!\\)[.!?](?=\s|$|<)|\n|<\||\*\*\s*$")
_JOINING = re.compile(r",? ?(?:and|or) ")
_STRAY = re.compile(r"^\s*[\"'`*]+|[\"'`*]+\s*$")


def find_answer(text: str, box_required: bool = False) -> Found | None:
    """The answer in `text`, or None.

    What follows the last `</think>` is searched before the rest. Last `<answer>`; else the last box (boxes joined by
    "and", "or" or a comma are one answer); else, unless `box_required`, what follows the last cue ("the answer is",
    "####"), the last formula, the last number, the last line.
    """
    cut = text.rfind(THINK_CLOSE)
    after = text[cut + len(THINK_CLOSE) :] if cut >= 0 else text
    found = _marked(after, box_required)
    if found is None and not box_required:
        found = _loose(after) if after.strip() else None
        if (found is None or found.how not in ("cue",)) and cut >= 0:
            found = _marked(text, False) or found or _loose(text)
    return found


def _marked(text: str, box_required: bool) -> Found | None:
    tagged = _tagged(text, box_required)
    if tagged is not None:
        boxed = last_boxed(tagged, False)
        return Found(boxed if boxed is not None else _uncued(tagged), "answer tag")
    boxed = last_boxed(text, not box_required)
    return None if boxed is None else Found(boxed, "box")


def _tagged(text: str, closed: bool) -> str | None:
    start = text.rfind(ANSWER_OPEN)
    if start < 0:
        return None
    inside = text[start + len(ANSWER_OPEN) :]
    if closed and ANSWER_CLOSE not in inside:
        return None
    for tag in TAGS:
        inside = inside.split(tag, 1)[0]
    return inside.strip() or None


def _uncued(inside: str) -> str:
    if len(inside) < 400:
        cued = _after_cue(inside)
        if cued:
            return cued
    return inside


def last_boxed(text: str, lenient: bool = True) -> str | None:
    """The last box that is not empty, with those that a joining word ties to it.

    lenient: unclosed ones count too, and `\\boxed 42`.
    """
    boxes, unclosed = _boxes(text)
    filled = [box for box in boxes if text[box[1] : box[2]].strip()]
    if lenient:
        bare = _last(_BARE_BOX, text)
        if bare is not None and (not filled or bare.start() > filled[-1][3]):
            return bare[1]
        if not filled and unclosed is not None:
            return text[unclosed:].split("\n", 1)[0].strip(" $.") or None
    if not filled:
        return None
    parts = [text[filled[-1][1] : filled[-1][2]].strip()]
    for earlier, later in zip(reversed(filled[:-1]), reversed(filled[1:]), strict=True):
        between = text[earlier[3] : later[0]]
        if len(between) > 60 or not _CONNECTIVE.fullmatch(between) or len(parts) > 20:
            break
        parts.insert(0, text[earlier[1] : earlier[2]].strip())
    return " , ".join(parts)


def _boxes(text: str) -> tuple[list[tuple[int, int, int, int]], int | None]:
    """The closed boxes that stand in no other box (start, inside from, inside to, end), and the last unclosed one."""
    stack: list[tuple[int, int] | None] = []
    found: list[tuple[int, int, int, int]] = []
    for piece in _PIECE.finditer(text):
        sign = piece[0]
        if sign == "{":
            stack.append(None)
        elif sign == "}":
            opened = stack.pop() if stack else None
            if opened is not None:
                while found and found[-1][0] > opened[0]:
                    found.pop()
                found.append((opened[0], opened[1], piece.start(), piece.end()))
        elif len(sign) > 2:
            stack.append((piece.start(), piece.end()))
    unclosed = [opened[1] for opened in stack if opened is not None]
    return found, unclosed[-1] if unclosed else None


def _loose(text: str) -> Found | None:
    cued = _after_cue(text)
    if cued:
        return Found(cued, "cue")
    whole = text.strip()
    if len(whole) < 300 and "$" not in whole.strip("$") and not _PROSE.search(_CONTROL.sub(" ", whole)):
        return Found(whole, "math")
    tail = text[-20_000:]
    formula = _last_formula(tail)
    number = _last(_NUMBER, tail)
    if formula is not None and (number is None or number.start() < formula[1]):
        return Found(formula[0], "math")
    if number is not None:
        return Found(number[0].strip(), "number")
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return Found(lines[-1].rstrip("."), "text") if lines else None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for match in pattern.finditer(text):
        found = match
    return found


def _last_formula(text: str) -> tuple[str, int] | None:
    spans = [(m.start(), m.end(), next(g for g in m.groups() if g is not None)) for m in _DISPLAY.finditer(text)]
    spans = [span for span in spans if span[2].strip()]
    if not spans:
        return None
    parts = [spans[-1][2].strip()]
    for earlier, later in zip(reversed(spans[:-1]), reversed(spans[1:]), strict=True):
        between = text[earlier[1] : later[0]]
        if len(between) > 20 or between.strip() not in ("and", "or", ",", ", and", ";"):
            break
        parts.insert(0, earlier[2].strip())
    tail = text[spans[-1][1] : spans[-1][1] + 30].strip()
    if len(parts) == 1 and (more := re.match(r"(?:and|or) (-?\d+(?:\.\d+)?)\b", tail)):
        parts.append(more[1])
    if more_unit := re.match(r"(%|percent|pct)", tail):
        parts[-1] += " " + more_unit[1]
    return " , ".join(parts), spans[-1][1]


def _after_cue(text: str) -> str | None:
    low = text.replace("İ", "I").lower()
    start, cue = max((low.rfind(cue), cue) for cue in _CUES)
    if start < 0:
        return None
    rest = text[start + len(cue) :].lstrip(": *}\t\r\n")
    for tag in TAGS:
        rest = rest.split(tag, 1)[0]
    rest = rest[:4000]
    opening = _DISPLAY.match(rest)
    if opening is not None:
        inside = next(g for g in opening.groups() if g is not None).strip()
        joining = _JOINING.match(rest, opening.end())
        more = _DISPLAY.match(rest, joining.end()) if joining else None
        return inside if more is None else f"{inside}, {next(g for g in more.groups() if g is not None)}"
    sentence = rest[: _ends(rest)].strip().strip("*").strip()
    if not sentence:
        return None
    formula = _last_formula(sentence)
    numbers = list(_NUMBER.finditer(sentence))
    words = re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[a-zA-Z]+(?:\{[A-Za-z /]{0,60}\})?", "", sentence))
    if formula is not None and (not numbers or numbers[-1].start() < formula[1]):
        return formula[0]
    if numbers and len(words) > 2:
        return numbers[-1][0].strip()
    return _STRAY.sub("", sentence).strip().rstrip(".").strip() or None


def _ends(rest: str) -> int:
    end = _SENTENCE_END.search(rest)
    return end.start() if end else len(rest)
