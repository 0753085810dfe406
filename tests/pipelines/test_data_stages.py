"""Data stages: what is held out never gets through, and every filter that a recipe names is applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.core.config import parse_settings
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Completion, Problem
from ponder.data.filter import FilterSettings
from ponder.data.rows import write_rows
from ponder.data.trace import Trace, trace_of
from ponder.pipelines.data_stages import SFT_ROWS, TRACES, import_traces, keep_traces
from ponder.pipelines.mix import MixSettings, held_out_problems, training_mix
from ponder.pipelines.parts import DataStage, RLStage
from ponder.training.distributed import World

MIX = MixSettings(reasoning=("arithmetic", "equations"), general=())
TOLD = {"mix": MIX.model_dump(mode="json"), "measured": 8}


def _trace(question: str, answer: str = "5") -> Trace:
    text = f"<think>\nI work it out.\n</think>\n<answer>{answer}</answer>"
    problem = Problem("rows", question, answer, {})
    return trace_of(problem, Completion((), (), (), text, "stop"), prompt=question, sample=0, provenance={})


def _kept(tmp_path: Path, rows: list[Trace], told: dict[str, Any], **filters: Any) -> list[dict[str, Any]]:
    (tmp_path / "traces").mkdir()
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "traces" / TRACES, rows)
    cfg = {"name": "data", "filter": FilterSettings(**filters).model_dump(mode="json"), "prompt_style": "chat", **told}
    keep_traces(cfg, tmp_path / "data", world=World(), traces=tmp_path / "traces")
    return read_jsonl(tmp_path / "data" / SFT_ROWS)


def _files(tmp_path: Path) -> MixSettings:
    """Six rows to train on; the first two are the test file's, spelt otherwise."""
    train = [{"problem": f"How many apples are {at} and {at} more?", "answer": str(2 * at)} for at in range(1, 7)]
    test = [{**row, "problem": row["problem"].upper().replace("?", " ?")} for row in train[:2]]
    write_rows(tmp_path / "train.jsonl", train)
    write_rows(tmp_path / "test.jsonl", test)
    return MixSettings(train_file=tmp_path / "train.jsonl", test_file=tmp_path / "test.jsonl", general=())


def test_imported_traces_may_not_hold_a_measured_question_even_without_its_content(tmp_path: Path) -> None:
    measured = held_out_problems(MIX, 8)[3]
    write_rows(tmp_path / "theirs.jsonl", [_trace("What is 2 and 3?"), _trace(f"  {measured.prompt.upper()} ")])
    with pytest.raises(PonderError, match=r"theirs.jsonl.*row 2.*held out"):
        import_traces(TOLD, tmp_path, world=World(), file=tmp_path / "theirs.jsonl")
    assert not (tmp_path / TRACES).exists()
    write_rows(tmp_path / "good.jsonl", [_trace("What is 2 and 3?")])
    assert import_traces(TOLD, tmp_path, world=World(), file=tmp_path / "good.jsonl") == {"traces": 1}


def test_imported_traces_may_not_hold_a_row_of_the_test_file(tmp_path: Path) -> None:
    told = {"mix": _files(tmp_path).model_dump(mode="json"), "measured": 8}
    write_rows(tmp_path / "theirs.jsonl", [_trace("how many apples are 2 and 2 more")])
    with pytest.raises(PonderError, match=r"held out: its question is in .*test\.jsonl"):
        import_traces(told, tmp_path, world=World(), file=tmp_path / "theirs.jsonl")


def test_traces_that_are_kept_may_not_be_of_the_test_file(tmp_path: Path) -> None:
    told = {"mix": _files(tmp_path).model_dump(mode="json"), "measured": 8}
    rows = [_trace("how many apples are 2 and 2 more"), _trace("What is 2 and 3?")]
    kept = _kept(tmp_path, rows, told)
    assert [row["messages"][0]["content"] for row in kept] == ["What is 2 and 3?"]
    table = json.loads((tmp_path / "data" / "filters.json").read_text())["reasoning"]["filters"]
    assert [one["taken"] for one in table if one["filter"] == "held out"] == [1]


def test_a_training_file_loses_the_rows_that_the_test_file_has_in_other_spelling(tmp_path: Path) -> None:
    drawn = training_mix(_files(tmp_path), 6, "train")
    assert sorted(problem.answer for problem in drawn) == ["10", "12", "6", "8"]


def test_evaluation_sets_that_a_filter_names_are_looked_at(tmp_path: Path) -> None:
    write_rows(tmp_path / "eval.jsonl", [{"problem": "What is 2 and 3?", "answer": "5"}])
    rows = [_trace("What is 2 and 3?"), _trace("What is 1 and 4?")]
    kept = _kept(tmp_path, rows, {}, against=(str(tmp_path / "eval.jsonl"),))
    assert [row["messages"][0]["content"] for row in kept] == ["What is 1 and 4?"]


def test_where_no_trace_is_left_the_filter_that_took_most_is_named(tmp_path: Path) -> None:
    with pytest.raises(PonderError, match=r"data: none of 2 traces is left.*'length' took 2"):
        _kept(tmp_path, [_trace("What is 2 and 3?"), _trace("What is 1 and 4?")], {}, min_characters=5000)


def test_an_empty_file_of_traces_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "theirs.jsonl").write_text("")
    with pytest.raises(PonderError, match=r"theirs.jsonl holds no rows"):
        import_traces(TOLD, tmp_path, world=World(), file=tmp_path / "theirs.jsonl")


def test_stages_without_validation_rows_do_not_take_a_setting_for_them() -> None:
    for cls, values in ((DataStage, {"sft": {"eval_steps": 5}}), (RLStage, {"grpo": {"eval_steps": 5}})):
        with pytest.raises(PonderError, match="eval_steps is 5: models are measured after the stage"):
            parse_settings(cls, values)


def test_a_kind_of_problem_that_there_is_none_of_is_found_before_anything_runs() -> None:
    with pytest.raises(PonderError, match=r"reasoning .*unknown kind of problem 'countdwn'.*did you mean countdown\?"):
        parse_settings(MixSettings, {"reasoning": ["arithmetic", "countdwn"]})
    assert parse_settings(MixSettings, {"reasoning": ["gym:chain_sum"]}).reasoning == ("gym:chain_sum",)
