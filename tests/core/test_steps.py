"""Steps of a response, and one number out of their scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.core.steps import AGGREGATES, aggregate, split_steps


@pytest.mark.parametrize(
    "text, steps",
    [
        (
            "<think>\n4*5=20\n3+20=23\n</think>\n<answer>23</answer>",
            ["<think>\n4*5=20", "3+20=23", "</think>\n<answer>23</answer>"],
        ),
        ("8+6=14\nThe answer is 14.", ["8+6=14", "The answer is 14."]),
        ("The answer is 3.", ["The answer is 3."]),
        ("<think>\n</think>\n<answer>3</answer>", ["<think>\n</think>\n<answer>3</answer>"]),
        ("<think>a\n\nb</think>x", ["<think>a\n", "b", "</think>x"]),
        ("\n\na\n", ["\n\na"]),
        ("<think>never closed\nand cut", ["<think>never closed", "and cut"]),
        ("a\n</think>\nb\nc", ["a", "</think>\nb\nc"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_lines(text, steps):
    assert split_steps(text) == steps


def test_paragraphs():
    text = "<think>\nfirst\nline\n\nsecond\n\n</think>\n\nanswer\n\nmore"
    assert split_steps(text, "\n\n") == ["<think>\nfirst\nline", "second", "</think>\n\nanswer\n\nmore"]


@given(st.text(alphabet="ab \n", max_size=40), st.text(alphabet="xy\n", max_size=10), st.booleans())
def test_joined_they_are_the_text_again(thought, answer, closed):
    text = f"<think>\n{thought}\n</think>\n{answer}" if closed else f"{thought}"
    steps = split_steps(text)
    assert "\n".join(steps).rstrip() == text.rstrip()
    assert all(step.strip() for step in steps)


def test_an_empty_separator_is_a_mistake():
    with pytest.raises(PonderError, match="separator"):
        split_steps("a", "")


def test_aggregates():
    scores = [0.5, 0.8, 0.2, 1.0]
    found = {how: aggregate(scores, how) for how in AGGREGATES}
    assert found == pytest.approx({"mean": 0.625, "min": 0.2, "last": 1.0, "product": math.prod(scores)})
    assert aggregate([], "mean") == 0.0
    with pytest.raises(PonderError, match="unknown aggregation .*'max'.*mean, min, last, product"):
        aggregate(scores, "max")
