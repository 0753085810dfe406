"""Numbers as people write them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.verify.numbers import read_number, same_number

checked = settings(max_examples=150, deadline=None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("27", 27), ("-27", -27), ("+27", 27), ("−27", -27), (" 27\n", 27), ("27.", 27), ("3.50", Fraction(7, 2)),
        ("-3.5", Fraction(-7, 2)), ("0.1", Fraction(1, 10)), ("1,000", 1000), ("1,234,567.25", Fraction(4938269, 4)),
        ("3/4", Fraction(3, 4)), ("-6/8", Fraction(-3, 4)), ("$5", 5), ("$5$", 5), ("$-5$", -5), ("0", 0), ("-0", 0),
        ("007", 7), ("12345678901234567890", 12345678901234567890), ("1000.5", Fraction(2001, 2)),
    ],
)  # fmt: skip
def test_read(text: str, value: Fraction) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "-", "$", "x", "27 28", "27,28", "1,00", "10,00", "1234,567", ",000", "1,,000", "2 7", "1e5",
        "1E5", "nan", "inf", "-inf", "Infinity", "0x1f", "1_000", "٢٧", "２７", "²", "½", "3/0", "3//4", "3/4/5",
        "1.5/2", "1/2.5", ".5", "5.5.5", "--5", "+-5", "5-", "27%", "27 apples", "1 000", "9" * 41, "9" * 5000,
        "0." + "1" * 41, "1/" + "9" * 41, " " * 10**6 + "x",
    ],
)  # fmt: skip
def test_not_a_number(text: str) -> None:
    assert read_number(text) is None
    assert not same_number(text, text)  # two texts that are no numbers are not the same number


@checked
@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_read_exactly(value: Fraction, other: Fraction) -> None:
    text = str(value)
    assert read_number(text) == value and same_number(f" {text}. ", text)
    assert same_number(text, str(other)) == (value == other)


@checked
@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_decimals_are_read_exactly(value: Decimal) -> None:
    assert read_number(f"{value:f}") == Fraction(value)
    assert read_number(f"{value:,f}") == Fraction(value)
    assert not same_number(f"{value:f}1", f"{value:f}")  # the last digit counts: nothing is rounded


@checked
@given(st.text())
def test_total(text: str) -> None:
    value = read_number(text)
    assert value is None or isinstance(value, Fraction)
    if value is not None:
        assert text.isascii() or "−" in text or text != text.strip()
