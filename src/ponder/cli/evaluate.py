"""`ponder eval`: measure a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ponder.cli.recipe import Out, Overrides
from ponder.cli.results import show


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
    spec, figures = result["spec"], result["summary"]
    title = f"{result['model']}: {spec['problems']} problems x {spec['sampling']['n']}, {spec['prompt_style']}"
    show(title, [*figures["tasks"].items(), ("all", figures["overall"])], bold="all")
    unknown = figures["overall"]["unknown"]
    if unknown:
        print(f"{unknown} answers could not be graded and are left out")
