"""What an expression is worth: exactly where it is rational, else to sixty digits with a bound on the error.

No text is ever evaluated here, only trees of `readings`, and every operation is bounded: a power or a factorial that
would need more than MAX_BITS bits is HUGE (known to be large, never computed) or Undecided.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from fractions import Fraction
from math import comb, factorial, gcd, isqrt, lcm
from typing import Any

from ponder.verify.matrices import determinant
from ponder.verify.readings import Node

MAX_BITS = 20_000
DIGITS = 60
_local = threading.local()


class Undecided(Exception):
    """This tier cannot tell; the message says why, in a few words."""


class Undefined(Undecided):
    """There is no such number."""


class Huge:
    """Larger than 2 ** (MAX_BITS // 2), and never computed."""


HUGE = Huge()
Exact = Fraction | Huge


# ---- exactly ----


def exact(node: Node) -> Exact:
    """The rational value of `node`. Raises Undecided where it has none, or where it would cost too much."""
    kind = node[0]
    if kind == "num":
        value: Fraction = node[1]
        return value
    if kind == "huge":
        return HUGE
    if kind == "neg":
        return -_finite(exact(node[1]))
    if kind in ("+", "-", "*", "/"):
        return _four(kind, exact(node[1]), exact(node[2]))
    if kind == "^":
        return _power(exact(node[1]), exact(node[2]))
    if kind == "root":
        return _root(_finite(exact(node[1])), _finite(exact(node[2])))
    if kind == "!":
        return _factorial(exact(node[1]))
    if kind == "abs":
        return abs(_finite(exact(node[1])))
    if kind == "binom":
        top, bottom = _whole(exact(node[1])), _whole(exact(node[2]))
        if not 0 <= top <= 2000 or not 0 <= bottom <= 2000:
            raise Undecided("a large binomial")
        return Fraction(comb(top, bottom))
    if kind == "fun":
        return _whole_function(node)
    raise Undecided(f"no rational number: {kind}")


def _finite(value: Exact) -> Fraction:
    if isinstance(value, Huge):
        raise Undecided("a number too large to compute")
    return value


def _whole(value: Exact) -> int:
    number = _finite(value)
    if number.denominator != 1:
        raise Undecided("no whole number")
    return number.numerator


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _four(kind: str, left: Exact, right: Exact) -> Exact:
    if isinstance(left, Huge) or isinstance(right, Huge):
        if kind == "+" and all(isinstance(v, Huge) or v >= 0 for v in (left, right)):
            return HUGE
        if kind == "*" and all(isinstance(v, Huge) or v >= 1 for v in (left, right)):
            return HUGE
        if kind == "-" and isinstance(left, Huge) and isinstance(right, Fraction) and right <= 0:
            return HUGE
        raise Undecided("a number too large to compute")
    if _bits(left) + _bits(right) > 4 * MAX_BITS:
        raise Undecided("a number too large to compute")
    if kind == "+":
        return left + right
    if kind == "-":
        return left - right
    if kind == "*":
        return left * right
    if not right:
        raise Undefined("division by zero")
    return left / right


def _power(base: Exact, exponent: Exact) -> Exact:
    if isinstance(base, Huge) or isinstance(exponent, Huge):
        large_base = isinstance(base, Huge) or base >= 2
        if large_base and (isinstance(exponent, Huge) or exponent >= 1):
            return HUGE
        raise Undecided("a number too large to compute")
    if exponent.denominator != 1:
        if exponent.denominator > 64 or abs(exponent.numerator) > 64:
            raise Undecided("no rational power")
        if base < 0:
            raise Undecided("a root of a negative number")  # the principal one is complex
        return _power(_root(Fraction(exponent.denominator), base), Fraction(exponent.numerator))
    power = exponent.numerator
    if abs(base) in (0, 1):
        if not base and power <= 0:
            raise Undecided("zero to the power zero" if not power else "division by zero")
        return base if power % 2 else abs(base)
    if (_bits(base) - 1) * abs(power) > MAX_BITS:
        if base >= 2 and power > 0 and ((base.numerator // base.denominator).bit_length() - 1) * power > MAX_BITS // 2:
            return HUGE
        raise Undecided("a number too large to compute")
    return base**power


def _root(degree: Fraction, value: Fraction) -> Fraction:
    if degree.denominator != 1 or not 2 <= degree <= 64:
        raise Undecided("an odd root")
    n = degree.numerator
    if value < 0:
        if n % 2 == 0:
            raise Undecided("a root of a negative number")
        return -_root(degree, -value)
    top, bottom = _integer_root(value.numerator, n), _integer_root(value.denominator, n)
    if top**n != value.numerator or bottom**n != value.denominator:
        raise Undecided("an irrational root")
    return Fraction(top, bottom)


def _integer_root(value: int, n: int) -> int:
    if n == 2:
        return isqrt(value)
    if value < 2:
        return value
    guess = 1 << -(-value.bit_length() // n)
    while True:
        better = ((n - 1) * guess + value // guess ** (n - 1)) // n
        if better >= guess:
            return guess
        guess = better


def _factorial(value: Exact) -> Exact:
    if isinstance(value, Huge):
        return HUGE
    n = _whole(value)
    if n < 0:
        raise Undecided("a factorial of a negative number")
    return Fraction(factorial(n)) if n <= 1000 else HUGE


def _whole_function(node: Node) -> Fraction:
    name, argument = node[1], node[2]
    if name == "det" and argument[0] == "matrix" and (worked := determinant(argument[1])) is not None:
        return _finite(exact(worked))
    if name in ("floor", "ceil"):
        value = _finite(exact(argument))
        return Fraction(value.__floor__() if name == "floor" else value.__ceil__())
    if name in ("gcd", "lcm", "max", "min"):
        if argument[0] not in ("tuple", "list", "set"):
            raise Undecided(name)
        items = argument[2] if argument[0] == "tuple" else argument[1]
        values = [_finite(exact(item)) for item in items]
        if not values:
            raise Undecided(name)
        if name in ("max", "min"):
            return max(values) if name == "max" else min(values)
        return Fraction((gcd if name == "gcd" else lcm)(*(_whole(value) for value in values)))
    raise Undecided(f"no rational number: {name}")


# ---- to sixty digits, with a bound on the error ----


def contexts() -> tuple[Any, Any]:
    """mpmath's floating-point context and one of our own to DIGITS digits; one a thread, as they carry state."""
    if not hasattr(_local, "contexts"):
        import mpmath
        from mpmath.ctx_mp import MPContext

        precise = MPContext()
        precise.dps = DIGITS
        _local.contexts = (mpmath.fp, precise)
    found: tuple[Any, Any] = _local.contexts
    return found


Approximate = tuple[Any, float]  # a value, and the most that it may be off


class Numeric:
    """Evaluates trees in one mpmath context with the given values of the symbols."""

    def __init__(self, ctx: Any, symbols: Mapping[str, Fraction], precise: bool) -> None:
        self.ctx, self.symbols = ctx, symbols
        self.eps = 1e-57 if precise else 1e-14

    def of(self, node: Node) -> Approximate:
        """The value of `node` and a bound on its error. Raises Undecided where there is none."""
        try:
            value, error = self._of(node)
        except (ArithmeticError, ValueError, TypeError, RecursionError, NotImplementedError) as cause:
            raise Undecided(f"no value: {type(cause).__name__}") from None
        self._bounded(value)
        return value, error

    def _bounded(self, value: Any) -> Any:
        size = abs(value)
        if not size < 1e250:
            raise Undecided("infinite or too large")
        return value

    def _rational(self, value: Fraction) -> Approximate:
        if _bits(value) > 800:
            raise Undecided("a number too large to compute")
        made = self.ctx.mpf(value.numerator) / self.ctx.mpf(value.denominator)
        if value.denominator == 1 and value.numerator.bit_length() < 50:
            return made, 0.0
        return made, float(abs(made)) * self.eps

    def _of(self, node: Node) -> Approximate:
        kind, ctx, eps = node[0], self.ctx, self.eps
        if kind == "num":
            return self._rational(node[1])
        if kind == "sym":
            if node[1] not in self.symbols:
                raise Undecided(f"unknown {node[1]}")
            return self._rational(self.symbols[node[1]])
        if kind == "const":
            if node[1] == "i":
                return ctx.mpc(0, 1), 0.0
            if node[1] in ("pi", "e"):
                made = +ctx.pi if node[1] == "pi" else +ctx.e
                return made, 4 * eps
            raise Undecided(f"no number: {node[1]}")
        if kind == "text" and len(node[1]) <= 5 and node[1].isalpha():
            product: Node = ("num", Fraction(1), 0)
            for letter in node[1]:
                product = ("*", product, ("const" if letter in "ei" else "sym", letter))
            return self._of(product)
        if kind == "neg":
            value, error = self._of(node[1])
            return -value, error
        if kind == "deg":
            value, error = self._of(node[1])
            return value * ctx.pi / 180, error + float(abs(value)) * eps
        if kind in ("+", "-", "*", "/"):
            return self._four(kind, self._of(node[1]), self._of(node[2]))
        if kind == "^":
            return self._power(node)
        if kind == "root":
            return self._root(node)
        if kind == "abs":
            value, error = self._of(node[1])
            return abs(value), error
        if kind == "binom":
            (n, error), (k, error_k) = self._of(node[1]), self._of(node[2])
            if error > 1e-6 or max(abs(n), abs(k)) > 150:
                raise Undecided("a large binomial")
            made = ctx.binomial(n, k)
            return made, float(abs(made)) * (eps * 1000 + 20 * (error + error_k))
        if kind == "!":
            value, error = self._of(node[1])
            if abs(value) > 100:
                raise Undecided("a large factorial")
            made = ctx.gamma(value + 1)
            return made, float(abs(made)) * (eps * 100 + 10 * error)
        if kind == "fun":
            return self._function(node)
        raise Undecided(f"no number: {kind}")

    def _four(self, kind: str, left: Approximate, right: Approximate) -> Approximate:
        (a, ea), (b, eb) = left, right
        eps = self.eps
        if kind in ("+", "-"):
            made = a + b if kind == "+" else a - b
            return self._bounded(made), ea + eb + eps * float(abs(made))
        if kind == "*":
            made = self._bounded(a * b)
            return made, float(abs(a)) * eb + float(abs(b)) * ea + eps * float(abs(made))
        size = float(abs(b))
        if size <= 4 * eb or not size:
            raise Undecided("division by zero")
        made = self._bounded(a / b)
        return made, (ea + float(abs(made)) * eb) / size + eps * float(abs(made))

    def _power(self, node: Node) -> Approximate:
        ctx, eps = self.ctx, self.eps
        base, error = self._of(node[1])
        whole: Exact | None
        try:
            whole = exact(node[2])
        except Undecided:
            whole = None
        size = float(abs(base))
        if isinstance(whole, Fraction) and whole.denominator == 1 and abs(whole) <= 600:
            n = whole.numerator
            if not size or size <= 4 * error:
                if n <= 0:
                    raise Undecided("zero to a power")
                made = base**n
                return made, (size + error) ** n - size**n + eps
            if abs(n) * abs(ctx.log(size)) > 500:
                raise Undecided("a large power")
            made = base**n
            return made, float(abs(made)) * (abs(n) * error / size + abs(n) * eps)
        exponent, error_of = self._of(node[2])
        if not size or size <= 4 * error:
            raise Undecided("zero to a power")
        log = abs(ctx.log(base))
        if float(abs(exponent)) * float(log) > 500:
            raise Undecided("a large power")
        made = ctx.power(base, exponent)
        relative = float(abs(exponent)) * error / size + float(log) * error_of + 10 * eps
        return made, float(abs(made)) * relative

    def _root(self, node: Node) -> Approximate:
        degree = exact(node[1])
        value, error = self._of(node[2])
        if not isinstance(degree, Fraction) or degree.denominator != 1 or not 2 <= degree <= 64:
            raise Undecided("an odd root")
        n = degree.numerator
        size = float(abs(value))
        if size <= 4 * error:
            if error:
                raise Undecided("a root of nothing")
            return value, 0.0
        real = not self.ctx.im(value)
        if n % 2 and real and self.ctx.re(value) < 0:
            made = -self.ctx.root(-self.ctx.re(value), n)
        else:
            made = self.ctx.sqrt(value) if n == 2 else self.ctx.root(value, n)
        return made, float(abs(made)) * (error / size + 4 * self.eps)

    def _function(self, node: Node) -> Approximate:
        ctx, eps, name = self.ctx, self.eps, node[1]
        try:
            return self._rational(_finite(exact(node)))  # floor, gcd and their like
        except Undecided:
            pass
        if name == "det" and node[2][0] == "matrix" and (worked := determinant(node[2][1])) is not None:
            return self._of(worked)
        value, error = self._of(node[2])
        size = float(abs(value))
        if name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            if size > 1e4 or float(abs(ctx.im(value))) > 50:
                raise Undecided("a large angle")
            sine, cosine = ctx.sin(value), ctx.cos(value)
            slip = (error + eps * (1 + size)) * (float(abs(sine)) + float(abs(cosine)))
            top = {"sin": (sine, slip), "cos": (cosine, slip), "tan": (sine, slip), "cot": (cosine, slip)}
            if name in ("sin", "cos"):
                return top[name]
            below = (sine, slip) if name in ("cot", "csc") else (cosine, slip)
            return self._four("/", top.get(name, (ctx.mpf(1), 0.0)), below)
        if name in ("ln", "log"):
            if size <= 4 * error:
                raise Undecided("a logarithm of nothing")
            made = (ctx.log(value), error / size + 4 * eps * (1 + float(abs(ctx.log(size)))))
            return made if node[3] is None else self._four("/", made, self._function(("fun", "ln", node[3], None)))
        if name == "exp":
            if size > 500:
                raise Undecided("a large power")
            made = ctx.exp(value)
            return made, float(abs(made)) * (error + eps * (1 + size))
        if name in ("asin", "acos", "atan", "sinh", "cosh", "tanh"):
            if size > 100 or (name in ("asin", "acos") and abs(size - 1) < 1e-3 and error):
                if abs(size - 1) >= 1e-3 or error > 1e-12:
                    raise Undecided("a steep place")
                error = error**0.5
            made = getattr(ctx, name)(value)
            steep = 1 / max(abs(1 - size * size), 1e-3) ** 0.5 if name in ("asin", "acos") else 1.0
            grow = float(abs(ctx.cosh(value))) if name in ("sinh", "cosh") else 1.0
            return made, error * steep * grow + eps * (4 + float(abs(made)))
        raise Undecided(f"unknown function {name}")


# ---- two expressions ----


def symbols_of(node: Node) -> set[str]:
    """The names that stand free in a tree."""
    if node[0] == "sym":
        return {node[1]}
    if node[0] == "text" and len(node[1]) <= 5 and node[1].isalpha():
        return {letter for letter in node[1] if letter not in "ei"}
    found: set[str] = set()
    for part in node[1:]:
        if isinstance(part, tuple):
            found |= symbols_of(part) if part and isinstance(part[0], str) else set().union(*map(_symbols_in, part))
    return found


def _symbols_in(part: Any) -> set[str]:
    if not isinstance(part, tuple) or not part:
        return set()
    return symbols_of(part) if isinstance(part[0], str) else set().union(*map(_symbols_in, part))


def points(names: set[str]) -> list[dict[str, Fraction]]:
    """Values for the symbols, always the same: three positive sets of them, then four of either sign."""
    made: list[dict[str, Fraction]] = []
    for round_ in range(7):
        values = {}
        for name in names:
            chance = zlib.crc32(f"{round_}:{name}".encode())
            value = Fraction(chance % 9973 + 2503, 4099)  # 0.6 to 3
            values[name] = -value if round_ >= 3 and (chance >> 16) % 2 else value
        made.append(values)
    return made


def near(one: Approximate, other: Approximate) -> bool:
    """Whether two values may be the same, as far as their errors let one see."""
    (a, ea), (b, eb) = one, other
    return bool(abs(a - b) <= 8 * (ea + eb))


def same_value(one: Node, other: Node) -> bool | None:
    """Whether two expressions are equal: exactly where rational, else at points, to DIGITS digits.

    True needs agreement to sixty digits; False a difference that no rounding explains; None is neither.
    """
    try:
        a, b = exact(one), exact(other)
        if isinstance(a, Huge) or isinstance(b, Huge):
            if isinstance(a, Huge) and isinstance(b, Huge):
                return True if one == other else None
            small = b if isinstance(a, Huge) else a
            return False if isinstance(small, Fraction) and _bits(small) < MAX_BITS // 2 else None
        return a == b
    except (Undecided, RecursionError):
        pass
    if _is_undefined(one) != _is_undefined(other):
        return False
    if _is_huge(one) or _is_huge(other):
        return _huge_and_other(other if _is_huge(one) else one)
    try:
        names = symbols_of(one) | symbols_of(other)
    except RecursionError:
        return None
    if len(names) > 12:
        return None
    agreed = seen = 0
    complex_only: list[bool] = []
    fast, precise = contexts()
    for values in points(names) if names else [{}]:
        try:
            left, right = Numeric(fast, values, False).of(one), Numeric(fast, values, False).of(other)
            if near(left, right):
                left, right = Numeric(precise, values, True).of(one), Numeric(precise, values, True).of(other)
        except Undecided:
            continue
        seen += 1
        equal = near(left, right)
        if equal and not _sharp(left, right):
            continue
        if _real(left) and _real(right) or "i" in _constants(one) | _constants(other):
            if not equal:
                return False if _real_everywhere(one, other, names) else None
            agreed += 1
        elif _real(left) != _real(right) and not names:
            return False
        else:
            complex_only.append(equal)
    if agreed >= min(2, len(names) * 2 or 1):
        return True
    if not agreed and complex_only and len(complex_only) >= (2 if names else 1):
        return all(complex_only) if all(complex_only) or not names else None
    return None


def _is_undefined(node: Node) -> bool:
    try:
        exact(node)
    except Undefined:
        return True
    except (Undecided, RecursionError):
        pass
    return False


def _is_huge(node: Node) -> bool:
    try:
        return isinstance(exact(node), Huge)
    except (Undecided, RecursionError):
        return False


def _huge_and_other(other: Node) -> bool | None:
    """What can be computed is not huge."""
    try:
        Numeric(contexts()[0], {}, False).of(other)
    except Undecided:
        return None
    return False


def proportional(one: Node, other: Node) -> int | None:
    """The sign of c where `one` = c * `other` everywhere, 0 where there is no such c, None where that is unknown."""
    names = symbols_of(one) | symbols_of(other)
    if not names or len(names) > 12:
        return None
    first: tuple[Approximate, Approximate] | None = None
    agreed, sign, precise = 0, 0, contexts()[1]
    for values in points(names):
        numeric = Numeric(precise, values, True)
        try:
            here = numeric.of(one), numeric.of(other)
            if first is None:
                if abs(here[1][0]) <= 8 * here[1][1] or abs(here[0][0]) <= 8 * here[0][1]:
                    continue
                first, sign = here, 1 if precise.re(here[0][0] / here[1][0]) > 0 else -1
                continue
            left, right = numeric._four("*", here[0], first[1]), numeric._four("*", here[1], first[0])
        except Undecided:
            continue
        if not near(left, right):
            return 0
        agreed += 1
    return sign if agreed >= 3 else None


def _sharp(left: Approximate, right: Approximate) -> bool:
    """Whether the errors are so small that agreement means something."""
    size = float(max(abs(left[0]), abs(right[0])))
    return left[1] + right[1] <= max(size * 1e-30, 1e-40 if size < 1e-30 else 0.0)


def _real(value: Approximate) -> bool:
    imaginary = getattr(value[0], "imag", 0)
    return bool(abs(imaginary) <= 8 * value[1] + 1e-300)


def _constants(node: Node) -> set[str]:
    if node[0] == "const":
        return {node[1]}
    found: set[str] = set()
    for part in node[1:]:
        if isinstance(part, tuple) and part and isinstance(part[0], str):
            found |= _constants(part)
    return found


def _real_everywhere(one: Node, other: Node, names: set[str]) -> bool:
    """False where the symbols may be meant as whole numbers and those alone would tell: `(-1)^n`, `n!`."""
    if not names or not names <= set("nmkjNMKl"):
        return True
    return not (_needs_whole(one) or _needs_whole(other))


def _needs_whole(node: Node) -> bool:
    if node[0] in ("!", "binom", "fun"):
        return True
    if node[0] == "^" and node[1][0] in ("neg", "num") and symbols_of(node[2]):
        return node[1][0] == "neg" or node[1][1] < 0
    return any(_needs_whole(p) for p in node[1:] if isinstance(p, tuple) and p and isinstance(p[0], str))
