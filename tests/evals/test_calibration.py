"""Picks among N, and steps called rightly."""

from __future__ import annotations

import pytest

from ponder.core.errors import PonderError
from ponder.evals.calibration import pick_table, picked_right, step_agreement

CORRECT = [
    [True, False, False, False],
    [False, True, True, False],
    [False, False, False, False],
    [True, True, True, True],
]


def test_the_highest_score_is_picked_and_equals_share():
    scores = [[3.0, 1.0, 2.0, 0.0], [1.0, 2.0, 0.0, 2.0], [0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0]]
    assert picked_right(scores, CORRECT) == [1.0, 0.5, 0.0, 1.0]
    turned = [[-score for score in row] for row in scores]
    assert picked_right(turned, CORRECT) == [0.0, 1.0, 0.0, 1.0]


def test_the_table_has_chance_below_and_the_best_above():
    good = [[float(right) + 0.1 * k for k, right in enumerate(row)] for row in CORRECT] * 10
    bad = [[-score for score in row] for row in good]
    table = {row.name: row for row in pick_table({"good": good, "bad": bad}, CORRECT * 10)}
    assert list(table) == ["chance", "good", "bad", "at best"]
    assert table["chance"].right.value == pytest.approx((0.25 + 0.5 + 0 + 1) / 4)
    assert table["good"].right.value == table["at best"].right.value == 0.75
    above = table["good"].above["chance"]
    assert above.low is not None and above.low > 0 and above.value == pytest.approx(0.75 - 1.75 / 4)
    assert table["bad"].above["good"].value == pytest.approx(-0.5)


def test_steps_that_agree():
    scores = [[0.9, 0.2, 0.1], [0.6, 0.7], [0.4]]
    truths = [[True, False, True], [True, None], [False]]
    found = step_agreement(scores, truths)
    assert found.all_steps.value == pytest.approx(4 / 5)
    assert found.but_the_last.value == 1.0
    assert found.blind == pytest.approx(3 / 5) and found.calibration.n == 5
    assert step_agreement(scores, truths, threshold=0.65).all_steps.value == pytest.approx(3 / 5)
    assert step_agreement([[True, False]], [[True, True]]).all_steps.value == 0.5, "labels do as well as scores"


@pytest.mark.parametrize(
    "call",
    [
        lambda: picked_right([[]], [[]]),
        lambda: picked_right([[1.0]], [[True, False]]),
        lambda: pick_table({}, []),
        lambda: step_agreement([[0.5]], [[True, False]]),
        lambda: step_agreement([[0.5]], [[None]]),
    ],
)
def test_what_does_not_pair(call):
    with pytest.raises(PonderError):
        call()
