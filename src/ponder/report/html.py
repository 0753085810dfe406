"""Small pieces of HTML. Everything that comes from a record passes through `esc`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The browser itself refuses to fetch anything for these pages."""

NONE = '<td class="none">–</td>'


def esc(value: object) -> str:
    """Text, safe inside an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def page(title: str, lead: str, body: str, links: Sequence[tuple[str, str]] = ()) -> str:
    """A whole page. `lead` and `body` are HTML, `title` is text; links: (target, text) for the bar at the top."""
    bar = "".join(f'<a href="{esc(target)}">{esc(text)}</a>' for target, text in links)
    nav = f"<nav><div>{bar}</div></nav>" if bar else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{esc(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<header><div><h1>{esc(title)}</h1>{lead}</div></header>\n{nav}\n<main>\n{body}\n</main>\n"
        f"<footer>Made by Ponder. This page is complete in itself: it loads nothing.</footer>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(name: str, title: str, body: str, lead: str = "") -> str:
    """A section with an anchor; `lead` and `body` are HTML."""
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{esc(name)}"><h2>{esc(title)}</h2>{lead}{body}</section>\n'


def card(body: str, kind: str = "") -> str:
    """A framed block of HTML."""
    return f'<div class="card {kind}">{body}</div>'.replace('card "', 'card"')


def chip(text: str, kind: str = "") -> str:
    """A small label; kind: `good`, `bad`, `odd` or none."""
    return f'<span class="chip {kind}">{esc(text)}</span>'.replace('chip "', 'chip"')


def key(kind: str, text: str) -> str:
    """A coloured dot and a name."""
    return f'<span class="key {esc(kind)}"></span>{esc(text)}'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], whole: int | None = None) -> str:
    """A table of cells that are finished HTML (`<td>…</td>`, or what goes into one); `whole`: the row drawn as the
    sum."""
    top = "".join(cell if cell.startswith("<th") else f"<th>{cell}</th>" for cell in head)
    body = ""
    for at, row in enumerate(rows):
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row)
        kind = ' class="whole"' if at == whole else ""
        body += f"<tr{kind}>{cells}</tr>"
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(values: Mapping[str, Any]) -> str:
    """Names and their values (text), in as many columns as there is room for."""
    rows = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(show(value))}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{rows}</dl>'


def show(value: Any) -> str:
    """A setting as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {show(inner)}" for name, inner in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(show, value)) or "–"
    return str(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def signed(value: float) -> str:
    """A change with its sign."""
    return f"{value:+.{1 if abs(value) >= 10 else 2}f}".replace("-", "−")


def number(value: float | None, percent: bool = False, digits: int | None = None) -> str:
    """A figure as text; percent: a rate between 0 and 1."""
    if value is None:
        return "–"
    if percent:
        return f"{100 * value:.{1 if digits is None else digits}f}%"
    if digits is None and 0 < abs(value) < 0.005:
        return f"{value:.1e}".replace("e-0", "e-").replace("-", "−")
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}".replace("-", "−")


def estimate(value: Mapping[str, Any] | None, percent: bool = True, strong: bool = False) -> str:
    """A table cell with a figure and its interval below it."""
    if not value or value.get("value") is None:
        return NONE
    interval = ""
    if value.get("low") is not None and value.get("high") is not None:
        low = number(value["low"], percent).removesuffix("%")
        interval = f'<span class="ci">{low} – {number(value["high"], percent)}</span>'
    kind = ' class="strong"' if strong else ""
    return f"<td{kind}>{number(value['value'], percent)}{interval}</td>"


def duration(seconds: float | None) -> str:
    """Seconds as `4 min 12 s`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
