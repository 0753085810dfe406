"""Outcome models: what they learn, against a slow loop; any split, any padding, going on; bad rows; files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from reward_world import BASE, judged, outcome, pairs, run_outcome, word
from tiny_world import same_bits, weights_of

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.models.scorers import OutcomeScorer
from ponder.tasks.shapes import Preference
from ponder.training import supervised as loop
from ponder.training.distributed import World, launch
from ponder.training.reward_model import Judged, RewardSettings, read_reward_rows, train_reward_model


def slow_score(head, prompt: str, completion: str) -> float:
    """One row, no padding, through the body and the head, at the end token."""
    ids = head.tokenizer(prompt + completion).input_ids + [head.tokenizer.eos_token_id]
    hidden = head.model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
    return head.model.score(hidden).item()


def test_the_first_step_is_the_papers(tmp_path):
    head = outcome()
    rows = pairs(8)
    run_outcome(World(), tmp_path / "p", rows, max_steps=1, center_rewards_coefficient=0.05)
    scores = [(slow_score(head, r.prompt, r.chosen), slow_score(head, r.prompt, r.rejected)) for r in rows]
    loss = sum(math.log1p(math.exp(r - c)) + 0.05 * (c + r) ** 2 for c, r in scores) / 8
    found = read_jsonl(tmp_path / "p" / "metrics.jsonl")[0]
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["accuracy"] == sum(c > r for c, r in scores) / 8
    assert found["margin"] == pytest.approx(sum(c - r for c, r in scores) / 8, rel=1e-4)

    run_outcome(World(), tmp_path / "l", judged(8), max_steps=1)
    logits = [(slow_score(head, r.prompt, r.completion), r.label) for r in judged(8)]
    loss = sum(math.log1p(math.exp(-x if y else x)) for x, y in logits) / 8
    assert read_jsonl(tmp_path / "l" / "metrics.jsonl")[0]["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("rows", [pairs(), judged()], ids=["pairs", "labels"])
def test_the_split_and_the_padding_do_not_matter(tmp_path, rows):
    run_outcome(World(), tmp_path / "whole", rows, token_budget=10_000)
    run_outcome(World(), tmp_path / "split", rows, token_budget=1)
    whole, split = (weights_of(tmp_path / name / "model") for name in ("whole", "split"))
    for name in whole:
        torch.testing.assert_close(whole[name], split[name], rtol=1e-4, atol=2e-5)


def test_stopped_and_gone_on_is_the_same_run(tmp_path, monkeypatch):
    run_outcome(World(), tmp_path / "whole")
    calls, real = 0, loop.update

    def failing(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise RuntimeError("the power is gone")
        return real(*args, **kwargs)

    monkeypatch.setattr(loop, "update", failing)
    with pytest.raises(RuntimeError):
        run_outcome(World(), tmp_path / "stopped")
    monkeypatch.setattr(loop, "update", real)
    run_outcome(World(), tmp_path / "stopped")
    assert same_bits(*(weights_of(tmp_path / name / "model") for name in ("whole", "stopped")))
    with pytest.raises(PonderError, match="data was"):
        run_outcome(World(), tmp_path / "stopped", pairs(name="other"), max_steps=6)


@pytest.mark.slow
def test_two_processes_are_as_one(tmp_path):
    one = run_outcome(World(), tmp_path / "one", judged(), judged(13, "held"))
    two = launch(run_outcome, 2, (tmp_path / "two", judged(), judged(13, "held")))
    for name in ("loss", "eval_loss", "eval_accuracy", "eval_auc"):
        assert two[name] == pytest.approx(one[name], rel=1e-3), name


@pytest.mark.parametrize("kind", [pairs, judged])
def test_it_learns_what_it_has_not_seen(tmp_path, kind):
    found = run_outcome(World(), tmp_path, kind(256), kind(64, "held"), max_steps=60, batch_size=16, save_steps=100)
    assert found["eval_accuracy"] > 0.9 and found["eval_ece"] < 0.15
    told = json.loads((tmp_path / "calibration.json").read_text())
    assert sum(one["n"] for one in told["bins"]) == 64 and told["accuracy"] == found["eval_accuracy"]
    first = read_jsonl(tmp_path / "metrics.jsonl")[0]
    assert first["loss"] > 0.5 > found["loss"]
    # The model on disk, read by the scorer, is the one that was measured.
    import random

    rng = random.Random("other")
    scorer = OutcomeScorer(tmp_path / "model")
    good = scorer.score(["7?"] * 20, [word(rng, True) for _ in range(20)])
    bad = scorer.score(["7?"] * 20, [word(rng, False) for _ in range(20)])
    assert sum(g > b for g, b in zip(good, bad, strict=True)) >= 17
    # A control that was never trained cannot do this: the figure above is learning, not luck.
    fresh = OutcomeScorer(outcome())
    rows = pairs(64, "held")
    prompts = [row.prompt for row in rows]
    chosen, rejected = fresh.score(prompts, [r.chosen for r in rows]), fresh.score(prompts, [r.rejected for r in rows])
    guess = [a > b for a, b in zip(chosen, rejected, strict=True)]
    assert sum(guess) / 64 < 0.8


def test_bad_rows_are_named(tmp_path, caplog):
    long = Judged("1?", "a" * 70, True, 99)
    with caplog.at_level("WARNING", logger="ponder"):
        run_outcome(World(), tmp_path / "a", [*judged(8), long, Judged("1?", " ", False, 98)], max_steps=1)
    assert "1 of 10 rows left out (longer than 64 tokens): 99" in caplog.text
    assert "1 of 10 rows left out (the completion is empty): 98" in caplog.text
    with pytest.raises(
        PonderError, match=r"row 99 has 73 tokens, more than 64; raise max_length or set truncation=drop"
    ):
        run_outcome(World(), tmp_path / "b", [*judged(8), long], truncation="error")
    with pytest.raises(PonderError, match="none of the 1 rows can be used: chosen and rejected are the same"):
        run_outcome(World(), tmp_path / "c", [Preference("1?", "a", "a", 5)])
    with pytest.raises(PonderError, match="some rows are pairs"):
        run_outcome(World(), tmp_path / "d", [*pairs(2), *judged(2)])
    with pytest.raises(PonderError, match="some rows are pairs"):
        run_outcome(World(), tmp_path / "e", pairs(2), judged(2))
    with pytest.raises(PonderError, match="center_rewards_coefficient is for pairs"):
        run_outcome(World(), tmp_path / "f", judged(2), center_rewards_coefficient=0.1)
    with pytest.raises(PonderError, match="no rows"):
        run_outcome(World(), tmp_path / "g", [])


def test_a_model_without_one_number_a_row(tmp_path):
    from reward_world import process

    head = process()
    with pytest.raises(PonderError, match="not one number a row"):
        train_reward_model(RewardSettings(**BASE), head.model, head.tokenizer, pairs(), tmp_path)


def test_rows_of_files(tmp_path: Path):
    def file(name: str, *rows: object) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    labelled = file(
        "a.jsonl", {"prompt": "q", "completion": "a", "label": True}, {"prompt": "q", "completion": "b", "label": 0}
    )
    assert [(row.label, row.row) for row in read_reward_rows(labelled)] == [(True, 1), (False, 2)]
    traces = file(
        "t.jsonl",
        {"prompt": "q", "completion": "a", "correct": None},
        {"prompt": "q", "completion": "b", "correct": False},
    )
    assert read_reward_rows(traces) == [Judged("q", "b", False, 2)]
    paired = file("p.jsonl", {"prompt": "q", "chosen": "a", "rejected": "b"})
    assert read_reward_rows(paired) == [Preference("q", "a", "b", 1)]
    odd = file(
        "o.jsonl",
        {"prompt": "q", "completion": "a", "label": True},
        {"prompt": "q", "completion": "a", "label": "good"},
    )
    with pytest.raises(PonderError, match=r"o.jsonl, row 2: label is 'good'"):
        read_reward_rows(odd)
    assert len(read_reward_rows(odd, on_error="collect").errors) == 1
    with pytest.raises(PonderError, match="row 1: no completion"):
        read_reward_rows(file("e.jsonl", {"prompt": "q", "completion": " ", "label": True}))
    with pytest.raises(PonderError, match="holds no row with a known label"):
        read_reward_rows(file("n.jsonl", {"prompt": "q", "completion": "a", "correct": None}))
