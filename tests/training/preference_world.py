"""Pairs for the tiny world, and training on them; importable by the processes that `launch` spawns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiny_world import make_model, make_tokenizer

from ponder.core.seeds import random_of
from ponder.tasks.shapes import Preference
from ponder.training.distributed import World
from ponder.training.preference import PreferenceSettings, train_preference
from ponder.training.preference_rows import Pair, encode_pairs

TEMPLATE = (
    "{% for m in messages %}{{ m['role'][0] + '=' }}"
    "{% if m['role'] == 'assistant' and loop.last and enable_thinking is false %}{{ '<think></think>' }}{% endif %}"
    "{{ m['content'] }}{% if m['role'] == 'assistant' %}{{ '<eos>' }}{% else %}{{ ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a=' }}"
    "{% if enable_thinking is false %}{{ '<think></think>' }}{% endif %}{% endif %}"
)
"""One letter a role; without thinking the answer begins behind an empty thought."""


def make_pairs(n: int = 24, first: int = 0) -> list[Preference]:
    """Questions and two answers of different lengths; the chosen one is of the letter "a"."""
    pairs = []
    for i in range(first, first + n):
        rng = random_of("pairs", i)
        chosen = "".join(rng.choice("aaab") for _ in range(rng.randint(1, 6)))
        rejected = "".join(rng.choice("cdef") for _ in range(rng.randint(1, 6)))
        pairs.append(Preference(f"{i * 37 % 101}+{'1' * (i % 5)}=?", chosen, rejected, i + 1))
    return pairs


def make_settings(**changes: Any) -> PreferenceSettings:
    """Small and quick."""
    base: dict[str, Any] = dict(max_steps=6, batch_size=8, learning_rate=1e-2, save_steps=1, beta=0.5)
    return PreferenceSettings(**(base | changes))


def run(
    world: World, out_dir: Path, changes: Mapping[str, Any], pairs: Sequence[Preference] | None = None,
    validation: Sequence[Preference] = (), **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """`train_preference` on the tiny world."""
    found = make_pairs() if pairs is None else pairs
    return train_preference(
        make_settings(**changes), make_model(), make_tokenizer(), found, out_dir, world, validation=validation, **more
    )


def encoded(pairs: Sequence[Preference]) -> tuple[Pair, ...]:
    """`pairs` as the tiny world's tokenizer reads them."""
    return encode_pairs(pairs, make_tokenizer(), 64, "error").pairs
