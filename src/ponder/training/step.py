"""One optimiser step: accumulate the shares of the loss, sum the gradient over the ranks, clip it, update.

The gradient is one flat float32 buffer, of which every parameter's `.grad` is a view: zeroing, summing over ranks and
taking the norm are one operation each, however many tensors the model has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from ponder.core.errors import PonderError
from ponder.objectives.policy import merge_stats
from ponder.training.distributed import World

P = TypeVar("P")

Stats = dict[str, torch.Tensor]


class Optimizer:
    """AdamW (arXiv 1711.05101) over a model's trainable parameters, with their gradient as one flat buffer.

    Matrices decay, vectors (norms, biases) do not. The parameters must be float32, on one device.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not parameters:
            raise PonderError("the model has no trainable parameter")
        if any(parameter.dtype != torch.float32 for parameter in parameters):
            raise PonderError("the trainable parameters must be float32; load the model with dtype=float32")
        self.gradient = torch.zeros(sum(p.numel() for p in parameters), device=parameters[0].device)
        offset = 0
        for parameter in parameters:
            parameter.grad = self.gradient[offset : offset + parameter.numel()].view_as(parameter)
            offset += parameter.numel()
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self.adamw = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=epsilon, fused=True)

    def apply(self, learning_rate: float) -> None:
        """Take one step along the gradient that is there."""
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.adamw.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.adamw.load_state_dict(state)


@dataclass(frozen=True)
class Update:
    """What an optimiser step did: its statistics summed over micro-batches and ranks, the gradient's norm before
    clipping, and whether it was applied (not, where the norm was infinite or undefined)."""

    stats: Stats
    grad_norm: float
    applied: bool


def update(
    optimizer: Optimizer,
    loss_of: Callable[[P], tuple[torch.Tensor, Stats]],
    parts: Iterable[P],
    *,
    learning_rate: float,
    max_grad_norm: float,
    world: World,
) -> Update:
    """Add up the shares of all `parts` on all ranks and take one step; every rank calls this, also one without parts.

    loss_of: (share of the step's loss, statistics that add up) of a part. The denominators are inside the shares, so
    the gradient does not depend on how the step is split. max_grad_norm: 0 never clips.
    A gradient that is not finite is not applied: one bad batch must not destroy the weights.
    """
    optimizer.gradient.zero_()
    stats: Stats = {}
    for part in parts:
        loss, sums = loss_of(part)
        loss.backward()
        stats = merge_stats(stats, sums)
    world.sum_(optimizer.gradient)
    # In double precision: summed in single, a million squares are off by 1e-4.
    grad_norm = float(torch.linalg.vector_norm(optimizer.gradient, dtype=torch.float64))
    applied = math.isfinite(grad_norm)
    if applied:
        if 0 < max_grad_norm < grad_norm:
            optimizer.gradient.mul_(max_grad_norm / grad_norm)
        optimizer.apply(learning_rate)
    return Update(_over_ranks(stats, world), grad_norm, applied)


def _over_ranks(stats: Stats, world: World) -> Stats:
    if world.size == 1:
        return stats
    names = sorted(stats)
    values = torch.stack([stats[name].double() for name in names]).tolist() if names else []
    gathered = world.gather(dict(zip(names, values, strict=True)))
    return merge_stats(*({name: torch.tensor(value) for name, value in part.items()} for part in gathered))


def learning_rate_at(
    step: int, height: float, schedule: str, warmup_steps: int, max_steps: int, min_ratio: float = 0.0
) -> float:
    """The learning rate of step 1..max_steps: a linear warm-up to `height`, then constant, or falling.

    The fall, linear or along half a cosine, starts at `height` in the first step after the warm-up and would reach
    `min_ratio` of it one step behind the last, so that no step is wasted.
    """
    if step <= warmup_steps:
        return height * step / warmup_steps
    if schedule == "constant":
        return height
    progress = (step - warmup_steps - 1) / max(1, max_steps - warmup_steps)
    left = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return height * (min_ratio + (1 - min_ratio) * left)
