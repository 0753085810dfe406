"""Sets of reals: intervals, points, unions, differences and inequalities in one unknown, brought to one form."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ponder.verify.readings import Node
from ponder.verify.values import Numeric, Undecided, contexts, proportional, symbols_of

Piece = tuple[Any, bool, Any, bool]  # from, whether it is in, to, whether it is in
RealSet = tuple[Piece, ...]
MAX_PIECES = 40
_FLIP = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!=", "=": "="}


def is_setlike(node: Node) -> bool:
    """Whether only a set can be meant: a union, an inequality, the reals, nothing, an interval with an infinite end."""
    kind = node[0]
    if kind in ("cup", "cap", "setminus") or node == ("set", ()) or kind == "const" and node[1] == "setR":
        return True
    if kind == "rel":
        return any(op in ("<", "<=", ">", ">=", "!=") for op in node[1][1::2])
    if kind == "list":
        return bool(node[1]) and all(is_setlike(item) for item in node[1])
    return kind == "tuple" and len(node[2]) == 2 and (_infinite(node[2][0]) or _infinite(node[2][1]))


def _infinite(node: Node) -> bool:
    return node == ("const", "inf") or node[0] in ("neg", "*", "+") and ("const", "inf") in node[1:]


def unknown_of(node: Node) -> str | None:
    """The unknown that an inequality speaks of, or None."""
    if node[0] == "rel":
        names = set().union(*(symbols_of(part) for part in node[1][0::2]))
        return next(iter(names)) if len(names) == 1 else None
    if node[0] in ("list", "cup", "cap"):
        parts = node[1] if node[0] == "list" else node[1:]
        found = {unknown_of(part) for part in parts}
        return found.pop() if len(found) == 1 else None
    return None


def real_set(node: Node) -> RealSet:
    """The pieces of a set in order, none touching another. Raises Undecided for what is no set of reals."""
    kind = node[0]
    if kind == "const" and node[1] == "setR":
        return (_WHOLE(),)
    if kind == "set":
        return _union([_point(item) for item in node[1]])
    if kind == "tuple" and len(node[2]) == 2:
        low, high = _end(node[2][0]), _end(node[2][1])
        fp = contexts()[0]
        if low > high or (low == high and (node[1], node[3]) != ("[", "]")):
            raise Undecided("an interval that runs backwards")
        return ((low, node[1] == "[" and low != fp.ninf, high, node[3] == "]" and high != fp.inf),)
    if kind == "cup":
        return _union([*real_set(node[1]), *real_set(node[2])])
    if kind == "cap":
        return _complement(_union([*_complement(real_set(node[1])), *_complement(real_set(node[2]))]))
    if kind == "setminus":
        return _complement(_union([*_complement(real_set(node[1])), *real_set(node[2])]))
    if kind == "rel":
        return _inequalities(node[1])
    if kind == "list":
        parts = [real_set(item) for item in node[1]]
        if node[2] in (",", "and") and all(item[0] == "rel" for item in node[1]):
            both = [piece for part in parts for piece in _complement(part)]
            met = _complement(_union(both))
            if met or node[2] == "and":
                return met
        return _union([piece for part in parts for piece in part])
    return (_point(node),)


def same_sets(one: RealSet, other: RealSet) -> bool:
    """Whether two sets have the same pieces, to sixty digits."""
    if len(one) != len(other):
        return False
    return all(
        a[1] == b[1] and a[3] == b[3] and _equal(a[0], b[0]) and _equal(a[2], b[2])
        for a, b in zip(one, other, strict=True)
    )


def _WHOLE() -> Piece:
    fp = contexts()[0]
    return (fp.ninf, False, fp.inf, False)


def _equal(one: Any, other: Any) -> bool:
    if one == other:
        return True
    size = abs(one) + abs(other)
    return bool(size < 1e300 and abs(one - other) <= size * 1e-50)


def _end(node: Node) -> Any:
    fp, precise = contexts()
    if _infinite(node):
        return fp.ninf if node[0] == "neg" else fp.inf
    value, error = Numeric(precise, {}, True).of(node)
    if abs(precise.im(value)) > 8 * error:
        raise Undecided("a complex end")
    return precise.re(value)


def _point(node: Node) -> Piece:
    value = _end(node)
    return (value, True, value, True)


def _union(pieces: list[Piece]) -> RealSet:
    if len(pieces) > MAX_PIECES:
        raise Undecided("too many pieces")
    done: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (p[0], not p[1])):
        if done:
            low, low_in, high, high_in = done[-1]
            touches = piece[0] < high and not _equal(piece[0], high) or _equal(piece[0], high) and (high_in or piece[1])
            if touches:
                if _equal(piece[2], high):
                    high_in = high_in or piece[3]
                elif piece[2] > high:
                    high, high_in = piece[2], piece[3]
                done[-1] = (low, low_in or _equal(low, piece[0]) and piece[1], high, high_in)
                continue
        done.append(piece)
    return tuple(done)


def _complement(pieces: RealSet) -> RealSet:
    fp = contexts()[0]
    gaps: list[Piece] = []
    low, low_in = fp.ninf, False
    for piece in pieces:
        if piece[0] != fp.ninf and (low < piece[0] or low == piece[0] and low_in and not piece[1]):
            gaps.append((low, low_in, piece[0], not piece[1]))
        low, low_in = piece[2], not piece[3]
    if low != fp.inf:
        gaps.append((low, low_in, fp.inf, False))
    return tuple(gaps)


def _inequalities(parts: tuple[Any, ...]) -> RealSet:
    found: RealSet = (_WHOLE(),)
    for left, relation, right in zip(parts[0::2], parts[1::2], parts[2::2], strict=False):
        if relation == "in":
            one = real_set(right)
        else:
            one = _inequality(left, relation, right)
        found = _complement(_union([*_complement(found), *_complement(one)]))
    return found


def _inequality(left: Any, relation: str, right: Any) -> RealSet:
    """a x + b <= 0, or the same of |x|."""
    if relation not in _FLIP:
        raise Undecided(f"a relation {relation}")
    if _infinite(left) or _infinite(right):
        return (_WHOLE(),)  # x < oo
    names = symbols_of(left) | symbols_of(right)
    if len(names) != 1:
        raise Undecided("no inequality in one unknown")
    name = names.pop()
    symbol: Node = ("sym", name)
    difference: Node = ("-", left, right)
    bars = [side for side in (left, right) if side == ("abs", symbol)]
    if bars:
        if left != ("abs", symbol):
            left, right, relation = right, left, _FLIP[relation]
        bound = _end(right)
        if bound < 0:
            raise Undecided("an absolute value below zero")
        fp = contexts()[0]
        inside: RealSet = ((-bound, relation in ("<=", ">"), bound, relation in ("<=", ">")),)
        if relation in ("=", "!="):
            inside = _union([(bound, True, bound, True), (-bound, True, -bound, True)])
            return inside if relation == "=" else _complement(inside)
        if bound == 0 and not inside[0][1]:
            inside = ()
        return inside if relation in ("<", "<=") else _complement(inside)
    precise = contexts()[1]
    at = [Numeric(precise, {name: Fraction(x)}, True).of(difference)[0] for x in (0, 1)]
    slope, constant = at[1] - at[0], at[0]
    if not slope:
        raise Undecided("no linear inequality")
    shifted = [Numeric(precise, {name: x}, True).of(difference) for x in (Fraction(7, 3), Fraction(-5, 7))]
    for value, x in zip(shifted, (Fraction(7, 3), Fraction(-5, 7)), strict=True):
        wanted = constant + slope * precise.mpf(x.numerator) / x.denominator
        if abs(value[0] - wanted) > 1e-45 * (1 + abs(wanted)):
            raise Undecided("no linear inequality")
    if any(precise.im(value) for value in at):
        raise Undecided("a complex inequality")
    slope, constant = precise.re(slope), precise.re(constant)  # a complex number of no imaginary part has no order
    end = -constant / slope
    relation = relation if slope > 0 else _FLIP[relation]
    fp = contexts()[0]
    point: RealSet = ((end, True, end, True),)
    if relation in ("=", "!="):
        return point if relation == "=" else _complement(point)
    if relation in ("<", "<="):
        return ((fp.ninf, False, end, relation == "<="),)
    return ((end, relation == ">=", fp.inf, False),)


def same_inequality(one: Node, other: Node) -> bool | None:
    """Whether two single relations say the same of several unknowns: one is a multiple of the other."""
    if len(one[1]) != 3 or len(other[1]) != 3:
        return None
    (a, op, b), (c, op_other, d) = one[1], other[1]
    if op not in _FLIP or op_other not in _FLIP:
        return None
    sign = proportional(("-", a, b), ("-", c, d))
    if sign is None:
        return None
    return bool(sign) and (op if sign > 0 else _FLIP[op]) == op_other
