"""Evaluation results as a table in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = {
    "accuracy": "right",
    "accuracy_lenient": "read leniently",
    "format_rate": "well formed",
    "truncation_rate": "cut",
    "mean_length": "tokens",
}
WITH_INTERVAL = ("accuracy", "accuracy_lenient")


def results_of(run: Path) -> list[dict[str, Any]]:
    """Every evaluation result in the finished stages of a run, oldest first."""
    found = []
    for file in sorted(run.glob("*/*.json"), key=lambda file: file.stat().st_mtime_ns):
        if (file.parent / "manifest.json").exists() and file.with_suffix(".jsonl").exists():
            result = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(result, dict) and "overall" in result.get("summary", {}):
                found.append(result)
    return found


def show(title: str, rows: Sequence[tuple[str, Mapping[str, Any]]], bold: str = "") -> None:
    """Print one row of figures (an `overall` or a task of `ponder.evals.summary`) each; `bold` names the main one."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for head in COLUMNS.values():
        table.add_column(head, justify="right")
    for name, figures in rows:
        table.add_row(name, *(_cell(figures[key], key in WITH_INTERVAL) for key in COLUMNS), style=_style(name == bold))
    Console().print(table)


def _style(bold: bool) -> str:
    return "bold" if bold else ""


def _cell(estimate: Mapping[str, Any], interval: bool) -> str:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return "-"
    text = f"{value:.2f}" if value <= 1 else f"{value:.1f}"
    return f"{text} ({low:.2f}-{high:.2f})" if interval and low is not None else text
