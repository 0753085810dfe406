"""The instructions on the shape of a response: lists, sections, marks, beginnings and ends.

Each function takes the response and the instruction's arguments and says whether it is followed, with the semantics of
google-research/instruction_following_eval, quirks included. Where the reference uses a pattern that backtracks, the
same is found here by a linear scan.
"""

from __future__ import annotations

import json
import re

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCES = ("```json", "```Json", "```JSON", "```")


def no_comma(text: str) -> bool:
    """There is no comma."""
    return "," not in text


def number_placeholders(text: str, *, num_placeholders: int) -> bool:
    """At least so many `[placeholders]`, each on one line."""
    found = 0
    for line in text.split("\n"):
        opening = line.find("[")
        while opening >= 0 and (closing := line.find("]", opening)) >= 0:
            found += 1
            opening = line.find("[", closing)
    return found >= num_placeholders


def postscript(text: str, *, postscript_marker: str) -> bool:
    """A postscript is there; `P.P.S` and `P.S.` may have a space after a full stop."""
    marker = postscript_marker.strip()
    low = text.lower()
    if marker == "P.P.S":
        return re.search(r"p\.\s?p\.\s?s", low) is not None
    if marker == "P.S.":
        return re.search(r"p\.\s?s\.", low) is not None
    return marker.lower() in low


def number_bullets(text: str, *, num_bullets: int) -> bool:
    """Exactly so many bullet points, that is lines that begin with `*` (not `**`) or with `-`."""
    return _starred(text) + _dashed(text) == num_bullets


def _starred(text: str) -> int:
    """Non-overlapping matches of `^\\s*\\*[^*].*$`: a `*` alone on its line takes the next line with it."""
    found = at = 0
    while (start := _next_mark(text, at)) >= 0:
        mark, end = start, text.find("\n", start)
        if text[mark] == "*" and mark + 1 < len(text) and text[mark + 1] != "*":
            found += 1
            end = text.find("\n", mark + 2)
        if end < 0:
            break
        at = end + 1
    return found


def _dashed(text: str) -> int:
    return sum(line.lstrip().startswith("-") for line in text.split("\n"))


_BLANK = re.compile(r"\s*")


def _next_mark(text: str, at: int) -> int:
    """The first sign at or after `at` that is no space; -1 at the end."""
    match = _BLANK.match(text, at)
    return match.end() if match and match.end() < len(text) else -1


def constrained_response(text: str) -> bool:
    """One of the three given answers occurs."""
    return any(option in text for option in OPTIONS)


_SINGLE = re.compile(r"\*[^\n*]*\*")
_BOLD = re.compile(r"\*\*[^\n*]*\*\*")


def number_highlights(text: str, *, num_highlights: int) -> bool:
    """At least so many `*highlights*`, in single or double stars, not empty, each on one line."""
    single = sum(bool(match[0].strip("*").strip()) for match in _SINGLE.finditer(text))
    double = sum(bool(match[0][2:-2].strip()) for match in _BOLD.finditer(text))
    return single + double >= num_highlights


def multiple_sections(text: str, *, section_spliter: str, num_sections: int) -> bool:
    """At least so many sections, each begun by the marker and a number (`SECTION 1`)."""
    pattern = re.compile(re.escape(section_spliter.strip()) + r"\s?\d+")
    return sum(1 for _ in pattern.finditer(text)) >= num_sections


def json_format(text: str) -> bool:
    """All of it is JSON, with or without a fence of three backticks around it."""
    bare = text.strip()
    for fence in _FENCES:
        bare = bare.removeprefix(fence)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):  # nested a thousand deep: JSON by the letter, but nothing that one could read
        return False
    return True


def title(text: str) -> bool:
    """A title in double angular brackets, `<<so>>`, not empty, on one line."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start and start + 3 <= end and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def two_responses(text: str) -> bool:
    """Two different responses with `******` between them, and nowhere else than at the ends besides."""
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def repeat_prompt(text: str, *, prompt_to_repeat: str) -> bool:
    """It begins with the request, word for word, in any case."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(text: str, *, end_phrase: str) -> bool:
    """It ends with the phrase, in any case; quotation marks around the whole may follow."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    """The whole is wrapped in double quotation marks."""
    bare = text.strip()
    return len(bare) > 1 and bare[0] == '"' and bare[-1] == '"'
