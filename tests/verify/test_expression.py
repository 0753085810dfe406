"""Expressions: Python's own arithmetic on all that is allowed, and nothing else is."""

from __future__ import annotations

import ast
import re
import warnings
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.verify.expression import MAX_DEPTH, MAX_DIGITS, MAX_LENGTH, ExpressionError, read_expression

checked = settings(max_examples=300, deadline=None)

Tree = int | tuple  # type: ignore[type-arg]  # a number, ("neg", tree) or (operator, tree, tree)
trees = st.recursive(
    st.integers(0, 99),
    lambda inner: st.one_of(st.tuples(st.just("neg"), inner), st.tuples(st.sampled_from("+-*/"), inner, inner)),
    max_leaves=12,
)


def value_of(tree: Tree) -> Fraction:
    if isinstance(tree, int):
        return Fraction(tree)
    if tree[0] == "neg":
        return -value_of(tree[1])
    left, right = value_of(tree[1]), value_of(tree[2])
    return {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[tree[0]](right)


def text_of(tree: Tree, draw: st.DrawFn) -> tuple[str, int]:
    """The tree as text, and how tightly its outermost operator binds: sum 1, product 2, sign 3, number 4.

    Brackets where they are needed, and here and there where they are not.
    """
    space = draw(st.sampled_from(["", "", " ", "\t", "\n"]))
    if isinstance(tree, int):
        return space + str(tree), 4
    operator = tree[0]
    if operator == "neg":
        return f"{space}-{bracketed(tree[1], 3, draw)}", 3
    binds = 1 if operator in "+-" else 2
    written = draw(st.sampled_from({"*": "*×·", "/": "/÷", "-": "-−", "+": "+"}[operator]))
    return f"{bracketed(tree[1], binds, draw)}{space}{written}{bracketed(tree[2], binds + 1, draw)}", binds


def bracketed(tree: Tree, least: int, draw: st.DrawFn) -> str:
    text, binds = text_of(tree, draw)
    return f"({text})" if binds < least or draw(st.integers(0, 9)) == 0 else text


@st.composite
def written(draw: st.DrawFn) -> tuple[Tree, str]:
    tree = draw(trees)
    return tree, text_of(tree, draw)[0]


def numbers_of(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else [n for part in tree[1:] for n in numbers_of(part)]


@checked
@given(written())
def test_trees_are_read_with_the_usual_precedence(case: tuple[Tree, str]) -> None:
    tree, text = case
    if len(text) > MAX_LENGTH:
        return
    try:
        wanted = value_of(tree)
    except ZeroDivisionError:
        with pytest.raises(ExpressionError, match="division by zero"):
            read_expression(text)
        return
    found = read_expression(text)
    assert found.value == wanted and found.numbers == tuple(numbers_of(tree))
    python = re.sub(r"\d+", r"F(\g<0>)", text).translate(str.maketrans("×·÷−\n", "**/- "))
    assert found.value == eval(python, {"__builtins__": {}, "F": Fraction})


ALLOWED = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub)


def python_reads(text: str) -> bool:
    """Whether Python, too, reads `text` as whole numbers, + - * /, a minus sign and brackets."""
    plain = re.sub(r"\b0+(?=[0-9])", "", re.sub(r"\s", " ", text)).strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `1(2)` is a call, says Python
            nodes = list(ast.walk(ast.parse(plain, mode="eval")))
    except SyntaxError:
        return False
    return all(isinstance(n, ALLOWED) or (isinstance(n, ast.Constant) and type(n.value) is int) for n in nodes)


@settings(max_examples=1500, deadline=None)
@given(st.text(alphabet="0123456789+-*/() \t\n.,a=[%", max_size=12))
def test_nothing_else_is_read(text: str) -> None:
    try:
        read_expression(text)
        read = True
    except ExpressionError as error:
        if "zero" in str(error):
            return
        read = False
    assert read == python_reads(text), text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", 14), ("(2+3)*4", 20), ("2-3-4", -5), ("8/4/2", 1), ("2*-3", -6), ("-2*3", -6), ("--2", 2),
        ("1/3+1/6", Fraction(1, 2)), ("007", 7), ("3×5", 15), ("3·5", 15), ("10÷4", Fraction(5, 2)), ("7−9", -2),
        (" 1 +\n2 ", 3), ("-(2+3)", -5), ("6/3*2", 4),
    ],
)  # fmt: skip
def test_by_hand(text: str, value: Fraction) -> None:
    assert read_expression(text).value == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ends too soon"), (" ", "ends too soon"), ("2+", "ends too soon"), ("(2", "not closed"),
        ("(", "ends too soon"), ("2)", r"unexpected '\)'"), ("()", r"unexpected '\)'"), ("2 3", "unexpected '3'"),
        ("2**3", r"unexpected '\*'"), ("2//3", "unexpected '/'"), ("+2", r"unexpected '\+'"),
        ("2(3)", r"unexpected '\('"), ("2.5", r"unexpected '\.'"), ("1,000", "unexpected ','"), ("x", "unexpected 'x'"),
        ("2=2", "unexpected '='"), ("٣+٤", "unexpected '٣'"), ("²", "unexpected '²'"), ("1/0", "division by zero"),
        ("1/(2-2)", "division by zero"), ("0/0", "division by zero"), ("1_0", "unexpected '_'"),
        ("__import__('os').getcwd()", "unexpected '_'"), ("2\x0b+3", "unexpected"), ("9" * 13, "too many digits"),
        ("1" * 201, "too long"),
    ],
)  # fmt: skip
def test_by_hand_rejected(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        read_expression(text)


def test_limits_are_where_they_are_said_to_be() -> None:
    assert read_expression("9" * MAX_DIGITS).value == int("9" * MAX_DIGITS)
    nested = "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH
    assert read_expression(nested).value == 1
    assert read_expression("-" * MAX_DEPTH + "1").value == 1
    for deep in (f"({nested})", "-" * (MAX_DEPTH + 1) + "1", "(" * 199, "-" * 200):
        with pytest.raises(ExpressionError, match="nested too deeply"):
            read_expression(deep)
    assert read_expression("1+" * (MAX_LENGTH // 2 - 1) + "11").value == MAX_LENGTH // 2 + 10
    with pytest.raises(ExpressionError, match="too long"):
        read_expression("1+" * (MAX_LENGTH // 2) + "1")
