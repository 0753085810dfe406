"""Assert tests turned into plain calls, where that changes nothing: half the price of the split judge.

`assert f(1, 2) == [3]` asks the program for f(1, 2) and looks at the answer here. An assert is lowered when every
call of the function under test has constant arguments and what surrounds it is made of constants, comparisons,
`and` / `or` / `not`, indexing, arithmetic on numbers and a few total functions (len, set, sorted, abs, math.isclose,
...). Whatever else a test does (loops, helpers, randomness, try) leaves the whole test to the split judge.
Neither the test's text nor the answers are ever executed: an interpreter of these few forms reads them.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from operator import add, floordiv, ge, gt, le, lt, mod, mul, neg, pos, sub, truediv
from typing import Any

from ponder.sandbox.codec import TYPES, Bag, Drained, Pairs, Uncrossable
from ponder.sandbox.compare import affordable, canonical, guard, same, show

UNTRUSTED = "<text of a model or a data set>"
"""The file name by which warnings about parsed texts are told from others."""

MAX_BITS = 1 << 16
"""Numbers longer than this are compared, but no arithmetic is done with them."""

REAL = (bool, int, float, Fraction, Decimal)


class Unsupported(Exception):
    """A form that this interpreter does not know: the split judge takes the test."""


@dataclass(frozen=True)
class Call:
    """One call of the function under test, with plain arguments."""

    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Case:
    """One test: what to ask, and how to judge the (guarded) answers. `check` never raises; `want` is for people."""

    calls: tuple[Call, ...]
    check: Callable[[Sequence[Any]], bool]
    want: str = ""


Check = tuple[Any, ...]
"""("const", value) | ("answer", i) | ("apply", function, parts) | ("and" | "or", parts) | ("compare", ops, parts)"""


@lru_cache(maxsize=4096)
def lower(source: str, entry: str, setup: str = "") -> tuple[Case, ...] | None:
    """The cases of a test's source, in order; None where it is not exactly equivalent to calls.

    source: the assert statements, or a `check(candidate)` function, with or without its call.
    entry: the name of the function under test.
    setup: helper code that the test may use; only its names matter here.
    """
    try:
        tree = parse(source)
        taken = {node.name for node in ast.walk(parse(setup)) if isinstance(node, ast.FunctionDef)} - {entry}
        read = FUNCTIONS.keys() | MAKERS.keys() | TYPES.keys() | {"math"}
        if entry in read or taken & read:
            return None
        cases = [_case(test, entry, names) for test, names in _asserts(tree, entry)]
    except (Unsupported, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = tuple(case for case in cases if case is not None)
    return found or None


def parse(source: str) -> ast.Module:
    """`ast.parse`, without its warnings: a text full of `1or` would fill the log. Raises what `ast.parse` raises."""
    warnings.filterwarnings("ignore", module=re.escape(UNTRUSTED))
    return ast.parse(source, UNTRUSTED)


def _asserts(tree: ast.Module, entry: str) -> list[tuple[ast.expr, frozenset[str]]]:
    """(asserted expression, names of the function under test) in the order in which they would run."""
    own = frozenset({entry, "candidate"})
    checks: dict[str, list[tuple[ast.expr, frozenset[str]]]] = {}
    found: list[tuple[ast.expr, frozenset[str]]] = []
    called = False
    for node in tree.body:
        if isinstance(node, ast.Assert):
            found.append((node.test, own))
        elif isinstance(node, ast.FunctionDef):
            checks[node.name] = _body(node, entry)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            given = [arg.id if isinstance(arg, ast.Name) else "" for arg in call.args]
            if name not in checks or call.keywords or len(given) != 1 or given[0] not in own:
                raise Unsupported
            found += checks[name]
            called = True
        elif not _harmless(node, entry):
            raise Unsupported
    if not called:
        if set(checks) - {"check"}:
            raise Unsupported
        found += checks.get("check", [])
    return found


def _body(function: ast.FunctionDef, entry: str) -> list[tuple[ast.expr, frozenset[str]]]:
    args = function.args
    if len(args.args) != 1 or args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs or args.defaults:
        raise Unsupported
    if function.decorator_list or function.name in FUNCTIONS or function.name in {entry, "math"}:
        raise Unsupported
    names = frozenset({args.args[0].arg, entry})
    found = []
    for node in function.body:
        if isinstance(node, ast.Assert):
            found.append((node.test, names))
        elif not _harmless(node, entry):
            raise Unsupported
    return found


def _harmless(node: ast.stmt, entry: str) -> bool:
    """Whether a statement leaves the names of this interpreter alone and calls nothing."""
    kept = FUNCTIONS.keys() | TYPES.keys() | {entry, "candidate", "math", "True", "False"}
    if isinstance(node, ast.Expr):
        return isinstance(node.value, (ast.Constant, ast.Name))
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        bound = {alias.asname or alias.name for alias in node.names}
        plain_math = isinstance(node, ast.Import) and all(a.asname is None for a in node.names)
        return not (bound & (kept - ({"math"} if plain_math else set())) or "*" in bound)
    if isinstance(node, ast.Assign):
        if not all(isinstance(target, ast.Name) and target.id not in kept for target in node.targets):
            return False
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, ast.Pass)


def _case(test: ast.expr, entry: str, names: frozenset[str]) -> Case | None:
    """The case of one asserted expression; None for `assert True`, which tests nothing."""
    if isinstance(test, ast.Constant):
        if test.value:
            return None
        raise Unsupported
    calls: list[Call] = []
    plan = _plan(test, names, calls)
    if not calls:
        raise Unsupported

    def check(answers: Sequence[Any]) -> bool:
        try:
            return _truth(_value(plan, answers))
        except (ArithmeticError, ValueError, TypeError, LookupError, RecursionError, MemoryError):
            return False

    want = ast.unparse(test)
    if plan[0] == "compare" and len(plan[2]) == 2 and plan[1] == ("==",) and plan[2][1][0] == "const":
        want = show(plan[2][1][1])
    return Case(tuple(calls), check, want if len(want) <= 200 else want[:197] + "...")


def _plan(node: ast.expr, names: frozenset[str], calls: list[Call]) -> Check:
    try:
        return ("const", guard(constant(node)))
    except (Unsupported, Uncrossable):
        pass
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
        if any(keyword.arg is None for keyword in node.keywords):
            raise Unsupported
        kwargs = tuple((str(keyword.arg), constant(keyword.value)) for keyword in node.keywords)
        call = Call(tuple(constant(arg) for arg in node.args), kwargs)
        guard([list(call.args), dict(kwargs)])
        calls.append(call)
        return ("answer", len(calls) - 1)

    def plan(part: ast.expr) -> Check:
        return _plan(part, names, calls)

    if isinstance(node, ast.Compare):
        ops = tuple(COMPARE.get(type(op), "") for op in node.ops)
        parts = tuple(plan(part) for part in (node.left, *node.comparators))
        singles = [any(part[1] is only for only in ONLY) for part in parts if part[0] == "const"]
        if "" in ops or ({"is", "is not"} & set(ops) and not (len(parts) == 2 and any(singles))):
            raise Unsupported  # the identity of a number or a text is the interpreter's own affair
        if len(ops) > 1:
            _first_only([node.left, node.comparators[0]], node, names)
        return ("compare", ops, parts)
    if isinstance(node, ast.BoolOp):
        _first_only(node.values[:1], node, names)
        return ("and" if isinstance(node.op, ast.And) else "or", tuple(plan(part) for part in node.values))
    if isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
        return ("apply", UNARY[type(node.op)], (plan(node.operand),))
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        return ("apply", _arithmetic(BINARY[type(node.op)]), (plan(node.left), plan(node.right)))
    if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
        return ("apply", _item, (plan(node.value), plan(node.slice)))
    if isinstance(node, (ast.Tuple, ast.List)):
        kind = tuple if isinstance(node, ast.Tuple) else list
        return ("apply", lambda *parts: kind(parts), tuple(plan(part) for part in node.elts))
    if isinstance(node, ast.Call):
        function = FUNCTIONS.get(_dotted(node.func))
        if function is None or any(keyword.arg not in ("rel_tol", "abs_tol") for keyword in node.keywords):
            raise Unsupported
        if node.keywords:
            if function is not math.isclose:
                raise Unsupported
            tolerances = {str(keyword.arg): constant(keyword.value) for keyword in node.keywords}
            return ("apply", lambda a, b: math.isclose(a, b, **tolerances), tuple(plan(part) for part in node.args))
        return ("apply", function, tuple(plan(part) for part in node.args))
    raise Unsupported


def _first_only(first: list[ast.expr], whole: ast.expr, names: frozenset[str]) -> None:
    """`and`, `or` and chains may stop early: lowered only where no call stands in what might not be reached."""

    def calls(node: ast.expr) -> int:
        return sum(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))

    if calls(whole) != sum(calls(part) for part in first):
        raise Unsupported


def constant(node: ast.expr) -> Any:
    """The value of an expression without names, as `3 * 19`, `1.0 / 3`, `set([1])`, `float("inf")`, `int`."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        pass
    try:
        if isinstance(node, ast.Name) and node.id in TYPES:
            return TYPES[node.id]
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            items = [constant(item) for item in node.elts]
            return items if isinstance(node, ast.List) else (tuple if isinstance(node, ast.Tuple) else set)(items)
        if isinstance(node, ast.Dict) and None not in node.keys:
            keys = [constant(key) for key in node.keys if key is not None]
            return dict(zip(keys, [constant(value) for value in node.values], strict=True))
        if isinstance(node, ast.UnaryOp) and type(node.op) in (ast.USub, ast.UAdd):
            return (neg if isinstance(node.op, ast.USub) else pos)(_number(constant(node.operand)))
        if isinstance(node, ast.BinOp):
            return _folded(node.op, constant(node.left), constant(node.right))
        if isinstance(node, ast.Call) and not node.keywords:
            made = MAKERS.get(_dotted(node.func))
            if made is not None:
                return made(*[constant(arg) for arg in node.args])
    except (ArithmeticError, ValueError, TypeError):
        pass
    raise Unsupported


def _folded(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(op, ast.Add) and type(left) is type(right) and type(left) in (str, list, tuple, bytes):
        return left + right
    if isinstance(op, ast.Mult) and {type(left), type(right)} & {str, list, tuple}:
        text, times = (left, right) if isinstance(right, int) else (right, left)
        if type(times) is int and len(text) * times <= 100_000:
            return text * times
        raise Unsupported
    if isinstance(op, ast.Pow):
        if type(right) is int and abs(right) <= 4096 and type(left) in (int, float) and abs(left) < 1 << 64:
            return left**right
        raise Unsupported
    if type(op) not in BINARY:
        raise Unsupported
    return BINARY[type(op)](_number(left), _number(right))


def _number(value: Any) -> Any:
    """A number short enough to calculate with; TypeError or ValueError for anything else."""
    if type(value) not in (*REAL, complex):
        raise TypeError("not a number")
    if type(value) is int and value.bit_length() > MAX_BITS:
        raise ValueError("a number too long to calculate with")
    return value


def _real(value: Any) -> Any:
    if type(value) not in REAL:
        raise TypeError("not a real number")
    return _number(value)


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda left, right: function(_number(left), _number(right))


def _value(plan: Check, answers: Sequence[Any]) -> Any:
    form = plan[0]
    if form == "const":
        return plan[1]
    if form == "answer":
        return answers[plan[1]]
    if form == "apply":
        return plan[1](*[_value(part, answers) for part in plan[2]])
    if form in ("and", "or"):
        value: Any = None
        for part in plan[1]:
            value = _value(part, answers)
            if _truth(value) is (form == "or"):
                return value
        return value
    left = _value(plan[2][0], answers)
    for op, part in zip(plan[1], plan[2][1:], strict=True):
        right = _value(part, answers)
        if not _holds(op, left, right):
            return False
        left = right
    return True


def _truth(value: Any) -> bool:
    if type(value) in (Pairs, Bag):
        return bool(value.items)
    if type(value) is Drained:
        raise TypeError("the truth of an iterator")
    return bool(value)


def _holds(op: str, left: Any, right: Any) -> bool:
    if op == "==":
        return same(left, right)
    if op == "!=":
        return not same(left, right)
    if op in ("is", "is not"):
        return (left is right) is (op == "is")
    if op in ("in", "not in"):
        return _contains(right, left) is (op == "in")
    return _ordered(ORDER[op], left, right)


def _contains(whole: Any, part: Any) -> bool:
    if type(whole) is str:
        if type(part) is not str:
            raise TypeError("in a text")
        return part in whole
    if type(whole) in (bytes, bytearray):
        return bool(part in whole)
    if type(whole) in (Pairs, Bag):
        name = canonical(part)
        return any(canonical(item) == name for item in _items(whole))
    return any(same(part, item) for item in _items(whole))


def _ordered(op: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if type(left) is type(right) and type(left) in (list, tuple):
        for one, two in zip(left, right, strict=False):
            if not same(one, two):
                return _ordered(op, one, two)
        return op(len(left), len(right))
    if type(left) is type(right) and type(left) in (str, bytes):
        return op(left, right)
    if type(left) in REAL and type(right) in REAL and affordable(left, right):
        return bool(op(left, right))
    raise TypeError("no order")


def _items(value: Any) -> list[Any]:
    if type(value) in (list, tuple, str, bytes, bytearray):
        return list(value)
    if type(value) is Pairs:
        return [key for key, _ in value.items]
    if type(value) in (Bag, Drained):
        return list(value.items)
    if type(value) is range and len(value) <= 100_000:
        return list(value)
    raise TypeError("not iterable")


def _item(whole: Any, key: Any) -> Any:
    if type(whole) is Pairs:
        name = canonical(key)
        for known, value in whole.items:
            if canonical(known) == name:
                return value
        raise KeyError
    if type(whole) in (list, tuple, str, bytes, bytearray, range) and type(key) is int:
        return whole[key]
    raise TypeError("not indexed")


def _len(value: Any) -> int:
    if type(value) is Drained:
        raise TypeError("an iterator has no length")
    return len(_items(value))


def _set(value: Any = ()) -> Bag:
    unique = {canonical(item): item for item in _items(value)}
    return Bag(list(unique.values()))


def _sorted(value: Any) -> list[Any]:
    items = _items(value)
    flat = [part for item in items for part in (item if type(item) in (list, tuple) else [item])]
    if not all(type(part) in (*REAL, str) for part in flat) or not affordable(*flat):
        raise TypeError("no order")
    return sorted(items)


def _int(value: Any) -> int:
    if type(value) is str:
        return int(_brief(value))
    return int(_real(value))


def _brief(text: str) -> str:
    if len(text) > 4000:
        raise ValueError("a numeral too long to read")
    return text


def _float(value: Any) -> float:
    return float(_brief(value)) if type(value) is str else float(_real(value))


def _round(value: Any, digits: Any = None) -> Any:
    if digits is not None and (type(digits) is not int or abs(digits) > 400):
        raise ValueError("digits")
    return round(_real(value), digits) if digits is not None else round(_real(value))


COMPARE: dict[type, str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
ONLY = (None, True, False)
ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
UNARY: dict[type, Callable[[Any], Any]] = {
    ast.Not: lambda value: not _truth(value),
    ast.USub: lambda value: -_number(value),
    ast.UAdd: lambda value: +_number(value),
}
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.Div: truediv, ast.FloorDiv: floordiv, ast.Mod: mod,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": lambda value: abs(_number(value)),
    "len": _len,
    "set": _set,
    "frozenset": _set,
    "list": lambda value=(): _items(value),
    "tuple": lambda value=(): tuple(_items(value)),
    "sorted": _sorted,
    "round": _round,
    "int": _int,
    "float": _float,
    "bool": lambda value=False: _truth(value),
    "math.isclose": math.isclose,
    "math.fabs": lambda value: math.fabs(_real(value)),
}
MAKERS: dict[str, Callable[..., Any]] = {
    "set": set, "frozenset": frozenset, "list": list, "tuple": tuple, "float": float, "dict": dict,
    "sorted": sorted, "len": len, "abs": abs, "complex": complex, "range": lambda *ends: _short(range(*ends)),
}  # fmt: skip
"""Of constants alone; the values are the test's own."""


def _short(span: range) -> range:
    if len(span) > 100_000:
        raise ValueError("a range too long to write out")
    return span


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""
