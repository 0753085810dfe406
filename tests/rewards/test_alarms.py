"""Alarms over rows of metrics: each fires on a planted case, and is quiet on a run that is well."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ponder.core.types import Completion, Problem
from ponder.rewards.alarms import ALARMS, WINDOW, flat_reward, length_hacking, reward_without_accuracy
from ponder.rewards.cases import CASES

Row = dict[str, Any]


def series(steps: int, seed: int = 0, **trends: tuple[float, float, float]) -> list[Row]:
    """Rows whose metrics go from a value to another, with noise of the given size."""
    rng = random.Random(seed)
    rows = []
    for step in range(steps):
        share = step / (steps - 1)
        row: Row = {"step": step + 1, "frac_reward_zero_std": 0.3}
        for name, (begin, end, noise) in trends.items():
            row[name] = begin + (end - begin) * share + rng.gauss(0, noise)
        rows.append(row)
    return rows


def told(rows: list[Row]) -> set[str]:
    """Every alarm that fires at any step, as training computes them."""
    return {name for at in range(len(rows)) for name, alarm in ALARMS.items() if alarm(rows[: at + 1])}


def lengths(row: Row) -> Row:
    return {**row, "completions/mean_length": row["length"], "completions/mean_length/wrong": row["length"]}


# ---- a flat reward ----


def test_a_flat_reward_is_told_after_k_rows() -> None:
    rows = [{"step": i, "frac_reward_zero_std": 1.0, "reward": 0.2} for i in range(1, 21)]
    assert flat_reward(rows[:9]) == "" and "the mean reward is 0.2" in flat_reward(rows[:10])
    assert flat_reward(rows, k=15) and not flat_reward(rows[:14], k=15)
    rows[15]["frac_reward_zero_std"] = 0.98  # one group in fifty is enough
    assert flat_reward(rows) == ""


def test_rewards_that_are_all_unknown_are_flat() -> None:
    rows: list[Row] = [{"step": i, "frac_reward_zero_std": None, "reward": None} for i in range(12)]
    assert "no reward is known" in flat_reward(rows)


def test_rows_without_the_metric_say_nothing() -> None:
    assert all(alarm([{"step": i} for i in range(50)]) == "" for alarm in ALARMS.values())
    assert all(alarm([]) == "" for alarm in ALARMS.values())
    odd = [{"reward": "x", "accuracy": None, "frac_reward_zero_std": "y"} for _ in range(50)]
    assert reward_without_accuracy(odd) == "" and length_hacking(odd) == ""


# ---- reward against accuracy ----


def test_reward_up_while_accuracy_falls() -> None:
    rows = series(60, reward=(0.4, 0.9, 0.05), accuracy=(0.5, 0.2, 0.04), length=(100, 100, 5))
    assert told([lengths(row) for row in rows]) == {"reward_without_accuracy"}
    assert "look at what the other parts of the reward pay for" in reward_without_accuracy(rows)


@pytest.mark.parametrize(
    ("reward", "accuracy"),
    [
        ((0.4, 0.9, 0.05), (0.2, 0.5, 0.04)),  # both rise: learning
        ((0.9, 0.4, 0.05), (0.5, 0.2, 0.04)),  # both fall: bad, but honest
        ((0.4, 0.9, 0.05), (0.3, 0.3, 0.04)),  # form is learnt first
        ((0.5, 0.5, 0.1), (0.3, 0.3, 0.1)),
    ],
)
def test_no_alarm_where_they_agree(reward: Any, accuracy: Any) -> None:
    assert "reward_without_accuracy" not in told(series(90, reward=reward, accuracy=accuracy))


def test_it_needs_a_whole_window() -> None:
    rows = series(WINDOW, reward=(0.4, 0.9, 0.02), accuracy=(0.6, 0.2, 0.02))
    assert reward_without_accuracy(rows) and not reward_without_accuracy(rows[1:])
    rows[5]["accuracy"] = None
    assert not reward_without_accuracy(rows)


# ---- length ----


def test_length_up_while_accuracy_stays() -> None:
    rows = [
        lengths(row) for row in series(60, accuracy=(0.4, 0.4, 0.03), reward=(0.5, 0.5, 0.03), length=(100, 300, 9))
    ]
    assert told(rows) == {"length_hacking"}
    assert length_hacking(rows).startswith("answers grow without gain")


def test_length_up_among_wrong_answers_alone() -> None:
    rows = series(60, accuracy=(0.8, 0.8, 0.02), all=(100, 108, 4), wrong=(120, 260, 12))
    rows = [{**r, "completions/mean_length": r["all"], "completions/mean_length/wrong": r["wrong"]} for r in rows]
    assert length_hacking(rows).startswith("wrong answers grow without gain")


@pytest.mark.parametrize(
    ("accuracy", "length"),
    [
        ((0.2, 0.7, 0.03), (100, 300, 9)),  # thinking longer pays: R1-Zero
        ((0.4, 0.4, 0.03), (100, 100, 9)),
        ((0.4, 0.4, 0.03), (300, 100, 9)),
        ((0.4, 0.4, 0.03), (100, 110, 1)),  # clear, but small
    ],
)
def test_no_alarm_where_length_pays_or_stays(accuracy: Any, length: Any) -> None:
    assert told([lengths(row) for row in series(60, accuracy=accuracy, length=length)]) == set()


def test_noise_raises_no_alarm() -> None:
    """Forty runs of 120 rows in which nothing changes."""
    fired = 0
    for seed in range(40):
        rows = series(120, seed, reward=(0.5, 0.5, 0.1), accuracy=(0.4, 0.4, 0.1), length=(100, 100, 20))
        fired += bool(told([lengths(row) for row in rows]))
    assert fired == 0


# ---- the cases of a report ----


class Answer:
    def __init__(self, reward: float | None, correct: bool | None, note: str = "") -> None:
        self.reward, self.correct, self.note = reward, correct, note


@pytest.mark.parametrize(
    ("answer", "cases"),
    [
        (Answer(1.2, True), set()),
        (Answer(0.0, False), set()),
        (Answer(0.2, False), {"format_only"}),
        (Answer(0.2, None), set()),
        (Answer(None, None), {"unknown"}),
        (Answer(None, False), {"unknown"}),
        (Answer(0.0, False, "accuracy: no answer; format: no <answer>"), {"extraction_failed"}),
        (Answer(0.2, False, "code: no answer"), {"extraction_failed", "format_only"}),
        (Answer(0.0, False, "accuracy: no answer fits"), set()),
    ],
)
def test_cases(answer: Answer, cases: set[str]) -> None:
    assert {name for name, applies in CASES.items() if applies(answer)} == cases


def test_a_built_in_part_says_that_no_answer_was_found(sums: Problem) -> None:
    from ponder.rewards import compose, parts_of

    (score,) = compose(parts_of(["format", "accuracy"]))([sums], [Completion((1,), (2,), (), "hm", "stop")])
    assert score.value is not None
    assert CASES["extraction_failed"](Answer(score.value, score.correct, score.note))
