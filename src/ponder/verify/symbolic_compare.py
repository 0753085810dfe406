"""Whether two answers say the same: element by element, by exact and high-precision values. Runs in the worker only.

A "right" needs exact equality, or agreement to 45 digits at points chosen by hash; where a decimal was written, to a
relative 1e-12. Math-Verify is asked where our own reader gives up, and a yes of its is checked in the same way.
"""

from __future__ import annotations

import logging
import random
import re
from typing import Any

import sympy

from ponder.verify.symbolic_read import (
    CLOSE,
    DEGREE,
    OPEN,
    PERCENT,
    RELATIONS,
    Node,
    ReadError,
    read,
    split,
    strip_units,
)
from ponder.verify.symbolic_text import tokens

DIGITS = 60
SAME, OTHER = sympy.Float("1e-45", 5), sympy.Float("1e-25", 5)
DECIMAL = sympy.Float("1e-12", 5)
POINTS = 5

Answer = tuple[bool | None, str]


def prepare() -> None:
    """Imports and warms what the first request would wait for."""
    import math_verify  # noqa: F401

    logging.disable(logging.CRITICAL)
    compare("\\frac{x^2-1}{x+1}", "x-1")


def compare(pred: str, gold: str) -> Answer:
    """Right, wrong or unknown, and why. Symmetric but for what is unknown."""
    left, right = tokens(pred), tokens(gold)
    if left == right:
        return True, "the same symbols"
    based = _based(left, right)
    if based is not None:
        return based
    try:
        first = _pair(left, right, False)
        if _loose(left) or _loose(right):
            second = _pair(left, right, True)
            if first[0] != second[0]:
                return None, "a fraction that can be read in two ways"
        return first
    except ReadError as error:
        return _second_opinion(pred, gold, left, right, str(error))


def _pair(left: list[str], right: list[str], tight: bool) -> Answer:
    a, b = read(left, tight), read(right, tight)
    if _anagram(left, right):
        return None, "the same letters in another order"
    units = {node.unit for node in (a, b) if node.unit}
    same = same_node(strip_units(a), strip_units(b))
    if same and len(units) == 2 and {unit.rstrip("s") for unit in units} != {min(units).rstrip("s")}:
        short = all(len(unit) <= 4 for unit in units)
        return (False if short else None), f"units differ: {a.unit!r}, {b.unit!r}"
    return same, "" if same is not None else "could not be decided"


def _anagram(left: list[str], right: list[str]) -> bool:
    """`no` and `on`: letters only, more than one, the same ones."""
    plain = all(len(part) == 1 and part.isalpha() for part in left + right)
    return plain and len(left) > 1 and left != right and sorted(left) == sorted(right)


def _loose(parts: list[str]) -> bool:
    """Whether a `/` is followed by factors side by side: `1/2x`."""
    for at, part in enumerate(parts):
        if part in ("/", "\\div"):
            rest = parts[at + 1 :]
            if len(rest) > 1 and rest[0][0].isalnum() and (rest[1][0].isalpha() or rest[1] in ("(", "\\pi", "\\sqrt", "[") or rest[1][0] == "\\"
                                                            and rest[1] not in CLOSE | RELATIONS | {"\\cdot", "\\times", "\\div", "\\%", "\\or", "\\and", "\\cup"}):  # fmt: skip
                return True
            if rest and rest[0] in ("(", "\\sqrt", "\\pi", "{"):
                return True
    return False


def _based(left: list[str], right: list[str]) -> Answer | None:
    """`204_5`: digits in a base are compared with digits in a base, and with nothing else."""
    a, b = _digits(left), _digits(right)
    if a is None and b is None:
        return None
    if a is not None and b is not None:
        return (a == b), "digits in a base"
    plain = "".join(left if a is None else right)
    number = a or b
    assert number is not None
    if plain.isdigit():
        value = int(number[0], number[1]) if all(int(one) < number[1] for one in number[0]) else -1
        if plain.lstrip("0") == number[0].lstrip("0") or int(plain) == value:
            return None, "a base on one side only"
    return False, "a base on one side only"


def _digits(parts: list[str]) -> tuple[str, int] | None:
    text = "".join(parts).strip("()")
    found = re.fullmatch(r"\(?(\d{1,60})\)?_\{?\(?(\d{1,2})\)?\}?", text, re.ASCII)
    return (found[1], int(found[2])) if found and 2 <= int(found[2]) <= 10 else None


def same_node(a: Node, b: Node) -> bool | None:
    """Whether two trees are the same answer. Symmetric."""
    if a.kind == "relation" or b.kind == "relation":
        return _relations(a, b)
    if a.kind != b.kind:
        return _across(a, b)
    if a.kind == "scalar":
        return same_value(a.value, b.value, a.decimal or b.decimal)
    if a.kind in ("words", "symbols"):
        return a.mark == b.mark
    if a.kind == "matrix":
        return a.mark == b.mark and _in_order(a.items, b.items)
    if a.kind == "seq":
        return (
            False
            if a.mark != b.mark and len(a.items) == 2 or len(a.items) != len(b.items)
            else _in_order(a.items, b.items)
        )
    if a.kind == "ratio":
        return _in_order(a.items, b.items)
    if a.kind == "union":
        return _as_members(_pieces(a), _pieces(b))
    return _as_members(a.items, b.items)  # list, set


def _across(a: Node, b: Node) -> bool | None:
    """Trees of different kinds that may say the same."""
    kinds = {a.kind, b.kind}
    if kinds == {"list", "set"}:
        return _as_members(a.items, b.items)
    if kinds == {"list", "seq"}:
        return _in_order(a.items, b.items) if "()" in (a.mark, b.mark) else False
    if kinds == {"matrix", "seq"}:
        matrix, other = (a, b) if a.kind == "matrix" else (b, a)
        vector = matrix.mark == "1" or matrix.mark == str(len(matrix.items))
        return _in_order(a.items, b.items) if vector and other.mark == "()" else False
    if kinds == {"matrix", "list"}:
        return False
    if "set" in kinds and kinds & {"scalar", "union"}:
        one, other = (a, b) if a.kind == "set" else (b, a)
        if other.kind == "union":
            return _as_members(_pieces(a), _pieces(b))
        return len(one.items) == 1 and same_node(one.items[0], other)
    if kinds == {"union", "seq"}:
        return _as_members(_pieces(a), _pieces(b))
    if kinds == {"symbols", "seq"} and "\\mathbbR" in (a.mark, b.mark):
        return _in_order((a if a.kind == "seq" else b).items, (_scalar(-sympy.oo), _scalar(sympy.oo)))
    if kinds == {"words", "scalar"}:
        word, value = (a.mark, b.value) if a.kind == "words" else (b.mark, a.value)
        return isinstance(value, sympy.Symbol) and value.name == word
    return False


def _scalar(value: Any) -> Node:
    return Node("scalar", value=value)


def _pieces(node: Node) -> tuple[Node, ...]:
    """The parts of a union, with every relation as the set that it tells, and finite sets taken apart."""
    found: list[Node] = []
    for item in node.items if node.kind == "union" else (node,):
        if item.kind == "relation":
            item = _told_set(item) or item
        if item.kind == "union":
            found += _pieces(item)
        elif item.kind == "set" and item.items:
            found += [Node("set", (one,)) for one in item.items]
        else:
            found.append(item)
    return tuple(found)


def _in_order(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool | None:
    return (
        _all([same_node(_value_of(one), _value_of(other)) for one, other in zip(a, b, strict=True)])
        if len(a) == len(b)
        else False
    )


def _value_of(node: Node) -> Node:
    """`AB = 4` in a list counts as 4."""
    return node.items[-1] if node.kind == "relation" and node.mark == "=" and _name_like(node.items[0]) else node


def _as_members(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool | None:
    """Every member of each is a member of the other; with dots in it, in order and in full."""
    if any(node.kind == "words" and node.mark == "..." for node in a + b):
        return _in_order(a, b)
    if all(node.kind == "relation" for node in a) != all(node.kind == "relation" for node in b):
        a, b = tuple(map(_value_of, a)), tuple(map(_value_of, b))
    if (len(a) > 60 or len(b) > 60) and len(a) != len(b):
        return False
    unsure = False
    for ones, others in ((a, b), (b, a)):
        for one in ones:
            found: bool | None = False
            for other in others:
                verdict = same_node(one, other)
                if verdict:
                    found = True
                    break
                found = None if verdict is None else found
            if found is False:
                return False
            unsure |= found is None
    return None if unsure else True


def _all(verdicts: list[bool | None]) -> bool | None:
    if any(verdict is False for verdict in verdicts):
        return False
    return None if any(verdict is None for verdict in verdicts) else True


# Relations


def _relations(a: Node, b: Node) -> bool | None:
    if a.kind != "relation" or b.kind != "relation":
        relation, other = (a, b) if a.kind == "relation" else (b, a)
        signs = relation.mark.split()
        if signs[-1] == "\\in" and len(signs) == 1 and _name_like(relation.items[0]):
            return same_node(relation.items[1], other)
        if set(signs) == {"="}:
            if _name_like(relation.items[0]) or _holds(relation):
                return same_node(relation.items[-1], other)
            return False
        if other.kind in ("seq", "union", "symbols", "set"):
            told = _told_set(relation)
            return None if told is None else same_node(told, other)
        return False
    marks = a.mark.split(), b.mark.split()
    for signs, one, two in ((marks[0], a, b), (marks[1], b, a)):
        if signs == ["\\in"] and two.mark != "\\in" and "=" not in two.mark:
            told = _told_set(two)
            return None if told is None else same_node(one.items[1], told)
    if set(marks[0]) == {"="} and set(marks[1]) == {"="}:
        return _equations(a, b)
    if set(marks[0]) == set(marks[1]) == {"\\in"} or set(marks[0]) == set(marks[1]) == {"\\ne"}:
        sides = _in_order(a.items, b.items)
        return sides if sides or "\\in" in marks[0] else _proportional(a, b, False)
    if "=" in marks[0] + marks[1] or "\\ne" in marks[0] + marks[1]:
        return False
    return _inequalities(a, b)


def _name_like(node: Node) -> bool:
    """What an answer may be named: x, f(x), AB, |AB|, V_1 : V_2, a tuple of names; no sum, no number."""
    if node.kind in ("words",):
        return True
    if node.kind in ("ratio", "seq", "list"):
        return all(_name_like(item) for item in node.items)
    value = node.value
    if node.kind != "scalar" or not value.free_symbols:
        return False
    if isinstance(value, sympy.Mul | sympy.Pow):  # AB, NO/BO
        return all(
            isinstance(part, sympy.Symbol) or part in (1, -1) or isinstance(part, sympy.Pow) and part.exp in (-1, 1, 2)
            for part in value.args
        )
    return isinstance(value, sympy.Symbol | sympy.Abs) or isinstance(value, sympy.core.function.AppliedUndef)


def _holds(relation: Node) -> bool:
    """A chain of equal numbers: 84/2 = 42."""
    last = relation.items[-1]
    return all(
        item.kind == last.kind == "scalar" and not item.value.free_symbols and same_node(item, last) is True
        for item in relation.items[:-1]
    )


def _equations(a: Node, b: Node) -> bool | None:
    names = _name_like(a.items[0]), _name_like(b.items[0])
    if all(names) and same_node(a.items[0], b.items[0]):
        last = same_node(a.items[-1], b.items[-1])
        if last:
            return True
    return _proportional(a, b, False) if len(a.items) == len(b.items) == 2 else False


def _difference(relation: Node) -> Any:
    if any(item.kind != "scalar" for item in relation.items):
        return None
    return relation.items[0].value - relation.items[-1].value


def _proportional(a: Node, b: Node, positive: bool) -> bool | None:
    """Whether the differences of the sides are the same up to a constant factor."""
    one, two = _difference(a), _difference(b)
    if one is None or two is None:
        return _in_order(a.items, b.items)
    if one.free_symbols != two.free_symbols or not one.free_symbols:
        return False
    ratios: list[Any] = []
    for point in _points(one.free_symbols):
        above, below = _number(one, point), _number(two, point)
        if above is None or below is None or not below:
            continue
        if not above:
            return False
        ratios.append(above / below)
    if len(ratios) < 3:
        return None
    if positive and not (ratios[0].is_real and ratios[0] > 0):
        return False
    return all(abs(ratio / ratios[0] - 1) < SAME for ratio in ratios)


def _inequalities(a: Node, b: Node) -> bool | None:
    if len(a.items) == len(b.items):
        for other in (b, _turned(b)):
            if other.mark == a.mark and _in_order(a.items, other.items):
                return True
        if len(a.items) == 2:
            for other in (b, _turned(b)):
                if other.mark == a.mark and _proportional(a, other, True):
                    return True
    one, two = _told_set(a), _told_set(b)
    if one is None or two is None:
        return None if len(_free(a)) == 1 else False
    return same_node(one, two) if _free(a) == _free(b) else False


def _free(node: Node) -> set[Any]:
    return set().union(*(item.value.free_symbols for item in node.items if item.kind == "scalar"))


_TURN = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}


def _turned(relation: Node) -> Node:
    signs = [_TURN.get(sign, sign) for sign in reversed(relation.mark.split())]
    return Node("relation", tuple(reversed(relation.items)), " ".join(signs))


def _told_set(relation: Node) -> Node | None:
    """The interval, union or set that a relation in one unknown tells; None where that is not known."""
    signs = relation.mark.split()
    if signs == ["\\in"]:
        return relation.items[1]
    if any(item.kind != "scalar" for item in relation.items) or len(_free(relation)) != 1:
        return None
    if signs[0] in (">", "\\ge"):
        relation = _turned(relation)
        signs = relation.mark.split()
    values = [item.value for item in relation.items]
    infinite = sympy.oo
    if set(signs) <= {"<", "\\le"}:
        opened = ["(" if sign == "<" else "[" for sign in signs]
        shut = [")" if sign == "<" else "]" for sign in signs]
        if len(values) == 3 and isinstance(values[1], sympy.Symbol):
            return Node("seq", (relation.items[0], relation.items[2]), opened[0] + shut[1])
        if len(values) == 2 and isinstance(values[0], sympy.Symbol):
            return Node("seq", (_scalar(-infinite), relation.items[1]), "(" + shut[0])
        if len(values) == 2 and isinstance(values[1], sympy.Symbol):
            return Node("seq", (relation.items[0], _scalar(infinite)), opened[0] + ")")
    kinds = {"<": sympy.Lt, "\\le": sympy.Le, ">": sympy.Gt, "\\ge": sympy.Ge, "=": sympy.Eq, "\\ne": sympy.Ne}
    (symbol,) = _free(relation)
    real = sympy.Symbol("x", real=True)
    told: Any = sympy.S.Reals
    for at, sign in enumerate(signs):
        part = kinds[sign](values[at].subs(symbol, real), values[at + 1].subs(symbol, real))
        if part not in (True, False):
            told = told.intersect(part.as_set())
        elif part == False:  # noqa: E712  # a sympy truth value
            told = sympy.S.EmptySet
    return from_sympy(told)


def from_sympy(value: Any) -> Node | None:
    """A sympy object as a tree of ours; None for what is not known."""
    if isinstance(value, sympy.Interval):
        mark = ("(" if value.left_open else "[") + (")" if value.right_open else "]")
        return Node("seq", (_scalar(value.start), _scalar(value.end)), mark)
    if isinstance(value, sympy.Union | sympy.FiniteSet | sympy.Tuple):
        items = tuple(from_sympy(item) for item in value.args)
        kind = "union" if isinstance(value, sympy.Union) else "set" if isinstance(value, sympy.FiniteSet) else "seq"
        return None if None in items else Node(kind, items, "()" if kind == "seq" else "")  # type: ignore[arg-type]
    if value is sympy.S.Reals:
        return Node("symbols", mark="\\mathbbR")
    if value is sympy.S.EmptySet:
        return Node("set", mark="\\emptyset")
    if isinstance(value, sympy.Eq):
        sides = tuple(from_sympy(item) for item in value.args)
        return None if None in sides else Node("relation", sides, "=")  # type: ignore[arg-type]
    if isinstance(value, sympy.Expr) and not value.has(sympy.nan, sympy.zoo):
        return _scalar(value)
    return None


# Values


def same_value(a: Any, b: Any, decimal: bool) -> bool | None:
    """Whether two expressions have the same value, or, with unknowns, the same at every point tried."""
    if a.has(PERCENT) != b.has(PERCENT):
        whole = same_value(a.subs(PERCENT, 1), b.subs(PERCENT, 1), decimal)
        hundredth = same_value(
            a.subs(PERCENT, sympy.Rational(1, 100)), b.subs(PERCENT, sympy.Rational(1, 100)), decimal
        )
        return None if whole is not False or hundredth is not False else False
    a, b = (value.subs({PERCENT: 1, DEGREE: 1}) if value.has(PERCENT, DEGREE) else value for value in (a, b))
    a, b = _plain(a), _plain(b)
    if a == b:
        return True
    if a.has(sympy.oo, sympy.zoo, sympy.nan) or b.has(sympy.oo, sympy.zoo, sympy.nan):
        return False
    if a.is_Rational and b.is_Rational and not decimal:
        return False
    if a.is_Symbol or b.is_Symbol:
        return False if a.is_Symbol and b.is_Symbol else _everywhere(a, b, decimal)
    return _everywhere(a, b, decimal)


def _plain(value: Any) -> Any:
    """Functions that are not known, as unknowns."""
    unknown = value.atoms(sympy.core.function.AppliedUndef)
    if unknown:
        value = value.xreplace({one: sympy.Symbol(f"{one}") for one in unknown})
    if value.has(sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.UnevaluatedExpr):
        value = value.doit()
    return value


def _everywhere(a: Any, b: Any, decimal: bool) -> bool | None:
    symbols = a.free_symbols | b.free_symbols
    if not symbols:
        return _near(_number(a, {}), _number(b, {}), decimal, a, b)
    if len(symbols) > 20:
        return None
    agreed = tried = 0
    complex_ = a.has(sympy.I) or b.has(sympy.I)
    for point in _points(symbols):
        one, two = _number(a, point), _number(b, point)
        if one is None or two is None or (not complex_ and not (one.is_real and two.is_real)):
            continue  # outside of where both are real
        tried += 1
        near = _near(one, two, decimal, a, b)
        if near is False:
            return False
        agreed += near is True
    return True if agreed >= 3 and agreed == tried else None


def _points(symbols: Any) -> list[dict[Any, Any]]:
    """Points whose coordinates are fractions: the same for the same names, so that a verdict does not vary."""
    names = sorted(symbols, key=str)
    found = []
    for at in range(POINTS * 2):
        chance = random.Random(f"{at} {names}")
        low, high = ((3, 40) if at < POINTS else (-40, -3)) if at % 2 == 0 or at < POINTS else (-40, 40)
        found.append({name: sympy.Rational(chance.randint(low * 97, high * 97) * 2 + 1, 1999) for name in names})
    return found


def _number(value: Any, point: dict[Any, Any], digits: int = DIGITS) -> Any:
    """The value at a point, to `digits` digits; an exact zero where it vanishes; None where it has none."""
    at = value.subs(point) if point else value
    if at.is_Rational:
        return at
    got = at.evalf(digits, maxn=1500)
    real, imaginary = (_clean(part) for part in got.as_real_imag())
    if real is None or imaginary is None:
        return None
    if imaginary and abs(imaginary) < abs(real) * SAME:
        imaginary = sympy.S.Zero
    if real and abs(real) < abs(imaginary) * SAME:
        real = sympy.S.Zero
    return real + imaginary * sympy.I if imaginary else real


def _clean(part: Any) -> Any:
    if part.is_Float:
        return sympy.S.Zero if part._prec <= 1 else part if part.is_finite else None
    return part if part.is_Rational else None


def _near(one: Any, two: Any, decimal: bool, a: Any, b: Any) -> bool | None:
    if one is None or two is None:
        return None
    size = max(abs(one), abs(two))
    if not size:
        return True
    apart = abs(one - two) / size
    if decimal:
        return bool(apart <= DECIMAL)
    if apart >= OTHER:
        return False
    return True if apart < SAME else None


# Math-Verify


def _second_opinion(pred: str, gold: str, left: list[str], right: list[str], why: str) -> Answer:
    """What Math-Verify says of answers that our reader does not know; a yes counts if it can be checked."""
    if "\\dots" in left or "\\dots" in right:
        return False, "dots stand for what is not said"
    if re.search(r"\d\s*\(|\d\s+\d|\d\s*_\{?\d", pred + " \n" + gold):
        return None, f"not read: {why}"  # it reads 2(3) as 5
    if (
        any(part.startswith('"') for part in left)
        and not any(part.startswith('"') for part in right)
        and not _known(left)
    ):
        return False, f"not read: {why}"
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
    from math_verify.grader import verify

    normal = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    config = ConversionConfig(lowercase_symbols=False)
    objects = []
    for text in (pred, gold):
        try:
            objects.append(
                latex2sympy(normalize_latex(text, normal), normalization_config=None, conversion_config=config)
            )
        except Exception:  # whatever it cannot read
            objects.append(None)
    if objects[0] is None or objects[1] is None:
        return (False if objects[1] is not None else None), f"not read: {why}"
    one, two = objects
    if str(one) == str(two) and one == two:
        return True, "Math-Verify reads them as one"
    says = verify(two, one, float_rounding=12, numeric_precision=40, timeout_seconds=None, raise_on_error=False)
    if not says:
        return False, "by Math-Verify"
    nodes = from_sympy(one), from_sympy(two)
    if nodes[0] is not None and nodes[1] is not None and same_node(nodes[0], nodes[1]) is True:
        return True, "by Math-Verify, checked"
    return None, "Math-Verify's yes could not be checked"


def _known(parts: list[str]) -> bool:
    return len(split(parts, OPEN)[0]) > 1
