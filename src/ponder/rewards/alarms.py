"""Alarms on a reward: pure functions over rows of `metrics.jsonl`, "" while all is calm, else what was seen.

Each looks at the last rows alone, so a run that was stopped and goes on raises the same alarms at the same steps. A
rise or fall counts where the means of the window's two halves differ by enough to matter, and by more than three
standard errors: four for length, where no second trend must agree and noise has a chance in every window of a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

FLAT_ROWS = 10
WINDOW = 30


def flat_reward(rows: Sequence[Row], k: int = FLAT_ROWS) -> str:
    """No group had a signal in any of the last `k` rows: all its rewards were equal, or none was known."""
    last = rows[-k:]
    if len(last) < k or any("frac_reward_zero_std" not in row for row in last):
        return ""
    if any(share < 1 for share in _known(last, "frac_reward_zero_std")):
        return ""
    means = _known(last, "reward")
    paid = f"the mean reward is {sum(means) / len(means):.3g}" if means else "no reward is known"
    return (
        f"the reward is flat: for {k} rows no group had answers of different reward, and nothing was learnt ({paid}); "
        "try problems that are sometimes solved, more num_generations, or look whether the graders give credit"
    )


def reward_without_accuracy(rows: Sequence[Row], window: int = WINDOW) -> str:
    """The reward rises while accuracy falls: something else than right answers is being paid for."""
    reward, accuracy = _change(rows, "reward", window), _change(rows, "accuracy", window)
    if reward is None or accuracy is None or not (reward.clear > 3 and reward.by > 0.01):
        return ""
    if not (accuracy.clear < -3 and accuracy.by < -0.01):
        return ""
    return (
        f"the reward rises while accuracy falls: over {window} rows the reward went from {reward.before:.3g} to "
        f"{reward.after:.3g} and accuracy from {accuracy.before:.1%} to {accuracy.after:.1%}; look at what the other "
        "parts of the reward pay for"
    )


def length_hacking(rows: Sequence[Row], window: int = WINDOW) -> str:
    """Answers grow, all of them or the wrong ones, by a fifth or more while accuracy does not rise."""
    accuracy = _change(rows, "accuracy", window)
    if accuracy is None or accuracy.by > 0.01:
        return ""
    for metric, whose in (("completions/mean_length", "answers"), ("completions/mean_length/wrong", "wrong answers")):
        length = _change(rows, metric, window)
        if length is not None and length.clear > 4 and length.after > 1.2 * length.before:
            return (
                f"{whose} grow without gain: over {window} rows their mean length went from {length.before:.0f} to "
                f"{length.after:.0f} tokens and accuracy from {accuracy.before:.1%} to {accuracy.after:.1%}; a length "
                "part, an overlong_buffer or loss_type=dr_grpo hold it"
            )
    return ""


ALARMS: dict[str, Callable[[Sequence[Row]], str]] = {
    "flat_reward": flat_reward,
    "reward_without_accuracy": reward_without_accuracy,
    "length_hacking": length_hacking,
}
"""Name -> function; logged as `alarm/{name}`, 1 while it applies."""

ROWS_NEEDED = max(FLAT_ROWS, WINDOW)
"""The rows that any alarm looks back on."""


class _Change:
    """A metric over a window: the means of its halves, their difference, and that in standard errors."""

    def __init__(self, first: Sequence[float], second: Sequence[float]) -> None:
        self.before, self.after = sum(first) / len(first), sum(second) / len(second)
        self.by = self.after - self.before
        spread = sum((x - self.before) ** 2 for x in first) + sum((x - self.after) ** 2 for x in second)
        error = math.sqrt(spread / (len(first) - 1)) / math.sqrt(len(first))
        # Without any spread every difference is clear, but for what rounding makes of equal numbers.
        self.clear = self.by / max(error, 1e-9 * max(abs(self.before), abs(self.after), 1e-9))


def _change(rows: Sequence[Row], metric: str, window: int) -> _Change | None:
    """None where a row of the window lacks the metric."""
    known, half = _known(rows[-window:], metric), window // 2
    return None if len(known) < window or half < 2 else _Change(known[:half], known[half : 2 * half])


def _known(rows: Sequence[Row], metric: str) -> list[float]:
    values = (row.get(metric) for row in rows)
    return [float(value) for value in values if isinstance(value, (int, float))]
