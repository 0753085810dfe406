"""STaR's second try: the answer as a hint, and no trace of it in what is learnt."""

from __future__ import annotations

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem
from ponder.data.filter import FilterSettings, filter_traces
from ponder.data.star import HINTS, failed, hint_renderer, hinted, other_answers, without_hint
from ponder.data.trace import trace_of
from ponder.tasks import draw_mix
from tests.data.traces import trace

ONE = Problem("rows", "What is 2+3?", "5")
ZWEI = Problem("rows", "Was ist 4*6?", "24", {"lang": "de"})


def _render(problem: Problem) -> str:
    return f"U: {problem.prompt}\nA: "


def test_hints_hold_question_and_answer() -> None:
    for form in HINTS:
        prompt = hinted(ONE, form).prompt
        assert prompt.startswith("What is 2+3?") and ("5" in prompt[12:]) is (form != "none")
    assert hinted(ONE, "line").prompt.endswith("\nAnswer: 5")
    assert hinted(ZWEI, "line").prompt.endswith("\nAntwort: 24")
    assert hinted(ONE, "parentheses").prompt == "What is 2+3? (5)"
    tricky = Problem("rows", "What is {answer}?", "{question}")
    assert hinted(tricky, "parentheses").prompt == "What is {answer}? ({question})"


def test_a_hint_that_cannot_be_given_is_one_line() -> None:
    with pytest.raises(PonderError, match="did you mean line"):
        hinted(ONE, "lin")
    with pytest.raises(PonderError, match="no answer to give"):
        hinted(Problem("rows", "?", " "), "line")


def test_failed_problems_are_those_without_a_right_well_formed_trace() -> None:
    three, four = Problem("rows", "3?", "3"), Problem("rows", "4?", "4")
    rows = [
        trace(ONE, "a", "1", False, 0), trace(ONE, "b", "5", True, 1), trace(ZWEI, "a", "1", False, 0),
        trace(ZWEI, "c", "24", True, 1, well_formed=False), trace(three, "d", "3", None),
    ]  # fmt: skip
    assert failed([ONE, ZWEI, three, four], rows) == [ZWEI]  # unknown and never asked are not failed


def test_the_hint_is_gone_from_what_is_learnt_and_only_right_rationales_stay() -> None:
    prompt = hint_renderer(_render, "line", opened=True)(ONE)
    assert prompt == "U: What is 2+3?\nAnswer: 5\nA: <think>\n"
    texts = {
        "2+3=5\n</think>\n<answer>5</answer>": True, "2+3=6\n</think>\n<answer>6</answer>": False,
        "As given, the answer is 5\n</think>\n<answer>5</answer>": True,
    }  # fmt: skip
    traces = [
        trace_of(ONE, Completion((1,), (2,), (), text, "stop"), prompt=prompt, sample=i, provenance={"teacher": "t"})
        for i, text in enumerate(texts)
    ]
    assert [row["correct"] for row in traces] == list(texts.values()) and all(row["well_formed"] for row in traces)
    rows, gave_away = without_hint(traces, _render)
    assert gave_away == 1 and len(rows) == 2
    kept, _ = filter_traces(rows, FilterSettings(well_formed=True))
    (row,) = kept
    assert row["prompt"] == _render(ONE) and "Answer: 5" not in row["prompt"]
    assert row["completion"] == "<think>\n2+3=5\n</think>\n<answer>5</answer>"
    assert row["provenance"] == {"teacher": "t", "stage": "rationalised"} and row["id"] == ONE.id


def test_a_template_that_opens_the_thought_opens_it_once() -> None:
    opening = lambda problem: f"{problem.prompt}<think>\n"  # noqa: E731
    assert hint_renderer(opening, "line", opened=True)(ONE).count("<think>") == 1
    assert hint_renderer(_render, "line", opened=False)(ONE) == "U: What is 2+3?\nAnswer: 5\nA: "


def test_other_answers_are_wrong_and_drawn_by_name() -> None:
    problems = draw_mix(["arithmetic", "equations"], "train", 40)
    others = other_answers(problems, 3)
    by_id = {problem.id: problem for problem in problems}
    assert len(others) > 30 and all(by_id[name].answer != other for name, other in others.items())
    assert others == other_answers(problems, 3) and others != other_answers(problems, 4)
    assert other_answers([ONE], 3) == {}
    prompt = hint_renderer(_render, "line", opened=False, answers={ONE.id: "77"})(ONE)
    assert prompt.endswith("Answer: 77\nA: ")
