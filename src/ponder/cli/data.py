"""`ponder data`: make training data, keep what is good of it, look at a set of problems before it is used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ponder.tasks.audit import Audit

SHOWN = 5
"""Findings of one heading that are printed; audit.json has all."""

HEADINGS = {
    "unreadable": "rows that cannot be read",
    "gold": "gold answers that their own grader rejects",
    "unknown": "gold answers that could not be decided",
    "no answer": "rows without a reference answer",
    "long answer": "answers too long to be one",
    "duplicate": "exact duplicates, beyond the first of each",
    "near duplicate": "duplicates but for case and punctuation",
    "conflict": "duplicates with different answers",
    "overlap": "rows that overlap with an evaluation set",
}

data_app = typer.Typer(help="Make, filter and audit training data.", no_args_is_help=True)


@data_app.callback()
def _data() -> None:
    pass


@data_app.command("audit")
def audit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSONL, JSON, CSV, parquet, or a hub id.")],
    against: Annotated[
        list[str] | None, typer.Option(help="An evaluation set (file, hub id, or suite name); may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Measure difficulty by this model's pass rate, e.g. mini.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples a problem, with --model.")] = 8,
    problems: Annotated[int, typer.Option(min=0, help="Problems sampled, with --model; 0 is all.")] = 200,
    max_completion_length: Annotated[int, typer.Option(min=1, help="Tokens at most, with --model.")] = 512,
    ngram: Annotated[int, typer.Option(min=1, help="Words in a row that make an overlap.")] = 13,
    long_answer: Annotated[int, typer.Option(min=1, help="Characters from which an answer is too long.")] = 200,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where audit.json goes; runs/audit-NAME.")] = None,
) -> int:
    """Check every gold answer with its own grader, find duplicates and overlap, measure difficulty.

    Exit code 1 where a row cannot be read or a gold answer is not accepted.

    Example: ponder data audit train.jsonl --against gsm8k_test.jsonl --model mini
    """
    from ponder.core.records import explained, write_json_atomic
    from ponder.tasks.audit import audit as look

    with _progress("golds") as tell:
        found, readable = look(file, against or (), ngram=ngram, long_answer=long_answer, on_progress=tell)
    report = found.as_json()
    if model is not None:
        from ponder.pipelines.audit import difficulty

        with _progress("problems") as tell:
            measured = difficulty(
                readable, model, samples=samples, limit=problems, max_completion_length=max_completion_length,
                on_progress=tell,
            )  # fmt: skip
        report["difficulty"] = measured.as_json()
    folder = out if out is not None else Path("runs") / f"audit-{Path(file).name.partition('.')[0]}"
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / "audit.json", report)
    _show(found, report)
    print(folder / "audit.json")
    return 0 if found.passed else 1


@contextlib.contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A live line whose end is known from the first (done, in all) that it is told."""
    from ponder.core.progress import Progress

    lines: list[Progress] = []

    def tell(done: int, total: int) -> None:
        if not lines:
            lines.append(Progress(total, label))
        lines[0].update(done)

    try:
        yield tell
    finally:
        for line in lines:
            line.close()


def _show(found: Audit, report: Mapping[str, Any]) -> None:
    _table(
        f"{found.file}: {found.rows} rows",
        ("kind", "rows", "gold right", "rejected", "undecided", "no gold"),
        [
            (kind, rows, *(found.golds[kind][name] for name in ("right", "wrong", "unknown", "none")))
            for kind, rows in found.kinds.items()
        ],
    )
    if found.overlaps:
        sets = [(name, share["rows"], share["of"]) for name, share in found.overlaps.items()]
        _table("overlap", ("evaluation set", "rows shared", "its rows"), sets)
    for what, heading in HEADINGS.items():
        listed = [finding for finding in found.findings if finding.what == what]
        print(f"{found.count(what):6} {heading}")
        for finding in listed[:SHOWN]:
            rows = ", ".join(map(str, finding.rows[:8]))
            print(f"       row {rows}: {' '.join(finding.note.split())[:150]}")
        if len(listed) > SHOWN:
            print(f"       … and {len(listed) - SHOWN} more in audit.json")
    if "difficulty" in report:
        measured = report["difficulty"]
        title = f"difficulty for {measured['model']}: {measured['samples']} samples each, mean {measured['mean']:.2f}"
        _table(title, ("right", "problems"), list(measured["bands"].items()))
        if measured["unknown"]:
            print(f"{measured['unknown']} problems could not be graded and are left out")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    print(title)  # no title of the table's: it would be broken at the table's width
    table = Table(box=None, header_style="bold", pad_edge=False)
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left", no_wrap=not at)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table, markup=False)
