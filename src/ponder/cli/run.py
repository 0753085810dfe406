"""`ponder run`: do what a recipe says; what is done already is not done again."""

from __future__ import annotations

import sys

from ponder.cli.recipe import Name, Out, Overrides, out_folder, read_recipe
from ponder.cli.results import results_of, show, show_stages


def run(name: Name, overrides: Overrides = None, out: Out = None) -> None:
    """Run a recipe; run it again to go on after a stop.

    Example: ponder run r1-zero model=mini grpo.max_steps=20
    """
    pipeline, settings, where = read_recipe(name, overrides or [])
    folder = out_folder(out, where)
    print(f"{where}: working in {folder}", file=sys.stderr)
    from ponder.pipelines.stage_table import read_table

    made = pipeline.run(settings, folder)
    table = read_table(folder)
    results = results_of(folder)
    if table is not None:
        show_stages(table)
    elif results:
        show(f"{where}: held-out problems", [(result["name"], result["summary"]["overall"]) for result in results])
    print(made)
