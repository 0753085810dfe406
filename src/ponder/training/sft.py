"""Supervised fine-tuning: the negative log-likelihood of what the model should have written, whole or as LoRA.

The loss is the mean over all learnt tokens of a step, on all ranks: neither the split into micro-batches nor the
packing nor the number of processes changes it. Dropout apart, a row counts the same in a pack as alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from ponder.core.errors import PonderError
from ponder.core.records import explained, write_atomic
from ponder.models.encode import Encoded
from ponder.models.lora import LoraSettings, add_lora, droppers, load_adapter, merge_lora, save_adapter, seeded_dropout
from ponder.models.packed_attention import check_packed_attention, packed_attention
from ponder.models.template_check import check_template
from ponder.models.token_scores import score_tokens
from ponder.objectives.policy import merge_stats
from ponder.tasks.shapes import Example
from ponder.training.checkpoint import load_weights, save_model
from ponder.training.distributed import World
from ponder.training.packing import pack
from ponder.training.sft_rows import Truncation, digest, take_rows
from ponder.training.step import Stats
from ponder.training.supervised import Lesson, SupervisedSettings, micro_batches, train_supervised

log = logging.getLogger("ponder")

TEMPLATE_CHECK = "template_check.txt"

Pack = tuple[Encoded, ...]
"""Rows that share a row; one row alone where nothing is packed."""


class SFTSettings(SupervisedSettings):
    """How to fine-tune on rows, under TRL's names."""

    max_length: int = Field(1024, ge=0)
    """Tokens of a row, or of a pack, at most; 0 is the model's context."""
    truncation: Truncation = "drop"
    """What becomes of longer rows: left out and counted, cut at the end, or an error that names them."""
    packing: bool = False
    """Lay short rows together, up to max_length; each sees only itself. `batch_size` then counts packs."""
    assistant_only_loss: bool = True
    """Of `messages` rows, learn the assistant's turns only (every one); false: every token."""
    completion_only_loss: bool = True
    """Of `prompt` + `completion` rows, learn the completion only; false: the prompt too."""
    eos_token: str = ""
    """The token that ends a turn, where the tokenizer names another than the template writes."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the chat template, such as enable_thinking."""
    lora: LoraSettings | None = None
    """Train adapters instead of the whole model."""


@dataclass(frozen=True)
class SFTExtent:
    """A whole step: its learnt tokens (the loss's denominator), all its tokens, its packs."""

    learnt: int
    tokens: int
    packs: int

    @classmethod
    def of(cls, packs: Sequence[Pack]) -> SFTExtent:
        """Counted over all rows on all ranks."""
        rows = [row for one in packs for row in one]
        return cls(sum(row.learnt for row in rows), sum(map(len, rows)), len(packs))


def train_sft(
    settings: SFTSettings, model: Any, tokenizer: Any, examples: Sequence[Example], out_dir: Path,
    world: World | None = None, *, validation: Sequence[Example] = (), context_length: int | None = None,
    eos_ids: Sequence[int] | None = None, config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train `model`, in place, and write `out_dir/model`; returns the last step's metrics and what was dropped.

    Every rank calls this with equal arguments. examples, validation: `Text`, `Chat` or `Completed` rows. eos_ids:
    tokens that end a generation; the model's and the tokenizer's where not given; the saved model has them.
    With LoRA `out_dir/adapter` holds the adapters, `out_dir/model` the merged model, and `model` is merged as well.
    `out_dir/template_check.txt` shows what is learnt of some rows. Goes on from the newest checkpoint in `out_dir`.
    Raises PonderError before the first step for rows, templates or lengths that do not do; `Stopped` after Ctrl-C.
    """
    world, out_dir = world or World(), Path(out_dir)
    ends = _set_ends(model, tokenizer, settings.eos_token, eos_ids)
    context = context_length or getattr(model.config, "max_position_embeddings", None)
    limit = _limit(settings.max_length, context, "max_length" in settings.model_fields_set)
    how: dict[str, Any] = dict(
        max_length=limit, truncation=settings.truncation, ends=ends, assistant_only=settings.assistant_only_loss,
        completion_only=settings.completion_only_loss, template_arguments=settings.chat_template_kwargs, world=world,
    )  # fmt: skip
    taken = take_rows(tokenizer, examples, **how)
    held = take_rows(tokenizer, validation, what="validation rows", **how).rows if validation else ()
    if world.first:
        _check(settings, tokenizer, examples, taken.rows, ends, out_dir)
    net = model if settings.lora is None else add_lora(model, settings.lora, settings.seed)
    with ExitStack() as attention:
        if settings.packing:
            attention.enter_context(packed_attention(model))
            device = next(model.parameters()).device.type
            with torch.autocast(device, torch.bfloat16, enabled=settings.bf16 and device == "cuda"):
                check_packed_attention(model, len(tokenizer))
        lesson = _lesson(settings, net, taken.rows, held, limit, world)
        lora = settings.lora is not None
        result = train_supervised(
            settings, lesson, net, tokenizer, out_dir, world, config=config,
            identity={"examples": digest(examples, tokenizer)},
            save=_adapter_saver(out_dir) if lora else save_model, load=load_adapter if lora else load_weights,
            headline=("loss", "token_accuracy"),
        )  # fmt: skip
    if lora:
        merge_lora(net)
        if world.first:
            with explained(out_dir):
                save_model(out_dir / "model", model, tokenizer)
        world.gather(None)
    return {**result, "rows": len(taken.rows), "dropped": taken.counts, "cut": len(taken.cut)}


def _lesson(
    settings: SFTSettings, model: Any, rows: Sequence[Encoded], held: Sequence[Encoded], limit: int, world: World
) -> Lesson[Pack, SFTExtent]:
    packs = pack(rows, len, limit) if settings.packing else [(row,) for row in rows]
    dropping = droppers(model)

    def loss(part: Sequence[Pack], extent: SFTExtent) -> tuple[torch.Tensor, Stats]:
        together = [row for one in part for row in one]
        with ExitStack() as seeded:
            for module in dropping:  # they stay on for the backward pass: checkpointed layers run again in it
                module.train()
            if dropping:
                seeded.enter_context(seeded_dropout(model, settings.seed, [row.row for row in together]))
            sums = token_sums(model, together, settings.packing)
        return sums["nll"] / extent.learnt, {name: value.detach() for name, value in sums.items()}

    def metrics(sums: Mapping[str, float], extent: SFTExtent) -> dict[str, float]:
        row = {
            "loss": sums["nll"] / extent.learnt, "token_accuracy": sums["right"] / extent.learnt,
            "entropy": sums["entropy"] / extent.learnt, "learnt_tokens": float(extent.learnt),
        }  # fmt: skip
        if settings.packing:
            row["batch/packing_ratio"] = extent.tokens / (extent.packs * limit)
        return row

    def evaluate(step: int) -> dict[str, float]:
        for module in dropping:
            module.eval()
        return evaluate_rows(model, held, settings.token_budget or 4096, settings.packing, settings.bf16, world)

    return Lesson(
        rows=packs, length=lambda one: sum(map(len, one)), extent=SFTExtent.of, loss=loss, metrics=metrics,
        evaluate=evaluate if held else None,
    )  # fmt: skip


def token_sums(model: Any, rows: Sequence[Encoded], packed: bool = False) -> Stats:
    """Sums over the learnt tokens of `rows`: nll (with its gradient), entropy, and right, the tokens that the model
    would have chosen."""
    scores = score_tokens(model, rows, packed)
    entropy, right = scores.entropy_N.double().sum(), scores.right_N.double().sum()
    return {"nll": -scores.logp_N.sum(), "entropy": entropy, "right": right}


@torch.no_grad()
def evaluate_rows(
    model: Any, rows: Sequence[Encoded], token_budget: int, packed: bool, bf16: bool, world: World
) -> dict[str, float]:
    """`eval_loss` and `eval_token_accuracy`: means over the learnt tokens of `rows`, shared out among the ranks."""
    device = next(model.parameters()).device
    sums: Stats = {"nll": torch.zeros(()), "right": torch.zeros(())}
    mine = world.share(sorted(rows, key=len, reverse=True))
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for part in micro_batches(mine, len, token_budget):
            found = token_sums(model, part, packed)
            sums = merge_stats(sums, {name: found[name].double().cpu() for name in sums})
    whole = world.gather({name: float(value) for name, value in sums.items()})
    learnt = sum(row.learnt for row in rows)
    nll, right = (sum(part[name] for part in whole) / learnt for name in ("nll", "right"))
    return {"eval_loss": nll, "eval_token_accuracy": right}


# Before and after ---------------------------------------------------------------------------------------------


def _set_ends(model: Any, tokenizer: Any, eos_token: str, eos_ids: Sequence[int] | None) -> tuple[int, ...]:
    """The tokens that end a generation, `eos_token` first; model and tokenizer are told, so that the saved model
    stops where it has learnt to."""
    if eos_token:
        if eos_token not in tokenizer.get_vocab():
            raise PonderError(f"eos_token is {eos_token!r}, which is no token of this tokenizer")
        tokenizer.eos_token = eos_token
    generation = getattr(model, "generation_config", None)
    told = eos_ids if eos_ids is not None else getattr(generation, "eos_token_id", None)
    own = [told] if isinstance(told, int) else list(told or ())
    first = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    ends = tuple(dict.fromkeys([*first, *own]))
    if not ends:
        raise PonderError("neither model nor tokenizer has an end token; set eos_token")
    if generation is not None:
        generation.eos_token_id = list(ends)
    return ends


def _limit(max_length: int, context: int | None, asked: bool) -> int:
    """Tokens of a row at most. asked: the user said so, and is told where it is too much."""
    if context and max_length > context and not asked:
        return int(context)
    if max_length and context and max_length > context:
        raise PonderError(f"max_length is {max_length}, more than the model's context ({context}); lower it, or set 0")
    if not max_length and not context:
        raise PonderError("max_length is 0 and the model does not tell its context; set max_length")
    return max_length or int(context or 0)


def _check(
    settings: SFTSettings, tokenizer: Any, examples: Sequence[Example], rows: Sequence[Encoded], ends: Sequence[int],
    out_dir: Path,
) -> None:  # fmt: skip
    report = check_template(
        tokenizer, examples, rows, ends=ends, template_arguments=settings.chat_template_kwargs
    )  # fmt: skip
    for warning in report.warnings:
        log.warning("%s", warning)
    with explained(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        write_atomic(out_dir / TEMPLATE_CHECK, report.text)
    log.info("what is learnt of some rows stands in %s", out_dir / TEMPLATE_CHECK)


def _adapter_saver(out_dir: Path) -> Any:
    """Checkpoints hold the adapters alone; at the end they go to `out_dir/adapter`, for `model` is the merged one."""

    def save(path: Path, model: Any, tokenizer: Any) -> None:
        save_adapter(out_dir / "adapter" if path == out_dir / "model" else path, model, tokenizer)

    return save
