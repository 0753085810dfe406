"""The table of a pipeline's models: what each can do, on the same held-out problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ponder.evals import read_result
from ponder.pipelines.mix import MixSettings, general_tasks
from ponder.pipelines.stage_table import (
    Column,
    Row,
    as_table,
    difference,
    figures,
    in_kinds,
    mean,
    share,
    write_table,
)
from ponder.training.distributed import World


def columns_of(mix: MixSettings, tasks: Sequence[str]) -> list[Column]:
    """The table's columns. tasks: those that occur in the rows; general ones count for instructions and preference."""
    asked = general_tasks(mix)
    general = [task for task in tasks if task in asked]
    reasoning = [task for task in tasks if task not in general]
    right = lambda row: row["correct"]  # noqa: E731
    columns = [
        Column("reasoning", "reasoning", share(right, in_kinds(reasoning)), short="reason"),
        Column("form", "well formed", share(lambda row: row["well_formed"]), short="form"),
        Column("instructions", "instructions", share(right, in_kinds(general)), short="instr"),
        Column("preference", "preferred to base", mean("win"), short="pref"),
        Column("language", "one language", mean("language_consistency"), short="lang"),
        Column("readability", "readable", mean("readability"), short="read"),
        Column("length", "tokens", mean("tokens"), percent=False, better=""),
    ]
    columns += [Column(f"kind/{task}", task.replace("_", " "), share(right, in_kinds([task]))) for task in reasoning]
    return columns


def models_table(cfg: Mapping[str, Any], folder: Path, *, world: World, **measured: Path) -> Mapping[str, Any]:
    """The stage: `table.json`, one row a model, and each expected difference with its verdict.

    cfg: `title`, `mix`, `names` (model -> its title), `expected` (a list of `{told, column, a, b, expected}`: in
    `column`, model b is `higher` or `lower` than a). measured: for each model the folder of its evaluation.
    """
    if not world.first:
        return {}
    rows = {name: read_result(path / f"{name}.json")[1] for name, path in measured.items()}
    tasks = list(dict.fromkeys(row["task"] for part in rows.values() for row in part))
    columns = [
        column for column in columns_of(MixSettings(**cfg["mix"]), tasks)
        if any(column.of(row)[1] for part in rows.values() for row in part)
    ]  # fmt: skip
    order = [name for name in cfg["names"] if name in rows]
    cells = {cfg["names"][name]: figures(rows[name], columns, "models") for name in order}
    known = {column.key: column for column in columns}
    checks = [
        checked(told, rows[told["a"]], rows[told["b"]], known[told["column"]]) for told in cfg.get("expected", ())
        if told["a"] in rows and told["b"] in rows and told["column"] in known
    ]  # fmt: skip
    models = {name: cfg["names"][name] for name in order}
    write_table(folder, as_table(cfg["title"], columns, cells, checks=checks, models=models))
    return {f"{name}/{columns[0].key}": cells[cfg["names"][name]][columns[0].key].value for name in order}


models_table.version = 1  # type: ignore[attr-defined]


def checked(told: Mapping[str, Any], a: Sequence[Row], b: Sequence[Row], column: Column) -> dict[str, Any]:
    """Whether an expected difference shows: `agrees`, `does not agree` (the other way round) or `not shown`."""
    gap, seen = difference(a, b, column)
    opposite = {"higher": "lower", "lower": "higher"}[told["expected"]]
    verdict = {told["expected"]: "agrees", opposite: "does not agree"}.get(seen, "not shown")
    return {"told": told["told"], "column": told["column"], "verdict": verdict, "difference": asdict(gap)}
