"""R1's table: every model in one row, beside the published one, and whether the shape of the paper appears here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ponder.core.records import write_json_atomic
from ponder.evals import read_result
from ponder.evals.summary import verdict
from ponder.pipelines.mix import MixSettings
from ponder.pipelines.models_table import checked, columns_of
from ponder.pipelines.stage_table import (
    Column,
    Row,
    as_table,
    composite_difference,
    difference,
    figures,
    mean,
    win_rates,
    write_table,
)
from ponder.training.distributed import World

PUBLISHED = {
    "title": "DeepSeek-R1 (arXiv 2501.12948, table 3), per cent",
    "columns": ["AIME 2024", "MATH-500", "IF-Eval", "ArenaHard"],
    "rows": {
        "R1-Zero": [77.9, 95.9, 46.6, 53.6], "cold start": [59.0, 94.2, 71.7, 77.0],
        "+ reasoning RL": [74.0, 95.9, 72.0, 73.2], "SFT on both": [78.1, 95.4, 78.1, 75.6],
        "R1": [79.8, 97.3, 83.3, 92.3],
    },
}  # fmt: skip
"""R1's stages as published: R1-Zero, Dev1, Dev2, Dev3, R1."""


@dataclass(frozen=True)
class Shape:
    """Something that the paper reports: in `column`, model b is higher or lower than model a."""

    told: str
    column: str
    a: str
    b: str
    expected: str


SHAPES = (
    Shape("R1-Zero reasons far better than its base", "reasoning", "base", "zero", "higher"),
    Shape("R1-Zero mixes languages more than its base", "language", "base", "zero", "lower"),
    Shape("the cold start mends the language", "language", "zero", "cold", "higher"),
    Shape("the cold start mends readability", "readability", "zero", "cold", "higher"),
    Shape("the cold start follows instructions better than R1-Zero", "instructions", "zero", "cold", "higher"),
    Shape("the cold start costs accuracy", "reasoning", "zero", "cold", "lower"),
    Shape("RL wins the accuracy back", "reasoning", "cold", "rl", "higher"),
    Shape("RL keeps the language that the cold start mended", "language", "zero", "rl", "higher"),
    Shape("general data mends instruction following", "instructions", "rl", "sft", "higher"),
    Shape("RL for all scenarios: instructions", "instructions", "sft", "r1", "higher"),
    Shape("RL for all scenarios: preference", "preference", "sft", "r1", "higher"),
    Shape("RL for all scenarios: reasoning", "reasoning", "sft", "r1", "higher"),
    Shape("the distilled student beats the same student by RL alone", "reasoning", "alone", "distilled", "higher"),
)

TAKEN_TOGETHER = ("reasoning", "form", "instructions", "preference", "language", "readability")
"""The columns whose mean says which model is best over all of them."""


def r1_table(cfg: Mapping[str, Any], folder: Path, *, world: World, **measured: Path) -> Mapping[str, Any]:
    """The stage: `table.json` (rows, shapes that the paper reports and whether they hold here, what was published).

    cfg: `mix`, `names` (model -> its title), `trained` (model -> tokens that its stage read or wrote).
    measured: for each model the folder of its evaluation.
    """
    if not world.first:
        return {}
    rows = {name: read_result(path / f"{name}.json")[1] for name, path in measured.items()}
    rows = {name: win_rates(part, rows["base"]) for name, part in rows.items()}
    tasks = list(dict.fromkeys(row["task"] for row in rows["base"]))
    columns = columns_of(MixSettings(**cfg["mix"]), tasks)
    known = {column.key: column for column in columns}
    order = [name for name in cfg["names"] if name in rows]
    cells: dict[str, dict[str, Any]] = {name: dict(figures(rows[name], columns, "r1")) for name in order}
    for name in order:
        cells[name]["trained"] = cfg["trained"].get(name)
        values = [cells[name][key].value for key in TAKEN_TOGETHER if cells[name][key].value is not None]
        cells[name]["together"] = sum(values) / len(values) if values else None
    columns.insert(6, Column("together", "mean of these", mean("none"), short="mean"))
    columns.insert(8, Column("trained", "tokens trained on", mean("none"), percent=False, better="", short="trained"))
    checks = [
        checked(asdict(shape), rows[shape.a], rows[shape.b], known[shape.column]) for shape in SHAPES
        if shape.a in rows and shape.b in rows
    ]  # fmt: skip
    together = [known[key] for key in TAKEN_TOGETHER]
    checks.append(best_of_all(cells, rows, together, [n for n in ("base", "zero", "cold", "rl", "sft") if n in rows]))
    titles = {cfg["names"][name]: cells[name] for name in order}
    table = as_table("after each stage, the same held-out problems", columns, titles, checks=checks,
                     published=PUBLISHED, models={name: cfg["names"][name] for name in order})  # fmt: skip
    write_table(folder, table)
    write_json_atomic(folder / "differences.json", [_every_step(a, b, rows, columns) for a, b in _steps(order)])
    return {"agree": sum(check["verdict"] == "agrees" for check in checks), "checks": len(checks)}


r1_table.version = 1  # type: ignore[attr-defined]


def best_of_all(
    cells: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Sequence[Row]], columns: Sequence[Column],
    others: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Whether R1 has a higher mean over the columns that say how good a model is than the best of `others`."""
    best = max(others, key=lambda name: cells[name]["together"] or 0.0)
    gap = composite_difference(rows[best], rows["r1"], columns)
    seen = {"higher": "agrees", "lower": "does not agree"}.get(verdict(gap), "not shown")
    told = f"the final model is best over all columns taken together (next to it: {cells_title(best)})"
    return {"told": told, "column": "together", "verdict": seen, "difference": asdict(gap)}


def cells_title(name: str) -> str:
    """A model's name in the check's words."""
    return {"zero": "R1-Zero", "cold": "cold start", "rl": "reasoning RL", "sft": "SFT on both"}.get(name, name)


def _steps(order: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(order, order[1:], strict=False))


def _every_step(
    a: str, b: str, rows: Mapping[str, Sequence[Row]], columns: Sequence[Column]
) -> dict[str, Any]:
    told = {}
    for column in columns:
        if column.key not in ("together", "trained"):
            gap, seen = difference(rows[a], rows[b], column)
            told[column.key] = {**asdict(gap), "verdict": seen}
    return {"from": a, "to": b, "differences": told}
