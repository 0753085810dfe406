"""The table of self-improvement: held-out accuracy after each round, with intervals, and what was learnt from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ponder.core.store import read_manifest
from ponder.evals import read_result
from ponder.pipelines.self_data import HINTS_FILE
from ponder.pipelines.stage_table import (
    Column,
    as_table,
    cell_text,
    difference,
    figures,
    mean,
    share,
    write_table,
)
from ponder.training.distributed import World

RIGHT = Column("right", "right", share(lambda row: row["correct"]))
LENIENT = Column("lenient", "right, read leniently", share(lambda row: row["correct_lenient"]))
COLUMNS = (
    RIGHT,
    LENIENT,
    Column("form", "well formed", share(lambda row: row["well_formed"])),
    Column("length", "tokens", mean("tokens"), percent=False, better=""),
)
COUNTED = (
    Column("sampled_right", "samples right", mean("none")),
    Column("rows", "rows learnt from", mean("none"), percent=False, better=""),
    Column("rationalised", "by a hint", mean("none"), percent=False, better=""),
)


def rounds_table(cfg: Mapping[str, Any], folder: Path, *, world: World, **made: Path) -> Mapping[str, Any]:
    """The stage: `table.json`. made: `base`, `round_1`, … (evaluations) and `data_1`, … (what was learnt from)."""
    if not world.first:
        return {}
    names = ["base", *(f"round-{r}" for r in range(1, cfg["rounds"] + 1))]
    rows = {name: read_result(made[name.replace("-", "_")] / f"{name}.json")[1] for name in names}
    cells: dict[str, dict[str, Any]] = {name: dict(figures(rows[name], COLUMNS)) for name in names}
    notes = []
    for r, name in enumerate(names[1:], 1):
        counts = read_manifest(made[f"data_{r}"])["metrics"]
        cells[name] |= {"sampled_right": counts["right"] / counts["traces"], "rows": counts["kept"]}
        if "rationalised" in counts:
            cells[name]["rationalised"] = counts["kept_rationalised"]
            notes.append(
                f"round {r}: {counts['solved']} of {counts['problems']} problems solved; of {counts['tried_again']} "
                f"others {counts['rationalised']} with a hint"
            )
            notes += hint_notes(r, made[f"data_{r}"].parent / f"round-{r}-hints" / HINTS_FILE)
        else:
            notes.append(f"round {r}: {counts['solved']} of {counts['problems']} problems solved")
    steps = [*zip(names, names[1:], strict=False), ("base", names[-1])]
    checks = [
        expected(f"{b} raises {column.title} above {a}", a, b, rows, column)
        for a, b in dict.fromkeys(steps)
        for column in (RIGHT, LENIENT)
    ]
    columns = [*COLUMNS, *COUNTED[: 3 if any("rationalised" in cell for cell in cells.values()) else 2]]
    table = as_table("after each round, the same held-out problems", columns, cells, notes=notes, checks=checks)
    write_table(folder, table)
    return {name: cells[name]["right"].value for name in names}


rounds_table.version = 1  # type: ignore[attr-defined]


def expected(
    told: str, a: str, b: str, rows: Mapping[str, Sequence[Mapping[str, Any]]], column: Column
) -> dict[str, Any]:
    """A row of a table's `checks`: that b is higher than a in `column`, paired over problems, agrees or does not."""
    gap, seen = difference(rows[a], rows[b], column)
    verdict = {"higher": "agrees", "lower": "does not agree"}.get(seen, "not shown")
    return {"told": told, "column": column.key, "verdict": verdict, "difference": asdict(gap)}


def hint_notes(r: int, file: Path) -> list[str]:
    """What the hint was worth, in words and figures."""
    if not file.is_file():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))
    shares = ", ".join(f"{words} {cell_text(found[key], True)}" for key, words in WORDS.items())
    gap = found["answer - other"]
    helps = "the answer in it helps" if gap["low"] is not None and gap["low"] > 0 else "no help by the answer is shown"
    return [f"round {r}, right on failed problems, %: {shares}; {helps} (difference {_points(gap)})"]


WORDS = {"answer": "hinted", "other": "another problem's answer as the hint", "none": "no hint"}


def _points(gap: Mapping[str, Any]) -> str:
    if gap["value"] is None:
        return "-"
    text = f"{100 * gap['value']:+.1f}"
    return f"{text} ({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f})" if gap["low"] is not None else text
