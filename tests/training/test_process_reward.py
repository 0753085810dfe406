"""Process models: what they learn, against a slow loop; any split, going on; soft labels; bad rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from reward_world import BASE, SEPARATOR, outcome, process, run_process, soft, stepwise
from tiny_world import same_bits, weights_of

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.steps import LabelledSteps
from ponder.models.scorers import StepScorer
from ponder.tasks.shapes import Stepwise
from ponder.training import supervised as loop
from ponder.training.distributed import World, launch
from ponder.training.process_reward import PRMSettings, read_step_rows, train_process_model


def slow_logits(head, row) -> list[float]:
    """Each step's prefix on its own, no padding: the head on the body's last state."""
    found = []
    for k in range(1, len(row.completions) + 1):
        text = row.prompt + "".join(step + SEPARATOR for step in row.completions[:k])
        hidden = head.model.base_model(input_ids=torch.tensor([head.tokenizer(text).input_ids])).last_hidden_state
        found.append(head.model.score(hidden[0, -1]).item())
    return found


@pytest.mark.parametrize("rows", [stepwise(8), soft(8)], ids=["hard", "soft"])
def test_the_first_step_is_the_papers(tmp_path, rows):
    head = process()
    logits = [x for row in rows for x in slow_logits(head, row)]
    labels = [float(label) for row in rows for label in row.labels]
    losses = [
        y * math.log1p(math.exp(-x)) + (1 - y) * math.log1p(math.exp(x)) for x, y in zip(logits, labels, strict=True)
    ]
    run_process(World(), tmp_path / "all", rows, max_steps=1)
    found = read_jsonl(tmp_path / "all" / "metrics.jsonl")[0]
    assert found["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found["label_mean"] == pytest.approx(sum(labels) / len(labels))
    # Bugs that must show: the score read one step off, a mean over rows instead of steps.
    shifted = [
        y * math.log1p(math.exp(-x)) + (1 - y) * math.log1p(math.exp(x))
        for x, y in zip(logits[1:], labels[:-1], strict=True)
    ]
    assert found["loss"] != pytest.approx(sum(shifted) / len(shifted), rel=1e-4)
    ends, by_row = [], []
    for row in rows:
        ends.append(losses[len(row.labels) - 1])
        by_row.append(sum(losses[: len(row.labels)]) / len(row.labels))
        losses = losses[len(row.labels) :]
    assert found["loss"] != pytest.approx(sum(by_row) / len(by_row), rel=1e-4)
    run_process(World(), tmp_path / "last", rows, max_steps=1, train_on_last_step_only=True)
    assert read_jsonl(tmp_path / "last" / "metrics.jsonl")[0]["loss"] == pytest.approx(sum(ends) / len(ends), rel=1e-5)


def test_the_split_and_the_padding_do_not_matter(tmp_path):
    run_process(World(), tmp_path / "whole", token_budget=10_000)
    run_process(World(), tmp_path / "split", token_budget=1)
    whole, split = (weights_of(tmp_path / name / "model") for name in ("whole", "split"))
    for name in whole:
        torch.testing.assert_close(whole[name], split[name], rtol=1e-4, atol=2e-5)


def test_stopped_and_gone_on_is_the_same_run(tmp_path, monkeypatch):
    run_process(World(), tmp_path / "whole")
    calls, real = 0, loop.update

    def failing(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 6:
            raise RuntimeError("the power is gone")
        return real(*args, **kwargs)

    monkeypatch.setattr(loop, "update", failing)
    with pytest.raises(RuntimeError):
        run_process(World(), tmp_path / "stopped")
    monkeypatch.setattr(loop, "update", real)
    run_process(World(), tmp_path / "stopped")
    assert same_bits(*(weights_of(tmp_path / name / "model") for name in ("whole", "stopped")))


@pytest.mark.slow
def test_two_processes_are_as_one(tmp_path):
    one = run_process(World(), tmp_path / "one", None, stepwise(13, "held"))
    two = launch(run_process, 2, (tmp_path / "two", None, stepwise(13, "held")))
    for name in ("loss", "eval_loss", "eval_accuracy", "eval_first_error"):
        assert two[name] == pytest.approx(one[name], rel=1e-3), name


def test_it_learns_what_it_has_not_seen(tmp_path):
    held = stepwise(64, "held")
    found = run_process(World(), tmp_path, stepwise(256), held, max_steps=80, batch_size=16, save_steps=100)
    assert found["eval_accuracy"] > 0.9 and found["eval_auc"] > 0.95 and found["eval_first_error"] > 0.75
    told = json.loads((tmp_path / "calibration.json").read_text())
    assert sum(one["n"] for one in told["bins"]) == sum(len(row.labels) for row in held)
    scorer = StepScorer(tmp_path / "model")
    assert scorer.head.step_separator == SEPARATOR
    scores = scorer.score([row.prompt for row in held], [row.completions for row in held])
    agree = [
        (s >= 0.5) == y for row, own in zip(held, scores, strict=True) for s, y in zip(own, row.labels, strict=True)
    ]
    assert sum(agree) / len(agree) == pytest.approx(found["eval_accuracy"])
    fresh = StepScorer(process()).score([row.prompt for row in held], [row.completions for row in held])
    chance = [
        (s >= 0.5) == y for row, own in zip(held, fresh, strict=True) for s, y in zip(own, row.labels, strict=True)
    ]
    assert sum(chance) < 0.85 * sum(agree), "an untrained head cannot do this"


def test_bad_rows_are_named(tmp_path, caplog):
    rows = stepwise(8)
    with caplog.at_level("WARNING", logger="ponder"):
        run_process(
            World(),
            tmp_path / "a",
            [*rows, Stepwise("1?", (), (), 97), Stepwise("1?", ("a" * 70,), (True,), 96)],
            max_steps=1,
        )
    assert "1 of 10 rows left out (no steps): 97" in caplog.text
    assert "1 of 10 rows left out (longer than 64 tokens): 96" in caplog.text
    with pytest.raises(PonderError, match="row 5 has 2 steps and 1 labels"):
        run_process(World(), tmp_path / "b", [Stepwise("1?", ("a", "b"), (True,), 5)])
    with pytest.raises(PonderError, match=r"row 6: labels are \[1.5\]; each must lie between 0"):
        run_process(World(), tmp_path / "c", [LabelledSteps("1?", ("a",), (1.5,), 6)])
    head = outcome()
    with pytest.raises(PonderError, match="not one number a token"):
        train_process_model(PRMSettings(**BASE), head.model, head.tokenizer, rows, tmp_path / "d")


def test_another_separator_is_another_run(tmp_path):
    run_process(World(), tmp_path)
    head = process()
    head.model.config.step_separator = "+"
    with pytest.raises(PonderError, match="step_separator was '=' and is now|data was"):
        train_process_model(PRMSettings(**BASE), head.model, head.tokenizer, stepwise(), tmp_path)


def test_rows_of_files(tmp_path: Path):
    def file(name: str, *rows: object) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    hard = file("h.jsonl", {"prompt": "q", "completions": ["a", "b"], "labels": [True, 0]})
    assert read_step_rows(hard) == [LabelledSteps("q", ("a", "b"), (1.0, 0.0), 1)]
    shares = file("s.jsonl", {"prompt": "q", "completions": ["a", "b"], "labels": [0.25, 1]})
    assert read_step_rows(shares) == [LabelledSteps("q", ("a", "b"), (0.25, 1.0), 1)]
    for labels, message in (
        ([0.5], "1 labels"),
        ([0.5, 2], "from 0 to 1"),
        (["x", 1], "from 0 to 1"),
        (None, "no labels"),
    ):
        with pytest.raises(PonderError, match=rf"b.jsonl, row 1: .*{message}"):
            read_step_rows(file("b.jsonl", {"prompt": "q", "completions": ["a", "b"], "labels": labels}))
