"""Steps of a solution: taking a response apart into steps, and making one number out of the scores of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ponder.core.errors import PonderError
from ponder.core.thinking import THINK_CLOSE, THINK_OPEN


@dataclass(frozen=True)
class LabelledSteps:
    """The steps of one solution, each with how right it is, from 0 to 1 (soft labels; `Stepwise` holds hard ones).

    prompt: rendered text, or a bare question where the model has no template. row: its number in the file.
    """

    prompt: str
    completions: tuple[str, ...]
    labels: tuple[float, ...]
    row: int = 0


def split_steps(text: str, separator: str = "\n") -> list[str]:
    """The steps of a response: the parts of its thought, then what follows the thought as the last step.

    separator: what stands between steps; a newline makes every line one, two newlines every paragraph. Parts that hold
    nothing but space go with the one before; at the beginning, as a `<think>` alone, with the one behind. Without a
    `</think>` all parts are steps, and so the last of them is the answer. Joined by the separator, the steps are the
    text again, but for white space at its end and for a `</think>` in the middle of a part, which begins a new one.
    Raises PonderError for an empty separator.
    """
    if not separator:
        raise PonderError("the separator of steps is empty; give a newline, say")
    end = text.find(THINK_CLOSE)
    thought, last = (text[:end], text[end:].rstrip()) if end >= 0 else (text.rstrip(), "")
    if last:
        thought = thought.removesuffix(separator)
    steps: list[str] = []
    opening = ""
    for part in thought.split(separator) if thought.strip() else []:
        if part.strip() == THINK_OPEN:
            opening += part + separator
        elif not part.strip():
            if steps and not opening:
                steps[-1] += separator + part
            else:
                opening += part + separator
        else:
            steps.append(opening + part)
            opening = ""
    return [*steps, *([opening + last] if opening + last else [])]


AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda scores: sum(scores) / len(scores),
    "min": min,
    "last": lambda scores: scores[-1],
    "product": math.prod,
}
"""One number for a solution out of its steps' (arXiv 2305.20050 takes the product, 2312.08935 the least)."""


def aggregate(scores: Sequence[float], how: str = "min") -> float:
    """One number for a solution out of the scores of its steps; 0 where it has none.

    how: a key of `AGGREGATES`. Raises PonderError for another.
    """
    if how not in AGGREGATES:
        raise PonderError(f"unknown aggregation of step scores {how!r}: one of {', '.join(AGGREGATES)}")
    return float(AGGREGATES[how](scores)) if scores else 0.0
