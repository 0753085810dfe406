"""PPO against TRL and verl on the same tensors.

TRL 1.16 has no PPO trainer any more. What it still has is called as it is: its clipped surrogate with advantages a
token, and its entropy bonus (`GRPOTrainer._compute_loss`). What both libraries' PPO computes besides (GAE, whitening,
the clipped value loss) is written here as slow loops, in the form that each of them has: TRL's blanks the padding and
runs over every position, verl's carries the last value and advantage over masked ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ponder.objectives import Extent
from ponder.objectives.gae import Moments, gae, token_rewards, value_loss, whiten
from ponder.training.collect import Clock, collect
from ponder.training.entropy import token_logprobs_and_entropy
from ponder.training.ppo_credit import lessons_of
from ponder.training.ppo_step import share_of_policy_loss

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "training")]

ROWS, T = 6, 11
LENGTHS = (11, 4, 1, 7, 2, 9)


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(ROWS, T, generator=generator, dtype=torch.float64) for _ in range(4)]
    mask_BT = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    return {"kl": draw[0], "values": draw[1], "new": draw[1] + 0.3 * draw[2], "scores": draw[3][:, 0], "mask": mask_BT}


def trl_form(data: dict[str, torch.Tensor], gamma: float, lam: float) -> tuple[list[list[float]], list[list[float]]]:
    """Rewards and values are 0 in the padding; one loop from the last position of all, blind to the mask."""
    advantages, returns = [], []
    for row in range(ROWS):
        inside = data["mask"][row].tolist()
        values = [float(v) * m for v, m in zip(data["values"][row], inside, strict=True)]
        rewards = [-0.1 * float(k) * m for k, m in zip(data["kl"][row], inside, strict=True)]
        rewards[LENGTHS[row] - 1] += float(data["scores"][row])
        last, told = 0.0, [0.0] * T
        for t in reversed(range(T)):
            following = values[t + 1] if t < T - 1 else 0.0
            last = rewards[t] + gamma * following - values[t] + gamma * lam * last
            told[t] = last
        advantages.append([a * m for a, m in zip(told, inside, strict=True)])
        returns.append([(a + v) * m for a, v, m in zip(told, values, inside, strict=True)])
    return advantages, returns


def verl_form(data: dict[str, torch.Tensor], gamma: float, lam: float) -> tuple[list[list[float]], list[list[float]]]:
    """Next value and advantage wait while the mask is 0."""
    advantages, returns = [], []
    for row in range(ROWS):
        following = last = 0.0
        told, worth = [0.0] * T, [0.0] * T
        for t in reversed(range(T)):
            m, value = float(data["mask"][row, t]), float(data["values"][row, t])
            score = float(data["scores"][row]) if t == LENGTHS[row] - 1 else 0.0
            delta = score - 0.1 * float(data["kl"][row, t]) + gamma * following - value
            ahead = delta + gamma * lam * last
            following = value * m + (1 - m) * following
            last = ahead * m + (1 - m) * last
            told[t], worth[t] = last * m, (last + value) * m
        advantages.append(told)
        returns.append(worth)
    return advantages, returns


@pytest.mark.parametrize("form", [trl_form, verl_form])
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 1.0), (0.8, 0.3), (1.0, 0.0)])
def test_advantages_and_returns(form: Any, gamma: float, lam: float) -> None:
    data = tensors(0)
    rewards_BT = token_rewards(data["scores"], data["mask"], data["kl"], 0.1)
    ours = gae(rewards_BT, data["values"], data["mask"], gamma, lam)
    for told, expected in zip(ours, form(data, gamma, lam), strict=True):
        torch.testing.assert_close(told, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whitening(shift_mean: bool) -> None:
    data = tensors(1)
    mask, values = data["mask"].double(), data["values"]
    centre = (values * mask).sum() / mask.sum()
    variance = ((values - centre) ** 2 * mask).sum() / mask.sum()
    variance = variance * mask.sum() / (mask.sum() - 1)
    white_BT = (values - centre) * torch.rsqrt(variance + 1e-8)
    if not shift_mean:
        white_BT = white_BT + centre
    ours = whiten(values, data["mask"], Moments.of(values, data["mask"]), shift_mean)
    torch.testing.assert_close(ours, white_BT * mask)


@pytest.mark.parametrize("cliprange", [0.05, 0.2, 5.0])
def test_the_clipped_value_loss(cliprange: float) -> None:
    """Both: 0.5 x masked mean of max(squared error, squared error of the clipped value)."""
    data = tensors(2)
    new_BT, theirs_BT = (data["new"].clone().requires_grad_() for _ in range(2))
    returns_BT = torch.tensor(trl_form(data, 1.0, 0.95)[1], dtype=torch.float64)
    low_BT, high_BT = data["values"] - cliprange, data["values"] + cliprange
    clipped_BT = torch.clamp(theirs_BT, low_BT, high_BT)
    error_BT, clipped_error_BT = (theirs_BT - returns_BT) ** 2, (clipped_BT - returns_BT) ** 2
    mask = data["mask"].double()
    expected = 0.5 * (torch.max(error_BT, clipped_error_BT) * mask).sum() / mask.sum()
    share = ((clipped_error_BT > error_BT) * mask).sum() / mask.sum()
    extent = Extent.of(data["mask"], T)
    loss, stats = value_loss(new_BT, data["values"], returns_BT, data["mask"], extent, cliprange)
    torch.testing.assert_close(loss, expected)
    assert float(stats["value_clipped"] / stats["value_tokens"]) == pytest.approx(float(share))
    loss.backward()
    expected.backward()
    torch.testing.assert_close(new_BT.grad, theirs_BT.grad)


@pytest.mark.parametrize("entropy_coef", [0.0, 0.3])
@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_the_policy_loss_of_a_real_step_is_trls(entropy_coef: float, beta: float) -> None:
    """A whole micro-batch of the tiny policy, its own advantages a token; loss and gradient of every weight."""
    grpo = pytest.importorskip("trl.trainer.grpo_trainer")
    from test_objectives_trl import trainer
    from tiny_ppo import make_ppo_team

    team = make_ppo_team(entropy_coef=entropy_coef, beta=beta, kl_estimator="k3", token_budget=100_000)
    settings, actor = team.settings, team.actor
    collected = collect(
        settings, actor.sampler_of(0), actor.problems, actor.render, actor.reward, actor.world, 1, 0, Clock()
    )
    ((lesson,), _, _) = lessons_of(team, collected, Clock())
    for parameter in actor.policy.parameters():  # off the old policy, so that some ratios are clipped
        parameter.data *= 1.1
    (part,) = lesson.parts
    batch = part.batch
    ours, stats = share_of_policy_loss(team, lesson.extent, part)
    assert float(stats["clip_region"]) > 0
    actor.optimizer.gradient.zero_()
    ours.backward()
    gradient = actor.optimizer.gradient.clone()

    made = trainer(grpo.GRPOTrainer, loss_type="bnpo", beta=beta, _entropy_bonus_enabled=bool(entropy_coef))
    made.entropy_coef, made.use_adaptive_entropy = entropy_coef, False
    logp_BT, entropy_BT = token_logprobs_and_entropy(
        actor.policy, batch.input_ids_BT, batch.attention_mask_BT, batch.mask_BT
    )
    made._get_per_token_logps_and_entropies = lambda *a, **k: (logp_BT, entropy_BT, None)
    ones = torch.ones_like(batch.input_ids_BT)
    inputs = {
        "prompt_ids": ones[:, :1], "prompt_mask": ones[:, :1], "completion_ids": ones,
        "completion_mask": batch.mask_BT.long(), "advantages": batch.advantages_B,
        "old_per_token_logps": batch.old_logp_BT, "num_items_in_batch": batch.mask_BT.sum(),
    }  # fmt: skip
    if beta:
        inputs["ref_per_token_logps"] = batch.ref_logp_BT
    theirs = made._compute_loss(None, inputs)
    actor.optimizer.gradient.zero_()
    theirs.backward()
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, actor.optimizer.gradient, rtol=1e-4, atol=1e-6)
    assert float(gradient.norm()) > 1e-3
