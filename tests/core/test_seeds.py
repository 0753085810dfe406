"""Seeds by name: the same everywhere, and unrelated for neighbouring names."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.seeds import random_of, seed_of


def test_pinned() -> None:
    """Runs recorded so far can be repeated as long as these hold."""
    assert seed_of() == 8203414616412130826
    assert seed_of(0, "rollout", 1) == 8740838662302709950
    assert random_of("a").random() == 0.018654533178871335


def test_no_part_of_the_machine_chooses() -> None:
    program = "from ponder.core.seeds import seed_of; print(seed_of('a', 1, ('b', 2.5), None))"
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
        )
        assert int(run.stdout) == seed_of("a", 1, ("b", 2.5), None)


def test_seeds_fit_every_generator() -> None:
    seeds = [seed_of("range", i) for i in range(5000)]
    assert all(0 <= seed < 2**63 for seed in seeds) and len(set(seeds)) == 5000
    assert max(seeds) > 2**62.9 and min(seeds) < 2**56  # the whole range is used


def test_names_are_told_apart() -> None:
    names = ["1", 1, 1.0, True, None, "", "a", ("a",), "a\x1f'b'", "'a', 'b'", b"1"]
    lists = [(), *((n,) for n in names), *product(names, repeat=2), ("a", "b"), ("ab",), ("b", "a")]
    assert len({seed_of(*names) for names in lists}) == len(lists)


def test_neighbours_share_nothing() -> None:
    """The first draws of neighbouring streams agree as often as chance has it, and are spread evenly."""
    first = [random_of("problems", i).randrange(100) for i in range(2000)]
    repeats = sum(a == b for a, b in zip(first, first[1:], strict=False))
    assert 5 <= repeats <= 45  # 20 are expected
    assert 47 <= sum(first) / len(first) <= 52


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.none()), max_size=4))
def test_total_and_repeatable(names: list[object]) -> None:
    assert seed_of(*names) == seed_of(*names)
    assert random_of(*names).random() == random_of(*names).random()
