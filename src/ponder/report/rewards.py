"""What the reward paid for, over the run: answers not found, not graded, paid for form; alarms; samples of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.report.charts import Series, lines
from ponder.report.html import card, chip, esc, number, section, table
from ponder.report.records import Records, Stage
from ponder.report.traces import trace
from ponder.rewards.alarms import ALARMS

Row = Mapping[str, Any]

CASES = {
    "extraction_failed": ("No answer found", "s1"),
    "unknown": ("Reward unknown", "s2"),
    "format_only": ("Wrong, yet paid for", "s3"),
}
"""Metric under `rewards/` -> its title, and its line's colour."""

SHOWN = 4
"""Samples of a case on the page: the first two and the last two."""


def rewards_section(records: Records) -> str:
    """The section; "" where no stage wrote these metrics."""
    body = ""
    for stage in records.stages:
        if stage.names("rewards/(?:" + "|".join(CASES) + ")"):
            title = f"<h3>{esc(stage.name)}</h3>" if len(records.stages) > 1 else ""
            body += title + _alarms(stage) + _shares(stage) + _samples(stage)
    lead = (
        "Shares of all sampled answers, with samples: those in which no answer was found, those that no grader could "
        "judge (they are left out of training), and wrong ones that were rewarded all the same."
    )
    return section("rewards", "What the reward paid for", body, lead) if body else ""


def _alarms(stage: Stage) -> str:
    """Each alarm that was raised, with what it said at first, and for how many of the logged steps it held."""
    told = ""
    for name, alarm in ALARMS.items():
        raised = [at for at, row in enumerate(stage.metrics) if row.get(f"alarm/{name}")]
        if raised:
            text = alarm(stage.metrics[: raised[0] + 1]) or name.replace("_", " ")
            held = f"{len(raised)} of {len(stage.metrics)} logged steps"
            told += f'<p class="alarm bad">Step {stage.metrics[raised[0]]["step"]}: {esc(text)} ({held})</p>'
    calm = "The reward was never flat, and paid neither for length nor against accuracy."
    return told or f"<p>{chip('no alarm', 'good')} {calm}</p>"


def _shares(stage: Stage) -> str:
    series, rows = [], []
    for name, (title, kind) in CASES.items():
        points = stage.series(f"rewards/{name}")
        values = [value for _, value in points if value is not None]
        if values:
            tenth = max(len(values) // 10, 1)
            means = (sum(part) / len(part) for part in (values, values[:tenth], values[-tenth:]))
            rows.append([esc(title), *(number(mean, True) for mean in means)])
            series.append(Series(title, points, kind, noisy=True))
    chart = lines("Share of answers", series, percent=True, ceiling=0.05)
    figures = table(["Share of answers", "Whole run", "First tenth of the steps", "Last tenth"], rows)
    return f'<div class="grid">{chart}</div>{card(figures)}' if rows else ""


def _samples(stage: Stage) -> str:
    file = stage.folder / "reward_cases.jsonl"
    try:
        rows = read_jsonl(file, growing=True) if file.exists() else []
    except PonderError:
        return f"<p>{esc(file.name)} could not be read.</p>"
    body = ""
    for name, (title, _) in CASES.items():
        found = [row for row in rows if row.get("case") == name]
        if found:
            shown = found if len(found) <= SHOWN else found[: SHOWN // 2] + found[-SHOWN // 2 :]
            cases = "".join(map(_case, shown))
            body += (
                f"<details><summary>{esc(title)}: {len(shown)} of {len(found)} kept samples</summary>{cases}</details>"
            )
    return body


def _case(row: Row) -> str:
    parts = row.get("parts")
    notes = [f"step {row.get('step')}", str(row.get("task", "")), f"reward {number(row.get('reward'))}"]
    notes += [f"{name} {number(value)}" for name, value in parts.items()] if isinstance(parts, Mapping) else []
    notes += [str(row["note"])] if row.get("note") else []
    meta = "".join(f"<span>{esc(note)}</span>" for note in notes)
    gold = f"<span>gold answer: <b>{esc(row.get('gold', ''))}</b></span>"
    return (
        f'<div class="card case"><div class="question">{esc(row.get("prompt", ""))}</div>'
        f'<div class="meta">{gold}{meta}</div><div class="answer">{trace(str(row.get("completion", "")))}</div></div>'
    )
