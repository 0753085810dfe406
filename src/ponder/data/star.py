"""STaR: a model teaches itself from its own right answers, and from those that it could explain once it knew them.

Zelikman et al. 2022 (arXiv 2203.14465), algorithm 1. A round: answer every problem; for those that were failed, answer
again with the right answer as a hint (rationalisation); keep what ends with the right answer, without the hint; train.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ponder.core.errors import PonderError, nearest
from ponder.core.seeds import random_of
from ponder.core.thinking import THINK_OPEN
from ponder.core.types import Problem
from ponder.data.filter import verdict_of
from ponder.data.held_out import problem_in
from ponder.sampling.endpoint.wire import joined

Trace = Mapping[str, Any]
Render = Callable[[Problem], str]

HINTS: dict[str, str] = {
    "none": "{question}",
    "parentheses": "{question} ({answer})",
    "line": "{question}\n{cue} {answer}",
    "told": (
        "{question}\n\nThe right answer is {answer}. Show the reasoning that leads to it, as if you had found it "
        "yourself, and do not mention that it was given."
    ),
}
"""How the answer is put beside the question. parentheses: the paper's form for GSM8K (section 4.4), meant for a model
that continues examples; told: for a model that follows instructions; line: as pages of worked problems have it; none:
to compare with."""

CUES = {"en": "Answer:", "de": "Antwort:"}

GIVEN_AWAY = (
    "the hint", "this hint", "as given", "given answer", "provided answer", "was given that", "answer is given",
    "der hinweis", "vorgegeben", "laut lösung",
)  # fmt: skip
"""Words by which a rationale shows that it knew the answer; without the hint they would teach to make one up."""


def hinted(problem: Problem, form: str, answer: str | None = None) -> Problem:
    """The problem with its answer as a hint in the question. answer: another one, to see what the answer is worth.

    Raises PonderError for an unknown form, and for a problem without an answer.
    """
    if form not in HINTS:
        raise PonderError(f"hint is {form!r}: one of {', '.join(HINTS)}{nearest(form, HINTS)}")
    answer = problem.answer if answer is None else answer
    if not answer.strip():
        raise PonderError(f"problem {problem.id} has no answer to give as a hint")
    cue = CUES.get(str(problem.data.get("lang", "en")), CUES["en"])
    parts = {"cue": cue, "answer": answer, "question": problem.prompt}
    # In one pass: a question or an answer may hold braces of its own.
    text = re.sub(r"\{(cue|answer|question)\}", lambda match: parts[match[1]], HINTS[form])
    return replace(problem, prompt=text)


def hint_renderer(render: Render, form: str, opened: bool, answers: Mapping[str, str] | None = None) -> Render:
    """Prompts with the hint. opened: `<think>` is written too, so that a thought comes before the answer.

    answers: by problem id, where another answer than the right one is to be the hint.
    """

    def with_hint(problem: Problem) -> str:
        prompt = render(hinted(problem, form, None if answers is None else answers[problem.id]))
        begun = prompt.rstrip().endswith(THINK_OPEN)
        return f"{prompt}{THINK_OPEN}\n" if opened and not begun else prompt

    return with_hint


def failed(problems: Sequence[Problem], traces: Sequence[Trace]) -> list[Problem]:
    """The problems none of whose traces is well formed and right; those whose verdicts are all unknown are left out."""
    right, known = set(), set()
    for row in traces:
        verdict = verdict_of(row)
        if verdict is not None:
            known.add(row["id"])
        if verdict is True and row.get("well_formed"):
            right.add(row["id"])
    return [problem for problem in problems if problem.id in known and problem.id not in right]


def without_hint(traces: Sequence[Trace], render: Render) -> tuple[list[dict[str, Any]], int]:
    """Rationalised traces as if the question alone had been asked, and how many gave the hint away and were dropped.

    render: the prompt without the hint. The thought that the hinted prompt opened is opened in the text.
    """
    rows, gave_away = [], 0
    for row in traces:
        text = str(row["completion"]).casefold()
        if any(words in text for words in GIVEN_AWAY):
            gave_away += 1
            continue
        whole = str(row["completion"])
        if str(row.get("prompt") or "").rstrip().endswith(THINK_OPEN):
            whole = joined(str(row.get("reasoning") or ""), str(row.get("response") or ""))
        provenance = {**dict(row.get("provenance") or {}), "stage": "rationalised"}
        rows.append({**row, "prompt": render(problem_in(row)), "completion": whole, "provenance": provenance})
    return rows, gave_away


def other_answers(problems: Sequence[Problem], seed: object) -> dict[str, str]:
    """For each problem an answer that some other problem of its kind and language has: hints that say nothing.

    Problems whose kind has no other answer are left out.
    """
    found = {}
    for problem in problems:
        kind = (problem.task, problem.data.get("lang"))
        others = sorted({p.answer for p in problems if (p.task, p.data.get("lang")) == kind} - {problem.answer})
        if others:
            found[problem.id] = random_of(seed, "other answer", problem.id).choice(others)
    return found
