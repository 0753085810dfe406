"""Values as tagged JSON: what crosses, what does not, and that no frame raises anything but Uncrossable."""

from __future__ import annotations

import collections
import enum
import json
import math
import time
from decimal import Decimal
from fractions import Fraction

import pytest

from ponder.sandbox.codec import MAX_FRAME, Bag, Drained, Pairs, Uncrossable, decode, encode, pack, unpack

PLAIN = [
    None, True, False, 0, -1, 2**62, -(2**63), 2**63, -(2**70), 1.5, -0.0, 1e-320, math.inf, -math.inf, "", "é\ud800\n",
    [], [1, [2, [3]]], (), (1,), {}, {1: 2, "a": [None]}, {(1, 2): {3}}, set(), {1, 2}, frozenset({1}), b"\x00\xff",
    bytearray(b"a"), 1j, complex(-0.0, math.inf), Fraction(1, 3), Decimal("1.50"), Decimal("-Infinity"), int,
    type(None),
    range(3), range(9, 0, -2),
]  # fmt: skip


def crossed(value, guarded=False):
    return decode(unpack(pack({"v": encode(value)}))["v"], guarded=guarded)


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_cross_unchanged(value):
    back = crossed(value)
    assert type(back) is type(value) and back == value
    assert repr(back) == repr(value)  # the sign of zero, and the digits of a Decimal


def test_nan_crosses():
    assert math.isnan(crossed(math.nan)) and crossed(Decimal("NaN")).is_nan()


class Loud(int):
    def __eq__(self, other):
        return True

    def __add__(self, other):
        return 128486

    def __index__(self):
        return 128486

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    "value, plain",
    [
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict([(1, 2)]), {1: 2}),
        (collections.defaultdict(int, a=1), {"a": 1}),
        (collections.namedtuple("P", "x y")(1, 2), (1, 2)),
        (enum.IntEnum("E", "A B").B, 2),
        (Loud(7), 7),
        (type("S", (str,), {"__str__": lambda s: "x", "__eq__": lambda s, o: True, "__hash__": None})("a"), "a"),
        (type("F", (float,), {"hex": lambda s: "0x1p0", "__float__": lambda s: 1.0})(2.0), 2.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_cross_as_the_plain_value_that_they_hold(value, plain):
    back = crossed(value)
    assert type(back) is type(plain) and back == plain


def test_iterators_cross_as_what_was_left_in_them():
    assert list(crossed(x * 2 for x in range(3))) == [0, 2, 4]
    assert list(crossed(map(str, [1]))) == ["1"]
    assert list(crossed({1: 2}.keys())) == [1]
    assert type(crossed(iter([1]), guarded=True)) is Drained


def endless():
    while True:
        yield 0


cyclic: list = []
cyclic.append(cyclic)


@pytest.mark.parametrize(
    "value", [object(), len, lambda: 0, cyclic, endless(), {1: object()}, 1 << (1 << 23)], ids=type
)
def test_what_is_not_plain_does_not_cross(value):
    with pytest.raises(Uncrossable):
        encode(value)


def test_handles_only_where_they_are_declared():
    thing = object()
    assert encode([thing], lambda value: 7 if value is thing else None) == [{"h": 7}]
    assert decode([{"h": 7}], lambda number: ("thing", number)) == [("thing", 7)]
    with pytest.raises(Uncrossable):
        decode({"h": 7})


def test_a_guarded_value_hashes_nothing():
    evil = {"d": [[{"i": hex(i * (2**61 - 1))}, 0] for i in range(20_000)]}
    started = time.perf_counter()
    assert len(decode(evil, guarded=True).items) == 20_000
    assert time.perf_counter() - started < 2
    assert type(crossed({1}, guarded=True)) is Bag and type(crossed({1: {2}}, guarded=True).items[0][1]) is Bag
    assert type(crossed({}, guarded=True)) is Pairs


@pytest.mark.parametrize(
    "tree",
    [
        {"i": "zz"}, {"i": "0x"}, {"i": 5}, {"i": "0x_1"}, {"f": []}, {"f": "1.5"}, {"f": "0x1p99999"}, {"f": " nan"},
        {"t": 5}, {"t": "ab"}, {"d": [[1]]}, {"d": [1]}, {"d": {"a": 1}}, {"i": "0x1", "f": "nan"}, {}, {"": ""},
        {"ts": []}, {"": []}, {"q": ["0x1", "0x0"]}, {"q": ["0x1"]}, {"q": [1, 2]}, {"c": ["1", "2"]}, {"m": "sNaN"},
        {"m": "1e999999999"}, {"m": "9" * 6000}, {"m": "x"}, {"b": "0"}, {"b": "zz"}, {"T": "object"}, {"s": [[]]}, 1.5,
        {"r": [0, 1, 0]}, {"r": [0, 1]}, {"r": ["a", 1, 1]}, {"x": 1}, {"d": [[[], 1]]},
    ],
    ids=str,
)  # fmt: skip
def test_malformed_trees_are_refused(tree):
    with pytest.raises(Uncrossable):
        decode(tree)


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"\xff\xfe", b"[]", b"null", b"1", b'{"n":', b'{"n":0}x', b'{"a":' + b"[" * 900_000, b"[" * 100_000,
        b'{"a":' + b'{"t":[' * 100_000, b'{"n":' + b"9" * 10_000 + b"}", b"{" * (MAX_FRAME + 1),
        "{\"a\":\"é\"}".encode(),
    ],
    ids=lambda frame: repr(frame[:12]),
)  # fmt: skip
def test_malformed_frames_are_refused_at_once(frame):
    started = time.perf_counter()
    with pytest.raises(Uncrossable):
        decode(unpack(frame))
    assert time.perf_counter() - started < 2


def test_brackets_in_texts_are_no_nesting():
    value = ["[" * 5000, '\\"[{' * 500]
    assert crossed(value) == value


def test_depth_and_length_are_bounded():
    deep: list = []
    for _ in range(198):
        deep = [deep]
    assert crossed(deep) == deep
    with pytest.raises(Uncrossable):
        encode([[deep]] * 1)
    with pytest.raises(Uncrossable):
        pack({"v": "a" * MAX_FRAME})
    assert json.loads(pack({"v": encode(2**100)})) == {"v": {"i": hex(2**100)}}
