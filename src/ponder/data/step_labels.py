"""Labels of steps by rollouts: how often does a completion of the first k steps reach the right answer?

Math-Shepherd (arXiv 2312.08935): a step is as right as its prefix is promising. Hard estimation calls a step right
where any rollout from it arrives (eq. 3), soft estimation takes the share that does (eq. 4). The last step is the
answer, and its label is the verdict. OmegaPRM (arXiv 2406.06592) finds the first wrong step by halving.

A model that checks itself reaches the right answer from a wrong step too, by taking the step back. With `takes_back`
such a rollout counts as one that did not arrive: it shows that the mistake can be mended, not that there is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.records import JsonlWriter, explained, read_jsonl, write_json_atomic
from ponder.core.steps import split_steps
from ponder.core.thinking import THINK_OPEN
from ponder.core.types import Problem, Sampler
from ponder.data.generate import Alone, Ranks
from ponder.data.rows import write_rows
from ponder.data.step_rollouts import Grade, Job, StepLabelSettings, estimate
from ponder.data.trace import grade as grade_text
from ponder.data.trace import problem_of
from ponder.tasks import KINDS, TASKS
from ponder.tasks import grade as grade_answer
from ponder.verify.answers import extract

__all__ = ["StepLabelSettings", "label_steps"]

ALONE = Alone()


def label_steps(
    sampler: Sampler,
    traces: Sequence[Mapping[str, Any]],
    render: Callable[[Problem], str],
    settings: StepLabelSettings,
    seed: int,
    out_file: str | Path,
    *,
    takes_back: Callable[[str], bool] | None = None,
    grade: Grade | None = None,
    world: Ranks = ALONE,
    provenance: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Label the steps of `traces` (rows of `ponder.data.trace`) and write stepwise rows to `out_file`.

    sampler: completes the prefixes; the solutions' own author is the best judge of what is promising. A local one
        reads each prefix once for all its rollouts. render: a problem as the sampler's prompt; the process model reads
        the same.
    takes_back: of a continuation, whether it goes back on what stands before it (see the module). grade: verdict on a
        whole text; by default the problem's own grader, the answer looked for leniently.
    Every rank of `world` calls this with equal arguments; rank 0 writes. Run again after a stop, it goes on behind the
    last whole chunk, and the file is that of an uninterrupted run; changed settings or traces are refused.
    Rows: `prompt`, `completions`, `labels` (true and false, or shares if soft), `estimates` (the shares; null where
    halving did not ask), `id`, `task`, `sample`, `correct`, `provenance`. Solutions without a step, or where the grader
    or the context's end left a prefix unknown, are left out and counted.
    Returns counts: solutions, labelled, unknown, empty, steps, right_steps, rollouts, tokens.
    """
    out_file, verdict = Path(out_file), grade or _grader()
    if not traces:
        raise PonderError("there are no traces to label")
    told = {"settings": settings.model_dump(mode="json"), "seed": seed, **dict(provenance or {})}
    made = _made(told, traces)
    side = out_file.with_name(out_file.name + ".progress.json")
    done, counts = world.broadcast(_resumed(out_file, side, made) if world.rank == 0 else (0, {}))
    with Progress(len(traces), "solutions", enabled=progress and world.rank == 0) as line:
        while done < len(traces):
            chunk = traces[done : done + settings.chunk]
            jobs = [_job(trace, render, settings, verdict) for trace in chunk]
            asked = estimate(sampler, [j for j in jobs if j.steps and j.correct is not None], settings, seed,
                              takes_back, verdict, world)  # fmt: skip
            rows = [row for job in jobs if (row := _row(job, settings, told)) is not None]
            done += len(chunk)
            counts = _counted(counts, jobs, rows, asked)
            if world.rank == 0:
                with JsonlWriter(out_file) as file:
                    for row in rows:
                        file.write(row)
                    file.sync()
                write_json_atomic(side, {"made": made, "solutions": done, "counts": counts})
            line.update(done, right=counts["right_steps"] / max(counts["steps"], 1))
    return counts


def _grader() -> Grade:
    known: dict[tuple[str, str | None], bool | None] = {}

    def verdict(problem: Problem, text: str) -> bool | None:
        if problem.task not in KINDS:
            return grade_text(problem, text, tasks=TASKS).correct_lenient
        answer = extract(text, "lenient")
        key = problem.id, answer
        if key not in known:  # rollouts end in few different answers, and some graders take their time
            known[key] = grade_answer(problem, answer)
        return known[key]

    return verdict


def _job(
    trace: Mapping[str, Any], render: Callable[[Problem], str], settings: StepLabelSettings, verdict: Grade
) -> Job:
    problem = problem_of(trace)
    prompt, steps = render(problem), split_steps(trace["completion"], settings.step_separator)
    opening = THINK_OPEN if prompt.rstrip().endswith(THINK_OPEN) else ""
    correct = verdict(problem, opening + trace["completion"]) if steps else False
    return Job(trace, problem, prompt, opening, steps, correct)


def _row(job: Job, settings: StepLabelSettings, told: Mapping[str, Any]) -> dict[str, Any] | None:
    last = len(job.steps)
    asked = range(1, last + 1) if settings.search == "all" else sorted(job.shares)
    if not last or job.correct is None or any(job.shares.get(k) is None for k in asked):
        return None
    shares = [job.shares.get(k) for k in range(1, last + 1)]
    labels: Sequence[bool | float]
    if settings.search == "first_error":
        wrong = [k for k in asked if (job.shares[k] or 0.0) <= settings.threshold]
        first = min(wrong, default=last + 1)
        labels = [k < first for k in range(1, last + 1)]
    elif settings.estimation == "soft":
        labels = [float(share or 0.0) for share in shares]
    else:
        labels = [(share or 0.0) > settings.threshold for share in shares[:-1]] + [bool(job.correct)]
    return {
        "prompt": job.prompt, "completions": job.steps, "labels": labels, "estimates": shares, "id": job.problem.id,
        "task": job.problem.task, "sample": job.trace.get("sample"), "correct": job.correct,
        "provenance": {**dict(job.trace.get("provenance") or {}), "step_labels": dict(told)},
    }  # fmt: skip


def _counted(
    counts: Mapping[str, int], jobs: Sequence[Job], rows: Sequence[Mapping[str, Any]], asked: tuple[int, int]
) -> dict[str, int]:
    empty = sum(not job.steps for job in jobs)
    labels = [label for row in rows for label in row["labels"]]
    new = {
        "solutions": len(jobs), "labelled": len(rows), "unknown": len(jobs) - len(rows) - empty, "empty": empty,
        "steps": len(labels), "right_steps": sum(label >= 0.5 for label in labels), "rollouts": asked[0],
        "tokens": asked[1],
    }  # fmt: skip
    return {name: counts.get(name, 0) + value for name, value in new.items()}


def _made(told: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> str:
    """A hash of what is labelled and how."""
    what = [[trace["id"], trace.get("sample"), trace["completion"]] for trace in traces]
    return hashlib.sha256(json.dumps([told, what], sort_keys=True, default=str).encode()).hexdigest()[:16]


def _resumed(out_file: Path, side: Path, made: str) -> tuple[int, dict[str, int]]:
    """How many solutions are done, and the counts so far; rows of a chunk that was not finished are dropped."""
    with explained(out_file):
        out_file.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(side.read_text(encoding="utf-8")) if side.is_file() else None
        if before is None:
            if out_file.exists() and out_file.stat().st_size:
                raise PonderError(f"{out_file} is there already, and not from this stage; choose another file")
            write_json_atomic(side, {"made": made, "solutions": 0, "counts": {"labelled": 0}})
            return 0, {}
        if before["made"] != made:
            raise PonderError(
                f"{out_file} holds labels of other traces or settings; choose another file, or delete it and "
                f"{side.name}"
            )
        rows = read_jsonl(out_file) if out_file.is_file() else []
        if len(rows) < before["counts"]["labelled"]:
            raise PonderError(f"{out_file} has lost rows; delete it and {side.name} to label anew")
        if len(rows) > before["counts"]["labelled"]:
            write_rows(out_file, rows[: before["counts"]["labelled"]])
        return before["solutions"], dict(before["counts"])
