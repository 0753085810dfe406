"""Whether two answers say the same: element by element, by exact and high-precision values. Runs in the worker only.

A "right" needs exact equality, or agreement to 45 digits at points chosen by hash; where a decimal was written, to a
relative 1e-12. Math-Verify is asked where our own reader gives up, and a yes of its is checked in the same way.
"""

from __future__ import annotations

import logging
import re

from ponder.verify.symbolic_expression import ReadError, closing, starts_factor
from ponder.verify.symbolic_nodes import from_sympy, same_node
from ponder.verify.symbolic_read import read, strip_units, units_of
from ponder.verify.symbolic_text import OPEN, tokens

Answer = tuple[bool | None, str]


def prepare() -> None:
    """Imports and warms what the first request would wait for."""
    logging.disable(logging.CRITICAL)
    compare("\\frac{x^2-1}{x+1}", "x-1")
    compare("\\int_0^1 x dx", "\\frac12")  # Math-Verify's reader builds its tables on first use


def compare(pred: str, gold: str) -> Answer:
    """Right, wrong or unknown, and why. Symmetric but for what is unknown."""
    left, right = tokens(pred), tokens(gold)
    if left == right:
        return True, "the same symbols"
    if _word(left) != _word(right) and _letters(left) and _letters(left) == _letters(right):
        return True, "the same word"
    based = _based(left, right)
    if based is not None:
        return based
    try:
        first = _pair(left, right, False)
        if _loose(left) or _loose(right):
            second = _pair(left, right, True)
            if first[0] != second[0]:
                return None, "a fraction that can be read in two ways"
        return first
    except ReadError as error:
        return _second_opinion(pred, gold, left, right, str(error))


def _pair(left: list[str], right: list[str], tight: bool) -> Answer:
    a, b = read(left, tight), read(right, tight)
    if _anagram(left, right):
        return None, "the same letters in another order"
    units = sorted(units_of(a)), sorted(units_of(b))
    same = same_node(strip_units(a), strip_units(b))
    if same and units[0] and units[1] and units[0] != units[1]:
        short = all(len(unit) <= 4 for unit in units[0] + units[1])
        return (False if short else None), f"units differ: {', '.join(units[0])} and {', '.join(units[1])}"
    return same, "" if same is not None else "could not be decided"


def _word(parts: list[str]) -> bool:
    return len(parts) == 1 and parts[0].startswith('"')


def _letters(parts: list[str]) -> str:
    """The word that `odd` and `\\text{odd}` both are; nothing for anything else."""
    if len(parts) == 1 and parts[0].startswith('"'):
        return parts[0][1:]
    return "".join(parts).lower() if len(parts) > 1 and all(len(part) == 1 and part.isalpha() for part in parts) else ""


def _anagram(left: list[str], right: list[str]) -> bool:
    """`no` and `on`: letters only, more than one, the same ones."""
    plain = all(len(part) == 1 and part.isalpha() for part in left + right)
    return plain and len(left) > 1 and left != right and sorted(left) == sorted(right)


def _loose(parts: list[str]) -> bool:
    """Whether a `/` is followed by factors side by side: `1/2x`, `1/2(x+1)`, `a/(b)c`."""
    for at, part in enumerate(parts):
        if part not in ("/", "\\div"):
            continue
        after = at + 2
        if parts[at + 1 : at + 2] and parts[at + 1] in OPEN:
            after = closing(parts, at + 1) + 1
        if parts[after : after + 1] == ["^"]:
            after = (
                closing(parts, after + 1) + 1
                if parts[after + 1 : after + 2] and parts[after + 1] in OPEN
                else after + 2
            )
        if parts[at + 1 : at + 2] and parts[at + 1].startswith("\\") and parts[at + 1] not in ("\\pi", "\\{"):
            return True  # a root or a function: where it ends is for the reader to say
        if after and parts[after : after + 1] and starts_factor(parts[after]):
            return True
    return False


def _based(left: list[str], right: list[str]) -> Answer | None:
    """`204_5`: digits in a base are compared with digits in a base, and with nothing else."""
    a, b = _digits(left), _digits(right)
    if a is None and b is None:
        return None
    if a is not None and b is not None:
        return (a == b), "digits in a base"
    plain = "".join(left if a is None else right)
    number = a or b
    assert number is not None
    if plain.isdigit():
        value = int(number[0], number[1]) if all(int(one) < number[1] for one in number[0]) else -1
        if plain.lstrip("0") == number[0].lstrip("0") or int(plain) == value:
            return None, "a base on one side only"
    return False, "a base on one side only"


def _digits(parts: list[str]) -> tuple[str, int] | None:
    text = "".join(parts).strip("()")
    found = re.fullmatch(r"\(?(\d{1,60})\)?_\{?\(?(\d{1,2})\)?\}?", text, re.ASCII)
    return (found[1], int(found[2])) if found and 2 <= int(found[2]) <= 10 else None


def _second_opinion(pred: str, gold: str, left: list[str], right: list[str], why: str) -> Answer:
    """What Math-Verify says of answers that our reader does not know; a yes counts if it can be checked."""
    if "\\dots" in left or "\\dots" in right:
        return False, "dots stand for what is not said"
    if re.search(r"\d\s*\(|\d\s+\d|\d\s*_\{?\d", pred + " \n" + gold):
        return None, f"not read: {why}"  # it reads 2(3) as 5
    asked = [part for part in left + right if part.startswith("\\")]
    measure = all(
        "d" in side for side in (left, right) if "\\int" in side
    )  # \int without dx: it takes some time over it
    if not any(part in _BIG for part in asked) or any(part not in _TRUSTED for part in asked) or not measure:
        return (None if _reads(left) else False) if _reads(right) else None, f"not read: {why}"
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
    from math_verify.grader import verify

    normal = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    config = ConversionConfig(lowercase_symbols=False)
    objects = []
    for text in (pred, gold):
        try:
            objects.append(
                latex2sympy(normalize_latex(text, normal), normalization_config=None, conversion_config=config)
            )
        except Exception:  # whatever it cannot read
            objects.append(None)
    if objects[0] is None or objects[1] is None:
        return (False if objects[1] is not None else None), f"not read: {why}"
    one, two = objects
    if str(one) == str(two) and one == two:
        return True, "Math-Verify reads them as one"
    says = verify(two, one, float_rounding=12, numeric_precision=40, timeout_seconds=None, raise_on_error=False)
    if not says:
        return False, "by Math-Verify"
    nodes = from_sympy(one), from_sympy(two)
    if nodes[0] is not None and nodes[1] is not None and same_node(nodes[0], nodes[1]) is True:
        return True, "by Math-Verify, checked"
    return None, "Math-Verify's yes could not be checked"


def _reads(parts: list[str]) -> bool:
    try:
        read(parts)
    except ReadError:
        return False
    return True


# It passes over commands that it does not know, so it is asked only about these
_BIG = {"\\int", "\\sum", "\\prod", "\\lim", "\\cap", "\\begin{matrix}"}
_TRUSTED = _BIG | {
    "\\to", "\\infty", "\\frac", "\\sqrt", "\\pi", "\\cdot", "\\times", "\\sin", "\\cos", "\\tan", "\\ln",
    "\\exp", "\\{", "\\}", "\\end{matrix}", "\\\\", "\\cup", "\\theta", "\\le", "\\ge", "\\in", "\\alpha",
    "\\mathbbR",
}  # fmt: skip
