"""The same question before and after, side by side; and what moved from wrong to right, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ponder.report.html import card, chip, esc, section
from ponder.report.records import AFTER, BEFORE, Records, Result
from ponder.report.traces import legend, trace

Row = Mapping[str, Any]

A_TASK = 2
"""Improved examples a task; besides, every task shows one that the trained model gets wrong."""

OPEN = 4

MOVES = {
    (False, True): ("wrong → right", "--c:var(--good)"),
    (True, True): ("right in both", "--c:color-mix(in srgb, var(--good) 45%, var(--line))"),
    (False, False): ("wrong in both", "--c:var(--faint)"),
    (True, False): ("right → wrong", "--c:var(--bad)"),
}


def examples(records: Records) -> str:
    """The section; says so where there are not two evaluations with rows of the same problems."""
    title = "The same question, before and after"
    for mode in ("greedy", "sampled"):
        before, after = records.result(BEFORE, mode), records.result(AFTER, mode)
        if before and after and before.rows and after.rows:
            pairs = _pairs(before, after)
            if pairs:
                lead = (
                    f"First the answers that came right, then one of each task that is still wrong, from the {mode} "
                    "evaluation in its own order. Marked passages are behaviours, found by fixed phrases."
                )
                return section("examples", title, _moves(pairs) + legend() + _cases(pairs), lead)
    return section("examples", title, "<p>There are no two evaluations, before and after, of the same problems.</p>")


def _pairs(before: Result, after: Result) -> list[tuple[Row, Row]]:
    """The first sample of each problem that both have."""
    first: dict[str, Row] = {}
    for row in before.rows:
        first.setdefault(row["id"], row)
    pairs, seen = [], set()
    for row in after.rows:
        if row["id"] in first and row["id"] not in seen:
            seen.add(row["id"])
            pairs.append((first[row["id"]], row))
    return pairs


def _moves(pairs: list[tuple[Row, Row]]) -> str:
    """How many went which way, as one bar."""
    counts = Counter((bool(a.get("correct")), bool(b.get("correct"))) for a, b in pairs)
    bar = "".join(f'<span style="{MOVES[m][1]};flex:{counts[m]}"></span>' for m in MOVES if counts[m])
    named = "".join(
        f'<span><span class="key dot" style="{style}"></span>{esc(name)}: {counts[move]}</span>'
        for move, (name, style) in MOVES.items()
    )
    return card(f'<div class="bar">{bar}</div><div class="legend">{named}</div>')


def _cases(pairs: list[tuple[Row, Row]]) -> str:
    tasks: dict[str, list[tuple[Row, Row]]] = {}
    for pair in pairs:
        tasks.setdefault(str(pair[1].get("task", "")), []).append(pair)
    improved, still = [], []
    for members in tasks.values():
        improved.append([p for p in members if not p[0].get("correct") and p[1].get("correct")][:A_TASK])
        still += [p for p in members if p[1].get("correct") is False][:1]
    rounds = [column[i] for i in range(A_TASK) for column in improved if i < len(column)]  # every task before a second
    cases = [_case(*pair) for pair in rounds + still]
    more = "".join(cases[OPEN:])
    rest = f"<details><summary>{len(cases) - OPEN} more</summary>{more}</details>" if more else ""
    return "".join(cases[:OPEN]) + rest


def _case(before: Row, after: Row) -> str:
    gold = f"<span>gold answer: <b>{esc(after.get('gold', ''))}</b></span>"
    head = f'<div class="meta"><span>{esc(after.get("task", ""))}</span>{gold}</div>'
    question = f'<div class="question">{esc(after.get("question", ""))}</div>'
    sides = _side("Before", "k-base", before) + _side("After", "k-trained", after)
    return f'<div class="card case">{question}{head}<div class="pair">{sides}</div></div>'


def _side(title: str, kind: str, row: Row) -> str:
    notes = [f"{row.get('tokens', '?')} tokens"]
    if row.get("finish") == "length":
        notes.append("cut off")
    if row.get("fault"):
        notes.append(str(row["fault"]))
    meta = "".join(f"<span>{esc(note)}</span>" for note in notes)
    return (
        f'<div class="answer"><div class="meta"><b><span class="key {kind}"></span>{title}</b>{verdict_chip(row)}'
        f"{meta}</div>"
        f"{trace(str(row.get('output', '')))}</div>"
    )


def verdict_chip(row: Row) -> str:
    """Right, wrong, unknown; and right in the wrong form, which strict reading counts as wrong."""
    if row.get("correct") is None:
        return chip("unknown", "odd")
    if row["correct"]:
        return chip("right", "good")
    if row.get("correct_lenient"):
        return chip("right, but not in form", "odd")
    return chip("wrong", "bad")
