"""Rewards: the parts (accuracy, format, functions written for TRL) and how they combine into one `Score`."""

from __future__ import annotations

from ponder.rewards.adopt import load_function
from ponder.rewards.combine import Reward, RewardPart, compose, reward_part
from ponder.rewards.parts import accuracy, format

__all__ = ["Reward", "RewardPart", "accuracy", "compose", "format", "load_function", "reward_part"]
