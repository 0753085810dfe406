"""The three KL estimators: values by hand, and their expected gradients summed exactly over a small vocabulary."""

from __future__ import annotations

import math

import pytest
import torch

from ponder.objectives.batch import Extent, PolicyTerms
from ponder.objectives.family import FAMILY, PolicySettings
from ponder.objectives.kl import KL, kl_k3, kl_penalty
from ponder.objectives.policy import policy_loss


@pytest.mark.parametrize(
    ("name", "value", "gradient"),
    [
        ("k1", math.log(2), math.log(2)),
        ("k2", math.log(2) ** 2 / 2, math.log(2)),
        ("k3", 0.5 + math.log(2) - 1, 1 - 0.5),
    ],
)
def test_by_hand_where_p_is_twice_the_reference(name: str, value: float, gradient: float) -> None:
    logp_BT = torch.tensor([[math.log(0.5)]], dtype=torch.float64, requires_grad=True)
    kl_BT = KL[name](logp_BT, torch.tensor([[math.log(0.25)]], dtype=torch.float64))
    kl_BT.sum().backward()
    assert kl_BT.item() == pytest.approx(value, abs=1e-12)
    assert logp_BT.grad.item() == pytest.approx(gradient, abs=1e-12)


def vocabulary() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    logits_V = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
    ref_V = torch.log_softmax(torch.randn(6, generator=generator, dtype=torch.float64), -1)
    return logits_V, ref_V


def expected(name: str, corrected: bool, behaviour_V: torch.Tensor | None = None) -> tuple[float, torch.Tensor]:
    """The estimator's value and gradient (in the logits), averaged exactly over tokens sampled from `behaviour_V`."""
    logits_V, ref_V = vocabulary()
    logp_V = torch.log_softmax(logits_V, -1)
    old_V = logp_V.detach() if behaviour_V is None else behaviour_V
    kl_V = kl_penalty(logp_V, ref_V, (logp_V - old_V).exp(), name, corrected)
    mean = (old_V.exp() * kl_V).sum()
    mean.backward()
    return mean.item(), logits_V.grad


def true_kl(forward: bool) -> tuple[float, torch.Tensor]:
    logits_V, ref_V = vocabulary()
    logp_V = torch.log_softmax(logits_V, -1)
    first_V, second_V = (ref_V, logp_V) if forward else (logp_V, ref_V)
    kl = (first_V.exp() * (first_V - second_V)).sum()
    kl.backward()
    return kl.item(), logits_V.grad


def test_which_estimates_the_value() -> None:
    kl, _ = true_kl(forward=False)
    assert expected("k1", False)[0] == pytest.approx(kl, abs=1e-12)
    assert expected("k3", False)[0] == pytest.approx(kl, abs=1e-12)
    assert expected("k2", False)[0] != pytest.approx(kl, rel=1e-2), "k2 is biased"


def test_which_estimates_the_gradient() -> None:
    _, reverse_V = true_kl(forward=False)
    _, forward_V = true_kl(forward=True)
    torch.testing.assert_close(expected("k1", False)[1], reverse_V)
    torch.testing.assert_close(expected("k2", False)[1], reverse_V)
    torch.testing.assert_close(expected("k3", False)[1], forward_V)
    assert not torch.allclose(forward_V, reverse_V, rtol=0.05)


@pytest.mark.parametrize("name", KL)
def test_corrected_all_have_the_gradient_of_the_reverse_kl_also_off_policy(name: str) -> None:
    behaviour_V = torch.log_softmax(torch.linspace(-1, 1, 6, dtype=torch.float64), -1)
    _, reverse_V = true_kl(forward=False)
    torch.testing.assert_close(expected(name, True)[1], reverse_V)
    torch.testing.assert_close(expected(name, True, behaviour_V)[1], reverse_V)
    assert not torch.allclose(expected(name, False, behaviour_V)[1], reverse_V, rtol=0.05)


def test_k3_of_nearly_equal_values_is_not_negative_and_keeps_its_size() -> None:
    logp_BT = torch.tensor([[-1.0, -2.0, -3.0]])
    for delta in (0.0, 1e-7, -1e-7, 1e-4, -1e-4):
        kl_BT = kl_k3(logp_BT, logp_BT + delta)
        assert (kl_BT >= 0).all()
    assert kl_k3(torch.zeros(1), torch.full((1,), 1e-3)).item() == pytest.approx(5e-7, rel=1e-2)


def test_k3_stays_finite_where_the_policy_has_all_but_dropped_a_token() -> None:
    logp_BT = torch.tensor([[-500.0]], requires_grad=True)
    kl_BT = kl_k3(logp_BT, torch.tensor([[-1.0]]))
    kl_BT.sum().backward()
    assert math.isfinite(kl_BT.item()) and math.isfinite(logp_BT.grad.item())


@pytest.mark.parametrize("name", FAMILY)
def test_the_kl_enters_with_the_rows_own_weights(name: str) -> None:
    """Advantages of zero leave beta x KL alone, aggregated as the policy's term is."""
    mask_BT = torch.tensor([[1, 1, 1], [1, 0, 0]])
    logp_BT = torch.full((2, 3), -1.0, dtype=torch.float64)
    terms = PolicyTerms(torch.zeros(2), mask_BT, None, torch.full((2, 3), -1.0 - math.log(2), dtype=torch.float64))
    loss, _ = policy_loss(logp_BT, terms, FAMILY[name], Extent.of(mask_BT, 8), PolicySettings(beta=0.1))
    per_token = 0.1 * (math.log(2) - 0.5)
    weight = {"grpo": 1, "gspo": 1, "dr_grpo": 4 / 16, "rloo": 4 / 2, "reinforce": 4 / 2}.get(name, 1)
    assert loss.item() == pytest.approx(weight * per_token, abs=1e-9)
