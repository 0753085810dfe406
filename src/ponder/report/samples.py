"""A page of a step's completions, worst first: groups by their mean reward, and each group's answers by theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl, write_atomic
from ponder.report.examples import verdict_chip
from ponder.report.html import chip, esc, number, page, section
from ponder.report.records import Stage
from ponder.report.traces import legend, trace

Row = Mapping[str, Any]


def write_sample_pages(stage: Stage, folder: Path, back: str) -> dict[int, Path]:
    """Write `folder/step-000010.html` for every recorded step; returns step -> page. back: the link to the report.

    A file that cannot be read has no page.
    """
    pages = {}
    steps = sorted(stage.samples)
    for at, step in enumerate(steps):
        try:
            rows = read_jsonl(stage.samples[step], growing=True)
        except PonderError:
            continue
        links = [(back, "Report")]
        links += [(f"step-{steps[at - 1]:06d}.html", "← earlier")] if at else []
        links += [(f"step-{steps[at + 1]:06d}.html", "later →")] if at + 1 < len(steps) else []
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{step:06d}.html"
        write_atomic(path, samples_page(step, rows, links))
        pages[step] = path
    return pages


def samples_page(step: int, rows: Sequence[Row], links: Sequence[tuple[str, str]]) -> str:
    """The page of one step's rows, as training writes them (`ponder.training.journal.write_samples`)."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.get("problem_id", row.get("id", ""))), []).append(row)
    ordered = sorted(groups.values(), key=lambda group: (_unknown(group) == 0, _mean(group)))
    right = sum(row.get("correct") is True for row in rows)
    lead = (
        f'<p class="lead">{len(rows)} answers to {len(groups)} questions, {right} right. Worst first: answers without '
        "a verdict, then by mean reward.</p>"
    )
    body = section("samples", "Answers", legend() + "".join(_group(group) for group in ordered))
    return page(f"Samples of step {step}", lead, body, links)


def _unknown(group: Sequence[Row]) -> int:
    return sum(row.get("reward") is None for row in group)


def _mean(group: Sequence[Row]) -> float:
    known = [row["reward"] for row in group if row.get("reward") is not None]
    return sum(known) / len(known) if known else 0.0


def _group(group: Sequence[Row]) -> str:
    first = group[0]
    right = sum(row.get("correct") is True for row in group)
    head = (
        f'<div class="question">{esc(first.get("prompt", ""))}</div>'
        f'<div class="meta"><span>{esc(first.get("task", ""))}</span>'
        f"<span>gold answer: <b>{esc(first.get('answer', ''))}</b></span><span>{right} of {len(group)} right</span>"
        f"<span>mean reward {number(_mean(group))}</span></div>"
    )
    ordered = sorted(group, key=lambda row: (row.get("reward") is not None, row.get("reward") or 0.0))
    return f'<div class="card case">{head}<div class="pair">{"".join(map(_answer, ordered))}</div></div>'


def _answer(row: Row) -> str:
    notes = [f"reward {number(row.get('reward'))}"]
    if row.get("advantage") is not None:
        notes.append(f"advantage {row['advantage']:+.2f}")
    parts = row.get("parts") or {}
    notes += [f"{name} {number(value)}" for name, value in parts.items()]
    notes.append(f"{row.get('length', '?')} tokens")
    if row.get("note"):
        notes.append(str(row["note"]))
    cut = chip("cut off", "odd") if row.get("finish") == "length" else ""
    meta = "".join(f"<span>{esc(note)}</span>" for note in notes)
    return (
        f'<div class="answer"><div class="meta">{verdict_chip(row)}{cut}{meta}</div>'
        f"{trace(str(row.get('completion', '')))}</div>"
    )
