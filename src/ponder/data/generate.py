"""Traces from a teacher: every problem asked, every answer graded and written as it comes, nothing asked twice.

Two kinds of teacher. A local model is sampled in chunks of problems that depend on the list of problems alone, so that
a run that was killed and run again gives the same file, byte for byte; each process takes every so-many-th chunk. An
endpoint is asked for each missing sample, and each answer is on disk before the next is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from ponder.core.errors import PonderError
from ponder.core.progress import Progress
from ponder.core.types import Completion, Problem, Sampler, SamplingParams, Score, Task
from ponder.data.trace import Reward, Trace, trace_of
from ponder.data.trace_file import TraceFile
from ponder.rewards.caps import graders
from ponder.rewards.parts import SLOW_TASKS
from ponder.sampling.endpoint.wire import Prompt
from ponder.tasks import TASKS

T = TypeVar("T")
Render = Callable[[Problem], Prompt]

CHUNK = 64
"""Problems that a local model is asked at a time: what a kill can cost."""


class Ranks(Protocol):
    """This process's place among equal ones, as `ponder.training.distributed.World` has it."""

    @property
    def rank(self) -> int:
        """From 0."""

    @property
    def size(self) -> int:
        """How many there are."""

    def gather(self, value: T) -> list[T]:
        """Every rank's value, on every rank."""

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""


@dataclass(frozen=True)
class Alone:
    """One process."""

    rank: int = 0
    size: int = 1

    def gather(self, value: T) -> list[T]:
        """The value, in a list."""
        return [value]

    def broadcast(self, value: T) -> T:
        """The value."""
        return value


@runtime_checkable
class Asker(Protocol):
    """A sampler that can be asked for single samples, as `EndpointSampler` can."""

    def ask(
        self,
        asks: Sequence[tuple[Prompt, int]],
        params: SamplingParams,
        seed: int,
        on_finish: Callable[[int, Any], None] | None = None,
    ) -> Sequence[Completion]:
        """A completion of each (prompt, index of the sample); on_finish(place, completion) as each ends."""
        ...


def generate(
    sampler: Sampler | Asker,
    problems: Sequence[Problem],
    render: Render,
    params: SamplingParams,
    seed: int,
    out_file: str | Path,
    *,
    world: Ranks = Alone(),
    reward: Reward | None = None,
    tasks: Mapping[str, Task] = TASKS,
    provenance: Mapping[str, Any] | None = None,
    chunk: int = CHUNK,
    progress: bool = True,
) -> dict[str, Any]:
    """Ask for `params.n` traces of each problem and write them to `out_file` (rows of `ponder.data.trace`).

    Every rank of `world` calls this with equal arguments; rank 0 writes. Run again after a stop it asks only for what
    is missing: with a local teacher the chunks that were not finished, with an endpoint single samples, and those that
    were given up. The file ends in the order of the problems, then of the samples.

    render: a problem as the teacher's prompt. reward: scores the traces in place of the task's own grader (see
    `trace_of`). provenance: teacher, style, stage and what else is known, for every row; sampling and seed are added.
    A file whose rows say otherwise is refused. chunk: problems sampled at a time by a local teacher.
    Returns counts, on every rank: problems, doubles (left out), asked (now) and kept (from before), the samples by
    verdict and fate (`right`, `wrong`, `unknown`, `truncated`, `failed`, `well_formed`), tokens, cost (None: unknown),
    `seconds` of this call, and all of them by task in `tasks`.
    Raises PonderError for no problems, a task without a grader, several samples at temperature 0, and a file of others.
    """
    began = time.monotonic()
    asked = list({problem.id: problem for problem in problems}.values())
    _check(asked, params, tasks, chunk)
    known = {
        "temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k, "min_p": params.min_p,
        "max_completion_length": params.max_completion_length, "seed": seed,
    }  # fmt: skip
    source = {"source": "endpoint" if isinstance(sampler, Asker) else "local"}
    work = _Work(asked, render, params, seed, {**source, **known, **dict(provenance or {})}, reward, tasks, chunk)
    order = [(problem.id, sample) for problem in asked for sample in range(params.n)]
    result: dict[str, Any] = {}
    if world.rank == 0:
        with TraceFile(Path(out_file), work.provenance, order) as file:
            kept = len(file.done)
            with _Shown(file, len(order), progress) as shown:
                if isinstance(sampler, Asker):
                    _ask(sampler, work, shown)
                else:
                    _sample(sampler, work, world, shown)
            counts = file.finish(order)
        result = {
            "problems": len(asked), "doubles": len(problems) - len(asked), "asked": len(order) - kept, "kept": kept,
            **counts, "seconds": round(time.monotonic() - began, 3),
        }  # fmt: skip
    elif not isinstance(sampler, Asker):
        _sample(sampler, work, world, None)
    return world.broadcast(result)


def _check(problems: Sequence[Problem], params: SamplingParams, tasks: Mapping[str, Task], chunk: int) -> None:
    if not problems:
        raise PonderError("there are no problems to ask: check the file, the tasks and the split")
    if params.n < 1 or chunk < 1:
        raise PonderError(f"n is {params.n} and chunk {chunk}: both are at least 1")
    if params.temperature == 0 and params.n > 1:
        raise PonderError(f"n is {params.n} at temperature 0, where all samples are the same; set n=1 or a temperature")
    for problem in problems:
        if problem.task not in tasks:
            raise PonderError(f"problem {problem.id}: task {problem.task!r} has no grader; known: {', '.join(tasks)}")


@dataclass(frozen=True)
class _Work:
    problems: Sequence[Problem]
    render: Render
    params: SamplingParams
    seed: int
    provenance: Mapping[str, Any]
    reward: Reward | None
    tasks: Mapping[str, Task]
    chunk: int

    def traces(
        self, problems: Sequence[Problem], prompts: Sequence[Prompt], completions: Sequence[Completion],
        samples: Sequence[int], seconds: Sequence[float | None],
    ) -> list[Trace]:  # fmt: skip
        """The graded rows of completions; those that wait for another process are graded side by side."""
        given: Sequence[Score | None] = [None] * len(problems)
        if self.reward is not None:
            given = self.reward(problems, completions)
            if len(given) != len(problems):
                raise PonderError(f"the reward returned {len(given)} scores for {len(problems)} completions")

        def row(at: int) -> Trace:
            return trace_of(
                problems[at], completions[at], prompt=prompts[at], sample=samples[at], provenance=self.provenance,
                score=given[at], seconds=seconds[at], tasks=self.tasks,
            )  # fmt: skip

        slow = len(problems) > 1 and any(problem.task in SLOW_TASKS for problem in problems)
        return list((graders().map if slow else map)(row, range(len(problems))))


class _Shown:
    """The file and the live line, in step. Use in a `with`."""

    def __init__(self, file: TraceFile, total: int, enabled: bool) -> None:
        self.file, self.tally = file, file.before
        self._began, self._tokens = time.monotonic(), 0
        self._line = Progress(total, "traces", enabled=enabled)
        self._line.update(len(file.done))

    def write(self, traces: Sequence[Trace]) -> None:
        """Write and count rows that are not there yet."""
        new = [trace for trace in traces if (trace["id"], trace["sample"]) not in self.file.done]
        self.file.append(new)
        for trace in new:
            self.tally.add(trace)
            self._tokens += trace["completion_tokens"] or 0
        seconds = max(time.monotonic() - self._began, 1e-9)
        told = {"right": self.tally.rows["right"], "tok_s": self._tokens / seconds}
        failed = self.tally.rows["failed"]
        self._line.update(self.tally.rows["samples"], **told, **({"failed": failed} if failed else {}))

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()


def _sample(sampler: Sampler, work: _Work, world: Ranks, shown: _Shown | None) -> None:
    """A local teacher: the unfinished chunks, one a rank at a time."""
    chunks = [work.problems[at : at + work.chunk] for at in range(0, len(work.problems), work.chunk)]
    undone: list[int] = []
    if shown is not None:
        keys = lambda part: {(problem.id, k) for problem in part for k in range(work.params.n)}  # noqa: E731
        undone = [at for at, part in enumerate(chunks) if not keys(part) <= shown.file.done]
    undone = world.broadcast(undone)
    for start in range(0, len(undone), world.size):
        mine = undone[start + world.rank : start + world.rank + 1]
        rows = [row for at in mine for row in _chunk(sampler, work, chunks[at])]
        for part in world.gather(rows):
            if shown is not None:
                shown.write(part)


def _chunk(sampler: Sampler, work: _Work, problems: Sequence[Problem]) -> list[Trace]:
    n = work.params.n
    prompts = [work.render(problem) for problem in problems]
    completions = sampler.sample(cast(Sequence[str], prompts), work.params, work.seed)
    if len(completions) != len(problems) * n:
        raise PonderError(f"the sampler gave {len(completions)} completions for {len(problems)} prompts of {n} each")
    each = [at for at in range(len(problems)) for _ in range(n)]
    # No seconds: they are of the whole batch, and would make the file another one each time.
    return work.traces(
        [problems[at] for at in each], [prompts[at] for at in each], completions,
        [place % n for place in range(len(each))], [None] * len(each),
    )  # fmt: skip


def _ask(sampler: Asker, work: _Work, shown: _Shown) -> None:
    """An endpoint: each missing sample on its own."""
    missing = [
        (problem, sample)
        for problem in work.problems
        for sample in range(work.params.n)
        if (problem.id, sample) not in shown.file.done
    ]
    prompts = {problem.id: work.render(problem) for problem, _ in missing}

    def on_finish(place: int, reply: Completion) -> None:
        problem, sample = missing[place]
        seconds = round(getattr(reply, "seconds", 0.0), 3)
        shown.write(work.traces([problem], [prompts[problem.id]], [reply], [sample], [seconds]))

    asks = [(prompts[problem.id], sample) for problem, sample in missing]
    sampler.ask(asks, replace(work.params, n=1), work.seed, on_finish)


def table_of(counts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The counts as heads and rows of one table: a row a task, and `all`; for the terminal and for reports."""
    columns = {
        "samples": "samples", "right": "right", "wrong": "wrong", "unknown": "unknown", "cut": "truncated",
        "failed": "failed", "formed": "well_formed",
    }  # fmt: skip
    rows = [(name, part) for name, part in counts["tasks"].items()]
    rows += [("all", counts)] if len(rows) != 1 else []
    heads = ["", *columns, "tokens", "cost"]
    return heads, [
        [
            name, *(str(part[column]) for column in columns.values()),
            str(part["prompt_tokens"] + part["completion_tokens"]),
            "-" if part["cost"] is None else f"{part['cost']:.4f}",
        ]
        for name, part in rows
    ]  # fmt: skip
