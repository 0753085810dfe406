"""R1-Zero: a base model taught to reason by reinforcement learning alone (DeepSeek-R1, arXiv 2501.12948, section 2.2).

Three stages: measure the base (as it is, and prompted for a chain of thought), train it by GRPO on verifiable rewards
with no supervised step before, and measure what came out on the same held-out problems.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.records import environment, usable_cores, write_json_atomic
from ponder.core.seeds import seed_of
from ponder.core.store import NotReady, Run
from ponder.core.thinking import THINK_OPEN
from ponder.core.types import Problem, SamplingParams
from ponder.evals import behaviour_metrics, spec_of, validation_metrics, write_result
from ponder.evals.behaviours import group_sums
from ponder.mini.styles import StyleRow, pays, style_table
from ponder.models.chat import STYLES, cot_style, renderer
from ponder.models.load import LoadedModel, load_model, load_tokenizer, parameter_count, resolve_model
from ponder.pipelines import Pipeline, Plan
from ponder.pipelines.machine import Machine, planned
from ponder.pipelines.mix import question_of
from ponder.pipelines.reward_parts import parts_of_recipe
from ponder.pipelines.sampled import sampled_rows
from ponder.pipelines.together import stage
from ponder.rewards import Reward, compose
from ponder.sandbox.choice import VARIABLE
from ponder.tasks import KINDS, PROGRAMS, SEARCH_LIKE, draw_mix, runnable
from ponder.tasks.drawing import split_of
from ponder.tasks.rows import read_rows
from ponder.training.distributed import World, launch, under_torchrun
from ponder.training.grpo import Observer, train_grpo
from ponder.training.questions import check_lengths, encoder, usable
from ponder.training.settings import GRPO_ALIASES, HARMLESS, GRPOSettings
from ponder.training.trackers import check_trackers

SMALL_MODEL = 50_000_000
"""Parameters up to which, on a CPU, one process a core beats one process with all the cores (threads of a small model
spin at barriers)."""


class DataSettings(Settings):
    """Which problems are trained on, and which are held out to measure with."""

    tasks: tuple[str, ...] = KINDS
    """Kinds of the miniature world, in equal shares; not used where `train_file` is given."""
    level: int | None = Field(None, ge=1, le=3)
    """Difficulty; the kinds' own mix of levels 1 and 2 where not given."""
    train_problems: int = Field(3500, ge=1)
    train_file: Path | None = None
    """JSONL or JSON rows with `problem` and `answer`, in place of the miniature world."""
    test_file: Path | None = None
    """The held-out rows that go with `train_file`."""

    @model_validator(mode="after")
    def _both_files(self) -> DataSettings:
        if (self.train_file is None) != (self.test_file is None):
            raise ValueError("train_file and test_file go together: give both, or neither")
        return self


class EvaluationSettings(Settings):
    """How base and trained model are measured, on the same problems."""

    problems: int = Field(560, ge=1)
    """Held-out problems over all kinds."""
    n: int = Field(4, ge=1)
    """Samples a problem at `temperature`; greedy is measured besides, with one."""
    temperature: float = Field(1.0, gt=0)
    validation_problems: int = Field(140, ge=1)
    """Problems of the validation split for the curve during training (`grpo.eval_steps`)."""


class R1ZeroSettings(Settings):
    """The settings of `ponder run r1-zero`."""

    model: str = "mini"
    """`mini`, a directory in Hugging Face layout, or a hub id."""
    prompt_style: str = "chat"
    """A row of `ponder.models.chat.STYLES`; `r1-zero` is the paper's own template."""
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    rewards: tuple[str | dict[str, Any], ...] = ("accuracy", "format")
    """Parts of the reward: built-in ones by name (`ponder.rewards.recipe.BUILT_IN`), `path/to/file.py:function` in
    TRL's or verl's form, or `{name: length, weight: 0.1, target: 200}` with weight and parameters."""
    seed: int = 0
    """Of the problems, the evaluation and (where `grpo.seed` is not given) the training."""
    data: DataSettings = DataSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    grpo: GRPOSettings = GRPOSettings()

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        """`seed` is the training's too, unless `grpo.seed` is given."""
        if isinstance(values, Mapping) and isinstance(values.get("grpo", {}), Mapping):
            return {**values, "grpo": {"seed": values.get("seed", 0), **values.get("grpo", {})}}
        return values

    @model_validator(mode="after")
    def _known_style(self) -> R1ZeroSettings:
        if self.prompt_style not in STYLES:
            raise ValueError(f"prompt_style is {self.prompt_style!r}: one of {', '.join(STYLES)}")
        return self


def run(settings: R1ZeroSettings, out: Path) -> Path:
    """Do what is left of the run in `out`; returns the report's path."""
    out = Path(out)
    settings = with_sandbox(settings, "r1-zero")
    try:
        _run(World(), settings, out, ready_only=True)
    except NotReady:
        _work(settings, out)
    else:
        if (out / "report.html").exists():
            return out / "report.html"
    if os.environ.get("RANK", "0") != "0":  # under torchrun: one rank draws the page
        return out / "report.html"
    from ponder.report import build_report

    return build_report(out)


def _work(settings: R1ZeroSettings, out: Path) -> None:
    check(settings)
    processes = processes_for(settings)
    threads = "one thread each" if processes > 1 else f"{torch.get_num_threads()} threads"
    if not under_torchrun():
        print(f"r1-zero: {processes} {'process' if processes == 1 else 'processes'}, {threads}", file=sys.stderr)
    launch(_run, processes, (settings, out))


def with_sandbox(settings: Any, where: str) -> Any:
    """Settings for this machine: `sandbox` holds in this process and those that it starts, and where there can be none,
    kinds of problems that need it are left out, with a line that says so (they are an error where they were asked for).
    """
    os.environ[VARIABLE] = settings.sandbox
    if settings.sandbox == "weak":
        print(f"{where}: sandbox=weak: programs run behind limits but no walls", file=sys.stderr)
    data = getattr(settings, "data", settings)
    if getattr(data, "train_file", None) or getattr(data, "file", None):
        return settings
    kinds, why = runnable(data.tasks)
    if not why:
        return settings
    if "tasks" in data.model_fields_set:
        raise PonderError(why)
    print(f"{where}: {', '.join(PROGRAMS)} left out: {why}", file=sys.stderr)
    smaller = data.model_copy(update={"tasks": kinds})
    return smaller if data is settings else settings.model_copy(update={"data": smaller})


def check(settings: R1ZeroSettings) -> None:
    """Raise PonderError for problems, rewards or lengths that cannot be trained on, before any minute is spent."""
    problems = training_problems(settings)
    held_out(settings.data, settings.evaluation.problems, "test")
    reward_of(settings)
    check_trackers(settings.grpo.report_to)
    tokenizer, context_length = load_tokenizer(settings.model)
    render = renderer(tokenizer, settings.prompt_style)
    intake = usable(problems, settings.grpo.questions_per_step)
    encode = encoder(tokenizer)
    check_lengths(intake.problems, render, encode, settings.grpo.max_completion_length, context_length)


def processes_for(settings: R1ZeroSettings) -> int:
    """`grpo.processes`, or for 0: one a core for a small model on a CPU, else one."""
    if settings.grpo.processes or under_torchrun():
        return max(1, settings.grpo.processes)
    if torch.cuda.is_available():
        return 1
    small = parameter_count(settings.model) <= SMALL_MODEL
    return usable_cores() if small else 1


def _run(world: World, settings: R1ZeroSettings, out: Path, ready_only: bool = False) -> None:
    run_ = Run(out, ready_only)
    heading = {"model": settings.model, "prompt_style": settings.prompt_style, "seed": settings.seed}
    measured = {**heading, "data": settings.data.model_dump(mode="json")}
    measured |= {"evaluation": settings.evaluation.model_dump(mode="json")}
    if set(settings.data.tasks) & set(PROGRAMS):
        measured["sandbox"] = settings.sandbox
    measured["max_completion_length"] = settings.grpo.max_completion_length
    measured["stop"] = list(settings.grpo.stop)
    # A directory counts by its content, so that a changed model is trained anew; a hub id counts by its name.
    model = resolve_model(settings.model)
    stage(world, run_, "evaluation-base", measure_base, measured, model=model)
    kept = {name: GRPOSettings.model_fields[name].default for name in HARMLESS}
    lasting = settings.model_copy(update={"grpo": settings.grpo.model_copy(update=kept)})
    trained = stage(world, run_, "r1-zero", train, lasting, {"grpo": settings.grpo}, model=model)
    stage(world, run_, "evaluation-trained", measure_trained, measured, model=trained / "model")


# ---- the problems ----


def held_out(data: DataSettings, n: int, split: str) -> list[Problem]:
    """`n` problems of a held-out split. From files: `test` is the test file's first `n` rows, `validation` those rows
    of the training file whose hash says so (they are not trained on)."""
    if data.test_file is not None and split == "test":
        return read_rows(data.test_file)[:n]
    if data.train_file is not None:
        return [p for p in read_rows(data.train_file) if split_of("rows", p.prompt) == split][:n]
    return draw_mix(data.tasks, split, n, seed="held out", level=data.level)


def training_problems(settings: R1ZeroSettings) -> list[Problem]:
    """What is trained on; never a problem that is held out."""
    data = settings.data
    if data.train_file is not None:
        kept = {question_of(p) for p in read_rows(data.test_file)} if data.test_file is not None else set()
        if settings.grpo.eval_steps:
            kept |= {question_of(p) for p in held_out(data, settings.evaluation.validation_problems, "validation")}
        problems = [p for p in read_rows(data.train_file) if question_of(p) not in kept]
        if not problems:
            raise PonderError(f"{data.train_file}: every row is also in {data.test_file}; nothing is left to train on")
        return problems
    return draw_mix(data.tasks, "train", data.train_problems, seed=f"train {settings.seed}", level=data.level)


# ---- the stages ----


def measure_base(
    cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str
) -> Mapping[str, Any]:
    """Sampled and greedy, as it is and prompted for a chain of thought; and which style is how often right."""
    loaded = load_model(str(model))
    figures: dict[str, Any] = {}
    for name, style in (("base", cfg["prompt_style"]), ("cot", cot_style(cfg["prompt_style"]))):
        for mode in ("sampled", "greedy"):
            rows = _measure(cfg, folder, f"{name}-{mode}", loaded, style, mode, world)
            figures[f"{name}-{mode}"] = _headline(rows)
            if world.first and (name, mode) == ("base", "sampled"):
                table = style_table(rows)
                styles = [row.__dict__ for row in table]
                write_json_atomic(folder / "styles.json", {"styles": styles, "pays": pays(table)})
                if any(row.task in SEARCH_LIKE for row in table):
                    _tell_styles(table)
    return figures


def _tell_styles(table: Sequence[StyleRow]) -> None:
    """Say, before any training, what it is likely to amplify: the style that is most often right in the base."""
    print("what pays in the base: share of answers that are right (share of samples), read leniently", file=sys.stderr)
    for task in dict.fromkeys(row.task for row in table):
        told = [f"{row.style} {row.right:.2f} ({row.share:.2f})" for row in table if row.task == task]
        print(f"  {task:14} {'   '.join(told)}", file=sys.stderr)
    paying = ", ".join(pays(table)) or "none of the search-like kinds; do not expect them to grow"
    print(f"  checking or searching pays on: {paying}", file=sys.stderr, flush=True)


measure_base.version = 1  # type: ignore[attr-defined]


def measure_trained(
    cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path
) -> Mapping[str, Any]:
    """The same problems, prompt and sampling as for the base."""
    loaded = load_model(str(model))
    modes = ("sampled", "greedy")
    return {
        f"trained-{mode}": _headline(_measure(cfg, folder, f"trained-{mode}", loaded, cfg["prompt_style"], mode, world))
        for mode in modes
    }


measure_trained.version = 1  # type: ignore[attr-defined]


def _measure(
    cfg: Mapping[str, Any], folder: Path, name: str, loaded: LoadedModel, style: str, mode: str, world: World
) -> list[dict[str, Any]]:
    evaluation = EvaluationSettings(**cfg["evaluation"])
    problems = held_out(DataSettings(**cfg["data"]), evaluation.problems, "test")
    params = SamplingParams(
        n=evaluation.n if mode == "sampled" else 1,
        temperature=evaluation.temperature if mode == "sampled" else 0.0,
        max_completion_length=cfg["max_completion_length"],
        stop=tuple(cfg["stop"]),
    )
    seed = seed_of(cfg["seed"], "evaluation")
    rows = sampled_rows(loaded, problems, renderer(loaded.tokenizer, style), params, seed, world, name)
    if world.first:
        spec = spec_of(problems, params, style, seed)
        write_result(folder, name, spec, rows)
    return rows


def _headline(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name.removeprefix("validation/"): value for name, value in validation_metrics(rows).items()}


def train(
    settings: R1ZeroSettings, folder: Path, *, world: World, grpo: GRPOSettings, model: Path | str
) -> Mapping[str, Any]:
    """GRPO on the base, from `folder`'s newest checkpoint if there is one.

    grpo: the settings' own, with what may change between a stop and a start.
    """
    settings = settings.model_copy(update={"grpo": grpo})
    loaded = load_model(str(model), dtype="float32")
    render = renderer(loaded.tokenizer, settings.prompt_style)
    validation = held_out(settings.data, settings.evaluation.validation_problems, "validation")
    params = replace(settings.grpo.sampling, n=1, temperature=0.0)

    def validate(step: int) -> Mapping[str, Any]:
        rows = sampled_rows(loaded, validation, render, params, seed_of("validation"), world, "")
        return validation_metrics(rows)

    if world.first:
        write_json_atomic(folder / "environment.json", {**environment(), "processes": world.size})
    return train_grpo(
        settings.grpo,
        loaded.model,
        loaded.tokenizer,
        training_problems(settings),
        reward_of(settings, opened=opens_thought(render)),
        folder,
        render,
        world,
        evaluate=validate if settings.grpo.eval_steps and validation else None,
        observe=Observer(group_sums, behaviour_metrics),
        context_length=loaded.context_length,
        eos_ids=loaded.eos_ids,
        config=settings.model_dump(mode="json"),
    )


train.version = 1  # type: ignore[attr-defined]


def reward_of(settings: R1ZeroSettings, opened: bool = False) -> Reward:
    """The reward that the recipe names. opened: the prompt's template already wrote `<think>`."""
    return compose(parts_of_recipe(settings.rewards, opened))


def opens_thought(render: Callable[[Problem], str]) -> bool:
    """Whether prompts end with `<think>`, so that completions begin inside the thought."""
    return render(Problem("rows", "?", "?")).rstrip().endswith(THINK_OPEN)


# ---- the plan ----


def plan(settings: R1ZeroSettings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory."""
    run_, e, g = Run(out), settings.evaluation, settings.grpo
    of, limit = Machine.of(settings.model, g.processes), g.max_completion_length
    samples, rollouts = e.problems * (e.n + 1), g.max_steps * g.questions_per_step * g.num_generations
    validated = g.max_steps // g.eval_steps * e.validation_problems if g.eval_steps else 0
    what = f"{g.max_steps} steps of {g.questions_per_step} questions x {g.num_generations} samples, loss {g.loss_type}"
    both = f"{2 * samples} samples: as it is, and with chain of thought"
    return [
        planned(run_, "evaluation-base", both, of, 2 * samples, limit),
        planned(run_, "r1-zero", what, of, rollouts + validated, limit, rollouts * of.length(limit)),
        planned(run_, "evaluation-trained", f"{samples} samples", of, samples, limit),
    ]


R1_ZERO = Pipeline("r1-zero", R1ZeroSettings, run, plan, {f"grpo.{k}": f"grpo.{v}" for k, v in GRPO_ALIASES.items()})
