"""One row a stage: what each model of a pipeline can do, with intervals, written as `table.json` and printed.

A table is plain JSON, so that the terminal, the report and tests read the same thing: `{"title", "columns": [{"key",
"title", "percent", "better"}], "rows": [{"name", "cells": {key: {"value", "low", "high", "n"}}}], "notes": [...],
"checks": [...], "published": {...}}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ponder.core.errors import PonderError
from ponder.core.records import write_json_atomic
from ponder.evals.metrics import DRAWS, Estimate, clustered, paired_ratio, resample
from ponder.evals.summary import verdict

Row = Mapping[str, Any]
TABLE = "table.json"


@dataclass(frozen=True)
class Column:
    """One measure of a row. of: (numerator, denominator) of an evaluation row; (0, 0) where it does not count.

    better: `high`, `low` or "" (neither). percent: a share between 0 and 1. short: its title in a narrow terminal.
    """

    key: str
    title: str
    of: Callable[[Row], tuple[float, float]]
    percent: bool = True
    better: str = "high"
    short: str = ""


def share(test: Callable[[Row], bool | None], where: Callable[[Row], bool] = lambda row: True) -> Any:
    """The share of rows that `test`, among those `where`; None does not count."""

    def of(row: Row) -> tuple[float, float]:
        found = test(row) if row["finish"] != "abort" and where(row) else None
        return (0.0, 0.0) if found is None else (float(found), 1.0)

    return of


def mean(key: str, where: Callable[[Row], bool] = lambda row: True) -> Any:
    """The mean of a row's number `key`, among those `where`; rows without it do not count."""

    def of(row: Row) -> tuple[float, float]:
        value = row.get(key) if row["finish"] != "abort" and where(row) else None
        return (0.0, 0.0) if value is None else (float(value), 1.0)

    return of


def in_kinds(kinds: Sequence[str]) -> Callable[[Row], bool]:
    """Whether a row is of one of `kinds`."""
    known = frozenset(kinds)
    return lambda row: row["task"] in known


def figures(rows: Sequence[Row], columns: Sequence[Column], name: str = "table") -> dict[str, Estimate]:
    """An estimate a column: the ratio over all rows, its interval from resampling whole contents."""
    top_PM, bottom_PM = _sums(rows, columns)
    found: dict[str, Estimate] = {}
    for percent in (True, False):
        places = [at for at, column in enumerate(columns) if column.percent is percent]
        if places:
            estimates = clustered(top_PM[:, places], bottom_PM[:, places], name, proportion=percent)
            found |= {columns[at].key: estimate for at, estimate in zip(places, estimates, strict=True)}
    return found


def difference(a_rows: Sequence[Row], b_rows: Sequence[Row], column: Column) -> tuple[Estimate, str]:
    """b - a over the problems that both have, paired, and the verdict in words (`higher`, `lower`, …)."""
    shared = {row["id"] for row in a_rows} & {row["id"] for row in b_rows}
    sides = [_sums([row for row in rows if row["id"] in shared], [column]) for rows in (a_rows, b_rows)]
    gap = paired_ratio(sides[0][0][:, 0], sides[0][1][:, 0], sides[1][0][:, 0], sides[1][1][:, 0], "stages", column.key)
    return gap, verdict(gap)


def composite_difference(a_rows: Sequence[Row], b_rows: Sequence[Row], columns: Sequence[Column]) -> Estimate:
    """b - a of the mean over `columns`, with an interval from resampling the contents that both have."""
    shared = {row["id"] for row in a_rows} & {row["id"] for row in b_rows}
    sums = [_sums([row for row in rows if row["id"] in shared], columns) for rows in (a_rows, b_rows)]
    count = len(sums[0][0])
    weights_DP = np.concatenate([np.ones((1, count)), resample(count, DRAWS, "composite")])  # the first is the whole
    means = [np.nanmean(_ratios(weights_DP @ top_PM, weights_DP @ bottom_PM), axis=1) for top_PM, bottom_PM in sums]
    gap_D = means[1] - means[0]
    low, high = np.quantile(gap_D[1:], [0.025, 0.975])
    return Estimate(float(gap_D[0]), float(low), float(high), count, "paired bootstrap of a mean of columns")


def _ratios(top_DM: np.ndarray, bottom_DM: np.ndarray) -> np.ndarray:
    """NaN where a resample has nothing of a column."""
    return np.divide(top_DM, bottom_DM, out=np.full_like(top_DM, np.nan), where=bottom_DM > 0)


def _sums(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[np.ndarray, np.ndarray]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row.get("content", row["id"])), []).append(row)
    values = [[[column.of(row) for column in columns] for row in groups[key]] for key in sorted(groups)]
    sums = np.array([np.array(group, dtype=float).sum(0) for group in values]).reshape(-1, len(columns), 2)
    return sums[..., 0], sums[..., 1]


def win_rates(rows: Sequence[Row], base: Sequence[Row], key: str = "preference") -> list[dict[str, Any]]:
    """`rows` with `win`: the share of the base's samples of the same problem whose `key` is lower (a tie is a half).

    None where either side has no `key`.
    """
    scores: dict[str, list[float]] = {}
    for row in base:
        if row.get(key) is not None:
            scores.setdefault(row["id"], []).append(float(row[key]))
    told = []
    for row in rows:
        others, own = scores.get(row["id"], []), row.get(key)
        win = None
        if others and own is not None:
            win = sum((own > other) + 0.5 * (own == other) for other in others) / len(others)
        told.append({**row, "win": win})
    return told


def as_table(
    title: str, columns: Sequence[Column], rows: Mapping[str, Mapping[str, Any]], **more: Any
) -> dict[str, Any]:
    """The table as JSON. rows: by name, an Estimate (or a plain number) a column key."""
    return {
        "title": title,
        "columns": [
            {"key": c.key, "title": c.title, "percent": c.percent, "better": c.better, "short": c.short or c.title}
            for c in columns
        ],
        "rows": [
            {"name": name, "cells": {key: _cell(value) for key, value in cells.items()}} for name, cells in rows.items()
        ],
        **more,
    }


def _cell(value: Any) -> dict[str, Any]:
    return asdict(value) if isinstance(value, Estimate) else {"value": value, "low": None, "high": None, "n": 0}


def write_table(folder: Path, table: Mapping[str, Any]) -> Path:
    """Write `folder/table.json`."""
    path = folder / TABLE
    write_json_atomic(path, dict(table))
    return path


def read_table(run: Path) -> dict[str, Any] | None:
    """The stage table of a run, or None where it has none (yet)."""
    for file in sorted(Path(run).glob(f"*/{TABLE}")):
        if (file.parent / "manifest.json").exists():
            try:
                return dict(json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise PonderError(f"{file} cannot be read ({error}); delete {file.parent} to have it made") from error
    return None


def cell_text(cell: Mapping[str, Any] | None, percent: bool, interval: bool = True) -> str:
    """`89.5 (86.7-91.9)`, in percent where it is a share; a dash where there is no value."""
    if cell is None or cell.get("value") is None:
        return "-"
    factor, digits = (100.0, 1) if percent else (1.0, 1 if abs(cell["value"]) < 1000 else 0)
    text = f"{factor * cell['value']:.{digits}f}"
    if interval and cell.get("low") is not None and cell.get("high") is not None:
        text += f" ({factor * cell['low']:.{digits}f}-{factor * cell['high']:.{digits}f})"
    return text
