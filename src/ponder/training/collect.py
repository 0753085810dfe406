"""The groups of a step: sampled and scored, shared out over the ranks, and refilled where dynamic sampling is on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of
from ponder.core.types import Completion, Group, Problem, Sampler, Score
from ponder.objectives.credit import overlong_penalty
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
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

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
    shaped = _shaped(reward, settings, clock)
    for rounds in range(1, (settings.dynamic_sampling_max_rounds if settings.dynamic_sampling else 1) + 1):
        asked, cursor = draw(problems, settings.seed, cursor, _refill(wanted, len(kept), len(taken)), taken)
        if not asked:
            break
        taken.update(problem.id for problem in asked)
        seed = seed_of(settings.seed, "rollout", step, rounds)
        before = clock.seconds.get("reward", 0.0)
        with clock("gen"):
            mine = rollout(sampler, world.share(asked), render, settings.sampling, shaped, seed)
        clock.seconds["gen"] -= clock.seconds.get("reward", 0.0) - before
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


def _shaped(reward: RewardFn, settings: GRPOSettings, clock: Clock) -> RewardFn:
    """The reward, timed; unknown for what the sampler gave up; with the punishment for overlong completions."""

    def score(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        with clock("reward"):
            scores = reward(problems, completions)
        return [_shape(value, completion, settings) for value, completion in zip(scores, completions, strict=True)]

    return score


def _shape(score: Score, completion: Completion, settings: GRPOSettings) -> Score:
    if completion.finish == "abort":
        return replace(score, value=None, correct=None, note="the sampler gave it up")
    if score.value is None or not settings.overlong_buffer:
        return score
    over = overlong_penalty(len(completion.token_ids), settings.max_completion_length, settings.overlong_buffer)
    over *= settings.overlong_penalty
    return replace(score, value=score.value + over, parts={**score.parts, "overlong": over})
