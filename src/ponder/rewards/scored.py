"""A model's score as a part of a reward: of the whole response or the answer, brought to a range where wanted; and the
scores of its steps, brought to one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ponder.core.errors import PonderError
from ponder.core.steps import aggregate
from ponder.core.types import Completion, Problem, Score
from ponder.rewards.judge import judged_text
from ponder.rewards.parts import NO_ANSWER
from ponder.rewards.rubrics import On

Normalise = Literal["none", "sigmoid", "standard", "batch"]


class Scorer(Protocol):
    """Anything that gives a response a number, e.g. an outcome model."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """One number a response."""
        ...


class StepScorer(Protocol):
    """Anything that gives each step of a response a number in 0 to 1, e.g. a process model."""

    def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float]]:
        """A list of numbers a response, one a step."""
        ...


@dataclass(frozen=True)
class Scored:
    """A part of a reward: `Scored(scorer)(problems, completions) -> list[Score]`; the scorer's own number is logged as
    the part's `raw`.

    on: `answer` leaves out thought and tags, `response` takes all. render: from a problem to the prompt that the scorer
    was trained with; where None, the bare question.
    normalise: none; sigmoid (0 to 1, as Bradley-Terry reads a score); standard (less `mean`, over `std`, as measured
        on held-out answers); batch (the same, by the mean and spread of the answers of this call and process, so that
        a score depends on the company it comes in: GRPO does that itself, by groups). A running mean is not offered: a
        run that goes on would have to restore it.
    clip: least and greatest value after that. missing: what an absent answer gets; where None, the least value there
        is (sigmoid, clip), else what the scorer says of "".
    opened: the policy's template already wrote `<think>`.
    """

    scorer: Scorer
    on: On = "response"
    render: Callable[[Problem], str] | None = None
    normalise: Normalise = "none"
    mean: float = 0.0
    std: float = 1.0
    clip: tuple[float, float] | None = None
    missing: float | None = None
    opened: bool = False

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise PonderError(f"std is {self.std:g}; it must be above 0")
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise PonderError(f"clip is {list(self.clip)}; its first value must be below its second")

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        """A score a completion; unknown where the scorer gives no finite number."""
        texts = [judged_text(completion.text, self.on, self.opened) for completion in completions]
        absent = self.missing
        if absent is None:
            absent = self.clip[0] if self.clip else 0.0 if self.normalise == "sigmoid" else None
        prompts = [problem.prompt if self.render is None else self.render(problem) for problem in problems]
        rows = list(zip(prompts, texts, strict=True))
        asked = list(dict.fromkeys(row for row in rows if row[1].strip() or absent is None))
        told = self.scorer.score([prompt for prompt, _ in asked], [text for _, text in asked]) if asked else []
        raw = {row: _rounded(value) for row, value in zip(asked, told, strict=True)}
        known = [raw[row] for row in rows if row in raw and math.isfinite(raw[row])]
        scores = []
        for row in rows:
            if row not in raw:
                scores.append(Score(absent, None, note=NO_ANSWER))
            elif not math.isfinite(raw[row]):
                scores.append(Score(None, None, note=f"the scorer gave {raw[row]}"))
            else:
                scores.append(Score(self._normal(raw[row], known), None, {"raw": raw[row]}))
        return scores

    def _normal(self, value: float, known: Sequence[float]) -> float:
        if self.normalise == "sigmoid":
            # From the side on which the exponential cannot overflow.
            value = 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
        elif self.normalise == "standard":
            value = (value - self.mean) / self.std
        elif self.normalise == "batch":
            spread = statistics.pstdev(known)
            value = (value - statistics.fmean(known)) / spread if spread > 1e-8 else 0.0
        return value if self.clip is None else min(max(value, self.clip[0]), self.clip[1])


DECIMALS = 4
"""Of a model's score. Equal texts must get equal scores to the last bit, and the rounding of matrix products depends on
what else is in the batch: a group of equal answers would else have a spread, and an advantage made of noise."""


def _rounded(value: float) -> float:
    return round(float(value), DECIMALS) + 0.0  # + 0.0: no negative zero


@dataclass(frozen=True)
class ScoredSteps:
    """A part of a reward: the scores of a response's steps, brought to one.

    split: from a response to its steps. how: a key of `ponder.core.steps.AGGREGATES`; the least of them by default, for
    one fault spoils a proof. The rest as `Scored` has it; a response without steps gets 0.
    """

    scorer: StepScorer
    split: Callable[[str], list[str]]
    how: str = "min"
    on: On = "response"
    render: Callable[[Problem], str] | None = None
    opened: bool = False

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        """A score a completion; its parts are the least score of a step (`least`) and the number of `steps`."""
        texts = [judged_text(completion.text, self.on, self.opened) for completion in completions]
        prompts = [problem.prompt if self.render is None else self.render(problem) for problem in problems]
        rows = list(zip(prompts, texts, strict=True))
        steps = {row: found for row in rows if (found := self.split(row[1]))}
        told = self.scorer.score([prompt for prompt, _ in steps], list(steps.values())) if steps else []
        values = dict(zip(steps, told, strict=True))
        return [self._one(values[row]) if row in values else Score(0.0, None, note="no steps") for row in rows]

    def _one(self, told: Sequence[float]) -> Score:
        values = list(map(_rounded, told))
        if not values or not all(map(math.isfinite, values)):
            return Score(None, None, note="the scorer gave no finite number for a step")
        parts = {"least": min(values), "steps": float(len(values))}
        return Score(_rounded(aggregate(values, self.how)), None, parts)
