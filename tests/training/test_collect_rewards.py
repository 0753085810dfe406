"""Grading while sampling goes on, and what a run says of its reward. The tiny world; graders that wait are played."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_world import (
    letter_reward,
    make_model,
    make_problems,
    make_settings,
    make_team,
    make_tokenizer,
    render,
    run,
    same_bits,
    weights_of,
)

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Completion, Problem, SamplingParams, Score
from ponder.rewards import Reward, RewardPart, compose, reward_part
from ponder.sampling.local import LocalSampler
from ponder.sampling.scripted import ScriptedSampler
from ponder.training.collect import Clock, Collected, collect
from ponder.training.distributed import World, launch


def slowly(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """The letter's share, after a wait that makes them end in another order than they began."""
    for completion in completions:
        time.sleep(0.001 * (sum(completion.token_ids) % 5))
    return letter_reward(problems, completions)


def rank(completions: Sequence[str], **columns: Any) -> list[float]:
    """Compares the step's completions, so it must be given them all at once."""
    ordered = sorted(completions)
    return [ordered.index(text) / len(ordered) for text in completions]


def mixed(slow: bool) -> Reward:
    return compose([RewardPart("letter", slowly, slow=slow), reward_part(rank, 0.01)])


def collected(reward: Any, sampler: Any = None, clock: Clock | None = None, **changes: Any) -> Collected:
    settings = make_settings(**changes)
    sampler = sampler or LocalSampler(make_model(), make_tokenizer())
    return collect(settings, sampler, make_problems(), render, reward, World(), 1, 0, clock or Clock())


# ---- early or late, the same ----


def test_grading_in_the_pool_changes_nothing() -> None:
    early, late = collected(mixed(slow=True)), collected(mixed(slow=False))
    assert early.records == late.records and early.groups == late.groups
    assert any(len(set(record.rewards)) > 1 for record in early.records)


def test_a_run_with_slow_parts_learns_the_same_weights_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    changes = {"max_steps": 4, "save_steps": 2}
    run(World(), tmp_path / "late", changes, mixed(slow=False))
    run(World(), tmp_path / "early", changes, mixed(slow=True))
    weights = weights_of(tmp_path / "early" / "model")
    assert same_bits(weights, weights_of(tmp_path / "late" / "model"))

    def stop_at_3(step: int) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(World(), tmp_path / "broken", {**changes, "eval_steps": 1}, mixed(slow=True), evaluate=stop_at_3)
    run(World(), tmp_path / "broken", {**changes, "eval_steps": 1}, mixed(slow=True), evaluate=lambda step: None)
    assert same_bits(weights, weights_of(tmp_path / "broken" / "model"))
    assert read_jsonl(tmp_path / "broken" / "reward_cases.jsonl") == read_jsonl(
        tmp_path / "early" / "reward_cases.jsonl"
    )


@pytest.mark.slow
def test_two_processes_grade_their_own(tmp_path: Path) -> None:
    launch(run, 2, (tmp_path / "two", {"max_steps": 2}, compose([RewardPart("letter", slowly, slow=True)])))
    run(World(), tmp_path / "one", {"max_steps": 2}, compose([RewardPart("letter", slowly)]))
    rewards = [[row["reward"] for row in read_jsonl(tmp_path / name / "metrics.jsonl")] for name in ("two", "one")]
    assert rewards[0] == pytest.approx(rewards[1], rel=1e-4)


# ---- while sampling goes on ----


def test_grading_begins_while_others_are_sampled() -> None:
    """The last completion is written only after the first was graded."""
    graded = threading.Event()
    problems = make_problems()

    def script(prompt: str, index: int) -> str:
        script_calls.append(prompt)
        if len(script_calls) == 16:
            assert graded.wait(30), "nothing was graded while the last completion was outstanding"
        return "a"

    def grader(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        graded.set()
        return [Score(1.0, True) for _ in completions]

    script_calls: list[str] = []
    reward = compose([RewardPart("waits", grader, slow=True)])
    found = collect(make_settings(), ScriptedSampler(script), problems, render, reward, World(), 1, 0, Clock())
    assert len(script_calls) == 16 and [record.rewards for record in found.records] == [[1.0] * 4] * 4


def test_a_grader_never_holds_the_sampler_up() -> None:
    """Graders that take 50 ms each, sixteen of them: together they take far less than in turn, and sampling none."""

    def grader(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        time.sleep(0.05)
        return [Score(1.0, True) for _ in completions]

    clock = Clock()
    collected(compose([RewardPart("waits", grader, slow=True)]), ScriptedSampler(lambda prompt, index: "a"), clock)
    assert clock.seconds["gen"] < 0.3 and clock.seconds["reward"] < 0.6


def test_a_sampler_that_does_not_tell_as_it_goes_will_do() -> None:
    class Plain:
        def __init__(self) -> None:
            self.inner = LocalSampler(make_model(), make_tokenizer())

        def sample(self, prompts: Sequence[str], params: SamplingParams, seed: int) -> list[Completion]:
            return self.inner.sample(prompts, params, seed)

    assert collected(mixed(slow=True), Plain()).records == collected(mixed(slow=False)).records


def test_fast_rewards_are_graded_in_this_thread() -> None:
    threads: set[int] = set()

    def grader(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        threads.add(threading.get_ident())
        assert len(completions) == 16
        return [Score(1.0, True) for _ in completions]

    collected(compose([RewardPart("quick", grader)]))
    assert threads == {threading.get_ident()}


def test_a_grader_that_hangs_costs_its_own_completion(tmp_path: Path) -> None:
    release = threading.Event()

    def grader(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        if "b" in completions[0].text:
            release.wait(30)
        return [Score(1.0, True) for _ in completions]

    reward = compose([RewardPart("waits", grader, slow=True, cap_s=0.3)])
    found = collected(reward)
    release.set()
    answers = [answer for record in found.records for answer in record.answers]
    assert {answer.reward is None for answer in answers if "b" in answer.text} == {True}
    assert {answer.reward for answer in answers if "b" not in answer.text} == {1.0}


def test_an_error_in_a_grader_ends_the_step_with_its_message() -> None:
    def broken(completions: Any, **columns: Any) -> list[float]:
        raise ValueError("no key")

    with pytest.raises(PonderError, match="reward 'broken' raised ValueError: no key"):
        collected(compose([reward_part(broken, slow=True)]))


def test_the_overlong_punishment_and_aborted_completions_are_as_before() -> None:
    early = collected(mixed(slow=True), overlong_buffer=8)
    late = collected(mixed(slow=False), overlong_buffer=8)
    assert early.records == late.records
    assert any((answer.parts.get("overlong") or 0.0) < 0 for record in early.records for answer in record.answers)


# ---- what is written down ----


def never_right(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """Form is paid for; one in eight cannot be graded."""
    scores = []
    for at, completion in enumerate(completions):
        note = "accuracy: no answer" if "a" in completion.text else ""
        scores.append(Score(None if at % 8 == 0 else 0.2, None if at % 8 == 0 else False, note=note))
    return scores


def test_shares_and_samples_are_written(tmp_path: Path) -> None:
    run(World(), tmp_path, {"max_steps": 3}, never_right)
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert [row["rewards/unknown"] for row in rows] == [0.125] * 3
    assert [row["rewards/format_only"] for row in rows] == [0.875] * 3
    assert all(row["completions/mean_length/wrong"] > 0 for row in rows)
    cases = read_jsonl(tmp_path / "reward_cases.jsonl")
    assert [row["step"] for row in cases if row["case"] == "unknown"] == [1, 2, 3]
    found = [row for row in cases if row["case"] == "extraction_failed"]
    assert len(found) == sum(row["rewards/extraction_failed"] > 0 for row in rows) > 0
    assert all("a" in row["completion"] for row in found)
    assert {"prompt", "task", "gold", "reward", "correct", "parts", "note"} <= set(found[0])


def test_a_flat_reward_is_told_once_and_again_never_by_a_run_that_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def flat(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        return [Score(0.2, False) for _ in completions]

    def stop_at_12(step: int) -> None:
        if step == 12:
            raise KeyboardInterrupt

    def times() -> int:
        return sum("the reward is flat" in record.message for record in caplog.records)

    changes = {"max_steps": 14, "eval_steps": 1}
    with caplog.at_level(logging.WARNING, "ponder"):
        with pytest.raises(KeyboardInterrupt):
            run(World(), tmp_path, changes, flat, evaluate=stop_at_12)
        assert times() == 1
        run(World(), tmp_path, changes, flat, evaluate=lambda step: None)
    assert times() == 1
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert [row["alarm/flat_reward"] for row in rows] == [0.0] * 9 + [1.0] * 5
    assert {row["alarm/length_hacking"] for row in rows} == {0.0}


def test_no_more_samples_than_a_person_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.training.journal.MOST_CASES", 2)
    run(World(), tmp_path, {"max_steps": 4}, never_right)
    cases = [row["case"] for row in read_jsonl(tmp_path / "reward_cases.jsonl")]
    assert cases.count("unknown") == cases.count("format_only") == 2


def test_the_team_takes_a_composed_reward() -> None:
    from ponder.training.grpo_step import Place, grpo_step

    stepped = grpo_step(make_team(reward=mixed(slow=True)), Place())
    assert stepped.metrics["rewards/rank/mean"] > 0 and stepped.metrics["timing_s/gen"] > 0
