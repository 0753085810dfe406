"""Plain values as tagged JSON: the only form in which anything crosses between a program and its judge.

The text of this module also runs inside the children, so it needs nothing but the standard library and imports
nothing of Ponder. No pickle, no marshal, no repr read back: a frame can hold a value and nothing else.

    None, True, "text", 12      themselves (whole numbers below 2**63)
    2**70     {"i": "0x40..."}      1.5    {"f": "0x1.8p+0"}, also "nan", "inf", "-inf"
    [1, 2]    [1, 2]                (1, 2) {"t": [1, 2]}
    {1: 2}    {"d": [[1, 2]]}       {1}    {"s": [1]}      frozenset {"z": [1]}
    b"a"      {"b": "61"}           bytearray {"y": "61"}  1j {"c": ["0x0.0p+0", "0x1.0p+0"]}
    Fraction  {"q": ["0x1", "0x3"]} Decimal {"m": "1.50"}  int (the type) {"T": "int"}
    range     {"r": [0, 9, 1]}      iterator {"g": [...]}   what `keep` gives for anything else: {"h": ...}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_DEPTH = 200
MAX_FRAME = 1 << 20
MAX_DIGITS = 5000
"""Of a Decimal or of either part of a Fraction, and a Decimal's exponent: whatever passes is cheap to compare."""

TYPES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (int, float, str, bool, list, tuple, dict, set, frozenset, bytes, bytearray, complex, type(None))
}
VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_TEXTS = frozenset("bymfiT")
_LISTS = frozenset("tszgdcqr")
_HEX = re.compile(r"-?0x[0-9a-f]+")
_FLOAT = re.compile(r"-?0x[01]\.?[0-9a-f]*p[+-][0-9]{1,4}|nan|-?inf")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # also one that is never closed: else quadratic


class Uncrossable(ValueError):
    """A value that has no plain form, or a frame that is not one."""


class Pairs:
    """A dict as it arrived: keys are not hashed, for numbers can be chosen to collide."""

    def __init__(self, items: list[tuple[Any, Any]]) -> None:
        self.items = items


class Bag:
    """A set or frozenset as it arrived, not hashed either."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Drained:
    """What was left in an iterator. It equals nothing, as an iterator equals nothing but itself."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


def encode(value: Any, keep: Callable[[Any], Any] | None = None, depth: int = 0) -> Any:
    """The JSON-able form of a value.

    Subclasses of the builtin types (Counter, OrderedDict, namedtuple, IntEnum) cross as the plain value that they
    hold, read by the base type's own methods: what they say of themselves does not matter.

    keep: called with anything that is not plain; gives the content of a {"h": ...}, or None to decline.
    Raises Uncrossable for anything else, for nesting beyond MAX_DEPTH and for numbers too long for a frame.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        if -(1 << 63) <= value < 1 << 63:
            return value
        if value.bit_length() > 4 * MAX_FRAME:
            raise Uncrossable("a whole number too long to cross")
        return {"i": hex(value)}
    if kind is float:
        return {"f": value.hex()}
    if depth >= MAX_DEPTH:
        raise Uncrossable(f"a value nested deeper than {MAX_DEPTH}")
    if kind is list:
        return [encode(item, keep, depth + 1) for item in value]
    if kind is tuple:
        return {"t": [encode(item, keep, depth + 1) for item in value]}
    if kind is dict:
        return {"d": [[encode(k, keep, depth + 1), encode(v, keep, depth + 1)] for k, v in value.items()]}
    if kind is set or kind is frozenset:
        return {"s" if kind is set else "z": [encode(item, keep, depth + 1) for item in value]}
    if kind is bytes or kind is bytearray:
        return {"b" if kind is bytes else "y": value.hex()}
    if kind is complex:
        return {"c": [value.real.hex(), value.imag.hex()]}
    if kind is Fraction:
        return {"q": [hex(value.numerator), hex(value.denominator)]}
    if kind is Decimal:
        return {"m": str(value)}
    if kind is range:
        return {"r": [encode(value.start), encode(value.stop), encode(value.step)]}
    if kind is type and value in TYPES.values():
        return {"T": next(name for name, known in TYPES.items() if known is value)}
    plain = _plain(value, kind)
    if plain is not value:
        return encode(plain, keep, depth)
    kept = keep(value) if keep is not None else None
    if kept is not None:
        return {"h": kept}
    if hasattr(kind, "__next__") or kind in VIEWS:
        items = []
        for item in value:
            items.append(encode(item, keep, depth + 1))
            if len(items) > MAX_FRAME // 2:
                raise Uncrossable("an iterator without an end")
        return {"g": items}
    raise Uncrossable(f"a value of type {kind.__name__}, which is not plain")


def _plain(value: Any, kind: type) -> Any:
    """The plain value inside an instance of a subclass; the value itself where there is none."""
    if issubclass(kind, int):
        return int.__add__(value, 0)
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, list):
        return list(list.__iter__(value))
    if issubclass(kind, tuple):
        return tuple(tuple.__iter__(value))
    if issubclass(kind, dict):
        return dict(dict.items(value))
    if issubclass(kind, set):
        return set(set.__iter__(value))
    if kind.__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def decode(tree: Any, keep: Callable[[Any], Any] | None = None, guarded: bool = False, depth: int = 0) -> Any:
    """The value of a tree that `json.loads` gave.

    keep: makes the value of {"h": ...}; without it there is none.
    guarded: dicts, sets and iterators become Pairs, Bag and Drained, so that nothing is hashed: for values that a
        program chose, outside its jail.
    Raises Uncrossable for anything that `encode` would not write.
    """
    kind = type(tree)
    if tree is None or kind is bool or kind is str or kind is int:
        return tree
    if depth >= MAX_DEPTH:
        raise Uncrossable(f"a value nested deeper than {MAX_DEPTH}")
    if kind is list:
        return [decode(item, keep, guarded, depth + 1) for item in tree]
    if kind is not dict or len(tree) != 1:
        raise Uncrossable("not a value")
    ((tag, body),) = tree.items()
    if tag == "h" and keep is not None:
        return keep(body)
    if tag in _TEXTS and type(body) is str:
        return _scalar(tag, body)
    if tag in _LISTS and type(body) is list:
        if tag == "t":
            return tuple([decode(item, keep, guarded, depth + 1) for item in body])
        if tag == "d":
            if not all(type(pair) is list and len(pair) == 2 for pair in body):
                raise Uncrossable("a dict is a list of pairs")
            pairs = [(decode(k, keep, guarded, depth + 1), decode(v, keep, guarded, depth + 1)) for k, v in body]
            return Pairs(pairs) if guarded else _hashed(dict, pairs)
        if tag in "cq":
            if len(body) != 2 or not all(type(part) is str for part in body):
                raise Uncrossable("a number of two parts")
            one, two = body
            if tag == "c":
                return complex(_scalar("f", one), _scalar("f", two))
            if len(one) + len(two) > MAX_DIGITS or not _scalar("i", two):
                raise Uncrossable("not a fraction, or too long a one")
            return Fraction(_scalar("i", one), _scalar("i", two))
        items = [decode(item, keep, guarded, depth + 1) for item in body]
        if tag == "r":
            if len(items) != 3 or not all(type(item) is int for item in items) or not items[2]:
                raise Uncrossable("not a range")
            return range(*items)
        if tag == "g":
            return Drained(items) if guarded else iter(items)
        return Bag(items) if guarded else _hashed(set if tag == "s" else frozenset, items)
    raise Uncrossable("not a value")


def _hashed(kind: type, items: list[Any]) -> Any:
    try:
        return kind(items)
    except TypeError as error:
        raise Uncrossable(str(error)) from None


def _scalar(tag: str, body: str) -> Any:
    if tag == "i" and _HEX.fullmatch(body):
        return int(body, 16)
    if tag == "f" and _FLOAT.fullmatch(body):
        try:
            return float.fromhex(body)
        except (ValueError, OverflowError):
            pass
    if tag in "by":
        try:
            return (bytes if tag == "b" else bytearray).fromhex(body)
        except ValueError:
            pass
    if tag == "T" and body in TYPES:
        return TYPES[body]
    if tag == "m" and len(body) <= MAX_DIGITS:
        try:
            number = Decimal(body)
        except ArithmeticError:
            raise Uncrossable("not a decimal") from None
        if not number.is_snan() and (not number.is_finite() or not number or abs(number.adjusted()) <= MAX_DIGITS):
            return number
    raise Uncrossable(f"not a value of kind {tag}")


def pack(message: dict[str, Any]) -> bytes:
    """One frame. Raises Uncrossable beyond MAX_FRAME."""
    frame = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(frame) > MAX_FRAME:
        raise Uncrossable(f"a value of more than {MAX_FRAME} bytes")
    return frame


def unpack(frame: bytes) -> dict[str, Any]:
    """The message of a frame, whoever wrote it; its values are still trees.

    Raises Uncrossable, and nothing else, for anything that is not one JSON object of bounded depth.
    """
    if len(frame) > MAX_FRAME:
        raise Uncrossable(f"a frame of more than {MAX_FRAME} bytes")
    try:
        text = frame.decode("ascii")
        if text.count("[") + text.count("{") > 2 * MAX_DEPTH:
            _shallow(text)
        message = json.loads(text)
    except (ValueError, RecursionError, MemoryError):
        raise Uncrossable("not a frame of this protocol") from None
    if type(message) is not dict:
        raise Uncrossable("not a frame of this protocol")
    return message


def _shallow(text: str) -> None:
    """Refuses brackets nested too deep before the parser, which recurses in C, sees them. Linear in the text."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _QUOTED.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > 3 * MAX_DEPTH:
            raise Uncrossable("a frame nested too deep")
