"""Rollouts from the prefixes of solutions: which are asked for, and how many of them arrive.

The settings and the meaning of the numbers are `ponder.data.step_labels`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of
from ponder.core.types import Completion, Problem, Sampler, SamplingParams
from ponder.data.generate import Ranks
from ponder.sampling.local import LocalSampler

Grade = Callable[[Problem, str], bool | None]


class StepLabelSettings(Settings):
    """How steps are labelled by rollouts."""

    num_rollouts: int = Field(8, ge=1)
    """Completions of each prefix."""
    temperature: float = Field(1.0, gt=0)
    max_completion_length: int = Field(256, ge=1)
    estimation: Literal["hard", "soft"] = "hard"
    """`hard`: right where more than `threshold` of the rollouts arrive; `soft`: the share itself."""
    threshold: float = Field(0.0, ge=0, lt=1)
    """0, as in Math-Shepherd: one that arrives is enough."""
    search: Literal["all", "first_error"] = "all"
    """`all`: rollouts from every step. `first_error`: halving, for solutions where no step mends an earlier one."""
    count_itself: bool = True
    """The rest of the solution is a rollout from each of its steps, too (where the same model wrote it)."""
    step_separator: str = Field("\n", min_length=1)
    chunk: int = Field(64, ge=1)
    """Solutions that are labelled at a time, their equal prefixes once: what a kill can cost."""


@dataclass(frozen=True)
class Prefix:
    """What is rolled out from: equal prefixes of equal problems are one."""

    problem: Problem
    prompt: str
    opening: str
    begun: str

    @property
    def text(self) -> str:
        return self.prompt + self.begun


@dataclass
class Job:
    """A solution on its way; shares[k]: of the rollouts from its first k steps, those that arrive. opening: the
    `<think>` that the prompt wrote, or ""."""

    trace: Mapping[str, Any]
    problem: Problem
    prompt: str
    opening: str
    steps: list[str]
    correct: bool | None
    shares: dict[int, float | None] = field(default_factory=dict)

    def prefix(self, k: int, separator: str) -> Prefix:
        return Prefix(self.problem, self.prompt, self.opening, "".join(step + separator for step in self.steps[:k]))


def estimate(
    sampler: Sampler, jobs: Sequence[Job], settings: StepLabelSettings, seed: int,
    takes_back: Callable[[str], bool] | None, verdict: Grade, world: Ranks,
) -> tuple[int, int]:  # fmt: skip
    """Fill in the shares that are wanted; returns the rollouts and tokens that this took."""
    rollouts = tokens = 0
    plans = [_plan(job, settings) for job in jobs]
    wanted: list[set[int]] = [next(plan, set()) for plan in plans]
    while any(wanted):
        each = [[job.prefix(k, settings.step_separator) for k in sorted(places)]
                for job, places in zip(jobs, wanted, strict=True)]  # fmt: skip
        prefixes = list(dict.fromkeys(prefix for part in each for prefix in part))
        found, sampled, length = _arrivals(sampler, prefixes, settings, seed, takes_back, verdict, world)
        rollouts, tokens = rollouts + sampled, tokens + length
        for job, places, asked in zip(jobs, wanted, each, strict=True):
            for k, prefix in zip(sorted(places), asked, strict=True):
                hits, n = found[prefix]
                if settings.count_itself and n:
                    rest = settings.step_separator.join(job.steps[k:])
                    hits, n = hits + bool(job.correct and not (takes_back and takes_back(rest))), n + 1
                job.shares[k] = hits / n if n else None
        wanted = [next(plan, set()) for plan in plans]
    return rollouts, tokens


def _plan(job: Job, settings: StepLabelSettings) -> Iterator[set[int]]:
    """The numbers of steps to roll out from, round by round; between rounds the shares are filled in."""
    last = len(job.steps)
    job.shares[last] = float(bool(job.correct))
    if settings.search == "all":
        if last > 1:
            yield set(range(1, last))
        return
    low, high = (last, last + 1) if job.correct else (0, last)
    while high - low > 1:
        middle = (low + high) // 2
        yield {middle}
        share = job.shares[middle]
        if share is None:
            return
        low, high = (middle, high) if share > settings.threshold else (low, middle)


def _arrivals(
    sampler: Sampler, prefixes: Sequence[Prefix], settings: StepLabelSettings, seed: int,
    takes_back: Callable[[str], bool] | None, verdict: Grade, world: Ranks,
) -> tuple[dict[Prefix, tuple[int, int]], int, int]:  # fmt: skip
    """Of each prefix, the rollouts that arrive and those whose verdict is known; rollouts and tokens in all."""
    n = settings.num_rollouts
    params = SamplingParams(n=n, temperature=settings.temperature, max_completion_length=settings.max_completion_length)
    mine = [prefix for prefix in prefixes[world.rank :: world.size] if _fits(sampler, prefix.text)]
    seed = seed_of("step-labels", seed)
    completions = sampler.sample([prefix.text for prefix in mine], params, seed) if mine else []
    if len(completions) != len(mine) * n:
        raise PonderError(f"the sampler gave {len(completions)} completions for {len(mine)} prefixes of {n} each")

    def arrives(prefix: Prefix, completion: Completion) -> bool | None:
        if completion.finish == "abort":
            return None
        if takes_back is not None and takes_back(completion.text):
            return False
        return verdict(prefix.problem, prefix.opening + prefix.begun + completion.text)

    own: dict[Prefix, tuple[int, int]] = {}
    for at, prefix in enumerate(mine):
        ends = [arrives(prefix, one) for one in completions[at * n : (at + 1) * n]]
        known = [end for end in ends if end is not None]
        own[prefix] = sum(known), len(known)
    found = dict.fromkeys(prefixes, (0, 0))
    parts = world.gather((own, len(completions), sum(len(one.token_ids) for one in completions)))
    for part, _, _ in parts:
        found.update(part)
    return found, sum(part[1] for part in parts), sum(part[2] for part in parts)


def _fits(sampler: Sampler, text: str) -> bool:
    """Whether a local sampler has room behind a prefix; others say so themselves."""
    if not isinstance(sampler, LocalSampler):
        return True
    return len(sampler.tokenizer(text, add_special_tokens=False)["input_ids"]) + 1 < sampler.context_length
