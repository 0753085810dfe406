"""Several parts, one score: the value is the weighted sum of the parts.

A part that has no verdict (None) makes the value unknown, and the completion is counted but not trained on: to treat
"could not be graded" as "worth nothing" would teach the policy to break the grader. A part of weight 0 is only logged.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards.adopt import Adopted, load_function
from ponder.rewards.parts import accuracy, format

BUILT_IN: dict[str, Callable[..., list[Score]]] = {"accuracy": accuracy, "format": format}


@dataclass(frozen=True)
class RewardPart:
    """One term of a reward.

    name: the key under which its values are logged.
    fn: `fn(problems, completions) -> list[Score | float | None]`, known by its parameter `problems`; any other function
        is called as TRL calls it (`ponder.rewards.adopt`).
    weight: its factor in the sum; 0 logs it only.
    none: what its None means. "unknown": the completion has no reward. "skip": the part does not apply here, and the
        sum goes without it, as TRL does with several tasks in one data set.
    """

    name: str
    fn: Callable[..., Any]
    weight: float = 1.0
    none: Literal["unknown", "skip"] = "unknown"


@dataclass(frozen=True)
class Reward:
    """A reward: call it with problems and completions, get one `Score` each. Make it with `compose`."""

    parts: tuple[RewardPart, ...]

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        """Score every completion; `problems[i]` is what `completions[i]` answers."""
        columns = [_scores(part, problems, completions) for part in self.parts]
        return [_combine(self.parts, row) for row in zip(*columns, strict=True)]

    def reweighted(self, weights: Sequence[float] | Mapping[str, float]) -> Reward:
        """The same parts with other weights: one a part in order, or by name (a part not named keeps its own)."""
        names = [part.name for part in self.parts]
        if isinstance(weights, Mapping):
            for name in weights:
                if name not in names:
                    raise PonderError(f"reward_weights names {name!r}; the parts are {', '.join(names)}")
            by_name = dict(weights)
        elif len(weights) == len(names):
            by_name = dict(zip(names, weights, strict=True))
        else:
            raise PonderError(f"reward_weights has {len(weights)} values for {len(names)} parts ({', '.join(names)})")
        return Reward(tuple(replace(part, weight=by_name.get(part.name, part.weight)) for part in self.parts))


def compose(parts: Sequence[RewardPart]) -> Reward:
    """One reward of several parts.

    `Score.correct` is the verdict of the first part that gives one (accuracy does); without such a part it is unknown.
    Raises PonderError for no parts, or two of the same name.
    """
    if not parts:
        raise PonderError("a reward needs at least one part, e.g. accuracy")
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise PonderError(f"two reward parts are called {name!r}; give one of them another name")
    return Reward(tuple(replace(part, fn=_callable(part)) for part in parts))


def reward_part(spec: str | Callable[..., Any], weight: float = 1.0, name: str | None = None) -> RewardPart:
    """A part from "accuracy", "format", "path/to/file.py:function", or a function."""
    if not isinstance(spec, str):
        return RewardPart(name or str(getattr(spec, "__name__", type(spec).__name__)), spec, weight)
    if spec in BUILT_IN:
        return RewardPart(name or spec, BUILT_IN[spec], weight)
    if ":" not in spec:
        known = ", ".join(BUILT_IN)
        raise PonderError(f"reward {spec!r} is unknown; it is one of {known}, or path/to/file.py:function")
    return RewardPart(name or spec.rpartition(":")[2], load_function(spec), weight)


def _callable(part: RewardPart) -> Callable[..., Any]:
    try:
        own = "problems" in inspect.signature(part.fn).parameters
    except (TypeError, ValueError):
        own = False
    return part.fn if own or isinstance(part.fn, Adopted) else Adopted(part.name, part.fn)


def _scores(part: RewardPart, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    returned = part.fn(problems, completions)
    if len(returned) != len(completions):
        raise PonderError(f"reward {part.name!r} returned {len(returned)} values for {len(completions)} completions")
    return [value if isinstance(value, Score) else Score(value, None) for value in returned]


def _combine(parts: Sequence[RewardPart], scores: Sequence[Score]) -> Score:
    value: float | None = 0.0
    counted = False
    for part, score in zip(parts, scores, strict=True):
        if part.weight == 0.0 or (score.value is None and part.none == "skip"):
            continue
        counted = True
        value = None if value is None or score.value is None else value + part.weight * score.value
    verdicts = [score.correct for score in scores if score.correct is not None]
    notes = [f"{part.name}: {score.note}" for part, score in zip(parts, scores, strict=True) if score.note]
    return Score(
        value=value if counted else None,
        correct=verdicts[0] if verdicts else None,
        parts={part.name: score.value for part, score in zip(parts, scores, strict=True)},
        note="; ".join(notes),
    )
