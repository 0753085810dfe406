"""From rewards to advantages: a baseline that is subtracted and a scale that divides. Plain floats, no tensors.

An advantage is (reward - baseline) / (scale + 1e-4). The baselines are functions of one group (and of the whole step's
rewards, for `batch_mean`); the scales are TRL's `scale_rewards`: the standard deviation within the group, over the
whole batch, or none. Standard deviations have Bessel's correction, and the 1e-4 is TRL's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ponder.core.errors import PonderError

Scale = Literal["group", "batch", "none"]

STD_EPSILON = 1e-4


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of all rewards of a step (over all ranks: gather the rewards first)."""

    mean: float
    std: float

    @classmethod
    def of(cls, rewards: Iterable[float]) -> Spread:
        """The spread of `rewards`; the standard deviation of fewer than two values is 0."""
        values = list(rewards)
        if not values:
            return cls(0.0, 0.0)
        mean = _mean(values)
        if len(values) < 2:
            return cls(mean, 0.0)
        return cls(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)))


Credit = Callable[[Sequence[float], Spread], list[float]]
"""(one group's rewards, the whole step's spread) -> each reward less its baseline."""


def group_mean(rewards: Sequence[float], batch: Spread) -> list[float]:
    """r_i - mean(r): GRPO's baseline (DeepSeekMath, arXiv 2402.03300, section 4.1.2)."""
    mean = _mean(rewards)
    return [reward - mean for reward in rewards]


def leave_one_out(rewards: Sequence[float], batch: Spread) -> list[float]:
    """r_i - mean of the others: RLOO's unbiased baseline (arXiv 2402.14740). 0 for a lone sample."""
    if len(rewards) < 2:
        return [0.0] * len(rewards)
    factor = len(rewards) / (len(rewards) - 1)
    return [factor * centred for centred in group_mean(rewards, batch)]


def batch_mean(rewards: Sequence[float], batch: Spread) -> list[float]:
    """r_i - mean over the whole step: REINFORCE with a batch baseline. A group of equal rewards can have a signal."""
    return [reward - batch.mean for reward in rewards]


def advantages(
    groups: Sequence[Sequence[float]], credit: Credit, scale: Scale, batch: Spread | None = None
) -> list[list[float]]:
    """Advantages of every group, in the same order.

    `batch` is the spread of the whole step's rewards; None takes it from `groups`, which is right in a single process
    that was given every group of the step, those without signal included.
    Raises PonderError for a baseline over the batch with a scale by the group.
    """
    if credit is batch_mean and scale == "group":
        # A group of equal rewards would be divided by 0 + 1e-4, and its advantages be thousands.
        raise PonderError("scale_rewards=group does not go with a batch baseline; use batch or none")
    if batch is None:
        batch = Spread.of(reward for group in groups for reward in group)
    result = []
    for group in groups:
        centred = credit(group, batch) if group else []
        if scale == "none" or not group:
            result.append(centred)
            continue
        std = batch.std if scale == "batch" else Spread.of(group).std
        result.append([value / (std + STD_EPSILON) for value in centred])
    return result


def overlong_penalty(length: int, max_completion_length: int, overlong_buffer: int) -> float:
    """DAPO's soft overlong punishment, in [-1, 0], to be added to a reward (arXiv 2503.14476, equation 13).

    0 up to `max_completion_length - overlong_buffer` tokens, then linear, -1 at `max_completion_length` and beyond.
    `length` counts the completion's tokens. DAPO: 16384 tokens expected, a buffer of 4096, so 20480 at most.
    """
    if not 0 < overlong_buffer <= max_completion_length:
        raise PonderError(
            f"overlong_buffer is {overlong_buffer}; it must lie between 1 and max_completion_length "
            f"({max_completion_length})"
        )
    over = length - (max_completion_length - overlong_buffer)
    return -min(1.0, max(0.0, over / overlong_buffer))


def _mean(values: Sequence[float]) -> float:
    # Taken about the first value, so that equal rewards give differences of exactly 0 whatever their binary fraction:
    # "has no signal" is then a test for 0.
    first = values[0]
    return first + math.fsum(value - first for value in values) / len(values)
