"""`ponder data generate` and `ponder data import`: traces from a teacher, or from files that others made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ponder.cli.recipe import Overrides

SHOWN = 5
"""Rows that could not be imported that are named; `--errors` writes all."""

OutFile = Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="Where the traces go.")]


def generate(
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option(help="A local teacher: mini, a directory, or a hub id.")] = None,
    endpoint: Annotated[str | None, typer.Option(metavar="URL", help="An OpenAI-compatible server, to /v1.")] = None,
    model_name: Annotated[str | None, typer.Option(help="The server's name for the model, with --endpoint.")] = None,
    problems: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Problems to ask; the miniature world's if not given.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Samples a problem; 4 if not given.")] = None,
    out: OutFile = Path("traces.jsonl"),
) -> None:
    """Ask a teacher, grade and keep every answer. Run it again to go on after a stop.

    Examples: ponder data generate --model mini -n 4 --out traces.jsonl temperature=0.8 "tasks=[countdown]"

    ponder data generate --endpoint http://localhost:8000/v1 --model-name qwen3 --problems train.jsonl
    """
    from ponder.core.config import merge_overrides, parse_settings
    from ponder.core.errors import PonderError
    from ponder.data.generate import table_of
    from ponder.pipelines.generation import GenerateSettings, generate_traces

    if model_name is not None and endpoint is None:
        raise PonderError("--model-name goes with --endpoint URL; for a local teacher say --model")
    if endpoint is not None and model_name is None:
        raise PonderError("--endpoint wants --model-name NAME, the server's name for the model (see its /v1/models)")
    given: dict[str, Any] = {"model": model, "file": None if problems is None else str(problems), "n": n}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if endpoint is not None:
        values["endpoint"] = {"url": endpoint, "model": model_name}
    settings = parse_settings(GenerateSettings, merge_overrides(values, overrides or []), where="generate")
    counts = generate_traces(settings, out)
    asked, kept = counts["asked"], counts["kept"]
    _table(f"{out}: {asked} asked now in {counts['seconds']:.1f} s, {kept} from before", *table_of(counts))
    if counts["doubles"]:
        print(f"doubles among the problems, left out: {counts['doubles']}")
    if counts["unknown"]:
        print(f"{counts['unknown']} are unknown ({counts['failed']} given up: run the same command to ask them again)")
    if counts.get("uncounted"):
        print(f"{counts['uncounted']} answers came without a count of their tokens")
    print(out)


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSONL, JSON, CSV, parquet, or a hub id.")],
    out: OutFile = Path("traces.jsonl"),
    teacher: Annotated[str | None, typer.Option(help="Who wrote them, for the rows' provenance.")] = None,
    split: Annotated[str | None, typer.Option(help="Of a hub id; train if not given.")] = None,
    errors: Annotated[Path | None, typer.Option(metavar="FILE", help="Where all rows that failed are named.")] = None,
) -> int:
    """Read traces that others made, grade their answers, and write them as traces of Ponder's.

    Exit code 1 where a row could not be read; the others are written.

    Example: ponder data import openr1.parquet --out traces.jsonl --teacher deepseek-r1
    """
    from ponder.core.records import write_atomic
    from ponder.data.generate import table_of
    from ponder.data.imports import import_traces

    counts, faults = import_traces(file, out, teacher=teacher, split=split)
    _table(f"{out}: {counts['samples']} traces of {counts['rows']} rows", *table_of(counts))
    if counts["no_answer"]:
        print(f"{counts['no_answer']} have no reference answer and are unknown")
    if counts["empty"]:
        print(f"{counts['empty']} generations were empty and are left out")
    for fault in faults[:SHOWN]:
        print(f"left out: {' '.join(str(fault).split())[:200]}")
    if len(faults) > SHOWN:
        print(f"… and {len(faults) - SHOWN} more rows" + ("" if errors else "; --errors FILE names them all"))
    if errors is not None:
        write_atomic(errors, "".join(f"{' '.join(str(fault).split())}\n" for fault in faults))
    print(out)
    return 1 if faults else 0


def _table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    print(title)  # no title of the table's: it would be broken at the table's width
    table = Table(box=None, header_style="bold", pad_edge=False)
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console().print(table, markup=False)


def register(app: typer.Typer) -> None:
    """Add the commands to `ponder data`."""
    app.command("generate")(generate)
    app.command("import")(import_)
