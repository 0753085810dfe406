"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft: put on, trained alone, saved, and merged into the model."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of


class LoraSettings(Settings):
    """Adapters instead of the whole model, under peft's names."""

    r: int = Field(16, ge=1)
    """Rank of each adapter."""
    lora_alpha: int = Field(32, ge=1)
    """The adapter's output is multiplied by lora_alpha / r."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the adapter's inputs that are set to 0 in training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Names of the modules that get an adapter, or all-linear: every linear layer but the head."""


def add_lora(model: Any, settings: LoraSettings, seed: int = 0) -> Any:
    """`model` inside peft's wrapper: adapters on its target modules, in place, and all else frozen.

    The adapters' first weights are a function of `seed`; the model does as before, for each begins as zero.
    Raises PonderError where peft is not installed, or a target module is not in the model.
    """
    try:
        import peft
    except ImportError as error:
        raise PonderError("lora needs peft; pip install peft, or train the whole model (lora=null)") from error
    targets = settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
    config = peft.LoraConfig(
        r=settings.r, lora_alpha=settings.lora_alpha, lora_dropout=settings.lora_dropout, target_modules=targets,
        bias="none", task_type="CAUSAL_LM",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("lora", seed))
        try:
            return peft.get_peft_model(model, config)
        except ValueError as error:
            said = " ".join(str(error).split())[:160]
            raise PonderError(f"lora.target_modules is {settings.target_modules!r}: {said}") from error


def save_adapter(path: Path, model: Any, tokenizer: Any) -> None:
    """Write the adapters alone, in peft's layout, and the tokenizer beside them."""
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path, save_embedding_layers=False)
    if tokenizer is not None:
        tokenizer.save_pretrained(path)


def load_adapter(path: Path, model: Any) -> None:
    """Copy saved adapters into those of `model`, bit for bit. Raises PonderError where they are of another shape."""
    from peft import set_peft_model_state_dict
    from peft.utils import load_peft_weights

    try:
        result: Any = set_peft_model_state_dict(model, load_peft_weights(str(path), device="cpu"))
    except RuntimeError as error:
        raise PonderError(f"{path} holds adapters of another shape; begin in another folder") from error
    if result.unexpected_keys:
        raise PonderError(f"{path} holds adapters for {result.unexpected_keys[0]}, which this model has not")


def merge_lora(model: Any) -> Any:
    """The plain model, each adapter added to the weights that it stood beside; in place, so nothing is copied."""
    merged = model.merge_and_unload()
    merged.requires_grad_(True)
    return merged


def droppers(model: Any) -> list[torch.nn.Dropout]:
    """The adapters' dropout modules that drop anything; none in a model without adapters."""
    named = model.named_modules()
    return [m for name, m in named if ".lora_dropout." in name and isinstance(m, torch.nn.Dropout) and m.p > 0]


@contextmanager
def seeded_dropout(model: Any, *names: object) -> Iterator[None]:
    """Inside, what is dropped is a function of `names` and of the adapters' weights.

    The weights stand for the step: they are what a checkpoint puts back, so a run that goes on drops the same.
    """
    told = next(parameter for name, parameter in model.named_parameters() if "lora_B" in name)
    with torch.random.fork_rng(devices=[told.device] if told.is_cuda else []):
        torch.manual_seed(seed_of("dropout", zlib.crc32(told.detach().cpu().numpy().tobytes()), *names))
        yield
