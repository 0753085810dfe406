"""Advantages and the overlong penalty, by hand."""

from __future__ import annotations

import math

import pytest

from ponder.core.errors import PonderError
from ponder.objectives.credit import Spread, advantages, batch_mean, group_mean, leave_one_out, overlong_penalty
from ponder.objectives.family import FAMILY, PolicySettings, has_gradient

GROUPS = [[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
# Group 0: mean 1/2, variance 4 x 1/4 / 3 = 1/3. Group 1: mean 1/4, variance (3 x 1/16 + 9/16) / 3 = 1/4.
# All eight: mean 3/8, sum of squares 3 - 8 x 9/64 = 15/8, variance 15/56.
STD_0, STD_1, STD_ALL = math.sqrt(1 / 3), 0.5, math.sqrt(15 / 56)


def flat(groups: list[list[float]]) -> list[float]:
    return [value for group in groups for value in group]


@pytest.mark.parametrize("name", ["grpo", "dapo", "bnpo", "gspo", "cispo"])
def test_group_mean_and_group_std(name: str) -> None:
    a0, b0, b1 = 0.5 / (STD_0 + 1e-4), 0.25 / (STD_1 + 1e-4), 0.75 / (STD_1 + 1e-4)
    wanted = [a0, -a0, -a0, a0, -b0, -b0, -b0, b1]
    assert flat(FAMILY[name].advantages(GROUPS, PolicySettings())) == pytest.approx(wanted, abs=1e-12)


def test_dr_grpo_does_not_scale() -> None:
    wanted = [0.5, -0.5, -0.5, 0.5, -0.25, -0.25, -0.25, 0.75]
    assert flat(FAMILY["dr_grpo"].advantages(GROUPS, PolicySettings())) == pytest.approx(wanted, abs=1e-12)


def test_rloo_leaves_one_out() -> None:
    wanted = [1 - 1 / 3, -2 / 3, -2 / 3, 1 - 1 / 3, -1 / 3, -1 / 3, -1 / 3, 1.0]
    assert flat(FAMILY["rloo"].advantages(GROUPS, PolicySettings())) == pytest.approx(wanted, abs=1e-12)


def test_reinforce_has_a_batch_baseline() -> None:
    wanted = [0.625, -0.375, -0.375, 0.625, -0.375, -0.375, -0.375, 0.625]
    assert flat(FAMILY["reinforce"].advantages(GROUPS, PolicySettings())) == pytest.approx(wanted, abs=1e-12)


def test_ppo_whitens_over_the_batch() -> None:
    wanted = [value / (STD_ALL + 1e-4) for value in (0.625, -0.375, -0.375, 0.625, -0.375, -0.375, -0.375, 0.625)]
    assert flat(FAMILY["ppo"].advantages(GROUPS, PolicySettings())) == pytest.approx(wanted, abs=1e-12)


def test_scale_rewards_overrides_the_row() -> None:
    wanted = [value / (STD_ALL + 1e-4) for value in (0.5, -0.5, -0.5, 0.5, -0.25, -0.25, -0.25, 0.75)]
    assert flat(FAMILY["grpo"].advantages(GROUPS, PolicySettings(scale_rewards="batch"))) == pytest.approx(wanted)
    bare = [0.5, -0.5, -0.5, 0.5, -0.25, -0.25, -0.25, 0.75]
    assert flat(FAMILY["grpo"].advantages(GROUPS, PolicySettings(scale_rewards="none"))) == pytest.approx(bare)


def test_a_ranks_share_with_the_whole_steps_spread() -> None:
    whole = Spread.of(flat(GROUPS))
    for name in FAMILY:
        together = FAMILY[name].advantages(GROUPS, PolicySettings())
        apart = [FAMILY[name].advantages([group], PolicySettings(), whole)[0] for group in GROUPS]
        assert together == apart


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1])
def test_equal_rewards_give_exact_zeros(value: float) -> None:
    for credit in (group_mean, leave_one_out):
        for scale in ("group", "none"):
            assert advantages([[value] * 7], credit, scale) == [[0.0] * 7]
    assert not has_gradient([0.0] * 7, PolicySettings())
    assert has_gradient([0.0] * 7, PolicySettings(beta=0.001)), "a KL penalty pulls on groups without signal too"


def test_a_batch_baseline_gives_equal_groups_a_signal() -> None:
    (low, high) = advantages([[0.0, 0.0], [1.0, 1.0]], batch_mean, "none")
    assert low == [-0.5, -0.5] and high == [0.5, 0.5]


@pytest.mark.parametrize("name", ["reinforce", "ppo"])
def test_a_batch_baseline_refuses_a_group_scale(name: str) -> None:
    with pytest.raises(PonderError, match="scale_rewards=group does not go with a batch baseline"):
        FAMILY[name].advantages([[0.0, 0.0], [0.0, 1.0]], PolicySettings(scale_rewards="group"))


def test_lone_and_empty_groups() -> None:
    for name, row in FAMILY.items():
        alone, empty = row.advantages([[0.7], []], PolicySettings())
        assert alone == [0.0] and empty == [], name


def test_overlong_penalty_of_dapo() -> None:
    # L_max 20480, L_cache 4096: free up to 16384.
    assert overlong_penalty(0, 20480, 4096) == 0
    assert overlong_penalty(16384, 20480, 4096) == 0
    assert overlong_penalty(16385, 20480, 4096) == -1 / 4096
    assert overlong_penalty(18432, 20480, 4096) == -0.5
    assert overlong_penalty(20480, 20480, 4096) == -1
    assert overlong_penalty(30000, 20480, 4096) == -1
    for buffer in (0, -1, 20481):
        with pytest.raises(PonderError, match=f"overlong_buffer is {buffer}"):
            overlong_penalty(10, 20480, buffer)
