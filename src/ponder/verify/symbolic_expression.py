"""One expression in tokens read into sympy, exactly: a recursive descent of our own. Runs in the worker only.

The usual reader takes `2(3)` for 5 and `12 34` for 46. What this one does not know, it refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import sympy

from ponder.verify.symbolic_text import CLOSE, FUNCTIONS, GREEK, OPEN

DEGREE, PERCENT = sympy.Symbol("°"), sympy.Symbol("%")


class ReadError(ValueError):
    """Why the tokens are no answer that is known."""


def split(parts: Sequence[str], signs: set[str]) -> tuple[list[list[str]], list[str]]:
    """The pieces between `signs` outside of every bracket, and the signs found."""
    pieces: list[list[str]] = [[]]
    found: list[str] = []
    depth = 0
    for part in parts:
        if part in OPEN or part == "\\begin{matrix}":
            depth += 1
        elif part in CLOSE or part == "\\end{matrix}":
            depth -= 1
        if depth == 0 and part in signs and part not in CLOSE:
            pieces.append([])
            found.append(part)
        else:
            pieces[-1].append(part)
    return pieces, found


def closing(parts: Sequence[str], at: int) -> int:
    """Where the bracket opened at `at` closes: any kind closes any kind, as in `[0,1)`; -1 where it does not."""
    depth = 0
    for here in range(at, len(parts)):
        depth += (parts[here] in OPEN or parts[here] == "\\begin{matrix}") - (
            parts[here] in CLOSE or parts[here] == "\\end{matrix}"
        )
        if depth == 0:
            return here
    return -1


_NO_FACTOR = CLOSE | {
    "\\cdot", "\\times", "\\div", "\\%", "\\degrees", "\\dots", "\\\\", "\\{", "\\circ", "\\&", "\\or", "\\and",
    "\\cup", "\\in", "\\le", "\\ge", "\\ne", "\\approx",
}  # fmt: skip


def starts_factor(part: str) -> bool:
    """Whether a token, next to a factor, is another one."""
    if not part or part.startswith('"') or part in _NO_FACTOR:
        return False
    return part[0].isalnum() or part[0] in ".\\" or part in ("(", "[", "{")


# Words after a number that are a part of it
_COUNTS = {
    "hundred", "hundreds", "thousand", "thousands", "million", "millions", "billion", "billions", "trillion",
    "dozen", "half", "halves", "third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths",
    "tenths", "hundredths", "not", "no", "times", "per", "squared", "cubed", "less", "more", "factorial",
}  # fmt: skip


class Expression:
    """Recursive descent over one expression; the nesting is bounded by the guards."""

    def __init__(self, parts: Sequence[str], tight: bool) -> None:
        self.parts, self.at, self.tight = list(parts), 0, tight
        self.decimal, self.bars = False, 0

    def whole(self) -> tuple[Any, str, bool]:
        value = self.sum()
        unit = ""
        while self.peek().startswith('"') or self.peek() in ("^", "\\degrees"):
            part = self.take()
            unit += f" {part[1:]}" if part.startswith('"') else ""
            if part == "^":
                unit += f"^{self.group()}"
        if self.at < len(self.parts):
            raise ReadError(f"unexpected {self.peek()[:20]!r}")
        if any(word in _COUNTS for word in unit.split()):
            raise ReadError("a number in words")
        return value, unit.strip(), self.decimal

    def peek(self, ahead: int = 0) -> str:
        return self.parts[self.at + ahead] if self.at + ahead < len(self.parts) else ""

    def take(self) -> str:
        part = self.peek()
        self.at += 1
        return part

    def sum(self) -> Any:
        terms = [self.product()]
        while self.peek() in ("+", "-"):
            sign = self.take()
            term = self.product()
            terms.append(term if sign == "+" else -term)
        return sympy.Add(*terms) if len(terms) > 1 else terms[0]

    def product(self) -> Any:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        value = self.run()
        while self.peek() in ("*", "\\cdot", "\\times", "/", "\\div"):
            operator = self.take()
            minus = 1
            while self.peek() in ("+", "-"):
                minus = -minus if self.take() == "-" else minus
            if operator in ("/", "\\div"):
                below = self.run() if self.tight else self.power()
                if below == 0:
                    raise ReadError("division by zero")
                value = value / below * minus
                if not self.tight and self.starts():
                    value = value * self.run()
            else:
                value = value * self.run() * minus
        return sign * value

    def starts(self) -> bool:
        """Whether the next token starts a factor."""
        return self.bars == 0 if self.peek() == "|" else starts_factor(self.peek())

    def run(self) -> Any:
        """Factors side by side; a mixed number first. Two numbers side by side are refused."""
        mixed = self.mixed()
        values = [self.power() if mixed is None else mixed]
        while self.starts():
            if self.peek()[0].isdigit() and self.parts[self.at - 1][-1:].isdigit():
                raise ReadError("two numbers side by side")
            if self.peek()[0].isdigit() and self.parts[self.at - 1].isalpha():
                raise ReadError("a number after a letter")  # x2: a product, a power or a name
            values.append(self.power())
        return sympy.Mul(*values) if len(values) > 1 else values[0]

    def mixed(self) -> Any:
        """`1\\frac{1}{2}` and `1 1/2`."""
        if not self.peek().isdigit():
            return None
        if (
            self.peek(1) == " "
            and self.peek(2).isdigit()
            and self.peek(3) == "/"
            and self.peek(4).isdigit()
            and self.peek(5) != "^"
        ):
            whole, _, above, _, below = (self.take() for _ in range(5))
            if int(below) == 0 or int(above) >= int(below):
                raise ReadError("no mixed number")
            return sympy.Integer(int(whole)) + sympy.Rational(int(above), int(below))
        shape = [self.peek(ahead) for ahead in range(1, 8)]
        if [shape[at] for at in (0, 1, 3, 4, 6)] == ["\\frac", "{", "}", "{", "}"] and self.peek(8) != "^":
            above, below = shape[2], shape[5]
            if above.isdigit() and below.isdigit() and int(below):
                value = int(self.peek()) + sympy.Rational(int(above), int(below))
                self.at += 8
                return value
        return None

    def power(self) -> Any:
        base = self.postfix()
        if self.peek() == "^":
            self.take()
            if self.peek() == "\\circ" or (self.peek() == "{" and self.peek(1) == "\\circ" and self.peek(2) == "}"):
                self.at += 1 if self.peek() == "\\circ" else 3
                return base * DEGREE
            if self.peek() == "'":
                raise ReadError("a derivative")
            return _pow(base, self.group())
        return base

    def postfix(self) -> Any:
        value = self.atom()
        while self.peek() in ("!", "\\%", "%", "\\degrees"):
            part = self.take()
            if part == "!":
                value = sympy.factorial(value)
            else:
                value = value * (DEGREE if part == "\\degrees" else PERCENT)
        return value

    def group(self) -> Any:
        """What follows `^`, `_` or `\\frac`: a brace or bracket group, or one sign."""
        part = self.peek()
        if part in ("{", "("):
            end = closing(self.parts, self.at)
            if end < 0:
                raise ReadError("a bracket not closed")
            inner = Expression(self.parts[self.at + 1 : end], self.tight)
            inner.bars = 0
            value = inner.sum()
            if inner.at < len(inner.parts):
                raise ReadError("a group that is not known")
            self.decimal |= inner.decimal
            self.at = end + 1
            return value
        if part == "-":
            self.take()
            return -self.group()
        return self.postfix() if part and part != "^" else self.fail("something is missing")

    def digit(self) -> Any:
        """An argument of `\\frac`: a group, or one digit of a longer number, as TeX takes it."""
        part = self.peek()
        if part[:1].isdigit() and len(part) > 1:
            self.parts[self.at] = part[1:]
            return sympy.Integer(int(part[0]))
        if part == " ":
            self.take()
            return self.digit()
        return self.group()

    def fail(self, why: str) -> Any:
        raise ReadError(why)

    def atom(self) -> Any:
        part = self.take()
        if not part:
            raise ReadError("it ends too soon")
        if part[0].isdigit() or (part[0] == "." and len(part) > 1):
            if self.peek() == "_":
                raise ReadError("a number in a base")
            self.decimal |= "." in part.rstrip(".")
            exact = Fraction(part.rstrip("."))
            return sympy.Rational(exact.numerator, exact.denominator)
        if len(part) == 1 and part.isalpha() and part.isascii():
            return self.name(part)
        if part in ("(", "[", "{"):
            self.at -= 1
            if part == "[":
                end = closing(self.parts, self.at)
                if end < 0 or self.parts[end] != "]":
                    raise ReadError("brackets that do not match")
                self.parts[self.at], self.parts[end] = "(", ")"
            elif part == "(":
                end = closing(self.parts, self.at)
                if end >= 0 and self.parts[end] != ")":
                    raise ReadError("brackets that do not match")
            return self.group()
        if part == "|":
            return self.bar()
        if part[0] == "\\":
            return self.command(part[1:])
        raise ReadError(f"unexpected {part[:20]!r}")

    def bar(self) -> Any:
        self.bars += 1
        value = self.sum()
        self.bars -= 1
        if self.take() != "|":
            raise ReadError("a bar not closed")
        return sympy.Abs(value)

    def name(self, letter: str) -> Any:
        if letter == "e" and self.peek() != "_":
            return sympy.E
        if letter == "i" and self.peek() != "_":
            return sympy.I
        while self.peek() == "'":
            letter += self.take()
        if self.peek() == "_":
            self.take()
            if self.peek() == "{":
                end = closing(self.parts, self.at)
                letter += "_" + "".join(self.parts[self.at + 1 : end])
                self.at = max(end, self.at) + 1
            else:
                letter += "_" + self.take()
        if letter[0] in "fgh" and self.peek() == "(":
            return sympy.Function(letter)(self.group())
        return sympy.Symbol(letter)

    def command(self, name: str) -> Any:
        if name in FUNCTIONS:
            return self.function(name)
        if name == "frac":
            above, below = self.digit(), self.digit()
            return above / below if below != 0 else self.fail("division by zero")
        if name == "sqrt":
            return self.root()
        if name == "cbrt":
            return _root(self.group(), sympy.Integer(3))
        if name == "binom":
            return sympy.binomial(self.digit(), self.digit())
        if name == "abs":
            return sympy.Abs(self.group())
        if name == "pi":
            return sympy.pi
        if name == "infty":
            return sympy.oo
        if name in ("lfloor", "lceil"):
            end = closing(self.parts, self.at - 1)
            if end < 0 or self.parts[end] != "\\r" + name[1:]:
                raise ReadError("a bracket not closed")
            self.parts[self.at - 1], self.parts[end] = "(", ")"
            self.at -= 1
            return (sympy.floor if name == "lfloor" else sympy.ceiling)(self.group())
        if name in GREEK:
            return self.name("\\" + name)
        if name in ("vec", "hat", "overrightarrow"):
            return sympy.Symbol(f"{name} {self.group()}")
        raise ReadError(f"\\{name[:20]}")

    def root(self) -> Any:
        index: Any = sympy.Integer(2)
        if self.peek() == "[":
            end = closing(self.parts, self.at)
            inner = Expression(self.parts[self.at + 1 : max(end, self.at + 1)], self.tight)
            index = inner.sum()
            self.at = end + 1
        return _root(self.group(), index)

    def function(self, name: str) -> Any:
        base = power = None
        while self.peek() in ("_", "^"):
            if self.take() == "_":
                base = self.group()
                if self.peek() == " ":  # \log_2 8
                    self.take()
            else:
                power = self.group()
        if name in ("gcd", "lcm", "max", "min"):
            return self.several(name)
        if self.peek() in ("(", "{", "["):
            if self.peek() == "[":
                raise ReadError("square brackets")
            argument = self.group()
            if self.peek() == "^" and power is None:
                self.take()
                power = self.group()
        else:
            argument = self.argument()
        if name in _TRIGONOMETRY:
            argument = argument.subs(DEGREE, sympy.pi / 180)
        if power == -1 and name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            name, power = "arc" + name, None
        if name in ("log", "lg"):
            value = sympy.log(argument) / sympy.log(base if base is not None else 10)
        else:
            value = _FUNCTIONS[name](argument)
        return value if power is None else _pow(value, power)

    def argument(self) -> Any:
        """`\\sin 2x`: factors side by side up to the next function or sign."""
        if self.peek() in ("+", "-"):
            sign = -1 if self.take() == "-" else 1
            return sign * self.argument()
        values = [self.power()]
        while self.starts() and self.peek().lstrip("\\") not in FUNCTIONS and self.peek() not in ("(", "["):
            values.append(self.power())
        if self.peek() == "/" and not isinstance(values[0], sympy.Function):
            raise ReadError("a function of an unclear fraction")
        return sympy.Mul(*values)

    def several(self, name: str) -> Any:
        if self.peek() != "(":
            raise ReadError(f"\\{name} without brackets")
        end = closing(self.parts, self.at)
        values = []
        for piece in split(self.parts[self.at + 1 : max(end, self.at + 1)], {","})[0]:
            inner = Expression(piece, self.tight)
            values.append(inner.sum())
        self.at = end + 1
        if name in ("gcd", "lcm") and not all(value.is_Integer for value in values):
            raise ReadError(f"\\{name} of what is no whole number")
        return {"gcd": sympy.igcd, "lcm": sympy.ilcm, "max": sympy.Max, "min": sympy.Min}[name](*values)


_TRIGONOMETRY = {"sin", "cos", "tan", "cot", "sec", "csc"}
_FUNCTIONS: dict[str, Any] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin,
    "arccos": sympy.acos, "arctan": sympy.atan, "arccot": sympy.acot, "arcsec": sympy.asec, "arccsc": sympy.acsc,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh, "tanh": sympy.tanh, "ln": sympy.log, "exp": sympy.exp,
}  # fmt: skip


def _root(value: Any, index: Any) -> Any:
    """The principal root; of a negative number an odd root is the real one."""
    if index == 0:
        raise ReadError("a zeroth root")
    if index.is_Integer and index % 2 == 1 and value.is_number and value.is_negative:
        return -((-value) ** (1 / index))
    return value ** (1 / index)


def _pow(base: Any, exponent: Any) -> Any:
    """Exact powers stay within bounds that cannot eat the memory; the guards know only what is written out."""
    if base.is_Rational and exponent.is_Rational and not base.is_zero and abs(base) != 1:
        bits = max(abs(base.p).bit_length(), base.q.bit_length())
        if abs(exponent) * bits > 400_000:
            raise ReadError("a huge power")
    if base == 0 and exponent.is_number and not exponent.is_positive:
        raise ReadError("zero to a power that is not positive")
    if base == sympy.oo or exponent.has(sympy.oo):
        raise ReadError("a power of infinity")
    return base**exponent
