"""Rows of traces that others made: which columns hold the question, the thought and the answer.

Shapes that are known, by columns:

    message_thinking, message_content                    real R1 traces (Ollama, OpenRouter), with gtruth_answer
    generations                                          open-r1's OpenR1-Math: several of each problem
    messages, conversations                              open-r1's Mixture-of-Thoughts, OpenThoughts, SmolTalk ...
    deepseek_thinking_trajectory + deepseek_attempt      s1K-1.1; thinking_trajectories + attempt: s1K
    deepseek_reasoning + deepseek_solution               OpenThoughts' metadata rows
    reasoning (reasoning_content, thinking) + response (content, completion, output, final)
    completion, response, output, generation             one text, with its thought in tags
    trace rows of `ponder.data.trace`                    as they are
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.types import Finish, Problem
from ponder.data.trace import NEEDED, problem_of
from ponder.sampling.endpoint.wire import one_form
from ponder.tasks import rows as problem_rows
from ponder.tasks.shapes import as_row, clean, given, structure

QUESTIONS = ("problem", "question", "prompt", "instruction", "query")
ANSWERS = (
    "gtruth_answer", "answer", "ground_truth", "gold", "expected_answer", "final_answer", "reference_answer",
    "solution",
)  # fmt: skip
PAIRS = (
    ("message_thinking", "message_content"),
    ("deepseek_thinking_trajectory", "deepseek_attempt"),
    ("gemini_thinking_trajectory", "gemini_attempt"),
    ("thinking_trajectories", "attempt"),
    ("deepseek_reasoning", "deepseek_solution"),
    *(
        (thought, answer)
        for thought in ("reasoning", "reasoning_content", "thinking")
        for answer in ("response", "content", "completion", "output", "final")
    ),
)
"""Columns that hold a thought and what follows it."""

WHOLES = ("generation", "completion", "response", "output", "model_output")
CHATS = ("messages", "conversations")
SHAREGPT = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
TAGS = (
    ("<|begin_of_thought|>", "<think>"), ("<|end_of_thought|>", "</think>"),
    ("<|begin_of_solution|>", ""), ("<|end_of_solution|>", ""),
)  # fmt: skip
"""OpenThoughts' own marks."""

KEPT = (
    *problem_rows.TEST_FIELDS, *problem_rows.CHOICE_FIELDS, "entry_point", "instruction_id_list", "kwargs",
)  # fmt: skip
"""Columns that a grader needs besides the answer."""

ABOUT = (
    "source",
    "source_type",
    "dataset",
    "domain",
    "model",
    "teacher",
    "generator",
    "uuid",
    "problem_type",
    "finish_reasons",
)
"""Columns that are kept in the provenance, as `columns`."""


@dataclass(frozen=True)
class Read:
    """A row taken apart: the problem, what was asked, and the texts that answer it with how each ended.

    empty: how many of its texts were. about: its columns of `ABOUT`. provenance: a trace's own.
    """

    problem: Problem
    prompt: Any
    texts: tuple[str, ...]
    finishes: tuple[Finish, ...]
    empty: int
    about: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def read_row(where: str, row: Any, number: int = 0) -> Read:
    """A row of any known shape. Raises PonderError, beginning with `where`, that names what it lacks."""
    cells = as_row(where, row)
    about = {name: cells[name] for name in ABOUT if given(cells.get(name))}
    if all(isinstance(cells.get(name), kind) for name, kind in NEEDED.items()):
        told: dict[str, Finish] = {"length": "length", "abort": "abort"}
        finish = told.get(str(cells.get("finish")), "stop")
        try:
            problem = problem_of(cells)
        except PonderError as error:
            raise PonderError(f"{where}: {error}") from error
        return Read(problem, cells.get("prompt"), (cells["completion"],), (finish,), 0, {}, cells["provenance"])
    question, prompt, texts = _texts(where, cells)
    whole = [clean(where, "the answer", text) for text in texts if text.strip()]
    if not whole:
        raise PonderError(f"{where}: every completion is empty")
    problem = _problem(where, cells, question, number)
    reasons = cells.get("finish_reasons")
    known = reasons if isinstance(reasons, list) and len(reasons) == len(texts) else ["stop"] * len(texts)
    ends: list[Finish] = [
        "length" if end == "length" else "stop" for text, end in zip(texts, known, strict=True) if text.strip()
    ]
    about.pop("finish_reasons", None)
    return Read(problem, prompt, tuple(whole), tuple(ends), len(texts) - len(whole), about)


def _texts(where: str, cells: Mapping[str, Any]) -> tuple[str, Any, list[str]]:
    """(question, prompt, texts) of a row."""
    if given(cells.get("generations")):
        listed = structure(where, "generations", cells["generations"])
        if not isinstance(listed, Sequence) or not all(isinstance(text, str) for text in listed):
            raise PonderError(f"{where}: generations is no list of texts")
        question = _question(where, cells)
        return question, question, [_marked(text, "") for text in listed]
    for thought, answer in PAIRS:
        if given(cells.get(thought)) and given(cells.get(answer)):
            question = _question(where, cells)
            pair = _one(where, thought, cells[thought]), _one(where, answer, cells[answer])
            return question, question, [_marked(pair[1], pair[0])]
    for name in CHATS:
        if given(cells.get(name)):
            return _chat(where, name, cells)
    for name in WHOLES:
        if given(cells.get(name)):
            question = _question(where, cells)
            return question, question, [_marked(_one(where, name, cells[name]), "")]
    found = ", ".join(map(str, cells)) or "none"
    raise PonderError(
        f"{where}: no trace in columns {found}; give messages, generations, completion, or reasoning and response"
    )


def _marked(content: str, thought: str) -> str:
    for theirs, ours in TAGS:
        content = content.replace(theirs, ours)
    return one_form(content, thought, cut=False)[0]


def _one(where: str, name: str, value: Any) -> str:
    """A text, also as a list of one."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            listed = json.loads(value)
            value = listed if isinstance(listed, list) and len(listed) == 1 else value
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(value, str):
        raise PonderError(f"{where}: {name} holds a {type(value).__name__}; give text")
    return value


def _chat(where: str, name: str, cells: Mapping[str, Any]) -> tuple[str, Any, list[str]]:
    listed = structure(where, name, cells[name])
    turns = []
    for at, turn in enumerate(listed if isinstance(listed, Sequence) and not isinstance(listed, str) else [], 1):
        role = turn.get("role") or SHAREGPT.get(str(turn.get("from"))) if isinstance(turn, Mapping) else None
        text = (turn.get("content") if given(turn.get("content")) else turn.get("value")) if role else None
        if not isinstance(role, str) or not (isinstance(text, str) or turn.get("reasoning_content")):
            raise PonderError(f"{where}: message {at} of {name} has no role or no text; give role and content")
        turns.append({"role": role, "content": text or "", "thought": str(turn.get("reasoning_content") or "")})
    if not turns or turns[-1]["role"] != "assistant":
        raise PonderError(f"{where}: {name} does not end with a turn of the assistant: there is nothing to learn")
    asked = [turn for turn in turns[:-1] if turn["role"] != "system"]
    if not asked or asked[-1]["role"] != "user":
        raise PonderError(f"{where}: {name} has no user's turn before the answer")
    one = (
        asked[0]["content"]
        if len(asked) == 1
        else "\n\n".join(f"{t['role'].capitalize()}: {t['content']}" for t in asked)
    )
    question = _question(where, cells) if any(given(cells.get(column)) for column in QUESTIONS) else one
    prompt = [{"role": turn["role"], "content": turn["content"]} for turn in turns[:-1]]
    return question, prompt, [_marked(turns[-1]["content"], turns[-1]["thought"])]


def _question(where: str, cells: Mapping[str, Any]) -> str:
    for name in QUESTIONS:
        value = cells.get(name)
        if given(value):
            if not isinstance(value, str):
                raise PonderError(f"{where}: {name} holds a {type(value).__name__}; give text")
            return clean(where, name, value)
    raise PonderError(f"{where}: no question; give one of {', '.join(QUESTIONS)}")


def _problem(where: str, cells: Mapping[str, Any], question: str, number: int) -> Problem:
    """The problem, of the kind that its answer and columns say; without an answer it cannot be graded, and has none."""
    named = next((name for name in ANSWERS if given(cells.get(name))), None)
    kept = {name: cells[name] for name in KEPT if given(cells.get(name))}
    if named is None and not kept:
        return Problem("math", question, "", {"row": number})
    row = {"problem": question, **kept}
    if named is not None:
        row |= {("solution" if named == "solution" else "answer"): cells[named]}
    try:
        return problem_rows.problem_of(where, row, number)
    except PonderError:
        if named in (None, "solution") and not kept:  # a worked solution without a final answer
            return Problem("math", question, "", {"row": number})
        raise
