"""`ponder plan`: what a run would do, without doing it."""

from __future__ import annotations

from ponder.cli.recipe import Name, Out, Overrides, out_folder, read_recipe


def plan(name: Name, overrides: Overrides = None, out: Out = None) -> None:
    """Show a recipe's stages: which are done, and what the rest would do."""
    pipeline, settings, where = read_recipe(name, overrides or [])
    folder = out_folder(out, where)
    rows = pipeline.plan(settings, folder)
    from rich.console import Console
    from rich.table import Table

    from ponder.core.progress import show_time

    columns = {
        "stage": [row.stage for row in rows],
        "state": [row.state for row in rows],
        "what": [row.what for row in rows],
    }
    if any(row.seconds is not None for row in rows):
        columns["about"] = [show_time(row.seconds) if row.seconds is not None else "-" for row in rows]
    if any(row.memory_gb is not None for row in rows):
        columns["memory"] = [f"{row.memory_gb:.1f} GB" if row.memory_gb is not None else "-" for row in rows]
    table = Table(title=f"{where} in {folder}", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for head in columns:
        table.add_column(head, no_wrap=head != "what")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    Console().print(table)
