"""`ponder report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/r1-zero.")]) -> None:
    """Draw a run's report anew from its records, and say where it lies."""
    from ponder.core.errors import PonderError

    if not run.is_dir():
        raise PonderError(f"{run}: no such run; give the folder that `ponder run` worked in")
    from ponder.report import build_report

    print(build_report(run))
