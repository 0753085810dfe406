"""Python's == on plain values, total and without hashing; outputs line by line; texts for notes."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from fractions import Fraction

import pytest

from ponder.sandbox.codec import Bag, Pairs, decode
from ponder.sandbox.compare import Rules, clip, guard, same, show
from ponder.sandbox.stdio import same_output

JSON = Rules(json=True)

VALUES = [
    None, True, False, 0, 1, 2, 1.0, 0.0, -0.0, math.inf, 2**53, 2**53 + 1, float(2**53), 1j, complex(1, 0),
    Fraction(1, 2),
    0.5, Fraction(1, 3), Decimal("0.5"), Decimal("0.50"), Decimal(1), "1", "a", b"a", bytearray(b"a"), [], (), {},
    set(),
    [1], (1,), [True], [1.0], {1: 2}, {1.0: 2}, {True: 2}, {1: 2.0}, {"1": 2}, {1}, {True}, frozenset({1}), {(1, 2)},
    {frozenset({1})}, {1, 2}, {2, 1.0}, {Fraction(1, 2)}, {0.5}, [[1], {2}], [[1], {2.0}], int, bool, range(3),
    range(2, 3),
    [0, 1, 2], {0.1}, {Decimal("0.1")}, {1j}, 10**400, {10**400: 1},
]  # fmt: skip


def test_same_is_pythons_own_equality():
    for one in VALUES:
        for two in VALUES:
            assert same(guard(one), guard(two)) == (one == two), (one, two)


def test_nan():
    assert not same(guard([math.nan]), guard([math.nan]))
    assert same(guard([math.nan]), guard([math.nan]), JSON)
    assert same(guard({math.nan: 1}), guard({math.nan: 1}), JSON)
    assert not same(0.0, math.nan, JSON)


def test_json_rules_make_lists_and_tuples_alike():
    assert same(guard([(1, [2])]), guard([[1, (2,)]]), JSON)
    assert not same(guard([1]), guard({1}), JSON)
    assert not same(guard({1: 2}), guard({"1": 2}), JSON)


def test_tolerance_is_for_floats():
    near = Rules(json=True, absolute=1e-6, relative=1e-6)
    assert same([1.0000001], [1.0], near) and same(1e9 + 1, 1e9, near) and same(3, 3.0000001, near)
    assert not same([1.001], [1.0], near) and not same(math.nan, 1.0, near) and not same(math.inf, 1e308, near)
    assert not same("1.0", 1.0, near) and not same(10**9 + 1, 10**9, near)
    assert not same(10**400, 1e300, near)


def test_repeated_keys_are_no_dict():
    assert not same(decode({"d": [[1, 1], [1, 1]]}, guarded=True), guard({1: 1}))
    assert not same(Pairs([(1, 1), (True, 1)]), guard({1: 1, 2: 2}))
    assert same(Bag([1, 1]), guard({1}))  # a set, however it was written down


def test_colliding_numbers_cost_nothing():
    evil = [[i * (2**61 - 1), 0] for i in range(20_000)]
    started = time.perf_counter()
    assert same(Pairs([tuple(pair) for pair in evil]), Pairs([tuple(pair) for pair in reversed(evil)]))
    assert not same(Pairs([tuple(pair) for pair in evil]), guard({str(i): 0 for i in range(20_000)}))
    assert time.perf_counter() - started < 5


def test_unhashable_keys_never_raise():
    assert not same(Pairs([([], 1)]), Pairs([([], 1)]))
    assert not same(Bag([[1]]), guard({1}))


@pytest.mark.parametrize(
    "got, want, right",
    [
        ("6\n", "6\n", True), ("6", "6\n", True), ("6  \n\n \n", "6", True), ("1   2\n3", "1 2\n3\n", True),
        ("1\r\n2\r\n", "1\n2\n", True), ("1", "1\n0\n1", False), ("1\n0\n1\n0", "1\n0\n1", False),
        ("1 2", "1\n2", False),
        ("1\n\n2", "1\n2", False), ("", "0", False), ("", "", True), ("0", "", False), ("6.0", "6", False),
        ("٣", "3", False),
        ("YES", "yes", False), ("a\x0bb", "a b", True), ("\n6", "6", False),
    ],
)  # fmt: skip
def test_outputs(got, want, right):
    assert same_output(got, want) is right


@pytest.mark.parametrize(
    "got, want, right",
    [
        ("0.3333333", "0.333333333", True), ("1000000.5", "1000000", True), ("1.1", "1.0", False),
        ("nan", "1.0", False),
        ("inf", "1e308", False), ("1e999", "1e308", False), ("0x1", "1", False), ("1_0", "10", False),
        ("٣", "3", False),
        ("x 1.0000001", "x 1", True), ("y 1.0", "x 1.0", False), ("9" * 500, "9" * 499 + "8", False),
        ("-0.0", "0", True),
    ],
)  # fmt: skip
def test_outputs_within_a_tolerance(got, want, right):
    assert same_output(got, want, 1e-6, 1e-6) is right


def test_texts_for_notes_are_short_and_printable():
    for text in ("\x1b[2J\x07", "\ud800" * 10, "é\n\x00\x7f\x9b", "a" * 10_000):
        told = clip(text)
        assert told.isascii() and told.isprintable() and len(told) <= 200
        assert clip(told) == told
    for value in ({"a": [1, (2,)]}, "\ud800", 1 << 100_000, [[[[[1]]]]], list(range(1000)), Fraction(3**2000, 2), int):
        told = show(guard(value))
        assert told.isascii() and told.isprintable() and 0 < len(told) <= 120
    assert show(guard({"a": (1,)})) == "{'a': (1)}"
