"""The values that travel: frozen, comparable, hashable, and what they say of themselves."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from ponder.core.types import Completion, Group, Problem, Rollout, Score


def group(*values: float | None) -> Group:
    problem = Problem("t", "p", "a")
    completion = Completion((1,), (2, 3), (-0.5, -0.25), "x", "stop")
    return Group(problem, tuple(Rollout(completion, Score(v, None if v is None else v > 0.5)) for v in values))


def test_the_id_is_the_content() -> None:
    problem = Problem("t", "p", "a", {"n": 1})
    assert problem.id == Problem("t", "p", "a").id == "ef378c0004e56ada"
    others = [("t", "p", "b"), ("t", "q", "a"), ("u", "p", "a"), ("tp", "", "a"), ("t", "pa", ""), ("t", "ä", "a")]
    assert len({Problem(*other).id for other in others} | {problem.id}) == len(others) + 1


def test_values_are_frozen_hashable_and_travel() -> None:
    problem, score = Problem("t", "p", "a", {"n": [1]}), Score(1.0, True, {"accuracy": 1.0})
    for value in (problem, score, group(1.0, 0.0)):
        assert hash(value) == hash(copy.deepcopy(value)) and value == copy.deepcopy(value)
        assert pickle.loads(pickle.dumps(value)) == value
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)
    assert problem != Problem("t", "p", "a", {"n": [2]})


def test_unknown_rewards_are_left_out() -> None:
    mixed = group(1.0, None, 0.0)
    assert mixed.rewards == [1.0, 0.0] and len(mixed.known) == 2 and len(mixed.rollouts) == 3


@pytest.mark.parametrize(
    ("values", "informative"),
    [
        ((), False), ((1.0,), False), ((1.0, 1.0), False), ((1.0, 0.0), True), ((None, 1.0), False),
        ((None, None), False), ((0.0, None, 0.5), True), ((0.1 + 0.2, 0.3), False),
    ],
)  # fmt: skip
def test_a_group_with_equal_rewards_teaches_nothing(values: tuple[float | None, ...], informative: bool) -> None:
    assert group(*values).informative is informative
