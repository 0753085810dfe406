"""Whether two values are the same, when one of them was chosen by a program that wants to be rewarded.

Total: any two decoded values give True or False, in time linear in their size (n log n for dicts and sets), and no
number from outside is ever hashed. `same` is Python's own == on exact plain values: True == 1 == 1.0, (1,) != [1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ponder.sandbox.codec import Bag, Drained, Pairs, decode, encode

NUMBERS = (bool, int, float, complex, Fraction, Decimal)
"""Compared by exact type: a value that crossed is never of a subclass."""


@dataclass(frozen=True)
class Rules:
    """What counts as the same.

    json: lists and tuples are alike, and nan is nan: for expected values that were written as JSON.
    absolute, relative: two real numbers, one of them a float, are alike when |a - b| <= max(absolute, relative |b|).
    """

    json: bool = False
    absolute: float = 0.0
    relative: float = 0.0


PYTHON = Rules()

_CONTROLS = {code: ascii(chr(code))[1:-1] for code in (*range(32), 127)}


def guard(value: Any) -> Any:
    """A trusted plain value in the form in which `same` wants it. Raises Uncrossable for one that is not plain."""
    return decode(encode(value), guarded=True)


def same(got: Any, want: Any, rules: Rules = PYTHON) -> bool:
    """Whether two guarded values are equal under the rules. Never raises."""
    try:
        return _same(got, want, rules)
    except (ArithmeticError, ValueError, TypeError, RecursionError, MemoryError):
        return False


def _same(got: Any, want: Any, rules: Rules) -> bool:
    kind, other = type(got), type(want)
    if kind in NUMBERS and other in NUMBERS:
        return (affordable(got, want) and bool(got == want)) or _close(got, want, rules)
    if kind in (list, tuple):
        if not (other is kind or (rules.json and other in (list, tuple))) or len(got) != len(want):
            return False
        for one, two in zip(got, want, strict=True):
            if not _same(one, two, rules):
                return False
        return True
    if kind is Pairs:
        if other is not Pairs or len(got.items) != len(want.items):
            return False
        theirs = {canonical(key, rules): value for key, value in got.items}
        ours = {canonical(key, rules): value for key, value in want.items}
        if len(theirs) != len(got.items) or theirs.keys() != ours.keys():
            return False
        for key, value in ours.items():
            if not _same(theirs[key], value, rules):
                return False
        return True
    if kind is Bag:
        return other is Bag and _texts(got.items, rules) == _texts(want.items, rules)
    if kind is Drained or other is Drained:
        return False
    if kind in (bytes, bytearray):
        return other in (bytes, bytearray) and bytes(got) == bytes(want)
    if kind in (str, range):
        return other is kind and bool(got == want)
    return got is want  # None, and the builtin types


def affordable(*numbers: Any) -> bool:
    """Whether numbers may be compared: a Decimal beside a very long int would cost minutes of conversion.

    Such a pair counts as unequal; no honest answer is a Decimal of six thousand digits.
    """
    kinds = {type(number) for number in numbers}
    return Decimal not in kinds or not any(type(n) is int and n.bit_length() > 20_000 for n in numbers)


def _close(got: Any, want: Any, rules: Rules) -> bool:
    if complex in (type(got), type(want)):
        return False
    if rules.json and got != got and want != want:
        return True
    if not (rules.absolute or rules.relative) or float not in (type(got), type(want)):
        return False
    one, two = float(got), float(want)
    return math.isfinite(one) and math.isfinite(two) and near(one, two, rules.absolute, rules.relative)


def near(got: float, want: float, absolute: float, relative: float) -> bool:
    """|got - want| <= max(absolute, relative |want|), of finite numbers."""
    return abs(got - want) <= max(absolute, relative * abs(want))


def _texts(items: Iterable[Any], rules: Rules) -> set[str]:
    return {canonical(item, rules) for item in items}


def canonical(value: Any, rules: Rules = PYTHON) -> str:
    """A text that two hashable values share exactly when they are equal; used in place of a hash of the value.

    Raises TypeError for what Python could not hash.
    """
    kind = type(value)
    if kind in NUMBERS:
        return _number(value, rules)
    if kind is str:
        return "s" + str(len(value)) + ":" + value
    if kind is bytes:
        return "b" + value.hex()
    if kind is tuple:
        return "(" + ",".join([canonical(item, rules) for item in value]) + ")"
    if kind is Bag:
        return "{" + ",".join(sorted(_texts(value.items, rules))) + "}"
    if value is None or kind is type:
        return repr(value)
    raise TypeError(f"unhashable type: {kind.__name__}")


def _number(value: Any, rules: Rules) -> str:
    if type(value) is complex:
        if value.imag:
            return f"c{value.real.hex()}{value.imag.hex()}"
        value = value.real
    if value != value:
        return "nan" if rules.json else f"nan{id(value)}"  # Python's nan equals nothing but the very same object
    if type(value) in (bool, int):
        return hex(value)
    if type(value) is not Fraction:
        if value in (math.inf, -math.inf):
            return "inf" if value > 0 else "-inf"
        value = Fraction(value)
    return hex(value.numerator) if value.denominator == 1 else f"{value.numerator:x}/{value.denominator:x}"


def show(value: Any, width: int = 120) -> str:
    """A guarded value for a note: short, in printable ASCII, whatever it holds."""
    return clip(_show(value, 3), width)


def clip(text: str, width: int = 200) -> str:
    """Text from a program, for a note or a log: printable ASCII, cut at `width`."""
    text = text[: 2 * width].encode("ascii", "backslashreplace").decode("ascii").translate(_CONTROLS)
    return text if len(text) <= width else text[: width - 3] + "..."


def _show(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is int and value.bit_length() > 256:
        return f"a whole number of {value.bit_length()} bits"
    if kind in (str, bytes, bytearray):
        return repr(value[:200])
    if kind in (list, tuple, Bag, Drained, Pairs):
        items = value if kind in (list, tuple) else value.items
        if depth == 0 or not items:
            inner = "..." if items else ""
        elif kind is Pairs:
            inner = ", ".join(f"{_show(k, depth - 1)}: {_show(v, depth - 1)}" for k, v in items[:20])
        else:
            inner = ", ".join(_show(item, depth - 1) for item in items[:20]) + (", ..." if len(items) > 20 else "")
        around = {list: "[]", tuple: "()", Drained: "<>"}.get(kind, "{}")
        return around[0] + inner + around[1]
    if kind in (Fraction, Decimal) and len(str(value)) > 60:
        return f"a {kind.__name__}"
    return value.__name__ if kind is type else repr(value)
