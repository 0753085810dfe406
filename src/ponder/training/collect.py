"""The groups of a step: sampled and scored, shared out over the ranks, and refilled where dynamic sampling is on."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of
from ponder.core.types import Completion, Group, Problem, Rollout, Sampler, SamplingParams, Score
from ponder.objectives.credit import overlong_penalty
from ponder.rewards.caps import graders
from ponder.rewards.combine import Begun, Reward
from ponder.sampling.rollout import rollout
from ponder.training.distributed import World, unshare
from ponder.training.journal import Record
from ponder.training.questions import draw
from ponder.training.settings import GRPOSettings

RewardFn = Callable[[Sequence[Problem], Sequence[Completion]], list[Score]]
Render = Callable[[Problem], str]

REASONS = ("all_right", "all_wrong", "unknown", "surplus")
"""Why dynamic sampling drops a group."""


class Clock:
    """Seconds by name, for `timing_s/*`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds that were taken otherwise."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def metrics(self) -> dict[str, float]:
        """All timings of a step under their logged names, 0 for what did not happen."""
        names = ("gen", "reward", "old_log_prob", "ref", "adv", "update", "step")
        timings = {f"timing_s/{name}": self.seconds.get(name, 0.0) for name in names}
        return timings | {"step_time": self.seconds.get("step", 0.0)}


@dataclass(frozen=True)
class Collected:
    """The groups of a step.

    records: every group, in the order of the whole step, as all ranks know it. groups: the same length; None where
    another rank holds the tokens. dropped: (problem id, reason) of the groups that dynamic sampling put aside.
    tokens: read and written by the sampler, dropped groups included. rounds: of sampling. cursor: the place behind the
    last question that was drawn.
    """

    records: tuple[Record, ...]
    groups: tuple[Group | None, ...]
    cursor: int
    tokens: int
    rounds: int
    dropped: tuple[tuple[str, str], ...] = ()

    def metrics(self) -> dict[str, float]:
        """How dynamic sampling went."""
        counts = {f"dynamic_sampling/dropped_{reason}": 0.0 for reason in REASONS}
        for _, reason in self.dropped:
            counts[f"dynamic_sampling/dropped_{reason}"] += 1
        return {"dynamic_sampling/rounds": self.rounds, "dynamic_sampling/kept": len(self.records)} | counts


def collect(
    settings: GRPOSettings,
    sampler: Sampler,
    problems: Sequence[Problem],
    render: Render,
    reward: RewardFn,
    world: World,
    step: int,
    cursor: int,
    clock: Clock,
) -> Collected:
    """Sample the groups of `step`, from place `cursor` of the order of questions.

    Without dynamic sampling these are `questions_per_step` groups. With it, groups whose answers are all right or all
    wrong are replaced by those of further questions (DAPO, arXiv 2503.14476, section 3.2), until there are enough, the
    set is exhausted, or `dynamic_sampling_max_rounds` is reached. The filter reads accuracy, not the shaped reward:
    that varies in every group, and to choose by it teaches the shape.
    """
    wanted = settings.questions_per_step
    kept: list[tuple[Record, Group | None]] = []
    dropped: list[tuple[str, str]] = []
    taken: set[str] = set()
    tokens = rounds = 0
    for rounds in range(1, (settings.dynamic_sampling_max_rounds if settings.dynamic_sampling else 1) + 1):
        asked, cursor = draw(problems, settings.seed, cursor, _refill(wanted, len(kept), len(taken)), taken)
        if not asked:
            break
        taken.update(problem.id for problem in asked)
        seed = seed_of(settings.seed, "rollout", step, rounds)
        mine = _graded(settings, sampler, world.share(asked), render, reward, seed, clock)
        records = unshare(world.gather([Record.of(group) for group in mine]))
        for place, record in enumerate(records):
            tokens += record.tokens
            reason = _fault(record) if settings.dynamic_sampling else ""
            if reason:
                dropped.append((record.problem.id, reason))
            elif len(kept) == wanted:
                dropped.append((record.problem.id, "surplus"))
            else:
                kept.append((record, mine[place // world.size] if place % world.size == world.rank else None))
        if len(kept) == wanted:
            break
    return Collected(
        records=tuple(record for record, _ in kept),
        groups=tuple(group for _, group in kept),
        cursor=cursor,
        tokens=tokens,
        rounds=rounds,
        dropped=tuple(dropped),
    )


def _refill(wanted: int, kept: int, asked: int) -> int:
    """How many questions to ask next: what is missing, over the share that was kept so far; at most a step's."""
    if not asked:
        return wanted
    return min(wanted, math.ceil((wanted - kept) * asked / max(kept, 1)))


def _fault(record: Record) -> str:
    """Why dynamic sampling drops a group, or ""."""
    verdicts = [answer.correct for answer in record.answers if answer.reward is not None]
    if verdicts and all(verdict is None for verdict in verdicts):
        raise PonderError(
            "dynamic_sampling filters on accuracy, and no part of the reward says which answers are right; "
            "add the part `accuracy` (weight 0 will do), or switch dynamic_sampling off"
        )
    known = [verdict for verdict in verdicts if verdict is not None]
    if len(known) < 2:
        return "unknown"
    if all(known):
        return "all_right"
    return "" if any(known) else "all_wrong"


def _graded(
    settings: GRPOSettings, sampler: Sampler, problems: Sequence[Problem], render: Render, reward: RewardFn, seed: int,
    clock: Clock,
) -> list[Group]:  # fmt: skip
    """The groups, graded. Slow parts of the reward begin in a pool as each completion ends; the rest come after."""
    watched, start = _Watched(sampler), time.perf_counter()
    if isinstance(reward, Reward) and any(map(reward.slow_for, problems)):
        begun: dict[int, Begun] = {}  # by the completion's id: two may be equal
        stopped = False

        def begin(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
            if not stopped:
                begun[id(completions[0])] = reward.begin(problems[0], completions[0])
            return [Score(None, None)]

        try:
            groups = rollout(watched, problems, render, settings.sampling, begin, seed, graders())
        finally:
            stopped = True  # an error or an interrupt: what still waits in the pool is not begun
        flat = [(group.problem, one.completion) for group in groups for one in group.rollouts]
        asked, completions = [problem for problem, _ in flat], [completion for _, completion in flat]
        scores = iter(reward(asked, completions, begun=[begun[id(completion)] for completion in completions]))
        groups = [replace(g, rollouts=tuple(replace(one, score=next(scores)) for one in g.rollouts)) for g in groups]
    else:
        groups = rollout(watched, problems, render, settings.sampling, reward, seed)
    clock.add("gen", (watched.ended or start) - start)
    clock.add("reward", time.perf_counter() - (watched.ended or start))
    return [replace(g, rollouts=tuple(_shaped(one, settings) for one in g.rollouts)) for g in groups]


class _Watched:
    """A sampler that remembers when it ended, and tells of completions at the end where it does not as they end."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.ended: float | None = None

    def sample(
        self,
        prompts: Sequence[str],
        params: SamplingParams,
        seed: int,
        on_finish: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """As `Sampler.sample`."""
        tells = "on_finish" in inspect.signature(self.sampler.sample).parameters
        more: dict[str, Any] = {"on_finish": on_finish} if tells and on_finish is not None else {}
        completions = self.sampler.sample(prompts, params, seed, **more)
        self.ended = time.perf_counter()
        if on_finish is not None and not tells:
            for index, completion in enumerate(completions):
                on_finish(index, completion)
        return completions


def _shaped(rollout: Rollout, settings: GRPOSettings) -> Rollout:
    """Unknown for what the sampler gave up; with the punishment for overlong completions."""
    return replace(rollout, score=_shape(rollout.score, rollout.completion, settings))


def _shape(score: Score, completion: Completion, settings: GRPOSettings) -> Score:
    if completion.finish == "abort":
        return replace(score, value=None, correct=None, note="the sampler gave it up")
    if score.value is None or not settings.overlong_buffer:
        return score
    over = overlong_penalty(len(completion.token_ids), settings.max_completion_length, settings.overlong_buffer)
    over *= settings.overlong_penalty
    return replace(score, value=score.value + over, parts={**score.parts, "overlong": over})
