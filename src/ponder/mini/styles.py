"""Which method a completion of the miniature world uses, and how often each method is right.

Reinforcement learning amplifies the style that is most often right in the base, whatever we hope for; so this is
measured and printed before any training: checking and searching grow only where P(right | style) is well above a single
pass's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ponder.mini.phrases import PHRASES
from ponder.tasks import SEARCH_LIKE

STYLES = ("direct", "one pass", "check or search")
_TRIED = tuple(f" {PHRASES[lang][word]}" for lang in PHRASES for word in ("yes", "no"))
_CHECKED = tuple(PHRASES[lang]["check"] for lang in PHRASES)


def style_of(text: str) -> str:
    """`check or search`: a check, or a try with its verdict, line by line; `one pass`: other sums or
    comparisons; else `direct` (requests are written out without either, so they have no `one pass`)."""
    lines = [line.rstrip() for line in text.splitlines()]
    if any(line.endswith(_TRIED) or check in line for line in lines for check in _CHECKED):
        return "check or search"
    steps = [line for line in lines if "=" in line or " > " in line]
    return "one pass" if steps else "direct"


@dataclass(frozen=True)
class StyleRow:
    """share: of the kind's samples. right: share of right answers, read leniently. tokens: mean length."""

    task: str
    style: str
    n: int
    share: float
    right: float
    tokens: float


def style_table(rows: Iterable[Mapping[str, Any]]) -> list[StyleRow]:
    """One row for each kind and style found in evaluation rows (`output`, `task`, `correct_lenient`, `tokens`)."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    sizes: dict[str, int] = {}
    for row in rows:
        if row["correct_lenient"] is None:  # unknown is neither right nor wrong
            continue
        groups.setdefault((row["task"], style_of(row["output"])), []).append(row)
        sizes[row["task"]] = sizes.get(row["task"], 0) + 1
    table = []
    for (task, style), members in groups.items():
        n = len(members)
        right = sum(bool(m["correct_lenient"]) for m in members) / n
        table.append(StyleRow(task, style, n, n / sizes[task], right, sum(m["tokens"] for m in members) / n))
    return sorted(table, key=lambda row: (row.task, STYLES.index(row.style)))


def pays(table: Iterable[StyleRow], factor: float = 1.6, least: int = 20) -> list[str]:
    """The search-like kinds where checking or searching is right at least `factor` times as often as one pass."""
    by_kind: dict[str, dict[str, StyleRow]] = {}
    for row in table:
        by_kind.setdefault(row.task, {})[row.style] = row
    found = []
    for kind in SEARCH_LIKE:
        one, many = (by_kind.get(kind, {}).get(style) for style in ("one pass", "check or search"))
        if one and many and min(one.n, many.n) >= least and many.right >= factor * one.right:
            found.append(kind)
    return found
