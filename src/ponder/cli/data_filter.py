"""`ponder data filter`: traces in, those worth learning from out, and a table of what each filter took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.core.errors import PonderError

if TYPE_CHECKING:
    from ponder.data.filter import Took


def filter_(
    file: Annotated[Path, typer.Argument(metavar="TRACES.jsonl", help="Traces, as the data stages write them.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Such as max_per_problem=2 against=[gsm8k].")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.jsonl", help="Where the kept rows go.")] = None,
) -> int:
    """Keep the traces that pass every filter; print, and write, how many rows each filter took and why.

    The table goes to NAME.table.json beside NAME.jsonl. Evaluation sets in `against` are files, hub ids, or suite names
    (searched beside the traces, in the working directory and in $PONDER_DATA).

    Example: ponder data filter traces.jsonl --out kept.jsonl right=true max_per_problem=2 against=[gsm8k]
    """
    from ponder.core.config import merge_overrides, parse_settings
    from ponder.core.records import explained, read_jsonl, write_json_atomic
    from ponder.data.filter import FilterSettings, filter_traces, table_as_json
    from ponder.data.held_out import evaluation_sets
    from ponder.data.rows import write_rows

    settings = parse_settings(FilterSettings, merge_overrides({}, overrides or []), where="filter")
    kept_file = out if out is not None else file.with_name(f"{file.stem}.kept.jsonl")
    if kept_file.resolve() == file.resolve():
        raise PonderError(f"--out {kept_file} is the file that is read; give another one")
    traces = read_jsonl(file)
    if not traces:
        raise PonderError(f"{file} holds no rows; make traces with `ponder data generate` or `ponder data import`")
    try:
        kept, table = filter_traces(traces, settings, evaluation_sets(settings.against, file))
    except PonderError as error:
        raise PonderError(f"{file}, {error}" if str(error).startswith("row ") else str(error)) from error
    told = kept_file.with_name(f"{kept_file.stem}.table.json")
    with explained(kept_file.parent):
        kept_file.parent.mkdir(parents=True, exist_ok=True)
    write_rows(kept_file, kept)
    write_json_atomic(told, {"settings": settings.model_dump(mode="json"), **table_as_json(table, traces, kept)})
    show_table(f"{file}: {len(traces)} rows, {len(kept)} kept", table)
    print(kept_file)
    print(told)
    return 0


def show_table(title: str, table: Sequence[Took]) -> None:
    """The table in the terminal: filter, rows before, taken and after, why, and examples."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for head, justify in (("filter", "left"), ("before", "right"), ("taken", "right"), ("after", "right")):
        shown.add_column(head, justify="right" if justify == "right" else "left", no_wrap=True)
    shown.add_column("why")
    shown.add_column("such as", style="dim")
    for row in table:
        why = ", ".join(f"{reason}: {count}" for reason, count in row.reasons.items()) or "-"
        counts = (str(row.before), str(row.taken), str(row.after))
        shown.add_row(row.filter, *counts, why, ", ".join(row.examples[:1]))
    print(title)  # no title of the table's: it would be broken at the table's width
    Console().print(shown, markup=False)
