"""Rollouts: problems in, groups of graded completions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Protocol, cast

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Group, Problem, Rollout, Sampler, SamplingParams, Score

Reward = Callable[[Sequence[Problem], Sequence[Completion]], list[Score]]


class StreamingSampler(Protocol):
    """A sampler that tells of each completion as it ends (the local and the scripted one do)."""

    def sample(
        self,
        prompts: Sequence[str],
        params: SamplingParams,
        seed: int,
        on_finish: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """As `Sampler.sample`; `on_finish(index, completion)` is called as each ends."""
        ...


def rollout(
    sampler: Sampler,
    problems: Sequence[Problem],
    render: Callable[[Problem], str],
    params: SamplingParams,
    reward: Reward,
    seed: int,
    pool: Executor | None = None,
) -> list[Group]:
    """Sample `params.n` completions of each problem and grade them: one group a problem, in the order of `problems`.

    render: the prompt's text for a problem (template applied).
    reward: `reward(problems, completions)`, both of one length, problem by problem -> a score each.
    pool: where given, each completion is graded there on its own as soon as it ends, while others are still being
        sampled (the sampler must be a `StreamingSampler`). Not for a reward that compares completions.

    Raises PonderError where the reward returns another number of scores than it was given completions.
    """
    if not problems:
        return []
    prompts = [render(problem) for problem in problems]
    asked = [problem for problem in problems for _ in range(params.n)]
    if pool is None:
        completions = sampler.sample(prompts, params, seed)
        scores = _graded(reward, asked, completions)
    else:
        grades: dict[int, Future[list[Score]]] = {}

        def grade(index: int, completion: Completion) -> None:
            grades[index] = pool.submit(_graded, reward, [asked[index]], [completion])

        completions = cast(StreamingSampler, sampler).sample(prompts, params, seed, on_finish=grade)
        scores = [grades[index].result()[0] for index in range(len(completions))]
    rollouts = [Rollout(completion, score) for completion, score in zip(completions, scores, strict=True)]
    n = params.n
    return [Group(problem, tuple(rollouts[at * n : (at + 1) * n])) for at, problem in enumerate(problems)]


def _graded(reward: Reward, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    scores = reward(problems, completions)
    if len(scores) != len(completions):
        raise PonderError(
            f"the reward returned {len(scores)} scores for {len(completions)} completions: one each is due"
        )
    return scores
