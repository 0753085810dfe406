from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.verify.guards import guard, least_digits, peel

HOSTILE = [
    "9^{9^{9^{9}}}",
    "9^9^9^9",
    "9**9**9",
    "2^{2^{20}}",
    "99999999^{99999999}",
    "(x+1)^{9999}",
    "2^{(10!)}",
    "(10^9)!",
    "99999!",
    "((5!)!)!",
    "5!!!",
    r"\binom{10^9}{3}",
    r"\binom{99999999}{3}",
    r"\sum_{k=1}^{1000000} k^2",
    r"\sum_{k=1}^{10^9} k",
    r"\prod_{k=1}^{5!} k",
    r"\int\int\int\int x",
    "1" * 600,
    "(" * 40 + "x" + ")" * 40,
    "x+" * 400,
    "|" * 40,
    "y" * 1900,
]
HARMLESS = [
    "42",
    r"\frac{13}{6}",
    "2^{2^3}",
    "2^{2023}",
    "e^{x^2}",
    "10^{100}",
    "x^{-1/2}",
    "10!",
    "(n+1)!",
    r"\binom{100}{50}",
    r"\sum_{k=1}^{100} k",
    r"\sum_{k=1}^{\infty} \frac{1}{k^2}",
    r"\int_0^1 x^2 dx",
    "123456789012345678901234567890",
    r"[-1, -\tfrac12) \cup (-\tfrac12, 0) \cup (0, 1) \cup (1, \infty)",
    "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20",
    "x != 3",
    "**42**",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_stopped(text: str) -> None:
    assert guard(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_texts_pass(text: str) -> None:
    assert guard(text) is None


@given(st.text(alphabet="0123456789^{}()!\\binom sum_|+*x,²⁹", max_size=300))
def test_any_text_gets_a_verdict(text: str) -> None:
    reason = guard(text)
    assert reason is None or reason


@pytest.mark.parametrize(
    "unit", ["^{", "^2", "!", "(", "((x)!)!", r"\binom{", r"\sum_{k=1}^{", "9^", "|", "{}^{}", "**", "x ^ "]
)
def test_time_is_linear(unit: str) -> None:
    for size in (1900, 100_000, 1_000_000):
        began = time.perf_counter()
        guard(unit * (size // len(unit)))
        peel("(" * size + ")" * size)
        least_digits(unit * (size // len(unit)))
        assert time.perf_counter() - began < 1.5


def test_peel() -> None:
    assert peel("((x+1))") == "x+1"
    assert peel("(x)(y)") == "(x)(y)"
    assert peel("(1,2)") == "(1,2)"
    assert peel("((1,2))") == "((1,2))"
    assert peel("[x)") == "[x)"
    assert peel(r"\{1\}") == r"\{1\}"
    assert peel("{x}") == "x"
    assert peel("(x") == "(x"


def test_least_digits() -> None:
    assert least_digits("10^{100}") == pytest.approx(100, rel=0.01)
    assert (least_digits("9^{9^{9^{9}}}") or 0) > 9e14
    assert 8e9 < (least_digits("(10^9)!") or 0) < 8.6e9
    assert least_digits("1^{9^{9}}") == 0
    assert least_digits("0^{9}") == 0
    assert least_digits("9^{9}+1") is None
    assert least_digits("x") is None
