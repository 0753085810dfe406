"""KL to a reference, its renewal, and one temperature on both sides, as R1's stages use them.

R1: learning from a reference that is replaced by the policy every 400 steps, a KL coefficient of 0.001 in the loss, a
sampling temperature of 1.0, and of 0.7 in the last RL stage (arXiv 2501.12948, training details).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import make_model, make_team, run, same_bits, weights_of

from ponder.core.records import read_jsonl
from ponder.core.types import Completion, SamplingParams
from ponder.models.logprobs import token_logprobs
from ponder.training.distributed import World
from ponder.training.grpo_step import Place, Team, grpo_step

RENEWED: dict[str, Any] = {
    "beta": 0.05, "sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 1.0,
}  # fmt: skip


def weights(model: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def steps(team: Team, count: int) -> list[dict[str, Any]]:
    place, rows = Place(), []
    for _ in range(count):
        stepped = grpo_step(team, place)
        place = stepped.place
        rows.append(stepped.metrics)
    return rows


def test_a_mixup_of_1_replaces_the_reference_at_its_steps_and_at_no_other() -> None:
    team = make_team(**RENEWED)
    base, place, references, policies = weights(team.policy), Place(), [], []
    for _ in range(5):
        place = grpo_step(team, place).place
        references.append(weights(team.reference))
        policies.append(weights(team.policy))
    assert equal(references[0], base)
    assert equal(references[1], policies[1]) and equal(references[2], policies[1])
    assert equal(references[3], policies[3]) and equal(references[4], policies[3])
    assert not equal(policies[1], base) and not equal(policies[3], policies[1])


def test_the_reference_is_a_copy_that_shares_no_memory_with_the_policy() -> None:
    team = make_team(**RENEWED)
    steps(team, 2)
    ours = {parameter.data_ptr() for parameter in team.policy.parameters()}
    assert ours.isdisjoint(parameter.data_ptr() for parameter in team.reference.parameters())
    assert not any(parameter.requires_grad for parameter in team.reference.parameters())


def test_the_kl_is_to_the_renewed_reference() -> None:
    """Nothing before the first update, growing until the renewal, and nothing again right behind it."""
    kls = [row["kl"] for row in steps(make_team(**RENEWED | {"ref_model_sync_steps": 3}), 5)]
    assert kls[0] == pytest.approx(0, abs=1e-7) and kls[3] == pytest.approx(0, abs=1e-7)
    assert kls[1] > 1e-4 and kls[2] > 1e-4 and kls[4] > 1e-4


def test_without_renewal_the_reference_is_the_base_for_ever() -> None:
    team = make_team(beta=0.05)
    rows = steps(team, 4)
    assert equal(weights(team.reference), weights(make_model()))
    assert rows[3]["kl"] > rows[1]["kl"] > 0


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_a_larger_coefficient_keeps_the_policy_nearer(estimator: str, tmp_path: Path) -> None:
    told = {}
    for beta in (0.001, 2.0):
        out_dir = tmp_path / str(beta)
        changes = {"max_steps": 20, "save_steps": 20, "learning_rate": 5e-3, "beta": beta, "kl_estimator": estimator}
        run(World(), out_dir, changes)
        rows = read_jsonl(out_dir / "metrics.jsonl")[-8:]
        told[beta] = sum(row["kl"] for row in rows) / len(rows)
    assert 0 < told[2.0] < told[0.001] / 2


def test_a_renewed_reference_lets_the_policy_go_further_than_a_fixed_one(tmp_path: Path) -> None:
    told = {}
    for name, more in (("fixed", {}), ("renewed", RENEWED)):
        run(World(), tmp_path / name, {"max_steps": 20, "save_steps": 20, **more, "beta": 1.0})
        rows = read_jsonl(tmp_path / name / "metrics.jsonl")
        told[name] = sum(row["reward"] for row in rows[-5:]) / 5
    assert told["renewed"] > told["fixed"]


def test_a_stopped_run_goes_on_from_the_reference_that_was(tmp_path: Path) -> None:
    """Cut between two renewals: the checkpoint's reference is neither the base nor the checkpoint's policy."""
    changes = RENEWED | {"max_steps": 5, "ref_model_sync_steps": 2, "save_steps": 3}
    run(World(), tmp_path / "whole", changes)
    whole = tmp_path / "whole" / "checkpoints" / "step-000003"
    assert not same_bits(weights_of(whole / "reference"), weights_of(whole / "model"))
    assert not equal(list(weights_of(whole / "reference").values()), [*dict(make_model().named_parameters()).values()])

    def fails_at_4(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(World(), tmp_path / "cut", changes | {"eval_steps": 1}, evaluate=fails_at_4)
    run(World(), tmp_path / "cut", changes)
    assert same_bits(weights_of(tmp_path / "cut" / "model"), weights_of(tmp_path / "whole" / "model"))


# ---- one temperature on both sides, for each stage its own ----


class Listening:
    """A sampler that notes how it was asked."""

    def __init__(self, inner: Any, heard: list[SamplingParams]) -> None:
        self.inner, self.heard = inner, heard

    def sample(self, prompts: Sequence[str], params: SamplingParams, seed: int) -> list[Completion]:
        self.heard.append(params)
        return self.inner.sample(prompts, params, seed)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_temperature_of_a_stage_is_the_samplers_and_the_losses(temperature: float) -> None:
    heard: list[SamplingParams] = []
    team = make_team(temperature=temperature, beta=0.05)
    local = team.sampler_of
    team = replace(team, sampler_of=lambda step: Listening(local(step), heard))
    stepped = grpo_step(team, Place())
    assert [params.temperature for params in heard] == [temperature]
    # The trainer's log-probabilities at this temperature are the sampler's: nothing is left between them.
    assert stepped.metrics["mismatch_kl/max"] < 1e-8 and stepped.metrics["ratio"] == pytest.approx(1, abs=1e-5)
    completion = next(group for group in stepped.collected.groups if group is not None).rollouts[0].completion
    ids = torch.tensor([[*completion.prompt_ids, *completion.token_ids]])
    mask = torch.arange(ids.shape[1])[None] >= len(completion.prompt_ids)
    fresh = make_model()
    same, _ = token_logprobs(fresh, ids, torch.ones_like(ids), mask, temperature)
    other, _ = token_logprobs(fresh, ids, torch.ones_like(ids), mask, 1.7 - temperature)
    assert same[mask].tolist() == pytest.approx(completion.logprobs, abs=1e-5)
    assert other[mask].tolist() != pytest.approx(completion.logprobs, abs=1e-3)


def test_a_cooler_stage_goes_on_from_a_warmer_one(tmp_path: Path) -> None:
    """R1's last stage: the same weights, a lower temperature, a reference of its own that is the stage's start."""
    from tiny_world import letter_reward, make_problems, make_settings, make_tokenizer, render

    from ponder.training.grpo import train_grpo

    model = make_model()
    rows = []
    for name, temperature in (("first", 1.0), ("last", 0.7)):
        settings = make_settings(max_steps=3, temperature=temperature, beta=0.05)
        train_grpo(settings, model, make_tokenizer(), make_problems(), letter_reward, tmp_path / name, render)
        rows.append(read_jsonl(tmp_path / name / "metrics.jsonl"))
    assert abs(rows[1][0]["kl"]) < 1e-7 < 1e-4 < rows[0][-1]["kl"]
    assert rows[1][0]["entropy"] < rows[0][-1]["entropy"]
