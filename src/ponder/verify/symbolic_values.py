"""Whether two expressions have the same value: exactly, or to many digits at several points. Worker only."""

from __future__ import annotations

import random
from typing import Any

import sympy

from ponder.verify.symbolic_expression import DEGREE, PERCENT

DIGITS = 60
SAME, OTHER = sympy.Float("1e-45", 5), sympy.Float("1e-25", 5)
DECIMAL = sympy.Float("1e-12", 5)
POINTS = 5


def same_value(a: Any, b: Any, decimal: bool) -> bool | None:
    """Whether two expressions have the same value, or, with unknowns, the same at every point tried."""
    if a.has(PERCENT) != b.has(PERCENT):
        whole = same_value(a.subs(PERCENT, 1), b.subs(PERCENT, 1), decimal)
        hundredth = same_value(
            a.subs(PERCENT, sympy.Rational(1, 100)), b.subs(PERCENT, sympy.Rational(1, 100)), decimal
        )
        return None if whole is not False or hundredth is not False else False
    a, b = (value.subs({PERCENT: 1, DEGREE: 1}) if value.has(PERCENT, DEGREE) else value for value in (a, b))
    a, b = _plain(a), _plain(b)
    if a == b:
        return True
    if a.has(sympy.oo, sympy.zoo, sympy.nan) or b.has(sympy.oo, sympy.zoo, sympy.nan):
        return False
    if a.is_Rational and b.is_Rational and not decimal:
        return False
    if a.is_Symbol or b.is_Symbol:
        return False if a.is_Symbol and b.is_Symbol else _everywhere(a, b, decimal)
    return _everywhere(a, b, decimal)


def _plain(value: Any) -> Any:
    """Functions that are not known, as unknowns."""
    unknown = value.atoms(sympy.core.function.AppliedUndef)
    if unknown:
        value = value.xreplace({one: sympy.Symbol(f"{one}") for one in unknown})
    if value.has(sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.UnevaluatedExpr):
        value = value.doit()
    return value


def _everywhere(a: Any, b: Any, decimal: bool) -> bool | None:
    symbols = a.free_symbols | b.free_symbols
    if not symbols:
        return _near(number_at(a, {}), number_at(b, {}), decimal, a, b)
    if len(symbols) > 20:
        return None
    agreed = tried = 0
    complex_ = a.has(sympy.I) or b.has(sympy.I)
    for point in points(symbols):
        one, two = number_at(a, point), number_at(b, point)
        if one is None or two is None or (not complex_ and not (one.is_real and two.is_real)):
            continue  # outside of where both are real
        tried += 1
        near = _near(one, two, decimal, a, b)
        if near is False:
            return False
        agreed += near is True
    return True if agreed >= 3 and agreed == tried else None


def points(symbols: Any) -> list[dict[Any, Any]]:
    """Points whose coordinates are fractions: the same for the same names, so that a verdict does not vary."""
    names = sorted(symbols, key=str)
    found = []
    for at in range(POINTS * 2):
        chance = random.Random(f"{at} {names}")
        low, high = ((3, 40) if at < POINTS else (-40, -3)) if at % 2 == 0 or at < POINTS else (-40, 40)
        found.append({name: sympy.Rational(chance.randint(low * 97, high * 97) * 2 + 1, 1999) for name in names})
    return found


def number_at(value: Any, point: dict[Any, Any], digits: int = DIGITS) -> Any:
    """The value at a point, to `digits` digits; an exact zero where it vanishes; None where it has none."""
    at = value.subs(point) if point else value
    if at.is_Rational:
        return at
    got = at.evalf(digits, maxn=1500)
    real, imaginary = (_clean(part) for part in got.as_real_imag())
    if real is None or imaginary is None:
        return None
    if imaginary and abs(imaginary) < abs(real) * SAME:
        imaginary = sympy.S.Zero
    if real and abs(real) < abs(imaginary) * SAME:
        real = sympy.S.Zero
    return real + imaginary * sympy.I if imaginary else real


def _clean(part: Any) -> Any:
    if part.is_Float:
        return sympy.S.Zero if part._prec <= 1 else part if part.is_finite else None
    return part if part.is_Rational else None


def _near(one: Any, two: Any, decimal: bool, a: Any, b: Any) -> bool | None:
    if one is None or two is None:
        return None
    size = max(abs(one), abs(two))
    if not size:
        return True
    apart = abs(one - two) / size
    if decimal:
        return bool(apart <= DECIMAL)
    if apart >= OTHER:
        return False
    return True if apart < SAME else None
