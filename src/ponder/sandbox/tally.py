"""What running the tests of one kind gave, before it becomes a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.sandbox.limits import Outcome

MAX_LOST = 3
"""So many tests may end by a limit or a crash and be followed by a new child; after that the rest counts as failed."""

FATAL = {"ok": "crash", "killed": "crash", "raised": "crash"}
"""A child that ends in the middle of a conversation has crashed, however politely it went."""


@dataclass(frozen=True)
class Tally:
    """passed of total tests; status says why the first one failed ("ok" where none did); note is for people."""

    passed: int
    total: int
    status: str
    note: str = ""


def ended(outcome: Outcome, total: int, passed: int = 0, where: str = "") -> Tally:
    """The tally of a child that ended before it answered."""
    status = FATAL.get(outcome.status, outcome.status)
    note = outcome.note or {"crash": f"ended (exit code {outcome.exit_code}) before it answered"}.get(status, "")
    return Tally(passed, total, status, f"{where}: {note}" if where and note else where or note)
