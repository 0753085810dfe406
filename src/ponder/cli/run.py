"""`ponder run`: do what a recipe says; what is done already is not done again."""

from __future__ import annotations

import sys

from ponder.cli.recipe import Name, Out, Overrides, out_folder, read_recipe
from ponder.cli.results import results_of, show


def run(name: Name, overrides: Overrides = None, out: Out = None) -> None:
    """Run a recipe; run it again to go on after a stop.

    Example: ponder run r1-zero model=mini grpo.max_steps=20
    """
    pipeline, settings, where = read_recipe(name, overrides or [])
    folder = out_folder(out, where)
    print(f"{where}: working in {folder}", file=sys.stderr)
    made = pipeline.run(settings, folder)
    results = results_of(folder)
    if results:
        show(f"{where}: held-out problems", [(result["name"], result["summary"]["overall"]) for result in results])
    print(made)
