"""A model's score as a part of a reward: of the whole response or the answer, brought to a range where wanted; and the
scores of its steps, brought to one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards.judge import judged_text
from ponder.rewards.parts import NO_ANSWER
from ponder.rewards.rubrics import On

Normalise = Literal["none", "sigmoid", "standard", "batch"]
How = Literal["min", "mean", "last", "product"]


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
        asked = [place for place, text in enumerate(texts) if text.strip() or absent is None]
        prompts = [problem.prompt if self.render is None else self.render(problem) for problem in problems]
        told = self.scorer.score([prompts[at] for at in asked], [texts[at] for at in asked]) if asked else []
        raw = dict(zip(asked, map(float, told), strict=True))
        known = [value for value in raw.values() if math.isfinite(value)]
        scores = []
        for place in range(len(texts)):
            if place not in raw:
                scores.append(Score(absent, None, note=NO_ANSWER))
            elif not math.isfinite(raw[place]):
                scores.append(Score(None, None, note=f"the scorer gave {raw[place]}"))
            else:
                scores.append(Score(self._normal(raw[place], known), None, {"raw": raw[place]}))
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


_HOW: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min, "mean": statistics.fmean, "last": lambda values: values[-1], "product": math.prod,
}  # fmt: skip


@dataclass(frozen=True)
class ScoredSteps:
    """A part of a reward: the scores of a response's steps, brought to one.

    split: from a response to its steps. how: the least of them (PRM800K reads steps so, and one fault spoils a proof),
    their mean, the last one, or their product. The rest as `Scored` has it; a response without steps gets 0.
    """

    scorer: StepScorer
    split: Callable[[str], list[str]]
    how: How = "min"
    on: On = "response"
    render: Callable[[Problem], str] | None = None
    opened: bool = False

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        """A score a completion; its parts are the least score of a step (`least`) and the number of `steps`."""
        steps = [self.split(judged_text(completion.text, self.on, self.opened)) for completion in completions]
        asked = [place for place, found in enumerate(steps) if found]
        prompts = [problem.prompt if self.render is None else self.render(problem) for problem in problems]
        told = self.scorer.score([prompts[at] for at in asked], [steps[at] for at in asked]) if asked else []
        by_place = dict(zip(asked, told, strict=True))
        return [self._one(by_place[place]) if place in by_place else _no_steps() for place in range(len(steps))]

    def _one(self, values: Sequence[float]) -> Score:
        if not values or not all(map(math.isfinite, values)):
            return Score(None, None, note="the scorer gave no finite number for a step")
        return Score(float(_HOW[self.how](values)), None, {"least": min(values), "steps": float(len(values))})


def _no_steps() -> Score:
    return Score(0.0, None, note="no steps")
