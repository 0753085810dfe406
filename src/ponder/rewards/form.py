"""The built-in parts that look at form alone: the whole of it, its parts, its tags, the steps of the thought.

None of them can tell a right answer from a wrong one; they should weigh little beside one that can. All take linear
time. `opened`: the prompt's template already wrote `<think>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated

from pydantic import Field

from ponder.core.thinking import TAGS, THINK_OPEN, parse
from ponder.core.types import Completion, Problem, Score

NAMES = ("think_open", "think_close", "answer_open", "answer_close")


def format(problems: Sequence[Problem], completions: Sequence[Completion], opened: bool = False) -> list[Score]:
    """1 where the text is one thought, then one answer, and nothing else; 0 otherwise, with the fault as the note."""
    scores = []
    for completion in completions:
        parsed = parse(completion.text, opened)
        scores.append(Score(1.0 if parsed.well_formed else 0.0, None, note=parsed.fault))
    return scores


def format_parts(problems: Sequence[Problem], completions: Sequence[Completion], opened: bool = False) -> list[Score]:
    """A fifth each for the four tags in their places, and for nothing but space outside of them.

    The last fifth asks for all four, and for something in thought and answer: it is the strict format. A gentler slope
    than `format` for a base model that has half the form.
    """
    scores = []
    for completion in completions:
        placed = tags_in_place(completion.text, opened)
        parts = {name: float(tag in placed) for name, tag in zip(NAMES, TAGS, strict=True)}
        parsed = parse(completion.text, opened)
        parts["alone"] = float(parsed.well_formed)
        scores.append(Score(sum(parts.values()) / 5, None, parts, parsed.fault))
    return scores


def tags(problems: Sequence[Problem], completions: Sequence[Completion], opened: bool = False) -> list[Score]:
    """A quarter for each of the four tags that is there exactly once and in order (open-r1's tag count, ordered)."""
    return [Score(len(tags_in_place(c.text, opened)) / 4, None) for c in completions]


def tags_in_place(text: str, opened: bool = False) -> tuple[str, ...]:
    """The tags that occur exactly once, without those that are out of order: the most that stand in order."""
    whole = THINK_OPEN + text if opened and not text.lstrip().startswith(THINK_OPEN) else text
    once = {tag: whole.find(tag) for tag in TAGS if whole.count(tag) == 1}
    for size in range(len(once), 0, -1):
        for chosen in combinations(once, size):
            places = [once[tag] for tag in chosen]
            if places == sorted(places):
                return chosen
    return ()


_STEP = re.compile(
    r"^[ \t]{0,8}(?:(?:step|schritt)[ \t]+)?(?P<number>\d{1,3})[.):](?=\s)"
    r"|^[ \t]{0,8}[-*•][ \t]+(?P<bullet>\S.{0,80})"
    r"|\b(?P<word>first(?:ly)?|second(?:ly)?|third(?:ly)?|next|then|after that|finally|lastly"
    r"|zuerst|erstens|zweitens|drittens|dann|danach|anschließend|schließlich|zuletzt)\b,?",
    re.MULTILINE | re.IGNORECASE,
)


def steps(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    opened: bool = False,
    *,
    target: Annotated[int, Field(ge=1)] = 3,
) -> list[Score]:
    """Different steps in the thought (numbered, bullets, "first", "then"; English and German) over `target`, at most 1.

    The same marker again counts once, so that repeating a word earns nothing (after open-r1's reasoning steps, which
    count every one, anywhere).
    """
    scores = []
    for completion in completions:
        thought = parse(completion.text, opened).thought
        found = {(match.lastgroup, match[match.lastgroup or 0].casefold()) for match in _STEP.finditer(thought)}
        scores.append(Score(min(1.0, len(found) / target), None))
    return scores
