"""A picture of a sweep over merge weights: a file of its own that any browser shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 300, 46, 40, 28, 150
LINES = (
    ("score", "mean of both modes", "#222222"),
    ("think/accuracy", "/think right", "#2563a8"),
    ("no_think/accuracy", "/no_think right", "#b3541e"),
    ("no_think/leaked", "/no_think leaks", "#8a8a8a"),
)


def sweep_svg(points: Sequence[Mapping[str, Any]], best: float) -> str:
    """Rates with their intervals over the weight, and a mark where the best one is, as SVG.

    points: `weight`, and for each key of `LINES` an estimate (`value`, `low`, `high`).
    """
    ordered = sorted(points, key=lambda point: point["weight"])
    tall = max(point[key]["high"] or point[key]["value"] or 0.0 for point in ordered for key, _, _ in LINES)
    top = min(1.0, max(0.1, -(-tall * 10 // 1) / 10))

    def x_of(weight: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * weight

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<line x1="{x_of(best):.1f}" x2="{x_of(best):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#bbbbbb" '
        'stroke-dasharray="3 3"/>',
        f'<text x="{x_of(best):.1f}" y="{TOP - 8}" text-anchor="middle">chosen: {best:g}</text>',
    ]
    for tick in range(round(top * 10) + 1):
        y = y_of(tick / 10)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick * 10} %</text>')
    for point in ordered:
        x = x_of(point["weight"])
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{point["weight"]:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">share of the APO model</text>')
    for number, (key, title, colour) in enumerate(LINES):
        known = [(x_of(p["weight"]), p[key]) for p in ordered if p[key]["value"] is not None]
        path = " ".join(f"{x:.1f},{y_of(cell['value']):.1f}" for x, cell in known)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        for x, cell in known:
            if cell["low"] is not None:
                ends = f'y1="{y_of(cell["low"]):.1f}" y2="{y_of(min(top, cell["high"])):.1f}"'
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="{colour}" stroke-opacity="0.35"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y_of(cell["value"]):.1f}" r="2.6" fill="{colour}"/>')
        y = TOP + 12 + 18 * number
        parts.append(f'<circle cx="{WIDTH - RIGHT + 16}" cy="{y - 4}" r="3.5" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 26}" y="{y}">{escape(title)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
