"""Ponder's mathematical grader beside Math-Verify alone, on labelled pairs of answers, by source.

    .venv/bin/python benchmarks/verifier.py [--cases FILE] [--convention] [--limit N] [--wrong] [--no-math-verify]

A row of the file has `pred`, `gold`, `form` (raw, bare, completion), `expected`, `source`, and may have `convention`
(its label is a matter of choice: left out unless --convention) and `config` (how Math-Verify's own tests call it:
match_types, precision, allow_set_relation_comp). Each grader is called as its users call it: Ponder with its defaults,
Math-Verify with `parse`, `verify` and the row's config. Math-Verify runs in a child that is killed when one row takes
--cap seconds: some rows would hold it forever. fp: wrong answers called right; fn: right answers called wrong; unk: no
verdict. An answer counts as right only where the verdict is the label. Milliseconds are of one call, nothing cached.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.verify.math import MathOptions, clear_cache, verify_math
from ponder.verify.symbolic import warm

CASES = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "verifier_cases.jsonl"
REAL = ("math500-qwen3-0.6b", "gsm8k-openai", "qwen-rm-maj-100", "rasbt-ch03")  # answers that models gave
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """correct: None where the grader gave no verdict. ms: milliseconds of the call."""

    correct: bool | None
    ms: float
    note: str = ""


def read_cases(path: Path, convention: bool) -> list[Row]:
    """The rows of a file of cases. Raises PonderError naming the line that is not one."""
    if not path.is_file():
        raise PonderError(f"{path}: no such file; name one with --cases")
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            missing = [name for name in ("pred", "gold", "expected") if name not in row]
        except (json.JSONDecodeError, TypeError):
            raise PonderError(f"{path}:{number}: not a JSON object") from None
        if missing:
            raise PonderError(f"{path}:{number}: no {missing[0]}")
        if convention or not row.get("convention"):
            rows.append(row)
    return rows


def ours(rows: Sequence[Row], cap_s: float) -> Iterator[Answer]:
    """Ponder's verdicts, with its default options."""
    warm()
    verify_math("\\boxed{\\sqrt{2}+1}", "1+2^{1/2}")  # loads what is loaded once
    options = MathOptions(cap_s=cap_s)
    for row in rows:
        clear_cache()
        began = time.perf_counter()
        verdict = verify_math(row["pred"], row["gold"], row.get("form", "completion"), options)
        ms = (time.perf_counter() - began) * 1e3
        yield Answer(verdict.correct, ms, f"{verdict.method} {verdict.note}".strip())


def math_verify_child() -> None:
    """Answers the rows on standard input, a line each."""
    from math_verify import (  # type: ignore[import-untyped]
        ExprExtractionConfig,
        LatexExtractionConfig,
        parse,
        verify,
    )

    kinds = {"latex": LatexExtractionConfig, "expr": ExprExtractionConfig}
    verify(parse("$1/2$"), parse("$0.5$"))
    print("ready", flush=True)
    for line in sys.stdin:
        row = json.loads(line)
        config = row.get("config") or {}
        how = [kinds[name]() for name in config.get("match_types", ("latex", "expr"))]
        more = {"allow_set_relation_comp": True} if config.get("allow_set_relation_comp") else {}
        if "precision" in config:
            more["float_rounding"] = config["precision"]
        form = row.get("form", "completion")
        began = time.perf_counter()
        try:
            gold = parse(row["gold"] if form == "raw" else f"${row['gold']}$", extraction_config=how)
            pred = parse(f"${row['pred']}$" if form == "bare" else row["pred"], extraction_config=how)
            correct: bool | None = bool(verify(gold, pred, **more))
            note = ""
        except Exception as error:  # a third party's grader: what it raises is a finding, not an end
            correct, note = None, type(error).__name__
        print(json.dumps([correct, (time.perf_counter() - began) * 1e3, note]), flush=True)


def theirs(rows: Sequence[Row], cap_s: float) -> Iterator[Answer]:
    """Math-Verify's verdicts; a row that takes `cap_s` seconds has none, and its process is replaced."""
    child: subprocess.Popen[str] | None = None
    try:
        for row in rows:
            if child is None:
                child = _started()
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(json.dumps(dict(row)) + "\n")
            child.stdin.flush()
            began = time.perf_counter()
            ready, _, _ = select.select([child.stdout], [], [], cap_s)
            line = child.stdout.readline() if ready else ""
            if line:
                correct, ms, note = json.loads(line)
                yield Answer(correct, ms, note)
            else:
                _stop(child)
                child = None
                yield Answer(None, (time.perf_counter() - began) * 1e3, "killed" if not ready else "died")
    finally:
        if child is not None:
            _stop(child)


def _started() -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child"]
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert child.stdout is not None
    if child.stdout.readline().strip() != "ready":
        raise PonderError("math-verify does not start: pip install math-verify")
    return child


def _stop(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                pass


@dataclass(frozen=True)
class Line:
    """One line of the table: how often a grader agreed with the labels, how it erred, how long it took."""

    rows: int
    right: int
    fp: int
    fn: int
    unknown: int
    median: float
    p95: float
    worst: float

    @property
    def accuracy(self) -> float:
        return self.right / max(self.rows, 1)


def line_of(rows: Sequence[Row], answers: Sequence[Answer]) -> Line:
    """The counts of one source."""
    pairs = [(bool(row["expected"]), answer.correct) for row, answer in zip(rows, answers, strict=True)]
    times = sorted(answer.ms for answer in answers) or [0.0]
    return Line(
        len(pairs),
        sum(found is wanted for wanted, found in pairs),
        sum(found is True and not wanted for wanted, found in pairs),
        sum(found is False and wanted for wanted, found in pairs),
        sum(found is None for _, found in pairs),
        times[len(times) // 2],
        times[min(len(times) - 1, int(0.95 * len(times)))],
        times[-1],
    )


def source_of(row: Row) -> str:
    """The source without the name of the single test."""
    return str(row.get("source", "-")).partition(":")[0]


def table(rows: Sequence[Row], graded: Mapping[str, Sequence[Answer]]) -> list[str]:
    """The lines to print."""
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(source_of(row), []).append(place)
    real = [p for p, row in enumerate(rows) if str(row.get("source", "")).startswith(REAL)]
    named = [*sorted(groups.items()), ("real model answers", real), ("all", list(range(len(rows))))]
    head = f"{'source':22} {'grader':11} {'rows':>5} {'right':>6} {'fp':>3} {'fn':>3} {'unk':>4} {'accuracy':>8}"
    lines = [f"{head} {'median':>8} {'p95':>8} {'max ms':>9}"]
    for name, places in named:
        for grader, answers in graded.items():
            if places:
                made = line_of([rows[p] for p in places], [answers[p] for p in places])
                lines.append(
                    f"{name[:22]:22} {grader:11} {made.rows:5} {made.right:6} {made.fp:3} {made.fn:3} {made.unknown:4}"
                    f" {made.accuracy:8.4f} {made.median:8.3f} {made.p95:8.2f} {made.worst:9.1f}"
                )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade, print, return 0; 2 for a mistake in the call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, default=CASES, help="JSON lines of labelled pairs")
    parser.add_argument("--convention", action="store_true", help="with the rows whose label is a matter of choice")
    parser.add_argument("--limit", type=int, default=None, help="only the first so many rows")
    parser.add_argument("--cap", type=float, default=20.0, help="seconds that Math-Verify may take for one row")
    parser.add_argument("--wrong", action="store_true", help="list every row where Ponder and the label differ")
    parser.add_argument("--no-math-verify", action="store_true", help="Ponder alone")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        math_verify_child()
        return 0
    try:
        rows = read_cases(options.cases, options.convention)[: options.limit]
        graded: dict[str, Sequence[Answer]] = {"ponder": list(ours(rows, MathOptions().cap_s))}
        if not options.no_math_verify:
            graded["math-verify"] = list(theirs(rows, options.cap))
    except PonderError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(table(rows, graded)))
    if options.wrong:
        for row, answer in zip(rows, graded["ponder"], strict=True):
            if answer.correct is not bool(row["expected"]):
                print(f"{row.get('id')} {row.get('source')} {answer.correct} for {row['expected']} ({answer.note})")
                print(f"    {row['pred'][-150:]!r}\n    {row['gold'][-150:]!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
