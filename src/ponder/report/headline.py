"""Before and after: the tiles, the table with intervals, and each task's figures as dots with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ponder.evals.summary import compare
from ponder.report.alarms import alarm_list
from ponder.report.html import card, chip, duration, esc, estimate, key, number, section, signed, table
from ponder.report.records import AFTER, BEFORE, COT, Records, Result

COLUMNS = (
    ("accuracy", "Strict"),
    ("accuracy_lenient", "Lenient"),
    ("format_rate", "Right form"),
    ("truncation_rate", "Cut off"),
)


def headline(records: Records) -> str:
    """The section that a hurried reader reads; says what is missing where nothing was evaluated."""
    if not records.results:
        nothing = "<p>No evaluation was found yet: only the training's own records below.</p>"
        return section("result", "Before and after", tiles(records) + alarm_list(records) + nothing)
    body = (
        tiles(records) + alarm_list(records) + verdicts(records) + figures(records) + forest(records) + by_task(records)
    )
    lead = (
        "Strict: one thought, then one answer, nothing else, and the answer is right. Lenient: the answer is right "
        "wherever it stands. The base is also asked to think step by step and read leniently, since it was never "
        "taught the form. Intervals are 95%; the unit is the problem, all its samples and wordings together."
    )
    return section("result", "Before and after", body, lead)


def tiles(records: Records) -> str:
    """The few figures that matter most."""
    found = []
    for mode in ("sampled", "greedy"):
        before, after = records.result(BEFORE, mode), records.result(AFTER, mode)
        if after or before:
            found.append(_tile(f"Accuracy, {mode}, strict", before, after, "accuracy"))
    before, after = (records.result(kind, "sampled") or records.result(kind, "greedy") for kind in (BEFORE, AFTER))
    if before or after:
        found.append(_tile("Right form", before, after, "format_rate"))
        found.append(_tile("Mean length, tokens", before, after, "mean_length", percent=False))
    if records.stages:
        seconds = _seconds(records)
        steps = sum(stage.steps for stage in records.stages)
        found.append(_framed("Training", esc(duration(seconds)), f"{steps} steps"))
    return f'<div class="tiles">{"".join(found)}</div>'


def _seconds(records: Records) -> float | None:
    times = [value for stage in records.stages for _, value in stage.series("step_time") if value is not None]
    return sum(times) if times else None


def _tile(name: str, before: Result | None, after: Result | None, measure: str, percent: bool = True) -> str:
    was = (before.overall(measure) or {}) if before else {}
    now = (after.overall(measure) or {}) if after else {}
    shown = now or was
    big = number(shown.get("value"), percent)
    if was and now:
        big = f'<span class="from">{number(was.get("value"), percent)}</span> <span class="arrow">→</span> {big}'
    sub = "" if now else "base only: nothing trained was evaluated"
    last = after or before
    if last and shown.get("low") is not None:
        problems = last.summary["overall"].get("problems", "?")
        sub = sub or f"{number(shown['low'], percent)} – {number(shown['high'], percent)}, {problems} problems"
    return _framed(name, big, sub)


def _framed(name: str, big: str, sub: str) -> str:
    return (
        f'<div class="card tile"><div class="name">{esc(name)}</div><div class="big">{big}</div>'
        f'<div class="sub">{esc(sub)}</div></div>'
    )


def verdicts(records: Records) -> str:
    """The differences in words, paired on the problems; against the chain-of-thought base too."""
    lines = []
    for mode in ("sampled", "greedy"):
        after = records.result(AFTER, mode)
        for kind, called in ((BEFORE, "the base"), (COT, "the chain-of-thought base, read leniently,")):
            before = records.result(kind, mode)
            if after and before and after.rows and before.rows:
                gap = paired(before, after)["overall"]["accuracy"]
                lines.append(
                    f"<li>{_verdict(gap)} {esc(mode.capitalize())}, against {esc(called)} {_points(gap)}.</li>"
                )
    return f'<ul class="verdicts">{"".join(lines)}</ul>' if lines else ""


def paired(before: Result, after: Result) -> dict[str, Any]:
    """`compare` of two results, each by its own reading."""
    was, now = ([_read(row, result.lenient) for row in result.rows] for result in (before, after))
    return compare(was, now, measures=("accuracy",))


def _read(row: Mapping[str, Any], lenient: bool) -> Mapping[str, Any]:
    return {**row, "correct": row["correct_lenient"]} if lenient else row


def _verdict(gap: Mapping[str, Any]) -> str:
    kinds = {"higher": ("better", "good"), "lower": ("worse", "bad")}
    return chip(*kinds.get(gap["verdict"], (gap["verdict"], "")))


def _points(gap: Mapping[str, Any]) -> str:
    if gap["difference"] is None:
        return "there is no difference to take"
    interval = "" if gap["low"] is None else f" ({signed(100 * gap['low'])} to {signed(100 * gap['high'])})"
    return f"<b>{signed(100 * gap['difference'])} points</b>{interval} on the same {gap['n']} problems"


def figures(records: Records) -> str:
    """All evaluations over all tasks."""
    ks = _ks(records.results)
    head = ["Evaluation", *(title for _, title in COLUMNS), *ks, "Length", "n&nbsp;×&nbsp;k"]
    rows = []
    for result in records.results:
        cells = [key(f"k-{result.kind}", result.title)]
        cells += [estimate(result.overall(name), strong=name == result.measure) for name, _ in COLUMNS]
        cells += [estimate(result.overall(k)) for k in ks]
        cells.append(estimate(result.overall("mean_length"), percent=False))
        whole = result.summary["overall"]
        cells.append(f"{whole.get('problems', '?')}&nbsp;×&nbsp;{whole.get('samples_per_problem', '?')}")
        rows.append(cells)
    return (
        card(table(head, rows))
        + "<p class='hint'>Bold: the reading by which the row is judged. n × k: problems × samples of each.</p>"
    )


def _ks(results: Sequence[Result]) -> list[str]:
    """pass@k and maj@k for the largest k."""
    most = max((result.summary["overall"].get("samples_per_problem") or 0 for result in results), default=0)
    return [f"pass@{most}", f"maj@{most}"] if most > 1 else []


def _compared(records: Records) -> list[Result]:
    """The evaluations that are drawn task by task: sampled where there are any, else whatever there is."""
    for mode in ("sampled", "greedy"):
        found = [result for result in records.results if result.mode == mode]
        if found:
            return found
    return list(records.results)


def forest(records: Records) -> str:
    """A row a task: a dot and an interval for each evaluation."""
    drawn = _compared(records)
    tasks = [task for task in records.tasks if any(result.of_task(task, "accuracy") for result in drawn)]
    if not tasks:
        return ""
    body = _forest_row("All", [result.overall(result.measure) for result in drawn], drawn, whole=True)
    for task in tasks:
        body += _forest_row(task, [result.of_task(task, result.measure) for result in drawn], drawn)
    scale = "".join(f"<span>{percent}%</span>" for percent in (0, 25, 50, 75, 100))
    legend = "".join(
        f"<span>{key(f'k-{result.kind}', result.title + (' (lenient)' if result.lenient else ''))}</span>"
        for result in drawn
    )
    return card(
        f'<h3 style="margin-top:0">Accuracy by task</h3><div class="legend">{legend}</div>'
        f'<div class="forest" style="--rows:{len(drawn)}">{body}<div></div><div class="scale">{scale}</div></div>'
    )


def _forest_row(
    label: str, values: Sequence[Mapping[str, Any] | None], drawn: Sequence[Result], whole: bool = False
) -> str:
    marks = ""
    for at, (value, result) in enumerate(zip(values, drawn, strict=True)):
        if not value or value.get("value") is None:
            continue
        top = f"top:{100 * (at + 1) / (len(drawn) + 1):.1f}%"
        where = f"{100 * value['value']:.2f}%"
        text = f"{result.title}: {number(value['value'], True)}"
        marks += f'<span class="k-{result.kind}">'
        if value.get("low") is not None and value.get("high") is not None:
            left, width = 100 * value["low"], 100 * (value["high"] - value["low"])
            text += f" ({number(value['low'], True)} – {number(value['high'], True)})"
            marks += f'<i style="{top};left:{left:.2f}%;width:{width:.2f}%"></i>'
        marks += f'<b style="{top};left:{where}" title="{esc(text)}"></b></span>'
    kind = "label whole" if whole else "label"
    return f'<div class="{kind}">{esc(label)}</div><div class="track">{marks}</div>'


def by_task(records: Records) -> str:
    """The same figures as a table, every evaluation a column."""
    head = ["Task", *(esc(f"{r.title}{' (lenient)' if r.lenient else ''}") for r in records.results)]
    rows = []
    for task in records.tasks:
        cells = [estimate(result.of_task(task, result.measure)) for result in records.results]
        if any("none" not in cell for cell in cells):
            rows.append([esc(task), *cells])
    if not rows:
        return ""
    rows.append(["All", *(estimate(result.overall(result.measure)) for result in records.results)])
    inner = table(head, rows, whole=len(rows) - 1)
    return f"<details><summary>The same as a table, every evaluation</summary>{card(inner)}</details>"
