"""What is done to a model, and asked of the machine, before the first step of any training."""

from __future__ import annotations

from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.training.distributed import World, under_torchrun


def check_machine(model: Any, processes: int, bf16: bool, world: World) -> None:
    """Raise PonderError where `processes` or `bf16` cannot be had here."""
    if processes not in (0, world.size) and not under_torchrun():
        raise PonderError(
            f"processes is {processes}, but {world.size} run: start them with "
            "ponder.training.distributed.launch, or set processes to 0"
        )
    device = next(model.parameters()).device
    if bf16 and not (device.type == "cuda" and torch.cuda.is_bf16_supported()):
        raise PonderError(f"bf16 is on, but this {device.type} has no fast bfloat16; set bf16=false")


def prepare(model: Any, gradient_checkpointing: bool) -> None:
    """Float32 weights, and no dropout: the model that learns is the one that is sampled and measured."""
    model.float()
    model.eval()
    if gradient_checkpointing:
        # The name is another from transformers 5.23 on.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        try:
            enable({"use_reentrant": False})
        except ValueError as error:
            raise PonderError(f"gradient_checkpointing is on, but {error}; set gradient_checkpointing=false") from error
        for module in model.modules():
            if getattr(module, "gradient_checkpointing", False):
                module.training = True  # this module alone, not its children: they would switch their dropout on
