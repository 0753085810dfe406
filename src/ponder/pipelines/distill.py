"""Distillation (Sky-T1's way; DeepSeek-R1, section 2.4): a teacher's traces, filtered, and SFT of a student, no RL.

The teacher is a model of yours, or traces that are there already (`ponder data generate` asks any endpoint for them).
Where neither is given, a short R1-Zero makes one of the embedded model first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from ponder.core.config import Settings
from ponder.core.store import Run
from ponder.models.load import resolve_model
from ponder.pipelines import Pipeline, Plan
from ponder.pipelines.data_stages import SampleSettings, import_traces, keep_traces, sample_traces
from ponder.pipelines.learn_stages import fine_tune, lasting_rows
from ponder.pipelines.machine import Machine, planned, reported, start
from ponder.pipelines.measure import MeasureSettings, measure_stage
from ponder.pipelines.mix import MixSettings, told_of
from ponder.pipelines.models_table import models_table
from ponder.pipelines.parts import DataStage, RLStage, rl_told
from ponder.pipelines.rl import train_rl
from ponder.pipelines.together import stage
from ponder.training.distributed import World
from ponder.training.settings import GRPO_ALIASES

NAMES = {"teacher": "teacher", "student": "student, base", "distilled": "student, distilled"}
EXPECTED = [
    {"told": "the student learns from the teacher's traces", "column": "reasoning", "a": "student", "b": "distilled",
     "expected": "higher"},
    {"told": "the teacher is still better", "column": "reasoning", "a": "distilled", "b": "teacher",
     "expected": "higher"},
]  # fmt: skip


class DistillSettings(Settings):
    """The settings of `ponder run distill`."""

    model: str = "mini-small"
    """The student."""
    teacher: str | None = None
    """A model; where neither it nor `traces` is given, `teacher_base` is trained by RL first."""
    traces: Path | None = None
    """Traces that are there already (rows of `ponder.data.trace`)."""
    teacher_base: str = "mini"
    teacher_rl: RLStage = RLStage()
    prompt_style: str = "chat"
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core for a small model on a CPU, else one."""
    data: MixSettings = MixSettings()
    measure: MeasureSettings = MeasureSettings()
    distill: DataStage = DataStage(sample=SampleSettings(problems=2000, n=2))


def run(settings: DistillSettings, out: Path) -> Path:
    """Do what is left of the run in `out`; returns the report's path."""
    settings, machine = start(settings, "distill")
    return reported(_run, settings, Path(out), machine)


def _run(world: World, s: DistillSettings, out: Path, ready_only: bool = False) -> None:
    run_ = Run(out, ready_only)
    common: dict[str, Any] = {**told_of(s.data), "prompt_style": s.prompt_style, "seed": s.seed}
    student = resolve_model(s.model)
    models: dict[str, Path | str] = {"student": student}
    held_out = {"mix": common["mix"], "measured": s.measure.problems}
    if s.traces is not None:
        traces = stage(world, run_, "traces", import_traces, held_out, file=s.traces)
    else:
        if s.teacher is not None:
            models["teacher"] = resolve_model(s.teacher)
        else:
            told, harmless = rl_told("teacher", s.teacher_rl, common)
            base = resolve_model(s.teacher_base)
            models["teacher"] = stage(world, run_, "teacher", train_rl, told, harmless, model=base) / "model"
        cfg = {**common, "name": "traces", "sample": s.distill.sample.model_dump(mode="json")}
        traces = stage(world, run_, "traces", sample_traces, cfg, model=models["teacher"])
    cfg = {"name": "data", "filter": s.distill.filter.model_dump(mode="json"), "prompt_style": s.prompt_style,
           "rows": s.distill.rows, **held_out}  # fmt: skip
    data = stage(world, run_, "data", keep_traces, cfg, traces=traces)
    cfg, harmless = {"sft": lasting_rows(s.distill.sft)}, {"sft": s.distill.sft}
    models["distilled"] = stage(world, run_, "distilled", fine_tune, cfg, harmless, model=student, data=data) / "model"
    measured = {}
    for name, model in models.items():
        cfg = {**common, "name": name, "measure": s.measure.model_dump(mode="json")}
        measured[name] = stage(world, run_, f"eval-{name}", measure_stage, cfg, model=model)
    cfg = {"title": "distillation, the same held-out problems", "mix": common["mix"], "names": NAMES}
    stage(world, run_, "table", models_table, {**cfg, "expected": EXPECTED}, None, **measured)


def plan(settings: DistillSettings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory on this machine."""
    s, run_ = settings, Run(out)
    student = Machine.of(s.model, s.processes)
    teacher = Machine.of(s.teacher or s.teacher_base, s.processes)
    rows, sample, g = [], s.distill.sample, s.teacher_rl.grpo
    if s.traces is None and s.teacher is None:
        count = g.max_steps * g.questions_per_step * g.num_generations
        what = f"R1-Zero for a teacher: {g.max_steps} steps of {g.questions_per_step} x {g.num_generations}"
        tokens = count * teacher.length(g.max_completion_length)
        rows.append(planned(run_, "teacher", what, teacher, count, g.max_completion_length, tokens))
    if s.traces is None:
        count = sample.problems * sample.n
        what = f"{sample.problems} problems x {sample.n} samples"
        rows.append(planned(run_, "traces", what, teacher, count, sample.max_completion_length))
    else:
        rows.append(planned(run_, "traces", f"read {s.traces}", teacher))
    rows.append(planned(run_, "data", "filters, and a table of what each took", teacher))
    kept = s.distill.likely_rows
    tokens = kept * student.length(sample.max_completion_length) * s.distill.sft.num_train_epochs
    what = f"SFT on about {kept} rows, {s.distill.sft.num_train_epochs:g} epochs"
    rows.append(planned(run_, "distilled", what, student, trained=tokens))
    for name in NAMES if s.traces is None else ("student", "distilled"):
        of = teacher if name == "teacher" else student
        m = s.measure
        what = f"{m.problems} problems x {m.n}"
        rows.append(planned(run_, f"eval-{name}", what, of, m.problems * m.n, m.max_completion_length))
    return [*rows, planned(run_, "table", "one row a model, with intervals", student)]


_ALIASES = {f"teacher_rl.grpo.{theirs}": f"teacher_rl.grpo.{ours}" for theirs, ours in GRPO_ALIASES.items()}
DISTILL = Pipeline("distill", DistillSettings, run, plan, _ALIASES)
