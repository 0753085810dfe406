"""Samplers: the local engine on the policy's own weights, a scripted fake, and rollouts (problems to groups)."""

from ponder.sampling.local import LocalSampler

__all__ = ["LocalSampler"]
