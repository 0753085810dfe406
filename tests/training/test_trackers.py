"""Trackers get a copy of every row; one that is not installed is named with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_world import run

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.training import trackers
from ponder.training.distributed import World


def test_tensorboard_holds_the_numbers_of_the_journal(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(World(), tmp_path, {"max_steps": 3, "report_to": ("tensorboard",)})
    board = events.EventAccumulator(str(tmp_path / "tracking" / "tensorboard"))
    board.Reload()
    told = [(event.step, event.value) for event in board.Scalars("reward")]
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert told == [(row["step"], pytest.approx(row["reward"], rel=1e-5)) for row in rows]


def test_a_tracker_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers._MODULES, "wandb", "no_such_module_here")
    with pytest.raises(PonderError, match="pip install wandb"):
        run(World(), tmp_path, {"max_steps": 1, "report_to": ("wandb",)})


def test_what_is_missing_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PonderError, match=r"ponder\[track\]"):
        trackers.check_trackers(("trackio",))
