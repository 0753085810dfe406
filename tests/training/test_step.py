"""The optimiser step: shares add up, whatever the split, the order, the padding or the number of processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_world import make_model, make_team

from ponder.core.errors import PonderError
from ponder.models.logprobs import token_logprobs
from ponder.objectives import FAMILY, Extent
from ponder.training import grpo_step as steps
from ponder.training.batch import Batch, Row, rows_of, split
from ponder.training.collect import Clock, collect
from ponder.training.distributed import World, launch
from ponder.training.grpo_step import Place, Team, grpo_step
from ponder.training.step import Optimizer, learning_rate_at, update


def groups_of(team: Team, clock: Clock | None = None) -> Any:
    return collect(
        team.settings, team.sampler_of(0), team.problems, team.render, team.reward, team.world, 1, 0, clock or Clock()
    )


def rows_and_extent(team: Team) -> tuple[list[Row], Extent]:
    collected = groups_of(team)
    advantages = steps.advantages_of(team.settings, collected.records)
    rows = [row for g, a in zip(collected.groups, advantages, strict=True) for row in rows_of(g, a)]
    lengths = [length for record in collected.records for length in record.trained_lengths(False)]
    return rows, Extent.of_lengths(lengths, team.settings.max_completion_length)


def gradient(team: Team, parts: Sequence[Sequence[Row]], extent: Extent, pad: int = 0) -> torch.Tensor:
    batches = []
    for rows in parts:
        batch = Batch.of(rows)
        if pad:
            wide = {
                name: torch.nn.functional.pad(value, (0, pad))
                for name, value in vars(batch).items()
                if isinstance(value, torch.Tensor) and value.dim() == 2
            }
            batch = replace(batch, **wide)
        batches.append(steps.with_fixed_logps(team, batch, Clock()))
    team.optimizer.gradient.zero_()
    for batch in batches:
        loss, _ = steps.share_of_loss(team, extent, batch)
        loss.backward()
    return team.optimizer.gradient.clone()


@pytest.mark.parametrize("loss_type", sorted(FAMILY))
@pytest.mark.parametrize("changes", [{}, {"beta": 0.1, "num_iterations": 2}])
def test_the_gradient_does_not_depend_on_split_order_or_padding(loss_type: str, changes: dict[str, Any]) -> None:
    team = make_team(loss_type=loss_type, num_generations=2, **changes)
    rows, extent = rows_and_extent(team)
    assert len(rows) == 8 and len({row.length for row in rows}) > 2
    with torch.no_grad():  # off the policy that sampled, so that ratios and KL matter
        for parameter in team.policy.parameters():
            parameter.add_(0.01 * torch.sin(torch.arange(parameter.numel()).view_as(parameter)))
    whole = gradient(team, [rows], extent)
    scale = float(whole.abs().max())
    assert scale > 1e-4
    for parts, pad in (
        ([[row] for row in rows], 0),
        ([[row] for row in reversed(rows)], 0),
        (split(rows, 40), 0),
        ([rows[:3], rows[3:]], 5),
    ):
        assert float((gradient(team, parts, extent, pad) - whole).abs().max()) < 2e-6 * max(scale, 1.0)


def test_groups_without_signal_cost_nothing_but_stay_in_the_denominators() -> None:
    team = make_team(reward=lambda problems, completions: _equal_for_the_first(problems, completions))
    collected = groups_of(team)
    advantages = steps.advantages_of(team.settings, collected.records)
    assert not any(advantages[0]) and all(any(values) for values in advantages[1:])
    (mini_batch,) = steps.mini_batches_of(team, collected, advantages, Clock())
    assert sum(batch.input_ids_BT.shape[0] for batch in mini_batch.parts) == 12
    assert mini_batch.extent.sequences == 16
    assert mini_batch.extent.tokens == sum(a.length for record in collected.records for a in record.answers)


def test_with_a_kl_every_group_is_taught() -> None:
    team = make_team(reward=lambda problems, completions: _equal_for_the_first(problems, completions), beta=0.1)
    collected = groups_of(team)
    advantages = steps.advantages_of(team.settings, collected.records)
    (mini_batch,) = steps.mini_batches_of(team, collected, advantages, Clock())
    assert sum(batch.input_ids_BT.shape[0] for batch in mini_batch.parts) == 16
    assert all(batch.ref_logp_BT is not None for batch in mini_batch.parts)


def _equal_for_the_first(problems: Any, completions: Any) -> Any:
    from ponder.core.types import Score

    first = problems[0].id
    return [Score(0.5 if p.id == first else float(i % 2), None) for i, p in enumerate(problems)]


def test_the_samplers_log_probabilities_are_the_trainers() -> None:
    team = make_team(temperature=0.7)
    rows, _ = rows_and_extent(team)
    batch = Batch.of(rows)
    with torch.no_grad():
        logp_BT, _ = token_logprobs(team.policy, batch.input_ids_BT, batch.attention_mask_BT, batch.mask_BT, 0.7)
    assert float((logp_BT - batch.sampler_logp_BT).abs().max()) < 1e-4
    assert float(logp_BT.min()) < -1


def test_after_an_update_the_sampler_samples_from_the_new_weights() -> None:
    team = make_team(learning_rate=0.05)
    place = Place()
    for _ in range(3):
        stepped = grpo_step(team, place)
        place = stepped.place
        assert stepped.metrics["mismatch_kl/max"] < 1e-8
        assert stepped.metrics["updates_skipped"] == 0
    assert stepped.collected.groups[0].rollouts[0].completion.version == 2


# ---- one process = two processes ----


SHARED = (
    {"questions_per_step": 5},
    {"questions_per_step": 5, "loss_type": "dapo", "scale_rewards": "batch"},
    {"num_mini_batches": 2, "num_iterations": 2, "beta": 0.05, "learning_rate": 1e-3},
)


def _two_steps(world: World) -> list[tuple[torch.Tensor, torch.Tensor, list[float]]]:
    """Weights, last gradient and gradient norms of two steps, for each of SHARED.

    Adam's epsilon is large: with a small one it turns the rounding of a gradient near 0 into a whole step.
    """
    results = []
    for changes in SHARED:
        team, place, norms = make_team(world, adam_epsilon=0.1, **changes), Place(), []
        for _ in range(2):
            stepped = grpo_step(team, place)
            place = stepped.place
            norms.append(stepped.metrics["grad_norm"])
        weights = torch.cat([p.detach().reshape(-1) for p in team.policy.parameters()])
        results.append((weights, team.optimizer.gradient.clone(), norms))
    return results


def test_two_processes_are_one() -> None:
    before = torch.cat([p.detach().reshape(-1) for p in make_model().parameters()])
    for alone, shared in zip(_two_steps(World()), launch(_two_steps, 2), strict=True):
        assert float((alone[0] - shared[0]).abs().max()) < 1e-6
        assert float((alone[1] - shared[1]).abs().max()) < 1e-6
        assert alone[2] == pytest.approx(shared[2], rel=1e-5)
        assert float((alone[0] - before).abs().max()) > 1e-4


# ---- the optimiser ----


def test_the_flat_gradient_is_every_parameters_gradient() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = Optimizer(model)
    model(torch.ones(5, 3)).sum().backward()
    flat = torch.cat([p.grad.reshape(-1) for p in model.parameters()])  # type: ignore[union-attr]
    assert torch.equal(flat, optimizer.gradient) and float(flat.abs().sum()) > 0


def test_an_update_is_adamw_on_the_clipped_gradient() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    optimizer = Optimizer(ours, betas=(0.8, 0.9), epsilon=1e-6, weight_decay=0.1)
    reference = torch.optim.AdamW(
        [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}],
        lr=0.01, betas=(0.8, 0.9), eps=1e-6,
    )  # fmt: skip
    for step in range(3):
        x = torch.randn(4, 3) * (step + 1)
        done = update(
            optimizer, lambda part: (ours(part).square().sum() / 4, {"n": torch.ones(())}), [x[:1], x[1:]],
            learning_rate=0.01, max_grad_norm=0.5, world=World(),
        )  # fmt: skip
        reference.zero_grad()
        (theirs(x).square().sum() / 4).backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        reference.step()
        assert done.grad_norm == pytest.approx(float(norm), rel=1e-5) and float(done.stats["n"]) == 2
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    model = torch.nn.Linear(2, 1)
    optimizer, before = Optimizer(model), [p.detach().clone() for p in model.parameters()]
    for poison, applied in ((math.nan, False), (math.inf, False), (1.0, True)):
        done = update(
            optimizer, lambda part: (model(part).sum(), {}), [torch.tensor([[1.0, poison]])],
            learning_rate=0.1, max_grad_norm=1.0, world=World(),
        )  # fmt: skip
        assert done.applied is applied
        assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)) is not applied


def test_a_model_that_is_not_float32_or_cannot_learn_is_refused() -> None:
    with pytest.raises(PonderError, match="must be float32"):
        Optimizer(torch.nn.Linear(2, 2).bfloat16())
    with pytest.raises(PonderError, match="no trainable parameter"):
        Optimizer(torch.nn.Linear(2, 2).requires_grad_(False))


def test_learning_rate_schedules() -> None:
    def rates(schedule: str, floor: float = 0.0) -> list[float]:
        return [round(learning_rate_at(step, 1.0, schedule, 2, 6, floor), 4) for step in range(1, 7)]

    assert rates("constant") == [0.5, 1, 1, 1, 1, 1]
    assert rates("linear") == [0.5, 1, 1, 0.75, 0.5, 0.25]
    assert rates("cosine") == [0.5, 1, 1, 0.8536, 0.5, 0.1464]
    assert rates("linear", 0.2) == [0.5, 1, 1, 0.8, 0.6, 0.4]


# ---- planted bugs: each must be seen by the check that stands beside it ----


def test_a_denominator_taken_from_the_micro_batch_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps.policy_loss
    monkeypatch.setattr(
        steps,
        "policy_loss",
        lambda logp, terms, variant, extent, settings: real(
            logp, terms, variant, Extent.of(terms.mask_BT, extent.max_completion_length), settings
        ),
    )
    with pytest.raises(AssertionError):
        test_the_gradient_does_not_depend_on_split_order_or_padding("dapo", {})


def test_a_shift_off_by_one_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = token_logprobs
    monkeypatch.setattr(
        "ponder.training.grpo_step.token_logprobs",
        lambda *args: tuple(value.roll(1, dims=1) for value in real(*args)),
    )
    team = make_team()
    assert grpo_step(team, Place()).metrics["mismatch_kl/max"] > 1e-3


def test_a_sampler_with_stale_weights_would_be_seen() -> None:
    team, stale = make_team(), make_team(model=make_model())
    team = replace(team, sampler_of=stale.sampler_of)
    first = grpo_step(team, Place())
    assert first.metrics["mismatch_kl/max"] < 1e-8
    assert grpo_step(team, first.place).metrics["mismatch_kl/max"] > 1e-5
