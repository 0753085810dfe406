"""Whether two trees are the same answer: element by element, relations as sets or by proportion. Worker only."""

from __future__ import annotations

from typing import Any

import sympy

from ponder.verify.symbolic_read import Node
from ponder.verify.symbolic_values import SAME, number_at, points, same_value


def same_node(a: Node, b: Node) -> bool | None:
    """Whether two trees are the same answer. Symmetric."""
    if "minus" in (a.kind, b.kind):
        return _without(a, b)
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
    if kinds in ({"union", "seq"}, {"union", "list"}):
        return _as_members(_pieces(a), _pieces(b))
    if kinds == {"symbols", "seq"} and "\\mathbbR" in (a.mark, b.mark):
        return _in_order((a if a.kind == "seq" else b).items, (_scalar(-sympy.oo), _scalar(sympy.oo)))
    if kinds == {"words", "scalar"}:
        word, value = (a.mark, b.value) if a.kind == "words" else (b.mark, a.value)
        return isinstance(value, sympy.Symbol) and value.name == word
    return False


def _without(a: Node, b: Node) -> bool | None:
    """Sets without other sets, worked out; sympy knows how."""
    if a.kind == b.kind and _in_order(a.items, b.items):
        return True
    told = [_as_set(node) for node in (a, b)]
    if told[0] is None or told[1] is None:
        return None
    nodes = from_sympy(told[0]), from_sympy(told[1])
    return None if nodes[0] is None or nodes[1] is None else same_node(nodes[0], nodes[1])


def _as_set(node: Node) -> Any:
    """A tree as a sympy set of numbers; None where it is none."""
    if node.kind == "relation":
        told = _told_set(node)
        return None if told is None else _as_set(told)
    if node.kind == "symbols" and node.mark == "\\mathbbR":
        return sympy.S.Reals
    if node.kind == "seq" and len(node.items) == 2 and all(item.kind == "scalar" for item in node.items):
        ends = [item.value for item in node.items]
        if all(end.is_extended_real and not end.free_symbols for end in ends):
            return sympy.Interval(*ends, node.mark[0] == "(", node.mark[1] == ")")
    if node.kind in ("set", "list", "scalar"):
        items = node.items or (node,)
        if all(item.kind == "scalar" and item.value.is_number for item in items):
            return sympy.FiniteSet(*[item.value for item in items])
    if node.kind in ("union", "minus"):
        parts = [_as_set(item) for item in node.items]
        if all(part is not None for part in parts):
            return sympy.Union(*parts) if node.kind == "union" else sympy.Complement(*parts)
    return None


def _scalar(value: Any) -> Node:
    return Node("scalar", value=value)


def _pieces(node: Node) -> tuple[Node, ...]:
    """The parts of a union, with every relation as the set that it tells, and finite sets taken apart."""
    found: list[Node] = []
    for item in node.items if node.kind in ("union", "list") else (node,):
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


def _relations(a: Node, b: Node) -> bool | None:
    if a.kind != "relation" or b.kind != "relation":
        relation, other = (a, b) if a.kind == "relation" else (b, a)
        signs = relation.mark.split()
        if signs[-1] == "\\in" and len(signs) == 1 and _name_like(relation.items[0]):
            return same_node(relation.items[1], other)
        if set(signs) == {"="}:
            if _name_like(relation.items[0]) or _holds(relation):
                return same_node(relation.items[-1], other)
            unsure = _only_symbols(relation.items[0]) and same_node(relation.items[-1], other) is not False
            return None if unsure else False
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
    """What an answer may be named: x, f(x), AB, |AB|, V_1 : V_2, a tuple of names; no sum, no number, not -x or |x|."""
    if node.kind == "words":
        return True
    if node.kind in ("ratio", "seq", "list"):
        return all(_name_like(item) for item in node.items)
    value = node.value
    if isinstance(value, sympy.Symbol | sympy.core.function.AppliedUndef):
        return True
    if isinstance(value, sympy.Abs):
        value = value.args[0]
    return isinstance(value, sympy.Mul) and all(_segment(part) for part in value.args)


def _segment(part: Any) -> bool:
    """A factor of AB or NO/BO: points have capital letters."""
    name = part.base if isinstance(part, sympy.Pow) and part.exp in (-1, 2) else part
    return isinstance(name, sympy.Symbol) and name.name[0].isupper()


def _only_symbols(node: Node) -> bool:
    """xy, sin A, 1/x: perhaps the name of what was asked for, perhaps an equation to be solved."""
    value = node.value
    return (
        node.kind == "scalar"
        and bool(value.free_symbols)
        and not value.atoms(sympy.Add)
        and all(number in (1, -1) for number in value.atoms(sympy.Number))
    )


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
    for point in points(one.free_symbols):
        above, below = number_at(one, point), number_at(two, point)
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
    if isinstance(value, sympy.MatrixExpr):
        value = value.doit()
    if isinstance(value, sympy.MatrixBase):
        cells = tuple(from_sympy(item) for item in value.flat())
        return None if None in cells else Node("matrix", cells, str(value.cols))  # type: ignore[arg-type]
    if isinstance(value, sympy.Eq):
        sides = tuple(from_sympy(item) for item in value.args)
        return None if None in sides else Node("relation", sides, "=")  # type: ignore[arg-type]
    if isinstance(value, sympy.Expr) and not value.has(sympy.nan, sympy.zoo):
        return _scalar(value)
    return None
