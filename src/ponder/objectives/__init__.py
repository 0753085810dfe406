"""Floor 2: the mathematics. Tensors in, tensors out: no model, no file, no config tree."""

from ponder.objectives.batch import Extent, PolicyTerms
from ponder.objectives.credit import Spread, overlong_penalty
from ponder.objectives.family import FAMILY, PolicySettings, Variant, has_gradient
from ponder.objectives.kl import mismatch_kl
from ponder.objectives.policy import merge_stats, policy_loss, summarise

__all__ = [
    "FAMILY",
    "Extent",
    "PolicySettings",
    "PolicyTerms",
    "Spread",
    "Variant",
    "has_gradient",
    "merge_stats",
    "mismatch_kl",
    "overlong_penalty",
    "policy_loss",
    "summarise",
]
