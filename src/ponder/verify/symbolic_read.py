"""An answer's tokens read into a tree of lists, sets, intervals, matrices and relations. Runs in the worker only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ponder.verify.symbolic_expression import Expression, ReadError, closing, split
from ponder.verify.symbolic_text import OPEN

RELATIONS = {"=", "<", ">", "\\le", "\\ge", "\\ne", "\\in", "\\approx", "\\simeq", "\\sim", "\\equiv", "\\to"}
SETS = {"\\mathbbR", "\\mathbbZ", "\\mathbbN", "\\mathbbQ", "\\mathbbC", "\\emptyset"}
MAX_ITEMS = 200


@dataclass(frozen=True)
class Node:
    """kind: scalar, list, set, seq (bracketed, mark = both brackets), union, matrix (mark = columns), relation (mark =
    the signs), ratio, words, symbols (a named set), minus (a set without another). items: its parts. value: of a
    scalar. unit: words after it. decimal: a decimal was written in it."""

    kind: str
    items: tuple[Node, ...] = ()
    mark: str = ""
    value: Any = None
    unit: str = ""
    decimal: bool = False


def read(parts: Sequence[str], tight: bool = False) -> Node:
    """The tree of a whole answer. tight: `1/2x` is 1/(2x), not x/2. Raises ReadError."""
    parts = list(parts)
    while parts and parts[-1] in (".", ",", ";", ":", "!") and not (parts[-1] == "!" and len(parts) > 1):
        parts.pop()
    if not parts:
        raise ReadError("nothing")
    if "\\pm" in parts or "\\mp" in parts:
        plus = ["+" if part == "\\pm" else "-" if part == "\\mp" else part for part in parts]
        minus = ["-" if part == "\\pm" else "+" if part == "\\mp" else part for part in parts]
        return _flat("list", [read(plus, tight), read(minus, tight)])
    french = _french(parts)
    if french is not None:
        return _bracketed(french, tight)
    for signs in ({"\\or", "\\and"}, {";"}, {",", "\\or", "\\and"}):
        pieces, found = split(parts, signs)
        pieces = [piece for piece in pieces if piece]
        if not found or (signs == {"\\or", "\\and"} and not _grouped(pieces)):
            continue
        if len(pieces) > MAX_ITEMS:
            raise ReadError("too many parts")
        if not pieces:
            raise ReadError("nothing")
        if len(pieces) == 1:
            return read(pieces[0], tight)
        heads, _ = split(pieces[0], RELATIONS)
        if (
            len(heads) > 1
            and not any(len(split(piece, RELATIONS)[0]) > 1 for piece in pieces[1:])
            and "\\or" not in found
        ):
            cut = len(heads[0]) + 1  # x = 1, 2, 3
            rest = [pieces[0][cut:], *pieces[1:]]
            if pieces[0][len(heads[0])] in ("=", "\\in"):
                return Node(
                    "relation", (_side(heads[0], tight), _flat("list", [read(one, tight) for one in rest])), "="
                )
        items = [read(piece, tight) for piece in pieces]
        if "\\or" in found and any(item.kind == "relation" and item.mark != "=" for item in items):
            return Node("union", tuple(items))
        return Node("list", tuple(items)) if signs != {",", "\\or", "\\and"} else _flat("list", items)
    pieces, found = split(parts, RELATIONS)
    if found:
        if found[-1] in ("\\approx", "\\simeq") and len(pieces) > 1:  # the exact value stands before
            kept = len(pieces[-1]) + 1
            return read(parts[:-kept], tight)
        if any(sign not in ("=", "<", ">", "\\le", "\\ge", "\\ne", "\\in") for sign in found):
            raise ReadError("a relation that is not known")
        return Node("relation", tuple(_side(piece, tight) for piece in pieces), " ".join(found))
    return _side(parts, tight)


def _grouped(pieces: list[list[str]]) -> bool:
    """`p=5, q=2 and p=7, q=2`: groups of equal size, each a list of its own; not `1, 2, and 3`."""
    sizes = {len([one for one in split(piece, {","})[0] if one]) for piece in pieces}
    return len(pieces) > 1 and len(sizes) == 1 and sizes.pop() > 1 and all(piece[-1] != "," for piece in pieces)


def _flat(kind: str, items: list[Node]) -> Node:
    flat: list[Node] = []
    for item in items:
        flat += item.items if item.kind == "list" else (item,)
    return Node(kind, tuple(flat))


def _french(parts: list[str]) -> list[str] | None:
    """`]1,2[` with the brackets turned round."""
    if "," in parts or ";" in parts:
        if parts[0] == "]" and parts[-1] in ("[", "]"):
            return ["(", *parts[1:-1], ")" if parts[-1] == "[" else "]"]
        if parts[0] == "[" and parts[-1] == "[" and parts.count("[") == 2:
            return ["[", *parts[1:-1], ")"]
    return None


def _side(parts: list[str], tight: bool) -> Node:
    """One side of a relation, or one element: a union, a bracket, a matrix, a ratio, words, or an expression."""
    if not parts:
        raise ReadError("an empty side")
    pieces, found = split(parts, {"\\cup"})
    if found:
        return Node("union", tuple(_side(piece, tight) for piece in pieces))
    pieces, found = split(parts, {"\\setminus", "\\backslash"})
    if len(pieces) == 2:
        return Node("minus", (_side(pieces[0], tight), _side(pieces[1], tight)))
    if any(part in ("\\cap", "\\subset", "\\pmod", "\\bmod", "\\mod") for part in parts):
        raise ReadError("a sign that is not known")
    pieces, found = split(parts, {":"})
    if found:
        return Node("ratio", tuple(_side(piece, tight) for piece in pieces))
    if len(parts) == 1 and parts[0] in SETS:
        return Node("set" if parts[0] == "\\emptyset" else "symbols", mark=parts[0])
    if parts == ["\\dots"]:
        return Node("words", mark="...")
    if parts[0] in OPEN and closing(parts, 0) == len(parts) - 1 and parts[0] not in ("\\lfloor", "\\lceil"):
        return _bracketed(parts, tight)
    if parts[0] == "\\begin{matrix}" and closing(parts, 0) == len(parts) - 1:
        return _matrix(parts[1:-1], tight)
    if all(part.startswith('"') for part in parts):
        return Node("words", mark=" ".join(part[1:] for part in parts))
    value, unit, decimal = Expression(parts, tight).whole()
    return Node("scalar", value=value, unit=unit, decimal=decimal)


def _bracketed(parts: list[str], tight: bool) -> Node:
    first, inside, last = parts[0], parts[1:-1], parts[-1]
    commas = len(split(inside, {",", ";"})[0]) > 1
    if first == "\\{":
        if any(part in ("|", ":") for part in inside) and any(part in RELATIONS for part in inside):
            return _told(inside, tight)
        pieces = [piece for piece in split(inside, {",", ";"})[0] if piece]
        return _flat("set", [read(piece, tight) for piece in pieces])
    if first == "{":
        return read(inside, tight)
    if not commas:
        if last in (")", "]") and {"(": ")", "[": "]"}.get(first) != last:
            raise ReadError("brackets that do not match")
        return read(inside, tight)
    if "\\infty" in inside and "\\approx" in inside:
        raise ReadError("an approximate interval")
    items = [read(piece, tight) for piece in split(inside, {",", ";"})[0]]
    mark = {"\\langle": "(", "(": "(", "[": "["}.get(first, "") + {"\\rangle": ")", ")": ")", "]": "]"}.get(last, "")
    if len(mark) != 2:
        raise ReadError("brackets that do not match")
    return Node("seq", tuple(items), mark)


def _told(inside: list[str], tight: bool) -> Node:
    """`\\{x | x > 2\\}`, `\\{x \\in \\mathbb{R} : x > 2\\}`: the condition, if it is one relation in that one name."""
    (name, *rest), _ = split(inside, {"|", ":"})
    real = name[1:] in ([], ["\\in", "\\mathbbR"])
    if len(rest) != 1 or not name or not real:
        raise ReadError("a set told by a condition")
    told = read(rest[0], tight)
    names = {one for item in told.items if item.kind == "scalar" for one in item.value.free_symbols}
    if told.kind != "relation" or {str(one) for one in names} != {name[0]}:
        raise ReadError("a set told by a condition")
    return told


def _matrix(inside: list[str], tight: bool) -> Node:
    rows = [row for row in split(inside, {"\\\\"})[0] if row]
    cells = [[read(cell, tight) for cell in split(row, {"&"})[0]] for row in rows]
    if not cells or len({len(row) for row in cells}) != 1:
        raise ReadError("a matrix of uneven rows")
    return Node("matrix", tuple(cell for row in cells for cell in row), str(len(cells[0])))


def strip_units(node: Node) -> Node:
    """The same tree without the words after its values."""
    return replace(node, unit="", items=tuple(strip_units(item) for item in node.items))


def units_of(node: Node) -> set[str]:
    """The words after values, anywhere in the tree, without the s of the plural."""
    return {node.unit.rstrip("s")} - {""} | {unit for item in node.items for unit in units_of(item)}
