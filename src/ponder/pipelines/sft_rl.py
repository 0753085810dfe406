"""SFT, then RL (the hybrid way): a base learns from its own right answers, and RL goes on from there.

The same RL straight from the base stands beside it, so that the table says what the supervised step bought.
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

NAMES = {"base": "base", "sft": "SFT", "both": "SFT, then RL", "alone": "RL alone"}
EXPECTED = [
    {"told": "SFT on its own right answers helps", "column": "reasoning", "a": "base", "b": "sft",
     "expected": "higher"},
    {"told": "RL after SFT helps further", "column": "reasoning", "a": "sft", "b": "both", "expected": "higher"},
    {"told": "SFT before RL is better than RL alone for as many steps", "column": "reasoning", "a": "alone",
     "b": "both", "expected": "higher"},
]  # fmt: skip


class SFTRLSettings(Settings):
    """The settings of `ponder run sft-rl`."""

    model: str = "mini"
    """`mini`, a directory in Hugging Face layout, or a hub id."""
    traces: Path | None = None
    """Traces of a teacher to begin with, in place of the base's own right answers."""
    prompt_style: str = "chat"
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core for a small model on a CPU, else one."""
    data: MixSettings = MixSettings()
    measure: MeasureSettings = MeasureSettings()
    start: DataStage = DataStage(sample=SampleSettings(problems=1500, n=4))
    """What the supervised step learns from."""
    rl: RLStage = RLStage()


def run(settings: SFTRLSettings, out: Path) -> Path:
    """Do what is left of the run in `out`; returns the report's path."""
    settings, machine = start(settings, "sft-rl")
    return reported(_run, settings, Path(out), machine)


def _run(world: World, s: SFTRLSettings, out: Path, ready_only: bool = False) -> None:
    run_ = Run(out, ready_only)
    common: dict[str, Any] = {**told_of(s.data), "prompt_style": s.prompt_style, "seed": s.seed}
    models: dict[str, Path | str] = {"base": resolve_model(s.model)}
    held_out = {"mix": common["mix"], "measured": s.measure.problems}
    if s.traces is not None:
        traces = stage(world, run_, "traces", import_traces, held_out, file=s.traces)
    else:
        cfg = {**common, "name": "traces", "sample": s.start.sample.model_dump(mode="json")}
        traces = stage(world, run_, "traces", sample_traces, cfg, model=models["base"])
    cfg = {"name": "data", "filter": s.start.filter.model_dump(mode="json"), "prompt_style": s.prompt_style,
           "rows": s.start.rows, **held_out}  # fmt: skip
    data = stage(world, run_, "data", keep_traces, cfg, traces=traces)
    cfg, harmless = {"sft": lasting_rows(s.start.sft)}, {"sft": s.start.sft}
    models["sft"] = stage(world, run_, "sft", fine_tune, cfg, harmless, model=models["base"], data=data) / "model"
    for name, begin in (("both", "sft"), ("alone", "base")):
        told, harmless = rl_told("rl", s.rl, common)  # the same problems in the same order
        models[name] = stage(world, run_, f"rl-{name}", train_rl, told, harmless, model=models[begin]) / "model"
    measured = {}
    for name, model in models.items():
        cfg = {**common, "name": name, "measure": s.measure.model_dump(mode="json")}
        measured[name] = stage(world, run_, f"eval-{name}", measure_stage, cfg, model=model)
    cfg = {"title": "SFT, then RL: the same held-out problems", "mix": common["mix"], "names": NAMES}
    stage(world, run_, "table", models_table, {**cfg, "expected": EXPECTED}, None, **measured)


def plan(settings: SFTRLSettings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory on this machine."""
    s, run_, machine = settings, Run(out), Machine.of(settings.model, settings.processes)
    sample, g, m = s.start.sample, s.rl.grpo, s.measure
    what = f"{sample.problems} problems x {sample.n} samples" if s.traces is None else f"read {s.traces}"
    count = sample.problems * sample.n if s.traces is None else 0
    rows = [planned(run_, "traces", what, machine, count, sample.max_completion_length)]
    rows.append(planned(run_, "data", "filters, and a table of what each took", machine))
    kept = s.start.likely_rows
    tokens = kept * machine.length(sample.max_completion_length) * s.start.sft.num_train_epochs
    rows.append(planned(run_, "sft", f"SFT on about {kept} rows", machine, trained=tokens))
    count = g.max_steps * g.questions_per_step * g.num_generations
    what = f"{g.max_steps} steps of {g.questions_per_step} questions x {g.num_generations}, loss {g.loss_type}"
    tokens = count * machine.length(g.max_completion_length)
    rows += [planned(run_, f"rl-{name}", what, machine, count, g.max_completion_length, tokens)
             for name in ("both", "alone")]  # fmt: skip
    what = f"{m.problems} problems x {m.n}"
    rows += [planned(run_, f"eval-{name}", what, machine, m.problems * m.n, m.max_completion_length) for name in NAMES]
    return [*rows, planned(run_, "table", "one row a model, with intervals", machine)]


SFT_RL = Pipeline("sft-rl", SFTRLSettings, run, plan, {f"rl.grpo.{a}": f"rl.grpo.{b}" for a, b in GRPO_ALIASES.items()})
