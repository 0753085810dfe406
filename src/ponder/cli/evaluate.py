"""`ponder eval`: measure a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ponder.cli.recipe import Out, Overrides

COLUMNS = {
    "accuracy": "right",
    "accuracy_lenient": "read leniently",
    "format_rate": "well formed",
    "truncation_rate": "cut",
    "mean_length": "tokens",
}


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="mini, a directory, or a hub id.")],
    overrides: Overrides = None,
    out: Out = None,
) -> None:
    """Measure a model on held-out problems: accuracy with its interval, format, length.

    Example: ponder eval mini n=8 temperature=0.6
    """
    from ponder.core.config import merge_overrides, parse_settings
    from ponder.pipelines.evaluation import EvalSettings, evaluate_model

    settings = parse_settings(EvalSettings, {"model": model, **merge_overrides({}, overrides or [])}, where="eval")
    path = evaluate_model(settings, out or Path("runs") / f"eval-{Path(model).resolve().name}")
    _show(json.loads(path.read_text(encoding="utf-8")))
    print(path)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    spec, figures = result["spec"], result["summary"]
    title = f"{result['model']}: {spec['problems']} problems x {spec['sampling']['n']}, {spec['prompt_style']}"
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for head in COLUMNS.values():
        table.add_column(head, justify="right")
    for name, part in {**figures["tasks"], "all": figures["overall"]}.items():
        table.add_row(name, *(_cell(part[key]) for key in COLUMNS), style="bold" if name == "all" else "")
    Console().print(table)
    unknown = figures["overall"]["unknown"]
    if unknown:
        print(f"{unknown} answers could not be graded and are left out")


def _cell(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    digits = 2 if estimate["value"] <= 1 else 1
    text = f"{estimate['value']:.{digits}f}"
    return text if estimate["low"] is None else f"{text} ({estimate['low']:.{digits}f}-{estimate['high']:.{digits}f})"
