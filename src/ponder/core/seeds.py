"""Seeds by name.

Neighbouring integers make poor seeds (`Random(seed + i)` shares problems between streams), so every stream of random
numbers is named, and its seed is a hash of the names.
"""

from __future__ import annotations

import hashlib
import random


def seed_of(*names: object) -> int:
    """A 63-bit seed for the stream called by `names`, e.g. `seed_of(cfg.seed, "rollout", step)`."""
    digest = hashlib.sha256("\x1f".join(map(repr, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def random_of(*names: object) -> random.Random:
    """A Python generator for the stream called by `names`."""
    return random.Random(seed_of(*names))
