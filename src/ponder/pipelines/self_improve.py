"""Self-improvement: a model learns from those of its own answers that are right, in rounds.

Two pipelines share the loop. `rejection-sampling` (expert iteration; Yuan et al. 2023, arXiv 2308.01825; DeepSeek-R1,
arXiv 2501.12948, section 2.3.3): sample, verify, keep the best of each problem, fine-tune. `star` (Zelikman et al.
2022, arXiv 2203.14465): the same, and problems that were failed are tried again with their answer as a hint, which is
taken out again before training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.core.seeds import seed_of
from ponder.core.store import NotReady, Run
from ponder.data.filter import FilterSettings
from ponder.models.load import resolve_model
from ponder.pipelines import Pipeline, Plan
from ponder.pipelines.data_stages import SampleSettings, sample_traces
from ponder.pipelines.learn_stages import fine_tune, lasting_rows
from ponder.pipelines.machine import Machine, planned, start
from ponder.pipelines.measure import MeasureSettings, measure_stage
from ponder.pipelines.mix import MixSettings, told_of
from ponder.pipelines.self_data import keep_own, rationalise
from ponder.pipelines.self_table import rounds_table
from ponder.pipelines.together import stage
from ponder.training.distributed import World
from ponder.training.sft import SFTSettings

KEPT_SHARE = 0.5
"""Share of the problems that are guessed to give a row, before anything is sampled."""


class SelfImproveSettings(Settings):
    """The settings of `ponder run rejection-sampling`, and of `star` but for its hints."""

    model: str = "mini"
    """The base: `mini`, a directory in Hugging Face layout, or a hub id."""
    prompt_style: str = "chat"
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core for a small model on a CPU, else one."""
    data: MixSettings = MixSettings()
    measure: MeasureSettings = MeasureSettings()
    rounds: int = Field(2, ge=1)
    train_from: Literal["base", "previous"] = "base"
    """What each round's fine-tuning starts from; `base` does not build up what earlier rounds learnt too well."""
    same_problems: bool = False
    """Ask the same problems in every round, as STaR's paper does; else each round draws its own."""
    accumulate: bool = False
    """Train on the rows of all rounds so far; else on those of this round."""
    sample: SampleSettings = SampleSettings(problems=1200, general_share=0.125, n=4)
    filter: FilterSettings = FilterSettings(well_formed=True, max_per_problem=1, which="random")
    """Which answers are learnt from; `which` is the rule that chooses among a problem's right ones."""
    scorer: Path | None = None
    """An outcome model (`ponder train reward-model`) whose score `filter.which=best` goes by."""
    sft: SFTSettings = SFTSettings(max_length=0)

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        """`seed` is the training's too, unless `sft.seed` is given; so with the filter's."""
        if not isinstance(values, Mapping):
            return values
        told = dict(values)
        for name in ("sft", "filter"):
            usual = cls.model_fields[name].default.model_dump(exclude_unset=True)
            if isinstance(told.get(name, {}), Mapping):
                told[name] = {"seed": told.get("seed", 0), **usual, **told.get(name, {})}
        return told

    @model_validator(mode="after")
    def _best_needs_a_score(self) -> SelfImproveSettings:
        if self.filter.which == "best" and self.scorer is None:
            raise ValueError(
                "filter.which is best, and scorer names no outcome model: give scorer=DIR, or another rule"
            )
        return self


class HintSettings(Settings):
    """STaR's second try: the answer as a hint."""

    form: Literal["parentheses", "line", "told"] = "line"
    """A row of `ponder.data.star.HINTS`."""
    open_thought: bool = True
    """Write `<think>` at the end of the hinted prompt, so that a thought comes before the answer."""
    n: int = Field(1, ge=1)
    """Samples of each problem that was failed."""
    temperature: float = Field(1.0, ge=0)
    control: int = Field(200, ge=0)
    """Failed problems that are also tried with another problem's answer as the hint, and without any, to see what the
    hint is worth; their answers are never learnt from."""


class StarSettings(SelfImproveSettings):
    """The settings of `ponder run star`."""

    same_problems: bool = True
    rationalise: bool = True
    """Try failed problems again with their answer as a hint."""
    hint: HintSettings = HintSettings()


def run(settings: SelfImproveSettings, out: Path, *, name: str) -> Path:
    """Do what is left of the run in `out`; returns the report's path."""
    out = Path(out)
    settings, machine = start(settings, name)
    try:
        _rounds(World(), settings, out, ready_only=True)
    except NotReady:
        machine.launch(_rounds, (settings, out))
    if os.environ.get("RANK", "0") == "0":  # under torchrun: one rank talks
        from ponder.report import build_report

        return build_report(out)
    return out / "report.html"


def _rounds(world: World, s: SelfImproveSettings, out: Path, ready_only: bool = False) -> None:
    run_ = Run(out, ready_only)
    common: dict[str, Any] = {**told_of(s.data), "prompt_style": s.prompt_style, "seed": s.seed}
    base = resolve_model(s.model)
    measured = {"base": _measured(world, run_, s, common, "base", base)}
    model: Path | str = base
    rows: dict[str, Path] = {}
    for r in range(1, s.rounds + 1):
        data = _data(world, run_, s, common, r, model)
        rows = {**(rows if s.accumulate else {}), f"rows_{r}": data}
        sft = s.sft.model_copy(update={"seed": seed_of(s.sft.seed, "round", r) >> 32})
        begun = base if s.train_from == "base" else model
        cfg = {"sft": lasting_rows(sft)}
        model = stage(world, run_, f"round-{r}-sft", fine_tune, cfg, {"sft": sft}, model=begun, **rows) / "model"
        measured[f"round-{r}"] = _measured(world, run_, s, common, f"round-{r}", model)
    data_of = {f"data_{r}": out / f"round-{r}-data" for r in range(1, s.rounds + 1)}
    stage(world, run_, "table", rounds_table, {"rounds": s.rounds}, None, **_underscored(measured), **data_of)


def _measured(
    world: World, run_: Run, s: SelfImproveSettings, common: Mapping[str, Any], name: str, model: Path | str
) -> Path:
    cfg = {**common, "name": name, "measure": s.measure.model_dump(mode="json")}
    return stage(world, run_, f"eval-{name}", measure_stage, cfg, model=model)


def _underscored(paths: Mapping[str, Path]) -> dict[str, Path]:
    return {name.replace("-", "_"): path for name, path in paths.items()}


def _data(
    world: World, run_: Run, s: SelfImproveSettings, common: Mapping[str, Any], r: int, model: Path | str
) -> Path:
    drawn = "problems" if s.same_problems else f"round-{r}"
    cfg = {**common, "name": drawn, "teacher": f"round {r - 1}", "sample": s.sample.model_dump(mode="json")}
    traces = stage(world, run_, f"round-{r}-traces", sample_traces, cfg, model=model)
    hints: dict[str, Path] = {}
    if isinstance(s, StarSettings) and s.rationalise:
        cfg = {**cfg, "name": f"round-{r}-hints", "hint": s.hint.model_dump(mode="json")}
        hints = {"hints": stage(world, run_, f"round-{r}-hints", rationalise, cfg, model=model, traces=traces)}
    told = {**common, "name": f"round-{r}-data", "filter": s.filter.model_dump(mode="json")}
    told |= {"against": [str(s.data.test_file)] if s.data.test_file else []}
    told |= {"n": s.sample.n}
    scorer = {"scorer": s.scorer} if s.scorer is not None else {}
    return stage(world, run_, f"round-{r}-data", keep_own, told, None, model=model, traces=traces, **hints, **scorer)


def plan(settings: SelfImproveSettings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory on this machine."""
    s, machine, run_ = settings, Machine.of(settings.model, settings.processes), Run(out)
    m, a, rows = s.measure, s.sample, []
    measure = (f"{m.problems} held-out problems x {m.n} samples", machine, m.problems * m.n, m.max_completion_length)
    rows.append(planned(run_, "eval-base", *measure))
    each = round(a.problems * KEPT_SHARE) * (s.filter.max_per_problem or round(a.n * KEPT_SHARE))
    for r in range(1, s.rounds + 1):
        name, limit = f"round-{r}", a.max_completion_length
        rows.append(planned(run_, f"{name}-traces", f"{a.problems} problems x {a.n}", machine, a.problems * a.n, limit))
        if isinstance(s, StarSettings) and s.rationalise:
            tries = round(a.problems * (1 - KEPT_SHARE)) * s.hint.n + 2 * s.hint.control
            rows.append(planned(run_, f"{name}-hints", f"about {tries} with a hint", machine, tries, limit))
        rows.append(planned(run_, f"{name}-data", "filters, and a table of what each took", machine))
        lessons = each * (r if s.accumulate else 1)
        tokens = lessons * machine.length(limit) * s.sft.num_train_epochs
        what = f"SFT of the {s.train_from} model on about {lessons} rows, {s.sft.num_train_epochs:g} epochs"
        rows.append(planned(run_, f"{name}-sft", what, machine, 0, 0, tokens))
        rows.append(planned(run_, f"eval-{name}", *measure))
    return [*rows, planned(run_, "table", "one row a round, with intervals", machine)]


ALIASES: Mapping[str, str] = {}
REJECTION_SAMPLING = Pipeline(
    "rejection-sampling", SelfImproveSettings, partial(run, name="rejection-sampling"), plan, ALIASES
)
STAR = Pipeline("star", StarSettings, partial(run, name="star"), plan, ALIASES)
PIPELINES: Sequence[Pipeline] = (REJECTION_SAMPLING, STAR)
