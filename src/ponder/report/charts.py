"""Charts as inline SVG: lines over steps, with light and dark colours from the page's own variables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ponder.report.html import esc, number

LEFT, RIGHT, TOP, BOTTOM = 40, 10, 8, 22
SIZES = {False: (400, 190), True: (280, 140)}
"""Width and height in the units of the text, by whether the chart is a small one; the page stretches both."""
Place = Callable[[float], float]

SMOOTH_FROM = 16
"""From so many points on a noisy series is drawn faint, with its running mean on top."""


@dataclass(frozen=True)
class Series:
    """One line: (step, value) points in order of steps; None breaks it. kind: a CSS class that sets the colour.

    noisy: drawn faint with a running mean. dots: a dot at every point.
    """

    name: str
    points: tuple[tuple[float, float | None], ...]
    kind: str
    noisy: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A single measurement at one step, with its interval: the evaluation before or after training."""

    name: str
    step: float
    value: float
    low: float | None
    high: float | None
    kind: str
    ring: bool = False


def lines(
    title: str,
    series: Sequence[Series],
    marks: Sequence[Mark] = (),
    *,
    percent: bool = False,
    floor: float | None = 0.0,
    ceiling: float | None = None,
    small: bool = False,
    legend: bool = True,
) -> str:
    """A chart of `series` over steps as an HTML figure; "" where there is no point at all.

    floor, ceiling: values that the vertical axis reaches at least; None leaves that end to the data. small, legend: for
    small multiples, whose legend (`key_of`) is shown once above them.
    """
    known = [(step, value) for s in series for step, value in s.points if value is not None]
    known += [(m.step, bound) for m in marks for bound in (m.value, m.low, m.high) if bound is not None]
    if not known:
        return ""
    width, height = SIZES[small]
    ticks = _ticks([value for _, value in known], floor, ceiling, 3 if small else 4)
    last = max(max(step for step, _ in known), 1.0)
    span = ticks[-1] - ticks[0]
    x_of: Place = lambda step: LEFT + (width - LEFT - RIGHT) * step / last  # noqa: E731
    y_of: Place = lambda value: height - BOTTOM - (height - TOP - BOTTOM) * (value - ticks[0]) / span  # noqa: E731
    body = "".join(
        f'<line class="rule" x1="{LEFT}" x2="{width - RIGHT}" y1="{y_of(tick):.1f}" y2="{y_of(tick):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y_of(tick) + 3.5:.1f}" text-anchor="end">{tick_text(tick, ticks, percent)}</text>'
        for tick in ticks
    )
    body += f'<line class="zero" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{height - BOTTOM}"/>'
    for step in _steps(last):
        body += f'<text x="{x_of(step):.1f}" y="{height - 6}" text-anchor="middle">{step:.0f}</text>'
    body += "".join(_drawn(s, x_of, y_of) for s in series) + "".join(_marked(m, x_of, y_of) for m in marks)
    body += f'<line class="cross" x1="0" x2="0" y1="{TOP}" y2="{height - BOTTOM}"/>'
    body += f'<rect class="area" x="0" y="0" width="{width}" height="{height}"/>'
    points = json.dumps(_hover(series, marks, x_of, percent), ensure_ascii=False)
    return (
        f'<div class="card chart" data-points="{esc(points)}"><h4>{esc(title)}</h4>'
        f"{key_of(series, marks) if legend else ''}"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{esc(title)} over training steps">{body}</svg>'
        f'<div class="tip"></div></div>'
    )


def key_of(series: Sequence[Series], marks: Sequence[Mark] = ()) -> str:
    """The legend: every name once."""
    shapes = {(s.name, s.kind): "" for s in series} | {(m.name, m.kind): "ring " if m.ring else "dot " for m in marks}
    keys = (
        f'<span><span class="key {shape}{esc(kind)}"></span>{esc(name)}</span>'
        for (name, kind), shape in shapes.items()
    )
    return f'<div class="legend">{"".join(keys)}</div>'


def _drawn(s: Series, x_of: Place, y_of: Place) -> str:
    known = [value for _, value in s.points if value is not None]
    if s.noisy and len(known) >= SMOOTH_FROM:
        smooth = running_mean([value for _, value in s.points])
        points = tuple((step, value) for (step, _), value in zip(s.points, smooth, strict=True))
        body = _path(s.points, "raw", s.kind, x_of, y_of) + _path(points, "line", s.kind, x_of, y_of)
    else:
        body = _path(s.points, "line", s.kind, x_of, y_of)
    if s.dots or len(known) == 1:
        body += "".join(
            f'<circle class="dot {esc(s.kind)}" cx="{x_of(step):.1f}" cy="{y_of(value):.1f}" r="2.6"/>'
            for step, value in s.points
            if value is not None
        )
    return body


def running_mean(values: Sequence[float | None], width: int | None = None) -> list[float | None]:
    """The mean of the values at most width // 2 places away, centred; None stays None and is left out of the means."""
    width = width or max(5, len(values) // 12 | 1)
    half = width // 2
    means: list[float | None] = []
    for at, value in enumerate(values):
        near = [v for v in values[max(at - half, 0) : at + half + 1] if v is not None]
        means.append(None if value is None else sum(near) / len(near))
    return means


def _path(
    points: Sequence[tuple[float, float | None]],
    style: str,
    kind: str,
    x_of: Place,
    y_of: Place,
) -> str:
    moves, pen = [], "M"
    for step, value in points:
        if value is None:
            pen = "M"
            continue
        moves.append(f"{pen}{x_of(step):.1f} {y_of(value):.1f}")
        pen = "L"
    return f'<path class="{style} {esc(kind)}" d="{"".join(moves)}"/>' if moves else ""


def _marked(m: Mark, x_of: Place, y_of: Place) -> str:
    x, shape, body = f"{x_of(m.step):.1f}", "ring" if m.ring else "dot", ""
    if m.low is not None and m.high is not None:
        ends = f'y1="{y_of(m.low):.1f}" y2="{y_of(m.high):.1f}"'
        body = f'<line class="whisker {esc(m.kind)}" x1="{x}" x2="{x}" {ends}/>'
    return body + f'<circle class="{shape} {esc(m.kind)}" cx="{x}" cy="{y_of(m.value):.1f}" r="3.8"/>'


def _hover(series: Sequence[Series], marks: Sequence[Mark], x_of: Place, percent: bool) -> dict[str, object]:
    rows: dict[float, list[str]] = {}
    for m in marks:
        interval = "" if m.low is None or m.high is None else f" ({number(m.low, percent)} – {number(m.high, percent)})"
        rows.setdefault(m.step, []).append(f"{m.name}: {number(m.value, percent)}{interval}")
    for s in series:
        for step, value in s.points:
            if value is not None:
                rows.setdefault(step, []).append(f"{s.name}: {number(value, percent)}")
    steps = sorted(rows)
    return {
        "label": "step",
        "x": [[int(step), round(x_of(step), 1)] for step in steps],
        "y": [rows[step] for step in steps],
    }


def _ticks(values: Sequence[float], floor: float | None, ceiling: float | None, count: int) -> list[float]:
    low = min(values) if floor is None else min(*values, floor)
    high = max(values) if ceiling is None else max(*values, ceiling)
    if high - low < 1e-12:
        high = low + (abs(low) if abs(low) > 1e-9 else 1.0)
    step = _nice((high - low) / count)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, last + 1)]


def _nice(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= width * 0.999)


def _steps(last: float) -> list[float]:
    width = max(_nice(last / 4), 1.0)
    width = width if width == int(width) else math.ceil(width)
    return [at * width for at in range(int(last / width + 1e-9) + 1)]


def tick_text(value: float, ticks: Sequence[float], percent: bool) -> str:
    """A tick with as many digits as tell it from its neighbour; powers of ten where it is very small or large."""
    step = (ticks[1] - ticks[0]) * (100 if percent else 1)
    value = value * (100 if percent else 1)
    if abs(value) < step / 2:
        return "0%" if percent else "0"
    if not percent and step < 1e-3:
        return f"{value:.2g}".replace("e-0", "e-").replace("-", "−")
    if not percent and step >= 1000:
        return f"{value / 1000:.{0 if _whole(step / 1000, 0) else 1}f}k".replace("-", "−")
    digits = next(digits for digits in range(6) if _whole(step, digits) or digits == 5)
    return f"{value:.{digits}f}{'%' if percent else ''}".replace("-", "−")


def _whole(value: float, digits: int) -> bool:
    return abs(value * 10**digits - round(value * 10**digits)) < 1e-6 * max(abs(value * 10**digits), 1)
