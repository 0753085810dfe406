"""R1 end to end on tiny random models: every stage, the table, the report, kill -9 at any moment, held-out problems."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ponder.core.config import load_recipe, merge_overrides, parse_settings
from ponder.core.records import read_jsonl
from ponder.core.store import read_manifest
from ponder.pipelines import pipeline_table, r1
from ponder.pipelines.data_stages import KEPT, TRACES
from ponder.pipelines.mix import MixSettings, held_out_problems, training_mix
from ponder.pipelines.r1 import NAMES, R1, R1Settings
from ponder.pipelines.stage_table import read_table
from ponder.tasks.drawing import split_of

STAGES = (
    "r1-zero", "cold-start-traces", "cold-start-data", "cold-start", "reasoning-rl", "requests-base", "requests-zero",
    "requests-reasoning", "reward-model-pairs", "reward-model", "judge-pairs", "judge", "sft-traces", "sft-data", "sft",
    "r1", "distill-traces", "distill-data", "student-distilled", "student-rl",
    *(f"eval-{name}" for name in NAMES), "table",
)  # fmt: skip

SMALL = (
    "processes=1", "data.reasoning=[arithmetic, equations]", "measure.problems=9", "measure.n=2",
    "measure.max_completion_length=80",
    *(f"{part}.grpo.{setting}" for part in ("zero", "reasoning_rl", "all_rl", "student_rl")
      for setting in ("max_steps=2", "questions_per_step=4", "num_generations=2", "max_completion_length=64",
                      "warmup_steps=0", "save_steps=1", "ref_model_sync_steps=1")),
    *(f"{part}.problems=40" for part in ("zero", "reasoning_rl", "all_rl", "student_rl")),
    "preference.sample={problems: 48, general_share: 1.0, n: 6, max_completion_length: 60}",
    "preference.training.max_steps=2", "preference.training.warmup_steps=0",
    "cold_start.sample={problems: 80, n: 2, max_completion_length: 100}", "cold_start.filter.min_readability=0.1",
    "rejection.sample={problems: 80, general_share: 0.3, n: 2, max_completion_length: 100}",
    "distill.sample={problems: 80, general_share: 0.3, n: 2, max_completion_length: 100}",
    *(f"{part}.filter.{setting}" for part in ("cold_start", "rejection") for setting in ("language=null",)),
    "rejection.general.language=null",
    *(f"{part}.sft.{setting}" for part in ("cold_start", "rejection", "distill")
      for setting in ("max_steps=2", "warmup_steps=0", "batch_size=8")),
)  # fmt: skip
"""The shipped models (random ones answer nothing right, and nothing would be kept), in seconds."""


def settings_of(*overrides: str) -> R1Settings:
    """The recipe, made small."""
    values = merge_overrides(load_recipe("r1"), [*SMALL, *overrides])
    values.pop("pipeline")
    return parse_settings(R1Settings, values, R1.aliases, "r1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, start to end."""
    out = tmp_path_factory.mktemp("r1")
    r1.run(settings_of(), out)
    return out


def test_every_stage_is_there_and_the_plan_knows_them(whole: Path) -> None:
    assert all((whole / name / "manifest.json").exists() for name in STAGES)
    planned = pipeline_table()["r1"].plan(settings_of(), whole)
    assert [row.stage for row in planned] == list(STAGES) and {row.state for row in planned} == {"done"}


def test_the_table_has_a_row_a_model_and_tells_what_agrees(whole: Path) -> None:
    table = read_table(whole)
    assert table is not None and [row["name"] for row in table["rows"]] == list(NAMES.values())
    keys = [column["key"] for column in table["columns"]]
    for key in ("reasoning", "form", "instructions", "preference", "language", "readability", "length", "trained"):
        assert key in keys
    cells = {row["name"]: row["cells"] for row in table["rows"]}
    assert cells["base"]["preference"]["value"] == pytest.approx(0.5, abs=0.2)  # against itself
    assert cells["base"]["trained"]["value"] is None and cells["R1-Zero"]["trained"]["value"] > 0
    assert cells["R1"]["reasoning"]["low"] <= cells["R1"]["reasoning"]["value"] <= cells["R1"]["reasoning"]["high"]
    assert {check["verdict"] for check in table["checks"]} <= {"agrees", "does not agree", "not shown"}
    assert len(table["checks"]) == 14 and table["published"]["rows"]["R1"] == [79.8, 97.3, 83.3, 92.3]
    page = (whole / "report.html").read_text()
    for text in ("ArenaHard", "the cold start costs accuracy", "student, distilled", "The same question"):
        assert text in page


def test_a_second_run_does_nothing_and_starts_no_process(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ponder.pipelines import machine

    monkeypatch.setattr(machine.Machine, "launch", lambda *_: pytest.fail("there is nothing to do"))
    began = [read_manifest(whole / name)["started"] for name in STAGES]
    assert r1.run(settings_of(), whole) == whole / "report.html"
    assert [read_manifest(whole / name)["started"] for name in STAGES] == began


def test_what_is_sampled_and_learnt_is_never_held_out(whole: Path) -> None:
    kept = {problem.id for problem in held_out_problems(settings_of().data, 9, "test", 0.25)}
    seen = 0
    for name in STAGES:
        for file in (whole / name / TRACES, whole / name / KEPT):
            for row in read_jsonl(file) if file.exists() else ():
                seen += 1
                assert row["id"] not in kept and split_of(row["task"], row["data"]["key"]) == "train"
    for file in whole.glob("*/samples/*.jsonl"):
        assert not kept & {row["problem_id"] for row in read_jsonl(file)}
    assert seen > 300
    mix = MixSettings()
    trained = {(p.task, p.data["key"]) for p in training_mix(mix, 800, "any", 0.3)}
    assert not trained & {(p.task, p.data["key"]) for p in held_out_problems(mix, 400, "test", 0.2)}


def test_the_reward_models_know_nothing_of_each_other_s_problems(whole: Path) -> None:
    ids = [{row["id"] for row in read_jsonl(whole / name / "pairs.jsonl")} for name in ("reward-model-pairs",
           "judge-pairs")]  # fmt: skip
    assert ids[0] and ids[1] and not ids[0] & ids[1]


def test_every_row_that_is_learnt_says_where_it_comes_from(whole: Path) -> None:
    for name in ("cold-start-data", "sft-data", "distill-data"):
        rows = read_jsonl(whole / name / "sft.jsonl")
        assert rows and all(row["provenance"]["teacher"] and row["id"] for row in rows)
        told = json.loads((whole / name / "filters.json").read_text())
        assert told["reasoning"]["filters"][0]["before"] >= told["reasoning"]["kept"]


def test_a_changed_setting_makes_only_what_follows_again(whole: Path, tmp_path: Path, caplog: Any) -> None:
    out = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(whole), str(out)], check=True)
    r1.run(settings_of("distill.sft.learning_rate=0.002"), out)
    again = {name for name in STAGES if f"{name}: made before" in caplog.text}
    assert again == {"student-distilled", "eval-distilled", "table"}
    assert "sft.learning_rate: 0.001 -> 0.002" in caplog.text


def _cells(out: Path) -> Any:
    table = read_table(out)
    assert table is not None
    return [(row["name"], row["cells"]) for row in table["rows"]], table["checks"]


def killed_run(out: Path, kills: int, longest_s: float, name: str) -> int:
    """Run in processes of their own, killed at `kills` random moments; returns how many were really killed."""
    rng, struck = random.Random(name), 0
    begun: dict[str, str] = {}
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom test_r1 import settings_of\nfrom ponder.pipelines import r1\n"
        "r1.run(settings_of(), Path(sys.argv[1]))"
    )
    for turn in range(200):
        for file in out.glob("*/manifest.json"):  # a stage that was finished is never begun again
            started = read_manifest(file.parent)["started"]
            assert begun.setdefault(file.parent.name, started) == started, file.parent.name
        last = turn >= kills
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(out), str(Path(__file__).parent)], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            _, told = child.communicate(timeout=None if last else rng.uniform(3.0, longest_s))
            assert child.returncode == 0, told.decode()
            assert all(read_manifest(out / stage)["started"] == started for stage, started in begun.items())
            return struck
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            struck += 1
    raise AssertionError("it never ended")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kill_9_at_twenty_random_moments_gives_the_same_table(whole: Path, tmp_path: Path) -> None:
    struck = killed_run(tmp_path, 20, 12.0, "twenty")
    assert struck >= 5, "the run was over before it could be killed often"
    assert _cells(tmp_path) == _cells(whole)


def test_kill_9_once_or_twice_gives_the_same_table(whole: Path, tmp_path: Path) -> None:
    killed_run(tmp_path, 2, 16.0, str(time.time()))
    assert _cells(tmp_path) == _cells(whole)


def test_seeds_reach_every_training_and_parts_keep_their_defaults() -> None:
    values = parse_settings(R1Settings, {"seed": 7, "cold_start": {"rows": 3}, "reasoning_rl": {"problems": 5}})
    for part in ("zero", "reasoning_rl", "all_rl", "student_rl"):
        assert getattr(values, part).grpo.seed == 7
    assert values.cold_start.sft.seed == values.preference.training.seed == 7 and values.cold_start.rows == 3
    assert "language" in values.reasoning_rl.rewards and values.reasoning_rl.problems == 5
    told = parse_settings(R1Settings, {"seed": 7, "zero": {"grpo": {"seed": 1}}})
    assert told.zero.grpo.seed == 1 and told.all_rl.grpo.seed == 7

