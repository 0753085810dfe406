"""One exception for a user's mistake: a line that names what is wrong and the remedy."""

from __future__ import annotations


class PonderError(Exception):
    """Something that the user can mend. The command line prints its message, without a traceback, and exits with 2."""
