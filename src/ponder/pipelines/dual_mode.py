"""Two modes in one model, SmolLM3's way: `/think` thinks, `/no_think` answers at once.

Mid-training on packed, thoughtful traces -> fine-tuning on both modes in balance, gaps filled by a teacher -> APO-zero
on pairs within each mode -> the APO model merged with the mid-trained one, its weight chosen by a sweep on validation
problems. Modes are measured after every stage, on the same held-out problems. (SmolLM3: Bakouch et al. 2025, "SmolLM3:
smol, multilingual, long-context reasoner"; APO: D'Oosterlinck et al. 2024, arXiv 2408.06266.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.records import environment, write_json_atomic
from ponder.core.store import Run
from ponder.data.filter import FilterSettings
from ponder.data.pairs import PairSettings
from ponder.models.chat import knows_modes
from ponder.models.load import load_model, load_tokenizer, resolve_model
from ponder.pipelines import Pipeline, Plan
from ponder.pipelines.dual_data import (
    HELD_PAIRS,
    AnswerSettings,
    BalanceSettings,
    balance_modes,
    keep_thoughts,
    pair_modes,
    sample_modes,
)
from ponder.pipelines.dual_measure import MergeSettings, dual_table, measure_modes, sweep
from ponder.pipelines.learn_stages import PAIRS, fine_tune, lasting_rows
from ponder.pipelines.machine import Machine, planned, reported, start
from ponder.pipelines.measure import MeasureSettings
from ponder.pipelines.mix import MixSettings, told_of
from ponder.pipelines.together import stage
from ponder.tasks.shapes import Preference, read_examples
from ponder.training.distributed import World
from ponder.training.preference import PreferenceSettings, train_preference
from ponder.training.sft import SFTSettings

NAMES = {"base": "base", "mid": "mid-training", "sft": "SFT on both", "apo": "APO", "merged": "merged"}
"""The models that are measured, in the table's order."""

KEPT_SHARE = 0.3
"""Share of the samples that are guessed to become rows or pairs, before anything is sampled."""


class DualModeSettings(Settings):
    """The settings of `ponder run dual-mode`."""

    model: str = "mini"
    """The base: `mini`, a directory in Hugging Face layout, or a hub id; its chat template must know both modes."""
    teacher: str | None = None
    """Who writes traces and fills gaps: a model by name or directory. By default the base itself, and once it is
    mid-trained that model: right answers alone are kept."""
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core for a small model on a CPU, else one."""
    data: MixSettings = MixSettings()
    measure: MeasureSettings = MeasureSettings(problems=240, n=2)
    """In either mode."""
    traces: AnswerSettings = AnswerSettings(problems=1500, n=4, n_no_think=0)
    """For mid-training."""
    filter: FilterSettings = FilterSettings(well_formed=True, max_per_problem=1, which="random")
    """Which answers are learnt from, in mid-training and in both modes."""
    mid: SFTSettings = SFTSettings(packing=True, max_length=512)
    answers: AnswerSettings = AnswerSettings(problems=1000, n=2, n_no_think=2)
    """Of the teacher, for fine-tuning on both modes."""
    balance: BalanceSettings = BalanceSettings()
    sft: SFTSettings = SFTSettings()
    rated: AnswerSettings = AnswerSettings(problems=800, n=4, n_no_think=4)
    """Of the fine-tuned model, for pairs."""
    pairs: PairSettings = PairSettings(well_formed=True)
    apo: PreferenceSettings = PreferenceSettings(loss_type="apo_zero", beta=0.05)
    merge: MergeSettings = MergeSettings()

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        """`seed` is every training's too, unless its own is given. What a part leaves out is its default here."""
        if not isinstance(values, Mapping):
            return values
        told = dict(values)
        for name in PARTS:
            part, usual = told.get(name, {}), cls.model_fields[name].default.model_dump(exclude_unset=True)
            if isinstance(part, Mapping):
                seeded = {"seed": told.get("seed", 0)} if name in SEEDED else {}
                told[name] = {**seeded, **usual, **part}
        return told


SEEDED = ("mid", "sft", "apo", "filter", "pairs")
PARTS = (*SEEDED, "measure", "traces", "answers", "rated")


def run(settings: DualModeSettings, out: Path) -> Path:
    """Do what is left of the run in `out`; returns the report's path."""
    out = Path(out)
    settings, machine = start(settings, "dual-mode")
    if not knows_modes(load_tokenizer(settings.model)[0]):
        raise PonderError(
            f"{settings.model}: its chat template knows neither enable_thinking nor /no_think; take a model whose "
            "template does, or put such a chat_template.jinja into its directory"
        )
    return reported(_run, settings, out, machine)


def _run(world: World, s: DualModeSettings, out: Path, ready_only: bool = False) -> None:
    run_ = Run(out, ready_only)
    common: dict[str, Any] = {**told_of(s.data), "seed": s.seed}
    base = resolve_model(s.model)
    measured: dict[str, Path] = {}

    def sample(name: str, answers: AnswerSettings, model: Path | str, modes: tuple[str, ...], teacher: str) -> Path:
        cfg = {**common, "name": name, "answers": answers.model_dump(mode="json"), "modes": modes, "teacher": teacher}
        return stage(world, run_, name, sample_modes, cfg, model=model)

    def tune(name: str, sft: SFTSettings, model: Path | str, data: Path) -> Path:
        cfg = {"sft": lasting_rows(sft)}
        return stage(world, run_, name, fine_tune, cfg, {"sft": sft}, model=model, data=data) / "model"

    def measure(name: str, model: Path | str) -> None:
        cfg = {**common, "name": name, "measure": s.measure.model_dump(mode="json")}
        measured[name] = stage(world, run_, f"eval-{name}", measure_modes, cfg, model=model)

    measure("base", base)
    teacher: Path | str | None = resolve_model(s.teacher) if s.teacher is not None else None
    kept = {"mix": common["mix"], "filter": s.filter.model_dump(mode="json")}
    traces = sample("traces", s.traces, teacher or base, ("think",), s.teacher or s.model)
    thoughts = stage(world, run_, "mid-data", keep_thoughts, {"name": "mid-data", **kept}, answers=traces)
    mid = tune("mid-training", s.mid, base, thoughts)
    measure("mid", mid)

    answers = sample("answers", s.answers, teacher or mid, ("think", "no_think"), s.teacher or "mid-training")
    cfg = {"name": "sft-data", **kept, "balance": s.balance.model_dump(mode="json"), "seed": s.seed}
    both = tune("sft", s.sft, mid, stage(world, run_, "sft-data", balance_modes, cfg, answers=answers))
    measure("sft", both)

    rated = sample("rated", s.rated, both, ("think", "no_think"), "sft")
    told = {"name": "apo-data", "pairs": s.pairs.model_dump(mode="json", exclude={"modes", "flag", "any_form"})}
    told["mix"] = common["mix"]
    pairs = stage(world, run_, "apo-data", pair_modes, told, answers=rated)
    tuned = stage(world, run_, "apo", prefer, {"apo": lasting_rows(s.apo)}, {"apo": s.apo}, model=both, pairs=pairs)
    apo = tuned / "model"
    measure("apo", apo)

    swept = stage(world, run_, "merge", sweep, {**common, "merge": s.merge.model_dump(mode="json")}, tuned=apo, mid=mid)
    measure("merged", swept / "model")
    stage(world, run_, "table", dual_table, {"names": NAMES}, None, swept=swept, tuned=tuned, **measured)


def prefer(
    cfg: Mapping[str, Any], folder: Path, *, world: World, apo: PreferenceSettings, model: Path, pairs: Path
) -> Mapping[str, Any]:
    """Preference optimisation of `model` on the pairs in the folder `pairs`, measured on those that are held out there.

    cfg: `apo` (what `lasting_rows` gives). apo: the same with what may change between a stop and a start.
    """
    loaded = load_model(str(model), dtype="float32")
    rows, held = _pairs(pairs / PAIRS), _pairs(pairs / HELD_PAIRS)
    if world.first:
        write_json_atomic(folder / "environment.json", {**environment(), "processes": world.size})
    return train_preference(
        apo, loaded.model, loaded.tokenizer, rows, folder, world, validation=held, eos_ids=loaded.eos_ids
    )


prefer.version = 1  # type: ignore[attr-defined]


def _pairs(file: Path) -> list[Preference]:
    if not file.stat().st_size:
        return []
    return [row for row in read_examples(file, "preference") if isinstance(row, Preference)]


def plan(settings: DualModeSettings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory on this machine."""
    s, of, run_ = settings, Machine.of(settings.model, settings.processes), Run(out)
    rows: list[Plan] = []

    def add(name: str, what: str, samples: int = 0, limit: int = 0, trained: float = 0.0) -> None:
        rows.append(planned(run_, name, what, of, samples, limit, trained))

    def sampled(name: str, a: AnswerSettings) -> None:
        what = f"{a.problems} problems, {a.n} answers with thinking and {a.n_no_think} without"
        add(name, what, a.problems * (a.n + a.n_no_think), a.max_completion_length)

    def measure(name: str) -> None:
        m = s.measure
        what = f"{m.problems} problems x {m.n} in both modes"
        add(f"eval-{name}", what, 2 * m.problems * m.n, m.max_completion_length)

    def tokens(a: AnswerSettings, each: int, limit: int) -> float:
        return a.problems * each * KEPT_SHARE * of.length(limit)

    measure("base")
    sampled("traces", s.traces)
    add("mid-data", "right answers with their thoughts, and what each filter took")
    limit = s.traces.max_completion_length
    add("mid-training", f"SFT on packed traces, {s.mid.num_train_epochs:g} epochs", 0, 0,
        tokens(s.traces, s.filter.max_per_problem or s.traces.n, limit) * s.mid.num_train_epochs)  # fmt: skip
    measure("mid")
    sampled("answers", s.answers)
    add("sft-data", f"both modes in balance by {s.balance.by}, gaps filled")
    add("sft", f"SFT on both modes, {s.sft.num_train_epochs:g} epochs", 0, 0,
        tokens(s.answers, 2, limit) * s.sft.num_train_epochs)  # fmt: skip
    measure("sft")
    sampled("rated", s.rated)
    add("apo-data", "pairs within each mode")
    add("apo", f"{s.apo.loss_type}, beta {s.apo.beta:g}, {s.apo.num_train_epochs:g} epochs", 0, 0,
        tokens(s.rated, 4 * s.pairs.pairs_per_problem, limit) * s.apo.num_train_epochs)  # fmt: skip
    measure("apo")
    g = s.merge.measure
    what = f"{len(s.merge.weights)} weights, {g.problems} validation problems x {g.n} in both modes"
    add("merge", what, 2 * g.problems * g.n * len(s.merge.weights), g.max_completion_length)
    measure("merged")
    add("table", "one row a model, with intervals")
    return rows


DUAL_MODE = Pipeline("dual-mode", DualModeSettings, run, plan)
