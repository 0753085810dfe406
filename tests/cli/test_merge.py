"""`ponder merge` and where it writes: what is wrong is one line, also before anything heavy was imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ponder.cli.app import run_app


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_place_that_is_no_folder_is_named(capsys: Any, tmp_path: Path) -> None:
    assert run_app(["merge", "mini", "mini", "--out", "/proc/merged"]) == 2
    assert "/proc/.merged.merging cannot be made there; choose another folder" in capsys.readouterr().err
    (tmp_path / "traces.jsonl").write_text('{"problem": "a", "completion": "b", "correct": true}\n')
    assert run_app(["data", "filter", str(tmp_path / "traces.jsonl"), "--out", "/proc/x/kept.jsonl"]) == 2
    assert "/proc/x cannot be made there" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named_by_a_process_that_knows_nothing_yet() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ponder", "merge", "mini", "nothere", "--out", "never"],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("ponder: nothere could not be loaded")
