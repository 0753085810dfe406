"""Preference optimisation (DPO, IPO, APO): pairs of completions, the reference's log-probabilities taken once.

The loop is `ponder.training.supervised`; the losses are `ponder.objectives.preference`. While it trains there is one
model in memory: the reference's numbers are computed before the first step and lie in `out_dir/reference`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator

from ponder.core.errors import PonderError
from ponder.core.records import explained, write_atomic
from ponder.models.load import load_model
from ponder.models.lora import LoraSettings, add_lora, load_adapter, merge_lora, save_adapter
from ponder.objectives.policy import merge_stats
from ponder.objectives.preference import SMOOTHED, LossType, PairTerms, preference_loss, summarise_pairs
from ponder.tasks.shapes import Preference
from ponder.training.checkpoint import load_weights, save_model
from ponder.training.distributed import World
from ponder.training.preference_rows import Pairs, Truncation, check_pairs, encode_pairs, warn_of
from ponder.training.prepare import check_machine, prepare
from ponder.training.reference import Referred, autocast, pair_logps, referred, weights_digest
from ponder.training.step import Stats
from ponder.training.supervised import Lesson, SupervisedSettings, micro_batches, train_supervised

log = logging.getLogger("ponder")

__all__ = ["PreferenceSettings", "preference_share", "train_preference"]


class PreferenceSettings(SupervisedSettings):
    """How to learn from pairs, under TRL's names."""

    learning_rate: float = Field(1e-6, gt=0)
    loss_type: LossType = "sigmoid"
    """sigmoid (DPO), ipo, apo_zero (chosen better than the model's own answers), apo_down (chosen worse)."""
    beta: float = Field(0.1, gt=0)
    """How dear it is to leave the reference; for ipo, the paper's tau."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """The share of pairs taken to be labelled the wrong way round; sigmoid only."""
    max_length: int = Field(0, ge=0)
    """Tokens of prompt and completion at most; 0: the model's context."""
    truncation: Truncation = "drop"
    """What becomes of a pair with a side longer than that: left out, its completion's end cut off, or an error."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the chat template, such as enable_thinking; a row's own come before them."""
    lora: LoraSettings | None = None
    """Train adapters instead of the whole model; the reference is the model without them."""

    @model_validator(mode="after")
    def _smoothing_is_known(self) -> PreferenceSettings:
        if self.label_smoothing and self.loss_type not in SMOOTHED:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, but {self.loss_type} knows none: set it to 0")
        if self.lora and self.lora.lora_dropout:
            raise ValueError(
                f"lora.lora_dropout is {self.lora.lora_dropout}, but the reference has none to be compared with: "
                "set it to 0"
            )
        return self


def train_preference(
    settings: PreferenceSettings,
    model: Any,
    tokenizer: Any,
    pairs: Sequence[Preference],
    out_dir: Path,
    world: World | None = None,
    *,
    validation: Sequence[Preference] = (),
    reference: str | Path | None = None,
    context_length: int | None = None,
    eos_ids: Sequence[int] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train `model`, in place, and write `out_dir/model`; returns the last step's metrics, `pairs` and `dropped`.

    Every rank calls this with equal arguments. The model must come as it was at the start, also when a stopped run goes
    on: the checkpoint's weights are loaded into it.

    validation: pairs of which the same figures are logged as `eval_…`. reference: a model by name or directory; the
    model itself, as it comes in, where not given. It is loaded only where its numbers are not on disk yet, and let go
    before the first step. context_length, eos_ids: the model's own where not given. config: for `config.json`.
    With LoRA `out_dir/adapter` holds the adapters, `out_dir/model` the merged model, and `model` is merged as well.
    `out_dir/template_check.txt` shows what is learnt of some chosen answers.
    Raises PonderError for what the user can mend, `Stopped` after Ctrl-C.
    """
    world, out_dir = world or World(), Path(out_dir)
    check_machine(model, settings.processes, settings.bf16, world)
    context = context_length or getattr(model.config, "max_position_embeddings", None)
    if context and settings.max_length > context:
        raise PonderError(f"max_length is {settings.max_length}, more than the model's context of {context} tokens")
    longest, ends = settings.max_length or context or 1 << 31, _ends(model, tokenizer, eos_ids)
    encode = partial(
        encode_pairs, tokenizer=tokenizer, max_length=longest, truncation=settings.truncation,
        arguments=settings.chat_template_kwargs, ends=ends,
    )  # fmt: skip
    taught, held = encode(pairs), encode(validation)
    if world.first:
        warn_of("training pairs", taught)
        warn_of("validation pairs", held)
    if not taught.pairs:
        raise PonderError(f"none of the {len(pairs)} pairs can be learnt from: {taught.counts or 'there are none'}")
    if world.first:
        _check(settings, tokenizer, pairs, taught, ends, out_dir)

    prepare(model, settings.gradient_checkpointing)
    device = next(model.parameters()).device
    budget = settings.token_budget or (4096 if device.type == "cpu" else 16384)
    source = str(reference) if reference is not None else world.broadcast(weights_digest(model) if world.first else "")
    sets = {"train": taught, "validation": held} if held.pairs else {"train": taught}
    rows = _referred(sets, model, tokenizer, reference, source, out_dir, world, budget, settings.bf16)

    net = model if settings.lora is None else add_lora(model, settings.lora, settings.seed)
    share = partial(preference_share, net, settings)
    lesson: Lesson[Referred, int] = Lesson(
        rows=rows["train"],
        length=lambda row: row.length,
        extent=len,
        loss=share,
        metrics=_metrics,
        evaluate=partial(_evaluate, net, settings, rows["validation"], budget, world) if held.pairs else None,
    )
    result = train_supervised(
        settings, lesson, net, tokenizer, out_dir, world, config=config, label="preference",
        identity={"pairs": taught.digest, "reference": source}, headline=("loss", "rewards/accuracies"),
        save=save_model if settings.lora is None else partial(_save_adapter, out_dir),
        load=load_weights if settings.lora is None else load_adapter,
    )  # fmt: skip
    if settings.lora is not None:
        merge_lora(net)
        if world.first:
            with explained(out_dir):
                save_model(out_dir / "model", model, tokenizer)
        world.gather(None)
    return {**result, "pairs": len(taught.pairs), "dropped": taught.counts, "cut": len(taught.cut)}


def preference_share(
    model: Any, settings: PreferenceSettings, rows: Sequence[Referred], pairs: int
) -> tuple[torch.Tensor, Stats]:
    """The share of a step's loss that `rows` are, of `pairs` pairs in the whole step; and statistics that add up."""
    logps = pair_logps(model, [row.pair for row in rows])
    device = logps.chosen_B.device
    terms = PairTerms(
        chosen_logp_B=logps.chosen_B,
        rejected_logp_B=logps.rejected_B,
        ref_chosen_logp_B=torch.tensor([row.chosen for row in rows], device=device),
        ref_rejected_logp_B=torch.tensor([row.rejected for row in rows], device=device),
        chosen_tokens_B=logps.chosen_tokens_B,
        rejected_tokens_B=logps.rejected_tokens_B,
    )
    loss, stats = preference_loss(terms, settings.loss_type, settings.beta, settings.label_smoothing, pairs)
    tokens = logps.chosen_tokens_B.sum() + logps.rejected_tokens_B.sum()
    return loss, {**stats, "entropy": logps.entropy, "tokens": tokens}


def _metrics(stats: Mapping[str, float], pairs: int) -> dict[str, float]:
    rest = dict(stats)
    tokens, entropy = rest.pop("tokens"), rest.pop("entropy")
    return {**summarise_pairs(rest, pairs), "entropy": entropy / max(tokens, 1)}


def _ends(model: Any, tokenizer: Any, eos_ids: Sequence[int] | None) -> tuple[int, ...]:
    """The tokens that end a completion, the tokenizer's own first: it is what texts end with."""
    told = eos_ids if eos_ids is not None else getattr(model.generation_config, "eos_token_id", None)
    more = [told] if isinstance(told, int) else list(told or ())
    first = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    return tuple(dict.fromkeys([*first, *more]))


def _check(
    settings: PreferenceSettings, tokenizer: Any, pairs: Sequence[Preference], taught: Pairs, ends: Sequence[int],
    out_dir: Path,
) -> None:  # fmt: skip
    report = check_pairs(tokenizer, pairs, taught, settings.chat_template_kwargs, ends)
    for warning in report.warnings:
        log.warning("%s", warning)
    with explained(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        write_atomic(out_dir / "template_check.txt", report.text)


def _save_adapter(out_dir: Path, path: Path, model: Any, tokenizer: Any) -> None:
    """Checkpoints hold the adapters alone; at the end they go to `out_dir/adapter`, for `model` is the merged one."""
    save_adapter(out_dir / "adapter" if path == out_dir / "model" else path, model, tokenizer)


def _referred(
    sets: Mapping[str, Pairs], model: Any, tokenizer: Any, reference: str | Path | None, source: str, out_dir: Path,
    world: World, budget: int, bf16: bool,
) -> dict[str, list[Referred]]:  # fmt: skip
    """Each set's rows with their reference numbers. Another reference model lives in this call alone."""
    other: list[Any] = []

    def open_reference() -> Any:
        if reference is None:
            return model
        if not other:
            loaded = load_model(reference, dtype=torch.float32, device=next(model.parameters()).device)
            if loaded.tokenizer.get_vocab() != tokenizer.get_vocab():
                raise PonderError(f"the reference {reference} has another vocabulary than the model; choose one alike")
            other.append(loaded.model)
        return other[0]

    rows = {}
    for name, found in sets.items():
        key = {"rows": found.digest, "reference": source, "bf16": bf16}
        rows[name] = referred(
            found.pairs, open_reference, out_dir / "reference" / f"{name}.json", key, world,
            token_budget=budget, bf16=bf16, label=f"reference ({name})",
        )  # fmt: skip
    return rows


def _evaluate(
    model: Any, settings: PreferenceSettings, rows: Sequence[Referred], budget: int, world: World, step: int
) -> dict[str, float]:
    parts = micro_batches(world.share(sorted(rows, key=lambda row: -row.length)), lambda row: row.length, budget)
    sums: Stats = {}
    with torch.no_grad(), autocast(model, settings.bf16):
        for part in parts:
            sums = merge_stats(sums, preference_share(model, settings, part, len(rows))[1])
    gathered = world.gather({name: float(value) for name, value in sums.items()})
    names = {name for part in gathered for name in part}
    total = {name: sum(part.get(name, 0.0) for part in gathered) for name in sorted(names)}
    return {f"eval_{name}": value for name, value in _metrics(total, len(rows)).items()}
