"""Properties of what decides a program's reward: equality, the codec, the frames, the outputs."""

from __future__ import annotations

import copy
import json
import math
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.sandbox.codec import MAX_DEPTH, Uncrossable, decode, encode, pack, unpack
from ponder.sandbox.compare import Rules, canonical, clip, guard, same, show
from ponder.sandbox.lower import lower
from ponder.sandbox.rows import blocks, code_of
from ponder.sandbox.stdio import same_output

checked = settings(max_examples=150, deadline=None)

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.booleans(),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0, math.inf, -math.inf, 2.0**70, 2**70, 2**53 + 1, 1j, complex(1)]),
    st.floats(allow_nan=False),
    st.fractions(max_denominator=9),
    st.decimals(allow_nan=False, allow_infinity=True, places=2),
    st.complex_numbers(allow_nan=False, max_magnitude=9),
)
KEYS = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=3), st.binary(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)
PLAIN = st.recursive(
    KEYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=10,
)
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.just("0x1p+0"), st.just("0x10")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*"ifstzdbycqmTgrh", "", "ts", "n", "v"]), inner, max_size=2),
    ),
    max_leaves=12,
)


@checked
@given(PLAIN)
def test_a_value_crosses_unchanged_and_is_itself(value):
    tree = unpack(pack({"v": encode(value)}))["v"]
    back = decode(tree)
    assert back == value and type(back) is type(value)
    assert same(decode(tree, guarded=True), guard(value))


@checked
@given(PLAIN, PLAIN)
def test_same_is_equality_and_symmetric(one, two):
    assert same(guard(one), guard(two)) == (one == two) == same(guard(two), guard(one))


@checked
@given(PLAIN, st.data())
def test_a_small_change_is_seen(value, data):
    changed = copy.deepcopy(value)
    where = changed
    while isinstance(where, list) and where and isinstance(where[-1], list):
        where = where[-1]
    if isinstance(where, list):
        where.append(data.draw(PLAIN))
        assert not same(guard(changed), guard(value)) and not same(guard(changed), guard(value), Rules(json=True))


@checked
@given(st.lists(KEYS, min_size=2, max_size=2))
def test_the_text_in_place_of_a_hash_is_shared_by_equals_only(keys):
    one, two = map(guard, keys)
    assert (canonical(one) == canonical(two)) == (keys[0] == keys[1])


@checked
@given(st.one_of(TREES.map(lambda tree: json.dumps(tree).encode()), st.binary(max_size=60)))
def test_no_frame_raises_anything_else(frame):
    try:
        message = unpack(frame)
        value = decode(message.get("v"), guarded=True)
    except Uncrossable:
        return
    assert not same(value, object()) and show(value).isascii()
    assert same(value, value) in (True, False)  # a set or a nan of forged parts need not equal itself
    for case in (
        lower("assert abs(f(1) - 2) < 1\nassert set(f(1)) == {1}\nassert f(1)[0] > 3\nassert len(f(1))", "f") or ()
    ):
        assert case.check([value]) in (True, False)


@checked
@given(st.integers(1, 3 * MAX_DEPTH), st.sampled_from(["[", '{"t":[', '{"d":[[']))
def test_depth_never_raises_anything_else(depth, opening):
    closing = {"[": "]", '{"t":[': "]}", '{"d":[[': ",0]]}"}[opening]
    frame = ('{"v":' + opening * depth + "0" + closing * depth + "}").encode()
    try:
        same(decode(unpack(frame)["v"], guarded=True), [])
    except Uncrossable:
        pass


LINES = st.lists(
    st.lists(st.text("ab019.-e+é\u0663", min_size=1, max_size=5), max_size=4), max_size=5
)


@checked
@given(LINES, st.sampled_from([" ", "  ", "\t"]), st.sampled_from(["", "\n", " \n\n", "\r\n"]))
def test_white_space_between_words_and_at_the_end_means_nothing(lines, gap, end):
    want = "\n".join(" ".join(words) for words in lines)
    got = "\n".join(gap.join(words) + gap for words in lines) + end
    assert same_output(got, want) and same_output(want, got)


@checked
@given(LINES, LINES)
def test_other_words_are_other_outputs(one, two):
    def words(lines):
        while lines and not lines[-1]:
            lines = lines[:-1]
        return list(lines) or [[]]

    texts = ["\n".join(" ".join(line) for line in lines) for lines in (one, two)]
    assert same_output(*texts) == (words(one) == words(two))


@checked
@given(LINES.filter(lambda lines: any(lines)))
def test_a_part_of_the_output_is_not_the_output(lines):
    want = "\n".join(" ".join(words) for words in lines)
    for end in range(len(want.rstrip())):
        assert not same_output(want[:end], want)
        assert not same_output(want[:end], want, 1e-9, 0) or want[:end].strip()[-1:].isdigit()


@checked
@given(st.text())
def test_texts_of_programs_are_tamed(text):
    told = clip(text)
    assert told.isascii() and told.isprintable() and clip(told) == told
    for row in ({}, {"prompt": "def f(x):\n    'doc'\n", "entry_point": "f", "test": ""}):
        assert isinstance(code_of(text, row), str)
    assert isinstance(blocks(text), list)
    lower(text, "f")


@checked
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1e-3),
    st.fractions(max_denominator=5),
    st.just(Decimal(1)),
)
def test_tolerance_holds_for_numbers_of_every_kind(value, tolerance, fraction, one):
    rules = Rules(json=True, absolute=tolerance, relative=tolerance)
    assert same(value, value, rules) and same(fraction, float(fraction), rules) == (
        tolerance > 0 or fraction == float(fraction)
    )
    assert same(one, 1.0, rules) and not same(value, math.nan, rules) and not same(Fraction(1), "1", rules)
