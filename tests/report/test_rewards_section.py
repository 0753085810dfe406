"""The section on what the reward paid for, drawn from planted records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.report import build_report
from ponder.report.records import Records, Stage, read_run
from ponder.report.rewards import CASES, rewards_section
from ponder.rewards.alarms import ALARMS
from ponder.rewards.cases import CASES as COUNTED

HOSTILE = "</script><img src=x onerror=alert(1)>"


def plant(folder: Path, rows: list[dict[str, Any]], cases: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    full = [{"step": at, "reward": 0.5, "accuracy": 0.5, **row} for at, row in enumerate(rows, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in full))
    if cases is not None:
        (folder / "reward_cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    return folder


def quiet(**changes: Any) -> dict[str, Any]:
    row = {f"rewards/{name}": 0.0 for name in CASES} | {f"alarm/{name}": 0.0 for name in ALARMS}
    return row | {"frac_reward_zero_std": 0.1} | changes


def case(step: int, name: str, text: str = "hm") -> dict[str, Any]:
    return {
        "step": step, "case": name, "prompt": f"1+{step}?", "task": "sums", "gold": "2", "reward": 0.2,
        "correct": False, "parts": {"format": 1.0}, "note": "accuracy: no answer", "completion": text,
    }  # fmt: skip


def test_it_shows_what_training_counts() -> None:
    assert set(CASES) == set(COUNTED)


def test_shares_samples_and_calm(tmp_path: Path) -> None:
    rows = [quiet(**{"rewards/unknown": 0.25, "rewards/format_only": at / 20}) for at in range(20)]
    cases = [case(step, "unknown", f"words{step}.") for step in range(1, 10)] + [case(3, "format_only", HOSTILE)]
    page = build_report(plant(tmp_path, rows, cases)).read_text()
    assert 'id="rewards"' in page and 'href="#rewards"' in page
    assert "25.0%" in page and "no alarm" in page and "The reward was never flat" in page
    section = page[page.index('<section id="rewards"') : page.index('<section id="settings"')]
    assert "Reward unknown: 4 of 9 kept samples" in section and "Wrong, yet paid for: 1 of 1" in section
    assert [f"words{step}." in section for step in (1, 2, 5, 8, 9)] == [True, True, False, True, True]
    assert HOSTILE not in page and "&lt;img src=x" in section


def test_alarms_say_when_and_why(tmp_path: Path) -> None:
    rows = [quiet(frac_reward_zero_std=1.0, **{"alarm/flat_reward": float(at >= 9)}) for at in range(15)]
    section = rewards_section(read_run(plant(tmp_path, rows)))
    assert "Step 10: the reward is flat: for 10 rows" in section and "(6 of 15 logged steps)" in section
    assert "never flat" not in section


def test_an_older_run_has_no_such_section(tmp_path: Path) -> None:
    records = read_run(plant(tmp_path, [{"loss": 1.0}]))
    assert rewards_section(records) == "" and 'id="rewards"' not in build_report(tmp_path).read_text()


@pytest.mark.parametrize("content", ["{", '{"case": "unknown"}\n', '{"case": "unknown", "parts": 3, "reward": null}\n'])
def test_broken_or_thin_samples_are_no_obstacle(tmp_path: Path, content: str) -> None:
    plant(tmp_path, [quiet()])
    (tmp_path / "reward_cases.jsonl").write_text(content)
    assert "What the reward paid for" in build_report(tmp_path).read_text()


def test_several_stages_are_named() -> None:
    stages = tuple(
        Stage(name, Path("none"), {}, {}, ({"step": 1, **quiet()},), {}, {}, True) for name in ("first", "second")
    )
    section = rewards_section(Records(Path("."), stages, (), {}, ()))
    assert "<h3>first</h3>" in section and "<h3>second</h3>" in section
