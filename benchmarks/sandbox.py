"""Programs per second and CPU milliseconds per program: the jail beside other ways to run one, in a single run.

    python benchmarks/sandbox.py [--seconds 3] [--workers 1 2] [--modes full nons] [--json FILE]

Every way does the same work, in turns, so that a neighbour's load falls on all of them; ratios are to the first jail.
CPU is that of this process and all it waits for, or keeps running (the jail's zygotes, read from /proc). Ways without
walls run only the trusted programs below.

Others: a plain `subprocess` with and without `site`, bubblewrap and `unshare` around it where they are at hand, and the
design of human-eval's `check_correctness` (openai/human-eval, execution.py), written anew: a forked process that execs
the program and its test together and says "passed" through a shared list.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from ponder.sandbox.grade import run_tests
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import SandboxUnavailable

PRINT = "print(1)"
PRINTED = {"mode": "stdio", "cases": [["", "1\n"]]}
# The function and the seven tests of HumanEval/0 (openai/human-eval, MIT).
CLOSE = """
from typing import List
def has_close_elements(numbers: List[float], threshold: float) -> bool:
    for idx, elem in enumerate(numbers):
        for idx2, elem2 in enumerate(numbers):
            if idx != idx2 and abs(elem - elem2) < threshold:
                return True
    return False
"""
CASES: list[Any] = [
    [[[1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3], True], [[[1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05], False],
    [[[1.0, 2.0, 5.9, 4.0, 5.0], 0.95], True], [[[1.0, 2.0, 5.9, 4.0, 5.0], 0.8], False],
    [[[1.0, 2.0, 3.0, 4.0, 5.0, 2.0], 0.1], True], [[[1.1, 2.2, 3.1, 4.1, 5.1], 1.0], True],
    [[[1.1, 2.2, 3.1, 4.1, 5.1], 0.5], False],
]  # fmt: skip
ASSERTS = "".join(f"assert has_close_elements(*{args!r}) == {want!r}\n" for args, want in CASES)
CALLS = {"mode": "call", "entry": "has_close_elements", "cases": CASES}
# A loop is left to the split judge, so the same seven calls go through it.
SPLIT = {
    "mode": "assert", "entry": "has_close_elements",
    "src": f"for args, want in {CASES!r}:\n    assert has_close_elements(*args) == want\n",
}  # fmt: skip
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--fork"]
BWRAP = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "--die-with-parent"]

Way = Callable[[], bool]


@dataclass(frozen=True)
class Row:
    """What one way of running a program costs. p50 and p95: milliseconds, seen by a caller."""

    way: str
    program: str
    workers: int
    runs: int
    per_s: float
    cpu_ms: float
    p50_ms: float
    p95_ms: float


def plain(command: Sequence[str], source: str) -> Way:
    """A new process for each program; right where it exits with 0."""

    def run() -> bool:
        done = subprocess.run([*command, "-c", source], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return done.returncode == 0

    return run


def _unsafe(source: str, result: Any) -> None:
    """In the forked process of the human-eval design."""
    try:
        exec(source, {"__name__": "__main__"})
        result.append("passed")
    except BaseException as error:
        result.append(f"failed: {error}")


def forked(source: str) -> Way:
    """human-eval's design: a Manager's list, a forked Process that execs everything and says so itself."""
    context = multiprocessing.get_context("fork")

    def run() -> bool:
        with context.Manager() as manager:
            result = manager.list()
            process = context.Process(target=_unsafe, args=(source, result))
            process.start()
            process.join(10)
            if process.is_alive():
                process.kill()
            return list(result) == ["passed"]

    return run


def jailed(sandbox: Sandbox, code: str, test: dict[str, Any]) -> Way:
    """This project's: the verdict as users get it."""
    return lambda: run_tests(code, test, sandbox=sandbox).correct is True


def ways(modes: Sequence[str], workers: int) -> tuple[list[tuple[str, str, Way]], list[Sandbox]]:
    """(way, program, what to call) of all that this machine can do."""
    found: list[tuple[str, str, Way]] = []
    sandboxes = []
    for mode in modes:
        try:
            sandbox = Sandbox(mode, workers=workers)
        except SandboxUnavailable as error:
            print(f"{mode}: {error}", file=sys.stderr)
            continue
        sandboxes.append(sandbox)
        name = f"jail {sandbox.tier}"
        found += [(name, "print(1), stdio", jailed(sandbox, PRINT, PRINTED))]
        found += [(name, "HumanEval/0, call", jailed(sandbox, CLOSE, CALLS))]
        found += [(name, "HumanEval/0, split judge", jailed(sandbox, CLOSE, SPLIT))]
    python = getattr(sys, "_base_executable", None) or sys.executable
    commands = {"python -c": [python], "python -I -S -c": [python, "-I", "-S"]}
    if shutil.which("bwrap"):
        commands["bwrap python -I -S -c"] = [*BWRAP, python, "-I", "-S"]
    if shutil.which("unshare") and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0:
        commands["unshare python -I -S -c"] = [*UNSHARE, python, "-I", "-S"]
    for name, command in commands.items():
        found.append((name, "print(1), stdio", plain(command, PRINT)))
        found.append((name, "HumanEval/0, call", plain(command, CLOSE + ASSERTS)))
    found.append(("Process + exec", "HumanEval/0, call", forked(CLOSE + ASSERTS)))
    return found, sandboxes


def cpu_s() -> float:
    """CPU seconds of this process, of what it has waited for, and of what still runs below it."""
    own, waited = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + waited.ru_utime + waited.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            pass
    return total


def measure(run: Way, seconds: float, workers: int, least: int = 20) -> tuple[list[float], float, float]:
    """(milliseconds of each run, wall seconds, CPU seconds) of a way under `workers` callers at once."""
    if not run():
        raise RuntimeError("a way gave a wrong verdict")
    times: list[float] = []
    lock = threading.Lock()
    until = time.monotonic() + seconds

    def caller() -> None:
        mine: list[float] = []
        while time.monotonic() < until or len(mine) < least // workers:
            begin = time.perf_counter()
            if not run():
                raise RuntimeError("a way gave a wrong verdict")
            mine.append(1000 * (time.perf_counter() - begin))
        with lock:
            times.extend(mine)

    before, begin = cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(caller) for _ in range(workers)]:
            future.result()
    return times, time.perf_counter() - begin, cpu_s() - before


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, print a table, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each way, over all rounds")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each way gets")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--modes", nargs="+", default=["full", "nons"], choices=["full", "nons", "weak"])
    parser.add_argument("--json", type=Path, help="where to write the rows")
    options = parser.parse_args(arguments)
    rows = []
    for workers in options.workers:
        found, sandboxes = ways(options.modes, workers)
        taken: dict[tuple[str, str], list[tuple[list[float], float, float]]] = {}
        for _ in range(options.rounds):
            for way, program, run in found:
                told = measure(run, options.seconds / options.rounds, workers)
                taken.setdefault((way, program), []).append(told)
        for (way, program), turns in taken.items():
            times = sorted(ms for turn in turns for ms in turn[0])
            wall, cpu = sum(turn[1] for turn in turns), sum(turn[2] for turn in turns)
            p95 = times[min(int(0.95 * len(times)), len(times) - 1)]
            numbers = (len(times), len(times) / wall, 1000 * cpu / len(times), statistics.median(times), p95)
            rows.append(Row(way, program, workers, *numbers))
        for sandbox in sandboxes:
            sandbox.close()
    show(rows)
    if options.json:
        host = {"python": platform.python_version(), "kernel": platform.release(), "cores": os.cpu_count()}
        load = os.getloadavg()[0]
        options.json.write_text(
            json.dumps({"host": host, "load": load, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
        )
    return rows


def show(rows: Sequence[Row]) -> None:
    """The table; `CPU x` is a row's CPU over that of the first jail on the same program and workers."""
    print(f"{'way':<26}{'program':<26}{'workers':>7}{'per s':>8}{'CPU ms':>8}{'CPU x':>7}{'p50 ms':>8}{'p95 ms':>8}")
    base: dict[tuple[str, int], float] = {}
    for row in rows:
        first = base.setdefault((row.program, row.workers), row.cpu_ms)
        print(
            f"{row.way:<26}{row.program:<26}{row.workers:>7}{row.per_s:>8.0f}{row.cpu_ms:>8.1f}"
            f"{row.cpu_ms / first:>7.1f}{row.p50_ms:>8.1f}{row.p95_ms:>8.1f}"
        )


if __name__ == "__main__":
    main()
