"""PPO: it learns, its two halves see what they should, and a step is the same however it is cut or shared."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_ppo import make_critic, make_ppo_team, make_settings, run_ppo
from tiny_world import letter_reward, make_model, make_problems, make_tokenizer, render, same_bits, weights_of

from ponder.core.config import parse_settings
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.seeds import random_of
from ponder.core.types import Completion, Problem, Score
from ponder.models.heads import load_head, new_value_model
from ponder.models.load import load_model
from ponder.models.logprobs import token_logprobs
from ponder.objectives.gae import Moments, value_loss, whiten
from ponder.training import ppo_credit
from ponder.training.collect import Clock, collect
from ponder.training.critic import token_values
from ponder.training.distributed import World, launch
from ponder.training.entropy import token_logprobs_and_entropy
from ponder.training.grpo_step import Place
from ponder.training.ppo import PPO_ALIASES, PPOSettings, train_ppo
from ponder.training.ppo_credit import Lesson, PPOTeam, lessons_of
from ponder.training.ppo_step import ppo_step, share_of_policy_loss, share_of_value_loss


def rows_of(out_dir: Path) -> list[dict[str, Any]]:
    return read_jsonl(out_dir / "metrics.jsonl")


def mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def flat(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def lessons(team: PPOTeam) -> tuple[list[Lesson], list[list[float]], dict[str, Any]]:
    settings, actor = team.settings, team.actor
    collected = collect(
        settings, actor.sampler_of(0), actor.problems, actor.render, actor.reward, actor.world, 1, 0, Clock()
    )
    return lessons_of(team, collected, Clock())


# ---- learning ----


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("learned")
    run_ppo(
        World(),
        out_dir,
        {"max_steps": 40, "save_steps": 40, "learning_rate": 5e-3, "value_learning_rate": 2e-3, "num_iterations": 4},
    )
    return out_dir


def test_the_reward_rises_above_a_frozen_control(learned: Path, tmp_path: Path) -> None:
    run_ppo(World(), tmp_path, {"max_steps": 15, "save_steps": 15, "learning_rate": 1e-12, "num_iterations": 1})
    control = mean(rows_of(tmp_path)[-10:], "reward")
    assert mean(rows_of(learned)[-10:], "reward") > 2 * control + 0.05


def test_the_critic_learns_what_to_expect(learned: Path) -> None:
    explained = [row["value/explained_variance"] for row in rows_of(learned)]
    assert sum(explained[-10:]) / 10 > 0.2 > 0 > sum(explained[:3]) / 3
    assert mean(rows_of(learned)[-10:], "value/loss") < mean(rows_of(learned)[:3], "value/loss") / 3


def test_a_step_is_told(learned: Path) -> None:
    row = rows_of(learned)[-1]
    for name in (
        "loss", "reward", "accuracy", "entropy", "grad_norm", "clip_ratio/region_mean", "num_tokens", "value/loss",
        "value/explained_variance", "value/clip_ratio", "value/grad_norm", "value/learning_rate", "critic/score/mean",
        "critic/rewards/mean", "critic/values/mean", "critic/returns/max", "critic/advantages/min",
        "timing_s/values", "timing_s/update_critic", "timing_s/update", "perf/max_memory_allocated_gb",
    ):  # fmt: skip
        assert isinstance(row[name], float | int) and math.isfinite(row[name]), name
    assert row["updates"] == 4 and row["critic/score/mean"] == pytest.approx(row["reward"])
    assert json.loads((learned / "config.json").read_text())["lam"] == 0.95


def test_both_models_are_written_as_transformers_reads_them(learned: Path) -> None:
    head = load_head(learned / "value_model", "process", "float32", "cpu")
    assert head.model.config.num_labels == 1
    assert same_bits(weights_of(learned / "value_model"), weights_of(learned / "checkpoints/step-000040/value_model"))
    assert (learned / "model" / "config.json").is_file()


# ---- the critic's outputs and the tokens they speak of ----


def test_a_value_sees_what_is_before_its_token_and_nothing_else() -> None:
    team = make_ppo_team()
    part = lessons(team)[0][0].parts[0]
    batch, (values_BT, after_B) = part.batch, token_values(team.value_model, part.batch)
    row, t = 0, int(batch.mask_BT[0].nonzero()[2])
    changed = batch.input_ids_BT.clone()
    changed[row, t] = (changed[row, t] + 1) % 29
    other_BT, other_B = token_values(team.value_model, replace(batch, input_ids_BT=changed))
    assert torch.equal(values_BT[row, : t + 1], other_BT[row, : t + 1])
    assert not torch.equal(values_BT[row, t + 1 :], other_BT[row, t + 1 :]) and after_B[row] != other_B[row]
    assert not values_BT[~batch.mask_BT].any()
    for at, completion in enumerate(episode.completion for episode in part.episodes):
        ids = [*completion.prompt_ids, *completion.token_ids]
        alone = team.value_model(torch.tensor([ids])).logits[0, :, 0]
        first = len(completion.prompt_ids)
        torch.testing.assert_close(values_BT[at, first : len(ids)], alone[first - 1 : -1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after_B[at], alone[-1], rtol=1e-4, atol=1e-5)


def test_advantages_are_those_of_each_completion_alone_and_white_over_the_step() -> None:
    team = make_ppo_team(kl_coef=0.2, gamma=0.9, lam=0.8, token_budget=40)
    for p in team.actor.reference.parameters():  # a reference that differs, so that there is a divergence
        p.data += 0.02
    (lesson,), means, metrics = lessons(team)
    assert len(lesson.parts) > 2
    raw: list[list[float]] = []
    for part in lesson.parts:
        for at, episode in enumerate(part.episodes):
            ids = torch.tensor([[*episode.completion.prompt_ids, *episode.completion.token_ids]])
            first, n = len(episode.completion.prompt_ids), len(episode.completion.token_ids)
            mask = torch.arange(ids.shape[1])[None] >= first
            logps = [
                token_logprobs(model, ids, torch.ones_like(ids), mask)[0][0, first:].tolist()
                for model in (team.actor.policy, team.actor.reference)
            ]
            values = team.value_model(ids).logits[0, first - 1 : -1, 0].tolist()
            rewards = [-0.2 * (p - q) for p, q in zip(*logps, strict=True)]
            rewards[-1] += episode.reward
            advantage, advantages = 0.0, [0.0] * n
            for t in reversed(range(n)):
                delta = rewards[t] + (0.9 * values[t + 1] if t + 1 < n else 0.0) - values[t]
                advantage = advantages[t] = delta + 0.72 * advantage
            raw.append(advantages)
            returns = part.returns_BT[at, first : first + n].tolist()
            assert returns == pytest.approx([a + v for a, v in zip(advantages, values, strict=True)], abs=1e-4)
    everything = torch.tensor([value for advantages in raw for value in advantages], dtype=torch.float64)
    assert metrics["critic/advantages/mean"] == pytest.approx(float(everything.mean()), abs=1e-4)
    at = 0
    for part in lesson.parts:
        for row, episode in enumerate(part.episodes):
            white = [(value - float(everything.mean())) / float(everything.std()) for value in raw[at]]
            inside = part.batch.mask_BT[row]
            assert part.batch.advantages_B[row][inside].tolist() == pytest.approx(white, abs=1e-3)
            assert not part.batch.advantages_B[row][~inside].any()
            assert means[episode.group][episode.index] == pytest.approx(sum(white) / len(white), abs=1e-3)
            at += 1


def test_whitening_can_be_left_out_and_rewards_scaled() -> None:
    plain, white = make_ppo_team(scale_rewards="none"), make_ppo_team()
    (a,), _, told = lessons(plain)
    (b,), _, _ = lessons(white)
    raw, done = a.parts[0].batch.advantages_B, b.parts[0].batch.advantages_B
    inside = a.parts[0].batch.mask_BT
    assert float(done[inside].mean()) == pytest.approx(0, abs=1e-5) and float(done[inside].std()) == pytest.approx(
        1, abs=1e-4
    )
    assert float(raw[inside].mean()) == pytest.approx(told["critic/advantages/mean"], abs=1e-5) != 0
    (c,), _, _ = lessons(make_ppo_team(whiten_rewards=True))
    rewards = c.parts[0].rewards_BT[inside]
    assert float(rewards.std()) == pytest.approx(1, abs=1e-3) and float(rewards.mean()) == pytest.approx(
        told["critic/rewards/mean"] * len(c.parts[0].episodes) / int(inside.sum())
    )


def test_what_the_limit_cut_off_is_worth_what_the_critic_says_or_nothing_or_is_left_out() -> None:
    variants: tuple[dict[str, Any], ...] = ({}, {"bootstrap_truncated": True}, {"mask_truncated_completions": True})
    ended, carried, masked = (lessons(make_ppo_team(scale_rewards="none", lam=1.0, **more))[0][0] for more in variants)
    cut = 0
    for row, episode in enumerate(ended.parts[0].episodes):
        inside = ended.parts[0].batch.mask_BT[row]
        plain, more = (one.parts[0].returns_BT[row][inside] for one in (ended, carried))
        assert plain.tolist() == pytest.approx([episode.reward] * len(plain), abs=1e-5)
        worth = float(ended.parts[0].after_B[row]) if episode.completion.finish == "length" else 0.0
        assert more.tolist() == pytest.approx([episode.reward + worth] * len(more), abs=1e-5)
        cut += episode.completion.finish == "length"
    rows = len(ended.parts[0].episodes)
    assert 0 < cut < rows and len(masked.parts[0].episodes) == rows - cut
    assert masked.extent.tokens == int(masked.parts[0].batch.mask_BT.sum()) and masked.extent.sequences == rows


# ---- gradients ----


def gradients(team: PPOTeam, found: list[Lesson]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the policy's and of the critic's loss over all lessons' parts."""
    told = []
    for share, optimizer in (
        (share_of_policy_loss, team.actor.optimizer),
        (share_of_value_loss, team.value_optimizer),
    ):
        optimizer.gradient.zero_()
        for lesson in found:
            for part in lesson.parts:
                share(team, lesson.extent, part)[0].backward()
        told.append(optimizer.gradient.clone())
    return told[0], told[1]


@pytest.mark.parametrize("changes", [{}, {"kl_coef": 0.1, "beta": 0.05, "entropy_coef": 0.1, "num_mini_batches": 2}])
def test_the_cut_into_micro_batches_changes_nothing(changes: dict[str, Any]) -> None:
    whole, cut = (make_ppo_team(token_budget=budget, **changes) for budget in (100_000, 1))
    (a, _, told_a), (b, _, told_b) = lessons(whole), lessons(cut)
    assert sum(len(lesson.parts) for lesson in b) == 16 > sum(len(lesson.parts) for lesson in a)
    for left, right in zip(gradients(whole, a), gradients(cut, b), strict=True):
        assert float(left.norm()) > 1e-3
        torch.testing.assert_close(left, right, rtol=1e-4, atol=2e-6)
    assert told_a == pytest.approx(told_b, abs=1e-5)


def test_padding_and_prompts_have_no_gradient() -> None:
    """Whatever stands in the advantages, values and log-probabilities outside the mask."""
    team = make_ppo_team()
    found = lessons(team)[0]
    before = gradients(team, found)
    spoilt = []
    for lesson in found:
        parts = []
        for part in lesson.parts:
            outside = ~part.batch.mask_BT
            batch = part.batch
            assert batch.old_logp_BT is not None
            batch = replace(
                batch,
                advantages_B=batch.advantages_B.masked_fill(outside, math.nan),
                old_logp_BT=batch.old_logp_BT.masked_fill(outside, math.nan),
                input_ids_BT=torch.where(batch.attention_mask_BT, batch.input_ids_BT, 7),
            )
            values, returns = (x.masked_fill(outside, math.nan) for x in (part.values_BT, part.returns_BT))
            parts.append(replace(part, batch=batch, values_BT=values, returns_BT=returns))
        spoilt.append(replace(lesson, parts=tuple(parts)))
    for left, right in zip(before, gradients(team, spoilt), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-7)


def test_the_critics_loss_leaves_the_policy_alone_and_the_other_way_round() -> None:
    team = make_ppo_team()
    lesson = lessons(team)[0][0]
    for optimizer in (team.actor.optimizer, team.value_optimizer):
        optimizer.gradient.zero_()
    share_of_value_loss(team, lesson.extent, lesson.parts[0])[0].backward()
    assert not team.actor.optimizer.gradient.any() and team.value_optimizer.gradient.any()


def test_the_entropy_bonus() -> None:
    """Its log-probabilities are the chunked ones, its gradient that of the exact entropy, and it spreads the policy."""
    team = make_ppo_team(entropy_coef=0.5)
    lesson = lessons(team)[0][0]
    batch = lesson.parts[0].batch
    given = (batch.input_ids_BT, batch.attention_mask_BT, batch.mask_BT, 0.7)
    logp_BT, entropy_BT = token_logprobs_and_entropy(team.actor.policy, *given)
    plain_BT, told_BT = token_logprobs(team.actor.policy, *given)
    torch.testing.assert_close(logp_BT, plain_BT, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropy_BT, told_BT, rtol=1e-4, atol=1e-5)
    with_bonus, _ = gradients(team, [lesson])
    without, _ = gradients(replace(team, settings=make_settings()), [lesson])
    team.actor.optimizer.gradient.zero_()
    (token_logprobs_and_entropy(team.actor.policy, *given[:3])[1].sum() / lesson.extent.tokens).backward()
    torch.testing.assert_close(with_bonus, without - 0.5 * team.actor.optimizer.gradient, rtol=1e-4, atol=1e-6)
    told = [
        ppo_step(t, Place()).metrics["entropy"]
        for t in (make_ppo_team(num_iterations=6, entropy_coef=c) for c in (0, 2))
    ]
    assert told[1] > told[0] + 0.05


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path) -> None:
    for name, on in (("plain", False), ("checkpointed", True)):
        run_ppo(World(), tmp_path / name, {"max_steps": 2, "adam_epsilon": 0.1, "gradient_checkpointing": on})
    for part in ("model", "value_model"):
        a, b = (weights_of(tmp_path / name / part) for name in ("plain", "checkpointed"))
        for name, weight in a.items():
            torch.testing.assert_close(weight, b[name], rtol=1e-5, atol=1e-6)


def test_bf16_is_fp32_but_for_rounding() -> None:
    """Run on the CPU, where nobody would; the sampler stays in float32, so the two disagree a little, and say so."""
    plain, rounded = make_ppo_team(kl_coef=0.1), make_ppo_team(kl_coef=0.1, bf16=True)
    ppo_step(plain, Place())
    metrics = ppo_step(rounded, Place()).metrics
    assert 1e-9 < metrics["mismatch_kl/mean"] < 1e-3 and metrics["timing_s/old_log_prob"] > 0
    for one in ("actor.optimizer", "value_optimizer"):
        a, b = (attrgetter(one)(team).gradient for team in (plain, rounded))
        assert b.dtype == torch.float32 and not torch.equal(a, b)
        assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.95


# ---- the critic first, unknown rewards, references ----


def test_the_critic_can_begin_alone(tmp_path: Path) -> None:
    run_ppo(World(), tmp_path, {"max_steps": 3, "critic_warmup": 2, "kl_coef": 0.1})
    rows = rows_of(tmp_path)
    assert [row["updates"] for row in rows] == [0, 0, 2] and all(row["value/loss"] > 0 for row in rows)
    assert [row["learning_rate"] for row in rows] == [0, 0, 0.01]
    start_ = dict(make_model().named_parameters())
    warm = weights_of(tmp_path / "checkpoints" / "step-000002" / "model")
    assert all(torch.equal(weight, start_[name]) for name, weight in warm.items())
    critic = weights_of(tmp_path / "checkpoints" / "step-000002" / "value_model")
    assert any(not torch.equal(weight, make_critic().state_dict()[name]) for name, weight in critic.items())


def some_unknown(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    return [Score(None, None) if i % 3 == 0 else s for i, s in enumerate(letter_reward(problems, completions))]


def all_unknown(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    return [Score(None, None) for _ in completions]


def test_unknown_rewards_are_left_out(tmp_path: Path) -> None:
    stepped = ppo_step(make_ppo_team(reward=some_unknown), Place())
    known = [len(record.rewards) for record in stepped.collected.records]
    assert [len(values) for values in stepped.advantages] == known and 0 < sum(known) < 16
    run_ppo(World(), tmp_path, {"max_steps": 2}, all_unknown)
    row = rows_of(tmp_path)[-1]
    assert row["updates"] == 0 and row["critic/score/mean"] is None and row["value/explained_variance"] is None
    assert all(
        torch.equal(w, dict(make_model().named_parameters())[n]) for n, w in weights_of(tmp_path / "model").items()
    )


def test_the_kl_in_the_reward_holds_the_policy_back(tmp_path: Path) -> None:
    told = {}
    for coef in (0.001, 1.0):
        run_ppo(
            World(), tmp_path / str(coef), {"max_steps": 15, "save_steps": 15, "kl_coef": coef, "kl_estimator": "k3"}
        )
        told[coef] = mean(rows_of(tmp_path / str(coef))[-5:], "kl")
    assert told[1.0] < told[0.001] / 2


def test_the_reference_can_be_renewed(tmp_path: Path) -> None:
    changes = {"kl_coef": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 1.0}
    run_ppo(World(), tmp_path, {"max_steps": 3, **changes})
    two, three = (tmp_path / "checkpoints" / f"step-00000{step}" for step in (2, 3))
    assert same_bits(weights_of(two / "reference"), weights_of(two / "model"))
    assert same_bits(weights_of(three / "reference"), weights_of(two / "model"))


def test_a_gradient_that_is_not_finite_is_skipped_and_then_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ponder.training import ppo_step as steps

    real = value_loss
    monkeypatch.setattr(steps, "value_loss", lambda *a: (real(*a)[0] * math.nan, real(*a)[1]))
    with pytest.raises(PonderError, match="step 2: the gradient was not finite 3 times in a row"):
        run_ppo(World(), tmp_path, {"max_steps": 4, "max_nonfinite": 3})
    assert rows_of(tmp_path)[0]["value/updates_skipped"] == 2


# ---- one process = two processes ----

SHARED: tuple[dict[str, Any], ...] = (
    {"questions_per_step": 5, "learning_rate": 1e-3},
    {"num_mini_batches": 2, "kl_coef": 0.1, "whiten_rewards": True, "bootstrap_truncated": True, "learning_rate": 1e-3},
)


def _two_steps(world: World) -> list[tuple[Any, ...]]:
    results: list[tuple[Any, ...]] = []
    for changes in SHARED:
        team, place, told = make_ppo_team(world, adam_epsilon=0.1, **changes), Place(), []
        for _ in range(2):
            stepped = ppo_step(team, place)
            place = stepped.place
            names = [name for name in stepped.metrics if name.startswith(("value/", "critic/", "grad_norm", "loss"))]
            told.append({name: stepped.metrics[name] for name in names})
        results.append((flat(team.actor.policy), flat(team.value_model), told, stepped.advantages))
    return results


def test_two_processes_are_one() -> None:
    for alone, shared in zip(_two_steps(World()), launch(_two_steps, 2), strict=True):
        for a, b, before in zip(alone[:2], shared[:2], (flat(make_model()), flat(make_critic())), strict=True):
            assert float((a - b).abs().max()) < 1e-6 and float((a - before).abs().max()) > 1e-4
        for left, right in zip(alone[2], shared[2], strict=True):
            assert left == pytest.approx(right, rel=1e-4, abs=1e-6)
        assert sum(alone[3], []) == pytest.approx(sum(shared[3], []), abs=1e-4)


# ---- stopped and run again ----

CHANGES: dict[str, Any] = {
    "max_steps": 10, "kl_coef": 0.02, "sync_ref_model": True, "ref_model_sync_steps": 3, "lr_scheduler_type": "cosine",
    "warmup_steps": 2, "critic_warmup": 2, "weight_decay": 0.01, "num_mini_batches": 2, "save_steps": 2,
}  # fmt: skip


def _child(out_dir: Path) -> None:
    run_ppo(World(), out_dir, CHANGES)


def start(out_dir: Path) -> Any:
    """A process that trains; its server has done the imports, and has no threads to lose."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ponder.training.ppo", "transformers.models.qwen3.modeling_qwen3"])
    process = context.Process(target=_child, args=(out_dir,))
    process.start()
    return process


def what_was_learned(out_dir: Path) -> list[dict[str, Any]]:
    """The rows of metrics, without what a clock or the machine says."""
    clocks = ("timing_s/", "perf/", "step_time")
    return [{k: v for k, v in row.items() if not k.startswith(clocks)} for row in rows_of(out_dir)]


def test_kill_9_at_any_moment(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ppo(World(), whole, CHANGES)
    moments, kills = random_of("kill ppo"), 0
    while kills < 3:
        process = start(broken)
        process.join(timeout=moments.uniform(0.05, 0.5))
        if process.exitcode is not None:
            assert process.exitcode == 0
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    assert kills > 0
    run_ppo(World(), broken, CHANGES)
    for part in ("model", "value_model", "checkpoints/step-000010/reference"):
        assert same_bits(weights_of(broken / part), weights_of(whole / part)), part
    assert what_was_learned(broken) == what_was_learned(whole)


def test_a_run_cut_between_two_checkpoints_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Without chance: the run is stopped by its own reward in step 5, after the checkpoint of step 4."""
    run_ppo(World(), tmp_path / "whole", CHANGES)
    calls = [0]

    def failing(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        calls[0] += 1
        if calls[0] == 5:
            raise KeyboardInterrupt
        return letter_reward(problems, completions)

    with pytest.raises(KeyboardInterrupt):
        run_ppo(World(), tmp_path / "cut", CHANGES, failing)
    assert not (tmp_path / "cut" / "model").exists()
    run_ppo(World(), tmp_path / "cut", CHANGES)
    for part in ("model", "value_model"):
        assert same_bits(weights_of(tmp_path / "cut" / part), weights_of(tmp_path / "whole" / part))
    assert what_was_learned(tmp_path / "cut") == what_was_learned(tmp_path / "whole")
    with pytest.raises(PonderError, match=r"settings.lam was 0.95 and is now 0.5; put it back"):
        run_ppo(World(), tmp_path / "cut", CHANGES | {"lam": 0.5})
    run_ppo(World(), tmp_path / "cut", CHANGES | {"max_steps": 2}, resume=False)
    assert len(rows_of(tmp_path / "cut")) == 2


# ---- settings, and what is refused ----


def test_settings_have_trl_and_verl_names() -> None:
    trl = {"num_ppo_epochs": 3, "cliprange": 0.1, "cliprange_value": 0.3, "vf_coef": 0.1, "gamma": 0.9, "lam": 0.8,
           "kl_coef": 0.05, "whiten_rewards": True, "response_length": 12}  # fmt: skip
    told = parse_settings(PPOSettings, trl, PPO_ALIASES)
    assert (told.num_iterations, told.epsilon, told.max_completion_length, told.kl_coef) == (3, 0.1, 12, 0.05)
    verl = {"algorithm": {"gamma": 0.9, "lam": 0.7, "kl_ctrl": {"kl_coef": 0.01}}, "ppo_epochs": 2,
            "critic": {"cliprange_value": 0.5, "optim": {"lr": 1e-5}}, "trainer": {"critic_warmup": 3},
            "entropy_coeff": 0.01, "rollout": {"n": 2}}  # fmt: skip
    told = parse_settings(PPOSettings, verl, PPO_ALIASES)
    assert (told.lam, told.kl_coef, told.value_learning_rate, told.critic_warmup) == (0.7, 0.01, 1e-5, 3)
    assert (told.cliprange_value, told.entropy_coef, told.num_generations, told.num_iterations) == (0.5, 0.01, 2, 2)
    assert told.needs_reference and not PPOSettings().needs_reference and PPOSettings(beta=0.1).needs_reference


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cliprange_valu": 0.1}, "cliprange_valu is unknown; did you mean cliprange_value?"),
        ({"lamda": 0.9}, "lamda is unknown; did you mean lam?"),
        ({"lam": 1.5}, "lam is 1.5: "),
        ({"loss_type": "grpo"}, "loss_type is 'grpo': should be one of 'ppo'|loss_type is 'grpo': should be 'ppo'"),
        ({"scale_rewards": "group"}, "scale_rewards=group does not go with a batch baseline"),
        ({"critic_warmup": 9, "max_steps": 5}, "critic_warmup is 9, more than max_steps"),
        ({"sync_ref_model": True}, "sync_ref_model needs a reference policy"),
        ({"top_p": 0.9}, "RL must train the distribution that it samples"),
        ({"num_mini_batches": 9, "questions_per_step": 8}, "num_mini_batches is 9"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PonderError, match=message):
        parse_settings(PPOSettings, values, PPO_ALIASES)


def test_a_value_model_that_cannot_be_is_refused(tmp_path: Path) -> None:
    def train(critic: Any) -> None:
        train_ppo(make_settings(), model, critic, make_tokenizer(), make_problems(), letter_reward, tmp_path, render)

    model = make_model()
    with pytest.raises(PonderError, match="the value model is the policy itself"):
        train(model)
    with pytest.raises(PonderError, match="the value model has 2 labels"):
        train(make_model())
    critic = make_critic()
    critic.resize_token_embeddings(20)
    with pytest.raises(PonderError, match="the value model knows 20 tokens, the policy 29"):
        train(critic)
    assert not (tmp_path / "metrics.jsonl").exists()


# ---- planted bugs in the step ----


def test_whitening_by_the_rank_or_the_micro_batch_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The micro-batch test has teeth: advantages whitened a part at a time give another gradient."""
    real = whiten
    monkeypatch.setattr(
        ppo_credit, "whiten", lambda values, mask, whole, *a, **k: real(values, mask, Moments.of(values, mask), *a, **k)
    )
    whole, cut = (make_ppo_team(token_budget=budget) for budget in (100_000, 40))
    left, right = gradients(whole, lessons(whole)[0]), gradients(cut, lessons(cut)[0])
    assert not torch.allclose(left[0], right[0], rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(left[1], right[1], rtol=1e-4, atol=2e-6)


# ---- on the embedded model ----


def digits(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """The share of digits in the text: something that every few tokens of the embedded model can be better at."""
    shares = [sum(c.isdigit() for c in one.text) / max(len(one.text), 1) for one in completions]
    return [Score(share, share > 0.5) for share in shares]


@pytest.mark.slow
def test_the_embedded_model_learns(tmp_path: Path) -> None:
    from ponder.models.chat import renderer
    from ponder.tasks import KINDS, PROGRAMS, draw_mix

    told = {}
    problems = draw_mix([kind for kind in KINDS if kind not in PROGRAMS], "train", 200, seed="ppo")
    for name, rate in (("learns", 1e-4), ("frozen", 1e-12)):
        loaded = load_model("mini", "float32", "cpu")
        settings = PPOSettings(
            max_steps=25, questions_per_step=16, num_generations=2, max_completion_length=48, learning_rate=rate,
            value_learning_rate=max(3 * rate, 1e-12), num_iterations=2, save_steps=25, sample_steps=0,
        )  # fmt: skip
        train_ppo(
            settings, loaded.model, new_value_model(loaded), loaded.tokenizer,
            problems, digits, tmp_path / name, renderer(loaded.tokenizer, "chat"), eos_ids=loaded.eos_ids,
            context_length=loaded.context_length,
        )  # fmt: skip
        told[name] = rows_of(tmp_path / name)
    assert mean(told["learns"][-5:], "reward") > mean(told["frozen"][-5:], "reward") + 0.05
    explained = [row["value/explained_variance"] for row in told["learns"]]
    assert sum(explained[-5:]) / 5 > max(0.1, sum(explained[:3]) / 3)
