"""One trainer on one file: what `ponder train` does. Pipelines are made of the same functions."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ponder.core.config import Settings, merge_overrides, parse_settings
from ponder.core.errors import PonderError, nearest
from ponder.core.records import environment, write_json_atomic
from ponder.core.store import NotReady, Run
from ponder.evals import behaviour_metrics
from ponder.evals.behaviours import group_sums
from ponder.models.chat import renderer
from ponder.models.heads import new_outcome_model, new_process_model, new_value_model
from ponder.models.load import load_model, resolve_model
from ponder.pipelines.machine import processes_for
from ponder.pipelines.r1_zero import opens_thought
from ponder.pipelines.reward_parts import parts_of_recipe
from ponder.pipelines.together import stage
from ponder.rewards import compose
from ponder.sandbox.choice import VARIABLE
from ponder.tasks import draw_mix
from ponder.tasks.rows import read_rows
from ponder.tasks.shapes import EMPTY, Example, Preference, read_examples
from ponder.training.distributed import World, launch
from ponder.training.grpo import Observer, train_grpo
from ponder.training.ppo import train_ppo
from ponder.training.ppo_settings import PPO_ALIASES, PPOSettings
from ponder.training.preference import PreferenceSettings, train_preference
from ponder.training.process_reward import PRMSettings, read_step_rows, train_process_model
from ponder.training.reward_model import RewardSettings, train_reward_model
from ponder.training.reward_rows import read_reward_rows
from ponder.training.settings import GRPO_ALIASES, HARMLESS, GRPOSettings
from ponder.training.sft import SFTSettings, train_sft

REWARDS = ("accuracy", "format")
TASKS_OF = "tasks="


log = logging.getLogger("ponder")


@dataclass(frozen=True)
class Job:
    """What a trainer works on. model: a name, directory or hub id. data: files or hub ids (for RL also `tasks=`
    countdown,factors: kinds of the miniature world). validation: held-out rows; not for RL. rewards, prompt_style,
    sandbox: RL only; not given there, they are accuracy and format, chat or qa, and auto."""

    kind: str
    model: str
    data: tuple[str, ...]
    validation: str | None = None
    rewards: tuple[Any, ...] = ()
    prompt_style: str | None = None
    sandbox: str | None = None


@dataclass(frozen=True)
class Trainer:
    """settings: its class. train: `train(settings, job, folder, world)`. aliases: other tools' names of settings.
    samples: it learns from answers that it samples and grades (RL), not from rows that are answers."""

    settings: type[Settings]
    train: Callable[[Any, Job, Path, World], Mapping[str, Any]]
    aliases: Mapping[str, str]
    samples: bool = False


def run_trainer(job: Job, overrides: Sequence[str], out: Path) -> Path:
    """Train on `job` in `out`; returns the model's folder. Run again, it goes on, or says that it is done.

    overrides: `key=value` of the trainer's settings. Raises PonderError for an unknown trainer or setting, rows that
    do not fit, and whatever the trainer raises.
    """
    if job.kind not in TRAINERS:
        raise PonderError(
            f"there is no trainer {job.kind!r}{nearest(job.kind, list(TRAINERS))}; one of {', '.join(TRAINERS)}"
        )
    if not job.data:
        raise PonderError(f"ponder train {job.kind} needs rows: give a file, such as rows.jsonl")
    trainer = TRAINERS[job.kind]
    _check_job(job, trainer.samples)
    settings = parse_settings(trainer.settings, merge_overrides({}, overrides), trainer.aliases, f"train {job.kind}")
    if job.validation is None and settings.model_dump().get("eval_steps"):
        remedy = "leave it at 0" if trainer.samples else "give them (--validation FILE), or leave it at 0"
        raise PonderError(f"train {job.kind}: eval_steps is set and there are no validation rows; {remedy}")
    os.environ[VARIABLE] = job.sandbox or "auto"
    processes = processes_for(job.model, getattr(settings, "processes", 0))
    try:
        return _run(World(), settings, job, out, ready_only=True)
    except NotReady:
        return launch(_run, processes, (settings, job, out))


def _check_job(job: Job, samples: bool) -> None:
    """An option that the trainer would not look at is a mistake, never ignored."""
    rl = ", ".join(name for name, trainer in TRAINERS.items() if trainer.samples)
    if not samples:
        given = {"--reward": job.rewards, "--prompt-style": job.prompt_style, "--sandbox": job.sandbox}
        for option, value in given.items():
            if value:
                raise PonderError(f"train {job.kind}: {option} is for {rl}; leave it out")
        if named := [source for source in job.data if source.startswith(TASKS_OF)]:
            raise PonderError(f"train {job.kind}: {named[0]} is for {rl}; give a file of rows")
    elif job.validation is not None:
        raise PonderError(
            f"train {job.kind}: --validation is not for {rl}; measure with `ponder eval`, or train with `ponder run`"
        )


def _run(world: World, settings: Any, job: Job, out: Path, ready_only: bool = False) -> Path:
    kept = {name: type(settings).model_fields[name].default for name in HARMLESS if name in type(settings).model_fields}
    cfg = {"job": asdict(job), "settings": settings.model_copy(update=kept).model_dump(mode="json")}
    files = {f"data_{at}": Path(name) for at, name in enumerate(job.data) if Path(name).exists()}
    if job.validation is not None and Path(job.validation).exists():
        files["validation"] = Path(job.validation)
    for at, reward in enumerate(job.rewards):  # FILE.py:FUNCTION: another text of the file is another reward
        if isinstance(reward, str) and (code := Path(reward.rpartition(":")[0])).is_file():
            files[f"reward_{at}"] = code
    model = resolve_model(job.model)
    return stage(world, Run(out, ready_only), job.kind, train_job, cfg, {"settings": settings}, model=model, **files)


def train_job(
    cfg: Mapping[str, Any], folder: Path, *, world: World, settings: Any, **inputs: Path | str
) -> Mapping[str, Any]:
    """The stage of `ponder train`."""
    job = Job(**{**cfg["job"], **{name: tuple(cfg["job"][name]) for name in ("data", "rewards")}})
    if world.first:
        write_json_atomic(folder / "environment.json", {**environment(), "processes": world.size})
    return TRAINERS[job.kind].train(settings, job, folder, world)


train_job.version = 1  # type: ignore[attr-defined]


def _sft(settings: SFTSettings, job: Job, folder: Path, world: World) -> Mapping[str, Any]:
    loaded = load_model(job.model, dtype="float32")
    rows = [row for source in job.data for row in filled(source)]
    held = filled(job.validation) if job.validation else ()
    return train_sft(
        settings, loaded.model, loaded.tokenizer, rows, folder, world, validation=held,
        context_length=loaded.context_length, eos_ids=loaded.eos_ids,
    )  # fmt: skip


def _dpo(settings: PreferenceSettings, job: Job, folder: Path, world: World) -> Mapping[str, Any]:
    loaded = load_model(job.model, dtype="float32")
    held = _pairs((job.validation,)) if job.validation else ()
    return train_preference(
        settings, loaded.model, loaded.tokenizer, _pairs(job.data), folder, world, validation=held,
        eos_ids=loaded.eos_ids,
    )  # fmt: skip


def _outcome(settings: RewardSettings, job: Job, folder: Path, world: World) -> Mapping[str, Any]:
    head = new_outcome_model(load_model(job.model, dtype="float32"), seed=settings.seed)
    rows: Any
    held: Any
    rows, held = ([row for source in sources for row in read_reward_rows(source)]
                  for sources in (job.data, (job.validation,) if job.validation else ()))  # fmt: skip
    return train_reward_model(settings, head.model, head.tokenizer, rows, folder, world, validation=held)


def _process(settings: PRMSettings, job: Job, folder: Path, world: World) -> Mapping[str, Any]:
    head = new_process_model(load_model(job.model, dtype="float32"), seed=settings.seed)
    rows, held = ([row for source in sources for row in read_step_rows(source)]
                  for sources in (job.data, (job.validation,) if job.validation else ()))  # fmt: skip
    return train_process_model(settings, head.model, head.tokenizer, rows, folder, world, validation=held)


def _grpo(settings: GRPOSettings, job: Job, folder: Path, world: World) -> Mapping[str, Any]:
    loaded = load_model(job.model, dtype="float32")
    render = renderer(loaded.tokenizer, job.prompt_style or ("chat" if loaded.tokenizer.chat_template else "qa"))
    reward = compose(parts_of_recipe(list(job.rewards or REWARDS), opened=opens_thought(render)))
    return train_grpo(
        settings, loaded.model, loaded.tokenizer, _problems(job), reward, folder, render, world,
        observe=Observer(group_sums, behaviour_metrics), context_length=loaded.context_length, eos_ids=loaded.eos_ids,
    )  # fmt: skip


def _ppo(settings: PPOSettings, job: Job, folder: Path, world: World) -> Mapping[str, Any]:
    loaded = load_model(job.model, dtype="float32")
    render = renderer(loaded.tokenizer, job.prompt_style or ("chat" if loaded.tokenizer.chat_template else "qa"))
    reward = compose(parts_of_recipe(list(job.rewards or REWARDS), opened=opens_thought(render)))
    return train_ppo(
        settings, loaded.model, new_value_model(loaded), loaded.tokenizer, _problems(job), reward, folder, render,
        world, observe=Observer(group_sums, behaviour_metrics), context_length=loaded.context_length,
        eos_ids=loaded.eos_ids,
    )  # fmt: skip


TRAINERS: dict[str, Trainer] = {
    "sft": Trainer(SFTSettings, _sft, {}),
    "dpo": Trainer(PreferenceSettings, _dpo, {}),
    "outcome": Trainer(RewardSettings, _outcome, {}),
    "process": Trainer(PRMSettings, _process, {}),
    "grpo": Trainer(GRPOSettings, _grpo, GRPO_ALIASES, samples=True),
    "ppo": Trainer(PPOSettings, _ppo, PPO_ALIASES, samples=True),
}
"""Trainers by the name that `ponder train` takes. `dpo` is also IPO and APO, by `loss_type`."""


def filled(source: str, shape: str | None = None) -> list[Example]:
    """The rows of a file but for those with an empty cell, which are counted and named in a warning.

    Raises PonderError for any other fault of a row, and where none is left.
    """
    rows = read_examples(source, shape, on_error="collect")
    empty = [error for error in rows.errors if EMPTY in error.message]
    for error in rows.errors:
        if EMPTY not in error.message:
            raise PonderError(error.message)
    if empty and not rows:
        raise PonderError(empty[0].message)
    if empty:
        named = ", ".join(str(error.row) for error in empty[:5]) + (", …" if len(empty) > 5 else "")
        log.warning("%s: %d of %d rows left out, they are empty: %s", source, len(empty), len(empty) + len(rows), named)
    return list(rows)


def _pairs(sources: Sequence[str | None]) -> list[Preference]:
    return [
        row for source in sources if source for row in filled(source, "preference")
        if isinstance(row, Preference)
    ]  # fmt: skip


def _problems(job: Job) -> list[Any]:
    problems = []
    for source in job.data:
        if source.startswith(TASKS_OF):
            kinds = [kind for kind in source.removeprefix(TASKS_OF).split(",") if kind]
            if not kinds:
                raise PonderError(f"{source} names no kind of problem; write such as tasks=countdown,factors")
            problems += draw_mix(kinds, "train", 500 * len(kinds), seed="train")
        else:
            problems += list(read_rows(source))
    return problems
