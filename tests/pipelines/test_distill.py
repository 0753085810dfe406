"""Distillation end to end on the shipped models, made small: stages, table, held-out problems, going on after a stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from ponder.core.config import load_recipe, merge_overrides, parse_settings
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.store import read_manifest
from ponder.pipelines import distill
from ponder.pipelines.data_stages import KEPT, SFT_ROWS, TRACES
from ponder.pipelines.distill import DISTILL, NAMES, DistillSettings
from ponder.pipelines.stage_table import read_table
from ponder.tasks.drawing import split_of
from ponder.training import supervised

STAGES = ("teacher", "traces", "data", "distilled", *(f"eval-{name}" for name in NAMES), "table")

SMALL = (
    "processes=1", "data.reasoning=[arithmetic, equations]", "measure.problems=8", "measure.n=2",
    "measure.max_completion_length=64", "teacher_rl.problems=20",
    *(f"teacher_rl.grpo.{setting}" for setting in ("max_steps=1", "questions_per_step=2", "num_generations=2",
      "max_completion_length=48", "warmup_steps=0", "sample_steps=1")),
    "distill.sample={problems: 40, general_share: 0.125, n: 2, max_completion_length: 80}",
    *(f"distill.sft.{setting}" for setting in ("max_steps=3", "warmup_steps=0", "batch_size=4", "save_steps=1",
      "logging_steps=1")),
)  # fmt: skip


def settings_of(*overrides: str) -> DistillSettings:
    """The recipe, made small."""
    values = merge_overrides(load_recipe("distill"), [*SMALL, *overrides])
    assert values.pop("pipeline") == DISTILL.name
    return parse_settings(DistillSettings, values, DISTILL.aliases, "distill")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, start to end."""
    out = tmp_path_factory.mktemp("distill")
    assert distill.run(settings_of(), out) == out / "report.html"
    return out


def cells(out: Path) -> Any:
    """The table, without what depends on where it lies."""
    table = read_table(out)
    assert table is not None
    return [(row["name"], row["cells"]) for row in table["rows"]], table["checks"]


def weights(folder: Path) -> Mapping[str, Any]:
    return load_file(folder / "model" / "model.safetensors")


def test_every_stage_is_there_and_the_plan_knows_them(whole: Path) -> None:
    rows = DISTILL.plan(settings_of(), whole)
    assert [row.stage for row in rows] == list(STAGES) and {row.state for row in rows} == {"done"}
    table = read_table(whole)
    assert table is not None and [row["name"] for row in table["rows"]] == list(NAMES.values())
    assert len(table["checks"]) == 2 and (whole / "report.html").is_file()


def test_the_student_learns_the_teacher_s_right_answers_and_nothing_held_out(whole: Path) -> None:
    traces, kept = read_jsonl(whole / "traces" / TRACES), read_jsonl(whole / "data" / KEPT)
    assert len(traces) == 80 and 0 < len(kept) < len(traces)
    assert all(row["correct"] is True and row["well_formed"] for row in kept)
    assert all(split_of(row["task"], row["data"]["key"]) == "train" for row in traces)
    assert len({row["id"] for row in kept}) == len(kept), "one of a problem"
    lessons = read_jsonl(whole / "data" / SFT_ROWS)
    assert [row["id"] for row in lessons] == [row["id"] for row in kept]
    assert read_manifest(whole / "distilled")["metrics"]["rows"] == len(kept)
    assert {row["provenance"]["stage"] for row in lessons} == {"traces"}


def test_stopped_in_the_middle_of_sft_it_goes_on_and_ends_the_same(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, real = [], supervised.save_checkpoint

    def stop_after_the_first(*args: Any, **how: Any) -> None:
        real(*args, **how)
        saved.append(args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(supervised, "save_checkpoint", stop_after_the_first)
        distill.run(settings_of(), tmp_path)
    assert len(saved) == 1 and not (tmp_path / "distilled").exists()
    begun = {name: read_manifest(tmp_path / name)["started"] for name in ("teacher", "traces", "data")}
    distill.run(settings_of(), tmp_path)
    assert {name: read_manifest(tmp_path / name)["started"] for name in begun} == begun, "no stage is done twice"
    assert [row["step"] for row in read_jsonl(tmp_path / "distilled" / "metrics.jsonl")] == [1, 2, 3]
    ours, theirs = weights(tmp_path / "distilled"), weights(whole / "distilled")
    assert all(bool((ours[name] == theirs[name]).all()) for name in theirs)
    assert cells(tmp_path) == cells(whole)


def test_traces_that_are_there_stand_in_for_a_teacher(whole: Path, tmp_path: Path) -> None:
    settings = settings_of(f"traces={whole / 'traces' / TRACES}")
    assert [row.stage for row in DISTILL.plan(settings, tmp_path)] == [
        "traces", "data", "distilled", "eval-student", "eval-distilled", "table"
    ]  # fmt: skip
    distill.run(settings, tmp_path)
    ours, theirs = weights(tmp_path / "distilled"), weights(whole / "distilled")
    assert all(bool((ours[name] == theirs[name]).all()) for name in theirs)


def test_a_file_that_holds_no_traces_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    file.write_text('{"text": "a"}\n')
    with pytest.raises(PonderError, match="none.jsonl") as caught:
        distill.run(settings_of(f"traces={file}"), tmp_path / "out")
    assert "\n" not in str(caught.value)
