"""Everything that the figures depend on: settings, seeds, versions, hardware, time."""

from __future__ import annotations

from typing import Any

from ponder.report.html import card, duration, esc, facts, flat, section, show, table
from ponder.report.records import Records, Stage


def settings(records: Records) -> str:
    """The section; one block a stage, then the specifications of the evaluations."""
    body = "".join(_stage(stage) for stage in records.stages) + _specs(records) + _stages(records)
    if records.unread:
        body += "<h3>Could not be read</h3>" + "".join(f'<p class="alarm">{esc(line)}</p>' for line in records.unread)
    return section("settings", "Settings, versions, hardware, time", body)


def _stage(stage: Stage) -> str:
    config = flat(stage.config)
    body = f"<h3>Settings of {esc(stage.name)}</h3>"
    body += card(facts(config)) if config else "<p>No settings were recorded.</p>"
    if stage.environment:
        body += "<h3>Versions and hardware</h3>" + card(facts(flat(stage.environment)))
    body += "<h3>Time</h3>" + card(facts(_time(stage)))
    return body


def _time(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = {"steps": f"{stage.steps} of {stage.planned}" if stage.planned else stage.steps}
    if stage.manifest.get("started"):
        found["started"] = stage.manifest["started"]
    if isinstance(stage.manifest.get("seconds"), (int, float)):
        found["whole stage"] = duration(stage.manifest["seconds"])
    whole = _sum(stage, "step_time")
    found["all steps"] = duration(whole)
    for name in stage.names(r"timing_s/.+"):
        part = _sum(stage, name)
        if part and name != "timing_s/step":
            share = f" ({100 * part / whole:.0f}%)" if whole else ""
            found[f"… {name.removeprefix('timing_s/')}"] = duration(part) + share
    tokens = [value for _, value in stage.series("num_tokens") if value is not None]
    if tokens:
        found["tokens read and written"] = f"{int(tokens[-1]):,}".replace(",", " ")
    peaks = [value for _, value in stage.series("perf/max_memory_allocated_gb") if value is not None]
    if peaks:
        found["peak memory of a process"] = f"{max(peaks):.2f} GB"
    return found


def _sum(stage: Stage, name: str) -> float | None:
    values = [value for _, value in stage.series(name) if value is not None]
    return sum(values) if values else None


def _specs(records: Records) -> str:
    if not records.results:
        return ""
    specs = [flat(result.spec) for result in records.results]
    names = list(dict.fromkeys(name for spec in specs for name in spec))
    rows = [[esc(name), *(f'<td class="text">{esc(show(spec.get(name)))}</td>' for spec in specs)] for name in names]
    head = ["Specification", *(f"{esc(result.title)}" for result in records.results)]
    note = (
        '<p class="hint">Two figures may be compared where prompt, sampling and data agree; `hash` covers them all.</p>'
    )
    return "<h3>Evaluations</h3>" + card(table(head, rows)) + note


def _stages(records: Records) -> str:
    """Fingerprints of the finished stages."""
    rows = [
        [
            esc(name),
            f"<code>{esc(str(m.get('fingerprint', ''))[:16])}</code>",
            esc(duration(_seconds(m.get("seconds")))),
        ]
        for name, m in records.manifests.items()
    ]
    return "<h3>Artifacts</h3>" + card(table(["Stage", "Fingerprint", "Time"], rows)) if rows else ""


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
