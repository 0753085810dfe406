"""Journey against shortcut: does a student learn more from wrong paths that are noticed and corrected, or from right
paths alone? (O1 Replication Journey, Qin et al. 2024, arXiv 2410.18982.)

One model's graded attempts make two sets of rows on the same problems and of as many tokens: journeys (wrong attempts,
reflections, the right one) and shortcuts (right ones alone). The same base learns from each; both are measured.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.records import write_json_atomic
from ponder.core.store import NotReady, Run, read_manifest
from ponder.data.journey import REFLECTIONS, JourneySettings, journeys, shortcuts
from ponder.data.rows import write_rows
from ponder.data.trace import read_traces
from ponder.evals import read_result
from ponder.mini.phrases import PHRASES
from ponder.models.chat import renderer
from ponder.models.load import load_tokenizer, resolve_model
from ponder.pipelines import Pipeline, Plan
from ponder.pipelines.data_stages import SFT_ROWS, TRACES, SampleSettings, sample_traces
from ponder.pipelines.learn_stages import fine_tune, lasting_rows
from ponder.pipelines.machine import Machine, planned, start
from ponder.pipelines.measure import MeasureSettings, measure_stage
from ponder.pipelines.mix import MixSettings, held_out_of_mix, told_of
from ponder.pipelines.self_data import lesson_rows
from ponder.pipelines.self_improve import KEPT_SHARE
from ponder.pipelines.self_table import COLUMNS, LENIENT, RIGHT, expected
from ponder.pipelines.stage_table import Column, as_table, figures, mean, share, write_table
from ponder.pipelines.together import stage
from ponder.training.distributed import World
from ponder.training.sft import SFTSettings

STUDENTS = ("journey", "shortcut")
WORLDS_OWN = {lang: (f"{say['check']} {say['wrong']}\n{say['wait']}", say["wait"]) for lang, say in PHRASES.items()}
"""Reflections as the pages of the miniature world have them, token for token: its verdicts never begin a line, and a
small model that has not met such a line spells it wrong."""


class JourneyRunSettings(Settings):
    """The settings of `ponder run journey`."""

    model: str = "mini"
    """The base that attempts and that learns: `mini`, a directory in Hugging Face layout, or a hub id."""
    prompt_style: str = "chat"
    sandbox: str = "auto"
    """Where answers that are programs run: auto, full, nons, an endpoint, or weak (limits, no walls)."""
    seed: int = 0
    processes: int = Field(0, ge=0)
    """0 is one a core for a small model on a CPU, else one."""
    data: MixSettings = MixSettings()
    measure: MeasureSettings = MeasureSettings()
    sample: SampleSettings = SampleSettings(problems=1200, general_share=0.125, n=8)
    """The attempts: several a problem, for right and wrong ones are needed."""
    journey: JourneySettings = JourneySettings()
    reflections: Literal["auto", "world", "plain"] = "auto"
    """world: the miniature world's own words; plain: sentences; auto: by the problems."""
    sft: SFTSettings = SFTSettings(max_length=0)

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        """`seed` is the training's and the journeys' too, unless their own is given."""
        if not isinstance(values, Mapping):
            return values
        told = dict(values)
        for name in ("sft", "journey"):
            usual = cls.model_fields[name].default.model_dump(exclude_unset=True)
            if isinstance(told.get(name, {}), Mapping):
                told[name] = {"seed": told.get("seed", 0), **usual, **told.get(name, {})}
        return told


def run(settings: JourneyRunSettings, out: Path) -> Path:
    """Do what is left of the run in `out`; returns the report's path."""
    out = Path(out)
    settings, machine = start(settings, "journey")
    try:
        _run(World(), settings, out, ready_only=True)
    except NotReady:
        machine.launch(_run, (settings, out))
    if os.environ.get("RANK", "0") == "0":  # under torchrun: one rank talks
        from ponder.report import build_report

        return build_report(out)
    return out / "report.html"


def _run(world: World, s: JourneyRunSettings, out: Path, ready_only: bool = False) -> None:
    run_ = Run(out, ready_only)
    common: dict[str, Any] = {**told_of(s.data), "prompt_style": s.prompt_style, "seed": s.seed}
    base = resolve_model(s.model)

    def measured(name: str, model: Path | str) -> Path:
        cfg = {**common, "name": name, "measure": s.measure.model_dump(mode="json")}
        return stage(world, run_, f"eval-{name}", measure_stage, cfg, model=model)

    evaluations = {"base": measured("base", base)}
    cfg = {**common, "name": "attempts", "teacher": "base", "sample": s.sample.model_dump(mode="json")}
    attempts = stage(world, run_, "attempts", sample_traces, cfg, model=base)
    own = s.data.train_file is None if s.reflections == "auto" else s.reflections == "world"
    said: Mapping[str, tuple[str, ...]] = WORLDS_OWN if own else REFLECTIONS
    cfg = {**common, "journey": s.journey.model_dump(mode="json"), "reflections": {k: list(v) for k, v in said.items()}}
    data = stage(world, run_, "data", make_rows, cfg, model=base, traces=attempts)
    for name in STUDENTS:
        cfg = {"sft": lasting_rows(s.sft)}
        rows = data / name / SFT_ROWS
        student = stage(world, run_, name, fine_tune, cfg, {"sft": s.sft}, model=base, data=rows) / "model"
        evaluations[name] = measured(name, student)
    stage(world, run_, "table", journey_table, {}, None, data=data, **evaluations)


def make_rows(
    cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str, traces: Path
) -> Mapping[str, Any]:
    """`journey/sft.jsonl` and `shortcut/sft.jsonl`, their traces beside them, and `counts.json`.

    cfg: `mix`, `prompt_style`, `journey` (`JourneySettings`), `reflections` (by language).
    Raises PonderError where no journey with a wrong attempt can be made, or a problem is held out.
    """
    if not world.first:
        return {}
    tokenizer, _ = load_tokenizer(str(model))

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = read_traces(traces / TRACES)
    held_out, _ = held_out_of_mix(MixSettings(**cfg["mix"]))
    settings = JourneySettings(**cfg["journey"])
    made = journeys(rows, settings, held_out, count, cfg["reflections"])
    if not made.rows or (len(settings.shares) > 1 and not sum(made.made[n] for n in made.made if n)):
        raise PonderError(
            f"no journey can be made of {len(rows)} attempts: {made.problems} problems have a well-formed right one, "
            f"and wrong ones are needed beside them; raise sample.n or sample.problems"
        )
    render = renderer(tokenizer, cfg["prompt_style"])
    parts = {"journey": list(made.rows), "shortcut": shortcuts(rows, made, count)}
    told: dict[str, Any] = {"problems": made.problems}
    for name, part in parts.items():
        (folder / name).mkdir(exist_ok=True)
        write_rows(folder / name / TRACES, part)
        write_rows(folder / name / SFT_ROWS, lesson_rows(part, render))
        told[name] = {
            "rows": len(part), "tokens": sum(row["completion_tokens"] for row in part),
            "problems": len({row["id"] for row in part}),
        }  # fmt: skip
    told |= {"asked": dict(made.asked), "made": dict(made.made), "dropped": dict(made.dropped)}
    told["repeated"] = sum(row["provenance"]["repeat"] > 0 for row in parts["shortcut"])
    write_json_atomic(folder / "counts.json", told)
    return told


make_rows.version = 1  # type: ignore[attr-defined]

BEHAVIOUR = (
    Column("checks", "checks", share(lambda row: row["behaviours"]["self_verification"] > 0)),
    Column("backtracks", "takes back", share(lambda row: row["behaviours"]["backtracking"] > 0)),
    Column("waits", "wait", share(lambda row: row["behaviours"]["aha"] > 0)),
)
"""Shares of responses with at least one such span."""
CLAIMS = (("is right more often", RIGHT), ("is right more often, read leniently,", LENIENT),
          ("takes back more often", BEHAVIOUR[1]))  # fmt: skip
NAMED = {"base": "the base", "journey": "the journey's student", "shortcut": "the shortcut's student"}
LEARNT = (
    Column("rows", "rows", mean("none"), percent=False, better=""),
    Column("trained", "tokens learnt from", mean("none"), percent=False, better=""),
)


def journey_table(
    cfg: Mapping[str, Any], folder: Path, *, world: World, data: Path, **evaluations: Path
) -> Mapping[str, Any]:
    """The stage: `table.json`, the base and both students, and how they differ."""
    if not world.first:
        return {}
    rows = {name: read_result(path / f"{name}.json")[1] for name, path in evaluations.items()}
    columns = (*COLUMNS, *BEHAVIOUR)
    cells: dict[str, dict[str, Any]] = {}
    counts = read_manifest(data)["metrics"]
    for name in ("base", *STUDENTS):
        cells[name] = dict(figures(rows[name], columns))
        if name in STUDENTS:
            cells[name] |= {"rows": counts[name]["rows"], "trained": counts[name]["tokens"]}
    checks = [
        expected(f"{NAMED[b]} {words} than {NAMED[a]}", a, b, rows, column)
        for a, b in (("base", "journey"), ("base", "shortcut"), ("shortcut", "journey"))
        for words, column in CLAIMS
    ]
    notes = [_note(counts)]
    table = as_table("the same held-out problems", (*columns, *LEARNT), cells, notes=notes, checks=checks)
    write_table(folder, table)
    return {name: asdict(cells[name]["right"]) for name in cells}


journey_table.version = 1  # type: ignore[attr-defined]


def _note(counts: Mapping[str, Any]) -> str:
    made = ", ".join(f"{number} with {wrong} wrong" for wrong, number in counts["made"].items())
    return (
        f"journeys on {counts['journey']['problems']} problems: {made}; shortcuts: {counts['shortcut']['rows']} rows, "
        f"{counts['repeated']} of them for a second time or more"
    )


def plan(settings: JourneyRunSettings, out: Path) -> list[Plan]:
    """What is done and what would run, with rough estimates of time and memory on this machine."""
    s, machine, run_ = settings, Machine.of(settings.model, settings.processes), Run(out)
    m, a = s.measure, s.sample
    measure = (f"{m.problems} held-out problems x {m.n} samples", machine, m.problems * m.n, m.max_completion_length)
    rows = [planned(run_, "eval-base", *measure)]
    rows.append(
        planned(run_, "attempts", f"{a.problems} problems x {a.n}", machine, a.problems * a.n, a.max_completion_length)
    )
    rows.append(planned(run_, "data", "journeys, and shortcuts in as many tokens", machine))
    share_of = sum(number * weight for number, weight in enumerate(s.journey.shares)) / sum(s.journey.shares)
    count = round(a.problems * KEPT_SHARE * s.journey.per_problem)
    tokens = count * machine.length(a.max_completion_length) * (1 + share_of)
    for name in STUDENTS:
        what = f"SFT on about {tokens:.0f} tokens, {s.sft.num_train_epochs:g} epochs"
        rows.append(planned(run_, name, what, machine, 0, 0, tokens * s.sft.num_train_epochs))
        rows.append(planned(run_, f"eval-{name}", *measure))
    return [*rows, planned(run_, "table", "the base and both students, with intervals", machine)]


JOURNEY = Pipeline("journey", JourneyRunSettings, run, plan)
