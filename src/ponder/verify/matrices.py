"""Small matrices multiplied out as trees, so that two products can be compared entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from ponder.verify.readings import Node

MAX_SIZE = 6
_ZERO: Node = ("num", Fraction(0), 0)


def worked_out(node: Node) -> Node | None:
    """A sum, multiple, product or small power of matrices as one matrix; None where it is none or is too large."""
    kind = node[0]
    if kind == "matrix":
        return node if max(len(node[1]), len(node[1][0])) <= MAX_SIZE else None
    if kind == "neg":
        inner = worked_out(node[1])
        return inner and _each(inner, lambda cell: ("neg", cell))
    if kind == "+" or kind == "-":
        left, right = worked_out(node[1]), worked_out(node[2])
        if left is None or right is None or _shape(left) != _shape(right):
            return None
        rows = zip(left[1], right[1], strict=True)
        return ("matrix", tuple(tuple((kind, a, b) for a, b in zip(*pair, strict=True)) for pair in rows))
    if kind == "*":
        left, right = worked_out(node[1]), worked_out(node[2])
        if left is not None and right is not None:
            return _product(left, right)
        if left is not None or right is not None:
            matrix, number = (left, node[2]) if left is not None else (right, node[1])
            return matrix and _each(matrix, lambda cell: ("*", number, cell))
    if kind == "/":
        matrix = worked_out(node[1])
        return matrix and _each(matrix, lambda cell: ("/", cell, node[2]))
    if kind == "^" and node[2][0] == "num" and node[2][1] in (2, 3):
        base = worked_out(node[1])
        made = base
        for _ in range(int(node[2][1]) - 1):
            made = made and base and _product(made, base)
        return made
    return None


def determinant(rows: tuple[tuple[Node, ...], ...]) -> Node | None:
    """The determinant of at most four rows, as a tree."""
    if len(rows) != len(rows[0]) or len(rows) > 4:
        return None
    if len(rows) == 1:
        return rows[0][0]
    total: Node = _ZERO
    for place, cell in enumerate(rows[0]):
        minor = determinant(tuple(row[:place] + row[place + 1 :] for row in rows[1:]))
        if minor is None:
            return None
        total = ("-" if place % 2 else "+", total, ("*", cell, minor))
    return total


def _shape(matrix: Node) -> tuple[int, int]:
    return len(matrix[1]), len(matrix[1][0])


def _each(matrix: Node, made: Callable[[Node], Node]) -> Node:
    return ("matrix", tuple(tuple(made(cell) for cell in row) for row in matrix[1]))


def _product(left: Node, right: Node) -> Node | None:
    if _shape(left)[1] != _shape(right)[0]:
        return None
    columns = list(zip(*right[1], strict=True))
    return ("matrix", tuple(tuple(_dot(row, column) for column in columns) for row in left[1]))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    total: Node = _ZERO
    for a, b in zip(row, column, strict=True):
        total = ("+", total, ("*", a, b))
    return total
