"""Whether two readings are the same answer: lists, sets, tuples, intervals, matrices, equations, units, by element."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from ponder.verify.matrices import worked_out
from ponder.verify.readings import Node
from ponder.verify.realsets import is_setlike, real_set, same_inequality, same_sets, unknown_of
from ponder.verify.units import alike, factor
from ponder.verify.values import Huge, Numeric, Undecided, contexts, exact, same_value, symbols_of

MAX_ITEMS = 60
_LETTER = re.compile(r"[^\W_]+")
_WORDS = {word: n for n, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty".split())}  # fmt: skip
_NOTHING = {"no solution", "no solutions", "none", "empty set", "no real solution", "no real solutions"}
_ARTICLES = {"the", "a", "an", "is", "are", "it", "answer"}
_SCALARS = {"num", "sym", "const", "neg", "+", "-", "*", "/", "^", "fun", "root", "binom", "abs", "!"}


class Rules(NamedTuple):
    """The conventions that a comparison follows; `MathOptions` says what each means."""

    percent: Literal["unit", "fraction", "either"] = "unit"
    units: Literal["both", "required", "ignore"] = "both"
    ordered: bool = False
    float_digits: int = 15
    decimals: int | None = None


def same(one: Node, other: Node, rules: Rules) -> bool | None:
    """True, False, or None where this tier cannot tell."""
    return _same(_settled(one), _settled(other), rules)


# ---- one form for what can be written in several ----


def _settled(node: Node) -> Node:
    """± written out, groups of equations as records, `x = …` chains cut down to a name and a value."""
    kind = node[0]
    if kind == "rel":
        return _chain(node)
    if kind in ("list", "set"):
        items: list[Node] = []
        for item in node[1]:
            made = _settled(item)
            spliced = made[0] == "both" or (kind == "list" and node[2] != ";" and made[0] == "list")
            items.extend(made[1]) if spliced else items.append(made)
        if kind == "set":
            return ("set", tuple(items))
        return _records(("list", tuple(items), node[2]))
    if kind == "tuple":
        parts = tuple(_settled(item) for item in node[2])
        made = ("tuple", node[1], parts, node[3])
        return _branches(made) if _has_pm(made) else made
    if kind in ("matrix",):
        return ("matrix", tuple(tuple(_settled(cell) for cell in row) for row in node[1]))
    if kind in ("cup", "cap", "setminus"):
        return (kind, _settled(node[1]), _settled(node[2]))
    if kind == "unit" and node[1][0] == "rel":
        parts = node[1][1]
        return _settled(("rel", (*parts[:-1], ("unit", parts[-1], node[2]))))
    if _has_pm(node):
        return _branches(node)
    return (worked_out(node) or node) if _contains(node, ("matrix",)) else node


def _has_pm(node: Any) -> bool:
    if not isinstance(node, tuple) or not node:
        return False
    return node[0] in ("pm", "mp") or any(_has_pm(part) for part in node if isinstance(part, tuple))


def _branches(node: Node) -> Node:
    upper, lower = _signed(node, True), _signed(node, False)
    return ("both", (upper, lower))


def _signed(node: Any, upper: bool) -> Any:
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] in ("pm", "mp"):
        left, right = _signed(node[1], upper), _signed(node[2], upper)
        plus = upper == (node[0] == "pm")
        if left == ("num", Fraction(0), 0):
            return right if plus else ("neg", right)
        return ("+" if plus else "-", left, right)
    return tuple(_signed(part, upper) for part in node)


def _chain(node: Node) -> Node:
    """`a = b = c` is a = c; what follows ≈ is left out, if it is not all there is; of implications the last counts."""
    parts = list(node[1])
    for place in range(len(parts) - 2, 0, -2):
        if parts[place] in ("=>", "->"):
            parts = parts[place + 1 :]
            break
    if "~" in parts[1::2]:
        place = parts.index("~")
        if place == 1 and (len(parts) > 3 or is_name(parts[0])) or place > 1 and "=" not in parts[1:place:2]:
            parts[place] = "="
        else:
            parts = parts[:place]
    if len(parts) == 1:
        return _settled(parts[0])
    if set(parts[1::2]) == {"="} and len(parts) > 3:
        parts = [parts[0], "=", parts[-1]]
    if parts[1::2] == ["="] and is_name(parts[2]) and not symbols_of(parts[0]) and parts[0][0] in _SCALARS:
        parts = [parts[2], "=", parts[0]]  # 5 = x
    if parts[1::2] == ["in"] and len(parts) == 3:
        return ("member", parts[0], _settled(parts[2]))
    return ("rel", (*parts[:-1], _settled(parts[-1])))


def is_name(node: Node) -> bool:
    """Whether a left side only names what is asked for: x, f(x), |AB|, NO/BO, (p, q), x + y, text."""
    kind = node[0]
    if kind in ("sym", "text"):
        return True
    if kind == "const":
        return node[1] in ("e", "i")
    if kind in ("*", "/", "+", "-"):
        return is_name(node[1]) and is_name(node[2])
    if kind in ("abs", "neg"):
        return is_name(node[1])
    if kind == "tuple":
        return all(is_name(item) for item in node[2])
    if kind in ("ratio", "set"):
        return bool(node[1]) and all(is_name(item) for item in node[1])
    if kind == "unit":
        return is_name(node[1])
    if kind == "fun":
        return node[1] in ("min", "max", "gcd", "lcm") or is_name(node[2])
    return kind == "*" and node[1][0] == "sym" and node[2][0] == "num"


def _is_call(node: Node) -> bool:
    return node[0] == "*" and node[1][0] == "sym" and node[2][0] in ("num", "sym", "const", "neg")


def _equation(node: Node) -> tuple[Node, Node] | None:
    """Name and value of `name = value`, or None."""
    if node[0] != "rel" or node[1][1::2] != ("=",):
        return None
    left, right = node[1][0], node[1][-1]
    return (left, right) if is_name(left) or _is_call(left) else None


def _records(node: Node) -> Node:
    items, glue = node[1], node[2]
    groups = glue == ";" and all(item[0] in ("list", "record", "rel") for item in items)
    if groups and any(item[0] in ("record", "list") for item in items):
        return ("list", tuple(_tuple_of(item) for item in items), ",")
    equations = [_equation(item) for item in items]
    loose = all(item[0] not in ("rel", "member") for item in items[1:])
    if len(items) > 1 and equations[0] and loose:  # x = 1, 2, 3
        return ("list", (equations[0][1], *items[1:]), glue) if equations[0][1][0] != "both" else node
    if not all(equations) or len(items) < 2:
        return node
    named = [(_key(pair[0]), pair[1]) for pair in equations if pair]
    names = [name for name, _ in named]
    if len(set(names)) == 1:
        values: list[Node] = []
        for _, value in named:
            values.extend(value[1]) if value[0] in ("both", "list") else values.append(value)
        return ("list", tuple(values), glue)
    width = len(set(names))
    if len(names) % width == 0 and all(names[k : k + width] == names[:width] for k in range(0, len(names), width)):
        rows = tuple(("record", tuple(named[k : k + width])) for k in range(0, len(names), width))
        return rows[0] if len(rows) == 1 else ("list", rows, "or")
    return node


def _tuple_of(item: Node) -> Node:
    if item[0] == "list":
        return ("tuple", "(", item[1], ")")
    return item


def _key(name: Node) -> str:
    return f"call {name[1][1]}" if _is_call(name) else str(name)


# ---- comparison ----


def _same(one: Node, other: Node, rules: Rules) -> bool | None:
    if one == other:
        return True
    one, other = _without_membership(one, other), _without_membership(other, one)
    if one[0] in ("unit", "deg") or other[0] in ("unit", "deg"):
        return _quantities(one, other, rules)
    sets = _as_sets(one, other, rules)
    if sets is not None:
        return sets
    if one[0] == "rel" or other[0] == "rel":
        return _relations(one, other, rules)
    if one[0] == "record" or other[0] == "record":
        return _with_record(one, other, rules)
    kinds = {one[0], other[0]}
    if kinds & {"list", "set", "both"}:
        return _lists(one, other, rules)
    if kinds & {"tuple", "matrix"}:
        return _arrays(one, other, rules)
    if "ratio" in kinds:
        return _ratios(one, other, rules)
    if "base" in kinds:
        return _bases(one, other)
    if kinds == {"text"}:
        return _same_words(one[1], other[1])
    if "text" in kinds:
        return _text_and_other(one, other)
    if "dots" in kinds or kinds & {"cup", "cap", "setminus"}:
        return False if kinds & {"num"} else None
    if one[0] == "const" and other[0] == "const" and (one[1][:3] == "set" or other[1] == "inf" or one[1] == "inf"):
        return one[1] == other[1]
    ends = _infinity(one), _infinity(other)
    if any(ends):
        return ends[0] == ends[1]
    return _scalars(one, other, rules)


def _infinity(node: Node) -> int:
    """1 and -1 for the infinities, 0 for anything else."""
    if node == ("const", "inf"):
        return 1
    return -1 if node == ("neg", ("const", "inf")) else 0


def _without_membership(node: Node, beside: Node) -> Node:
    if node[0] == "member" and beside[0] != "member":
        return node[2] if is_name(node[1]) else node
    if node[0] == "member" and beside[0] == "member":
        return node[2] if node[1] == beside[1] or (is_name(node[1]) and is_name(beside[1])) else node
    if _members(node) and not _members(beside):  # `x = 2k, k \\in Z` beside `x = 2k`
        kept = tuple(item for item in node[1] if item[0] != "member")
        if kept:
            return kept[0] if len(kept) == 1 else ("list", kept, node[2])
    return node


def _members(node: Node) -> bool:
    return node[0] == "list" and any(item[0] == "member" for item in node[1])


def _as_sets(one: Node, other: Node, rules: Rules) -> bool | None:
    """A verdict where one side can only be a set of reals and the other can be read as one; else None."""
    if not (is_setlike(one) or is_setlike(other)):
        return None
    names = {unknown_of(one), unknown_of(other)} - {None}
    if len(names) > 1:
        return None if one[0] == other[0] == "rel" else False
    try:
        first, second = real_set(one), real_set(other)
    except (Undecided, RecursionError):
        if is_setlike(one) and is_setlike(other):  # with letters for ends
            if one[0] == other[0] in ("cup", "cap", "setminus"):
                return _all(_same(a, b, rules) for a, b in zip(one[1:], other[1:], strict=True)) or None
            return None
        plain = other if is_setlike(one) else one
        if plain[0] == "text" and ("set", ()) in (one, other):
            return _text_and_other(one, other)
        return False if plain[0] in _SCALARS | {"text", "matrix", "ratio"} else None
    return same_sets(first, second)


def _quantities(one: Node, other: Node, rules: Rules) -> bool | None:
    (a, unit), (b, unit_other) = _parted(one), _parted(other)
    if "%" in (unit, unit_other) and unit != unit_other:
        if unit and unit_other:
            return False
        hundredth: Node = ("/", a if unit else b, ("num", Fraction(100), 0))
        plain = b if unit else a
        answers = []
        if rules.percent in ("unit", "either"):
            answers.append(_same(a, b, rules))
        if rules.percent in ("fraction", "either"):
            answers.append(_same(hundredth, plain, rules))
        return True if True in answers else None if None in answers else False
    if rules.units == "ignore" or unit == unit_other:
        return _same(a, b, rules)
    if unit and unit_other:
        if {unit, unit_other} == {"deg", "rad"}:
            first, second = (("deg", a), b) if unit == "deg" else (a, ("deg", b))
            return _scalars(first, second, rules)
        times = factor(unit, unit_other)
        if times is not None:
            return _same(("*", a, ("num", times, 0)), b, rules)
        return _same(a, b, rules) if alike(unit, unit_other) else False
    if rules.units == "required":
        return False if unit not in ("", "deg") or unit_other not in ("", "deg") else _same(a, b, rules)
    found = _same(a, b, rules)
    if found is False and "deg" in (unit, unit_other):
        return _scalars(("deg", a) if unit == "deg" else a, ("deg", b) if unit_other == "deg" else b, rules) or False
    letter = unit or unit_other
    if found is not True and len(letter) == 1 and letter.isalpha():  # 5 m, where m was a letter
        symbol: Node = ("sym", letter)
        left = ("*", a, symbol) if unit else a
        return _same(left, b if unit else ("*", b, symbol), rules)
    return found


def _parted(node: Node) -> tuple[Node, str]:
    if node[0] == "deg":
        return node[1], "deg"
    if node[0] == "unit":
        inner, unit = _parted(node[1])
        return inner, " ".join(sorted({unit, node[2]} - {""}))
    return node, ""


def _relations(one: Node, other: Node, rules: Rules) -> bool | None:
    if one[0] == "rel" and other[0] == "rel":
        first, second = _equation(one), _equation(other)
        if first and second:
            if _key(first[0]) == _key(second[0]):
                return _same(first[1], _renamed(second, first[0]), rules)
            if any(side[0] not in _SCALARS for pair in (first, second) for side in pair):
                return False
        inequality = same_inequality(one, other)
        if inequality is None and one[1][1::2] == other[1][1::2]:
            found = [_same(a, b, rules) for a, b in zip(one[1][0::2], other[1][0::2], strict=True)]
            return True if all(found) else None
        return inequality
    relation, plain = (one, other) if one[0] == "rel" else (other, one)
    equation = _equation(relation)
    if equation is None:
        left, right = relation[1][0], relation[1][-1]
        if relation[1][1::2] == ("=",) and left[0] in _SCALARS | {"unit", "deg"} and not symbols_of(left):
            return _same(right, plain, rules)  # 84/2 = 42
        if relation[1][1::2] == ("==",) and is_name(left):
            return _same(right, plain, rules)
        if plain[0] in ("list", "both", "set") and plain[1]:
            return None
        return False
    value = equation[1]
    return _same(value, plain, rules) if one[0] == "rel" else _same(plain, value, rules)


def _renamed(pair: tuple[Node, Node], like: Node) -> Node:
    """The value of f(n) = …, written in the x of f(x)."""
    name, value = pair
    renames = _is_call(name) and _is_call(like) and name[2][0] == like[2][0] == "sym" and name[2] != like[2]
    if not renames or like[2][1] in symbols_of(value):
        return value
    renamed: Node = _replaced(value, name[2], like[2])
    return renamed


def _replaced(node: Any, old: Node, new: Node) -> Any:
    if node == old:
        return new
    return tuple(_replaced(part, old, new) for part in node) if isinstance(node, tuple) else node


def _with_record(one: Node, other: Node, rules: Rules) -> bool | None:
    if one[0] == other[0] == "record":
        if [name for name, _ in one[1]] != [name for name, _ in other[1]]:
            theirs = dict(other[1])
            if set(theirs) != {name for name, _ in one[1]}:
                return False
            return _all(_same(value, theirs[name], rules) for name, value in one[1])
        return _all(_same(a, b, rules) for (_, a), (_, b) in zip(one[1], other[1], strict=True))
    record, plain = (one, other) if one[0] == "record" else (other, one)
    values = tuple(value for _, value in record[1])
    if plain[0] == "tuple":
        return _pairwise(values, plain[2], rules)
    if plain[0] == "list" and not any(item[0] == "record" for item in plain[1]):
        return _pairwise(values, plain[1], rules)
    if plain[0] == "rel":
        equation = _equation(plain)
        return _pairwise(values, equation[1][2], rules) if equation and equation[1][0] == "tuple" else False
    if plain[0] in ("list", "set"):
        return _lists(one, other, rules)
    return False


def _all(found: Any) -> bool | None:
    unsure = False
    for verdict in found:
        if verdict is False:
            return False
        unsure = unsure or verdict is None
    return None if unsure else True


def _pairwise(one: tuple[Node, ...], other: tuple[Node, ...], rules: Rules) -> bool | None:
    if len(one) != len(other):
        return False
    return _all(_same(a, b, rules) for a, b in zip(one, other, strict=True))


def _items(node: Node) -> tuple[Node, ...]:
    return node[1] if node[0] in ("list", "set", "both") else (node,)


def _lists(one: Node, other: Node, rules: Rules) -> bool | None:
    if {one[0], other[0]} == {"list", "tuple"}:
        pair, plain = (one, other) if one[0] == "tuple" else (other, one)
        if plain[2] == "," and (pair[1] + pair[3] == "()" or len(pair[2]) != 2):
            first, second = (node[1] if node[0] == "list" else node[2] for node in (one, other))
            return _pairwise(first, second, rules)
    if one[0] == "list" and other[0] == "set" or one[0] == "set" and other[0] == "list":
        rules = rules._replace(ordered=False)
    first, second = _items(one), _items(other)
    if ("dots",) in first or ("dots",) in second:
        return _pairwise(first, second, rules)
    if not first or not second:
        return not first and not second
    if rules.ordered and one[0] == other[0] == "list":
        return _pairwise(first, second, rules)
    if len(first) == len(second):
        if len(first) > MAX_ITEMS:
            return _pairwise(first, second, rules)
        if _pairwise(first, second, rules) is True:
            return True
    if max(len(first), len(second)) > MAX_ITEMS:
        return None
    unsure = False
    seen = [False] * len(second)
    for a in first:
        best: bool | None = False
        for place, b in enumerate(second):
            verdict = _same(a, b, rules)
            if verdict:
                best, seen[place] = True, True
            elif verdict is None and best is False:
                best = None
                seen[place] = seen[place] or False
                unsure = True
        if best is False:
            return False
    if all(seen):
        return None if unsure and len(first) != len(second) else True
    for place, b in enumerate(second):
        if not seen[place]:
            verdicts = [_same(a, b, rules) for a in first]
            if None not in verdicts and True not in verdicts:
                return False
    return None if unsure else False


def _arrays(one: Node, other: Node, rules: Rules) -> bool | None:
    if one[0] == other[0] == "tuple":
        if len(one[2]) == 2 and (one[1], one[3]) != (other[1], other[3]):
            return False
        return _pairwise(one[2], other[2], rules)
    if one[0] == other[0] == "matrix":
        if [len(row) for row in one[1]] != [len(row) for row in other[1]]:
            return False
        return _all(_pairwise(a, b, rules) for a, b in zip(one[1], other[1], strict=True))
    array, plain = (one, other) if one[0] in ("tuple", "matrix") else (other, one)
    if {one[0], other[0]} == {"tuple", "matrix"}:
        pair, grid = (one, other) if one[0] == "tuple" else (other, one)
        cells = tuple(row[0] for row in grid[1]) if all(len(row) == 1 for row in grid[1]) else None
        cells = grid[1][0] if cells is None and len(grid[1]) == 1 else cells
        return _pairwise(pair[2], cells, rules) if cells is not None and pair[1] + pair[3] != "[)" else False
    if _basis(plain):
        width = len(array[2]) if array[0] == "tuple" else len(array[1])
        parts = array[2] if array[0] == "tuple" else tuple(row[0] for row in array[1])
        made = tuple(_coefficient(plain, k) for k in range(width))
        return _pairwise(parts, made, rules) if width in (2, 3) else False
    if plain[0] in ("num", "sym", "const", "text", "base", "ratio"):
        return False
    return None if _contains(plain, ("matrix", "tuple")) else False


def _contains(node: Any, kinds: tuple[str, ...]) -> bool:
    if not isinstance(node, tuple) or not node:
        return False
    return node[0] in kinds or any(_contains(part, kinds) for part in node if isinstance(part, tuple))


def _basis(node: Node) -> bool:
    return node[0] in _SCALARS and bool(symbols_of(node) & {"vi", "vj", "vk"})


def _coefficient(node: Node, place: int) -> Node:
    for k, name in enumerate(("vi", "vj", "vk")):
        node = _replaced(node, ("sym", name), ("num", Fraction(int(k == place)), 0))
    return node


def _ratios(one: Node, other: Node, rules: Rules) -> bool | None:
    if one[0] == other[0] == "ratio":
        found = _pairwise(one[1], other[1], rules)
        if found is not False or len(one[1]) != len(other[1]) or (_clock(one) and _clock(other)):
            return found
        try:
            first, second = [exact(n) for n in one[1]], [exact(n) for n in other[1]]
        except Undecided:
            return False
        if any(isinstance(v, Huge) or not v for v in (*first, *second)):
            return False
        return len({Fraction(a) / Fraction(b) for a, b in zip(first, second, strict=True)}) == 1  # type: ignore[arg-type]
    ratio, plain = (one, other) if one[0] == "ratio" else (other, one)
    if len(ratio[1]) == 2 and plain[0] in ("/", "num") and not (_clock(ratio) and plain[0] == "num"):
        return _scalars(("/", *ratio[1]), plain, rules)
    return False


def _clock(node: Node) -> bool:
    """Whether a ratio may be a time of day."""
    try:
        values = [exact(item[1] if item[0] == "unit" else item) for item in node[1]]
    except Undecided:
        return True
    if len(values) != 2 or any(isinstance(v, Huge) or v.denominator != 1 for v in values):
        return False
    return bool(values[0] < 25 and (values[1] == 0 or 10 <= values[1] < 60))  # type: ignore[operator]


def _bases(one: Node, other: Node) -> bool | None:
    if one[0] == other[0] == "base":
        return one[2] == other[2] and one[1].lstrip("0") == other[1].lstrip("0")
    based, plain = (one, other) if one[0] == "base" else (other, one)
    if plain[0] == "num" and plain[1].denominator == 1:
        return str(plain[1]) == (based[1].lstrip("0") or "0")
    return False


def _words_of(text: str) -> list[str]:
    return [word for word in _LETTER.findall(text.lower()) if word not in _ARTICLES] or _LETTER.findall(text.lower())


def _same_words(one: str, other: str) -> bool:
    if len(one.strip()) == 1 and len(other.strip()) == 1:
        return one.strip() == other.strip()
    return [_singular(word) for word in _words_of(one)] == [_singular(word) for word in _words_of(other)]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _text_and_other(one: Node, other: Node) -> bool | None:
    text, plain = (one, other) if one[0] == "text" else (other, one)
    words = text[1].lower().strip(" .")
    if plain == ("set", ()):
        return words in _NOTHING
    if words in _WORDS and plain[0] == "num":
        return bool(plain[1] == _WORDS[words])
    if plain[0] in ("num", "tuple", "matrix", "base", "ratio") or " " in words or not words.isalpha():
        return False
    if len(words) > 5:
        return False
    return same_value(one, other) is True


def _scalars(one: Node, other: Node, rules: Rules) -> bool | None:
    if one[0] == other[0] == "abs" and one[1] == other[1]:
        return True
    found = same_value(one, other)
    if found is True:
        return True
    if _unbased(one) != _unbased(other) and same_value(_with_base(one), _with_base(other)):
        return True  # log may mean the logarithm to base 10
    if rules.decimals is not None and _within(one, other, Fraction(1, 2 * 10**rules.decimals)):
        return True
    for decimal, plain in ((one, other), (other, one)):
        rounded = rules.float_digits and decimal[0] == "num" and decimal[2] >= rules.float_digits
        if rounded and _rounds_to(decimal, plain):
            return True
    return found


def _rounds_to(decimal: Node, plain: Node) -> bool:
    """Whether `plain`, rounded, cut off, or as a binary float, is the decimal that is written."""
    place = _last_place(decimal)
    try:
        if (_finite(exact(plain)) / place).denominator == 1:
            return False  # a decimal that could have been written out
    except Undecided:
        pass
    if _within(decimal, plain, place / 2):
        return True
    away = decimal[1] + (place / 2 if decimal[1] > 0 else -place / 2)
    if _within(("num", away, 0), plain, place * Fraction(499, 1000)):
        return True
    if decimal[2] < 16 or symbols_of(plain):
        return False
    try:
        value, _ = Numeric(contexts()[1], {}, True).of(plain)
    except Undecided:
        return False
    return not getattr(value, "imag", 0) and float(value) == float(decimal[1])


_BARE_LOG = ("fun", "log")


def _unbased(node: Any) -> bool:
    """Whether a logarithm without a base stands in a tree."""
    if not isinstance(node, tuple) or not node:
        return False
    return node[:2] == _BARE_LOG and node[3] is None or any(_unbased(p) for p in node if isinstance(p, tuple))


def _with_base(node: Any) -> Any:
    if not isinstance(node, tuple) or not node:
        return node
    if node[:2] == _BARE_LOG and node[3] is None:
        return ("fun", "log", _with_base(node[2]), ("num", Fraction(10), 0))
    return tuple(_with_base(part) for part in node)


def _finite(value: Fraction | Huge) -> Fraction:
    if isinstance(value, Huge):
        raise Undecided("a number too large to compute")
    return value


def _last_place(decimal: Node) -> Fraction:
    """What one unit in the last written place is worth."""
    value, digits = abs(decimal[1]), decimal[2]
    size = 0
    while value >= 10 ** (size + 1) and size < 400:
        size += 1
    while value and value * 10 ** (-size) < 1 and size > -400:
        size -= 1
    return Fraction(10) ** (size - digits + 1)


def _within(one: Node, other: Node, distance: Fraction) -> bool:
    try:
        a, b = exact(one), exact(other)
        return isinstance(a, Fraction) and isinstance(b, Fraction) and abs(a - b) <= distance
    except Undecided:
        pass
    if symbols_of(one) or symbols_of(other):
        return False
    precise = contexts()[1]
    try:
        numeric = Numeric(precise, {}, True)
        (a_value, _), (b_value, _) = numeric.of(one), numeric.of(other)
    except Undecided:
        return False
    bound = precise.mpf(distance.numerator) / distance.denominator
    return bool(abs(a_value - b_value) <= bound)
