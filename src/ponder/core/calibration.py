"""How far a score can be believed: calibration error, reliability bins, Brier score, area under the ROC curve.

Pure numbers: training measures held-out rows with these, and so can evaluations and reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.core.errors import PonderError


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram: probabilities in [low, high), their mean, the share that is right, their count
    (mean and share are None where there are none)."""

    low: float
    high: float
    n: int
    mean: float | None
    right: float | None


@dataclass(frozen=True)
class Calibration:
    """n: judged items. accuracy: of the probability's side of 1/2. ece: expected calibration error, the mean distance
    of a bin's mean from its share of right ones, weighted by count (arXiv 1706.04599, eq. 3). brier: mean squared
    distance from the truth. auc: chance that a right item has the higher probability than a wrong one, ties half; None
    where all are right or all wrong."""

    n: int
    accuracy: float
    ece: float
    brier: float
    auc: float | None
    bins: tuple[Bin, ...]


def calibration(probabilities: Sequence[float], labels: Sequence[bool], bins: int = 10) -> Calibration:
    """Calibration of `probabilities` (of being right) against `labels`, in `bins` bins of equal width.

    Raises PonderError for none, for lists of different lengths and for a number outside 0..1 (or NaN).
    """
    if len(probabilities) != len(labels) or not labels:
        raise PonderError(f"calibration of {len(probabilities)} probabilities and {len(labels)} labels: give one each")
    for at, value in enumerate(probabilities):
        if not 0.0 <= value <= 1.0:
            raise PonderError(f"probability {at} is {value}; it must lie between 0 and 1")
    n = len(labels)
    members: list[list[int]] = [[] for _ in range(bins)]
    for at, value in enumerate(probabilities):
        members[min(int(value * bins), bins - 1)].append(at)
    table, ece = [], 0.0
    for place, inside in enumerate(members):
        mean = sum(probabilities[i] for i in inside) / len(inside) if inside else None
        right = sum(bool(labels[i]) for i in inside) / len(inside) if inside else None
        if mean is not None and right is not None:
            ece += abs(mean - right) * len(inside) / n
        table.append(Bin(place / bins, (place + 1) / bins, len(inside), mean, right))
    return Calibration(
        n=n,
        accuracy=sum((p >= 0.5) == bool(y) for p, y in zip(probabilities, labels, strict=True)) / n,
        ece=ece,
        brier=sum((p - float(y)) ** 2 for p, y in zip(probabilities, labels, strict=True)) / n,
        auc=auc(probabilities, labels),
        bins=tuple(table),
    )


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """Chance that a right item scores above a wrong one, ties counting half (Mann-Whitney); None without both sorts."""
    right = sum(map(bool, labels))
    wrong = len(labels) - right
    if not right or not wrong:
        return None
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    total, at = 0.0, 0
    while at < len(order):  # ranks, the mean one where scores are equal
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        total += (at + 1 + end) / 2 * sum(bool(labels[i]) for i in order[at:end])
        at = end
    return (total - right * (right + 1) / 2) / (right * wrong)


def pair_accuracy(chosen: Sequence[float], rejected: Sequence[float]) -> float:
    """Share of pairs whose chosen side scores higher, ties counting half. Raises PonderError for none."""
    if len(chosen) != len(rejected) or not chosen:
        raise PonderError(f"pair accuracy of {len(chosen)} and {len(rejected)} scores: give one pair at least")
    return sum(1.0 if c > r else 0.5 if c == r else 0.0 for c, r in zip(chosen, rejected, strict=True)) / len(chosen)
