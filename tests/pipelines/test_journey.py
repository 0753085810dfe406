"""Journey against shortcut, end to end on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ponder.core.config import load_recipe, merge_overrides, parse_settings
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.pipelines.journey import JOURNEY, STUDENTS, WORLDS_OWN, JourneyRunSettings
from ponder.tasks.drawing import split_of


def _settings(*overrides: str) -> JourneyRunSettings:
    small = (
        "processes=1", "data.reasoning=[arithmetic, equations]", "sample.problems=24", "sample.n=6",
        "measure.problems=9", "measure.n=2", "sft.num_train_epochs=1", "sft.warmup_steps=0", "sft.batch_size=4",
    )  # fmt: skip
    values = merge_overrides(load_recipe("journey"), [*small, *overrides])
    assert values.pop("pipeline") == "journey"
    return parse_settings(JourneyRunSettings, values, JOURNEY.aliases, "journey")


def test_two_students_of_the_same_problems_and_tokens(tmp_path: Path) -> None:
    settings = _settings()
    stages = [row.stage for row in JOURNEY.plan(settings, tmp_path)]
    assert JOURNEY.run(settings, tmp_path).exists()
    assert sorted(stages) == sorted(p.name for p in tmp_path.iterdir() if (p / "manifest.json").exists())
    counts = json.loads((tmp_path / "data" / "counts.json").read_text())
    longest = max(row["completion_tokens"] for row in read_jsonl(tmp_path / "data" / "shortcut" / "traces.jsonl"))
    assert 0 <= counts["shortcut"]["tokens"] - counts["journey"]["tokens"] <= longest
    assert counts["shortcut"]["problems"] == counts["journey"]["problems"] > 3
    rows = read_jsonl(tmp_path / "data" / "journey" / "traces.jsonl")
    wrong = [row for row in rows if row["provenance"]["wrong"]]
    assert wrong and all(split_of(row["task"], row["data"]["key"]) == "train" for row in rows)
    said = [reflection for reflections in WORLDS_OWN.values() for reflection in reflections]
    assert all(any(f"\n{words}\n" in row["reasoning"] for words in said) for row in wrong)
    taught = read_jsonl(tmp_path / "data" / "journey" / "sft.jsonl")
    assert [row["completion"] for row in taught] == [row["completion"] for row in rows]
    table = json.loads((tmp_path / "table" / "table.json").read_text())
    assert [row["name"] for row in table["rows"]] == ["base", *STUDENTS]
    assert all(row["cells"]["right"]["low"] is not None for row in table["rows"])


def test_a_teacher_that_is_never_right_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PonderError, match="no journey can be made of 2 attempts"):
        JOURNEY.run(_settings("sample.problems=2", "sample.n=1", "sample.max_completion_length=2"), tmp_path)


def test_wrong_shares_are_one_line() -> None:
    with pytest.raises(PonderError, match="shares"):
        _settings("journey.shares=[0, 0]")
