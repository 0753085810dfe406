"""Traces that others made, read as they are and graded here: every row is a trace, or is named with what it lacks.

The shapes of rows are those of `ponder.data.import_shapes`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import JsonlWriter, explained, fsync_path
from ponder.core.types import Completion, Finish
from ponder.data.import_shapes import Read, read_row
from ponder.data.trace import Trace, trace_of
from ponder.data.trace_file import Tally
from ponder.rewards.caps import graders
from ponder.tasks.loading import RowError, read_source

TOGETHER = 64
"""Rows that are graded side by side."""

WRITERS = ("teacher", "model", "generator")
"""Columns that name the teacher."""


def import_traces(
    source: str | Path, out_file: str | Path, *, teacher: str | None = None, split: str | None = None,
    config: str | None = None,
) -> tuple[dict[str, Any], list[RowError]]:  # fmt: skip
    """Read `source` (see `ponder.tasks.loading.load_rows`), grade every answer, write traces to `out_file` in one step.

    teacher: for the rows' provenance, where the row does not name one.
    Returns the counts (`rows`, `malformed`, `no_answer`: traces without a reference answer, which are unknown, `empty`:
    generations without text, and those of `ponder.data.generate`), and one `RowError` a row that was left out.
    Raises PonderError for a source that cannot be read, or of which no row is a trace.
    """
    faults: list[RowError] = []
    counts = {"rows": 0, "malformed": 0, "no_answer": 0, "empty": 0}
    overall = Tally()
    tasks: dict[str, Tally] = {}
    samples: dict[str, int] = {}
    out = Path(out_file)
    half = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    half.unlink(missing_ok=True)
    with explained(out), contextlib.ExitStack() as stack:
        stack.callback(lambda: half.unlink(missing_ok=True))
        writer = stack.enter_context(JsonlWriter(half))
        results = _results(source, split, config, faults, counts)
        while batch := list(itertools.islice(results, TOGETHER)):
            jobs = [
                _Job(read, number, text, finish, _next(samples, read.problem.id))
                for number, read in batch
                for text, finish in zip(read.texts, read.finishes, strict=True)
            ]
            made = graders().map(partial(_trace, source=Path(str(source)).name, teacher=teacher), jobs)
            for trace in made:
                counts["no_answer"] += trace["correct"] is None and not _gradable(trace)
                overall.add(trace)
                tasks.setdefault(trace["task"], Tally()).add(trace)
                writer.write(trace)
        counts["malformed"] = len(faults)
        if not counts["rows"]:
            raise PonderError(f"{source} holds no rows")
        if not overall.rows["samples"]:
            raise PonderError(f"none of the {counts['rows']} rows is a trace; the first: {faults[0]}")
        writer.sync()
        os.replace(half, out)
        fsync_path(out.parent)
    return {**counts, **overall.as_json(), "tasks": {name: tally.as_json() for name, tally in tasks.items()}}, faults


def _results(
    source: str | Path, split: str | None, config: str | None, faults: list[RowError], counts: dict[str, int]
) -> Iterator[tuple[int, Read]]:
    for result in read_source(source, split, config):
        counts["rows"] += 1
        if isinstance(result, RowError):
            faults.append(result)
            continue
        number, row = result
        try:
            read = read_row(f"{source}, row {number}", row, number)
        except PonderError as error:
            faults.append(RowError(number, str(error)))
            continue
        counts["empty"] += read.empty
        yield number, read


def _next(samples: dict[str, int], problem: str) -> int:
    samples[problem] = samples.get(problem, -1) + 1
    return samples[problem]


def _gradable(trace: Trace) -> bool:
    return bool(trace["answer"].strip()) or trace["task"] in ("code", "ifeval")


@dataclass(frozen=True)
class _Job:
    read: Read
    number: int
    text: str
    finish: Finish
    sample: int


def _trace(job: _Job, source: str, teacher: str | None) -> Trace:
    read = job.read
    named = next((str(read.about[name]) for name in WRITERS if read.about.get(name)), None)
    provenance = {
        "teacher": teacher or named, "source": "import", "file": source, "row": job.number, "stage": "import",
        **({"columns": dict(read.about)} if read.about else {}), **read.provenance,
    }  # fmt: skip
    completion = Completion((), (), (), job.text, job.finish)
    trace = trace_of(read.problem, completion, prompt=read.prompt, sample=job.sample, provenance=provenance)
    return {**trace, "prompt_tokens": None, "completion_tokens": None}
