"""Preference losses: a slow loop written from the papers, properties, and what must not matter."""

from __future__ import annotations

import importlib
import inspect
import math
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.objectives import preference
from ponder.objectives.policy import merge_stats
from ponder.objectives.preference import LOSSES, PairTerms, pair_losses, preference_loss, summarise_pairs

NAMES = tuple(LOSSES)
SYMMETRIC = ("sigmoid", "ipo")
"""The losses that see the difference of the two sides alone."""

numbers = st.floats(-60, 0, allow_nan=False, width=32)
pairs_of_numbers = st.lists(
    st.tuples(numbers, numbers, numbers, numbers, st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6
)


def terms_of(rows: Any) -> PairTerms:
    columns = [torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)]
    return PairTerms(*columns)


def example(seed: int = 0, pairs: int = 5) -> PairTerms:
    generator = torch.Generator().manual_seed(seed)
    logp = [-20 * torch.rand(pairs, generator=generator, dtype=torch.float64) for _ in range(4)]
    tokens = [torch.randint(1, 30, (pairs,), generator=generator) for _ in range(2)]
    return PairTerms(*logp, *tokens)


def slow(terms: PairTerms, name: str, beta: float, s: float) -> list[float]:
    """One pair at a time, from the papers' equations, in plain Python."""

    def sigma(x: float) -> float:
        return 1 / (1 + math.exp(-x)) if x > -700 else 0.0

    found = []
    for i in range(len(terms.chosen_logp_B)):
        p_w, p_l = float(terms.chosen_logp_B[i]), float(terms.rejected_logp_B[i])
        r_w, r_l = float(terms.ref_chosen_logp_B[i]), float(terms.ref_rejected_logp_B[i])
        if name == "sigmoid":  # DPO, equation 7: log sigmoid of beta log(pi/ref) of w minus that of l
            right, wrong = (
                sigma(beta * (p_w - r_w) - beta * (p_l - r_l)),
                sigma(beta * (p_l - r_l) - beta * (p_w - r_w)),
            )
            found.append(-(1 - s) * math.log(right) - (s * math.log(wrong) if s else 0.0))
        elif name == "ipo":  # equation 17, its h on averages over tokens
            h = (p_w - r_w) / int(terms.chosen_tokens_B[i]) - (p_l - r_l) / int(terms.rejected_tokens_B[i])
            found.append((h - 1 / (2 * beta)) ** 2)
        elif name == "apo_zero":  # equation 7, plus 1
            found.append(-sigma(beta * (p_w - r_w)) + sigma(beta * (p_l - r_l)) + 1)
        else:  # equation 8, plus 1
            found.append(sigma(beta * (p_w - r_w)) - sigma(beta * ((p_w - r_w) - (p_l - r_l))) + 1)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_slow_loop_from_the_papers(name: str, beta: float, smoothing: float) -> None:
    if smoothing and name != "sigmoid":
        return
    for seed in range(4):
        terms = example(seed)
        found = pair_losses(terms, name, beta, smoothing).tolist()
        assert found == pytest.approx(slow(terms, name, beta, smoothing), rel=1e-9)


def swapped(t: PairTerms) -> PairTerms:
    return PairTerms(
        t.rejected_logp_B, t.chosen_logp_B, t.ref_rejected_logp_B, t.ref_chosen_logp_B,
        t.rejected_tokens_B, t.chosen_tokens_B,
    )  # fmt: skip


@settings(deadline=None)
@given(pairs_of_numbers, st.floats(0.01, 2))
def test_swapping_the_sides_turns_the_preference_round(rows: Any, beta: float) -> None:
    terms = terms_of(rows)
    there, back = pair_losses(terms, "sigmoid", beta), pair_losses(swapped(terms), "sigmoid", beta)
    # log sigmoid(h) - log sigmoid(-h) = h
    h = beta * ((terms.chosen_logp_B - terms.ref_chosen_logp_B) - (terms.rejected_logp_B - terms.ref_rejected_logp_B))
    torch.testing.assert_close(back - there, h, rtol=1e-9, atol=1e-9)
    smoothed, turned = pair_losses(terms, "sigmoid", beta, 0.3), pair_losses(swapped(terms), "sigmoid", beta, 0.3)
    torch.testing.assert_close(turned - smoothed, (1 - 2 * 0.3) * h, rtol=1e-9, atol=1e-9)
    # APO-zero: the sides' parts change places, and the two losses add up to 2.
    both = pair_losses(terms, "apo_zero", beta) + pair_losses(swapped(terms), "apo_zero", beta)
    torch.testing.assert_close(both, torch.full_like(both, 2.0))


@settings(deadline=None)
@given(pairs_of_numbers, st.floats(0.01, 2), st.floats(-30, 30))
def test_a_shift_of_both_reference_log_probabilities(rows: Any, beta: float, shift: float) -> None:
    """The partition function cancels: DPO sees the difference alone, IPO that of the averages; APO is anchored."""
    terms = terms_of(rows)
    moved = replace(
        terms, ref_chosen_logp_B=terms.ref_chosen_logp_B + shift, ref_rejected_logp_B=terms.ref_rejected_logp_B + shift
    )
    before, after = (pair_losses(t, "sigmoid", beta) for t in (terms, moved))
    torch.testing.assert_close(before, after, rtol=1e-6, atol=1e-6)
    alike = replace(terms, rejected_tokens_B=terms.chosen_tokens_B)
    moved_alike = replace(moved, rejected_tokens_B=terms.chosen_tokens_B)
    before, after = (pair_losses(t, "ipo", beta) for t in (alike, moved_alike))
    torch.testing.assert_close(before, after, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["apo_zero", "apo_down"])
def test_apo_is_anchored_at_the_reference(name: str) -> None:
    terms = example()
    moved = replace(
        terms, ref_chosen_logp_B=terms.ref_chosen_logp_B + 3, ref_rejected_logp_B=terms.ref_rejected_logp_B + 3
    )
    assert (pair_losses(terms, name, 0.1) - pair_losses(moved, name, 0.1)).abs().min() > 1e-3


def gradients(terms: PairTerms, name: str, beta: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    chosen, rejected = (t.clone().requires_grad_() for t in (terms.chosen_logp_B, terms.rejected_logp_B))
    pair_losses(replace(terms, chosen_logp_B=chosen, rejected_logp_B=rejected), name, beta).sum().backward()
    assert chosen.grad is not None and rejected.grad is not None
    return chosen.grad, rejected.grad


def test_which_way_each_loss_pushes() -> None:
    """At the reference: DPO, IPO and APO-zero raise the chosen and lower the rejected; APO-down lowers the chosen."""
    terms = example()
    start = replace(terms, chosen_logp_B=terms.ref_chosen_logp_B, rejected_logp_B=terms.ref_rejected_logp_B)
    for name in ("sigmoid", "ipo", "apo_zero"):
        chosen, rejected = gradients(start, name)
        assert (chosen < 0).all() and (rejected > 0).all(), name
    chosen, rejected = gradients(start, "apo_down")
    assert (chosen.abs() < 1e-12).all() and (rejected > 0).all()  # the anchor and the margin balance at first
    ahead = replace(start, rejected_logp_B=start.rejected_logp_B - 20)
    chosen, rejected = gradients(ahead, "apo_down")
    assert (chosen > 0).all() and (rejected > 0).all()  # once the rejected is behind, the chosen goes down too


@pytest.mark.parametrize("name", NAMES)
def test_at_the_reference_every_pair_costs_the_same(name: str) -> None:
    terms = example()
    start = replace(terms, chosen_logp_B=terms.ref_chosen_logp_B, rejected_logp_B=terms.ref_rejected_logp_B)
    cost = {"sigmoid": math.log(2), "ipo": (1 / 0.2) ** 2, "apo_zero": 1.0, "apo_down": 1.0}[name]
    torch.testing.assert_close(pair_losses(start, name, 0.1), torch.full((5,), cost, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_far_from_the_reference_nothing_is_infinite(name: str) -> None:
    far = torch.tensor([-5000.0, 0.0])
    terms = PairTerms(far, far.flip(0), far.flip(0), far, torch.tensor([7, 7]), torch.tensor([9, 9]))
    losses = pair_losses(terms, name, 0.5)
    chosen, rejected = gradients(terms, name, 0.5)
    assert all(bool(torch.isfinite(t).all()) for t in (losses, chosen, rejected))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cuts", [(5,), (1, 4), (2, 2, 1), (1, 1, 1, 1, 1)])
def test_shares_add_up_however_the_step_is_split(name: str, cuts: tuple[int, ...]) -> None:
    terms = example()
    whole, stats = preference_loss(terms, name, 0.1, 0.0, 5)
    parts, at = [], 0
    for count in cuts:
        part = PairTerms(*(getattr(terms, field)[at : at + count] for field in PairTerms.__dataclass_fields__))
        parts.append(preference_loss(part, name, 0.1, 0.0, 5))
        at += count
    torch.testing.assert_close(sum(loss for loss, _ in parts), whole)
    merged = merge_stats(*(sums for _, sums in parts))
    assert {k: float(v) for k, v in merged.items()} == pytest.approx({k: float(v) for k, v in stats.items()})
    logged = summarise_pairs({k: float(v) for k, v in stats.items()}, 5)
    assert logged["loss"] == pytest.approx(float(pair_losses(terms, name, 0.1).mean()))


def test_what_is_logged() -> None:
    terms = PairTerms(
        *(torch.tensor(v) for v in ([-1.0, -2.0], [-3.0, -1.0], [-2.0, -2.0], [-2.0, -2.0])),
        torch.tensor([2, 2]), torch.tensor([2, 2]),
    )  # fmt: skip
    _, stats = preference_loss(terms, "sigmoid", 0.5, 0.0, 2)
    logged = summarise_pairs({k: float(v) for k, v in stats.items()}, 2)
    assert logged == pytest.approx({
        "loss": (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(0.5))) / 2,
        "rewards/chosen": 0.25, "rewards/rejected": 0.0, "rewards/margins": 0.25, "rewards/accuracies": 0.5,
        "logps/chosen": -1.5, "logps/rejected": -2.0,
    })  # fmt: skip


def test_a_step_of_no_pairs_costs_nothing() -> None:
    empty = PairTerms(*(torch.zeros(0) for _ in range(6)))
    loss, stats = preference_loss(empty, "sigmoid", 0.1, 0.0, 0)
    assert float(loss) == 0 and summarise_pairs({k: float(v) for k, v in stats.items()}, 0)["rewards/margins"] == 0


@pytest.mark.parametrize(
    ("name", "beta", "smoothing", "said"),
    [
        ("dpo", 0.1, 0.0, "loss_type is 'dpo': should be one of sigmoid, ipo, apo_zero, apo_down"),
        ("sigmoid", 0.0, 0.0, "beta is 0.0"),
        ("sigmoid", float("nan"), 0.0, "beta is nan"),
        ("sigmoid", 0.1, 0.5, "label_smoothing is 0.5"),
        ("ipo", 0.1, 0.1, "ipo knows none"),
    ],
)
def test_what_is_refused(name: str, beta: float, smoothing: float, said: str) -> None:
    with pytest.raises(PonderError, match=said):
        pair_losses(example(), name, beta, smoothing)


# ---- planted bugs: the checks above in small, which pass on the code and fail on each mutant ----


def agrees_with_the_papers(code: types.ModuleType) -> bool:
    terms = example()
    return all(
        code.pair_losses(terms, name, 0.1).tolist() == pytest.approx(slow(terms, name, 0.1, 0.0), rel=1e-9)
        for name in NAMES
    )


def adds_up(code: types.ModuleType) -> bool:
    terms = example()
    half = [
        PairTerms(*(getattr(terms, f)[cut] for f in PairTerms.__dataclass_fields__)) for cut in (slice(2), slice(2, 5))
    ]
    parts = sum(float(code.preference_loss(part, "sigmoid", 0.1, 0.0, 5)[0]) for part in half)
    return parts == pytest.approx(float(code.preference_loss(terms, "sigmoid", 0.1, 0.0, 5)[0]))


BUGS: list[tuple[str, str, Callable[[types.ModuleType], bool]]] = [
    ("h_B = beta * (chosen_B - rejected_B)", "h_B = beta * (rejected_B - chosen_B)", agrees_with_the_papers),
    ("terms.chosen_logp_B - terms.ref_chosen_logp_B\n    rejected_B", "terms.chosen_logp_B\n    rejected_B",
     agrees_with_the_papers),
    ("1 / (2 * beta)) ** 2", "1 / beta) ** 2", agrees_with_the_papers),
    ("chosen_B = chosen_B / terms.chosen_tokens_B", "chosen_B = chosen_B / terms.rejected_tokens_B",
     agrees_with_the_papers),
    ("return torch.sigmoid(-beta * chosen_B)", "return torch.sigmoid(beta * chosen_B)", agrees_with_the_papers),
    (".sum() / max(pairs, 1)\n    with", ".mean()\n    with", adds_up),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "check"), BUGS)
def test_planted_bugs_are_found(old: str, new: str, check: Callable[[types.ModuleType], bool]) -> None:
    assert check(preference)
    name = "ponder.objectives.preference"
    source = inspect.getsource(importlib.import_module(name))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times"
    mutant = types.ModuleType(name)
    exec(compile(source.replace(old, new), name, "exec"), mutant.__dict__)
    assert not check(mutant)
