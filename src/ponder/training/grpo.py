"""GRPO and its family: the loop, and one step of it.

A step, from prompts to new weights, reads: `grpo_step` here, then `collect` (the groups), `batch` (the tensors), and
`step.update` (the optimiser). What is optimised is in `ponder.objectives`.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.records import JsonlWriter, explained, read_jsonl, write_json_atomic
from ponder.core.types import Group, Problem, Sampler
from ponder.models.logprobs import token_logprobs
from ponder.objectives import FAMILY, Extent, PolicyTerms, has_gradient, policy_loss, summarise
from ponder.rewards import Reward
from ponder.sampling.local import LocalSampler
from ponder.training.batch import Batch, Row, rows_of, split
from ponder.training.checkpoint import agree, load_optimizer, load_weights, newest_checkpoint, save_checkpoint, save_model
from ponder.training.collect import Clock, Collected, Render, RewardFn, collect
from ponder.training.distributed import World, under_torchrun
from ponder.training.journal import Record, machine_metrics, rollout_metrics, write_samples
from ponder.training.questions import check_lengths, usable
from ponder.training.settings import HARMLESS, GRPOSettings
from ponder.training.step import Optimizer, Stats, Update, learning_rate_at, update

log = logging.getLogger("ponder")


class Stopped(KeyboardInterrupt):
    """Ctrl-C, obeyed at the end of a step: the checkpoint is written, and the same command goes on from it."""


@dataclass(frozen=True)
class Observer:
    """Behaviour metrics, injected: `sums` of a rank's groups add up key by key, `metrics` reads the whole step's."""

    sums: Callable[[Sequence[Group]], Mapping[str, float]]
    metrics: Callable[[Mapping[str, float]], Mapping[str, float]]


@dataclass(frozen=True)
class Place:
    """How far a run is; with the weights and the optimiser's state, all that it needs to go on."""

    step: int = 0
    cursor: int = 0
    num_tokens: int = 0
    skipped_in_a_row: int = 0


@dataclass(frozen=True)
class Team:
    """All that a step works with. Only the policy, the reference and the optimiser change."""

    settings: GRPOSettings
    policy: Any
    reference: Any
    optimizer: Optimizer
    sampler_of: Callable[[int], Sampler]
    problems: tuple[Problem, ...]
    render: Render
    reward: RewardFn
    world: World
    observe: Observer | None

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        return self.optimizer.gradient.device

    def autocast(self) -> torch.autocast:
        """bf16 compute, where it was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16)


# ---- one step ----


def grpo_step(team: Team, place: Place) -> tuple[Place, dict[str, Any], Collected, list[list[float]]]:
    """Sample, grade, and update the policy. Returns the new place, the metrics, the groups and their advantages."""
    settings, world, step, clock = team.settings, team.world, place.step + 1, Clock()
    variant = FAMILY[settings.loss_type]
    with clock("step"):
        with team.autocast():
            sampler = team.sampler_of(place.step)
            collected = collect(
                settings, sampler, team.problems, team.render, team.reward, world, step, place.cursor, clock
            )
        records, groups = collected.records, collected.groups
        with clock("adv"):
            advantages = _advantages(team, records)
        rate = learning_rate_at(
            step, settings.learning_rate, settings.lr_scheduler_type, settings.warmup_steps, settings.max_steps,
            settings.min_lr_ratio,
        )  # fmt: skip
        updates: list[Update] = []
        mini_batches = []
        for places in _mini_batches(len(records), settings.num_mini_batches):
            if not any(has_gradient(advantages[i], settings.policy) for i in places):
                continue  # on every rank: there is nothing to learn
            rows: list[Row] = []
            for i in places:
                group = groups[i]
                if group is not None and has_gradient(advantages[i], settings.policy):
                    rows += rows_of(group, advantages[i], settings.mask_truncated_completions)
            extent = _extent(settings, [records[i] for i in places])
            mini_batches.append(([_batch(team, part, clock) for part in split(rows, settings.token_budget)], extent))
        with clock("update"):
            for _ in range(settings.num_iterations):
                for parts, extent in mini_batches:

                    def loss_of(batch: Batch, extent: Extent = extent) -> tuple[torch.Tensor, Stats]:
                        logp_BT, entropy_BT = _logprobs(team, team.policy, batch)
                        terms = PolicyTerms(
                            advantages_B=batch.advantages_B,
                            mask_BT=batch.mask_BT,
                            old_logp_BT=batch.old_logp_BT,
                            ref_logp_BT=batch.ref_logp_BT,
                            sampler_logp_BT=batch.sampler_logp_BT,
                        )
                        loss, stats = policy_loss(logp_BT, terms, variant, extent, settings.policy)
                        return loss, {**stats, "entropy": (entropy_BT * batch.mask_BT).sum()}

                    done = update(
                        team.optimizer, loss_of, parts, learning_rate=rate, max_grad_norm=settings.max_grad_norm,
                        world=world,
                    )  # fmt: skip
                    updates.append(done)
                    place = replace(place, skipped_in_a_row=0 if done.applied else place.skipped_in_a_row + 1)
                    if not done.applied:
                        _report_nonfinite(step, place.skipped_in_a_row, settings.max_nonfinite)
        if settings.sync_ref_model and step % settings.ref_model_sync_steps == 0:
            _mix(team.reference, team.policy, settings.ref_model_mixup_alpha)
    place = replace(place, step=step, cursor=collected.cursor, num_tokens=place.num_tokens + collected.tokens)
    parts = [part for parts, _ in mini_batches for part in parts]
    return place, _metrics(team, place, collected, updates, parts, rate, clock), collected, advantages


def _advantages(team: Team, records: Sequence[Record]) -> list[list[float]]:
    """One list a group, in the order of its known rewards; empty where none is known."""
    known = [record.rewards for record in records if record.rewards]
    given = iter(FAMILY[team.settings.loss_type].advantages(known, team.settings.policy))
    return [next(given) if record.rewards else [] for record in records]


def _mini_batches(groups: int, count: int) -> list[list[int]]:
    """The places of a step's groups, cut into `count` runs of neighbours; ranks take every n-th, so each has some of each."""
    return [[i for i in range(groups) if i * count // groups == part] for part in range(count)]


def _extent(settings: GRPOSettings, records: Sequence[Record]) -> Extent:
    """The denominators of an optimiser step: all its graded completions, also those that cost no backward pass."""
    lengths = []
    for record in records:
        for answer in record.answers:
            if answer.reward is not None and answer.length:
                masked = settings.mask_truncated_completions and answer.finish == "length"
                lengths.append(0 if masked else answer.length)
    return Extent.of_lengths(lengths, settings.max_completion_length)


def _batch(team: Team, rows: Sequence[Row], clock: Clock) -> Batch:
    """The tensors of a micro-batch, with the log-probabilities that stay fixed while the policy moves."""
    batch = Batch.of(rows, device=team.device)
    if team.settings.updates_per_step > 1:
        old_logp_BT = batch.sampler_logp_BT
        if bool(old_logp_BT.isnan().any()):  # the sampler could not say; else its log-probabilities are the trainer's
            with clock("old_log_prob"), torch.no_grad():
                old_logp_BT, _ = _logprobs(team, team.policy, batch)
        batch = replace(batch, old_logp_BT=old_logp_BT)
    if team.reference is not None:
        with clock("ref"), torch.no_grad():
            ref_logp_BT, _ = _logprobs(team, team.reference, batch)
        batch = replace(batch, ref_logp_BT=ref_logp_BT)
    return batch


def _logprobs(team: Team, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    with team.autocast():
        return token_logprobs(
            model, batch.input_ids_BT, batch.attention_mask_BT, batch.completion_mask_BT, team.settings.temperature
        )


def _report_nonfinite(step: int, in_a_row: int, limit: int) -> None:
    log.warning("step %d: the gradient is not finite; the update was skipped (%d in a row)", step, in_a_row)
    if in_a_row >= limit:
        raise PonderError(
            f"step {step}: the gradient was not finite {in_a_row} times in a row; the last checkpoint is whole: "
            "lower learning_rate or max_grad_norm, and look at the last samples"
        )


@torch.no_grad()
def _mix(reference: Any, policy: Any, alpha: float) -> None:
    for old, new in zip(reference.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, alpha)


def _metrics(
    team: Team,
    place: Place,
    collected: Collected,
    updates: Sequence[Update],
    parts: Sequence[Batch],
    rate: float,
    clock: Clock,
) -> dict[str, Any]:
    told = [summarise(done.stats) | _entropy(done.stats) for done in updates]
    row: dict[str, Any] = {"step": place.step, "loss": 0.0, "grad_norm": 0.0}
    for name in told[0] if told else ():
        values = [metrics[name] for metrics in told]
        row[name] = max(values) if name.endswith("/max") else sum(values) / len(values)
    if updates:
        row["grad_norm"] = sum(done.grad_norm for done in updates) / len(updates)
    row["updates_skipped"] = sum(not done.applied for done in updates)
    row["learning_rate"] = rate
    row |= rollout_metrics(collected.records)
    if team.settings.dynamic_sampling:
        row["dynamic_sampling/rounds"] = collected.rounds
        for reason in ("all right", "all wrong", "unknown", "surplus"):
            dropped = sum(told == reason for _, told in collected.dropped)
            row[f"dynamic_sampling/dropped_{reason.replace(' ', '_')}"] = dropped
    if team.observe is not None:
        mine = team.observe.sums([group for group in collected.groups if group is not None])
        whole: dict[str, float] = {}
        for sums in team.world.gather(dict(mine)):
            for name, value in sums.items():
                whole[name] = whole.get(name, 0.0) + value
        row |= team.observe.metrics(whole)
    padded = sum(part.input_ids_BT.numel() for part in parts)
    if padded:
        row["batch/pad_frac"] = 1 - sum(float(part.attention_mask_BT.sum()) for part in parts) / padded
    row["num_tokens"] = place.num_tokens
    for name in ("gen", "reward", "old_log_prob", "ref", "adv", "update", "step"):
        row[f"timing_s/{name}"] = clock.seconds.get(name, 0.0)
    row["step_time"] = clock.seconds["step"]
    return row | machine_metrics(collected.tokens, clock.seconds["step"])


def _entropy(stats: Mapping[str, torch.Tensor]) -> dict[str, float]:
    return {"entropy": float(stats["entropy"]) / max(float(stats["tokens"]), 1.0)}


# ---- the loop ----


def train_grpo(
    settings: GRPOSettings,
    model: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    reward: RewardFn,
    out_dir: Path,
    render: Render,
    world: World | None = None,
    evaluate: Callable[[int], Mapping[str, Any] | None] | None = None,
    *,
    observe: Observer | None = None,
    sampler_of: Callable[[int], Sampler] | None = None,
    context_length: int | None = None,
    eos_ids: Sequence[int] | None = None,
    resume: bool = True,
) -> dict[str, Any]:
    """Train `model`, in place, and write `out_dir/model`; returns the last step's metrics and what was dropped.

    Every rank calls this with equal arguments (`ponder.training.distributed.launch`).

    reward: what `ponder.rewards.compose` returns, or a function of the same shape. render: a problem as the prompt's text.
    evaluate(step): called on every rank every `eval_steps`; rank 0's mapping joins the step's metrics. It must not touch
    the weights or torch's global generator. observe: behaviour metrics of the samples. sampler_of(step): another
    sampler than the local one; it must sample from `model` as it is then. resume: go on from the checkpoint in
    `out_dir`, if there is one, and end with the very weights of a run that was never stopped.

    Raises PonderError for what the user can mend, before the first step wherever that is possible; `Stopped` after Ctrl-C.
    """
    world, out_dir = world or World(), Path(out_dir)
    _check_machine(settings, model, world)
    if settings.reward_weights is not None:
        if not isinstance(reward, Reward):
            raise PonderError("reward_weights needs a reward made by compose; leave it out, or weigh inside the reward")
        reward = reward.reweighted(settings.reward_weights)
    intake = usable(problems, settings.questions_per_step)
    context = context_length or getattr(model.config, "max_position_embeddings", None)
    if context is not None:
        texts = _encoder(tokenizer)
        check_lengths(intake.problems, render, texts, settings.max_completion_length, context)

    _prepare(model, settings)
    reference = copy.deepcopy(model).requires_grad_(False) if settings.beta > 0 else None
    optimizer = Optimizer(
        model,
        betas=(settings.adam_beta1, settings.adam_beta2),
        epsilon=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
    )
    if sampler_of is None:

        def sampler_of(step: int) -> Sampler:
            return LocalSampler(
                model, tokenizer, context_length=context, eos_ids=None if eos_ids is None else tuple(eos_ids), version=step
            )

    team = Team(
        settings=settings, policy=model, reference=reference, optimizer=optimizer, sampler_of=sampler_of,
        problems=intake.problems, render=render, reward=reward, world=world, observe=observe,
    )  # fmt: skip
    identity = _identity(team)
    place = _go_on(team, out_dir, identity) if resume else _begin(world, out_dir)
    journal = _Journal(out_dir, settings, place.step) if world.first else None
    row: dict[str, Any] = {}
    with _ctrl_c(world) as asked, Progress(settings.max_steps, "step", enabled=world.first) as progress:
        while place.step < settings.max_steps:
            place, row, collected, advantages = grpo_step(team, place)
            if evaluate is not None and settings.eval_steps and place.step % settings.eval_steps == 0:
                row |= evaluate(place.step) or {}
            if journal is not None:
                journal.write(row, collected, advantages)
                progress.update(place.step, **_headline(row))
            last = place.step == settings.max_steps
            stop = world.broadcast(asked.is_set()) and not last
            if stop or last or place.step % settings.save_steps == 0:
                if journal is not None:
                    journal.sync()
                    _save(team, tokenizer, out_dir, place, identity)
                world.gather(None)
            if stop:
                raise Stopped(f"stopped after step {place.step}; run the same command again to go on")
    if journal is not None:
        journal.close()
        with explained(out_dir):
            save_model(out_dir / "model", model, tokenizer)
        row = row or read_jsonl(out_dir / "metrics.jsonl")[-1]
    world.gather(None)
    return world.broadcast({**row, "problems": len(intake.problems), "dropped": dict(intake.dropped)})


def _check_machine(settings: GRPOSettings, model: Any, world: World) -> None:
    if settings.processes not in (0, world.size) and not under_torchrun():
        raise PonderError(f"processes is {settings.processes}, but {world.size} run; start them with launch()")
    device = next(model.parameters()).device
    if settings.bf16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise PonderError("bf16 is on, but this GPU has no bfloat16; set bf16=false")
    if settings.bf16 and device.type == "cpu":
        raise PonderError("bf16 is on, but on a CPU it is slower than float32; set bf16=false")


def _encoder(tokenizer: Any) -> Callable[[list[str]], list[list[int]]]:
    """Prompts as the local sampler reads them: with a beginning-of-text token only where the tokenizer puts one."""
    bos = getattr(tokenizer, "bos_token_id", None)
    puts_bos = bos is not None and tokenizer("")["input_ids"][:1] == [bos]

    def encode(texts: list[str]) -> list[list[int]]:
        all_ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [[bos, *ids] if puts_bos and ids[:1] != [bos] else ids for ids in all_ids]

    return encode


def _prepare(model: Any, settings: GRPOSettings) -> None:
    """Float32 weights, and no dropout: the policy that learns is the one that sampled."""
    model.float()
    model.eval()
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for module in model.modules():
            if getattr(module, "gradient_checkpointing", False):
                module.training = True  # this module alone, not its children: they would switch their dropout on


def _identity(team: Team) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    settings = team.settings.model_dump(mode="json")
    content = hashlib.sha256("".join(problem.id for problem in team.problems).encode()).hexdigest()[:16]
    kept = {f"settings.{name}": value for name, value in settings.items() if name not in HARMLESS | {"processes"}}
    return {"processes": team.world.size, "problems": content, **kept}


def _begin(world: World, out_dir: Path) -> Place:
    if world.first:
        for name in ("checkpoints", "samples", "model"):
            shutil.rmtree(out_dir / name, ignore_errors=True)
    world.gather(None)
    return Place()


def _go_on(team: Team, out_dir: Path, identity: Mapping[str, Any]) -> Place:
    found = team.world.broadcast(newest_checkpoint(out_dir / "checkpoints") if team.world.first else None)
    if found is None:
        return Place()
    agree(found, identity)
    load_weights(found.path / "model", team.policy)
    if (found.path / "reference").exists():
        load_weights(found.path / "reference", team.reference)
    team.optimizer.load_state_dict(load_optimizer(found.path / "optimizer.pt"))
    place = Place(**found.state["place"])
    if team.world.first:
        log.info("going on from step %d", place.step)
    return place


def _save(team: Team, tokenizer: Any, out_dir: Path, place: Place, identity: Mapping[str, Any]) -> None:
    save_checkpoint(
        out_dir / "checkpoints",
        place.step,
        {**identity, "place": asdict(place)},
        team.policy,
        tokenizer,
        team.optimizer.state_dict(),
        reference=team.reference if team.settings.sync_ref_model else None,
    )


class _Journal:
    """The files of a run that grow; rows behind the frontier are dropped when it goes on."""

    def __init__(self, out_dir: Path, settings: GRPOSettings, frontier: int) -> None:
        self.out_dir, self.settings = out_dir, settings
        with explained(out_dir):
            out_dir.mkdir(parents=True, exist_ok=True)
        write_json_atomic(out_dir / "config.json", settings.model_dump(mode="json"))
        self.metrics = JsonlWriter(out_dir / "metrics.jsonl")
        self.metrics.truncate_after("step", frontier)
        self.dropped = JsonlWriter(out_dir / "dropped.jsonl") if settings.dynamic_sampling else None
        if self.dropped is not None:
            self.dropped.truncate_after("step", frontier)

    def write(self, row: Mapping[str, Any], collected: Collected, advantages: Sequence[Sequence[float]]) -> None:
        step, settings = row["step"], self.settings
        if step % settings.logging_steps == 0 or step == settings.max_steps:
            self.metrics.write(row)
        if self.dropped is not None:
            for problem_id, reason in collected.dropped:
                self.dropped.write({"step": step, "problem_id": problem_id, "reason": reason})
        if settings.sample_steps and (step % settings.sample_steps == 0 or step == 1):
            with explained(self.out_dir):
                path = self.out_dir / "samples" / f"step-{step:06d}.jsonl"
                write_samples(path, step, collected.records, advantages)

    def sync(self) -> None:
        self.metrics.sync()
        if self.dropped is not None:
            self.dropped.sync()

    def close(self) -> None:
        self.metrics.close()
        if self.dropped is not None:
            self.dropped.close()


def _headline(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reward": row["reward"],
        "acc": row["accuracy"],
        "len": row.get("completions/mean_length"),
        "tok/s": row["perf/throughput"],
    }


@contextmanager
def _ctrl_c(world: World) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second acts at once. Only rank 0, in its main thread, listens."""
    asked = threading.Event()
    if not world.first or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        log.warning("stopping at the end of this step; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
