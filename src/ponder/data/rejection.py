"""Rejection sampling: many answers to a problem, verified, the best of the right ones kept to learn from.

The best is chosen by a rule (shortest, first, by chance) or by a reward model's score (DeepSeek-R1, arXiv 2501.12948,
section 2.3.3; Yuan et al. 2023, arXiv 2308.01825, keep all right ones that differ: `max_per_problem=0`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ponder.core.errors import PonderError
from ponder.data.filter import FilterSettings, Took, filter_traces, verdict_of
from ponder.data.held_out import EvaluationSet, HeldOut, assert_no_held_out, problem_in
from ponder.sampling.endpoint.wire import joined
from ponder.tasks.shapes import Completed

Trace = Mapping[str, Any]
Scorer = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""Prompts and responses, as long as one another -> a score each, e.g. `ponder.models.scorers.OutcomeScorer.score`."""


def keep_best(
    traces: Sequence[Trace], settings: FilterSettings, held_out: HeldOut, *, against: Sequence[EvaluationSet] = (),
    scorer: Scorer | None = None, scored_by: str = "",
) -> tuple[list[Trace], list[Took]]:  # fmt: skip
    """The traces to train on, and the table of what each filter took.

    settings: `right` and `max_per_problem` with `which` make it rejection sampling. scorer: gives every right trace its
    `score`, which `which=best` goes by; `scored_by` is noted in its provenance.
    Raises PonderError where a problem is held out, before anything is kept.
    """
    assert_no_held_out(traces, held_out, "rejection sampling")
    rows = scored(traces, scorer, scored_by) if scorer is not None else list(traces)
    return filter_traces(rows, settings, against)


def scored(traces: Sequence[Trace], scorer: Scorer, scored_by: str = "") -> list[Trace]:
    """The traces with a reward model's score in place of their own, on those that are right; others keep theirs.

    Raises PonderError where the scorer gives another number of scores.
    """
    places = [place for place, row in enumerate(traces) if verdict_of(row) is True]
    prompts = [str(traces[place].get("prompt") or traces[place]["problem"]) for place in places]
    scores = scorer(prompts, [traces[place]["completion"] for place in places]) if places else []
    if len(scores) != len(places):
        raise PonderError(f"the scorer gave {len(scores)} scores for {len(places)} answers; one each is due")
    rows: list[Trace] = list(traces)
    for place, score in zip(places, scores, strict=True):
        provenance = {**dict(rows[place].get("provenance") or {}), "scored_by": scored_by}
        rows[place] = {**rows[place], "score": float(score), "provenance": provenance}
    return rows


def lessons(traces: Sequence[Trace], render: Callable[[Any], str]) -> list[Completed]:
    """Traces as rows for supervised fine-tuning: the bare question as the student will be asked it, and the whole text.

    render: a problem as the prompt's text. Where the teacher's prompt had opened the thought, or said more than the
    question, the student's row has a thought that is opened in the text, and the question alone.
    """
    examples = []
    for number, row in enumerate(traces, 1):
        prompt = render(problem_in(row))
        examples.append(Completed(prompt, text_after(prompt, row), number))
    return examples


def text_after(prompt: str, trace: Trace) -> str:
    """The whole text of a trace as it stands after `prompt`, which may have opened the thought, as the trace's own
    prompt may have."""
    text = str(trace["completion"])
    opened_then = isinstance(trace.get("prompt"), str) and trace["prompt"].rstrip().endswith("<think>")
    opened_now = prompt.rstrip().endswith("<think>")
    if opened_then == opened_now:
        return text
    whole = joined(str(trace.get("reasoning") or ""), str(trace.get("response") or ""))
    return whole.removeprefix("<think>\n") if opened_now else whole
