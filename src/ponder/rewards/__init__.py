"""Rewards: the built-in parts, functions written for TRL or verl, and how they combine into one `Score`."""

from __future__ import annotations

from ponder.rewards.adopt import load_function
from ponder.rewards.combine import Reward, RewardPart, compose
from ponder.rewards.form import format, format_parts, steps, tags
from ponder.rewards.parts import accuracy, code
from ponder.rewards.prose import language, length, overlong, readability, repetition
from ponder.rewards.recipe import parts_of, reward_part

__all__ = [
    "Reward", "RewardPart", "accuracy", "code", "compose", "format", "format_parts", "language", "length",
    "load_function", "overlong", "parts_of", "readability", "repetition", "reward_part", "steps", "tags",
]  # fmt: skip
