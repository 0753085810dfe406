"""Properties of everything that reads a model's text: it never raises, and takes linear time, whatever the text."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.thinking import ANSWER_CLOSE, ANSWER_OPEN, TAGS, THINK_CLOSE, THINK_OPEN, parse
from ponder.verify.answers import CUES, MODES, extract
from ponder.verify.expression import ExpressionError, read_expression
from ponder.verify.numbers import read_number

checked = settings(max_examples=250, deadline=None)

PIECES = [
    *TAGS,
    *CUES,
    "\\boxed{",
    "{",
    "}",
    "<",
    ">",
    "/",
    "think",
    "answer",
    "5",
    "-",
    ".",
    ",",
    "1,000",
    "\n",
    " ",
    "x",
    "İ",
    "é",
    "\r",
    "\x00",
]
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
clean = st.text(alphabet="ab1 =\n.-", min_size=1).filter(str.strip)
blank = st.text(alphabet=" \n\t", max_size=3)


# ---- thought and answer ----


@checked
@given(texts, st.booleans())
def test_parse_is_total_and_says_either_form_or_fault(text: str, opened: bool) -> None:
    parsed = parse(text, opened)
    assert parsed.well_formed == (parsed.fault == "")
    whole = THINK_OPEN + text
    assert parsed.thought in whole and parsed.rest in whole and (parsed.answer is None or parsed.answer in whole)
    if parsed.well_formed:
        assert parsed.thought and parsed.answer
        assert all(whole.count(tag) in (1, 2 if tag == THINK_OPEN and not opened else 1) for tag in TAGS)
        assert not any(tag in parsed.thought + parsed.answer for tag in TAGS)
        again = f"{THINK_OPEN}{parsed.thought}{THINK_CLOSE}{ANSWER_OPEN}{parsed.answer}{ANSWER_CLOSE}"
        assert (
            parse(again)
            == parse(again, opened=True)
            == type(parsed)(parsed.thought, f"{ANSWER_OPEN}{parsed.answer}{ANSWER_CLOSE}", parsed.answer, True, "")
        )


@checked
@given(clean, clean, blank, blank, blank, st.booleans())
def test_what_is_put_in_is_taken_out(
    thought: str, answer: str, before: str, between: str, after: str, opened: bool
) -> None:
    head = "" if opened else before + THINK_OPEN
    text = f"{head}{thought}{THINK_CLOSE}{between}{ANSWER_OPEN}{answer}{ANSWER_CLOSE}{after}"
    parsed = parse(text, opened)
    assert (parsed.thought, parsed.answer, parsed.fault) == (thought.strip(), answer.strip(), "")
    assert extract(text, "strict", opened) == answer.strip()


@checked
@given(clean, clean, texts.filter(str.strip), st.sampled_from(["before", "between", "after"]))
def test_nothing_may_stand_outside(thought: str, answer: str, more: str, place: str) -> None:
    parts = [f"{THINK_OPEN}{thought}{THINK_CLOSE}", f"{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"]
    parts.insert(("before", "between", "after").index(place), more)
    assert not parse("".join(parts)).well_formed


# ---- answers ----


@checked
@given(texts, st.sampled_from(MODES), st.booleans())
def test_extract_is_total(text: str, mode: str, opened: bool) -> None:
    answer = extract(text, mode, opened)
    assert answer is None or (answer and answer in text and answer == answer.strip())
    if mode == "strict":
        assert (answer is not None) == parse(text, opened).well_formed
    else:
        assert answer is not None or not any(digit in text for digit in "0123456789")  # a number is always found


# ---- numbers and expressions ----


@checked
@given(st.one_of(texts, st.text(alphabet="0123456789+-*/().,$= \n"), st.text(alphabet="٣٤²½0123−×÷")))
def test_numbers_and_expressions_are_total(text: str) -> None:
    value = read_number(text)
    try:
        expression = read_expression(text)
    except ExpressionError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert all(number >= 0 for number in expression.numbers) and expression.numbers
    if value is not None and "/" not in text and text.lstrip("-").isdigit():
        assert expression.value == value  # both readers agree on plain numbers


# ---- linear time ----


def strict(text: str) -> object:
    return parse(text), parse(text, opened=True), extract(text, "strict")


def lenient(text: str) -> object:
    return extract(text, "lenient")


def number(text: str) -> object:
    return read_number(text)


def expression(text: str) -> object:
    try:
        return read_expression(text)
    except ExpressionError:
        return None


HOSTILE = [
    *TAGS, *CUES, THINK_OPEN + THINK_CLOSE, ANSWER_OPEN + ANSWER_CLOSE, THINK_CLOSE + ANSWER_OPEN, "\\boxed{",
    "\\boxed{}", "{", "}", "<", "<answer", "</", "1", "1,000,", "1,", "1.", "-", "-1", "1,1111", " ", "\n", "a", "(",
    "1+", "answer", "the answer ", "#", "İ", "é",
]  # fmt: skip


@pytest.mark.parametrize("read", [strict, lenient, number, expression])
@pytest.mark.parametrize("end", ["", ANSWER_CLOSE + "5", "\\boxed{5"])
def test_linear_time(read: Callable[[str], object], end: str) -> None:
    """200,000 characters cost some 8 times what 25,000 cost; 64 times would be quadratic.

    In processor time, so that other programs do not count.
    """
    for piece in HOSTILE:
        small, large = (piece * (size // len(piece)) + end for size in (25_000, 200_000))
        fast = min(timed(read, small) for _ in range(2))
        slow = timed(read, large)
        if slow > 30 * max(fast, 0.001):  # once more, lest a hiccup decide
            slow = min(timed(read, large) for _ in range(3))
        assert slow <= 30 * max(fast, 0.001), (piece, fast, slow)


def timed(read: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    read(text)
    return time.process_time() - began
