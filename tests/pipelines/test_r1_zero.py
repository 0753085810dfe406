"""R1-Zero end to end on a tiny random model: stages, records, report, restarts, and what it refuses."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ponder.core.config import load_recipe, merge_overrides, parse_settings
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Completion, Problem
from ponder.mini.corpus import documents
from ponder.mini.model import new_model
from ponder.mini.tokenizer import train_tokenizer
from ponder.pipelines import pipeline_table, r1_zero
from ponder.pipelines.r1_zero import R1_ZERO, R1ZeroSettings, held_out, training_problems
from ponder.tasks import KINDS


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer((d.text for d in islice(documents("pipeline test"), 1000)), 512)
    new_model(tokenizer, seed=1, hidden=64, layers=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _settings(model: Any, *overrides: str) -> R1ZeroSettings:
    small = (
        f"model={model}", "grpo.max_steps=2", "grpo.questions_per_step=4", "grpo.num_generations=2",
        "grpo.max_completion_length=8", "grpo.eval_steps=1", "grpo.save_steps=1", "grpo.processes=1",
        "evaluation.problems=7", "evaluation.n=2", "evaluation.validation_problems=7", "data.train_problems=70",
        "grpo.warmup_steps=0",
    )  # fmt: skip
    values = merge_overrides(load_recipe("r1-zero"), [*small, *overrides])
    values.pop("pipeline")
    return parse_settings(R1ZeroSettings, values, R1_ZERO.aliases, "r1-zero")


def test_a_run_end_to_end_and_a_second_run_at_once(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def letters(completions, **kwargs):\n    return [len(set(c)) for c in completions]\n"
    (tmp_path / "rewards.py").write_text(source)
    settings = _settings(model_dir, f"rewards=[accuracy, format, '{tmp_path}/rewards.py:letters']")
    report = r1_zero.run(settings, tmp_path)
    assert report.name == "report.html" and "<html" in report.read_text()
    rows = read_jsonl(tmp_path / "r1-zero" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    for name in (
        "loss", "reward", "accuracy", "entropy", "grad_norm", "completions/mean_length", "mismatch_kl/mean",
        "behaviour/self_verification", "validation/accuracy", "frac_reward_zero_std", "rewards/letters/mean",
    ):  # fmt: skip
        assert name in rows[-1], name
    assert abs(rows[-1]["mismatch_kl/mean"]) < 1e-6  # sampler and trainer are one model
    for stage, names in (
        ("evaluation-base", ("base-sampled", "base-greedy", "cot-sampled", "cot-greedy")),
        ("evaluation-trained", ("trained-sampled", "trained-greedy")),
    ):
        for name in names:
            result = json.loads((tmp_path / stage / f"{name}.json").read_text())
            assert result["summary"]["overall"]["problems"] == 7 and result["spec"]["hash"]
    assert json.loads((tmp_path / "r1-zero" / "config.json").read_text())["model"] == str(model_dir)

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished stage ran again")

    for stage in ("measure_base", "measure_trained", "train"):
        monkeypatch.setattr(getattr(r1_zero, stage), "__code__", never.__code__)
    assert r1_zero.run(settings, tmp_path) == report


def test_changed_settings_are_named_and_only_what_they_touch_is_made_again(
    model_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    r1_zero.run(_settings(model_dir), tmp_path)
    r1_zero.run(_settings(model_dir, "grpo.learning_rate=0.5"), tmp_path)
    assert "r1-zero: made before with other settings (grpo.learning_rate" in caplog.text
    assert "evaluation-base: made" not in caplog.text and "evaluation-trained: made" in caplog.text


def test_training_never_sees_a_held_out_problem() -> None:
    settings = _settings("mini")
    trained = {(p.task, p.data["key"]) for p in training_problems(settings)}
    for split in ("validation", "test"):
        kept = {(p.task, p.data["key"]) for p in held_out(settings.data, 140, split)}
        assert len(kept) > 70 and not kept & trained
    assert {task for task, _ in trained} == set(KINDS)


def test_rows_of_a_file_that_are_held_out_are_left_out_of_training(tmp_path: Path) -> None:
    rows = [{"question": f"What is {i}+1?", "answer": f"#### {i + 1}"} for i in range(6)]
    for name, part in (("train", rows), ("test", rows[4:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    files = (f"data.train_file={tmp_path}/train.jsonl", f"data.test_file={tmp_path}/test.jsonl")
    settings = _settings("mini", *files, "grpo.eval_steps=0")
    assert [p.answer for p in training_problems(settings)] == ["1", "2", "3", "4"]
    assert [p.answer for p in held_out(settings.data, 10, "test")] == ["5", "6"]


def test_rows_that_validate_are_not_trained_on(tmp_path: Path) -> None:
    rows = [{"question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(100)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "What is 0+0?", "answer": "0"}) + "\n")
    files = (f"data.train_file={tmp_path}/train.jsonl", f"data.test_file={tmp_path}/test.jsonl")
    settings = _settings("mini", *files, "grpo.eval_steps=1", "evaluation.validation_problems=50")
    validated = {p.id for p in held_out(settings.data, 50, "validation")}
    assert 3 < len(validated) < 25 and not validated & {p.id for p in training_problems(settings)}


def test_what_cannot_change_the_weights_may_change_between_runs(model_dir: Path, tmp_path: Path) -> None:
    report = r1_zero.run(_settings(model_dir), tmp_path)
    assert r1_zero.run(_settings(model_dir, "grpo.save_steps=2", "grpo.logging_steps=2"), tmp_path) == report


def test_a_template_that_opens_the_thought_is_known_to_the_rewards() -> None:
    problem = Problem("rows", "What is 2+3?", "5")
    completion = Completion((1,), (2,), (), "two and three</think><answer>5</answer>", "stop")
    for opened, value in ((False, 1.0), (True, 1.2)):
        (score,) = r1_zero.reward_of(_settings("mini"), opened)([problem], [completion])
        assert score.value == pytest.approx(value)
    assert r1_zero.opens_thought(lambda p: f"{p.prompt}<think>\n") and not r1_zero.opens_thought(lambda p: p.prompt)


def test_one_seed_is_the_trainings_too() -> None:
    assert _settings("mini", "seed=7").grpo.seed == 7
    assert _settings("mini", "seed=7", "grpo.seed=3").grpo.seed == 3
    assert R1ZeroSettings(seed=5).grpo.seed == 5


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("grpo.lerning_rate=1", "did you mean learning_rate"),
        ("grpo.num_generations=1", "num_generations is 1"),
        ("grpo.top_p=0.9", "RL must train the distribution that it samples"),
        ("prompt_style=chatty", "prompt_style"),
        ("data.train_file=x.jsonl", "go together"),
        ("grpo.rollout.n=4", "given twice"),
    ],
)
def test_a_wrong_setting_is_one_line(override: str, line: str) -> None:
    with pytest.raises(PonderError, match=line) as caught:
        _settings("mini", override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("grpo.max_completion_length=600",), "context"),
        (("data.tasks=[]",), "no kinds"),
        (("data.tasks=[chess]",), "unknown kind"),
        (("rewards=[acuracy]",), "acuracy"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(
    model_dir: Path, tmp_path: Path, overrides: tuple[str, ...], line: str
) -> None:
    with pytest.raises(PonderError, match=line) as caught:
        r1_zero.run(_settings(model_dir, *overrides), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())  # it is said before any work is done


def test_every_recipe_is_loaded_and_planned(tmp_path: Path) -> None:
    from ponder.core.config import recipe_names

    for name in recipe_names():
        values = load_recipe(name)
        pipeline = pipeline_table()[values.pop("pipeline")]
        settings = parse_settings(pipeline.settings, values, pipeline.aliases, name)
        stages = pipeline.plan(settings, tmp_path)
        assert stages and all(stage.state == "to do" for stage in stages)
