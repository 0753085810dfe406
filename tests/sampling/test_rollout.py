"""Rollouts: the right completion with the right problem and the right score."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, SamplingParams, Score
from ponder.sampling import LocalSampler, ScriptedSampler, rollout

PROBLEMS = [Problem("sum", f"{i} + {i}", str(2 * i)) for i in range(1, 4)]
PARAMS = SamplingParams(n=3)


def render(problem: Problem) -> str:
    return f"Q: {problem.prompt}\nA: "


def exact(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """1 where the text is the answer; also says which problem it judged, so that a mix-up shows."""
    return [
        Score(float(c.text == p.answer), c.text == p.answer, note=p.prompt)
        for p, c in zip(problems, completions, strict=True)
    ]


def answering() -> ScriptedSampler:
    """Right at the second sample only, of the second problem never."""

    def script(prompt: str, index: int) -> str:
        number = int(prompt.removeprefix("Q: ").split()[0])
        return str(2 * number) if index == 1 and number != 2 else "no"

    return ScriptedSampler(script)


@pytest.mark.parametrize("pooled", [False, True])
def test_groups_hold_their_own_problems_completions_and_scores(pooled: bool) -> None:
    sampler = answering()
    with ThreadPoolExecutor(2) as pool:
        groups = rollout(sampler, PROBLEMS, render, PARAMS, exact, seed=4, pool=pool if pooled else None)
    assert [group.problem for group in groups] == PROBLEMS
    assert [group.rewards for group in groups] == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert [group.informative for group in groups] == [True, False, True]
    for group in groups:
        for one in group.rollouts:
            assert one.score.note == group.problem.prompt
            assert bytes(one.completion.prompt_ids).decode() == render(group.problem)
    assert sampler.calls[0].prompts == tuple(map(render, PROBLEMS))
    assert (sampler.calls[0].params, sampler.calls[0].seed) == (PARAMS, 4)


def test_grading_in_a_pool_begins_while_others_are_sampled() -> None:
    """The last completion is not written before the first is graded."""
    graded = threading.Event()

    def script(prompt: str, index: int) -> str:
        if prompt == render(PROBLEMS[-1]):
            assert graded.wait(timeout=30), "nothing was graded while the last completion was outstanding"
        return "no"

    def reward(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        graded.set()
        return exact(problems, completions)

    with ThreadPoolExecutor(1) as pool:
        groups = rollout(ScriptedSampler(script), PROBLEMS, render, SamplingParams(), reward, seed=0, pool=pool)
    assert [group.rewards for group in groups] == [[0.0]] * 3


def test_the_local_sampler_grades_in_a_pool_too(qwen3: Any, tokenizer: Any) -> None:
    sampler, params = LocalSampler(qwen3, tokenizer, max_batch_rows=2), SamplingParams(n=2, max_completion_length=9)
    with ThreadPoolExecutor(1) as pool:
        pooled = rollout(sampler, PROBLEMS, render, params, exact, seed=0, pool=pool)
    assert pooled == rollout(sampler, PROBLEMS, render, params, exact, seed=0)


def test_no_problems_give_no_groups() -> None:
    assert rollout(answering(), [], render, PARAMS, exact, seed=0) == []


def test_a_reward_that_loses_count_is_named() -> None:
    with pytest.raises(PonderError, match="returned 1 scores for 9 completions"):
        rollout(answering(), PROBLEMS, render, PARAMS, lambda p, c: [Score(0.0, False)], seed=0)
