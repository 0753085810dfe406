"""SFT, then RL, end to end on the shipped model, made small: stages, table, the same RL twice, going on when stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from ponder.core.config import load_recipe, merge_overrides, parse_settings
from ponder.core.records import read_jsonl
from ponder.core.store import read_manifest
from ponder.pipelines import sft_rl
from ponder.pipelines.data_stages import KEPT
from ponder.pipelines.mix import held_out_problems
from ponder.pipelines.sft_rl import NAMES, SFT_RL, SFTRLSettings
from ponder.pipelines.stage_table import read_table
from ponder.training import grpo

STAGES = ("traces", "data", "sft", "rl-both", "rl-alone", *(f"eval-{name}" for name in NAMES), "table")

SMALL = (
    "processes=1", "data.reasoning=[arithmetic, equations]", "measure.problems=8", "measure.n=2",
    "measure.max_completion_length=64", "rl.problems=20",
    *(f"rl.grpo.{setting}" for setting in ("max_steps=2", "questions_per_step=2", "num_generations=2", "save_steps=1",
      "max_completion_length=48", "warmup_steps=0", "sample_steps=1")),
    "start.sample={problems: 40, general_share: 0.125, n: 2, max_completion_length: 80}",
    *(f"start.sft.{setting}" for setting in ("max_steps=2", "warmup_steps=0", "batch_size=4")),
)  # fmt: skip


def settings_of(*overrides: str) -> SFTRLSettings:
    """The recipe, made small."""
    values = merge_overrides(load_recipe("sft-rl"), [*SMALL, *overrides])
    assert values.pop("pipeline") == SFT_RL.name
    return parse_settings(SFTRLSettings, values, SFT_RL.aliases, "sft-rl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, start to end."""
    out = tmp_path_factory.mktemp("sft-rl")
    assert sft_rl.run(settings_of(), out) == out / "report.html"
    return out


def cells(out: Path) -> Any:
    table = read_table(out)
    assert table is not None
    return [(row["name"], row["cells"]) for row in table["rows"]], table["checks"]


def test_every_stage_is_there_and_the_plan_knows_them(whole: Path) -> None:
    rows = SFT_RL.plan(settings_of(), whole)
    assert [row.stage for row in rows] == list(STAGES) and {row.state for row in rows} == {"done"}
    table = read_table(whole)
    assert table is not None and [row["name"] for row in table["rows"]] == list(NAMES.values())
    assert len(table["checks"]) == 3 and (whole / "report.html").is_file()


def test_both_rl_stages_ask_the_same_problems_in_the_same_steps(whole: Path) -> None:
    asked = []
    for name in ("rl-both", "rl-alone"):
        steps = [read_jsonl(file) for file in sorted((whole / name / "samples").glob("*.jsonl"))]
        asked.append([sorted(row["problem_id"] for row in step) for step in steps])
    assert len(asked[0]) == 2 and asked[0] == asked[1]
    held = {problem.id for problem in held_out_problems(settings_of().data, 8)}
    kept = read_jsonl(whole / "data" / KEPT)
    assert kept and not held & {*sum(asked[0], []), *(row["id"] for row in kept)}
    begun = [read_manifest(whole / name)["inputs"]["model"] for name in ("rl-both", "rl-alone")]
    assert begun[0] != begun[1]


def test_stopped_in_the_middle_of_rl_it_goes_on_and_ends_the_same(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, real = [], grpo.save_checkpoint

    def stop_after_the_first(*args: Any, **how: Any) -> None:
        real(*args, **how)
        saved.append(args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(grpo, "save_checkpoint", stop_after_the_first)
        sft_rl.run(settings_of(), tmp_path)
    assert len(saved) == 1 and not (tmp_path / "rl-both").exists()
    begun = {name: read_manifest(tmp_path / name)["started"] for name in ("traces", "data", "sft")}
    sft_rl.run(settings_of(), tmp_path)
    assert {name: read_manifest(tmp_path / name)["started"] for name in begun} == begun, "no stage is done twice"
    for name in ("rl-both", "rl-alone"):
        ours, theirs = (load_file(out / name / "model" / "model.safetensors") for out in (tmp_path, whole))
        assert all(bool((ours[key] == theirs[key]).all()) for key in theirs)
    assert cells(tmp_path) == cells(whole)
