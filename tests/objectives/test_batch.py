"""The extent of a step: what counts, and that parts add up."""

from __future__ import annotations

import pytest
import torch

from ponder.core.errors import PonderError
from ponder.objectives.batch import Extent


def test_extents_add_up() -> None:
    mask_BT = torch.tensor([[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    whole = Extent.of(mask_BT, 8)
    assert whole == Extent(sequences=3, tokens=4, max_completion_length=8)
    assert whole == Extent.of(mask_BT[:1], 8) + Extent.of(mask_BT[1:], 8)
    assert whole == Extent.of_lengths([3, 1, 0], 8)
    assert Extent.of(mask_BT.bool(), 8) == Extent.of(mask_BT.float(), 8) == whole


def test_ranks_must_agree_on_the_length() -> None:
    with pytest.raises(PonderError, match="max_completion_length: 8 and 9"):
        Extent(1, 1, 8) + Extent(1, 1, 9)
