"""Numbers as people write them, compared exactly."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3}){1,10}|\d{1,40})(?:\.\d{1,40})?(?:/\d{1,40})?", re.ASCII)


def read_number(text: str) -> Fraction | None:
    """`27`, `-3.50` (also with the sign −), `1,000`, `3/4`, `$5` as an exact fraction; None for anything else.

    Numbers have ASCII digits, and 120 characters at most, so a hostile string costs nothing.
    """
    bare = text.strip().strip("$").rstrip(".").strip().replace("−", "-")
    if len(bare) > 120 or not _NUMBER.fullmatch(bare):
        return None
    try:
        return Fraction(bare.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return None


def same_number(text: str, gold: str) -> bool:
    """Whether both are numbers, and the same one."""
    value = read_number(text)
    return value is not None and value == read_number(gold)
