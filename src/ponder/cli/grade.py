"""`ponder grade`: rows in, the same rows out with a verdict each."""

from __future__ import annotations

import contextlib
import io
import json
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Annotated, Any

import typer

from ponder.core.errors import PonderError

AHEAD = 8
"""Rows that may be under way, a worker: enough to keep all busy behind a slow one."""
TOLD = 20
"""Faulty rows that are named one by one."""


def grade(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="A row a line; - is standard input.")] = "-",
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Such as math.percent=true limits.cpu_s=2.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="math, code, choice, ifeval, …; found row by row if absent.")] = None,
    sandbox: Annotated[str, typer.Option(help="Where code runs: auto, full, nons, weak, or an endpoint.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Rows graded at once; 0 is one a core.")] = 0,
    all_tests: Annotated[bool, typer.Option("--all-tests", help="Run a program's tests past a failure.")] = False,
    loose: Annotated[bool, typer.Option("--loose", help="IFEval: read a response leniently.")] = False,
) -> int:
    """Grade answers: each row comes back, in order, with correct (true, false, null), method, ms and note.

    Example: ponder grade answers.jsonl --kind math > graded.jsonl
    """
    from ponder.core.config import merge_overrides
    from ponder.core.records import usable_cores
    from ponder.tasks.grading import Options, grader

    settings = merge_overrides({}, overrides or [])
    for name in settings:
        if name not in ("math", "limits") or not isinstance(settings[name], dict):
            raise PonderError(f"{name} is unknown: settings are math.NAME=VALUE and limits.NAME=VALUE")
    options = Options(sandbox, not all_tests, loose, settings.get("math", {}), settings.get("limits", {}))
    if sandbox == "weak":
        print("ponder: --sandbox=weak: programs run behind limits but no walls", file=sys.stderr)
    with _lines(file) as lines:
        counts, faults = _stream(lines, file, grader(kind, options), workers or usable_cores())
    told = ", ".join(f"{counts[name]} {name}" for name in ("right", "wrong", "unknown", "malformed") if counts[name])
    print(f"ponder: {sum(counts.values())} rows: {told or 'nothing to grade'}", file=sys.stderr)
    return 2 if faults else 0


@contextlib.contextmanager
def _lines(file: str) -> Iterator[IO[str]]:
    if file == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        yield sys.stdin
        return
    try:
        handle = open(file, encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise PonderError(f"{file} cannot be read: {error.strerror}") from error
    with handle:
        yield handle


def _line(row: dict[str, Any]) -> str:
    """A row as JSON: readable where it can be, escaped where half a character stands in it."""
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(row)
    return text


def _stream(lines: IO[str], file: str, grade_row: Callable[[Any], Any], workers: int) -> tuple[Counter[str], int]:
    """Grade in a pool; write each row once it and all before it are done, also while the next line is waited for."""
    from ponder.tasks.grading import graded

    where = "standard input" if file == "-" else file
    waiting: queue.Queue[Future[Any] | None] = queue.Queue(maxsize=workers * AHEAD)
    counts: Counter[str] = Counter()
    failure: list[BaseException] = []
    stop = threading.Event()

    def write() -> None:
        faults = 0
        while (future := waiting.get()) is not None:
            if stop.is_set():
                future.cancel()
                continue
            try:
                row, fault = future.result()
                if fault:
                    faults += 1
                    if faults <= TOLD:
                        print(f"ponder: {fault}", file=sys.stderr)
                    elif faults == TOLD + 1:
                        print("ponder: further faulty rows are only counted", file=sys.stderr)
                sys.stdout.write(_line(row) + "\n")
                sys.stdout.flush()
                verdict = {True: "right", False: "wrong", None: "unknown"}[row["correct"]]
                counts["malformed" if fault else verdict] += 1
            except BaseException as error:  # a reader that has enough, a full disk, no sandbox: all rows stop
                failure.append(error)
                stop.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number, line in enumerate(lines, 1):
                if stop.is_set():
                    break
                if line.strip():
                    waiting.put(pool.submit(graded, line, f"{where}, line {number}", grade_row))
        except BaseException:
            stop.set()
            raise
        finally:
            waiting.put(None)
            writer.join()
    if failure:
        raise failure[0]
    return counts, counts["malformed"]
