"""The trace row: one answer of a teacher to one problem, with its verdict and where it comes from.

Every data stage reads and writes JSON lines of these columns (null where a source does not say):

    id, task, problem, answer, data     the problem (`problem_of` gives it back)
    prompt, completion                  what the teacher was given, and its whole text with the thought
    reasoning, response                 the thought, and what follows it
    finish, prompt_tokens, completion_tokens, sample, seconds, cost
    correct, correct_lenient, well_formed, score, parts, note
    provenance                          teacher, source, style, temperature, seed, stage ...

`correct` is right where the answer stands where it should: in `<answer>`, for problems of files also in a box behind
the thought, and for whole responses (programs) behind the thought. `correct_lenient` looks for it anywhere. Both are
null, unknown, where the grader could not tell or no answer came. The form itself is `well_formed`, and apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.thinking import THINK_CLOSE, THINK_OPEN, closes_thought, opens_thought, parse
from ponder.core.types import Completion, Problem, Score, Task
from ponder.sampling.endpoint.wire import joined
from ponder.tasks import TASKS
from ponder.tasks.row_tasks import ROW_TASKS, ROWS
from ponder.tasks.rows import last_boxed
from ponder.verify.answers import extract

Trace = dict[str, Any]
Reward = Callable[[Sequence[Problem], Sequence[Completion]], list[Score]]

NEEDED = {
    "id": str, "task": str, "problem": str, "answer": str, "data": Mapping, "completion": str, "sample": int,
    "provenance": Mapping,
}  # fmt: skip
"""Columns without which a row is no trace, and what each holds."""

GIVEN_UP = "no answer came"
LANGUAGE_LINES = {"en": "Think and answer in English.", "de": "Denke und antworte auf Deutsch."}
"""What a system turn says where `messages_of` is to ask for a language."""


@dataclass(frozen=True)
class Grade:
    """A verdict on one trace, in the trace's own columns."""

    correct: bool | None
    correct_lenient: bool | None
    well_formed: bool
    score: float | None
    parts: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""


def trace_of(
    problem: Problem, completion: Completion, *, prompt: Any, sample: int, provenance: Mapping[str, Any],
    score: Score | None = None, seconds: float | None = None, tasks: Mapping[str, Task] = TASKS,
) -> Trace:  # fmt: skip
    """The row of one completion, graded by its problem's own grader.

    prompt: what the teacher was given, a text or a list of messages.
    score: a reward's, in place of the grader's: its value, parts and note are taken, and its verdict where it has one.
    seconds: how long the answer took, where that is known of a single one.
    Tokens and cost are those that an endpoint's reply tells, else the completion's own tokens are counted.
    Raises PonderError for a task without a grader.
    """
    opened = isinstance(prompt, str) and opens_thought(prompt)
    closed = isinstance(prompt, str) and closes_thought(prompt)
    graded = grade(problem, completion.text, completion.finish == "abort", opened, score, tasks, closed)
    parsed = parse(completion.text, opened, closed)
    return {
        "id": problem.id,
        "task": problem.task,
        "problem": problem.prompt,
        "answer": problem.answer,
        "data": dict(problem.data),
        "prompt": prompt,
        "completion": completion.text,
        "reasoning": parsed.thought,
        "response": parsed.rest,
        "finish": completion.finish,
        "prompt_tokens": getattr(completion, "prompt_tokens", len(completion.prompt_ids)),
        "completion_tokens": getattr(completion, "completion_tokens", len(completion.token_ids)),
        "sample": sample,
        "correct": graded.correct,
        "correct_lenient": graded.correct_lenient,
        "well_formed": graded.well_formed,
        "score": graded.score,
        "parts": dict(graded.parts),
        "note": getattr(completion, "note", "") or graded.note,
        "seconds": seconds,
        "cost": getattr(completion, "cost", None),
        "provenance": dict(provenance),
    }


def grade(
    problem: Problem, text: str, gave_up: bool = False, opened: bool = False, score: Score | None = None,
    tasks: Mapping[str, Task] = TASKS, closed: bool = False,
) -> Grade:  # fmt: skip
    """Grade a text; the two readings are described at the head of this file.

    gave_up: the sampler did, so that all is unknown. opened: the prompt wrote `<think>`; closed: and `</think>`.
    score: as in `trace_of`.
    """
    parsed = parse(text, opened, closed)
    if gave_up:
        return Grade(None, None, False, None, {}, GIVEN_UP)
    task = tasks.get(problem.task)
    if task is None:
        raise PonderError(f"problem {problem.id}: task {problem.task!r} has no grader; known: {', '.join(tasks)}")
    strict = _strict(problem.task, task, text, opened, closed)
    own = score if score is not None and score.correct is not None else None
    if own is None:
        own = task.grade(problem, strict) if strict else Score(0.0, False, note="no answer")
    lenient = own.correct if own.correct is True else _lenient(problem, task, text, strict, own.correct, parsed.rest)
    told = own if score is None else score
    return Grade(own.correct, lenient, parsed.well_formed, told.value, told.parts, told.note)


def _strict(name: str, task: Task, text: str, opened: bool, closed: bool) -> str:
    # The same reading as the reward `accuracy` has.
    parsed = parse(text, opened, closed)
    if parsed.answer is not None:
        return parsed.answer
    if getattr(task, "whole", False):
        return parsed.rest
    return last_boxed(parsed.rest) if name in ROW_TASKS or name == ROWS.name else ""


def _lenient(problem: Problem, task: Task, text: str, strict: str, known: bool | None, rest: str) -> bool | None:
    """The answer wherever it stands; `known` is the verdict on `strict`."""
    if getattr(task, "whole", False):
        return known
    if problem.task in ("math", "choice"):  # these graders find an answer in a text better than a rule for all kinds
        shown = rest or text
        if problem.task == "math":
            from ponder.verify.math import verify_math

            return verify_math(shown, problem.answer).correct
        from ponder.verify.choice import verify_choice

        return verify_choice(shown, problem.answer, problem.data.get("choices")).correct
    found = extract(text, "lenient")
    if found is None or found == strict:
        return known
    return task.grade(problem, found).correct


def problem_of(trace: Mapping[str, Any]) -> Problem:
    """The problem that a trace answers. Raises PonderError where its id is not that of its content."""
    problem = Problem(trace["task"], trace["problem"], trace["answer"], dict(trace["data"]))
    if problem.id != trace["id"]:
        raise PonderError(
            f"trace {trace['id']}/{trace.get('sample')}: its task, problem or answer was changed (their id is "
            f"{problem.id}); put that id there, or the old text back"
        )
    return problem


def messages_of(
    trace: Mapping[str, Any],
    *,
    thought: Literal["keep", "drop", "empty"] = "keep",
    inline: bool = True,
    flag: Literal["none", "system", "user"] = "none",
    system: str | None = None,
    language: str | None = None,
) -> dict[str, Any]:
    """A trace as a conversation to train on: `{"messages": [...], "id", "task", "sample", "provenance"}`.

    thought: keep it; drop it, so that the answer alone is learnt; or empty, an answer after `<think>\\n\\n</think>`.
    inline: the thought stands in the content; else in `reasoning_content`, for templates that place it themselves.
    flag: puts `/think` (kept) or `/no_think` at the end of the system or of the user turn.
    system: what the system turn says. language: `en`, `de`, or `problem` for the problem's own (`data.lang`): a line of
        the system turn asks for it.
    Raises PonderError for a trace without a response (or a thought) to keep, and for an unknown option.
    """
    where = f"trace {trace.get('id')}/{trace.get('sample')}"
    for name, value, known in (
        ("thought", thought, ("keep", "drop", "empty")), ("flag", flag, ("none", "system", "user")),
    ):  # fmt: skip
        if value not in known:
            raise PonderError(f"{name} is {value!r}: one of {', '.join(known)}")
    switch = "/think" if thought == "keep" else "/no_think"
    lines = [system or "", _language_line(trace, language, where), switch if flag == "system" else ""]
    asked = f"{trace['problem']} {switch}" if flag == "user" else trace["problem"]
    before = "\n".join(line for line in lines if line)
    messages = [{"role": "system", "content": before}] if before else []
    messages += [{"role": "user", "content": asked}, _answer_turn(trace, thought, inline, where)]
    return {"messages": messages, **{name: trace.get(name) for name in ("id", "task", "sample", "provenance")}}


def _answer_turn(trace: Mapping[str, Any], thought: str, inline: bool, where: str) -> dict[str, str]:
    reasoning, response = str(trace.get("reasoning") or ""), str(trace.get("response") or "")
    if not response.strip():
        raise PonderError(f"{where}: nothing follows the thought; leave out what was cut or not answered")
    turn = {"role": "assistant", "content": response}
    if thought == "drop":
        return turn
    if thought == "keep" and not reasoning.strip():
        raise PonderError(f"{where}: it has no thought to keep; say thought=drop for answers without one")
    kept = reasoning if thought == "keep" else ""
    if not inline:
        return {**turn, "reasoning_content": kept}
    text = str(trace["completion"])
    if thought == "keep" and text.lstrip().startswith(THINK_OPEN) and THINK_CLOSE in text:
        return {**turn, "content": text}  # as the teacher wrote it, space for space
    return {**turn, "content": joined(kept, response)}


def _language_line(trace: Mapping[str, Any], language: str | None, where: str) -> str:
    if language is None:
        return ""
    lang = dict(trace.get("data") or {}).get("lang") if language == "problem" else language
    if lang not in LANGUAGE_LINES:
        raise PonderError(f"{where}: language {lang!r} is none of {', '.join(LANGUAGE_LINES)}")
    return LANGUAGE_LINES[str(lang)]


def read_traces(path: str | Path) -> list[Trace]:
    """The traces of a JSON-lines file. Raises PonderError naming the file, the row and what it lacks."""
    path = Path(path)
    rows = read_jsonl(path)
    for number, row in enumerate(rows, 1):
        check_trace(row, f"{path}, row {number}")
    return rows


def check_trace(row: Mapping[str, Any], where: str) -> None:
    """Raise PonderError, beginning with `where`, for a row that is no trace."""
    for name, kind in NEEDED.items():
        if not isinstance(row.get(name), kind):
            found = "is missing" if row.get(name) is None else f"is a {type(row[name]).__name__}"
            raise PonderError(f"{where}: {name} {found}; make traces with `ponder data generate` or `import`")
