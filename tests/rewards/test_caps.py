"""Slow graders: side by side, given up when they hang, and with the same result whichever way they are called."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ponder.core.types import Completion, Problem, Score
from ponder.rewards import RewardPart, compose, parts_of, reward_part
from ponder.rewards.caps import GaveUp, limited, start, wait_for

Say = Callable[..., list[Completion]]


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a hanging grader waits for, so that its thread ends with the test."""
    event = threading.Event()
    yield event
    event.set()


def seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


# ---- giving up ----


def test_a_call_in_time_returns_its_value_and_its_error() -> None:
    assert limited(lambda: 3, 5.0) == 3 and start(lambda: 4, 5.0)() == 4
    for way in (lambda: limited(lambda: 1 / 0, 5.0), start(lambda: 1 / 0, 5.0)):
        with pytest.raises(ZeroDivisionError):
            way()


@pytest.mark.parametrize("hang", ["sleep", "spin", "swallow"])
def test_a_call_in_the_main_thread_is_interrupted(hang: str) -> None:
    def never() -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < 30:
            try:
                if hang == "sleep":
                    time.sleep(30)
            except Exception:  # as many graders do
                if hang == "swallow":
                    continue

    before = signal.getsignal(signal.SIGVTALRM)

    def give_up() -> None:
        with pytest.raises(GaveUp):
            limited(never, 0.1)

    assert seconds(give_up) < 5
    assert signal.getsignal(signal.SIGVTALRM) == before


def test_a_call_in_another_thread_is_left_behind(release: threading.Event) -> None:
    wait = start(release.wait, 0.1)
    with pytest.raises(GaveUp):
        wait()


def test_a_function_may_use_signals_of_its_own(sums: Problem, say: Say) -> None:
    """math_verify does: it must run in the main thread, where its author expected it."""

    def alarmed(completions: Any, **columns: Any) -> list[float]:
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(5)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        return [1.0] * len(completions)

    assert compose([reward_part(alarmed)])([sums], say("x"))[0].value == 1.0


def test_a_function_that_hangs_makes_its_completions_unknown(
    sums: Problem, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    def hangs(completions: Any, **columns: Any) -> list[float]:
        time.sleep(30)
        return [1.0] * len(completions)

    reward = compose([reward_part("accuracy"), reward_part(hangs, cap_s=0.1)])
    with caplog.at_level(logging.WARNING, "ponder"):
        scores = reward([sums] * 2, say("<answer>2</answer>", "x"))
    assert [(s.value, s.correct) for s in scores] == [(None, True), (None, False)]
    assert "hangs: the grader was given up after 0.1 s" in scores[0].note
    assert "reward 'hangs': the grader was given up after 0.1 s (cap_s); 2 completions" in caplog.text


def test_a_slow_function_hangs_alone(sums: Problem, say: Say, release: threading.Event) -> None:
    def hangs_on_x(completions: Any, **columns: Any) -> list[float]:
        assert len(completions) == 1, "a slow part is given one completion at a time"
        if completions[0] == "x":
            release.wait(30)
        return [1.0]

    reward = compose([reward_part(hangs_on_x, slow=True, cap_s=0.5)])
    assert [s.value for s in reward([sums] * 3, say("a", "x", "b"))] == [1.0, None, 1.0]


def test_what_was_given_up_is_never_skipped(sums: Problem, say: Say) -> None:
    def hangs(completions: Any, **columns: Any) -> list[float]:
        time.sleep(30)
        return [1.0] * len(completions)

    reward = compose([reward_part("accuracy"), reward_part(hangs, none="skip", cap_s=0.1)])
    assert reward([sums], say("<answer>2</answer>"))[0].value is None


def test_an_asynchronous_function_that_blocks_its_loop_does_not_block_the_next(sums: Problem, say: Say) -> None:
    async def blocks(completions: Any, **columns: Any) -> list[float]:
        if completions[0] == "x":
            time.sleep(3)
        return [1.0]

    reward = compose([reward_part(blocks, cap_s=0.2)])
    assert [s.value for s in reward([sums], say("x"))] == [None]
    assert seconds(lambda: reward([sums], say("a"))) < 1.5
    assert [s.value for s in reward([sums], say("a"))] == [1.0]


# ---- side by side ----


def test_asynchronous_parts_run_at_the_same_time(sums: Problem, say: Say) -> None:
    """Each waits for the other to begin: one after the other they would never end."""
    first, second = asyncio.Event(), asyncio.Event()

    async def one(completions: Any, **columns: Any) -> list[float]:
        first.set()
        await asyncio.wait_for(second.wait(), 20)
        return [1.0]

    async def two(data_source: str, solution_str: str, ground_truth: str) -> float:
        second.set()
        await asyncio.wait_for(first.wait(), 20)
        return 2.0

    reward = compose([reward_part(one), reward_part(two)])
    assert [s.value for s in reward([sums], say("x"))] == [3.0]


def test_an_asynchronous_function_grades_completions_side_by_side(sums: Problem, say: Say) -> None:
    running, most = 0, 0

    async def counts(completions: Any, **columns: Any) -> list[float]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1
        return [float(completions[0])]

    reward = compose([reward_part(counts)])
    assert [s.value for s in reward([sums] * 16, say(*map(str, range(16))))] == [float(i) for i in range(16)]
    assert most > 4


def test_asynchronous_functions_share_a_loop() -> None:
    """A client that is kept between calls belongs to the loop it was made in."""

    async def loop() -> int:
        return id(asyncio.get_running_loop())

    assert wait_for(loop()) == wait_for(loop())


# ---- early or together ----


def length_of(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    return [Score(0.1 * len(c.text), None, note=c.text) for c in completions]


def ranked(completions: Any, **columns: Any) -> list[float]:
    """Compares completions with one another, so it must be given them all."""
    return [float(sorted(completions).index(c)) for c in completions]


def test_the_early_call_and_the_call_together_agree(sums: Problem, say: Say) -> None:
    async def judge(completions: Any, **columns: Any) -> list[float]:
        await asyncio.sleep(0.01 * (len(completions[0]) % 3))
        return [0.3 * len(completions[0])]

    parts = [RewardPart("slow", length_of, slow=True), reward_part(ranked), reward_part(judge, 0.7)]
    parts += parts_of(["accuracy", "format", "length"])
    reward = compose(parts)
    texts = say("<answer>2</answer>", "xyz", "<answer>3</answer>", "<answer>?</answer>", "b", tokens=[9, 2, 3, 4, 5])
    problems = [sums] * len(texts)
    together = reward(problems, texts)
    begun = [reward.begin(sums, text) for text in reversed(texts)][::-1]
    assert reward(problems, texts, begun) == together
    assert [s.parts["ranked"] for s in together] == [0.0, 4.0, 1.0, 2.0, 3.0]
    assert all(set(done) == {0, 2} for done in begun), "only the slow parts begin early"


def test_accuracy_is_slow_where_its_grader_waits(sums: Problem) -> None:
    reward = compose(parts_of(["accuracy", "format"]))
    assert not reward.slow_for(sums) and not reward.slow_for(Problem("countdown", "?", "1"))
    assert reward.slow_for(Problem("code", "?", "")) and reward.slow_for(Problem("math", "?", "1"))
    assert compose(parts_of(["code"])).slow_for(sums)
    assert not compose(parts_of([{"name": "accuracy", "slow": False}])).slow_for(Problem("code", "?", ""))
