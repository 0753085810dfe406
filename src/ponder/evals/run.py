"""Evaluation: problems in, one plain row a problem and sample out.

A row holds everything that a later look needs (output, thought, both readings of the answer, verdicts), so scoring
again never needs sampling again. Rows of several ranks are merged; the specification is hashed beside the result.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ponder
from ponder.core.errors import PonderError
from ponder.core.records import explained, read_jsonl, write_atomic, write_json_atomic
from ponder.core.thinking import closes_thought, opens_thought, parse
from ponder.core.types import Completion, Problem, Sampler, SamplingParams, Task
from ponder.evals.behaviours import measure
from ponder.evals.summary import summary
from ponder.tasks import TASKS
from ponder.verify.answers import extract

Row = dict[str, Any]

CHUNK = 256
"""Problems sampled at a time: enough to keep the sampler full, few enough to see progress."""


def evaluate(
    sampler: Sampler,
    problems: Sequence[Problem],
    render: Callable[[Problem], str],
    params: SamplingParams,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    tasks: Mapping[str, Task] = TASKS,
    chunk: int = CHUNK,
) -> list[Row]:
    """Sample `params.n` completions a problem and grade each of them, strictly and leniently.

    render: a problem as the prompt's text. on_progress: called with (problems done, problems in all) after every
    `chunk`.
    Returns rows in the order of `problems`, samples of one problem together. Raises PonderError for no problems or a
    task without a grader.
    """
    if not problems:
        raise PonderError("nothing to evaluate: the set of problems is empty; check the split, the tasks and n")
    for problem in problems:
        if problem.task not in tasks:
            raise PonderError(f"problem {problem.id}: task {problem.task!r} has no grader; known: {', '.join(tasks)}")
    rows: list[Row] = []
    for start in range(0, len(problems), chunk):
        part = problems[start : start + chunk]
        prompts = [render(problem) for problem in part]
        began = time.monotonic()
        completions = sampler.sample(prompts, params, seed)
        if len(completions) != len(part) * params.n:
            raise PonderError(
                f"the sampler gave {len(completions)} completions for {len(part)} prompts of {params.n} each"
            )
        seconds = (time.monotonic() - began) / len(completions)
        for i, completion in enumerate(completions):
            at, sample = divmod(i, params.n)
            rows.append(judge(part[at], prompts[at], completion, sample, seed, tasks[part[at].task], seconds))
        if on_progress:
            on_progress(start + len(part), len(problems))
    return rows


def judge(
    problem: Problem, prompt: str, completion: Completion, sample: int, seed: int, task: Task, seconds: float = 0.0
) -> Row:
    """The row of one completion.

    correct: strict: well formed and right. correct_lenient: the answer right wherever it stands. Both are None
    (unknown) where the grader does not know or the sampler gave up.
    """
    text = completion.text
    parsed = parse(text, opened=opens_thought(prompt), closed=closes_thought(prompt))
    if getattr(task, "whole", False):  # a program, a text that follows instructions: all that follows the thought
        lenient = parsed.answer or parsed.rest or None
    else:
        lenient = parsed.answer if parsed.well_formed else extract(text, "lenient")
    correct: bool | None
    correct_lenient: bool | None = False
    note = "no answer"
    if completion.finish == "abort":
        correct = correct_lenient = None
        note = "given up by the sampler"
    else:
        if lenient is not None:
            score = task.grade(problem, lenient)
            correct_lenient, note = score.correct, score.note
        correct = correct_lenient if parsed.well_formed else False
    return {
        "id": problem.id,
        "content": str(problem.data.get("key", problem.id)),
        "task": problem.task,
        "level": problem.data.get("level"),
        "language": problem.data.get("lang"),
        "sample": sample,
        "seed": seed,
        "prompt_hash": hashlib.sha256(prompt.encode()).hexdigest()[:16],
        "question": problem.prompt,
        "gold": problem.answer,
        "output": text,
        "thought": parsed.thought,
        "answer": parsed.answer,
        "answer_lenient": lenient,
        "correct": correct,
        "correct_lenient": correct_lenient,
        "well_formed": parsed.well_formed,
        "fault": parsed.fault,
        "note": note,
        "tokens": len(completion.token_ids) or int(getattr(completion, "completion_tokens", None) or 0),
        "finish": completion.finish,
        "seconds": round(seconds, 4),
        "version": completion.version,
        "behaviours": measure(text, problem.data.get("lang")),
    }


def shard(problems: Sequence[Problem], rank: int, size: int) -> list[Problem]:
    """The problems of one of `size` ranks: every size-th, so that every rank meets every task."""
    return list(problems[rank::size])


def merge(parts: Iterable[Sequence[Row]], problems: Sequence[Problem]) -> list[Row]:
    """The rows of all ranks in the order of `problems`. Raises PonderError when a problem's rows are missing or
    double."""
    rows = [row for part in parts for row in part]
    place = {problem.id: at for at, problem in enumerate(problems)}
    seen = {(row["id"], row["sample"]) for row in rows}
    missing = len(place.keys() - {row["id"] for row in rows})
    if missing or len(seen) < len(rows):
        raise PonderError(f"merged evaluation rows: {missing} problems missing, {len(rows) - len(seen)} rows double")
    return sorted(rows, key=lambda row: (place[row["id"]], row["sample"]))


def spec_of(problems: Sequence[Problem], params: SamplingParams, prompt_style: str, seed: int, **more: Any) -> Row:
    """Everything that a figure depends on besides the weights; two results are comparable when their `hash` is the
    same.

    more: further settings that bear on the figure (JSON values).
    """
    ids = "\n".join(problem.id for problem in problems)
    tasks: dict[str, int] = {}
    for problem in problems:
        tasks[problem.task] = tasks.get(problem.task, 0) + 1
    spec: Row = {
        "prompt_style": prompt_style,
        "sampling": {**asdict(params), "stop": list(params.stop)},
        "seed": seed,
        "problems": len(problems),
        "tasks": tasks,
        "data_hash": hashlib.sha256(ids.encode()).hexdigest()[:16],
        "ponder": ponder.__version__,
        **more,
    }
    content = json.dumps(spec, sort_keys=True, ensure_ascii=False)
    return {**spec, "hash": hashlib.sha256(content.encode()).hexdigest()[:16]}


def write_result(folder: Path, name: str, spec: Mapping[str, Any], rows: Sequence[Row], **more: Any) -> Path:
    """Write `NAME.jsonl` (the rows) and `NAME.json` (name, specification, summary), each in one step; returns the
    latter."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(folder / f"{name}.jsonl", lines)
    path = folder / f"{name}.json"
    write_json_atomic(path, {"name": name, "spec": spec, **more, "summary": summary(rows), "rows": f"{name}.jsonl"})
    return path


def read_result(path: Path) -> tuple[Row, list[Row]]:
    """What `write_result` wrote. Raises PonderError where a file is missing or broken."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
        rows_path = Path(path).parent / result["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PonderError(f"{path} is no evaluation result ({error}); run the evaluation again") from error
    return result, read_jsonl(rows_path)
