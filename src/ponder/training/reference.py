"""Reference log-probabilities: computed once, before the first step, and kept on disk.

After that the reference model is not needed: what a preference loss asks of it is two numbers a pair.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.records import explained, write_json_atomic
from ponder.models.logprobs import token_logprobs
from ponder.training.distributed import World, unshare
from ponder.training.preference_rows import Pair
from ponder.training.supervised import micro_batches

log = logging.getLogger("ponder")


@dataclass(frozen=True)
class PairLogps:
    """What a model says of a micro-batch of pairs.

    chosen_B, rejected_B: log-probabilities of the whole completions, in nats. chosen_tokens_B, rejected_tokens_B: the
    tokens that they sum over. entropy: summed over all those tokens, no gradient.
    """

    chosen_B: torch.Tensor
    rejected_B: torch.Tensor
    chosen_tokens_B: torch.Tensor
    rejected_tokens_B: torch.Tensor
    entropy: torch.Tensor


@dataclass(frozen=True)
class Referred:
    """A pair and its log-probabilities under the reference, in nats."""

    pair: Pair
    chosen: float
    rejected: float

    @property
    def length(self) -> int:
        """Padded tokens that the pair costs."""
        return self.pair.length


def pair_logps(model: Any, pairs: Sequence[Pair]) -> PairLogps:
    """Both sides of `pairs` in one forward pass, all chosen first; padded on the right. Carries the gradient."""
    sides = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    width = max(len(side.ids) for side in sides)
    device = next(model.parameters()).device
    ids_BT = torch.tensor([[*side.ids, *[0] * (width - len(side.ids))] for side in sides], device=device)
    mask_BT = torch.tensor([[*side.mask, *[0] * (width - len(side.ids))] for side in sides], device=device) != 0
    lengths_B = torch.tensor([len(side.ids) for side in sides], device=device)
    real_BT = torch.arange(width, device=device) < lengths_B[:, None]
    logp_BT, entropy_BT = token_logprobs(model, ids_BT, real_BT, mask_BT)
    chosen_B, rejected_B = logp_BT.sum(-1).chunk(2)
    chosen_tokens_B, rejected_tokens_B = mask_BT.sum(-1).chunk(2)
    return PairLogps(chosen_B, rejected_B, chosen_tokens_B, rejected_tokens_B, entropy_BT.sum())


def autocast(model: Any, bf16: bool) -> Any:
    """The context in which the training's own log-probabilities are taken."""
    if not bf16:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, torch.bfloat16)


def referred(
    pairs: Sequence[Pair], open_model: Callable[[], Any], kept: Path, key: dict[str, Any], world: World, *,
    token_budget: int, bf16: bool, label: str,
) -> list[Referred]:  # fmt: skip
    """`pairs` with their reference log-probabilities: those in the file `kept` where they answer to `key`, else of
    the model that `open_model` gives, which are then written there. Every rank calls this.

    key: what the numbers depend on (the rows, the weights). token_budget: padded tokens of a micro-batch.
    Raises PonderError where a log-probability is not finite: the reference cannot have said such a completion.
    """
    found = world.broadcast(_read(kept, key, len(pairs)) if world.first else None)
    if found is None:
        found = _compute(pairs, open_model(), world, token_budget, bf16, label)
        if world.first:
            with explained(kept):
                kept.parent.mkdir(parents=True, exist_ok=True)
            write_json_atomic(kept, {"key": key, "chosen": found[0], "rejected": found[1]})
    elif world.first:
        log.info("%s: %d reference log-probabilities are there already", kept, 2 * len(pairs))
    return [Referred(pair, chosen, rejected) for pair, chosen, rejected in zip(pairs, *found, strict=True)]


def weights_digest(model: Any) -> str:
    """A checksum of a model's weights: tells one checkpoint from another, at the speed of memory."""
    crc = 0
    for name, tensor in sorted(model.state_dict().items()):
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        crc = zlib.crc32(raw.numpy(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"


def _read(kept: Path, key: dict[str, Any], count: int) -> tuple[list[float], list[float]] | None:
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        chosen, rejected = content["chosen"], content["rejected"]
        numbers = all(isinstance(value, float) for value in (*chosen, *rejected))
        whole = content["key"] == key and numbers and len(chosen) == len(rejected) == count
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s); computing it again", kept, type(error).__name__)
        return None
    if not whole:
        log.warning("%s is of other rows or another model; computing it again", kept)
        return None
    return chosen, rejected


def _compute(
    pairs: Sequence[Pair], model: Any, world: World, token_budget: int, bf16: bool, label: str
) -> tuple[list[float], list[float]]:
    order = sorted(range(len(pairs)), key=lambda at: -pairs[at].length)
    parts = micro_batches(world.share(order), lambda at: pairs[at].length, token_budget)
    mine: list[tuple[float, float]] = []
    with Progress(len(parts), label, enabled=world.first) as progress, torch.no_grad(), autocast(model, bf16):
        for done, part in enumerate(parts, 1):
            logps = pair_logps(model, [pairs[at] for at in part])
            mine += zip(logps.chosen_B.tolist(), logps.rejected_B.tolist(), strict=True)
            progress.update(done)
    by_place = dict(zip(order, unshare(world.gather(mine)), strict=True))
    chosen, rejected = ([by_place[at][side] for at in range(len(pairs))] for side in (0, 1))
    for pair, *values in zip(pairs, chosen, rejected, strict=True):
        if not all(map(_finite, values)):
            raise PonderError(f"row {pair.row}: its reference log-probability is {values}; the reference is broken")
    return chosen, rejected


def _finite(value: float) -> bool:
    return value - value == 0.0
