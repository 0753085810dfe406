"""Reading a judge's verdict out of what it wrote: a score on a scale, a label, or a choice between two.

Read are JSON (`{"score": 7}`), `\\boxed{7}`, `[[7]]`, `Score: 7/10`, `Verdict: safe`, and a last line that says nothing
else; where several stand there, the last. What cannot be read is unknown, with a note, never a guess. Every function is
total and takes linear time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ponder.core.thinking import THINK_CLOSE, THINK_OPEN

READ = 20_000
"""Characters from the end of a judge's text that are read: the verdict stands last."""


@dataclass(frozen=True)
class Verdict:
    """What a judge says. value: None where it cannot be read, and then `note` says why."""

    value: float | None
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """Which of several a judge prefers. choice: None where it cannot be read, and then `note` says why."""

    choice: str | None
    note: str = ""


_NUMBER = (
    r"(?P<number>[-+]?\d{1,6}(?:[.,]\d{1,6})?)(?![.,]?\d)"
    r"(?P<of>[ \t]{0,3}(?:/|out[ ]of|von)[ \t]{0,3}\d{1,6})?(?P<pct>[ ]?%)?"
)
_NO_RANGE = r"(?![ \t]{0,2}(?:-|–|to\b|bis\b)[ \t]{0,2}\d)"  # "Score: 1-10" says the scale again
_NAMES = r"(?:score|rating|grade|verdict|bewertung|punktzahl|punkte|urteil)"
_FILLER = r"[\s\"'*_`]{0,6}(?:(?:is|of|ist|von)\b[ ]{0,2}[:=]?|[:=])[\s\"'*_`\[({]{0,8}"
_UNQUOTED = r"(?<![\"'“”«»‘’\w])"  # a quoted `Score: 10` is what somebody else wrote

_SCORES = (
    re.compile(rf"[\"']{_NAMES}[\"']\s{{0,4}}:\s{{0,4}}[\"']?{_NUMBER}", re.IGNORECASE),  # JSON
    re.compile(rf"{_UNQUOTED}{_NAMES}{_FILLER}{_NUMBER}{_NO_RANGE}", re.IGNORECASE),
    re.compile(rf"\\boxed\s?\{{\s{{0,4}}{_NUMBER}\s{{0,4}}\}}"),
    re.compile(rf"\[\[\s{{0,4}}{_NUMBER}\s{{0,4}}\]\]"),
)
_ALONE = re.compile(rf"[\s*_`(]{{0,8}}{_NUMBER}[\s*_`.)]{{0,8}}", re.IGNORECASE)
_ANYWHERE = re.compile(
    r"(?<![\w./,-])(?P<number>\d{1,6}(?:[.,]\d{1,6})?)(?P<of>[ ]?(?:/|out[ ]of)[ ]?\d{1,6})(?P<pct>)(?![\w/])"
)


def read_score(text: str, low: float = 1.0, high: float = 10.0) -> Verdict:
    """The last score in `text` on the scale from `low` to `high`, as 0 to 1.

    "7/10" must name the scale's own end; a percentage is read where the scale ends at 100. Other numbers, and those
    beyond the scale, are unknown.
    """
    found = _last(match for pattern in _SCORES for match in pattern.finditer(text[-READ:]))
    if found is None:
        found = _ALONE.fullmatch(_last_line(text)) or _last(_ANYWHERE.finditer(text[-READ:]))
    if found is None:
        return Verdict(None, f"no score in {_shown(text)}")
    number, of, percent = float(found["number"].replace(",", ".")), found["of"], found["pct"]
    if of and float(re.findall(r"\d+", of)[0]) != high:
        return Verdict(None, f"a score {found['number']}{of} on a scale to {high:g}")
    if percent and high != 100:
        return Verdict(None, f"a score of {found['number']} % on a scale to {high:g}")
    if not (math.isfinite(number) and low <= number <= high):
        return Verdict(None, f"a score of {number:g} outside {low:g} to {high:g}")
    return Verdict((number - low) / (high - low))


def read_label(text: str, labels: Mapping[str, float]) -> Verdict:
    """The value of the last label that is given as a verdict (`Verdict: safe`, boxed, in JSON, or as the last line)."""
    chosen = read_choice(text, list(labels))
    return Verdict(None if chosen.choice is None else float(labels[chosen.choice]), chosen.note)


_CHOICE_NAMES = r"(?:verdict|winner|answer|choice|better|preferred|rating|label|urteil|antwort|besser)"


def read_choice(text: str, choices: Sequence[str]) -> Choice:
    """Which of `choices` (upper and lower case alike) the last verdict in `text` names.

    Read as verdicts are `Verdict: A`, `{"winner": "A"}`, `\\boxed{A}`, `[[A]]`, and a last line of nothing but it.
    """
    either = "|".join(re.escape(choice) for choice in sorted(choices, key=len, reverse=True))
    one = rf"(?:response|assistant|answer|option|antwort)?[ ]?(?P<choice>{either})(?!\w)"
    patterns = (
        rf"[\"']{_CHOICE_NAMES}[\"']\s{{0,4}}:\s{{0,4}}[\"']{one}[\"']",
        rf"{_UNQUOTED}{_CHOICE_NAMES}{_FILLER}{one}(?![ \t]{{0,2}}(?:/|\||,|or\b|oder\b))",
        rf"\\boxed\s?\{{\s{{0,4}}(?:\\text\{{)?{one}\s{{0,4}}\}}",
        rf"\[\[\s{{0,4}}{one}\s{{0,4}}\]\]",
    )
    found = _last(match for p in patterns for match in re.finditer(p, text[-READ:], re.IGNORECASE))
    if found is None:
        found = re.fullmatch(rf"[\s*_`(]{{0,8}}{one}[\s*_`.!)]{{0,8}}", _last_line(text), re.IGNORECASE)
    if found is None:
        return Choice(None, f"none of {', '.join(choices)} in {_shown(text)}")
    return Choice(next(choice for choice in choices if choice.casefold() == found["choice"].casefold()))


def own_words(text: str, mark: str = "") -> str:
    """What a judge itself says in the end: without its thought, and without what it repeats between two `mark`s.

    A thought that is never closed leaves "".
    """
    if THINK_CLOSE in text:
        text = text.rpartition(THINK_CLOSE)[2]
    elif THINK_OPEN in text:
        return ""
    if mark and mark in text:
        pieces = text.split(mark)
        # An opening that was never closed quotes to the end.
        text = pieces[0] + (pieces[-1] if len(pieces) > 2 else "")
    return text.strip()


def _last(matches: Iterable[re.Match[str]]) -> re.Match[str] | None:
    return max(matches, key=lambda match: match.start(), default=None)


def _last_line(text: str) -> str:
    return text[-READ:].rstrip().rpartition("\n")[2][:200]


def _shown(text: str) -> str:
    line = " ".join(text[-400:].split())
    return repr(line if len(line) <= 60 else "..." + line[-57:])
