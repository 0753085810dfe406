"""Traces for the tests of the data stages: rows as `ponder.data.trace` writes them, from a few words."""

from __future__ import annotations

from typing import Any

from ponder.core.thinking import parse
from ponder.core.types import Problem


def trace(
    problem: Problem, thought: str, answer: str, correct: bool | None, sample: int = 0, **more: Any
) -> dict[str, Any]:
    """A well-formed trace; `more` overrides any column."""
    text = f"<think>\n{thought}\n</think>\n<answer>{answer}</answer>"
    row: dict[str, Any] = {
        "id": problem.id, "task": problem.task, "problem": problem.prompt, "answer": problem.answer,
        "data": dict(problem.data), "prompt": f"Q: {problem.prompt}\nA:", "completion": text,
        "reasoning": parse(text).thought, "response": parse(text).rest, "finish": "stop", "prompt_tokens": 9,
        "completion_tokens": len(text) // 4, "sample": sample, "correct": correct, "correct_lenient": correct,
        "well_formed": True, "score": None, "parts": {}, "note": "", "seconds": 0.1, "cost": None,
        "provenance": {"teacher": "t", "source": "import", "style": "chat", "temperature": 1.0, "seed": 7},
    }  # fmt: skip
    return {**row, **more}
