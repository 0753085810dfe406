"""Arithmetic expressions over whole numbers, read by a parser of our own: model text is never evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 200
MAX_DIGITS = 12
MAX_DEPTH = 20


class ExpressionError(ValueError):
    """Why a text is no expression, in a few words."""


@dataclass(frozen=True)
class Expression:
    """value: exact. numbers: every number written, in order."""

    value: Fraction
    numbers: tuple[int, ...]


def read_expression(text: str) -> Expression:
    """Read `+ - * /` (also × · ÷ −), brackets and whole numbers, with the usual precedence.

    Linear in the text, which may have 200 characters, brackets 20 deep and numbers of 12 digits.
    Raises ExpressionError for anything else, division by zero included.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError("too long")
    plain = text.replace("×", "*").replace("·", "*").replace("÷", "/").replace("−", "-")
    reader = _Reader(_tokens(plain))
    value = reader.sum(0)
    if reader.at < len(reader.tokens):
        raise ExpressionError(f"unexpected {reader.tokens[reader.at]!r}")
    return Expression(value, tuple(reader.numbers))


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
        elif text[at] in "+-*/()":
            tokens.append(text[at])
            at += 1
        elif text[at].isascii() and text[at].isdigit():
            end = at
            while end < len(text) and text[end].isascii() and text[end].isdigit():
                end += 1
            if end - at > MAX_DIGITS:
                raise ExpressionError("a number has too many digits")
            tokens.append(text[at:end])
            at = end
        else:
            raise ExpressionError(f"unexpected {text[at]!r}")
    return tokens


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0
        self.numbers: list[int] = []

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            value = value + self.product(depth) if self.take() == "+" else value - self.product(depth)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.atom(depth)
        while self.peek() in ("*", "/"):
            if self.take() == "*":
                value *= self.atom(depth)
            else:
                divisor = self.atom(depth)
                if not divisor:
                    raise ExpressionError("division by zero")
                value /= divisor
        return value

    def atom(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise ExpressionError("nested too deeply")
        token = self.take()
        if token == "-":
            return -self.atom(depth + 1)
        if token == "(":
            value = self.sum(depth + 1)
            if self.take() != ")":
                raise ExpressionError("bracket not closed")
            return value
        if token.isdigit():
            self.numbers.append(int(token))
            return Fraction(int(token))
        raise ExpressionError(f"unexpected {token!r}" if token else "ends too soon")
