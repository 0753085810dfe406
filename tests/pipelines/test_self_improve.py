"""STaR and rejection sampling end to end on the embedded model: stages, data, table, restarts, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ponder.core.config import load_recipe, merge_overrides, parse_settings
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.store import read_manifest
from ponder.data.trace import read_traces
from ponder.pipelines.self_improve import PIPELINES, SelfImproveSettings
from ponder.tasks.drawing import split_of

BY_NAME = {pipeline.name: pipeline for pipeline in PIPELINES}
SMALL = (
    "processes=1", "data.reasoning=[arithmetic, equations]", "sample.problems=24", "measure.problems=9", "measure.n=2",
    "sft.num_train_epochs=1", "sft.warmup_steps=0", "sft.batch_size=4", "sft.save_steps=2",
)  # fmt: skip


def _settings(name: str, *overrides: str) -> SelfImproveSettings:
    values = merge_overrides(load_recipe(name), [*SMALL, *overrides])
    assert values.pop("pipeline") == name
    return parse_settings(BY_NAME[name].settings, values, BY_NAME[name].aliases, name)


def _table(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "table" / "table.json").read_text()))


def test_rejection_sampling_trains_on_its_own_right_answers(tmp_path: Path) -> None:
    settings = _settings("rejection-sampling")
    pipeline = BY_NAME["rejection-sampling"]
    stages = [row.stage for row in pipeline.plan(settings, tmp_path)]
    report = pipeline.run(settings, tmp_path)
    done = sorted(path.parent.name for path in tmp_path.glob("*/manifest.json"))
    assert report.exists() and sorted(stages) == done
    assert all(row.state == "done" for row in pipeline.plan(settings, tmp_path))
    drawn = []
    for r in (1, 2):
        rows = read_jsonl(tmp_path / f"round-{r}-data" / "sft.jsonl")
        kept = {(row["id"], row["sample"]): row for row in read_traces(tmp_path / f"round-{r}-traces" / "traces.jsonl")}
        assert rows and len({row["id"] for row in rows}) == len(rows)
        for row in rows:
            trace = kept[row["id"], row["sample"]]
            assert trace["correct"] and trace["well_formed"] and row["completion"] == trace["completion"]
            assert row["prompt"] == trace["prompt"] and row["provenance"]["teacher"] == f"round {r - 1}"
            assert split_of(trace["task"], trace["data"]["key"]) == "train"
        filters = json.loads((tmp_path / f"round-{r}-data" / "filters.json").read_text())
        assert filters["kept"] == len(rows) and filters["filters"][-1]["after"] == len(rows)
        drawn.append({name for name, _ in kept})
    assert len(drawn[0] & drawn[1]) < 12  # a round draws problems of its own
    table = _table(tmp_path)
    assert [row["name"] for row in table["rows"]] == ["base", "round-1", "round-2"]
    for row in table["rows"]:
        cell = row["cells"]["right"]
        assert cell["low"] <= cell["value"] <= cell["high"] and cell["n"] == 9
    assert any("round-2 raises right above base" in check["told"] for check in table["checks"])


def test_star_rationalises_what_it_failed_and_forgets_the_hint(tmp_path: Path) -> None:
    settings = _settings("star", "rounds=1", "hint.control=6", "hint.n=4", "sample.n=1", "sample.problems=40")
    BY_NAME["star"].run(settings, tmp_path)
    counts = read_manifest(tmp_path / "round-1-data")["metrics"]
    hinted = read_traces(tmp_path / "round-1-hints" / "traces.jsonl")
    solved = {row["id"] for row in read_traces(tmp_path / "round-1-traces" / "traces.jsonl")
              if row["correct"] and row["well_formed"]}  # fmt: skip
    assert hinted and not solved & {row["id"] for row in hinted}
    assert all(row["prompt"].endswith("<think>\n") and row["answer"] in row["prompt"] for row in hinted)
    rows = read_jsonl(tmp_path / "round-1-data" / "sft.jsonl")
    again = [row for row in rows if row["provenance"]["stage"] == "rationalised"]
    assert len(again) == counts["kept_rationalised"] > 0 and len(rows) == counts["kept"]
    for row in again:
        assert row["prompt"].endswith("assistant\n") and "Answer:" not in row["prompt"]
        assert "Antwort:" not in row["prompt"] and row["completion"].startswith("<think>\n")
    worth = json.loads((tmp_path / "round-1-hints" / "hints.json").read_text())
    assert {worth[name]["n"] for name in ("answer", "other", "none")} == {6} and "answer - other" in worth
    assert any("no hint" in note for note in _table(tmp_path)["notes"])


def test_a_model_that_is_never_right_is_one_line(tmp_path: Path) -> None:
    settings = _settings("rejection-sampling", "sample.problems=3", "sample.max_completion_length=2")
    with pytest.raises(PonderError, match=r"round-1-data: none of 12 traces is left to learn from \(the filter"):
        BY_NAME["rejection-sampling"].run(settings, tmp_path)


@pytest.mark.slow
def test_rounds_go_on_from_the_model_before_and_add_up_rows_where_asked(tmp_path: Path) -> None:
    settings = _settings("rejection-sampling", "train_from=previous", "accumulate=true", "sample.problems=16")
    BY_NAME["rejection-sampling"].run(settings, tmp_path)
    first, second = (read_manifest(tmp_path / f"round-{r}-sft") for r in (1, 2))
    kept = [read_manifest(tmp_path / f"round-{r}-data")["metrics"]["kept"] for r in (1, 2)]
    assert first["metrics"]["rows"] == kept[0] and second["metrics"]["rows"] == sum(kept)
    assert first["inputs"]["model"] != second["inputs"]["model"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("filter.which=best", "scorer names no outcome model"),
        ("train_from=last", "base"),
        ("filter.max_per_problm=1", "did you mean max_per_problem"),
        ("rounds=0", "rounds is 0"),
    ],
)
def test_a_wrong_setting_is_one_line(override: str, line: str) -> None:
    with pytest.raises(PonderError, match=line) as caught:
        _settings("rejection-sampling", override)
    assert "\n" not in str(caught.value)


def test_one_seed_is_that_of_training_and_choosing() -> None:
    settings = _settings("star", "seed=7")
    assert settings.sft.seed == settings.filter.seed == 7 and settings.sft.max_length == 0
    assert _settings("star", "seed=7", "sft.seed=3").sft.seed == 3


RUN = (
    "import sys; from pathlib import Path; from tests.pipelines.test_self_improve import BY_NAME, _settings;"
    "BY_NAME['star'].run(_settings('star', 'hint.control=6'), Path(sys.argv[1]))"
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_runs_end_with_the_same_figures(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN]
    began = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    took = time.monotonic() - began
    for share in (0.3, 0.5, 0.7, 0.85):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], env=environment, stderr=subprocess.DEVNULL)
        time.sleep(took * share)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(tmp_path / "killed")], check=True, env=environment, capture_output=True)
    assert _table(tmp_path / "whole") == _table(tmp_path / "killed")
    for name in ("round-1-traces/traces.jsonl", "round-2-hints/traces.jsonl", "round-2-data/sft.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
