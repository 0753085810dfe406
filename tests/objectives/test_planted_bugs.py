"""Planted bugs: each is a one-line change to the source, and a check that passes on the real code must fail on it.

The checks are small versions of the suite's own tests. They take the code under test as an argument, so that the same
check judges the real modules and every mutant.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch

MODULES = ("objectives.batch", "objectives.credit", "objectives.kl", "objectives.policy", "objectives.family")
LOGPROBS = "models.logprobs"


@contextmanager
def planted(module: str, old: str, new: str) -> Iterator[dict[str, Any]]:
    """The objectives and log-probabilities with `old` replaced by `new` in the source of `module`."""
    names = [f"ponder.{name}" for name in (*MODULES, LOGPROBS)]
    real = {name: importlib.import_module(name) for name in names}
    try:
        for name in names:
            source = inspect.getsource(real[name])
            if name == f"ponder.{module}":
                assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}"
                source = source.replace(old, new)
            copy = types.ModuleType(name)
            sys.modules[name] = copy  # the modules after this one import the mutant
            exec(compile(source, name, "exec"), copy.__dict__)
        yield {key: value for name in names for key, value in vars(sys.modules[name]).items()}
    finally:
        sys.modules.update(real)


# ---- the checks ----


def step(code: dict[str, Any], lengths: tuple[int, ...] = (4, 1, 3, 2)) -> tuple[torch.Tensor, Any, Any]:
    generator = torch.Generator().manual_seed(0)
    shape = (len(lengths), 4)
    logp_BT = -torch.rand(shape, generator=generator, dtype=torch.float64)
    old_BT, ref_BT = (logp_BT + 0.3 * torch.randn(shape, generator=generator) for _ in range(2))
    mask_BT = torch.arange(4) < torch.tensor(lengths)[:, None]
    terms = code["PolicyTerms"](torch.tensor([1.0, -1.0, 0.5, -0.5]), mask_BT, old_BT, ref_BT)
    return logp_BT, terms, code["Extent"].of(mask_BT, 8)


def gradient(code: dict[str, Any], name: str, logp_BT: torch.Tensor, terms: Any, extent: Any, **given: Any) -> Any:
    leaf_BT = logp_BT.clone().requires_grad_()
    settings = code["PolicySettings"](**given)
    code["policy_loss"](leaf_BT, terms, code["FAMILY"][name], extent, settings)[0].backward()
    return leaf_BT.grad


def check_direction(code: dict[str, Any]) -> None:
    """One step down the gradient makes the rewarded answer likelier and the other less likely."""
    for name, row in code["FAMILY"].items():
        advantages = row.advantages([[1.0, 0.0]], code["PolicySettings"]())[0]
        terms = code["PolicyTerms"](torch.tensor(advantages), torch.ones(2, 3))
        grad_BT = gradient(code, name, torch.full((2, 3), -1.0), terms, code["Extent"](2, 6, 8))
        assert (grad_BT[0] < 0).all() and (grad_BT[1] > 0).all(), name


def check_mask(code: dict[str, Any]) -> None:
    """Masked tokens have no gradient, and what stands there changes nothing."""
    for name in code["FAMILY"]:
        logp_BT, terms, extent = step(code)
        clean_BT = gradient(code, name, logp_BT, terms, extent, beta=0.1)
        assert (clean_BT[~terms.mask_BT] == 0).all(), name
        dirty_BT = torch.where(terms.mask_BT, logp_BT, math.nan)
        assert torch.equal(gradient(code, name, dirty_BT, terms, extent, beta=0.1), clean_BT), name
    ones_BT, mask_BT = torch.ones(1, 3), torch.tensor([[1.0, 1.0, 0.0]])
    sums = {"sequence_mean": 1 / 4, "sequence_sum": 2 / 4, "token_mean": 2 / 5, "constant_length": 2 / 32}
    for name, value in sums.items():
        assert code[name](ones_BT, mask_BT, code["Extent"](4, 5, 8)).item() == pytest.approx(value), name


def check_split(code: dict[str, Any]) -> None:
    """Two micro-batches of unlike lengths give the gradient of one."""
    for name in code["FAMILY"]:
        logp_BT, terms, extent = step(code)
        whole_BT = gradient(code, name, logp_BT, terms, extent, beta=0.1)
        parts = []
        for index in (slice(0, 1), slice(1, 4)):
            part = code["PolicyTerms"](**{k: v if v is None else v[index] for k, v in vars(terms).items()})
            parts.append(gradient(code, name, logp_BT[index], part, extent, beta=0.1))
        torch.testing.assert_close(torch.cat(parts), whole_BT)


def check_by_hand(code: dict[str, Any]) -> None:
    """Ratios 1.5 and 0.5 with A = 1, and 2 with A = -1, at epsilon 0.2 (and delta 1.5)."""
    mask_BT = torch.tensor([[1, 1], [1, 0]])
    ratio_BT = torch.tensor([[1.5, 0.5], [2.0, 1.0]], dtype=torch.float64)
    terms = code["PolicyTerms"](torch.tensor([1.0, -1.0]), mask_BT, torch.full((2, 2), -1.0))

    def loss(name: str, **given: Any) -> float:
        settings, extent = code["PolicySettings"](**given), code["Extent"].of(mask_BT, 4)
        return code["policy_loss"](ratio_BT.log() - 1, terms, code["FAMILY"][name], extent, settings)[0].item()

    assert loss("grpo") == pytest.approx((-1.7 / 2 + 2) / 2)
    assert loss("dr_grpo") == pytest.approx((-1.7 + 2) / 8)
    assert loss("dapo") == pytest.approx((-1.78 + 2) / 3)
    assert loss("ppo", delta=1.5) == pytest.approx((-1.7 + 1.5) / 3)
    assert loss("gspo") == pytest.approx((-math.sqrt(0.75) + 2) / 2)
    assert loss("rloo") == pytest.approx((-0.75 + 2) / 2)


def check_advantages(code: dict[str, Any]) -> None:
    """Sum to zero, ignore a shift, and have the values worked out by hand."""
    for name, row in code["FAMILY"].items():
        flat = sum(row.advantages([[1.0, 0.0, 0.0], [2.0, 0.5, 0.5]], code["PolicySettings"]()), [])
        moved = sum(row.advantages([[2.0, 1.0, 1.0], [3.0, 1.5, 1.5]], code["PolicySettings"]()), [])
        assert abs(sum(flat)) < 1e-9 and moved == pytest.approx(flat), name
    assert code["FAMILY"]["rloo"].advantages([[1.0, 0.0, 0.0]], code["PolicySettings"]()) == [[1.0, -0.5, -0.5]]
    std = math.sqrt(1 / 3) + 1e-4
    wanted = pytest.approx([2 / 3 / std, -1 / 3 / std, -1 / 3 / std])
    assert code["FAMILY"]["grpo"].advantages([[1.0, 0.0, 0.0]], code["PolicySettings"]())[0] == wanted


def check_kl(code: dict[str, Any]) -> None:
    """p twice the reference: k3 = log 2 - 1/2 with gradient 1/2; k1 and k2 have gradient log 2."""
    for name, value, slope in (("k1", math.log(2), math.log(2)), ("k2", math.log(2) ** 2 / 2, math.log(2)),
                               ("k3", math.log(2) - 0.5, 0.5)):  # fmt: skip
        logp = torch.tensor(math.log(0.5), dtype=torch.float64, requires_grad=True)
        kl = code["KL"][name](logp, torch.tensor(math.log(0.25), dtype=torch.float64))
        kl.backward()
        assert kl.item() == pytest.approx(value) and logp.grad.item() == pytest.approx(slope), name
    logp_BT, terms, extent = step(code)
    terms.advantages_B.zero_()
    terms.ref_logp_BT.copy_(logp_BT - 1)  # the policy likes these tokens more than the reference does
    assert (gradient(code, "grpo", logp_BT, terms, extent, beta=0.1)[terms.mask_BT] > 0).all()


class Bigram(torch.nn.Module):
    """log p(next | token) from a table, so that every log-probability is known."""

    def __init__(self, table_VV: torch.Tensor) -> None:
        super().__init__()
        self.table_VV = torch.nn.Parameter(table_VV)

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        assert not use_cache
        return types.SimpleNamespace(logits=self.table_VV[input_ids])


def check_shift(code: dict[str, Any]) -> None:
    """Index t speaks of token t, through the model and through the head in chunks."""
    table_VV = torch.randn(9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ids_BT = torch.tensor([[3, 1, 4, 1, 5], [2, 7, 8, 0, 0]])
    real_BT, wanted_BT = ids_BT != 0, torch.zeros(2, 5, dtype=torch.float64)
    completion_BT = real_BT & (torch.arange(5) >= 2)
    for b, t in completion_BT.nonzero().tolist():
        wanted_BT[b, t] = torch.log_softmax(table_VV[ids_BT[b, t - 1]] / 0.5, -1)[ids_BT[b, t]]
    got_BT, _ = code["token_logprobs"](Bigram(table_VV), ids_BT, real_BT, completion_BT, 0.5)
    torch.testing.assert_close(got_BT, wanted_BT)

    hidden_ND, targets_N = torch.randn(7, 4, dtype=torch.float64), torch.tensor([0, 3, 8, 2, 2, 5, 1])
    results = []
    for chunk in (2, 7):
        weight_VD = table_VV[:, :4].clone().requires_grad_()
        logp_N, entropy_N = code["head_logprobs"](hidden_ND, weight_VD, None, targets_N, 0.5, 4 * 9 * chunk)
        (logp_N * torch.arange(7)).sum().backward()
        results.append((logp_N.detach(), entropy_N, weight_VD.grad))
    wanted_N = torch.log_softmax(hidden_ND @ table_VV[:, :4].T / 0.5, -1).gather(-1, targets_N[:, None])[:, 0]
    torch.testing.assert_close(results[0][0], wanted_N)
    torch.testing.assert_close(results[0], results[1])


CHECKS = (check_direction, check_mask, check_split, check_by_hand, check_advantages, check_kl, check_shift)


# ---- the bugs ----


@dataclass(frozen=True)
class Bug:
    name: str
    module: str
    old: str
    new: str
    caught_by: Callable[[dict[str, Any]], None]


MINIMUM = "torch.minimum(bounded_BT * advantages_BT, ratio_BT.clamp(clip.low, clip.high) * advantages_BT)"
BUGS = (
    Bug(
        "advantage sign flipped in the loss",
        "objectives.policy",
        f"return -{MINIMUM}",
        f"return {MINIMUM}",
        check_direction,
    ),
    Bug(
        "advantage sign flipped in the credit",
        "objectives.credit",
        "[reward - mean for",
        "[mean - reward for",
        check_direction,
    ),
    Bug(
        "sign flipped in the score function",
        "objectives.policy",
        "return -ratio_BT.detach()",
        "return ratio_BT.detach()",
        check_direction,
    ),
    Bug(
        "mask dropped: sum",
        "objectives.policy",
        "return (loss_BT * mask_BT).sum() / max(extent.tokens, 1)",
        "return loss_BT.sum() / max(extent.tokens, 1)",
        check_mask,
    ),
    Bug(
        "mask dropped: inputs",
        "objectives.policy",
        "torch.where(inside_BT, values_BT if values_BT.dtype == torch.float64 else values_BT.float(), 0.0)",
        "values_BT",
        check_mask,
    ),
    Bug(
        "mask dropped: sequence ratio",
        "objectives.policy",
        "lengths_B1 = mask_BT.sum(-1, keepdim=True).clamp(min=1)",
        "lengths_B1 = torch.full_like(mask_BT[:, :1], mask_BT.shape[1])",
        check_by_hand,
    ),
    Bug(
        "denominator of the micro-batch: tokens",
        "objectives.policy",
        "/ max(extent.tokens, 1)",
        "/ mask_BT.sum()",
        check_split,
    ),
    Bug(
        "denominator of the micro-batch: sequences",
        "objectives.policy",
        "return ((loss_BT * mask_BT).sum(-1) / lengths_B).sum() / max(extent.sequences, 1)",
        "return ((loss_BT * mask_BT).sum(-1) / lengths_B).mean()",
        check_split,
    ),
    Bug(
        "denominator of the micro-batch: constant length",
        "objectives.policy",
        "extent.sequences * extent.max_completion_length",
        "mask_BT.shape[0] * extent.max_completion_length",
        check_split,
    ),
    Bug(
        "lengths of the padded rows",
        "objectives.policy",
        "lengths_B = mask_BT.sum(-1).clamp(min=1)",
        "lengths_B = mask_BT.shape[1]",
        check_by_hand,
    ),
    Bug("maximum for minimum", "objectives.policy", "-torch.minimum(", "-torch.maximum(", check_by_hand),
    Bug(
        "upper clip at epsilon, not 1 + epsilon",
        "objectives.family",
        "high = 1 + (fallback",
        "high = (fallback",
        check_by_hand,
    ),
    Bug(
        "clip-higher ignored",
        "objectives.family",
        "fallback = self.epsilon_high if",
        "fallback = self.epsilon if",
        check_by_hand,
    ),
    Bug(
        "delta ignored",
        "objectives.policy",
        "ratio_BT if clip.delta is None else ratio_BT.clamp(max=clip.delta)",
        "ratio_BT",
        check_by_hand,
    ),
    Bug(
        "ratio upside down",
        "objectives.policy",
        "ratio_BT, weight_BT = _at_level(logp_BT - old_BT,",
        "ratio_BT, weight_BT = _at_level(old_BT - logp_BT,",
        check_direction,
    ),
    Bug(
        "on-policy ratio without gradient",
        "objectives.policy",
        "old_BT = logp_BT.detach() if",
        "old_BT = logp_BT if",
        check_direction,
    ),
    Bug(
        "baseline missing",
        "objectives.credit",
        "[reward - mean for reward in rewards]",
        "[reward for reward in rewards]",
        check_advantages,
    ),
    Bug(
        "own reward left in the baseline",
        "objectives.credit",
        "factor = len(rewards) / (len(rewards) - 1)",
        "factor = 1.0",
        check_advantages,
    ),
    Bug("population standard deviation", "objectives.credit", "/ (len(values) - 1)", "/ len(values)", check_advantages),
    Bug("k1 with its own gradient", "objectives.kl", "k1_BT.detach() + (k2_BT - k2_BT.detach())", "k1_BT", check_kl),
    Bug("k3 upside down", "objectives.kl", "(ref_logp_BT - logp_BT).clamp", "(logp_BT - ref_logp_BT).clamp", check_kl),
    Bug(
        "KL rewarded",
        "objectives.policy",
        "loss_BT + settings.beta * kl_BT",
        "loss_BT - settings.beta * kl_BT",
        check_kl,
    ),
    Bug(
        "shift off by one: logits of the token itself",
        LOGPROBS,
        "before_N = columns_N - 1",
        "before_N = columns_N",
        check_shift,
    ),
    Bug(
        "shift off by one: value put a token early",
        LOGPROBS,
        "where = (rows_N, columns_N)",
        "where = (rows_N, before_N)",
        check_shift,
    ),
    Bug(
        "temperature multiplied",
        LOGPROBS,
        "_full(logits_NV) / temperature",
        "_full(logits_NV) * temperature",
        check_shift,
    ),
    Bug(
        "temperature forgotten in the chunks",
        LOGPROBS,
        "return logits_CV if temperature == 1.0 else logits_CV.div_(temperature)",
        "return logits_CV",
        check_shift,
    ),
    Bug(
        "temperature forgotten in the gradient",
        LOGPROBS,
        "grad_N[part, None] / ctx.temperature",
        "grad_N[part, None]",
        check_shift,
    ),
    Bug("softmax missing in the gradient", LOGPROBS, ".exp_().neg_()", ".zero_()", check_shift),
    Bug(
        "last chunk only",
        LOGPROBS,
        "total_VD.addmm_(grad_CV.T, hidden_CD)",
        "total_VD.copy_(grad_CV.T @ hidden_CD)",
        check_shift,
    ),
)


def test_the_real_code_passes_every_check() -> None:
    with planted("none", "", "") as code:
        for check in CHECKS:
            check(code)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    with planted(bug.module, bug.old, bug.new) as code, pytest.raises(AssertionError):
        bug.caught_by(code)


def test_the_real_modules_are_back() -> None:
    from ponder.objectives import FAMILY
    from ponder.objectives.policy import clipped

    assert FAMILY["grpo"].surrogate is clipped
    assert sys.modules["ponder.objectives.policy"].clipped is clipped
