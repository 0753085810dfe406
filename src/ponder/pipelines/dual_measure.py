"""Measuring a model in both modes, and choosing with what weight two models are merged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from ponder.core.config import Settings
from ponder.core.records import write_atomic, write_json_atomic
from ponder.core.seeds import seed_of
from ponder.core.store import read_manifest
from ponder.core.thinking import opens_thought
from ponder.core.types import Problem
from ponder.evals import read_result, spec_of, write_result
from ponder.evals.metrics import Estimate
from ponder.evals.modes import MODES, Mode, in_mode, mode_figures, mode_metrics
from ponder.models.chat import renderer
from ponder.models.load import LoadedModel, load_model
from ponder.models.merge import merge
from ponder.pipelines.dual_data import STYLE
from ponder.pipelines.measure import MeasureSettings
from ponder.pipelines.mix import MixSettings, held_out_problems
from ponder.pipelines.sampled import Rows, sampled_rows
from ponder.pipelines.stage_table import Column, Row, as_table, difference, figures, mean, share, write_table
from ponder.pipelines.sweep_plot import sweep_svg
from ponder.training.distributed import World

SWEEP = "sweep.json"


class MergeSettings(Settings):
    """How the preference-tuned model is merged with the mid-trained one, and how its weight is chosen."""

    method: Literal["linear", "slerp"] = "linear"
    weights: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.5, 0.0)
    """The preference-tuned model's shares that are tried, the other's being the rest. SmolLM3 took 0.9."""
    measure: MeasureSettings = MeasureSettings(problems=160, n=2)
    """On validation problems, in both modes."""

    @model_validator(mode="after")
    def _shares(self) -> MergeSettings:
        wrong = [weight for weight in self.weights if not 0 <= weight <= 1]
        if wrong or len(set(self.weights)) < len(self.weights) or not self.weights:
            raise ValueError(f"weights are {list(self.weights)}: give different shares between 0 and 1")
        return self


def both_modes(
    loaded: LoadedModel, problems: Sequence[Problem], settings: MeasureSettings, seed: int, world: World, label: str
) -> dict[Mode, Rows]:
    """Graded rows in each mode, with what `ponder.evals.modes.in_mode` tells of them."""

    def count(text: str) -> int:
        return len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])

    found: dict[Mode, Rows] = {}
    for mode in MODES:
        render = renderer(loaded.tokenizer, STYLE[mode])
        name = f"{label} {mode}" if label else ""
        rows = sampled_rows(loaded, problems, render, settings.params, seed_of(seed, mode), world, name)
        opened = opens_thought(render(problems[0]))
        found[mode] = [in_mode(row, mode, count, opened) for row in rows]
    return found


def measure_modes(cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str) -> Mapping[str, Any]:
    """A stage: `think.json(l)` and `no_think.json(l)` of `model` on held-out problems; returns the rates.

    cfg: `name`, `mix`, `measure` (`MeasureSettings`), `seed`.
    """
    settings = MeasureSettings(**cfg["measure"])
    problems = held_out_problems(MixSettings(**cfg["mix"]), settings.problems, "test")
    seed = seed_of(cfg["seed"], "evaluation")
    rows = both_modes(load_model(str(model)), problems, settings, seed, world, str(cfg["name"]))
    for mode in MODES if world.first else ():
        spec = spec_of(problems, settings.params, STYLE[mode], seed_of(seed, mode))
        modes = {name: asdict(one) for name, one in mode_figures(rows[mode])[mode].items()}
        write_result(folder, mode, spec, rows[mode], modes=modes)
    return mode_metrics([row for mode in MODES for row in rows[mode]])


measure_modes.version = 1  # type: ignore[attr-defined]


def sweep(cfg: Mapping[str, Any], folder: Path, *, world: World, tuned: Path, mid: Path) -> Mapping[str, Any]:
    """A stage: the merge at each weight, measured on validation problems; the best one is `model`.

    Best is the mean over both modes of strict accuracy (right, in the form and the mode that were asked for); of equal
    ones the larger weight. `sweep.json` and `sweep.svg` show all. Weights that an earlier, stopped try measured are
    taken as they are. cfg: `merge` (`MergeSettings`), `mix`, `seed`.
    """
    settings = MergeSettings(**cfg["merge"])
    problems = held_out_problems(MixSettings(**cfg["mix"]), settings.measure.problems, "validation")
    points = []
    for weight in sorted(settings.weights, reverse=True):
        point = folder / f"weight-{weight:g}"
        done = world.broadcast(_read(point / SWEEP) if world.first else None)
        if done is None:
            if world.first and not (point / "model").exists():
                merge([tuned, mid], point / "model", settings.method, [weight, 1 - weight])
            world.broadcast("merged")
            rows = both_modes(
                load_model(point / "model"), problems, settings.measure, seed_of(cfg["seed"], "sweep"), world, ""
            )
            every = [row for mode in MODES for row in rows[mode]]
            told = {f"{m}/{k}": asdict(e) for m, part in mode_figures(every).items() for k, e in part.items()}
            score = asdict(figures(every, [SCORE], "sweep")["score"])
            done = {"weight": weight, "score": score, **told}
            if world.first:
                write_json_atomic(point / SWEEP, done)
                shutil.rmtree(point / "model")  # a sweep of large models keeps one, not one a weight
        points.append(done)
    best = max(points, key=lambda point: (point["score"]["value"], point["weight"]))
    if world.first:
        write_json_atomic(folder / SWEEP, {"best": best["weight"], "method": settings.method, "points": points})
        write_atomic(folder / "sweep.svg", sweep_svg(points, best["weight"]))
        if not (folder / "model").exists():
            merge([tuned, mid], folder / "model", settings.method, [best["weight"], 1 - best["weight"]])
    return {"weight": best["weight"], "score": best["score"]["value"]}


sweep.version = 1  # type: ignore[attr-defined]


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _of(mode: Mode) -> Callable[[Row], bool]:
    return lambda row: row["mode"] == mode


SCORE = Column("score", "right in its mode", share(lambda row: row["correct"]))
COLUMNS = (
    Column("think/accuracy", "/think right", share(lambda row: row["correct"], _of("think"))),
    Column("no_think/accuracy", "/no_think right", share(lambda row: row["correct"], _of("no_think"))),
    Column("think/obeyed", "thinks", share(lambda row: row["obeyed"], _of("think"))),
    Column("no_think/obeyed", "answers at once", share(lambda row: row["obeyed"], _of("no_think"))),
    Column("no_think/leaked", "leaks", share(lambda row: row["leaked"], _of("no_think")), better="low"),
    Column("no_think/worked", "works it out", share(lambda row: row["worked"], _of("no_think")), better="low"),
    Column("think/empty", "empty thoughts", share(lambda row: row["empty_thought"], _of("think")), better="low"),
    Column("hidden", "only in the thought", share(lambda row: row["only_in_thought"]), better="low"),
    Column("think/tokens", "/think tokens", mean("tokens", _of("think")), percent=False, better=""),
    Column("no_think/tokens", "/no_think tokens", mean("tokens", _of("no_think")), percent=False, better=""),
    Column("no_think/think_tokens", "leaked tokens", mean("think_tokens", _of("no_think")), False, "low"),
)
"""`right` is strict: in the form and the mode that were asked for."""

STEPS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("mid-training raises accuracy with thinking", "think/accuracy", "base", "mid", ("higher",)),
    ("after SFT on both, /no_think is obeyed more than before", "no_think/obeyed", "mid", "sft", ("higher",)),
    ("APO raises right answers in the form of /think", "think/accuracy", "sft", "apo", ("higher",)),
    ("APO raises right answers in the form of /no_think", "no_think/accuracy", "sft", "apo", ("higher",)),
    ("APO costs no accuracy with thinking", "think/accuracy", "sft", "apo", ("higher", "not shown")),
    ("APO costs no accuracy without", "no_think/accuracy", "sft", "apo", ("higher", "not shown")),
    ("the merge costs nothing against APO with thinking", "think/accuracy", "apo", "merged", ("higher", "not shown")),
    ("the merge costs nothing against APO without", "no_think/accuracy", "apo", "merged", ("higher", "not shown")),
)
"""What is expected of a step: told, column, from, to, the verdicts that agree."""


def dual_table(
    cfg: Mapping[str, Any], folder: Path, *, world: World, swept: Path, tuned: Path, **measured: Path
) -> Mapping[str, Any]:
    """The stage: `table.json`, a row a model, what was expected of each step and whether it shows, the sweep's points.

    cfg: `names` (model -> its title). swept, tuned: the folders of the sweep and of APO. measured: for each model the
    folder of its evaluation.
    """
    if not world.first:
        return {}
    rows = {
        name: [row for mode in MODES for row in read_result(path / f"{mode}.json")[1]]
        for name, path in measured.items()
    }
    order = [name for name in cfg["names"] if name in rows]
    cells: dict[str, Mapping[str, Estimate]] = {name: figures(rows[name], COLUMNS, "dual") for name in order}
    columns = {column.key: column for column in COLUMNS}
    checks = []
    for told, key, before, after, agrees in STEPS:
        gap, seen = difference(rows[before], rows[after], columns[key])
        seen = seen if seen in ("higher", "lower") else "not shown"
        verdict = "agrees" if seen in agrees else "not shown" if seen == "not shown" else "does not agree"
        checks.append({"told": told, "column": key, "verdict": verdict, "difference": asdict(gap)})
    found = json.loads((swept / SWEEP).read_text(encoding="utf-8"))
    note = (
        f"merge ({found['method']}): {found['best']:g} of the APO model and {1 - found['best']:.2g} of the mid-trained "
        "one, chosen on validation problems"
    )
    write_table(
        folder,
        as_table(
            "two modes, after each stage, the same held-out problems", COLUMNS,
            {cfg["names"][name]: cells[name] for name in order}, checks=checks, notes=[*_preferred(tuned), note],
            curves=[_curve(found)],
        ),
    )  # fmt: skip
    return {"agree": sum(check["verdict"] == "agrees" for check in checks), "checks": len(checks)}


dual_table.version = 1  # type: ignore[attr-defined]


def _preferred(tuned: Path) -> list[str]:
    """How far APO moved the model towards the better side of pairs that it did not learn from."""
    told = read_manifest(tuned)["metrics"]
    if "eval_rewards/accuracies" not in told:
        return []
    share, margin = told["eval_rewards/accuracies"], told["eval_rewards/margins"]
    return [f"APO: {100 * share:.0f} % of held-out pairs moved towards the better answer, mean margin {margin:.3f}"]


def _curve(found: Mapping[str, Any]) -> dict[str, Any]:
    keys = {"score": "mean of both", "think/accuracy": "/think right", "no_think/accuracy": "/no_think right",
            "no_think/leaked": "leaks"}  # fmt: skip
    points = sorted(found["points"], key=lambda point: point["weight"])
    series = [
        {"name": title, "points": [[point["weight"], point[key]["value"]] for point in points]}
        for key, title in keys.items()
    ]
    return {"title": "Merging: accuracy by the APO model's share, validation", "x": "share", "best": found["best"],
            "series": series}  # fmt: skip
