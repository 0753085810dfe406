"""Short rows laid together into packs of at most so many tokens: best fit, longest first.

Each row goes into the fullest pack that still has room for it (best-fit decreasing: Ding et al. 2024, arXiv 2404.10830,
section 3). The packs are a function of the lengths and their order alone, so a run that goes on has the same ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import TypeVar

R = TypeVar("R")


def pack(rows: Sequence[R], length: Callable[[R], int], capacity: int) -> list[tuple[R, ...]]:
    """`rows` in packs of at most `capacity` tokens each; a longer row has a pack of its own.

    Packs are in the order of their longest rows; rows of equal length keep theirs.
    """
    packs: list[list[R]] = []
    rooms: list[tuple[int, int]] = []  # (room left, number of the pack), ascending: the first that fits is the fullest
    for row in sorted(rows, key=length, reverse=True):
        size = length(row)
        at = bisect_left(rooms, (size, -1))
        if at < len(rooms):
            room, number = rooms.pop(at)
        else:
            room, number = capacity, len(packs)
            packs.append([])
        packs[number].append(row)
        if room > size:
            insort(rooms, (room - size, number))
    return [tuple(rows) for rows in packs]
