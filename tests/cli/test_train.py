"""`ponder train` on the command line: what it makes, what it refuses, and that no option is passed over in silence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder.cli.app import run_app
from ponder.core.records import read_jsonl
from ponder.core.store import read_manifest

ASK = {"role": "user", "content": "What is 2 + 3?"}
SAY = {"role": "assistant", "content": "<think>\n2 + 3 = 5\n</think>\n<answer>5</answer>"}
QUICK = ("max_steps=1", "processes=1", "batch_size=2")
RL = ("max_steps=1", "processes=1", "questions_per_step=2", "num_generations=2", "max_completion_length=4")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PONDER_DEBUG", raising=False)


def rows(name: str, *found: Any) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in found))
    return name


def train(arguments: Sequence[str], capsys: Any) -> tuple[int, str, str]:
    code = run_app(["train", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def fault(arguments: Sequence[str], capsys: Any) -> str:
    code, out, err = train(arguments, capsys)
    line = err.splitlines()[-1]
    assert (code, out) == (2, "") and line.startswith("ponder: ") and "Traceback" not in err
    return line.removeprefix("ponder: ")


def test_steps_with_labels_between_wrong_and_right(capsys: Any) -> None:
    file = rows("steps.jsonl", *({"prompt": "2 + 3?", "completions": ["2 + 3", f"= {at}"], "labels": [1, 0.25]}
                                 for at in range(2)))  # fmt: skip
    code, out, err = train(["process", file, *QUICK, "--out", "out"], capsys)
    assert code == 0, err
    assert out == f"{Path('out/process/model')}\n"
    (metrics,) = read_jsonl(Path("out/process/metrics.jsonl"))
    assert metrics["label_mean"] == pytest.approx(0.625)


def test_options_that_a_trainer_would_not_look_at_are_refused(capsys: Any) -> None:
    file = rows("rows.jsonl", {"messages": [ASK, SAY]})
    for option in (("--reward", "accuracy"), ("--prompt-style", "qa"), ("--sandbox", "weak")):
        told = fault(["sft", file, *QUICK, *option], capsys)
        assert told == f"train sft: {option[0]} is for grpo, ppo; leave it out"
    assert "tasks=countdown is for grpo, ppo" in fault(["dpo", "tasks=countdown", *QUICK], capsys)
    assert "--validation is not for grpo, ppo" in fault(["ppo", file, *RL, "--validation", file], capsys)
    assert not Path("runs").exists()


def test_a_reward_of_ones_own_counts_by_what_its_file_says(capsys: Any) -> None:
    file = rows("problems.jsonl", *({"problem": f"What is {at} + 1?", "answer": str(at + 1)} for at in range(2)))
    Path("mine.py").write_text("def one(completions, **rest):\n    return [1.0 for _ in completions]\n")
    command = ["grpo", file, *RL, "--reward", "mine.py:one", "--out", "out"]
    code, _, err = train(command, capsys)
    assert code == 0, err
    assert "done already" in train(command, capsys)[2]
    before = read_manifest(Path("out/grpo"))["fingerprint"]
    Path("mine.py").write_text("def one(completions, **rest):\n    return [2.0 for _ in completions]\n")
    code, _, err = train(command, capsys)
    assert code == 0 and "made before with other settings" in err and "reward_0" in err
    assert read_manifest(Path("out/grpo"))["fingerprint"] != before


def test_tasks_without_a_name_are_refused(capsys: Any) -> None:
    assert "names no kind of problem" in fault(["grpo", "tasks=", *RL], capsys)


def test_a_file_may_have_an_equals_sign_in_its_name(capsys: Any) -> None:
    file = rows("lr=1.jsonl", {"foo": 1})
    assert "lr=1.jsonl, row 1: columns foo are of no known shape" in fault(["sft", file, *QUICK], capsys)


def test_a_look_at_validation_rows_needs_some(capsys: Any) -> None:
    file = rows("rows.jsonl", {"messages": [ASK, SAY]})
    assert "eval_steps is set and there are no validation rows; give them" in fault(
        ["sft", file, *QUICK, "eval_steps=1"], capsys
    )
    assert "eval_steps is set" in fault(["grpo", "tasks=countdown", *RL, "eval_steps=1"], capsys)


def test_arguments_of_a_template_need_rows_that_go_through_it(capsys: Any) -> None:
    file = rows("rows.jsonl", {"prompt": "2 + 3 = ", "completion": "5"})
    told = fault(["sft", file, *QUICK, "chat_template_kwargs.enable_thinking=false"], capsys)
    assert told == "chat_template_kwargs are set, and none of the rows has messages; leave them out"


def test_what_should_be_a_list_is_told_so(capsys: Any) -> None:
    file = rows("rows.jsonl", {"messages": [ASK, SAY]})
    told = fault(["sft", file, *QUICK, "report_to=tensorboard"], capsys)
    assert told == "train sft.report_to is 'tensorboard': should be a list, such as [tensorboard]"


def test_rows_with_an_empty_cell_are_left_out_and_named(capsys: Any) -> None:
    good = {"prompt": "a", "completion": "b"}
    file = rows("rows.jsonl", good, {**good, "completion": " "}, {**good, "prompt": "c"})
    code, _, err = train(["sft", file, *QUICK, "--out", "out"], capsys)
    assert code == 0 and "rows.jsonl: 1 of 3 rows left out, they are empty: 2" in err
    none = rows("none.jsonl", {**good, "completion": ""})
    assert "row 1: completion is empty" in fault(["sft", none, *QUICK], capsys)
    bad = rows("bad.jsonl", good, {"prompt": "a", "answer": "b"})
    assert "row 2: no completion" in fault(["sft", bad, *QUICK], capsys)


def test_more_length_than_the_model_has_is_told(capsys: Any) -> None:
    pairs = rows("pairs.jsonl", *({"prompt": "a", "chosen": f"b {at}", "rejected": "c"} for at in range(2)))
    assert fault(["outcome", pairs, *QUICK, "max_length=4096"], capsys).startswith("max_length is 4096, more than")
