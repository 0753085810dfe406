"""`ponder plan`: what a run would do, without doing it."""

from __future__ import annotations

from typing import Annotated

import typer

from ponder.cli.recipe import Name, Out, Overrides, out_folder, read_recipe

On = Annotated[
    str,
    typer.Option("--on", metavar="HARDWARE", help="this (machine), h100, h100x8, h200, a100-80gb, rtx4090, …"),
]


def plan(name: Name, overrides: Overrides = None, out: Out = None, on: On = "this") -> None:
    """Show a recipe's stages: which are done, and what the rest would do, about how long, in how much memory.

    Nothing is downloaded: a model that is not here is taken to be as large as its name says.

    Example: ponder plan single-gpu/r1-zero --on h100
    """
    pipeline, settings, where = read_recipe(name, overrides or [])
    folder = out_folder(out, where)
    from rich.console import Console
    from rich.table import Table

    from ponder.pipelines.estimate import planned_for
    from ponder.pipelines.hardware import hardware_of
    from ponder.pipelines.planning import notes_of, target_of

    hardware = hardware_of(on)
    with planned_for(target_of(settings, hardware)):
        rows = pipeline.plan(settings, folder)
    columns = {
        "stage": [row.stage for row in rows],
        "state": [row.state for row in rows],
        "what": [row.what for row in rows],
    }
    if any(row.seconds is not None for row in rows):
        columns["about"] = [_shown(row.seconds) if row.seconds is not None else "-" for row in rows]
    if any(row.memory_gb is not None for row in rows):
        columns["memory"] = [f"{row.memory_gb:,.1f} GB" if row.memory_gb is not None else "-" for row in rows]
    table = Table(title=f"{where} in {folder}", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for head in columns:
        table.add_column(head, no_wrap=head != "what")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    console = Console()
    console.print(table)
    left = sum(row.seconds or 0.0 for row in rows if row.state != "done")
    if left:
        console.print(f"left to do: about {_shown(left)}", highlight=False)
    for note in notes_of(settings, rows, hardware):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _shown(seconds: float) -> str:
    """`0:02:10`, hours first; beyond four days, `9 days`."""
    from ponder.core.progress import show_time

    return show_time(seconds) if seconds < 4 * 86400 else f"{seconds / 86400:,.0f} days"
