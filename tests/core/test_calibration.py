"""Calibration figures against slow definitions and known cases."""

from __future__ import annotations

import random

import pytest

from ponder.core.calibration import auc, calibration, pair_accuracy
from ponder.core.errors import PonderError


def test_a_calibrated_forecaster_has_no_error_and_an_overconfident_one_has():
    rng = random.Random(1)
    said = [rng.random() for _ in range(20_000)]
    fair = calibration(said, [rng.random() < p for p in said])
    assert fair.ece < 0.02 and fair.brier == pytest.approx(1 / 6, abs=0.01)
    sure = calibration([0.99] * 1000, [i % 2 == 0 for i in range(1000)])
    assert sure.ece == pytest.approx(0.49) and sure.accuracy == 0.5 and sure.auc == 0.5


def test_bins_hold_every_item_once():
    found = calibration([0.0, 0.05, 0.1, 0.95, 1.0], [False, True, False, True, True])
    assert [one.n for one in found.bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.bins[0].mean == pytest.approx(0.025) and found.bins[0].right == 0.5
    assert found.bins[3].mean is None and found.bins[3].right is None
    slow = (2 * abs(0.025 - 0.5) + 1 * 0.1 + 2 * abs(0.975 - 1.0)) / 5
    assert found.ece == pytest.approx(slow)


def test_auc_is_the_chance_of_a_right_order():
    rng = random.Random(2)
    scores = [rng.choice((0.1, 0.2, 0.2, 0.5, rng.random())) for _ in range(80)]
    labels = [rng.random() < 0.4 for _ in scores]
    pairs = [
        (a, b) for a, x in zip(scores, labels, strict=True) if x for b, y in zip(scores, labels, strict=True) if not y
    ]
    slow = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert auc(scores, labels) == pytest.approx(slow, rel=1e-12)
    assert auc([1.0, 2.0], [True, True]) is None


def test_pairs():
    assert pair_accuracy([1.0, 2.0, 3.0, 0.0], [0.0, 2.0, 4.0, -1.0]) == 2.5 / 4


@pytest.mark.parametrize("said, labels", [([], []), ([0.5], [True, False]), ([1.2], [True]), ([float("nan")], [True])])
def test_what_is_no_forecast(said, labels):
    with pytest.raises(PonderError):
        calibration(said, labels)
    with pytest.raises(PonderError):
        pair_accuracy([], [])
