"""R1: the whole recipe of DeepSeek-R1 (arXiv 2501.12948, sections 2.2 to 2.4), from base model to distilled student.

R1-Zero -> cold start from its own readable answers -> RL for reasoning in one language -> rejection sampling, and
general data -> SFT of the base on both -> RL for all scenarios -> a smaller student, distilled, and the same student
by RL alone. Every model is measured on the same held-out problems; the table stands beside the published one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.core.store import Run, read_manifest
from ponder.models.load import resolve_model
from ponder.pipelines import Pipeline, Plan
from ponder.pipelines.data_stages import SampleSettings, keep_traces, sample_traces
from ponder.pipelines.learn_stages import fine_tune, lasting_rows, make_pairs, train_preference_model
from ponder.pipelines.machine import Machine, planned, reported, start
from ponder.pipelines.measure import MeasureSettings, measure_stage
from ponder.pipelines.mix import MixSettings, general_tasks, told_of
from ponder.pipelines.parts import DataStage, RLStage, rl_told
from ponder.pipelines.r1_table import r1_table
from ponder.pipelines.rl import train_rl
from ponder.pipelines.together import stage
from ponder.training.distributed import World
from ponder.training.reward_model import RewardSettings
from ponder.training.settings import GRPO_ALIASES


class PreferenceStage(Settings):
    """What the reward model learns from: samples of three models on general requests, ranked."""

    sample: SampleSettings = SampleSettings(problems=800, general_share=1.0, n=6)
    pairs_per_problem: int = Field(6, ge=1)
    file: Path | None = None
    """Preference rows that people made, in place of these."""
    training: RewardSettings = RewardSettings()


class R1Settings(Settings):
    """The settings of `ponder run r1`."""

    model: str = "mini"
    """The base: `mini`, a directory in Hugging Face layout, or a hub id."""
    student: str = "mini-small"
    """The smaller base that is distilled into."""
    prompt_style: str = "chat"
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core for a small model on a CPU, else one."""
    data: MixSettings = MixSettings()
    measure: MeasureSettings = MeasureSettings()
    zero: RLStage = RLStage()
    """R1-Zero: RL on the base, no supervised step."""
    preference: PreferenceStage = PreferenceStage()
    cold_start: DataStage = DataStage()
    reasoning_rl: RLStage = RLStage(rewards=("accuracy", "format", "language"))
    rejection: DataStage = DataStage()
    all_rl: RLStage = RLStage(rewards=("accuracy", "format", "language", {"name": "outcome_model"}))
    distill: DataStage = DataStage()
    student_rl: RLStage = RLStage()
    """The student by RL alone, to compare."""

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        """`seed` is every training's too, unless its own is given. What a part leaves out is its default here."""
        if not isinstance(values, Mapping):
            return values
        told = dict(values)
        for name, inner in SEEDED.items():
            part, usual = told.get(name, {}), cls.model_fields[name].default.model_dump(exclude_unset=True)
            if isinstance(part, Mapping) and isinstance(part.get(inner, {}), Mapping):
                learnt = {"seed": told.get("seed", 0), **usual.get(inner, {}), **part.get(inner, {})}
                told[name] = {**usual, **part, inner: learnt}
        return told


RL = ("zero", "reasoning_rl", "all_rl", "student_rl")
DATA = ("cold_start", "rejection", "distill")
SEEDED = {**dict.fromkeys(RL, "grpo"), **dict.fromkeys(DATA, "sft"), "preference": "training"}
"""The parts of the settings that train, and where in each the seed is."""

NAMES = {
    "base": "base", "zero": "R1-Zero", "cold": "cold start", "rl": "+ reasoning RL", "sft": "SFT on both", "r1": "R1",
    "small": "student, base", "distilled": "student, distilled", "alone": "student, RL alone",
}  # fmt: skip
"""The models that are measured, in the table's order."""


def run(settings: R1Settings, out: Path) -> Path:
    """Do what is left of the run in `out`; returns the report's path."""
    settings, machine = start(settings, "r1")
    return reported(_run, settings, Path(out), machine)


def _run(world: World, s: R1Settings, out: Path, ready_only: bool = False) -> None:
    run_ = Run(out, ready_only)
    common: dict[str, Any] = {**told_of(s.data), "prompt_style": s.prompt_style, "seed": s.seed}
    base, small = resolve_model(s.model), resolve_model(s.student)

    def reinforce(name: str, part: RLStage, model: Path | str, **more: Path) -> Path:
        told, harmless = rl_told(name, part, {**common, "model": s.student if model == small else s.model})
        return stage(world, run_, name, train_rl, told, harmless, model=model, **more) / "model"

    def sample(name: str, settings: SampleSettings, model: Path | str) -> Path:
        cfg = {**common, "name": name, "sample": settings.model_dump(mode="json")}
        return stage(world, run_, name, sample_traces, cfg, model=model)

    def keep(name: str, part: DataStage, traces: Path, **more: Path) -> Path:
        cfg = {"name": name, "filter": part.filter.model_dump(mode="json"), "prompt_style": s.prompt_style}
        cfg |= {"general": part.general.model_dump(mode="json"), "general_kinds": list(general_tasks(s.data))}
        return stage(world, run_, name, keep_traces, {**cfg, "rows": part.rows}, None, traces=traces, **more)

    def tune(name: str, part: DataStage, model: Path | str, **data: Path) -> Path:
        cfg = {"sft": lasting_rows(part.sft)}
        return stage(world, run_, name, fine_tune, cfg, {"sft": part.sft}, model=model, **data) / "model"

    def prefer(name: str, half: str, body: Path | str, traces: Path, *more: Path) -> Path:
        told = {"kinds": list(general_tasks(s.data)), "half": half, "seed": s.seed}
        told |= s.preference.model_dump(mode="json", include={"pairs_per_problem", "file"})
        others = {f"more_{at}": path for at, path in enumerate(more)}
        pairs = stage(world, run_, f"{name}-pairs", make_pairs, told, None, traces=traces, **others)
        cfg = {"training": lasting_rows(s.preference.training), "seed": s.seed}
        harmless = {"training": s.preference.training}
        return stage(world, run_, name, train_preference_model, cfg, harmless, model=body, pairs=pairs) / "model"

    zero = reinforce("r1-zero", s.zero, base)
    cold_data = keep("cold-start-data", s.cold_start, sample("cold-start-traces", s.cold_start.sample, zero))
    cold = tune("cold-start", s.cold_start, base, data=cold_data)
    reasoning = reinforce("reasoning-rl", s.reasoning_rl, cold)

    asked = {"base": base, "zero": zero, "reasoning": reasoning}
    liked = [sample(f"requests-{name}", s.preference.sample, model) for name, model in asked.items()]
    reward = prefer("reward-model", "even", zero, *liked)
    judge = prefer("judge", "odd", base, *liked)  # of other requests and from another start: it only measures

    both_data = keep("sft-data", s.rejection, sample("sft-traces", s.rejection.sample, reasoning), scorer=reward)
    both = tune("sft", s.rejection, base, data=both_data)
    final = reinforce("r1", s.all_rl, both, reward_model=reward)
    taught = keep("distill-data", s.distill, sample("distill-traces", s.distill.sample, final), scorer=reward)
    distilled = tune("student-distilled", s.distill, small, data=taught)
    alone = reinforce("student-rl", s.student_rl, small)

    models = {"base": base, "zero": zero, "cold": cold, "rl": reasoning, "sft": both, "r1": final}
    models |= {"small": small, "distilled": distilled, "alone": alone}
    measured = {}
    for name, model in models.items():
        cfg = {**common, "name": name, "measure": s.measure.model_dump(mode="json")}
        measured[name] = stage(world, run_, f"eval-{name}", measure_stage, cfg, model=model, judge=judge)
    trained = {"zero": zero, "cold": cold, "rl": reasoning, "sft": both, "r1": final, "distilled": distilled}
    trained["alone"] = alone
    tokens = {name: tokens_of_stage(model.parent) for name, model in trained.items()}
    stage(world, run_, "table", r1_table, {"mix": common["mix"], "names": NAMES, "trained": tokens}, None, **measured)


def tokens_of_stage(folder: Path) -> float | None:
    """The tokens that a finished training stage learnt from (and in RL wrote)."""
    found = read_manifest(folder)["metrics"].get("num_tokens")
    return float(found) if found is not None else None


def plan(settings: R1Settings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory on this machine."""
    s, machine = settings, Machine.of(settings.model, settings.processes)
    student = Machine.of(settings.student, settings.processes)
    run_ = Run(out)
    rows = []

    def add(name: str, what: str, of: Machine, samples: int = 0, limit: int = 0, trained: float = 0.0) -> None:
        rows.append(planned(run_, name, what, of, samples, limit, trained))

    def rl(name: str, part: RLStage, of: Machine) -> None:
        g = part.grpo
        count = g.max_steps * g.questions_per_step * g.num_generations
        what = f"{g.max_steps} steps of {g.questions_per_step} questions x {g.num_generations}, loss {g.loss_type}"
        add(name, what, of, count, g.max_completion_length, count * of.length(g.max_completion_length))

    def data(names: tuple[str, str, str], part: DataStage, of: Machine, learner: Machine) -> None:
        a = part.sample
        add(names[0], f"{a.problems} problems x {a.n} samples", of, a.problems * a.n, a.max_completion_length)
        add(names[1], "filters, and a table of what each took", of)
        kept = part.likely_rows
        tokens = kept * of.length(a.max_completion_length) * part.sft.num_train_epochs
        add(names[2], f"SFT on about {kept} rows, {part.sft.num_train_epochs:g} epochs", learner, 0, 0, tokens)

    rl("r1-zero", s.zero, machine)
    data(("cold-start-traces", "cold-start-data", "cold-start"), s.cold_start, machine, machine)
    rl("reasoning-rl", s.reasoning_rl, machine)
    a = s.preference.sample
    for name in ("requests-base", "requests-zero", "requests-reasoning"):
        add(name, f"{a.problems} requests x {a.n} samples", machine, a.problems * a.n, a.max_completion_length)
    pairs = a.problems * s.preference.pairs_per_problem / 2
    tokens = 2 * pairs * machine.length(a.max_completion_length) * s.preference.training.num_train_epochs
    for name in ("reward-model", "judge"):
        add(f"{name}-pairs", "answers that are liked more and less", machine)
        add(name, f"an outcome model of about {pairs:.0f} pairs", machine, 0, 0, tokens)
    data(("sft-traces", "sft-data", "sft"), s.rejection, machine, machine)
    rl("r1", s.all_rl, machine)
    data(("distill-traces", "distill-data", "student-distilled"), s.distill, machine, student)
    rl("student-rl", s.student_rl, student)
    m = s.measure
    for name in NAMES:
        of = student if name in ("small", "distilled", "alone") else machine
        add(f"eval-{name}", f"{m.problems} problems x {m.n}", of, m.problems * m.n, m.max_completion_length)
    add("table", "one row a model, with intervals", machine)
    return rows


_ALIASES = {f"{part}.grpo.{theirs}": f"{part}.grpo.{ours}" for part in RL for theirs, ours in GRPO_ALIASES.items()}
R1 = Pipeline("r1", R1Settings, run, plan, _ALIASES)
