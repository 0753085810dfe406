"""Thought and answer: what is well formed, and the name of each fault."""

from __future__ import annotations

import pytest

from ponder.core.thinking import NO_THOUGHT, TAGS, closes_thought, opens_thought, parse

WELL_FORMED = [
    ("<think>a</think><answer>b</answer>", "a", "b"),
    ("<think>\n2*5=10\n2+10=12\n</think>\n<answer>12</answer>", "2*5=10\n2+10=12", "12"),
    ("  \n<think> a </think>\n\n<answer> b\nc </answer>\n ", "a", "b\nc"),
    ("<think>1 < 2 > 0 </thinking> <think</think><answer></ans></answer>", "1 < 2 > 0 </thinking> <think", "</ans>"),
    ("<think>é 🙂</think><answer>ß</answer>", "é 🙂", "ß"),
]


@pytest.mark.parametrize(("text", "thought", "answer"), WELL_FORMED)
def test_well_formed(text: str, thought: str, answer: str) -> None:
    parsed = parse(text)
    assert (parsed.thought, parsed.answer, parsed.well_formed, parsed.fault) == (thought, answer, True, "")


FAULTS = [  # text, fault, thought, answer
    ("", "no <think>", "", None),
    ("12", "no <think>", "", None),
    ("a</think><answer>b</answer>", "no <think>", "", "b"),
    ("<answer>b</answer>", "no <think>", "", "b"),
    ("<think>a", "no </think>", "a", None),
    ("<think>a<answer>b</answer>", "no </think>", "a<answer>b</answer>", None),
    ("<think>a</think>b", "no <answer>", "a", None),
    ("<think>a</think>b</answer>", "no <answer>", "a", None),
    ("<think>a</think><answer>b", "no </answer>", "a", None),
    ("<think>a</think><think>a</think><answer>b</answer>", "2 times <think>", "a", "b"),
    ("<think>a<think>b</think><answer>c</answer>", "2 times <think>", "a<think>b", "c"),
    ("<think>a</think></think><answer>b</answer>", "2 times </think>", "a", "b"),
    ("<think>a</think><answer>b</answer><answer>c</answer>", "2 times <answer>", "a", "b"),
    ("<think>a <answer>b</answer></think><answer>c</answer>", "2 times <answer>", "a <answer>b</answer>", "c"),
    ("<think>a</think><answer>b</answer></answer>", "2 times </answer>", "a", "b"),
    ("<think>a</think><answer>b</answer>" * 3, "3 times <think>", "a", "b"),
    ("<answer>b</answer><think>a</think>", "tags out of order", "a", None),
    ("<think>a<answer>b</answer></think>", "tags out of order", "a<answer>b</answer>", None),
    ("</think>a<think><answer>b</answer>", "tags out of order", "<answer>b</answer>", None),
    ("<think>a</think></answer>b<answer>", "tags out of order", "a", None),
    ("Well. <think>a</think><answer>b</answer>", "text before the thought", "a", "b"),
    ("<think></think><answer>b</answer>", "empty thought", "", "b"),
    ("<think> \n</think><answer>b</answer>", "empty thought", "", "b"),
    ("<think>a</think>So <answer>b</answer>", "text between thought and answer", "a", "b"),
    ("<think>a</think><answer></answer>", "empty answer", "a", ""),
    ("<think>a</think><answer> \n </answer>", "empty answer", "a", ""),
    ("<think>a</think><answer>b</answer> Hope that helps!", "text after the answer", "a", "b"),
    ("<think>a</think><answer>b</answer>.", "text after the answer", "a", "b"),
]


@pytest.mark.parametrize(("text", "fault", "thought", "answer"), FAULTS)
def test_faults(text: str, fault: str, thought: str, answer: str | None) -> None:
    parsed = parse(text)
    assert (parsed.well_formed, parsed.fault) == (False, fault)
    assert (parsed.thought, parsed.answer) == (thought, answer)


def test_every_tag_can_be_missing_and_doubled() -> None:
    found = {fault for _, fault, _, _ in FAULTS}
    assert {f"no {tag}" for tag in TAGS} | {f"2 times {tag}" for tag in TAGS} <= found


def test_rest_is_what_follows_the_thought() -> None:
    assert parse("x <think>a</think> b\n").rest == "b"
    assert parse(" no thought ").rest == "no thought"
    assert parse("<think>never closed").rest == ""


def test_where_the_prompt_opened_the_thought() -> None:
    parsed = parse("a</think><answer>b</answer>", opened=True)
    assert (parsed.thought, parsed.answer, parsed.well_formed) == ("a", "b", True)
    assert parse("<think>a</think><answer>b</answer>", opened=True) == parse("<think>a</think><answer>b</answer>")
    assert parse("\n<think>a</think><answer>b</answer>", opened=True).well_formed
    assert parse("a<think>b</think><answer>c</answer>", opened=True).fault == "2 times <think>"
    assert parse("</think><answer>b</answer>", opened=True).fault == "empty thought"
    assert parse("a and no end", opened=True).thought == "a and no end"
    assert parse("<answer>b</answer>", opened=True).answer is None  # it stands inside the thought


AT_ONCE = [  # text, fault, answer: where the prompt closed the thought
    ("<answer>5</answer>", "", "5"),
    ("\n <answer> b\nc </answer>\n", "", "b\nc"),
    ("", "no <answer>", None),
    ("5", "no <answer>", None),
    ("<answer>5", "no </answer>", None),
    ("<think>a</think><answer>5</answer>", "a thought where none was asked for", "5"),
    ("a</think><answer>5</answer>", "a thought where none was asked for", "5"),
    ("2+3=5 <answer>5</answer>", "text before the answer", "5"),
    ("<answer>5</answer> Done.", "text after the answer", "5"),
    ("<answer> </answer>", "empty answer", ""),
    ("<answer>5</answer><answer>5</answer>", "2 times <answer>", "5"),
    ("</answer><answer>", "text before the answer", None),
    ("</answer>5<answer>6", "text before the answer", None),
]


@pytest.mark.parametrize(("text", "fault", "answer"), AT_ONCE)
def test_answers_at_once(text: str, fault: str, answer: str | None) -> None:
    parsed = parse(text, closed=True)
    assert (parsed.well_formed, parsed.fault, parsed.answer) == (not fault, fault, answer)


def test_what_a_prompt_did_to_the_thought() -> None:
    for prompt in ("q", "", "</think>", "a thought </think>", "<think>\na\n</think>\n\n"):
        assert not opens_thought(prompt) and not closes_thought(prompt)
    assert opens_thought("assistant\n<think>\n") and not closes_thought("assistant\n<think>\n")
    for prompt in ("assistant\n" + NO_THOUGHT, "<think></think>", "<think>\n\n</think>\n"):
        assert closes_thought(prompt) and not opens_thought(prompt)
