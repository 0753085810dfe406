"""Samplers: the local engine on the policy's own weights, a scripted fake, and rollouts (problems to groups)."""

from ponder.sampling.local import LocalSampler
from ponder.sampling.rollout import rollout
from ponder.sampling.scripted import ScriptedSampler

__all__ = ["LocalSampler", "ScriptedSampler", "rollout"]
