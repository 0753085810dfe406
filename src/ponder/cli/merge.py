"""`ponder merge`: several models of one family into one."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Annotated

import typer


def merge(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="mini, directories, or hub ids.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the merged model.")],
    method: Annotated[str, typer.Option(help="linear, slerp, ties, dare_linear or dare_ties.")] = "linear",
    weights: Annotated[
        list[str] | None, typer.Option(help="One a model, such as 0.9 0.1 or 0.9,0.1; equal where not given.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="What the models were trained from (ties, dare).")] = None,
    density: Annotated[float, typer.Option(help="Share of each difference that is kept (ties, dare).")] = 1.0,
    normalize: Annotated[
        bool | None, typer.Option("--normalize/--no-normalize", help="Divide by the sum of the weights.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of DARE's draws.")] = 0,
) -> None:
    """Merge models, a tensor at a time.

    Example: ponder merge runs/apo/model runs/mid/model --method linear --weights 0.9 0.1 --out merged
    """
    from ponder.core.errors import PonderError
    from ponder.models.merge import merge as merge_models

    # An option takes one value, so what follows the first of `--weights 0.9 0.1` arrives among the models.
    named = [model for model in models if not (weights and _is_weight(model))]
    words = [*(weights or []), *(model for model in models if weights and _is_weight(model))]
    try:
        shares = [float(word) for part in words for word in part.replace(",", " ").split()]
    except ValueError as error:
        raise PonderError(f"--weights {' '.join(words)}: should be numbers, such as 0.9 0.1") from error
    made = merge_models(named, out, method, shares or None, base, density, normalize, seed)
    print(f"{out}: {made['tensors']} tensors, {made['parameters']:,} parameters, by {method}")
    for model, away in zip(named, made["distance"], strict=True):
        print(f"  {away:8.4f}  relative distance from {model}")


def _is_weight(word: str) -> bool:
    with contextlib.suppress(ValueError):
        return math.isfinite(float(word)) and not Path(word).exists()
    return False
