"""The family against TRL 1.16's own losses on the same tensors, and against slow loops written from the papers.

TRL's `_compute_loss` runs as it is, on a trainer object that holds only what the method reads; the model's
log-probabilities are given to both sides. Loss and gradient agree to 1e-6 relative.

Where TRL's result depends on how a step is cut into micro-batches (grpo and dr_grpo divide by the rows of a
micro-batch, bnpo by its tokens), the two are compared with the step as one micro-batch; the last tests say where they
agree and where they differ with two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ponder.objectives.batch import Extent, PolicyTerms
from ponder.objectives.family import FAMILY, PolicySettings
from ponder.objectives.policy import policy_loss, summarise

B, T, LENGTH = 6, 7, 9


class Accelerator:
    """One process."""

    num_processes, sync_gradients = 1, True

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def reduce(self, value: torch.Tensor, reduction: str) -> torch.Tensor:
        return value


@pytest.fixture(scope="module")
def trl() -> dict[str, type]:
    grpo = pytest.importorskip("trl.trainer.grpo_trainer")
    rloo = pytest.importorskip("trl.trainer.rloo_trainer")
    return {"grpo": grpo.GRPOTrainer, "rloo": rloo.RLOOTrainer}


def trainer(cls: type, **fields: Any) -> Any:
    """An object of TRL's class with what `_compute_loss` reads, and nothing else."""
    made = object.__new__(cls)
    args = {"delta": None, "use_bias_correction_kl": False, "steps_per_generation": 1}
    args |= {name: fields.pop(name) for name in list(fields) if name in args}
    defaults = {
        "aux_loss_enabled": False, "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None,
        "importance_sampling_level": "token", "beta": 0.0, "loss_type": "grpo", "epsilon_low": 0.2, "epsilon_high": 0.2,
        "use_vllm": False, "vllm_importance_sampling_correction": False, "_entropy_bonus_enabled": False,
        "current_gradient_accumulation_steps": 1, "max_completion_length": LENGTH, "accelerator": Accelerator(),
        "model": SimpleNamespace(training=True), "args": SimpleNamespace(**args),
        "_metrics": {"train": defaultdict(list)},
    }  # fmt: skip
    for name, value in (defaults | fields).items():
        object.__setattr__(made, name, value)
    return made


def run_trl(made: Any, logp_BT: torch.Tensor, mask_BT: torch.Tensor, **inputs: Any) -> torch.Tensor:
    rows, length = mask_BT.shape
    made._get_per_token_logps_and_entropies = lambda *a, **k: (logp_BT, torch.zeros_like(logp_BT), None)
    ids_B1, ids_BT = torch.ones(rows, 1, dtype=torch.long), torch.ones(rows, length, dtype=torch.long)
    given = {"prompt_ids": ids_B1, "prompt_mask": ids_B1, "completion_ids": ids_BT, "completion_mask": mask_BT}
    return made._compute_loss(None, {"num_items_in_batch": mask_BT.sum(), **given, **inputs})


def tensors(seed: int = 0, spread: float = 0.4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logp_BT = -2 * torch.rand(B, T, generator=generator, dtype=torch.float64) - 0.1
    near = {
        name: logp_BT + spread * torch.randn(B, T, generator=generator, dtype=torch.float64)
        for name in ("old", "ref", "sampler")
    }
    lengths_B = torch.tensor([7, 3, 1, 5, 0, 6])  # row 4: a truncated answer whose mask is zero
    mask_BT = (torch.arange(T) < lengths_B[:, None]).long()
    advantages_B = torch.randn(B, generator=generator, dtype=torch.float64)
    return {"logp": logp_BT, "mask": mask_BT, "advantages": advantages_B, **near}


def ours(
    name: str, data: dict[str, torch.Tensor], settings: PolicySettings, on_policy: bool = False
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    logp_BT = data["logp"].clone().requires_grad_()
    terms = PolicyTerms(
        data["advantages"], data["mask"], None if on_policy else data["old"], data["ref"], data["sampler"]
    )
    loss, stats = policy_loss(logp_BT, terms, FAMILY[name], Extent.of(data["mask"], LENGTH), settings)
    loss.backward()
    return loss.detach(), logp_BT.grad, summarise(stats)


def theirs(
    made: Any, data: dict[str, torch.Tensor], on_policy: bool = False, **inputs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    logp_BT = data["logp"].clone().requires_grad_()
    given: dict[str, Any] = {"advantages": data["advantages"], "ref_per_token_logps": data["ref"]}
    if not on_policy:
        given["old_per_token_logps"] = data["old"]
    loss = run_trl(made, logp_BT, data["mask"], **given, **inputs)
    loss.backward()
    return loss.detach(), logp_BT.grad


def same(left: tuple[torch.Tensor, torch.Tensor], right: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.testing.assert_close(left[0], right[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(left[1], right[1], rtol=1e-6, atol=1e-9)
    assert left[1].abs().sum() > 0, "a comparison of zeros shows nothing"


# Ponder's row, and the TRL settings that mean the same. TRL has no gspo and no ppo of its own: gspo is its grpo at
# sequence level, and ppo's loss is its bnpo's with other advantages.
ROWS: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "grpo"},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "dapo": {"loss_type": "dapo", "epsilon_high": 0.28},
    "bnpo": {"loss_type": "bnpo"},
    "ppo": {"loss_type": "bnpo"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("on_policy", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_rows(trl: dict[str, type], name: str, on_policy: bool, beta: float) -> None:
    data = tensors()
    made = trainer(trl["grpo"], beta=beta, **ROWS[name])
    loss, gradient, metrics = ours(name, data, PolicySettings(beta=beta), on_policy)
    same((loss, gradient), theirs(made, data, on_policy))
    logged = {key: values[0] for key, values in made._metrics["train"].items()}
    if beta:
        assert metrics["kl"] == pytest.approx(logged["kl"], rel=1e-6)
    if name == "cispo":
        assert metrics["clip_ratio/high_mean"] == pytest.approx(logged["cispo_clip_ratio"])
    elif name != "gspo":  # at sequence level TRL also counts the fully masked row, as not clipped
        for key in ("low", "high", "region"):
            assert metrics[f"clip_ratio/{key}_mean"] == pytest.approx(logged[f"clip_ratio/{key}_mean"])
        assert on_policy or metrics["clip_ratio/region_mean"] > 0.1


@pytest.mark.parametrize("name", ["grpo", "dapo", "ppo"])
def test_settings(trl: dict[str, type], name: str) -> None:
    data = tensors(1)
    row = {"loss_type": ROWS[name]["loss_type"]}
    for fields, settings in (
        ({"epsilon_low": 10.0, "epsilon_high": 10.0}, PolicySettings(epsilon=10.0)),
        ({"epsilon_low": 0.1, "epsilon_high": 0.3}, PolicySettings(epsilon=0.1, epsilon_high=0.3)),
        ({"epsilon_low": 0.2, "epsilon_high": 0.2, "delta": 1.4}, PolicySettings(epsilon=0.2, delta=1.4)),
        (
            {"beta": 0.1, "use_bias_correction_kl": True, "epsilon_high": 0.2},
            PolicySettings(epsilon=0.2, beta=0.1, use_bias_correction_kl=True),
        ),
        ({"importance_sampling_level": "sequence"}, PolicySettings(epsilon=0.2, importance_sampling_level="sequence")),
    ):
        same(ours(name, data, settings)[:2], theirs(trainer(trl["grpo"], **(row | fields)), data))


@pytest.mark.parametrize("name", ["grpo", "dapo", "gspo", "cispo"])
def test_truncated_importance_sampling(trl: dict[str, type], name: str) -> None:
    data, cap = tensors(2), 1.3
    made = trainer(trl["grpo"], beta=0.04, use_vllm=True, vllm_importance_sampling_correction=True, **ROWS[name])
    weight_BT = ((data["old"] - data["sampler"]) * data["mask"]).exp().clamp(max=cap)
    settings = PolicySettings(
        beta=0.04, importance_sampling_correction="token_truncate", importance_sampling_clip_max=cap
    )
    same(ours(name, data, settings)[:2], theirs(made, data, importance_sampling_ratio=weight_BT))


def test_rloo(trl: dict[str, type]) -> None:
    """TRL's RLOO puts the KL into the reward, so it is compared with beta 0; and a fully masked answer adds the
    constant -A to its loss (the gradient is the same), so every row gets a token."""
    data = tensors(3, spread=0.3)
    data["mask"][:, 0] = 1
    made = trainer(trl["rloo"])
    logp_BT = data["logp"].clone().requires_grad_()
    old_B = (data["old"] * data["mask"]).sum(-1)
    loss = run_trl(made, logp_BT, data["mask"], advantages=data["advantages"], old_logps=old_B)
    loss.backward()
    got, gradient, metrics = ours("rloo", data, PolicySettings())
    same((got, gradient), (loss.detach(), logp_BT.grad))
    assert metrics["clip_ratio/region_mean"] > 0


def test_reinforce_has_the_gradient_of_rloo_on_policy(trl: dict[str, type]) -> None:
    """TRL has no REINFORCE; on-policy its RLOO loss has its gradient (the values differ: -A r, and -A log p)."""
    data = tensors(4)
    logp_BT = data["logp"].clone().requires_grad_()
    old_B = (data["logp"] * data["mask"]).sum(-1)
    run_trl(trainer(trl["rloo"]), logp_BT, data["mask"], advantages=data["advantages"], old_logps=old_B).backward()
    _, gradient, _ = ours("reinforce", data, PolicySettings(), on_policy=True)
    torch.testing.assert_close(gradient, logp_BT.grad, rtol=1e-6, atol=1e-9)


# ---- two micro-batches ----


def halves(made: Any, data: dict[str, torch.Tensor], cut: int) -> tuple[torch.Tensor, torch.Tensor]:
    made.current_gradient_accumulation_steps = made.args.steps_per_generation = 2
    total, gradients = torch.zeros((), dtype=torch.float64), []
    for part in (slice(None, cut), slice(cut, None)):
        piece = {name: value[part] for name, value in data.items()}
        loss, gradient = theirs(made, piece, num_items_in_batch=data["mask"].sum())
        total, gradients = total + loss, [*gradients, gradient]
    return total, torch.cat(gradients)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "cispo", "gspo"])
def test_two_equal_micro_batches_agree(trl: dict[str, type], name: str) -> None:
    data = tensors(5)
    same(ours(name, data, PolicySettings())[:2], halves(trainer(trl["grpo"], **ROWS[name]), data, B // 2))


def test_where_trl_depends_on_the_split_and_ponder_does_not(trl: dict[str, type]) -> None:
    """By design: `test_objectives.py` shows that Ponder's gradient is that of the undivided step for any split."""
    data = tensors(5)
    for name, cut in (("bnpo", 2), ("grpo", 2), ("dr_grpo", 2)):
        _, whole = theirs(trainer(trl["grpo"], **ROWS[name]), data)
        _, parts = halves(trainer(trl["grpo"], **ROWS[name]), data, cut)
        assert not torch.allclose(whole, parts, rtol=1e-2)
        torch.testing.assert_close(ours(name, data, PolicySettings())[1], whole, rtol=1e-6, atol=1e-9)


# ---- slow loops, from the papers ----


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def ppo_term(ratio: float, advantage: float, low: float, high: float) -> float:
    return min(ratio * advantage, clip(ratio, 1 - low, 1 + high) * advantage)


def slow(name: str, data: dict[str, torch.Tensor], beta: float) -> float:
    """Minus the paper's objective J, one token at a time, in floats."""
    rows: list[tuple[float, list[float], list[float], list[float]]] = []  # advantage, log p, log old, log ref
    for b in range(B):
        size = int(data["mask"][b].sum())
        columns = [data[key][b, :size].tolist() for key in ("logp", "old", "ref")]
        rows.append((float(data["advantages"][b]), *columns))
    tokens = sum(len(logp) for _, logp, _, _ in rows)

    def k3(logp: float, ref: float) -> float:
        return math.exp(ref - logp) - (ref - logp) - 1

    def per_token(term: Callable[[float, float, float], float]) -> list[list[float]]:
        return [
            [term(p, o, a) - beta * k3(p, r) for p, o, r in zip(logp, old, ref, strict=True)]
            for a, logp, old, ref in rows
        ]

    def ratio_clip(low: float, high: float) -> list[list[float]]:
        return per_token(lambda p, o, a: ppo_term(math.exp(p - o), a, low, high))

    if name == "grpo":  # arXiv 2402.03300, eq. 3: 1/G sum_i 1/|o_i| sum_t
        return -sum(sum(row) / len(row) for row in ratio_clip(0.2, 0.2) if row) / B
    if name == "dr_grpo":  # arXiv 2503.20783: the same without 1/|o_i|, and a constant instead
        return -sum(map(sum, ratio_clip(0.2, 0.2))) / (B * LENGTH)
    if name == "dapo":  # arXiv 2503.14476, eq. 8: 1 / sum_i |o_i|
        return -sum(map(sum, ratio_clip(0.2, 0.28))) / tokens
    if name in ("bnpo", "ppo"):  # arXiv 1707.06347, eq. 7, as a mean over the tokens
        return -sum(map(sum, ratio_clip(0.2, 0.2))) / tokens
    if name == "cispo":  # arXiv 2506.13585: sg(clip(r)) A log p
        return -sum(map(sum, per_token(lambda p, o, a: min(math.exp(p - o), 5.0) * a * p))) / tokens
    if name == "reinforce":  # A log p, weighed by the ratio; per sequence the sum
        return -sum(map(sum, per_token(lambda p, o, a: math.exp(p - o) * a * p))) / B
    total = 0.0
    for a, logp, old, ref in rows:
        gap = sum(p - o for p, o in zip(logp, old, strict=True))
        penalty = sum(k3(p, r) for p, r in zip(logp, ref, strict=True))
        if name == "gspo" and logp:  # arXiv 2507.18071, eq. 5 and 7
            total += ppo_term(math.exp(gap / len(logp)), a, 3e-4, 4e-4) - beta * penalty / len(logp)
        elif name == "rloo" and logp:  # the ratio of whole trajectories
            total += ppo_term(math.exp(gap), a, 0.2, 0.2) - beta * penalty
    return -total / B


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_against_the_papers(name: str, beta: float) -> None:
    for seed in range(5):
        data = tensors(10 + seed)
        got = ours(name, data, PolicySettings(beta=beta))[0].item()
        assert got == pytest.approx(slow(name, data, beta), rel=1e-9), f"{name}, seed {seed}"
