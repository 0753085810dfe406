"""One exception for a user's mistake: a line that names what is wrong and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PonderError(Exception):
    """Something that the user can mend. The command line prints its message, without a traceback, and exits with 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?` for the nearest known name, or "" where none is near: the end of an error's line."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
