"""Rows of unlike length: attention in spans, so that short rows are not made to look as far as the longest.

One call of attention looks as far for every row as for the longest of them. Under continuous batching a few long rows
live among many short ones, and most of that looking is at nothing. So rows are cut into spans, each with its own
length, and put in order of length now and then, where that pays.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Lengths: TypeAlias = NDArray[np.int64]

PART = 32
"""Rows of a span."""
EVERY = 16
"""Steps between looks at the order of rows."""
_COPIES = 4  # what reordering moves, in units of one look at all positions: read, write, read, write


def spans(lengths_B: Lengths, worth: int) -> list[tuple[int, int, int]]:
    """`(start, stop, longest)` of each span, in order; a single one unless several save at least `worth` positions."""
    rows, longest = len(lengths_B), int(lengths_B.max())
    starts, sizes, longest_of = _parts(lengths_B)
    if rows * longest - int(sizes @ longest_of) < worth:
        return [(0, rows, longest)]
    return [
        (start, start + size, length)
        for start, size, length in zip(starts.tolist(), sizes.tolist(), longest_of.tolist(), strict=True)
    ]


def better_order(lengths_B: Lengths, worth: int) -> Lengths | None:
    """The rows in order of length, if that saves `worth` positions a step, and the copying by the next look."""
    order = np.argsort(lengths_B, kind="stable")
    (_, sizes, now), (_, _, then) = _parts(lengths_B), _parts(lengths_B[order])
    saved = int(sizes @ now) - int(sizes @ then)
    pays = saved * EVERY > _COPIES * len(lengths_B) * int(lengths_B.max())
    return order if saved >= worth and pays else None


def _parts(lengths_B: Lengths) -> tuple[Lengths, Lengths, Lengths]:
    """Start, number of rows and greatest length of each part."""
    starts = np.arange(0, len(lengths_B), PART)
    return starts, np.diff(starts, append=len(lengths_B)), np.maximum.reduceat(lengths_B, starts)
