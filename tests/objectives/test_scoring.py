"""Losses of scores against slow loops from the papers, with bugs put in on purpose, and any split of a step."""

from __future__ import annotations

import math

import pytest
import torch

from ponder.objectives.scoring import label_loss, pair_loss

CHOSEN = [1.5, -0.3, 0.0, 40.0, -2.0]
REJECTED = [0.5, 0.9, 0.0, -40.0, 3.0]
LOGITS = [0.3, -2.0, 5.0, 0.0, -60.0, 1.0]
LABELS = [1.0, 0.0, 0.0, 1.0, 0.0, 0.25]


def slow_pairs(chosen: list[float], rejected: list[float], center: float) -> float:
    """-log P(chosen over rejected) and the squared sum, pair by pair."""
    total = 0.0
    for c, r in zip(chosen, rejected, strict=True):
        total += math.log1p(math.exp(-(c - r))) + center * (c + r) ** 2
    return total / len(chosen)


def slow_labels(logits: list[float], labels: list[float]) -> float:
    total = 0.0
    for x, y in zip(logits, labels, strict=True):
        p = 1 / (1 + math.exp(-x))
        total -= y * math.log(p) + (1 - y) * math.log1p(-p)
    return total / len(logits)


@pytest.mark.parametrize("center", [0.0, 0.01])
def test_pairs_are_the_papers(center):
    chosen, rejected = torch.tensor(CHOSEN, dtype=torch.float64), torch.tensor(REJECTED, dtype=torch.float64)
    found = pair_loss(chosen, rejected, len(CHOSEN), center)
    assert float(found) == pytest.approx(slow_pairs(CHOSEN, REJECTED, center), rel=1e-12)
    # What the loop would say of two bugs, so that neither can hide.
    assert float(found) != pytest.approx(slow_pairs(REJECTED, CHOSEN, center), rel=1e-3)
    assert slow_pairs(CHOSEN, REJECTED, 0.01) != pytest.approx(slow_pairs(CHOSEN, REJECTED, 0.0), rel=1e-3)


def test_labels_are_the_papers_and_may_be_soft():
    found = label_loss(torch.tensor(LOGITS, dtype=torch.float64), torch.tensor(LABELS), len(LOGITS))
    assert float(found) == pytest.approx(slow_labels(LOGITS, LABELS), rel=1e-9)
    flipped = [1 - y for y in LABELS]
    assert float(found) != pytest.approx(slow_labels(LOGITS[:4], flipped[:4]), rel=1e-3)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_any_split_gives_the_same_gradient(cut):
    def gradient(parts: list[slice]) -> torch.Tensor:
        chosen = torch.tensor(CHOSEN, dtype=torch.float64, requires_grad=True)
        rejected = torch.tensor(REJECTED, dtype=torch.float64)
        for part in parts:
            pair_loss(chosen[part], rejected[part], len(CHOSEN), 0.01).backward()
        assert chosen.grad is not None
        return chosen.grad

    assert torch.allclose(gradient([slice(0, cut), slice(cut, None)]), gradient([slice(None)]), rtol=1e-12)


def test_a_pair_pulls_its_sides_apart_and_a_label_towards_itself():
    chosen, rejected = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    pair_loss(chosen, rejected, 1).backward()
    assert float(chosen.grad) == pytest.approx(-0.5) and float(rejected.grad) == pytest.approx(0.5)
    logit = torch.zeros(2, requires_grad=True)
    label_loss(logit, torch.tensor([1.0, 0.0]), 2).backward()
    assert logit.grad.tolist() == pytest.approx([-0.25, 0.25])
