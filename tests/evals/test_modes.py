"""Modes: what counts as a leak, an empty thought, an answer in the thought alone; rates by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.core.thinking import TAGS
from ponder.evals.modes import MEASURES, Mode, in_mode, mode_figures, mode_metrics, thought_of, worked_out


def words(text: str) -> int:
    return len(text.split())


def row(text: str, problem: str = "p", correct: bool | None = True, **more: Any) -> dict[str, Any]:
    return {
        "output": text, "id": problem, "content": problem, "task": "t", "correct": correct, "finish": "stop",
        "correct_lenient": correct, "tokens": len(text.split()), **more,
    }  # fmt: skip


CASES: list[tuple[str, Mode, dict[str, Any]]] = [
    ("<think>\na b\n</think>\n<answer>5</answer>", "think",
     {"obeyed": True, "empty_thought": False, "only_in_thought": False, "think_tokens": 2, "leaked": None}),
    ("<think>\n\n</think>\n\n<answer>5</answer>", "think", {"obeyed": False, "empty_thought": True, "think_tokens": 0}),
    ("<answer>5</answer>", "think", {"obeyed": False, "empty_thought": True, "only_in_thought": False}),
    ("<think>a b c", "think",
     {"obeyed": False, "empty_thought": False, "only_in_thought": True, "think_tokens": 3}),
    ("<think>a <answer>5</answer></think>", "think", {"obeyed": False, "only_in_thought": True}),
    ("<think>a <answer>5</answer></think> <answer>5</answer>", "think", {"obeyed": True, "only_in_thought": False}),
    ("<answer>5</answer>", "no_think",
     {"obeyed": True, "leaked": False, "worked": False, "think_tokens": 0, "empty_thought": None}),
    ("The answer is 5.", "no_think", {"obeyed": True, "leaked": False, "worked": False}),
    ("<think>\na b\n</think>\n<answer>5</answer>", "no_think",
     {"obeyed": False, "leaked": True, "worked": False, "think_tokens": 2}),
    ("a b\n</think>\n<answer>5</answer>", "no_think", {"obeyed": False, "leaked": True, "worked": True}),
    ("2+3=5\n<answer>5</answer>", "no_think", {"obeyed": False, "leaked": False, "worked": True}),
    ("2+3=5\nThe answer is 5.", "no_think", {"obeyed": False, "worked": True}),
    ("", "no_think", {"obeyed": False, "leaked": False, "worked": False}),
    ("<answer>5</answer><think>a</think><think>b c", "no_think", {"obeyed": False, "leaked": True, "think_tokens": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "mode", "wanted"), CASES)
def test_cases(text: str, mode: Mode, wanted: dict[str, Any]) -> None:
    found = in_mode(row(text), mode, words)
    assert {key: found[key] for key in wanted} == wanted
    assert found["mode"] == mode and found["output"] == text


def test_a_thought_that_the_prompt_opened() -> None:
    found = in_mode(row("a b\n</think>\n<answer>5</answer>"), "think", words, opened=True)
    assert found["obeyed"] and found["think_tokens"] == 2 and not found["only_in_thought"]
    assert not in_mode(row("a b c"), "think", words, opened=True)["obeyed"]


@given(st.lists(st.sampled_from([*TAGS, "a", "\n", " ", "5"]), max_size=12).map("".join), st.booleans())
def test_any_text_has_a_verdict(text: str, opened: bool) -> None:
    for mode in ("think", "no_think"):
        found = in_mode(row(text), mode, words, opened)
        assert isinstance(found["obeyed"], bool) and found["think_tokens"] >= 0
        if mode == "no_think" and found["think_tokens"] and not opened:
            assert found["leaked"] and not found["obeyed"]
        if mode == "think" and found["empty_thought"]:
            assert not found["obeyed"]
    assert len(thought_of(text)) + len(worked_out(text)) <= len(text)  # no word is both


def test_rates_by_hand() -> None:
    good, leak = "<think>a</think><answer>5</answer>", "<think>a b c</think><answer>5</answer>"
    rows = [
        in_mode(row(good, "p"), "think", words),
        in_mode(row("<answer>5</answer>", "q", correct=False), "think", words),
        in_mode(row("<answer>5</answer>", "p"), "no_think", words),
        in_mode(row(leak, "q", correct=False), "no_think", words),
        in_mode(row(leak, "r", correct=None), "no_think", words),
        in_mode(row(leak, "s", finish="abort"), "no_think", words),
        in_mode(row("<answer>5</answer>", "t", finish="length"), "no_think", words),
    ]
    found = mode_metrics(rows)
    assert found["think/accuracy"] == found["think/obeyed"] == found["think/empty_thought"] == 0.5
    assert found["no_think/accuracy"] == pytest.approx(2 / 3)  # the unknown one counts nowhere, nor the aborted one
    assert found["no_think/leaked"] == 0.5 and found["no_think/obeyed"] == 0.5
    assert found["no_think/think_tokens"] == 1.5 and found["no_think/truncated"] == 0.25
    assert "think/leaked" not in found and "no_think/empty_thought" not in found
    figures = mode_figures(rows)
    assert set(figures["think"]) == set(MEASURES)
    low, high = figures["no_think"]["leaked"].low, figures["no_think"]["leaked"].high
    assert low is not None and high is not None and low < 0.5 < high
    assert mode_figures([row for row in rows if row["mode"] == "think"]).keys() == {"think"} and mode_figures([]) == {}
