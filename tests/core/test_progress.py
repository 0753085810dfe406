from __future__ import annotations

import io
import sys

import pytest

from ponder.core import progress
from ponder.core.progress import Progress, show_field, show_number, show_time


@pytest.mark.parametrize(
    "value, text",
    [
        (0.4321, "0.43"), (61, "61"), (61.37, "61.4"), (4100, "4.1k"), (2.5e6, "2.5M"), (1.23e-5, "1.2e-05"),
        (0.0, "0.00"), (-0.4, "-0.40"), (999.6, "1000"), ("word", "word"), (None, "-"), (float("nan"), "nan"),
        (True, "True"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert show_number(value) == text


def test_fields_and_times():
    assert show_field("reward", 0.43) == "reward 0.43"
    assert show_field("tok_s", 4100.0) == show_field("tok/s", 4100.0) == "4.1k tok/s"
    assert (show_time(130), show_time(3600 * 27 + 61)) == ("0:02:10", "27:01:01")


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_plain_lines_now_and_then(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with Progress(60, "step", every=15) as live:
        for step in range(11, 61):  # a resumed run: the pace is that of this run's own steps
            clock.now += 5
            live.update(step, reward=0.43, tok_s=4100)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines[0] == "step 11/60 reward 0.43 4.1k tok/s"
    assert lines[1] == "step 14/60 reward 0.43 4.1k tok/s 0:03:50 left"
    assert lines[-1] == "step 60/60 reward 0.43 4.1k tok/s" and len(lines) == 18


def test_the_last_state_is_said_once_even_when_stopped(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with pytest.raises(KeyboardInterrupt), Progress(60) as live:
        live.update(1)
        clock.now += 2
        live.update(2, reward=0.5)
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == ["step 1/60", "step 2/60 reward 0.50 0:01:56 left"]


def test_silent_when_disabled_or_unused(capsys):
    with Progress(3, enabled=False) as live:
        live.update(1)
    with Progress(3):
        pass
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_live_line_on_a_terminal(monkeypatch):
    clock, terminal = Clock(monkeypatch), Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with Progress(60, "step") as live:
        for step in range(1, 13):
            clock.now += 2
            live.update(step, reward=0.43, acc=0.38, len=61, tok_s=4100)
    text = terminal.getvalue()
    assert (
        "step 12/60" in text
        and "━" in text
        and "reward 0.43 acc 0.38 len 61 4.1k tok/s" in text
        and "0:01:36 left" in text
    )
    assert "\r" in text or "\x1b[" in text, "drawn in place"
