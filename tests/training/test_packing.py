"""Best-fit packing: nothing lost, nothing too long, the same each time, and tight."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ponder.training.packing import pack


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(5, 30))
def test_every_row_once_and_no_pack_too_long(lengths: list[int], capacity: int) -> None:
    rows = list(enumerate(lengths))
    packs = pack(rows, lambda row: row[1], capacity)
    assert sorted(row for one in packs for row in one) == rows
    assert all(sum(size for _, size in one) <= capacity or len(one) == 1 for one in packs)
    # Best fit never leaves two packs that would go into one.
    totals = sorted(sum(size for _, size in one) for one in packs)
    assert len(totals) < 2 or totals[0] + totals[1] > capacity
    assert packs == pack(list(rows), lambda row: row[1], capacity)


def test_the_fullest_pack_that_has_room() -> None:
    assert pack([6, 5, 4, 3, 2], int, 10) == [(6, 4), (5, 3, 2)]
    assert pack([7, 6, 3], int, 10) == [(7, 3), (6,)]  # first fit too; but a row of 4 goes beside the 6
    assert pack([7, 6, 4, 3], int, 10) == [(7, 3), (6, 4)]
    assert pack([12, 4], int, 10) == [(12,), (4,)]
    assert pack([], int, 10) == []


def test_rows_of_usual_lengths_fill_their_packs() -> None:
    rng = random.Random(0)
    lengths = [min(1024, int(rng.lognormvariate(5.3, 0.8)) + 5) for _ in range(3000)]
    packs = pack(lengths, int, 1024)
    assert sum(lengths) / (len(packs) * 1024) > 0.98
