"""The stages of a pipeline: its table, what was published beside it, the same question after every stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.core.seeds import random_of
from ponder.report.charts import Series, lines
from ponder.report.html import card, chip, esc, estimate, number, section, signed, table
from ponder.report.records import Records, Result

CHIPS = {"agrees": "good", "does not agree": "bad", "not shown": "odd"}
QUESTIONS = 6
LONGEST = 1200
"""Characters of an answer that are shown."""


def stage_table(folder: Path, unread: list[str]) -> Mapping[str, Any] | None:
    """The `table.json` of a run, or None where it has none."""
    for file in sorted(folder.glob("*/table.json")):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            unread.append(f"{file} could not be read ({error})")
            continue
        if isinstance(found, dict) and "columns" in found and "rows" in found:
            return found
    return None


def stages(told: Mapping[str, Any]) -> str:
    """The table with intervals, the expected shapes and what became of each, a chart over the stages."""
    body = card(_table(told))
    kinds = [column for column in told["columns"] if column["key"].startswith("kind/")]
    if kinds:
        body += f"<details><summary>Reasoning by kind</summary>{card(_table(told, kinds))}</details>"
    body += _chart(told)
    body += "".join(card(_curve(curve)) for curve in told.get("curves", ()))
    for note in told.get("notes", ()):
        body += f'<p class="hint">{esc(note)}</p>'
    if told.get("checks"):
        body += "<h3>What the paper reports, and what shows here</h3>" + _checks(told["checks"])
    if told.get("published"):
        body += f"<h3>{esc(told['published']['title'])}</h3>" + card(_published(told["published"]))
    lead = (
        "Every model on the same held-out problems, sampled alike. Intervals are 95%; the unit is the problem, all its "
        "samples and wordings together. Bold: the best of its column."
    )
    return section("stages", str(told.get("title", "Stages")).capitalize(), body, lead)


def _table(told: Mapping[str, Any], columns: Sequence[Mapping[str, Any]] | None = None) -> str:
    shown = columns or [column for column in told["columns"] if not column["key"].startswith("kind/")]
    best = {column["key"]: _best(told["rows"], column) for column in shown}
    rows = []
    for row in told["rows"]:
        cells = [esc(row["name"])]
        for column in shown:
            cell = row["cells"].get(column["key"])
            value = None if cell is None else cell.get("value")
            strong = value is not None and value == best[column["key"]]
            if not column["percent"] and value is not None and abs(value) >= 10_000:
                cells.append(f"{value / 1000:,.0f} k")
            else:
                cells.append(estimate(cell, percent=column["percent"], strong=strong))
        rows.append(cells)
    return table(["", *(esc(column["title"]) for column in shown)], rows)


def _best(rows: Sequence[Mapping[str, Any]], column: Mapping[str, Any]) -> float | None:
    values = [
        cell["value"] for row in rows if (cell := row["cells"].get(column["key"])) and cell.get("value") is not None
    ]
    if not values or not column["better"]:
        return None
    return max(values) if column["better"] == "high" else min(values)


def _chart(told: Mapping[str, Any]) -> str:
    shown = [c for c in told["columns"] if c["percent"] and not c["key"].startswith("kind/") and c["key"] != "together"]
    names = [row["name"] for row in told["rows"]]
    drawn = [
        Series(
            column["title"],
            tuple((float(at), (row["cells"].get(column["key"]) or {}).get("value"))
                  for at, row in enumerate(told["rows"], 1)),
            f"s{number_ % 8 + 1}", dots=True,
        )
        for number_, column in enumerate(shown)
    ]  # fmt: skip
    chart = lines("Over the stages", drawn, percent=True, ceiling=1.0)
    listed = ", ".join(f"{at} {esc(name)}" for at, name in enumerate(names, 1))
    return card(chart) + f'<p class="hint">Stages: {listed}.</p>' if chart else ""


def _curve(told: Mapping[str, Any]) -> str:
    drawn = [
        Series(one["name"], tuple((float(x), y) for x, y in one["points"]), f"s{at % 8 + 1}", dots=True)
        for at, one in enumerate(told["series"])
    ]
    best = "" if told.get("best") is None else f'<p class="hint">{esc(told["x"])}: {esc(told["best"])} was taken.</p>'
    return lines(str(told["title"]), drawn, percent=True) + best


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    items = ""
    for check in checks:
        gap = check["difference"]
        points = ""
        if gap.get("value") is not None:
            points = f" <b>{signed(100 * gap['value'])} points</b>"
            if gap.get("low") is not None:
                points += f" ({signed(100 * gap['low'])} to {signed(100 * gap['high'])})"
        items += f"<li>{chip(check['verdict'], CHIPS.get(check['verdict'], ''))} {esc(check['told'])}:{points}</li>"
    return f'<ul class="verdicts">{items}</ul>'


def _published(told: Mapping[str, Any]) -> str:
    rows = [[esc(name), *(number(value, digits=1) for value in values)] for name, values in told["rows"].items()]
    return table(["", *map(esc, told["columns"])], rows)


def same_questions(records: Records, told: Mapping[str, Any]) -> str:
    """A few questions with each model's first answer; those first whose verdict changes between the stages."""
    models = dict(told.get("models") or {})
    results = [result for result in records.results if result.rows and (not models or result.name in models)]
    if len(results) < 2:
        return ""
    results.sort(key=lambda result: list(models).index(result.name) if models else 0)
    answers: dict[str, dict[str, Mapping[str, Any]]] = {}
    for result in results:
        for row in result.rows:
            if row["sample"] == 0:
                answers.setdefault(row["id"], {})[result.name] = row
    whole = [rows for rows in answers.values() if len(rows) == len(results)]
    random_of("report", "questions").shuffle(whole)
    whole.sort(key=lambda rows: -len({row["correct"] for row in rows.values()}))
    picked: list[dict[str, Mapping[str, Any]]] = []
    for rows in whole:  # a kind once
        task = next(iter(rows.values()))["task"]
        if task not in {next(iter(one.values()))["task"] for one in picked}:
            picked.append(rows)
        if len(picked) == QUESTIONS:
            break
    body = "".join(_question(rows, results, models) for rows in picked)
    return section("questions", "The same question after every stage", body) if body else ""


def _question(
    rows: Mapping[str, Mapping[str, Any]], results: Sequence[Result], models: Mapping[str, str]
) -> str:  # fmt: skip
    first = next(iter(rows.values()))
    parts = ""
    for result in results:
        row = rows[result.name]
        verdict = {True: chip("right", "good"), False: chip("wrong", "bad"), None: chip("unknown", "odd")}
        text = str(row["output"])
        text = text if len(text) <= LONGEST else text[:LONGEST] + " …"
        name = models.get(result.name, result.name)
        parts += (
            f'<div class="answer"><div class="meta"><b>{esc(name)}</b> {verdict[row["correct"]]} '
            f'{esc(row["tokens"])} tokens</div><pre class="trace">{esc(text)}</pre></div>'
        )
    head = f'<div class="meta">{esc(first["task"])}, answer {esc(first["gold"])}</div>'
    asked = f'<div class="question">{esc(first["question"])}</div>'
    return f'<div class="case">{head}{asked}<div class="grid">{parts}</div></div>'
