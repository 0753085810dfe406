"""How the miniature world's questions are answered before and after: directly, in one pass, by checking or searching.

Reinforcement learning amplifies what is most often right in the base; here one sees whether it paid there, and grew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ponder.mini.styles import STYLES, StyleRow, style_table
from ponder.report.html import NONE, card, esc, number, section, table
from ponder.report.records import AFTER, BEFORE, Records, Result

Found = Mapping[tuple[str, str], StyleRow]

ONE, MANY = "one pass", "check or search"


def ways(records: Records) -> str:
    """The section; "" where the base's styles were not recorded, as for questions from elsewhere."""
    before = records.result(BEFORE, "sampled")
    if not records.styles or before is None or not before.rows:
        return ""
    after = records.result(AFTER, "sampled")
    found = [_table(before), _table(after) if after else {}]
    tasks = [task for task in records.tasks if any((task, style) in found[0] for style in STYLES)]
    if not tasks:
        return ""
    lead = (
        "How the answers are reached, over the sampled evaluations, read leniently. Training makes the way grow that "
        "is most often right in the base: checking and searching grow where they beat a single pass there."
    )
    whole = f"<details><summary>Every way, with its share and length</summary>{card(_whole(tasks, found))}</details>"
    return section("ways", "What pays", card(_short(tasks, found)) + whole, lead)


def _short(tasks: Sequence[str], found: Sequence[Found]) -> str:
    """One row a task: a single pass against checking or searching, and how the latter's share moved."""
    rows = []
    for task in tasks:
        one, many, later = (found[at].get((task, style)) for at, style in ((0, ONE), (0, MANY), (1, MANY)))
        times = f"{many.right / one.right:.1f}×" if one and many and one.right else "–"
        rows.append([esc(task), _right(one), _right(many), times, _share(many), _share(later)])
    head = ["Task", "Base: right by one pass", "Base: right by check or search", "Ratio",
            "Share that checks or searches: base", "trained"]  # fmt: skip
    return table(head, rows)


def _right(row: StyleRow | None) -> str:
    return NONE if row is None else f'<td>{number(row.right, True, 0)}<span class="ci">of {row.n}</span></td>'


def _share(row: StyleRow | None) -> str:
    return NONE if row is None else number(row.share, True, 0)


def _whole(tasks: Sequence[str], found: Sequence[Found]) -> str:
    rows = []
    for task in tasks:
        for style in STYLES:
            sides = [side.get((task, style)) for side in found]
            if any(sides):
                cells = [cell for side in sides for cell in _cells(side)]
                rows.append([esc(task), f'<td class="text">{esc(style)}</td>', *cells])
    text = '<th class="text">Way</th>'
    return table(["Task", text, "Base: share", "right", "tokens", "Trained: share", "right", "tokens"], rows)


def _table(result: Result) -> Found:
    used: list[Mapping[str, Any]] = [row for row in result.rows if row.get("correct_lenient") is not None]
    return {(row.task, row.style): row for row in style_table(used)}


def _cells(row: StyleRow | None) -> list[str]:
    if row is None:
        return [NONE] * 3
    return [
        number(row.share, percent=True, digits=0),
        number(row.right, percent=True, digits=0),
        number(row.tokens, digits=0),
    ]
