"""The GRPO family as one table: a method is credit x surrogate x aggregation, with its paper's clip range.

`FAMILY[loss_type]` is a row; `PolicySettings` holds what a user may change, under TRL's names. A setting left at None
takes the row's value. A setting that a row cannot honour is refused, never ignored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ponder.core.errors import PonderError
from ponder.objectives.credit import Credit, Scale, Spread, advantages, batch_mean, group_mean, leave_one_out
from ponder.objectives.kl import KL
from ponder.objectives.policy import (
    Aggregate,
    Clip,
    Level,
    Surrogate,
    clipped,
    constant_length,
    sequence_mean,
    sequence_sum,
    token_mean,
    weighted_logp,
)

Correction = Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


@dataclass(frozen=True)
class PolicySettings:
    """What a user may set of the policy loss. None: as the row of `FAMILY` has it.

    epsilon: the ratio's lower clip is 1 - epsilon. Values above 1 never clip below (R1: 10).
    epsilon_high: the upper clip is 1 + epsilon_high; None is epsilon, where epsilon is set. For `cispo` it is the
        bound itself, as in TRL (and ScaleRL's epsilon_max).
    delta: upper bound of the ratio where the advantage is negative (two-sided clipping); above 1 + epsilon_high.
    beta: weight of the KL to the reference policy; 0 needs no reference.
    kl_estimator: k1, k2 or k3 (see `policy.kl_k1` and its neighbours for whose gradient each one estimates).
    use_bias_correction_kl: weigh the KL by the importance ratio; all three estimators then have the gradient of
        KL(policy || reference).
    importance_sampling_level: `token`, or `sequence` (one ratio a sequence, as GSPO has it).
    scale_rewards: what divides the advantages: the standard deviation of the `group`, of the `batch`, or `none`.
    importance_sampling_correction: weights against the mismatch of sampler and trainer; `token_truncate` is TIS.
    importance_sampling_clip_max: the cap of those weights.
    """

    epsilon: float | None = None
    epsilon_high: float | None = None
    delta: float | None = None
    beta: float = 0.0
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    use_bias_correction_kl: bool = False
    importance_sampling_level: Literal["token", "sequence"] | None = None
    scale_rewards: Scale | None = None
    importance_sampling_correction: Correction = "none"
    importance_sampling_clip_max: float = 3.0

    def __post_init__(self) -> None:
        for name in ("epsilon", "epsilon_high", "delta", "beta", "importance_sampling_clip_max"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise PonderError(f"{name} is {value}; it must be 0 or more")
        _one_of("kl_estimator", self.kl_estimator, tuple(KL))
        _one_of("importance_sampling_level", self.importance_sampling_level, (None, "token", "sequence"))
        _one_of("scale_rewards", self.scale_rewards, (None, "group", "batch", "none"))
        corrections = ("none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
        _one_of("importance_sampling_correction", self.importance_sampling_correction, corrections)


@dataclass(frozen=True)
class Variant:
    """A row of the table. `epsilon` and `epsilon_high` are the paper's own; None: the row does not clip there."""

    name: str
    credit: Credit
    scale: Scale
    surrogate: Surrogate
    level: Level
    aggregate: Aggregate
    epsilon: float | None
    epsilon_high: float | None
    paper: str

    def advantages(
        self, groups: Sequence[Sequence[float]], settings: PolicySettings, batch: Spread | None = None
    ) -> list[list[float]]:
        """Advantages of every group; see `credit.advantages`."""
        return advantages(groups, self.credit, settings.scale_rewards or self.scale, batch)

    def check(self, settings: PolicySettings) -> None:
        """Raise PonderError, before any work is done, if this row cannot honour `settings`."""
        self.clip(settings)
        self.level_of(settings)
        self.advantages([], settings)

    def clip(self, settings: PolicySettings) -> Clip:
        """The ratio's range under `settings`. Raises PonderError for a bound that this row does not have."""
        if self.epsilon is None and settings.epsilon is not None:
            raise PonderError(f"epsilon={settings.epsilon}: {self.name} has no lower clip; leave epsilon out")
        if self.epsilon_high is None and settings.epsilon_high is not None:
            raise PonderError(f"epsilon_high={settings.epsilon_high}: {self.name} has no clip; leave epsilon_high out")
        if self.surrogate is not clipped:
            if settings.delta is not None:
                raise PonderError(f"delta={settings.delta}: {self.name} does not clip as PPO does; leave delta out")
            high = settings.epsilon_high if settings.epsilon_high is not None else self.epsilon_high
            return Clip(-math.inf, math.inf if high is None else high)
        assert self.epsilon is not None and self.epsilon_high is not None
        # Whoever sets epsilon alone means a symmetric range, as in TRL; the row's upper bound goes with its own.
        epsilon = self.epsilon if settings.epsilon is None else settings.epsilon
        fallback = self.epsilon_high if settings.epsilon is None else settings.epsilon
        high = 1 + (fallback if settings.epsilon_high is None else settings.epsilon_high)
        if settings.delta is not None and settings.delta <= high:
            raise PonderError(f"delta is {settings.delta}; it must be above 1 + epsilon_high = {high:g}")
        return Clip(1 - epsilon, high, settings.delta)

    def level_of(self, settings: PolicySettings) -> Level:
        """What a ratio speaks of under `settings`. Raises PonderError where the level makes the row what it is."""
        asked = settings.importance_sampling_level
        if asked is None or asked == self.level:
            return self.level
        if self.level != "token":
            raise PonderError(f"importance_sampling_level={asked}: {self.name} is {self.level}-level; leave it out")
        return asked


_ROWS = (
    # name, credit, scale_rewards, surrogate, level, aggregate, epsilon, epsilon_high, paper
    Variant("grpo", group_mean, "group", clipped, "token", sequence_mean, 0.2, 0.2, "arXiv 2402.03300"),
    Variant("dr_grpo", group_mean, "none", clipped, "token", constant_length, 0.2, 0.2, "arXiv 2503.20783"),
    Variant("dapo", group_mean, "group", clipped, "token", token_mean, 0.2, 0.28, "arXiv 2503.14476"),
    # TRL's bnpo divides by the tokens of each micro-batch. Denominators are the whole step's here, so it is dapo's mean
    # with a symmetric clip: what TRL computes when the step is one micro-batch.
    Variant("bnpo", group_mean, "group", clipped, "token", token_mean, 0.2, 0.2, "TRL"),
    Variant("rloo", leave_one_out, "none", clipped, "trajectory", sequence_sum, 0.2, 0.2, "arXiv 2402.14740"),
    Variant("reinforce", batch_mean, "none", weighted_logp, "token", sequence_sum, None, None, "Williams 1992"),
    Variant("gspo", group_mean, "group", clipped, "sequence", sequence_mean, 3e-4, 4e-4, "arXiv 2507.18071"),
    Variant("cispo", group_mean, "group", weighted_logp, "token", token_mean, None, 5.0, "arXiv 2506.13585"),
    Variant("ppo", batch_mean, "batch", clipped, "token", token_mean, 0.2, 0.2, "arXiv 1707.06347"),
)

FAMILY: dict[str, Variant] = {row.name: row for row in _ROWS}
"""Every `loss_type`, by name."""


def has_gradient(advantages: Sequence[float], settings: PolicySettings) -> bool:
    """Whether a group moves the policy at all, so that its backward pass is worth its cost.

    No advantage, no gradient, save that of a KL penalty. A group left out for this reason stays in `Extent`.
    """
    return settings.beta != 0 or any(advantage != 0 for advantage in advantages)


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        names = ", ".join(str(one) for one in allowed if one is not None)
        raise PonderError(f"{name} is {value!r}; it must be one of {names}")
