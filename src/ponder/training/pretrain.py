"""Pre-training: next-token prediction over a stream of documents, one document a row.

Rows of like length share a batch, so there is next to no padding, attention never crosses documents, and every
document starts at position 0, as prompts do. Matrices learn by Muon, embeddings and vectors by AdamW.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.records import JsonlWriter, read_jsonl
from ponder.core.seeds import random_of
from ponder.training.checkpoint import (
    agree,
    load_optimizer,
    load_weights,
    newest_checkpoint,
    save_checkpoint,
    save_model,
)
from ponder.training.distributed import World
from ponder.training.step import Optimizer, Stats, learning_rate_at, update

Documents = Sequence[Sequence[int]]

MAX_NONFINITE = 3
"""Updates in a row whose gradient is not finite, after which training stops."""


class PretrainSettings(Settings):
    """How to pre-train."""

    max_steps: int = Field(2400, ge=1)
    tokens_per_step: int = Field(8192, ge=64)
    """Padded tokens of a step at most, over all processes."""
    learning_rate: float = Field(5e-3, gt=0)
    warmup_steps: int = Field(100, ge=0)
    min_lr_ratio: float = Field(0.05, ge=0, le=1)
    """The learning rate falls to this share of its height, along half a cosine."""
    weight_decay: float = Field(0.1, ge=0)
    max_grad_norm: float = Field(1.0, ge=0)
    save_steps: int = Field(200, ge=1)
    logging_steps: int = Field(10, ge=1)


class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024) for the matrices inside the layers, AdamW for everything else.

    Muon's update is scaled to AdamW's usual size (arXiv 2502.16982, eq. 4), so that both share one learning rate.
    """

    def __init__(self, model: Any, *, weight_decay: float) -> None:
        super().__init__(model, betas=(0.9, 0.98))
        embeddings = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
        parameters = list(model.parameters())
        inner = [p for p in parameters if p.dim() == 2 and id(p) not in embeddings]
        outer = [p for p in parameters if p.dim() != 2 or id(p) in embeddings]
        self.muon = torch.optim.Muon(inner, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(outer, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True)

    def apply(self, learning_rate: float) -> None:
        """Take one step along the gradient that is there."""
        for group in self.muon.param_groups:
            group["lr"] = learning_rate
        self.muon.step()
        super().apply(learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def pretrain(
    settings: PretrainSettings,
    model: Any,
    tokenizer: Any,
    block: Callable[[int], Documents],
    out_dir: Path,
    world: World,
    seed: object,
) -> Mapping[str, Any]:
    """Train `model` in place and write `out_dir/model`; returns loss and tokens (on rank 0, with
    `mean_loss` over the last 25 logged steps: batches of like length differ). Goes on from `out_dir`'s checkpoint.

    block(i): the token ids of the i-th block of documents, end tokens included; the same on every rank.
    """
    optimizer = MuonAdamW(model, weight_decay=settings.weight_decay)
    identity = {"processes": world.size, **settings.model_dump(mode="json", exclude={"save_steps", "logging_steps"})}
    step, at, index, tokens = 0, 0, 0, 0
    found = world.broadcast(newest_checkpoint(out_dir / "checkpoints") if world.first else None)
    if found is not None:
        agree(found, identity)
        load_weights(found.path / "model", model)
        optimizer.load_state_dict(load_optimizer(found.path / "optimizer.pt"))
        step, at, index, tokens = (found.state[key] for key in ("step", "block", "index", "tokens"))
    journal = None
    if world.first:
        journal = JsonlWriter(out_dir / "metrics.jsonl")
        journal.truncate_after("step", step)
    batches = batches_of(block(at), settings.tokens_per_step, (seed, at))
    row: dict[str, Any] = {}
    started, tokens_before, skipped = time.monotonic(), tokens, 0
    with Progress(settings.max_steps, "step", enabled=world.first) as progress:
        while step < settings.max_steps:
            if index == len(batches):
                at, index = at + 1, 0
                batches = batches_of(block(at), settings.tokens_per_step, (seed, at))
            batch, step, index = batches[index], step + 1, index + 1
            size = sum(len(document) - 1 for document in batch)
            rate = learning_rate_at(
                step, settings.learning_rate, "cosine", settings.warmup_steps, settings.max_steps, settings.min_lr_ratio
            )
            done = update(
                optimizer, partial(_loss, model, size), [world.share(batch)], learning_rate=rate,
                max_grad_norm=settings.max_grad_norm, world=world,
            )  # fmt: skip
            skipped = 0 if done.applied else skipped + 1
            if skipped >= MAX_NONFINITE:
                raise PonderError(
                    f"step {step}: the gradient was not finite {skipped} times in a row; the last checkpoint is whole: "
                    "lower pretrain.learning_rate"
                )
            tokens += size
            speed = (tokens - tokens_before) / (time.monotonic() - started)
            row = {
                "step": step, "loss": float(done.stats["loss"]), "grad_norm": done.grad_norm, "learning_rate": rate,
                "num_tokens": tokens, "updates_skipped": float(not done.applied), "perf/throughput": speed,
            }  # fmt: skip
            if journal and (step % settings.logging_steps == 0 or step == settings.max_steps):
                journal.write(row)
            progress.update(step, loss=row["loss"], **{"tok/s": speed})
            if step % settings.save_steps == 0 and world.first and step < settings.max_steps:
                state = {**identity, "step": step, "block": at, "index": index, "tokens": tokens}
                save_checkpoint(out_dir / "checkpoints", step, state, model, tokenizer, optimizer.state_dict())
    if journal:
        journal.close()
        last = read_jsonl(out_dir / "metrics.jsonl")[-25:]
        row = {**row, "mean_loss": sum(r["loss"] for r in last) / len(last)}
        save_model(out_dir / "model", model, tokenizer)
    return row


def batches_of(documents: Documents, tokens: int, seed: object) -> list[list[Sequence[int]]]:
    """Cut documents, sorted by length, into batches of at most `tokens` padded tokens, in an order keyed by `seed`."""
    batches: list[list[Sequence[int]]] = []
    batch: list[Sequence[int]] = []
    for document in sorted((d for d in documents if len(d) > 1), key=len):
        if batch and len(document) * (len(batch) + 1) > tokens:
            batches.append(batch)
            batch = []
        batch.append(document)
    if batch:
        batches.append(batch)
    random_of("batches", seed).shuffle(batches)
    return batches


def _loss(model: Any, size: int, rows: Documents) -> tuple[torch.Tensor, Stats]:
    """This rank's share of the mean negative log-likelihood of the step's `size` predicted tokens."""
    device = next(model.parameters()).device
    if not rows:
        zero = torch.zeros((), device=device, requires_grad=True)
        return zero, {"loss": zero.detach()}
    longest = max(map(len, rows))
    ids_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    lengths_B = torch.tensor([len(row) for row in rows], device=device)
    keep_BT = torch.arange(longest - 1, device=device) < lengths_B[:, None] - 1
    # Padding stands on the right of causal rows, so no document can see it and no mask is needed.
    hidden_BTD = model.get_decoder()(input_ids=ids_BT, use_cache=False).last_hidden_state
    logits_NV = model.get_output_embeddings()(hidden_BTD[:, :-1][keep_BT]).float()
    loss = F.cross_entropy(logits_NV, ids_BT[:, 1:][keep_BT], reduction="sum") / size
    return loss, {"loss": loss.detach()}
