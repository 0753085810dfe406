"""A live line while something runs: `step 12/60 ━━━━ reward 0.43 acc 0.38 len 61 4.1k tok/s 0:02:10 left`.

On a terminal the line is drawn in place (rich); elsewhere it is printed plainly every few seconds, so that logs stay
short. Everything goes to stderr: stdout is for results. No thread is started.
"""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Progress of `total` steps of `label`. Use as a context manager, or call `close`.

    every: seconds between plain lines where there is no terminal. enabled: False is silent (ranks other than 0).
    """

    def __init__(self, total: int, label: str = "step", *, every: float = 15.0, enabled: bool = True) -> None:
        self.total, self.label, self.every, self.enabled = total, label, every, enabled
        self._live: Any = None
        self._task: Any = None
        self._first: tuple[int, float] | None = None
        self._last_step = 0
        self._printed = self._drawn = float("-inf")
        self._text = ""
        self._said = ""
        if enabled and sys.stderr.isatty():
            self._start_live()

    def _start_live(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Live

        text = TextColumn("{task.fields[text]}", markup=False)
        self._live = Live(
            TextColumn("{task.description}"), BarColumn(16), text, console=Console(stderr=True), auto_refresh=False
        )
        self._task = self._live.add_task(f"{self.label} 0/{self.total}", total=self.total, text="")
        self._live.start()

    def update(self, step: int, **fields: Any) -> None:
        """Say that `step` steps are done. A field named `tok_s` or `x/s` is shown as a rate: `4.1k tok/s`."""
        if not self.enabled:
            return
        now = time.monotonic()
        if self._first is None:
            # Not zero steps at construction: a resumed run starts anywhere, after loading for any time.
            self._first = (step, now)
        self._last_step = step
        done = step >= self.total
        self._text = " ".join([*(show_field(key, value) for key, value in fields.items()), *self._left(step, now)])
        if self._live is not None:
            if done or now - self._drawn >= 0.1:
                self._drawn = now
                self._draw()
        elif done or now - self._printed >= self.every:
            self._printed = now
            self._say()

    def _left(self, step: int, now: float) -> list[str]:
        assert self._first is not None
        steps, seconds = step - self._first[0], now - self._first[1]
        if steps <= 0 or step >= self.total:
            return []
        return [f"{show_time(seconds / steps * (self.total - step))} left"]

    def _draw(self) -> None:
        self._live.update(self._task, completed=self._last_step, text=self._text, description=self._head())
        self._live.refresh()

    def _say(self) -> None:
        line = f"{self._head()} {self._text}".rstrip()
        if line != self._said:
            self._said = line
            print(line, file=sys.stderr, flush=True)

    def _head(self) -> str:
        return f"{self.label} {self._last_step}/{self.total}"

    def close(self) -> None:
        """Show the last state and leave the line standing."""
        if not self.enabled or self._first is None and self._live is None:
            return
        if self._live is not None:
            self._draw()
            self._live.stop()
            self._live = None
            self.enabled = False
        else:
            self._say()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def show_field(key: str, value: Any) -> str:
    """`reward 0.43`, `len 61`, `4.1k tok/s`."""
    if key.endswith(("_s", "/s")):
        return f"{show_number(value)} {key[:-2]}/s"
    return f"{key} {show_number(value)}"


def show_number(value: Any) -> str:
    """Three figures, with k and M: 0.43, 61, 4.1k, 1.2e-05; text as it is, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.1f}M"
    if size >= 1e3:
        return f"{value / 1e3:.1f}k"
    if isinstance(value, int) or size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.01 or size == 0 else f"{value:.1e}"


def show_time(seconds: float) -> str:
    """`0:02:10`."""
    whole = int(round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
