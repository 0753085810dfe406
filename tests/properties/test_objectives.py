"""Properties of the objectives that hold for any rewards, any lengths, any split."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.objectives.batch import Extent, PolicyTerms
from ponder.objectives.credit import overlong_penalty
from ponder.objectives.family import FAMILY, PolicySettings
from ponder.objectives.kl import kl_k3
from ponder.objectives.policy import policy_loss

checked = settings(max_examples=60, deadline=None)  # a shared machine makes any deadline flaky

names = st.sampled_from(sorted(FAMILY))
rewards = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))
groups = st.lists(st.lists(rewards, min_size=2, max_size=8), min_size=1, max_size=5)
BATCH = ("reinforce", "ppo")  # the rows whose baseline is the batch's; they refuse the scale `group`
rows = st.tuples(names, st.sampled_from([None, "group", "batch", "none"])).filter(
    lambda row: not (row[0] in BATCH and row[1] == "group")
)


def credit(row: tuple[str, str | None], values: list[list[float]]) -> list[list[float]]:
    name, scale = row
    return FAMILY[name].advantages(values, PolicySettings(scale_rewards=scale))  # type: ignore[arg-type]


EVERYTHING = PolicySettings(beta=0.05, use_bias_correction_kl=True, importance_sampling_correction="token_truncate")
"""Every term of the loss switched on."""


def step(seed: int, lengths: list[int], width: int) -> tuple[torch.Tensor, PolicyTerms]:
    """A whole step in fp64, right-padded to `width`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), width)
    logp_BT = -torch.rand(shape, generator=generator, dtype=torch.float64)
    near = [logp_BT + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    mask_BT = torch.arange(width) < torch.tensor(lengths)[:, None]
    advantages_B = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    return logp_BT, PolicyTerms(advantages_B, mask_BT, near[0], near[1], near[2])


def rows_of(terms: PolicyTerms, index: object) -> PolicyTerms:
    return PolicyTerms(**{name: value[index] for name, value in vars(terms).items()})


def gradient(
    name: str, logp_BT: torch.Tensor, terms: PolicyTerms, extent: Extent, chosen: PolicySettings
) -> tuple[float, torch.Tensor]:
    leaf_BT = logp_BT.clone().requires_grad_()
    loss, _ = policy_loss(leaf_BT, terms, FAMILY[name], extent, chosen)
    loss.backward()
    return loss.item(), leaf_BT.grad


# ---- credit ----


@checked
@given(rows, groups)
def test_advantages_sum_to_zero(row: tuple[str, str | None], values: list[list[float]]) -> None:
    result = credit(row, values)
    for part in [sum(result, [])] if row[0] in BATCH else result:
        assert abs(math.fsum(part)) <= 1e-9 * max(1.0, max(map(abs, part)) * len(part))


@checked
@given(rows, groups, st.floats(-1000, 1000))
def test_advantages_ignore_a_shift(row: tuple[str, str | None], values: list[list[float]], shift: float) -> None:
    before = sum(credit(row, values), [])
    after = sum(credit(row, [[value + shift for value in group] for group in values]), [])
    # a shift by 1000 costs rewards their last bits (1e-13), which a division by 1e-4 at most makes 1e-9
    assert after == pytest.approx(before, rel=1e-6, abs=1e-8)


@checked
@given(rows, groups)
def test_a_better_answer_never_has_the_lower_advantage(row: tuple[str, str | None], values: list[list[float]]) -> None:
    for group, credits in zip(values, credit(row, values), strict=True):
        pairs = sorted(zip(group, credits, strict=True))
        assert all(low[1] <= high[1] + 1e-9 for low, high in zip(pairs, pairs[1:], strict=False))


@checked
@given(st.integers(0, 5000), st.integers(1, 2000), st.data())
def test_the_overlong_penalty_falls_from_0_to_minus_1(length: int, limit: int, data: st.DataObject) -> None:
    buffer = data.draw(st.integers(1, limit))
    value = overlong_penalty(length, limit, buffer)
    assert -1 <= value <= 0
    assert overlong_penalty(length + 1, limit, buffer) <= value
    assert (value == 0) == (length <= limit - buffer) and (value == -1) == (length >= limit)


# ---- the loss ----


@checked
@given(names, st.integers(0, 2**31), st.lists(st.integers(0, 6), min_size=1, max_size=7), st.data())
def test_any_split_order_and_padding_gives_the_same_gradient(
    name: str, seed: int, lengths: list[int], data: st.DataObject
) -> None:
    width = max([1, *lengths])
    logp_BT, terms = step(seed, lengths, width)
    extent, chosen = Extent.of(terms.mask_BT, 8), EVERYTHING
    loss, whole_BT = gradient(name, logp_BT, terms, extent, chosen)

    order = torch.tensor(data.draw(st.permutations(range(len(lengths)))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(lengths) - 1)))) if len(lengths) > 1 else []
    left, right = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    total, got_BT = 0.0, torch.zeros_like(whole_BT)
    for index in torch.tensor_split(order, cuts):
        padded = {
            field: value if value.dim() == 1 else torch.nn.functional.pad(value, (left, right))
            for field, value in vars(rows_of(terms, index)).items()
        }
        part, part_BT = gradient(
            name, torch.nn.functional.pad(logp_BT[index], (left, right)), PolicyTerms(**padded), extent, chosen
        )
        total += part
        got_BT[index] = part_BT[:, left : left + width]
    assert total == pytest.approx(loss, rel=1e-12, abs=1e-12)
    torch.testing.assert_close(got_BT, whole_BT, rtol=1e-12, atol=1e-14)


@checked
@given(names, st.integers(0, 2**31), st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_masked_tokens_have_exactly_zero_gradient(name: str, seed: int, lengths: list[int]) -> None:
    logp_BT, terms = step(seed, lengths, 8)
    _, grad_BT = gradient(name, logp_BT, terms, Extent.of(terms.mask_BT, 8), EVERYTHING)
    assert (grad_BT[~terms.mask_BT] == 0).all()
    assert grad_BT.isfinite().all()


@checked
@given(names, st.integers(0, 2**31), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 9))
def test_groups_without_signal_are_in_the_denominator_only(
    name: str, seed: int, lengths: list[int], silent: int
) -> None:
    """Leaving out rows whose advantage is 0, while `extent` still counts them, changes nothing (beta 0)."""
    logp_BT, terms = step(seed, [*lengths, *[4] * silent], 6)
    terms.advantages_B[len(lengths) :] = 0
    extent = Extent.of(terms.mask_BT, 8)
    loss, grad_BT = gradient(name, logp_BT, terms, extent, PolicySettings())
    kept = slice(0, len(lengths))
    part, part_BT = gradient(name, logp_BT[kept], rows_of(terms, kept), extent, PolicySettings())
    assert part == pytest.approx(loss, rel=1e-12, abs=1e-15)
    torch.testing.assert_close(part_BT, grad_BT[kept], rtol=1e-12, atol=1e-15)
    assert (grad_BT[len(lengths) :] == 0).all()


@checked
@given(st.floats(-300, 0), st.floats(-300, 0))
def test_k3_is_never_negative(logp: float, ref: float) -> None:
    for dtype in (torch.float32, torch.float64):
        assert kl_k3(torch.tensor(logp, dtype=dtype), torch.tensor(ref, dtype=dtype)).item() >= 0


@checked
@given(st.integers(0, 2**31), st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_gspo_treats_the_tokens_of_a_sequence_alike(seed: int, lengths: list[int]) -> None:
    logp_BT, terms = step(seed, lengths, 6)
    _, grad_BT = gradient("gspo", logp_BT, terms, Extent.of(terms.mask_BT, 8), PolicySettings(epsilon=0.3))
    for row, size in zip(grad_BT, lengths, strict=True):
        assert (row[:size] == row[0]).all()


@checked
@given(st.integers(0, 2**31), st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_gspo_of_single_tokens_is_grpo(seed: int, lengths: list[int]) -> None:
    logp_BT, terms = step(seed, [1] * len(lengths), 3)
    extent, chosen = Extent.of(terms.mask_BT, 8), PolicySettings(epsilon=0.2)
    left = gradient("gspo", logp_BT, terms, extent, chosen)
    right = gradient("grpo", logp_BT, terms, extent, chosen)
    assert left[0] == pytest.approx(right[0], rel=1e-12)
    torch.testing.assert_close(left[1], right[1])


@checked
@given(st.integers(0, 2**31), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.floats(0.0, 2.0))
def test_cispo_never_silences_a_token(seed: int, lengths: list[int], cap: float) -> None:
    """Where PPO-clip gives no gradient at all, CISPO's is -A min(r, cap) / tokens."""
    logp_BT, terms = step(seed, lengths, 6)
    _, grad_BT = gradient("cispo", logp_BT, terms, Extent.of(terms.mask_BT, 8), PolicySettings(epsilon_high=cap))
    assert terms.old_logp_BT is not None
    weight_BT = (logp_BT - terms.old_logp_BT).exp().clamp(max=cap)
    wanted_BT = -terms.advantages_B[:, None] * weight_BT * terms.mask_BT / sum(lengths)
    torch.testing.assert_close(grad_BT, wanted_BT)


@checked
@given(st.sampled_from(["grpo", "dapo", "ppo"]), st.integers(0, 2**31), st.floats(1.5, 5.0))
def test_delta_bounds_the_push_on_bad_tokens(name: str, seed: int, delta: float) -> None:
    logp_BT, terms = step(seed, [6, 6, 6, 6], 6)
    terms.old_logp_BT.sub_(1.0)  # ratios around e
    terms.advantages_B.abs_().neg_()
    _, grad_BT = gradient(name, logp_BT, terms, Extent(1, 1, 1), PolicySettings(delta=delta))
    ratio_BT = (logp_BT - terms.old_logp_BT).exp()
    assert (grad_BT[ratio_BT > delta] == 0).all()
    assert (grad_BT[(ratio_BT < delta) & (ratio_BT > 0.8)] > 0).all()
