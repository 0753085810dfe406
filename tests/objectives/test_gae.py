"""GAE, whitening and the critic's loss: against loops from the papers, closed forms, and bugs put in on purpose.

Each check takes the module under test as an argument, so that the same check judges the real one and every mutant.
"""

from __future__ import annotations

import inspect
import math
import types
from typing import Any

import pytest
import torch

from ponder.objectives import Extent
from ponder.objectives import gae as real

LENGTHS = (5, 1, 0, 3, 6)
"""Trained tokens of each row; row r has a prompt of r + 1 tokens before them."""
T = 12


def world(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """rewards_BT, values_BT, mask_BT, bootstrap_B in double precision, with NaN wherever nobody may look."""
    generator = torch.Generator().manual_seed(seed)
    mask_BT = torch.zeros(len(LENGTHS), T, dtype=torch.bool)
    for row, length in enumerate(LENGTHS):
        mask_BT[row, row + 1 : row + 1 + length] = True
    mask_BT[4, 7] = False  # a hole: five tokens are trained, the one between them is not
    draws = [torch.randn(len(LENGTHS), T, generator=generator, dtype=torch.float64) for _ in range(2)]
    rewards_BT, values_BT = (torch.where(mask_BT, draw, math.nan) for draw in draws)
    return rewards_BT, values_BT, mask_BT, torch.randn(len(LENGTHS), generator=generator, dtype=torch.float64)


def by_definition(
    rewards: list[float], values: list[float], gamma: float, lam: float, bootstrap: float
) -> tuple[list[float], list[float]]:
    """One row: equations 11 and 16 of arXiv 1506.02438, each sum written out."""
    worth = [*values, bootstrap]
    deltas = [r + gamma * worth[t + 1] - worth[t] for t, r in enumerate(rewards)]
    n = len(rewards)
    advantages = [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, n)) for t in range(n)]
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


# ---- the checks ----


def check_definition(code: Any) -> None:
    rewards_BT, values_BT, mask_BT, bootstrap_B = world()
    for gamma, lam in ((0.9, 0.8), (1.0, 0.95), (0.5, 1.0), (0.7, 0.0)):
        for ends_B in (None, bootstrap_B):
            advantages_BT, returns_BT = code.gae(rewards_BT, values_BT, mask_BT, gamma, lam, ends_B)
            for row in range(len(LENGTHS)):
                inside = mask_BT[row]
                end = 0.0 if ends_B is None else float(ends_B[row])
                told = rewards_BT[row][inside].tolist(), values_BT[row][inside].tolist()
                advantages, returns = by_definition(*told, gamma, lam, end)
                assert advantages_BT[row][inside].tolist() == pytest.approx(advantages, abs=1e-12)
                assert returns_BT[row][inside].tolist() == pytest.approx(returns, abs=1e-12)
            assert not advantages_BT[~mask_BT].any() and not returns_BT[~mask_BT].any()


def check_closed_forms(code: Any) -> None:
    """lambda 1: discounted rewards to come less the value. lambda 0: the temporal difference."""
    rewards_BT, values_BT, mask_BT, _ = world(1)
    one_BT, returns_BT = code.gae(rewards_BT, values_BT, mask_BT, 0.9, 1.0)
    zero_BT, _ = code.gae(rewards_BT, values_BT, mask_BT, 0.9, 0.0)
    for row in range(len(LENGTHS)):
        inside = mask_BT[row]
        rewards, values = rewards_BT[row][inside].tolist(), values_BT[row][inside].tolist()
        to_come = [sum(0.9 ** (k - t) * rewards[k] for k in range(t, len(rewards))) for t in range(len(rewards))]
        assert returns_BT[row][inside].tolist() == pytest.approx(to_come)
        assert one_BT[row][inside].tolist() == pytest.approx([g - v for g, v in zip(to_come, values, strict=True)])
        differences = [r + 0.9 * n - v for r, n, v in zip(rewards, [*values, 0.0][1:], values, strict=True)]
        assert zero_BT[row][inside].tolist() == pytest.approx(differences)


def check_sign(code: Any) -> None:
    """A reward above what the critic foresaw is good news for every token before it."""
    rewards_BT, mask_BT = torch.tensor([[0.0, 0.0, 1.0]]), torch.ones(1, 3)
    advantages_BT, _ = code.gae(rewards_BT, torch.full((1, 3), 0.25), mask_BT, 1.0, 0.9)
    assert bool((advantages_BT > 0).all())


def check_padding(code: Any) -> None:
    """The same tokens, further right, among more padding, or beside longer rows: the same advantages."""
    rewards_T, values_T = torch.tensor([0.1, -0.2, 0.7]), torch.tensor([0.3, 0.5, -0.4])
    alone = code.gae(rewards_T[None], values_T[None], torch.ones(1, 3), 0.9, 0.8, torch.tensor([0.6]))
    padded = [torch.full((2, 9), math.nan) for _ in range(2)]
    mask_BT = torch.zeros(2, 9)
    for tensor, row in zip(padded, (rewards_T, values_T), strict=True):
        tensor[0, 4:7], tensor[1] = row, torch.arange(9.0)
    mask_BT[0, 4:7], mask_BT[1] = 1, 1
    beside = code.gae(*padded, mask_BT, 0.9, 0.8, torch.tensor([0.6, 3.0]))
    for left, right in zip(alone, beside, strict=True):
        torch.testing.assert_close(left[0], right[0, 4:7])


def check_rewards(code: Any) -> None:
    """The score at the last trained token, the KL at every one, nothing elsewhere."""
    _, kl_BT, mask_BT, scores_B = world(2)
    rewards_BT = code.token_rewards(scores_B, mask_BT, kl_BT, 0.3)
    plain_BT = code.token_rewards(scores_B, mask_BT)
    for row, length in enumerate(LENGTHS):
        places = mask_BT[row].nonzero()[:, 0].tolist()
        expected = [0.0] * T
        for place in places:
            expected[place] = -0.3 * float(kl_BT[row, place])
        if length:
            expected[places[-1]] += float(scores_B[row])
            assert plain_BT[row].nonzero()[:, 0].tolist() == [places[-1]]
        assert rewards_BT[row].tolist() == pytest.approx(expected)
        assert float(plain_BT[row].sum()) == pytest.approx(float(scores_B[row]) if length else 0.0)


def check_whitening(code: Any) -> None:
    """Over the whole step, not a micro-batch; with Bessel's correction, as TRL's `masked_whiten`."""
    _, values_BT, mask_BT, _ = world(3)
    whole = code.Moments.of(values_BT, mask_BT)
    split = code.Moments.of(values_BT[:2], mask_BT[:2]) + code.Moments.of(values_BT[2:], mask_BT[2:])
    flat = values_BT[mask_BT]
    for moments in (whole, split):
        assert moments.mean == pytest.approx(float(flat.mean())) and moments.variance == pytest.approx(
            float(flat.var())
        )
        assert (moments.low, moments.high) == (float(flat.min()), float(flat.max()))
    white_BT = code.whiten(values_BT, mask_BT, split)
    expected = (flat - flat.mean()) * torch.rsqrt(flat.var() + 1e-8)
    torch.testing.assert_close(white_BT[mask_BT], expected)
    assert float(white_BT[mask_BT].mean()) == pytest.approx(0, abs=1e-12)
    assert float(white_BT[mask_BT].std()) == pytest.approx(1, abs=1e-7)
    assert not white_BT[~mask_BT].any()
    torch.testing.assert_close(
        code.whiten(values_BT, mask_BT, split, shift_mean=False)[mask_BT], expected + flat.mean()
    )


def check_value_loss(code: Any) -> None:
    """Against a loop, token by token; the gradient is 0 outside the mask and where the clip holds."""
    _, old_BT, mask_BT, _ = world(4)
    generator = torch.Generator().manual_seed(9)
    values_BT = (old_BT + 0.4 * torch.randn(old_BT.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    returns_BT = old_BT + torch.randn(old_BT.shape, generator=generator, dtype=torch.float64)
    extent = Extent(9, 31, 12)  # of a step that is larger than this micro-batch
    for clip in (0.2, 0.0):
        loss, stats = code.value_loss(values_BT, old_BT, returns_BT, mask_BT, extent, clip)
        (gradient_BT,) = torch.autograd.grad(loss, values_BT)
        total, clipped = 0.0, 0
        for b, t in mask_BT.nonzero().tolist():
            v, old, target = float(values_BT.detach()[b, t]), float(old_BT[b, t]), float(returns_BT[b, t])
            near = min(max(v, old - clip), old + clip) if clip else v
            total += 0.5 * max((v - target) ** 2, (near - target) ** 2)
            held = (near - target) ** 2 > (v - target) ** 2
            clipped += held
            assert float(gradient_BT[b, t]) == pytest.approx(0.0 if held else (v - target) / 31)
        assert float(loss.detach()) == pytest.approx(total / 31) and float(stats["value_clipped"]) == clipped
        assert bool(clip) == bool(clipped) and float(stats["value_tokens"]) == int(mask_BT.sum())
        assert not gradient_BT[~mask_BT].any()


def check_explained_variance(code: Any) -> None:
    def explained(values: list[float], returns: list[float]) -> Any:
        v, r = torch.tensor([values]), torch.tensor([returns])
        return code.explained_variance(code.Moments.of(r - v, r == r), code.Moments.of(r, r == r))

    assert explained([0.0, 1.0, 2.0], [0.0, 1.0, 2.0]) == pytest.approx(1)
    assert explained([7.0, 7.0, 7.0], [0.0, 1.0, 2.0]) == pytest.approx(0)
    assert explained([2.0, 1.0, 0.0], [0.0, 1.0, 2.0]) == pytest.approx(-3)
    assert explained([0.5, 1.0], [1.0, 1.0]) is None


CHECKS = (
    check_definition, check_closed_forms, check_sign, check_padding, check_rewards, check_whitening, check_value_loss,
    check_explained_variance,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_real_code(check: Any) -> None:
    check(real)


BUGS = {
    "delta looks at this state, not the next": (
        "gamma * next_value_B - values_BT[:, t]",
        "gamma * values_BT[:, t] - values_BT[:, t]",
    ),
    "delta off by one: the reward of the next token": (
        "rewards_BT[:, t] + gamma * next",
        "rewards_BT[:, t - 1] + gamma * next",
    ),
    "advantage's sign": (
        "advantages_BT[:, t] = torch.where(inside_B, advantage_B, 0.0)",
        "advantages_BT[:, t] = torch.where(inside_B, -advantage_B, 0.0)",
    ),
    "gamma applied to masked tokens": (
        "delta_B + gamma * lam * advantage_B, advantage_B)",
        "delta_B + gamma * lam * advantage_B, gamma * lam * advantage_B)",
    ),
    "values of masked tokens carry over": (
        "next_value_B = torch.where(inside_B, values_BT[:, t], next_value_B)",
        "next_value_B = values_BT[:, t]",
    ),
    "lambda forgotten": ("gamma * lam * advantage_B, advantage_B", "gamma * advantage_B, advantage_B"),
    "gamma forgotten in the decay": ("gamma * lam * advantage_B, advantage_B", "lam * advantage_B, advantage_B"),
    "no bootstrap": ("bootstrap_B.detach().to(values_BT)", "torch.zeros_like(values_BT[:, 0])"),
    "returns are advantages": (
        "return advantages_BT, advantages_BT + values_BT",
        "return advantages_BT, advantages_BT",
    ),
    "padding is not blanked": (
        "values_BT = torch.where(inside_BT, values_BT.detach(), 0.0)",
        "values_BT = values_BT.detach()",
    ),
    "the score at the last position": (
        "last_BT = inside_BT & (after_BT == 1)",
        "last_BT = torch.arange(mask_BT.shape[1]) == mask_BT.shape[1] - 1",
    ),
    "the score at every token": ("inside_BT & (after_BT == 1)", "inside_BT"),
    "the KL as a bonus": ("-kl_coef * kl_BT", "kl_coef * kl_BT"),
    "variance without Bessel": ("/ (self.count - 1)", "/ self.count"),
    "whitened by the square": ("WHITEN_EPSILON) ** -0.5", "WHITEN_EPSILON) ** -1.0"),
    "the mean stays": ("white_BT if shift_mean else white_BT + whole.mean", "white_BT + whole.mean"),
    "the smaller of the two errors": (
        "torch.maximum(error_BT, near_error_BT)",
        "torch.minimum(error_BT, near_error_BT)",
    ),
    "clipped about the return": ("old_BT + (values_BT - old_BT).clamp", "returns_BT + (values_BT - old_BT).clamp"),
    "a denominator of the micro-batch": ("token_mean(error_BT, mask, extent)", "(error_BT * mask).sum() / mask.sum()"),
    "the half forgotten": ("loss = 0.5 * token_mean", "loss = token_mean"),
    "a gradient outside the mask": (
        "values_BT = torch.where(inside_BT, values_BT, 0.0)\n    old",
        "values_BT = values_BT.nan_to_num(0.0)\n    mask = torch.ones_like(mask)\n    old",
    ),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    old, new = BUGS[name]
    source = inspect.getsource(real)
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times"
    mutant = types.ModuleType(real.__name__)
    exec(compile(source.replace(old, new), name, "exec"), mutant.__dict__)
    caught = []
    for check in CHECKS:
        try:
            check(mutant)
        except AssertionError:
            caught.append(check.__name__)
    assert caught, f"nothing notices: {name}"


def test_nothing_here_carries_a_gradient_to_the_critic() -> None:
    """The targets are constants: a critic that learned through its own targets would chase them."""
    rewards_BT, mask_BT = torch.zeros(1, 3), torch.ones(1, 3)
    values_BT = torch.rand(1, 3, requires_grad=True)
    for tensor in real.gae(rewards_BT, values_BT, mask_BT, 0.9, 0.9, values_BT[:, -1]):
        assert not tensor.requires_grad


def test_a_step_of_nothing() -> None:
    nothing = real.Moments.of(torch.ones(2, 2), torch.zeros(2, 2))
    assert (nothing.count, nothing.mean, nothing.variance) == (0, 0.0, 0.0)
    assert nothing + real.Moments.of(torch.ones(1), torch.ones(1)) == real.Moments(1, 1.0, 1.0, 1.0, 1.0)
    assert real.explained_variance(nothing, nothing) is None
