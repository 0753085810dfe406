"""Decoding through a model's own forward, for every causal language model that the decode loop does not know.

Rows are padded on the left to one length, as `transformers.generate` does it, and carry right position ids and masks.
The cache is a `DynamicCache` of plain layers, which keeps all keys also where a window hides some: the model masks
those itself, and rows can then be joined, moved and dropped alike for every architecture.

Shape letters: B rows in flight, P prompts, T positions of a prompt, R rows of any kind, L positions in the cache,
K key-value heads, D head size, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel

from ponder.sampling.decode import Prefilled

_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention", "attention"}
_TRIM = 32  # columns of padding that no row needs, before they are cut away


def why_not(model: PreTrainedModel) -> str:
    """Why this model cannot be sampled from at all; "" where it can."""
    if getattr(model, "_is_stateful", False):
        return "it keeps a recurrent state instead of a key-value cache"
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - _ATTENTION
    if kinds:
        return f"it has layers of the kind {', '.join(sorted(kinds))}"
    if getattr(model.config, "is_encoder_decoder", False):
        return "it is an encoder-decoder"
    return ""


class ForwardSession:
    """The rows in flight of one call; see `ponder.sampling.schedule.Session` for what each method promises."""

    def __init__(self, model: PreTrainedModel, rows: int) -> None:
        self.model, self.rows = model, rows
        self.device = next(model.parameters()).device
        self.cache = DynamicCache()
        self.lengths: list[int] = []  # tokens of each row that the cache holds, rightmost
        # An adapter's forward takes anything and hands it on to the model that it wraps.
        wrapped = model.get_base_model() if hasattr(model, "get_base_model") else model
        accepted = inspect.signature(wrapped.forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Prefilled:
        """Read prompts, padded on the left."""
        lengths = tuple(map(len, prompts))
        width = max(lengths)
        ids_PT = torch.tensor([[*[0] * (width - len(ids)), *ids] for ids in prompts], device=self.device)
        cache = DynamicCache()
        logits_PV = self._forward(ids_PT, list(lengths), cache)
        keys, values = zip(*((layer.keys, layer.values) for layer in cache.layers), strict=True)
        return Prefilled(logits_PV, lengths, keys, values)

    def admit(self, ready: Prefilled, picks: Sequence[int], slots: Sequence[int]) -> None:
        """Copy prompt `picks[i]` of `ready` into row `slots[i]`; rows beyond the present ones are appended."""
        picks_R = torch.tensor(picks, device=self.device)
        lengths = [ready.lengths[pick] for pick in picks]
        width, present = max(lengths), len(self.lengths)
        if not self.cache.layers:
            for index, (key, value) in enumerate(zip(ready.key_PKTD, ready.value_PKTD, strict=True)):
                self.cache.update(key[:0], value[:0], index)
        old = [i for i, slot in enumerate(slots) if slot < present]
        new = [i for i, slot in enumerate(slots) if slot >= present]
        assert [slots[i] for i in new] == list(range(present, present + len(new))), "rows are appended in order"
        wide = max(width, self.cache.layers[0].keys.shape[2] if present else 0)
        for layer, key, value in zip(self.cache.layers, ready.key_PKTD, ready.value_PKTD, strict=True):
            for name, fresh in (("keys", key), ("values", value)):
                fresh_RKLD = _padded(fresh[picks_R, :, -width:], wide)
                held = _padded(getattr(layer, name), wide) if present else fresh_RKLD[:0]
                if old:
                    held[torch.tensor([slots[i] for i in old])] = fresh_RKLD[old]
                setattr(layer, name, torch.cat([held, fresh_RKLD[new]]) if new else held)
        for i in old:
            self.lengths[slots[i]] = lengths[i]
        self.lengths += [lengths[i] for i in new]

    def move(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Copy rows `source` over rows `target`."""
        for layer in self.cache.layers:
            layer.keys[list(target)] = layer.keys[list(source)]
            layer.values[list(target)] = layer.values[list(source)]
        for old, new in zip(source, target, strict=True):
            self.lengths[new] = self.lengths[old]

    def sort(self, rows: int) -> None:
        """Nothing is gained by it: the model's own attention looks as far for every row as for the longest."""

    def step(self, token_B: Tensor) -> Tensor:
        """Feed one token to each of the first B rows (the others are dropped); logits [B, V] of what follows."""
        rows = token_B.shape[0]
        self.lengths = [length + 1 for length in self.lengths[:rows]]
        held = self.cache.layers[0].keys.shape[2]
        spare = held + 1 - max(self.lengths)
        spare = spare if spare >= _TRIM else 0
        for layer in self.cache.layers:
            if spare or layer.keys.shape[0] > rows:
                layer.keys, layer.values = layer.keys[:rows, :, spare:], layer.values[:rows, :, spare:]
        return self._forward(token_B[:, None], self.lengths, self.cache)

    def _forward(self, ids_BT: Tensor, lengths: Sequence[int], cache: DynamicCache) -> Tensor:
        held = cache.layers[0].keys.shape[2] if cache.layers else 0
        width = held + ids_BT.shape[1]
        length_B = torch.tensor(lengths, device=self.device)
        mask_BL = torch.arange(width, device=self.device) >= width - length_B[:, None]
        options = dict(self.options)
        if self.takes_positions:
            positions_BL = (mask_BL.long().cumsum(-1) - 1).clamp_(min=0)
            options["position_ids"] = positions_BL[:, held:]
        out = self.model(
            input_ids=ids_BT, attention_mask=mask_BL.long(), past_key_values=cache, use_cache=True, **options
        )
        return out.logits[:, -1]


def _padded(tensor_RKTD: Tensor, width: int) -> Tensor:
    """Zeros on the left of the positions, up to `width`."""
    return F.pad(tensor_RKTD, (0, 0, width - tensor_RKTD.shape[2], 0))


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Dropout off, and every module back to its own mode afterwards, also after an interrupt."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
