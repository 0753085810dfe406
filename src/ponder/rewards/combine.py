"""Several parts, one score: the value is the weighted sum of the parts.

A part that has no verdict (None) makes the value unknown, and the completion is counted but not trained on: to treat
"could not be graded" as "worth nothing" would teach the policy to break the grader. A part of weight 0 is only logged.

A slow part (one that waits for a sandbox or an endpoint) is called with one completion at a time, many side by side,
and can begin while others are still being sampled (`Reward.begin`). Every other part is called once, with them all.

A part with `tasks` is asked about problems of these tasks alone; elsewhere the sum goes without it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards.adopt import Adopted, parameters
from ponder.rewards.caps import GaveUp, forget_loop, graders, limited, start
from ponder.rewards.verl import ComputeScore, is_compute_score

CAP_ALONE_S, CAP_TOGETHER_S = 120.0, 600.0
"""Seconds after which a user's function is given up: called with one completion, and with all of a step."""

GAVE_UP = "gave_up"
"""Among the parts of a score whose grader was given up; such a score is never skipped."""

log = logging.getLogger("ponder")


@dataclass(frozen=True)
class RewardPart:
    """One term of a reward.

    name: the key under which its values are logged.
    fn: `fn(problems, completions) -> list[Score | float | None]`, known by its parameter `problems`; a function with
        `solution_str` is called as verl calls it (`ponder.rewards.verl`), any other as TRL does (`.adopt`). A
        parameter `verdicts` is given what the other parts say is right, a bool or None a completion.
    weight: its factor in the sum; 0 logs it only.
    none: what its None means. "unknown": the completion has no reward. "skip": the part does not apply here, and the
        sum goes without it, as TRL does with several tasks in one data set.
    slow: whether it waits for something, so that grading begins as each completion ends; a function of the problem
        where that differs. An asynchronous function always is.
    cap_s: seconds a call of a user's function may take before its completions count as unknown; where not given,
        `CAP_ALONE_S` for a slow part and `CAP_TOGETHER_S` for others. Built-in parts keep their own limits.
    tasks: kinds of problems that it applies to; all of them where empty. It is never called with others.
    """

    name: str
    fn: Callable[..., Any]
    weight: float = 1.0
    none: Literal["unknown", "skip"] = "unknown"
    slow: bool | Callable[[Problem], bool] = False
    cap_s: float | None = None
    tasks: tuple[str, ...] = ()

    def applies(self, problem: Problem) -> bool:
        """Whether it has something to say of answers to this problem."""
        return not self.tasks or problem.task in self.tasks

    def slow_for(self, problem: Problem) -> bool:
        """Whether it waits for something on this problem."""
        return self.applies(problem) and (self.slow(problem) if callable(self.slow) else self.slow)

    @property
    def needs_verdicts(self) -> bool:
        """Whether it goes by what other parts say is right."""
        return "verdicts" in parameters(self.fn)


_APART = Score(None, None)
"""The score of a part that does not apply to a problem's task; known by identity."""

Begun = Mapping[int, Score]
"""What the slow parts say of a completion, by the part's place."""


@dataclass(frozen=True)
class Reward:
    """A reward: call it with problems and completions, get one `Score` each. Make it with `compose`."""

    parts: tuple[RewardPart, ...]

    def slow_for(self, problem: Problem) -> bool:
        """Whether grading an answer to this problem waits for something, and is worth beginning early."""
        return any(part.slow_for(problem) for part in self.parts)

    def begin(self, problem: Problem, completion: Completion) -> Begun:
        """The slow parts on one completion, users' functions side by side. Hand the result to the call."""
        slow = {at: part for at, part in enumerate(self.parts) if part.slow_for(problem)}
        waits: dict[int, Callable[[], list[Score]]] = {}
        for at, part in slow.items():
            call = partial(_scores, part, [problem], [completion])
            waits[at] = call if part.cap_s is None else start(call, part.cap_s)
        return {at: _unless_given_up(slow[at], 1, wait)[0] for at, wait in waits.items()}

    def __call__(
        self, problems: Sequence[Problem], completions: Sequence[Completion], begun: Sequence[Begun] | None = None
    ) -> list[Score]:
        """Score every completion; `problems[i]` is what `completions[i]` answers.

        begun: what `begin` said of each, where it was called before.
        """
        if begun is None:
            begun = [{}] * len(problems)
            if any(map(self.slow_for, problems)):
                begun = list(graders().map(self.begin, problems, completions))
        columns: list[list[Score]] = [[] for _ in self.parts]
        for at in sorted(range(len(self.parts)), key=lambda at: self.parts[at].needs_verdicts):
            part = self.parts[at]
            verdicts = [_verdict(row) for row in zip(*filter(None, columns), strict=True)] or [None] * len(problems)
            applies = [part.applies(problem) for problem in problems]
            left = [row for row, done in enumerate(begun) if applies[row] and at not in done]
            answers = [problems[row] for row in left], [completions[row] for row in left]
            call = partial(_scores, part, *answers, [verdicts[row] for row in left])
            capped = call if part.cap_s is None else partial(limited, call, part.cap_s)
            fresh = iter(_unless_given_up(part, len(left), capped) if left else [])
            columns[at] = [
                _APART if not asked else done[at] if at in done else next(fresh)
                for asked, done in zip(applies, begun, strict=True)
            ]
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
        return compose([replace(part, weight=by_name.get(part.name, part.weight)) for part in self.parts])


def compose(parts: Sequence[RewardPart]) -> Reward:
    """One reward of several parts.

    `Score.correct` is the verdict of the first part that gives one (accuracy does); without such a part it is unknown.
    Raises PonderError for no parts, two of the same name, or a part that goes by verdicts and has a negative weight.
    """
    if not parts:
        raise PonderError("a reward needs at least one part, e.g. accuracy")
    names = [part.name for part in parts]
    for part in parts:
        if names.count(part.name) > 1:
            raise PonderError(f"two reward parts are called {part.name!r}; give one of them another name")
        if part.needs_verdicts and part.weight < 0:
            raise PonderError(
                f"reward {part.name!r} has weight {part.weight:g}: a negative one would pay wrong answers more than "
                "right ones; give 0 or more"
            )
        if part.needs_verdicts and all(other.needs_verdicts for other in parts):
            raise PonderError(
                f"reward {part.name!r} goes by which answers are right, and no other part says so; add accuracy "
                "(weight 0 will do)"
            )
    return Reward(tuple(map(_callable, parts)))


def _callable(part: RewardPart) -> RewardPart:
    """The part with a function that takes problems and completions; a user's function with its cap."""
    plain = part.fn.func if isinstance(part.fn, partial) else part.fn
    if (getattr(plain, "__module__", None) or "").startswith("ponder."):
        return part
    called = plain if inspect.isroutine(plain) else type(plain).__call__
    slow = part.slow or inspect.iscoroutinefunction(called)
    cap_s = part.cap_s if part.cap_s is not None else CAP_ALONE_S if slow else CAP_TOGETHER_S
    function = part.fn
    if "problems" not in parameters(function):
        function = (ComputeScore if is_compute_score(function) else Adopted)(part.name, function)
    return replace(part, fn=function, slow=slow, cap_s=cap_s)


def _scores(
    part: RewardPart,
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    verdicts: Sequence[bool | None] = (),
) -> list[Score]:
    more = {"verdicts": verdicts} if part.needs_verdicts else {}
    returned = part.fn(problems, completions, **more)
    if len(returned) != len(completions):
        raise PonderError(f"reward {part.name!r} returned {len(returned)} values for {len(completions)} completions")
    return [value if isinstance(value, Score) else Score(value, None) for value in returned]


def _unless_given_up(part: RewardPart, count: int, call: Callable[[], list[Score]]) -> list[Score]:
    try:
        return call()
    except GaveUp:
        forget_loop()
        note = f"the grader was given up after {part.cap_s:g} s"
        log.warning("reward %r: %s (cap_s); %d completions count as unknown", part.name, note, count)
        return [Score(None, None, {GAVE_UP: 1.0}, note)] * count


def _verdict(scores: Sequence[Score]) -> bool | None:
    return next((score.correct for score in scores if score.correct is not None), None)


def _combine(parts: Sequence[RewardPart], scores: Sequence[Score]) -> Score:
    value: float | None = 0.0
    counted = False
    for part, score in zip(parts, scores, strict=True):
        skipped = score.value is None and part.none == "skip" and GAVE_UP not in score.parts
        if part.weight == 0.0 or skipped or score is _APART:
            continue
        counted = True
        value = None if value is None or score.value is None else value + part.weight * score.value
    notes = [f"{part.name}: {score.note}" for part, score in zip(parts, scores, strict=True) if score.note]
    if all(score is _APART for score in scores):
        notes = ["no part of the reward applies to this task"]
    told = {part.name: score.value for part, score in zip(parts, scores, strict=True)}
    for part, score in zip(parts, scores, strict=True):
        told |= {f"{part.name}/{key}": inner for key, inner in score.parts.items()}
    return Score(
        value=value if counted else None,
        correct=_verdict(scores),
        parts=told,
        note="; ".join(notes),
    )
