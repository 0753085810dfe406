"""How tensors of the same place in several models become one: linear, SLERP, TIES, DARE. Tensors in, a tensor out.

All work in float32 (float64 stays), whatever the models keep. `deltas` are task vectors: a model's tensor less the
base's. Names and defaults are mergekit's, so that a recipe written for it means the same here; where mergekit departs
from a paper, the function says which one it follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NEARLY_PARALLEL = 0.9995
"""Cosine from which SLERP interpolates in a straight line: the sine that it would divide by is too small."""


def linear(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum (model soups, Wortsman et al. 2022, arXiv 2203.05482)."""
    total = tensors[0] * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total.add_(tensor, alpha=weight)
    return total


def slerp(first: Tensor, second: Tensor, t: float) -> Tensor:
    """From `first` (t = 0) to `second` (t = 1) along the arc between the two, each taken as one long vector (Shoemake
    1985). Lengths are not interpolated apart: both coefficients act on the tensors as they are, as in mergekit."""
    norms = [torch.linalg.vector_norm(x) for x in (first, second)]
    if min(norms) == 0:
        return torch.lerp(first, second, t)
    cosine = float(torch.dot((first / norms[0]).flatten(), (second / norms[1]).flatten()).clamp(-1, 1))
    if abs(cosine) > NEARLY_PARALLEL:
        return torch.lerp(first, second, t)
    angle = torch.acos(torch.tensor(cosine, dtype=torch.float64))
    one, two = (float(torch.sin(share * angle) / torch.sin(angle)) for share in (1 - t, t))
    return first * one + second * two


def trimmed(delta: Tensor, density: float) -> Tensor:
    """The `density` share of largest magnitude, at least one; the rest 0 (TIES, section 3: "trim")."""
    if density >= 1:
        return delta
    keep = max(1, int(density * delta.numel()))
    places = delta.abs().flatten().topk(keep, sorted=False).indices
    kept = torch.zeros_like(delta).flatten()
    kept[places] = delta.flatten()[places]
    return kept.view_as(delta)


def dropped(delta: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Each number kept with probability `density` and then divided by it, so that the mean stays (DARE, equation 2:
    p = 1 - density). mergekit's `rescale` matches the sum of magnitudes instead, which agrees in the mean."""
    if density >= 1:
        return delta
    kept = torch.rand(delta.shape, generator=generator, dtype=torch.float32) < density
    return delta * kept / density


def summed(deltas: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum of task vectors, not normalised (task arithmetic, Ilharco et al. 2022, arXiv 2212.04089)."""
    return linear(deltas, weights)


def elected(deltas: Sequence[Tensor], weights: Sequence[float], normalize: bool) -> Tensor:
    """The weighted sum over those that agree with the sign elected at each place: that of the larger total (TIES,
    section 3: "elect" and "disjoint merge"). normalize: divided by the sum of their weights, the mean of the paper."""
    weighted = [delta * weight for delta, weight in zip(deltas, weights, strict=True)]
    positive = sum(weighted[1:], start=weighted[0]) >= 0
    total, agreed = torch.zeros_like(weighted[0]), torch.zeros_like(weighted[0])
    for part, weight in zip(weighted, weights, strict=True):
        agrees = torch.where(positive, part > 0, part < 0)
        total += part * agrees
        agreed += weight * agrees
    return total / torch.where(agreed == 0, 1.0, agreed) if normalize else total
