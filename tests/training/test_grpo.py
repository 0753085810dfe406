"""The loop: it learns, it tells what happened, and it refuses what cannot work before it starts."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import (
    letter_reward,
    make_model,
    make_problems,
    make_settings,
    make_team,
    make_tokenizer,
    render,
    run,
    same_bits,
    token_reward,
    weights_of,
)

import ponder.training.questions as questions
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Completion, Problem, SamplingParams, Score
from ponder.objectives import FAMILY
from ponder.rewards import RewardPart, compose
from ponder.sampling.local import LocalSampler
from ponder.training import grpo_step as steps
from ponder.training.collect import Clock
from ponder.training.distributed import World
from ponder.training.grpo import Observer, train_grpo
from ponder.training.grpo_step import Place, grpo_step
from ponder.training.prepare import prepare


def rows_of(out_dir: Path) -> list[dict[str, Any]]:
    return read_jsonl(out_dir / "metrics.jsonl")


def mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


# ---- learning ----


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The reward of a control that samples as much and learns nothing."""
    out_dir = tmp_path_factory.mktemp("frozen")
    run(World(), out_dir, {"max_steps": 25, "learning_rate": 1e-12, "save_steps": 25}, token_reward)
    return mean(rows_of(out_dir)[-5:], "reward")


@pytest.mark.parametrize("loss_type", sorted(FAMILY))
def test_a_model_learns_to_say_what_is_rewarded(loss_type: str, frozen: float, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 25, "save_steps": 25, "loss_type": loss_type}
    if loss_type in ("gspo", "ppo", "cispo"):  # those that are for several updates a rollout
        settings |= {"num_iterations": 2}
    run(World(), tmp_path, settings, token_reward)
    rows = rows_of(tmp_path)
    assert mean(rows[-5:], "reward") > 0.9 > frozen + 0.3
    assert mean(rows[-5:], "accuracy") == mean(rows[-5:], "reward") == mean(rows[-5:], "rewards/says_b/mean")


def test_an_advantage_of_the_wrong_sign_would_be_seen(
    frozen: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = steps.advantages_of
    monkeypatch.setattr(steps, "advantages_of", lambda *args: [[-a for a in values] for values in real(*args)])
    run(World(), tmp_path, {"max_steps": 25, "save_steps": 25}, token_reward)
    assert mean(rows_of(tmp_path)[-5:], "reward") < frozen


def test_a_kl_holds_the_policy_back(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 12, "save_steps": 12}
    run(World(), tmp_path / "free", settings | {"beta": 1e-6}, token_reward)
    run(World(), tmp_path / "held", settings | {"beta": 3.0}, token_reward)
    free, held = rows_of(tmp_path / "free"), rows_of(tmp_path / "held")
    assert free[0]["kl"] == held[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert mean(held[-3:], "kl") < 0.5 * mean(free[-3:], "kl")


# ---- what is written ----


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("finished")

    def sums(groups: Any) -> dict[str, float]:
        texts = [r.completion.text for g in groups for r in g.rollouts]
        return {"a": float(sum(text.count("a") for text in texts)), "texts": float(len(texts))}

    observer = Observer(sums, lambda sums: {"behaviour/a": sums["a"] / sums["texts"]})
    settings = {"max_steps": 4, "beta": 0.01, "eval_steps": 2}
    result = run(World(), out_dir, settings, observe=observer, evaluate=lambda step: {"eval/accuracy": step / 10})
    (out_dir / "result.json").write_text(json.dumps(result))
    return out_dir


def test_a_step_has_the_metrics_of_the_field(finished: Path) -> None:
    rows = rows_of(finished)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    expected = """
        loss reward reward_std rewards/letter/mean rewards/letter/std accuracy accuracy/letters frac_reward_zero_std
        completions/mean_length completions/min_length completions/max_length completions/mean_terminated_length
        completions/clipped_ratio entropy kl clip_ratio/low_mean clip_ratio/high_mean clip_ratio/region_mean grad_norm
        num_tokens step_time timing_s/gen timing_s/reward timing_s/old_log_prob timing_s/ref timing_s/adv
        timing_s/update timing_s/step perf/throughput perf/max_memory_allocated_gb batch/pad_frac mismatch_kl/mean
        mismatch_kl/max learning_rate behaviour/a""".split()
    assert not set(expected) - set(rows[0])
    assert [row.get("eval/accuracy") for row in rows] == [None, 0.2, None, 0.4]
    for row in rows:
        assert row["timing_s/step"] >= row["timing_s/gen"] + row["timing_s/update"] > 0 < row["timing_s/ref"]
        assert row["timing_s/old_log_prob"] == 0 and row["mismatch_kl/max"] < 1e-8 and 0 < row["entropy"] < 4


def test_the_metrics_are_those_of_the_samples(finished: Path) -> None:
    page, row = read_jsonl(finished / "samples" / "step-000002.jsonl"), rows_of(finished)[1]
    assert len(page) == 16
    assert row["reward"] == pytest.approx(mean(page, "reward")) and row["accuracy"] == mean(page, "correct")
    assert row["completions/mean_length"] == mean(page, "length") and row["completions/max_length"] == 8
    assert row["completions/clipped_ratio"] == sum(r["finish"] == "length" for r in page) / 16
    assert row["behaviour/a"] == sum(r["completion"].count("a") for r in page) / 16
    groups: dict[str, list[dict[str, Any]]] = {}
    for sample in page:
        groups.setdefault(sample["problem_id"], []).append(sample)
    stds = [torch.tensor([s["reward"] for s in group]).std() for group in groups.values()]
    assert row["reward_std"] == pytest.approx(float(torch.stack(stds).mean()), rel=1e-5)
    for group in groups.values():
        assert sum(s["advantage"] for s in group) == pytest.approx(0, abs=1e-6)


def test_samples_are_worst_first_and_say_all_there_is(finished: Path) -> None:
    page = read_jsonl(finished / "samples" / "step-000004.jsonl")
    rewards = [row["reward"] for row in page]
    assert rewards == sorted(rewards) and rewards[0] < rewards[-1]
    assert {"prompt", "answer", "completion", "parts", "note", "task", "finish", "correct", "advantage"} <= set(page[0])
    assert sorted(path.name for path in (finished / "samples").iterdir()) == [
        f"step-00000{step}.jsonl" for step in (1, 2, 4)
    ]


def test_the_settings_and_the_result_are_written(finished: Path) -> None:
    assert json.loads((finished / "config.json").read_text())["beta"] == 0.01
    result = json.loads((finished / "result.json").read_text())
    assert result["step"] == 4 and result["problems"] == 24 and result["dropped"] == {}


def test_all_randomness_is_named(tmp_path: Path) -> None:
    torch.manual_seed(1)
    run(World(), tmp_path / "a", {"max_steps": 3})
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    run(World(), tmp_path / "b", {"max_steps": 3})
    assert torch.equal(before, torch.random.get_rng_state())
    run(World(), tmp_path / "c", {"max_steps": 3, "seed": 1})
    a, b, c = (weights_of(tmp_path / name / "model") for name in "abc")
    assert same_bits(a, b) and not same_bits(a, c)


# ---- the variants of a step ----


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    plain, checkpointed = make_team(), make_team(gradient_checkpointing=True)
    prepare(checkpointed.policy, checkpointed.settings.gradient_checkpointing)
    layers = [m for m in checkpointed.policy.modules() if getattr(m, "gradient_checkpointing", False) and m.training]
    assert layers and not checkpointed.policy.model.layers[0].self_attn.training
    grpo_step(plain, Place())
    grpo_step(checkpointed, Place())
    torch.testing.assert_close(plain.optimizer.gradient, checkpointed.optimizer.gradient, rtol=1e-5, atol=1e-7)


def test_bf16_is_fp32_but_for_rounding() -> None:
    """Run on the CPU, where nobody would; the sampler stays in float32, so the two disagree a little, and say so."""
    plain, rounded = make_team(num_iterations=2), make_team(num_iterations=2, bf16=True)
    grpo_step(plain, Place())
    metrics = grpo_step(rounded, Place()).metrics
    assert 1e-9 < metrics["mismatch_kl/mean"] < 1e-3 and metrics["timing_s/old_log_prob"] > 0
    a, b = plain.optimizer.gradient, rounded.optimizer.gradient
    assert b.dtype == torch.float32 and not torch.equal(a, b)
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.99


def test_several_updates_of_one_rollout_meet_the_clip() -> None:
    team = make_team(num_iterations=3, num_mini_batches=2, learning_rate=0.05, epsilon=0.01)
    metrics = grpo_step(team, Place()).metrics
    assert metrics["updates"] == 6 and metrics["clip_ratio/region_mean"] > 0.05
    assert metrics["timing_s/old_log_prob"] == 0
    assert grpo_step(make_team(), Place()).metrics["clip_ratio/region_mean"] == 0


class Silent:
    """A sampler that does not tell its log-probabilities, as some endpoints."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def sample(self, prompts: Sequence[str], params: SamplingParams, seed: int) -> list[Completion]:
        return [replace(c, logprobs=()) for c in self.inner.sample(prompts, params, seed)]


def test_a_silent_samplers_old_log_probabilities_are_computed() -> None:
    told, silent = make_team(num_iterations=2), make_team(num_iterations=2)
    silent = replace(silent, sampler_of=lambda step, of=silent.sampler_of: Silent(of(step)))
    metrics = grpo_step(silent, Place()).metrics
    assert metrics["timing_s/old_log_prob"] > 0 and metrics["mismatch_kl/mean"] == 0
    grpo_step(told, Place())
    torch.testing.assert_close(told.optimizer.gradient, silent.optimizer.gradient, rtol=1e-4, atol=1e-6)


def test_the_reference_is_renewed() -> None:
    team = make_team(beta=0.1, sync_ref_model=True, ref_model_sync_steps=2, ref_model_mixup_alpha=0.75)
    base = [p.detach().clone() for p in team.reference.parameters()]
    place = grpo_step(team, Place()).place
    assert all(torch.equal(a, b) for a, b in zip(base, team.reference.parameters(), strict=True))
    grpo_step(team, place)
    for old, policy, now in zip(base, team.policy.parameters(), team.reference.parameters(), strict=True):
        torch.testing.assert_close(now, 0.25 * old + 0.75 * policy)


def test_truncated_completions_can_be_masked() -> None:
    stepped = grpo_step(make_team(mask_truncated_completions=True), Place())
    answers = [a for record in stepped.collected.records for a in record.answers]
    ended = [a for a in answers if a.finish == "stop"]
    assert 0 < len(ended) < len(answers)
    (mini_batch,) = steps.mini_batches_of(
        make_team(mask_truncated_completions=True), stepped.collected, stepped.advantages, Clock()
    )
    assert mini_batch.extent.sequences == len(answers)
    assert mini_batch.extent.tokens == sum(a.length for a in ended)
    taught = [i for i, values in enumerate(stepped.advantages) if any(values)]
    learned = sum(a.finish == "stop" for i in taught for a in stepped.collected.records[i].answers)
    assert sum(batch.input_ids_BT.shape[0] for batch in mini_batch.parts) == learned > 0
    assert stepped.metrics["reward"] == pytest.approx(sum(a.reward for a in answers) / len(answers))  # type: ignore[misc]


def test_overlong_completions_pay() -> None:
    team = make_team(overlong_buffer=4, overlong_penalty=2.0)
    answers = [a for record in grpo_step(team, Place()).collected.records for a in record.answers]
    assert {a.length for a in answers} > {8}
    for answer in answers:
        paid = {8: -2.0, 7: -1.5, 6: -1.0, 5: -0.5}.get(answer.length, 0.0)
        assert answer.parts["overlong"] == paid and answer.reward == pytest.approx(answer.parts["letter"] + paid)


def test_weights_of_the_parts_can_be_set(tmp_path: Path) -> None:
    parts = [RewardPart("letter", letter_reward), RewardPart("says_b", token_reward)]
    run(World(), tmp_path, {"max_steps": 1, "reward_weights": {"letter": 0.0, "says_b": 2.0}}, compose(parts))
    row = rows_of(tmp_path)[0]
    assert row["reward"] == pytest.approx(2 * row["rewards/says_b/mean"]) and row["rewards/letter/mean"] > 0
    with pytest.raises(PonderError, match="reward_weights needs a reward made by compose"):
        run(World(), tmp_path / "x", {"reward_weights": [1.0]})


# ---- unknown rewards, groups without signal, gradients that are not finite ----


def unknown_half(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    return [Score(None, None) if i % 2 else s for i, s in enumerate(letter_reward(problems, completions))]


def test_an_unknown_reward_is_counted_and_left_out() -> None:
    stepped = grpo_step(make_team(reward=unknown_half), Place())
    known = [a for record in stepped.collected.records for a in record.answers if a.reward is not None]
    assert stepped.metrics["frac_reward_unknown"] == 0.5 and len(known) == 8
    assert stepped.metrics["reward"] == pytest.approx(sum(a.reward for a in known) / 8)  # type: ignore[misc]
    assert [len(values) for values in stepped.advantages] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("value", "beta"), [(None, 0.0), (None, 0.1), (1.0, 0.0)], ids=["unknown", "unknown with a KL", "all equal"]
)
def test_a_step_with_nothing_to_learn_leaves_the_weights(value: float | None, beta: float, tmp_path: Path) -> None:
    def constant(problems: Any, completions: Any) -> list[Score]:
        return [Score(value, None) for _ in completions]

    run(World(), tmp_path, {"max_steps": 2, "beta": beta}, constant)
    rows = rows_of(tmp_path)
    assert [row["updates"] for row in rows] == [0, 0] and rows[0]["loss"] == 0
    assert rows[0]["accuracy"] is None and rows[0]["reward"] == value
    before = dict(make_model().named_parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(tmp_path / "model").items())


def poison(monkeypatch: pytest.MonkeyPatch, bad_calls: set[int]) -> None:
    real, calls = steps.policy_loss, [0]

    def poisoned(*args: Any) -> Any:
        calls[0] += 1
        loss, stats = real(*args)
        return (loss * float("nan") if calls[0] in bad_calls else loss), stats

    monkeypatch.setattr(steps, "policy_loss", poisoned)


def test_a_gradient_that_is_not_finite_is_skipped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poison(monkeypatch, {2, 3, 5})
    with caplog.at_level(logging.WARNING, "ponder"):
        run(World(), tmp_path, {"max_steps": 6, "max_nonfinite": 3})
    assert [row["updates_skipped"] for row in rows_of(tmp_path)] == [0, 1, 1, 0, 1, 0]
    assert "step 3: the gradient is not finite; the update was skipped (2 in a row)" in caplog.text
    assert all(bool(weight.isfinite().all()) for weight in weights_of(tmp_path / "model").values())


def test_too_many_in_a_row_stop_the_run_and_leave_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {3, 4})
    with pytest.raises(PonderError, match="step 4: the gradient was not finite 2 times in a row"):
        run(World(), tmp_path, {"max_steps": 6, "max_nonfinite": 2})
    weights = weights_of(tmp_path / "checkpoints" / "step-000003" / "model")
    assert all(bool(weight.isfinite().all()) for weight in weights.values())


# ---- dynamic sampling ----


def by_question(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """Always right on a third of the questions, always wrong on another; a shaped reward that varies in every group."""
    scores = []
    for i, problem in enumerate(problems):
        correct = {"a": True, "b": False}.get(problem.answer, i % 2 == 0)
        scores.append(Score(float(correct) + 0.01 * (i % 4), correct))
    return scores


def test_dynamic_sampling_refills_and_filters_on_accuracy(tmp_path: Path) -> None:
    run(World(), tmp_path, {"max_steps": 2, "dynamic_sampling": True}, by_question)
    answers = {problem.id: problem.answer for problem in make_problems()}
    for row in rows_of(tmp_path):
        assert row["dynamic_sampling/kept"] == 4 and row["dynamic_sampling/rounds"] > 1
        page = read_jsonl(tmp_path / "samples" / f"step-{row['step']:06d}.jsonl")
        assert {answers[sample["problem_id"]] for sample in page} == {"c"} and len(page) == 16
    dropped = read_jsonl(tmp_path / "dropped.jsonl")
    assert {row["reason"] for row in dropped} >= {"all_right", "all_wrong"}
    for row in dropped:
        assert row["reason"] == {"a": "all_right", "b": "all_wrong", "c": "surplus"}[answers[row["problem_id"]]]
    counted = sum(v for row in rows_of(tmp_path) for k, v in row.items() if k.startswith("dynamic_sampling/dropped_"))
    assert counted == len(dropped)


def test_the_refill_is_capped() -> None:
    def always_right(problems: Any, completions: Any) -> list[Score]:
        return [Score(float(i), True) for i, _ in enumerate(completions)]

    team = make_team(reward=always_right, dynamic_sampling=True, dynamic_sampling_max_rounds=3)
    stepped = grpo_step(team, Place())
    assert stepped.metrics["dynamic_sampling/rounds"] == 3 and stepped.metrics["dynamic_sampling/kept"] == 0
    assert stepped.metrics["updates"] == 0 and stepped.place.cursor == 12
    exhausted = grpo_step(
        make_team(reward=always_right, dynamic_sampling=True, dynamic_sampling_max_rounds=50), Place()
    )
    assert exhausted.place.cursor == 24 and len(exhausted.collected.dropped) == 24


def test_dynamic_sampling_without_verdicts_is_refused() -> None:
    def no_verdict(problems: Any, completions: Any) -> list[Score]:
        return [Score(float(i), None) for i, _ in enumerate(completions)]

    with pytest.raises(
        PonderError, match="no part of the reward says which answers are right; add the part `accuracy`"
    ):
        grpo_step(make_team(reward=no_verdict, dynamic_sampling=True), Place())


# ---- refused before the start ----


class Picky:
    """A task whose grader rejects its own gold answers."""

    name = "letters"

    def problems(self, split: str, n: int, seed: str = "") -> list[Problem]:
        return []

    def grade(self, problem: Problem, answer: str) -> Score:
        return Score(0.0, False)


def test_bad_problem_sets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(problems: Sequence[Problem], **changes: Any) -> dict[str, Any]:
        model, tokenizer = make_model(), make_tokenizer()
        settings = make_settings(max_steps=1, **changes)
        return train_grpo(settings, model, tokenizer, problems, letter_reward, tmp_path, render)

    with pytest.raises(PonderError, match="the problem set is empty"):
        train([])
    with pytest.raises(PonderError, match=r"2 of 4 problems can be trained on \(2 no answer\), fewer than the 4"):
        train([*make_problems(2), Problem("t", "x", ""), Problem("t", "y", " ")])
    with pytest.raises(PonderError, match="beyond the model's context of 64: lower max_completion_length to"):
        train(make_problems(), max_completion_length=60)
    with monkeypatch.context() as patch:
        patch.setitem(questions.TASKS, "letters", Picky())
        with pytest.raises(PonderError, match="24 gold answer rejected"):
            train(make_problems())
    assert not (tmp_path / "metrics.jsonl").exists()
    assert train([*make_problems(), Problem("t", "x", "")])["dropped"] == {"no answer": 1}


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PonderError, match="cannot be written"):
        run(World(), tmp_path / "file" / "out", {})


def test_a_machine_that_cannot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PonderError, match="bf16 is on, but this cpu has no fast bfloat16; set bf16=false"):
        run(World(), tmp_path, {"bf16": True})
    with pytest.raises(PonderError, match="processes is 3, but 1 run"):
        run(World(), tmp_path, {"processes": 3})


def test_the_local_sampler_is_told_where_completions_end(tmp_path: Path) -> None:
    end = make_tokenizer().convert_tokens_to_ids("b")
    run(World(), tmp_path, {"max_steps": 1, "sample_steps": 1}, eos_ids=(end,))
    page = read_jsonl(tmp_path / "samples" / "step-000001.jsonl")
    assert not any("b" in row["completion"] for row in page) and any(row["finish"] == "stop" for row in page)
    assert isinstance(make_team().sampler_of(0), LocalSampler)


def test_a_correction_compares_the_sampler_with_the_trainer_itself() -> None:
    """With several updates the sampler stands in for the old policy, unless their difference is asked for."""
    team = make_team(num_iterations=2, importance_sampling_correction="token_truncate")
    stepped = grpo_step(team, Place())
    assert stepped.metrics["timing_s/old_log_prob"] > 0
    assert grpo_step(make_team(num_iterations=2), Place()).metrics["timing_s/old_log_prob"] == 0
