"""What a scorer is worth: how often it picks a right answer among N, and how often it calls a step rightly.

The figures of calibration themselves are `ponder.core.calibration`'s, which training uses too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ponder.core.calibration import Calibration, calibration
from ponder.core.errors import PonderError
from ponder.evals.metrics import Estimate, bootstrap, clustered, paired_bootstrap

CHANCE, BEST = "chance", "at best"
"""The rows of a pick table that need no scorer: any answer picked blindly; a right one wherever there is one."""


@dataclass(frozen=True)
class Pick:
    """How often `name` picks a right answer, over problems, and how much more often than each other row (paired)."""

    name: str
    right: Estimate
    above: Mapping[str, Estimate]


def picked_right(scores_PN: Sequence[Sequence[float]], correct_PN: Sequence[Sequence[bool]]) -> list[float]:
    """Of each problem, whether the answer with the highest score is right; among equals, their share of right ones.

    Raises PonderError for a problem without answers, or with other numbers of scores than of verdicts.
    """
    picked = []
    for place, (scores, correct) in enumerate(zip(scores_PN, correct_PN, strict=True)):
        if not scores or len(scores) != len(correct):
            raise PonderError(f"problem {place} has {len(scores)} scores and {len(correct)} verdicts; give one each")
        top = max(scores)
        best = [right for score, right in zip(scores, correct, strict=True) if score == top]
        picked.append(sum(best) / len(best))
    return picked


def pick_table(scorers: Mapping[str, Sequence[Sequence[float]]], correct_PN: Sequence[Sequence[bool]]) -> list[Pick]:
    """A row a scorer, and one each for chance and for the best that any could do; intervals over problems.

    scorers: by name, the scores of each problem's answers (best of N, arXiv 2110.14168). correct_PN: their verdicts.
    """
    if not correct_PN:
        raise PonderError("no problems to pick answers for")
    picks = {CHANCE: picked_right([[0.0] * len(row) for row in correct_PN], correct_PN)}
    picks |= {name: picked_right(scores, correct_PN) for name, scores in scorers.items()}
    picks[BEST] = picked_right([[float(right) for right in row] for row in correct_PN], correct_PN)
    return [
        Pick(
            name,
            bootstrap(values, "pick", name, proportion=True),
            {other: paired_bootstrap(picks[other], values, "pick", name, other) for other in picks if other != name},
        )
        for name, values in picks.items()
    ]


@dataclass(frozen=True)
class Agreement:
    """Steps called as the truth has them. all_steps, but_the_last: shares, intervals over solutions; the last step is
    the answer, whose truth is easier to come by. blind: the share that the more frequent verdict alone would reach.
    calibration: of the scores of all steps."""

    all_steps: Estimate
    but_the_last: Estimate
    blind: float
    calibration: Calibration


def step_agreement(
    scores: Sequence[Sequence[float]], truths: Sequence[Sequence[bool | None]], threshold: float = 0.5
) -> Agreement:
    """Scores from 0 to 1 (or labels) of each solution's steps, against their truth, where that is known.

    threshold: at or above it a step is called right.
    Raises PonderError where steps and scores do not pair, and for no steps of known truth.
    """
    hits, sizes, inner, inner_sizes = [], [], [], []
    said: list[float] = []
    true: list[bool] = []
    for place, (own, truth) in enumerate(zip(scores, truths, strict=True)):
        if len(own) != len(truth):
            raise PonderError(f"solution {place} has {len(own)} scores and {len(truth)} truths; give one a step")
        known = [(score, right, k == len(own) - 1) for k, (score, right) in enumerate(zip(own, truth, strict=True))
                 if right is not None]  # fmt: skip
        good = [((score >= threshold) == right, last) for score, right, last in known]
        hits.append(sum(hit for hit, _ in good))
        sizes.append(len(good))
        inner.append(sum(hit for hit, last in good if not last))
        inner_sizes.append(sum(not last for _, last in good))
        said += [float(score) for score, _, _ in known]
        true += [bool(right) for _, right, _ in known]
    if not true:
        raise PonderError("no steps of known truth to agree with")
    share = sum(true) / len(true)
    names = ("agreement",)
    return Agreement(
        _ratio(hits, sizes, *names), _ratio(inner, inner_sizes, *names), max(share, 1 - share), calibration(said, true)
    )


def _ratio(top: Sequence[int], bottom: Sequence[int], *names: object) -> Estimate:
    return clustered(np.asarray(top, float), np.asarray(bottom, float), *names, proportion=True)[0]
