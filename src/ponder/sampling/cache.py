"""Key-value slots: one preallocated tensor for keys and one for values in each layer, grown in blocks.

Shape letters: S slots (rows in flight), K key-value heads, C capacity in positions, D head size, R rows, T positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""The capacity of a slot is a multiple of this."""
START = 256
"""The first capacity, where rows may become as long."""


class Slots:
    """`key[layer]` and `value[layer]` are [S, K, C, D]; slot s of every layer belongs to row s.

    Memory is zeroed, never merely reserved: attention masks positions beyond a row's length by adding -inf, and that
    does not mask a NaN which happened to lie there.
    """

    def __init__(
        self, layers: int, rows: int, heads: int, head_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.heads, self.head_size = heads, head_size
        shape = (rows, heads, 0, head_size)
        self.key = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.value = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]

    @property
    def capacity(self) -> int:
        """Positions that a slot holds at present."""
        return self.key[0].shape[2]

    def reserve(self, length: int, rows: int, longest: int) -> None:
        """Make room for `length` positions of the first `rows` slots; slots beyond them are given back on growth.

        No row will ever be longer than `longest`. Growth is by half at least, so that copying stays a small part.
        """
        if length <= self.capacity:
            return
        wanted = max(length, min(longest, max(START, self.capacity * 3 // 2)))
        capacity = -(-wanted // BLOCK) * BLOCK
        for tensors in (self.key, self.value):
            for layer, old in enumerate(tensors):
                new = old.new_zeros((rows, self.heads, capacity, self.head_size))
                kept = min(rows, old.shape[0])
                new[:kept, :, : old.shape[2]] = old[:kept]
                tensors[layer] = new

    def write(self, layer: int, index_N: Tensor, key_NKD: Tensor, value_NKD: Tensor) -> None:
        """Write one position a row. `index_N`: see `flat_index`; the new keys and values are [rows, K, D]."""
        self.key[layer].view(-1, self.head_size).index_copy_(0, index_N, key_NKD.reshape(-1, self.head_size))
        self.value[layer].view(-1, self.head_size).index_copy_(0, index_N, value_NKD.reshape(-1, self.head_size))

    def flat_index(self, position_B: Tensor) -> Tensor:
        """Where (row b, head k, position_B[b]) lies when a layer is seen as [S * K * C, D]; [B * K]."""
        rows = position_B.shape[0]
        base_N = torch.arange(rows * self.heads, device=position_B.device) * self.capacity
        return (base_N.view(rows, self.heads) + position_B[:, None]).view(-1)

    def fill(self, layer: int, slots_R: Tensor, key_RKTD: Tensor, value_RKTD: Tensor) -> None:
        """Write whole prefixes into slots."""
        length = key_RKTD.shape[2]
        self.key[layer][slots_R, :, :length] = key_RKTD
        self.value[layer][slots_R, :, :length] = value_RKTD

    def arrange(self, order_B: Tensor, length: int) -> None:
        """Put the first slots into another order, the first `length` positions."""
        rows = order_B.shape[0]
        for tensors in (self.key, self.value):
            for tensor in tensors:
                tensor[:rows, :, :length] = tensor[order_B, :, :length]

    def move(self, source_R: Tensor, target_R: Tensor, length: int) -> None:
        """Copy slots `source_R` over slots `target_R`, the first `length` positions."""
        for tensors in (self.key, self.value):
            for tensor in tensors:
                tensor[target_R, :, :length] = tensor[source_R, :, :length]
