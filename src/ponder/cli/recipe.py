"""From what was typed (a recipe's name, a YAML file, key=value) to a pipeline and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ponder.core.config import load_recipe, merge_overrides, parse_settings, recipe_label
from ponder.core.errors import PonderError

if TYPE_CHECKING:
    from ponder.pipelines import Pipeline

Name = Annotated[str, typer.Argument(metavar="NAME|FILE.yaml", help="A recipe that comes with Ponder, or your own.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as seed=1.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to work; runs/NAME if not given.")]


def read_recipe(name: str, overrides: Sequence[str]) -> tuple[Pipeline, Any, str]:
    """The pipeline, its settings, and a short name for messages and folders."""
    where = recipe_label(name)
    values = merge_overrides(load_recipe(name), overrides)
    from ponder.pipelines import pipeline_table

    table = pipeline_table()
    kind = values.pop("pipeline", None)
    if not isinstance(kind, str) or kind not in table:
        given = f"{where}.pipeline is {kind!r}" if kind is not None else f"{where} names no pipeline"
        raise PonderError(f"{given}: should be one of {', '.join(table)}")
    return table[kind], parse_settings(table[kind].settings, values, table[kind].aliases, where), where


def out_folder(out: Path | None, where: str) -> Path:
    """Where to work."""
    return out if out is not None else Path("runs") / where
