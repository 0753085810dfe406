"""Every row of the family on one batch of two sequences, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ponder.core.errors import PonderError
from ponder.objectives.batch import Extent, PolicyTerms
from ponder.objectives.family import FAMILY, PolicySettings
from ponder.objectives.policy import merge_stats, policy_loss, summarise

# Row 0 has three tokens and advantage 1, row 1 one token and advantage -1; old log-probabilities are all -1.
RATIOS = [[1.5, 0.5, 1.0], [2.0, 1.0, 1.0]]
MASK = [[1, 1, 1], [1, 0, 0]]
LOG = [[math.log(r) - 1 for r in row] for row in RATIOS]
LENGTH = 4  # max_completion_length


def case(**terms: object) -> tuple[torch.Tensor, PolicyTerms, Extent]:
    logp_BT = torch.tensor(LOG, dtype=torch.float64, requires_grad=True)
    mask_BT = torch.tensor(MASK)
    given = {"advantages_B": torch.tensor([1.0, -1.0]), "old_logp_BT": torch.full((2, 3), -1.0), **terms}
    return logp_BT, PolicyTerms(mask_BT=mask_BT, **given), Extent.of(mask_BT, LENGTH)  # type: ignore[arg-type]


def run(name: str, settings: PolicySettings | None = None, **terms: object) -> tuple[float, list[list[float]], dict]:
    logp_BT, given, extent = case(**terms)
    loss, stats = policy_loss(logp_BT, given, FAMILY[name], extent, settings or PolicySettings())
    loss.backward()
    assert logp_BT.grad is not None
    return loss.item(), logp_BT.grad.tolist(), stats


# Clipped at [0.8, 1.2]: row 0 loses min(1.5, 1.2), min(0.5, 0.8), 1; row 1 loses -min(-2, -1.2) = 2. The gradient of an
# unclipped token is -A r times its share; a clipped one has none.
S = 0.75 ** (1 / 3)  # the geometric mean of row 0's ratios
W = [[math.log(1.5) - 1, math.log(0.5) - 1, -1.0], [math.log(2.0) - 1]]  # log p
HAND = {
    "grpo": ((-2.7 / 3 + 2) / 2, [[0, -0.5 / 6, -1 / 6], [2 / 2, 0, 0]]),
    "dr_grpo": ((-2.7 + 2) / 8, [[0, -0.5 / 8, -1 / 8], [2 / 8, 0, 0]]),
    "dapo": ((-2.78 + 2) / 4, [[0, -0.5 / 4, -1 / 4], [2 / 4, 0, 0]]),  # clip-higher: 1.28
    "bnpo": ((-2.7 + 2) / 4, [[0, -0.5 / 4, -1 / 4], [2 / 4, 0, 0]]),
    "ppo": ((-2.7 + 2) / 4, [[0, -0.5 / 4, -1 / 4], [2 / 4, 0, 0]]),
    # the trajectory's ratio is 1.5 x 0.5 x 1 = 0.75, below 0.8 with a positive advantage: not clipped
    "rloo": ((-0.75 + 2) / 2, [[-0.75 / 2] * 3, [2 / 2, 0, 0]]),
    # the ratio weighs, without a gradient of its own: -r A log p
    "reinforce": (
        (-(1.5 * W[0][0] + 0.5 * W[0][1] + W[0][2]) + 2 * W[1][0]) / 2,
        [[-1.5 / 2, -0.5 / 2, -1 / 2], [2 / 2, 0, 0]],
    ),
    "gspo": ((-S + 2) / 2, [[-S / 3 / 2] * 3, [2 / 2, 0, 0]]),
    "cispo": (
        (-(1.5 * W[0][0] + 0.5 * W[0][1] + W[0][2]) + 2 * W[1][0]) / 4,
        [[-1.5 / 4, -0.5 / 4, -1 / 4], [2 / 4, 0, 0]],
    ),
}


def test_every_row_has_its_case() -> None:
    assert set(HAND) == set(FAMILY)


@pytest.mark.parametrize("name", HAND)
def test_by_hand(name: str) -> None:
    value, gradient = HAND[name]
    loss, got, _ = run(name)
    assert loss == pytest.approx(value, abs=1e-9)
    for row, wanted in zip(got, gradient, strict=True):
        assert row == pytest.approx(wanted, abs=1e-9)


def test_two_sided_clipping_bounds_the_ratio_of_bad_tokens() -> None:
    # row 1: -min(min(2, 1.5) A, 1.2 A) = 1.5, and no gradient there; row 0 as before
    loss, gradient, _ = run("ppo", PolicySettings(delta=1.5))
    assert loss == pytest.approx((-2.7 + 1.5) / 4, abs=1e-9)
    assert gradient[1] == [0, 0, 0] and gradient[0] == pytest.approx([0, -0.5 / 4, -1 / 4], abs=1e-9)


def test_cispo_caps_the_weight_and_keeps_the_gradient() -> None:
    loss, gradient, stats = run("cispo", PolicySettings(epsilon_high=1.2))
    value = (-(1.2 * W[0][0] + 0.5 * W[0][1] + W[0][2]) + 1.2 * W[1][0]) / 4
    assert loss == pytest.approx(value, abs=1e-9)
    assert gradient[0] == pytest.approx([-1.2 / 4, -0.5 / 4, -1 / 4], abs=1e-9)
    assert gradient[1] == pytest.approx([1.2 / 4, 0, 0], abs=1e-9)
    assert summarise(stats)["clip_ratio/high_mean"] == 1 / 4


def test_epsilon_10_as_in_r1() -> None:
    # [-9, 11]: nothing is clipped, neither above nor below
    loss, gradient, stats = run("grpo", PolicySettings(epsilon=10))
    assert loss == pytest.approx((-(1.5 + 0.5 + 1) / 3 + 2) / 2, abs=1e-9)
    assert gradient[0] == pytest.approx([-1.5 / 6, -0.5 / 6, -1 / 6], abs=1e-9)
    assert summarise(stats)["clip_ratio/region_mean"] == 0
    old_BT = torch.tensor([[-1.0 - math.log(20), -1.0, -1.0], [-1.0, 0, 0]])
    _, gradient, _ = run("grpo", PolicySettings(epsilon=10), old_logp_BT=old_BT)
    assert gradient[0][0] == 0, "a ratio of 30 is clipped at 11"


def test_clip_higher_moves_the_upper_bound_alone() -> None:
    assert run("grpo", PolicySettings(epsilon=0.2, epsilon_high=0.4))[0] == pytest.approx((-2.9 / 3 + 2) / 2, abs=1e-9)


def test_epsilon_alone_is_symmetric() -> None:
    clip = FAMILY["dapo"].clip(PolicySettings(epsilon=0.1))
    assert (clip.low, clip.high) == (0.9, 1.1)
    clip = FAMILY["dapo"].clip(PolicySettings())
    assert (clip.low, clip.high) == (0.8, 1.28)
    clip = FAMILY["dapo"].clip(PolicySettings(epsilon_high=0.5))
    assert (clip.low, clip.high) == (0.8, 1.5)


def test_on_policy_the_gradient_is_the_score_functions() -> None:
    # no old log-probabilities: every ratio is 1, and every row's gradient is -A times the token's share of the loss
    shares = {
        "grpo": (1 / 6, 1 / 2), "dr_grpo": (1 / 8, 1 / 8), "dapo": (1 / 4, 1 / 4), "bnpo": (1 / 4, 1 / 4),
        "ppo": (1 / 4, 1 / 4), "rloo": (1 / 2, 1 / 2), "reinforce": (1 / 2, 1 / 2), "gspo": (1 / 6, 1 / 2),
        "cispo": (1 / 4, 1 / 4),
    }  # fmt: skip
    assert set(shares) == set(FAMILY)
    for name, (first, second) in shares.items():
        _, gradient, stats = run(name, old_logp_BT=None)
        assert gradient[0] == pytest.approx([-first] * 3, abs=1e-9), name
        assert gradient[1] == pytest.approx([second, 0, 0], abs=1e-9), name
        assert summarise(stats)["ratio"] == 1


def test_a_truncated_answer_counts_as_a_sequence_and_not_as_tokens() -> None:
    logp_BT, terms, _ = case()
    terms = PolicyTerms(terms.advantages_B, torch.tensor([[1, 1, 1], [0, 0, 0]]), terms.old_logp_BT)
    for name, divisor in {"grpo": 2 * 3, "dapo": 3, "dr_grpo": 2 * LENGTH, "rloo": None}.items():
        loss, stats = policy_loss(logp_BT, terms, FAMILY[name], Extent.of(terms.mask_BT, LENGTH), PolicySettings())
        upper = 1.28 if name == "dapo" else 1.2
        wanted = -0.75 / 2 if divisor is None else -(upper + 0.5 + 1) / divisor
        assert loss.item() == pytest.approx(wanted, abs=1e-9), name
        assert (float(stats["tokens"]), float(stats["sequences"])) == (3, 2)


def test_a_step_of_masked_answers_is_zero_and_not_nan() -> None:
    for name in FAMILY:
        logp_BT, terms, _ = case(ref_logp_BT=torch.zeros(2, 3), sampler_logp_BT=torch.zeros(2, 3))
        terms = PolicyTerms(terms.advantages_B, torch.zeros(2, 3), terms.old_logp_BT, terms.ref_logp_BT)
        loss, stats = policy_loss(
            logp_BT, terms, FAMILY[name], Extent.of(terms.mask_BT, LENGTH), PolicySettings(beta=0.1)
        )
        loss.backward()
        assert loss.item() == 0 and torch.equal(logp_BT.grad, torch.zeros(2, 3, dtype=torch.float64)), name
        assert all(math.isfinite(value) for value in summarise(stats).values()), name


@pytest.mark.parametrize("name", FAMILY)
def test_values_outside_the_mask_never_matter(name: str) -> None:
    settings = PolicySettings(beta=0.1, importance_sampling_correction="token_truncate")
    extra = {"ref_logp_BT": torch.full((2, 3), -1.2), "sampler_logp_BT": torch.full((2, 3), -1.1)}
    clean = run(name, settings, **extra)
    for junk in (math.nan, math.inf, -math.inf):
        logp_BT, terms, extent = case(**extra)
        outside_BT = terms.mask_BT == 0
        with torch.no_grad():
            logp_BT[outside_BT] = junk
        dirty = {
            field: value.masked_fill(outside_BT, junk)
            for field in ("old_logp_BT", "ref_logp_BT", "sampler_logp_BT")
            if (value := getattr(terms, field)) is not None
        }
        loss, stats = policy_loss(
            logp_BT, PolicyTerms(terms.advantages_B, terms.mask_BT, **dirty), FAMILY[name], extent, settings
        )
        loss.backward()
        assert loss.item() == clean[0] and logp_BT.grad.tolist() == clean[1]
        assert summarise(stats) == summarise(clean[2])


def test_an_advantage_a_token() -> None:
    # as a critic gives them: row 0 has advantages 1, -1 and 2, row 1 has -1
    loss, gradient, _ = run("ppo", advantages_B=torch.tensor([[1.0, -1.0, 2.0], [-1.0, 9.0, 9.0]]))
    assert loss == pytest.approx((-1.2 + 0.8 - 2 + 2) / 4, abs=1e-9)
    assert gradient[0] == pytest.approx([0, 0, -2 / 4], abs=1e-9)  # min(-0.5, -0.8): clipped


def test_low_precision_logprobs_are_computed_in_fp32() -> None:
    logp_BT, terms, extent = case()
    half_BT = logp_BT.detach().bfloat16().requires_grad_()
    loss, _ = policy_loss(half_BT, terms, FAMILY["grpo"], extent, PolicySettings())
    assert loss.dtype == torch.float32


# ---- statistics ----


def test_statistics_by_hand() -> None:
    _, _, stats = run("grpo", ref_logp_BT=torch.tensor(LOG) - math.log(2))
    metrics = summarise(stats)
    assert metrics["ratio"] == pytest.approx((1.5 + 0.5 + 1 + 2) / 4)
    assert metrics["clip_ratio/high_mean"] == 1 / 4  # 1.5 with A > 0
    assert metrics["clip_ratio/low_mean"] == 0  # 0.5 has A > 0, and 2.0 with A < 0 is above
    assert metrics["clip_ratio/region_mean"] == 1 / 4
    assert metrics["kl"] == pytest.approx(0.5 - math.log(0.5) - 1)
    assert "mismatch_kl/mean" not in metrics
    _, _, stats = run("grpo", advantages_B=torch.tensor([-1.0, 1.0]))
    assert summarise(stats)["clip_ratio/low_mean"] == 1 / 4 and summarise(stats)["clip_ratio/high_mean"] == 1 / 4


def test_sequence_level_statistics_count_sequences() -> None:
    # ratios 0.9086 and 2; with these advantages both are clipped
    _, _, stats = run("gspo", advantages_B=torch.tensor([-1.0, 1.0]))
    metrics = summarise(stats)
    assert metrics["ratio"] == pytest.approx((S + 2) / 2)
    assert metrics["clip_ratio/low_mean"] == pytest.approx(1 / 2)
    assert metrics["clip_ratio/high_mean"] == pytest.approx(1 / 2)
    assert metrics["clip_ratio/region_mean"] == pytest.approx(1)


@pytest.mark.parametrize("name", FAMILY)
def test_statistics_of_parts_add_up(name: str) -> None:
    settings = PolicySettings(importance_sampling_correction="token_truncate")
    logp_BT, terms, extent = case(ref_logp_BT=torch.full((2, 3), -1.2), sampler_logp_BT=torch.full((2, 3), -1.1))
    _, whole = policy_loss(logp_BT, terms, FAMILY[name], extent, settings)
    parts = []
    for b in range(2):
        row = PolicyTerms(**{field: value[b : b + 1] for field, value in vars(terms).items()})
        parts.append(policy_loss(logp_BT[b : b + 1], row, FAMILY[name], extent, settings)[1])
    assert summarise(merge_stats(*parts)) == pytest.approx(summarise(whole), abs=1e-9)
    assert summarise(merge_stats({}, whole)) == summarise(whole)


# ---- off-policy correction ----


def test_truncated_importance_sampling_by_hand() -> None:
    # old / sampler = 3, 0.5, 1 in row 0 and 2 in row 1; the cap is 2
    sampler_BT = -1 - torch.tensor([[3.0, 0.5, 1.0], [2.0, 1.0, 1.0]]).log()
    settings = PolicySettings(importance_sampling_correction="token_truncate", importance_sampling_clip_max=2.0)
    loss, gradient, stats = run("grpo", settings, sampler_logp_BT=sampler_BT)
    assert loss == pytest.approx((-(2 * 1.2 + 0.5 * 0.5 + 1) / 3 + 2 * 2) / 2, abs=1e-6)
    assert gradient[0] == pytest.approx([0, -0.5 * 0.5 / 6, -1 / 6], abs=1e-6)
    assert summarise(stats)["sampler_weight"] == pytest.approx((2 + 0.5 + 1 + 2) / 4, abs=1e-6)

    def loss_of(mode: str) -> float:
        return run(
            "grpo",
            PolicySettings(importance_sampling_correction=mode, importance_sampling_clip_max=2.5),  # type: ignore[arg-type]
            sampler_logp_BT=sampler_BT,
        )[0]

    assert loss_of("token_mask") == pytest.approx((-(0 + 0.5 * 0.5 + 1) / 3 + 2 * 2) / 2, abs=1e-6)
    # a sequence's weight is the product of its tokens': 1.5 and 2
    assert loss_of("sequence_truncate") == pytest.approx((-1.5 * 2.7 / 3 + 2 * 2) / 2, abs=1e-6)
    assert loss_of("sequence_mask") == pytest.approx((-1.5 * 2.7 / 3 + 2 * 2) / 2, abs=1e-6)
    assert loss_of("none") == pytest.approx((-2.7 / 3 + 2) / 2, abs=1e-6)


def test_the_correction_does_not_touch_the_kl() -> None:
    ref_BT = torch.tensor(LOG) - math.log(2)
    sampler_BT = torch.full((2, 3), -1 - math.log(2))  # weight 2 everywhere
    settings = PolicySettings(beta=0.5, importance_sampling_correction="token_truncate")
    loss, _, _ = run("grpo", settings, ref_logp_BT=ref_BT, sampler_logp_BT=sampler_BT)
    assert loss == pytest.approx(2 * (-2.7 / 3 + 2) / 2 + 0.5 * (math.log(2) - 0.5), abs=1e-6)


def test_a_token_that_the_sampler_could_not_score_has_weight_one() -> None:
    sampler_BT = torch.full((2, 3), math.nan)
    settings = PolicySettings(importance_sampling_correction="token_truncate")
    loss, _, stats = run("grpo", settings, sampler_logp_BT=sampler_BT)
    assert loss == pytest.approx((-2.7 / 3 + 2) / 2, abs=1e-6)
    metrics = summarise(stats)
    assert metrics["sampler_weight"] == 1 and metrics["mismatch_kl/mean"] == 0


def test_mismatch_kl_by_hand() -> None:
    # sampler - trainer = log 2 on the first token, equal elsewhere: 1/2 + log 2 - 1
    sampler_BT = torch.full((2, 3), -1.0)
    sampler_BT[0, 0] += math.log(2)
    sampler_BT[1, 2] = 5.0  # outside the mask
    _, _, stats = run("grpo", sampler_logp_BT=sampler_BT)
    metrics = summarise(stats)
    assert metrics["mismatch_kl/mean"] == pytest.approx((math.log(2) - 0.5) / 4, abs=1e-6)
    assert metrics["mismatch_kl/max"] == pytest.approx(math.log(2) - 0.5, abs=1e-6)


# ---- settings that cannot be honoured ----


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("reinforce", {"epsilon": 0.2}, "epsilon=0.2: reinforce has no lower clip"),
        ("reinforce", {"epsilon_high": 0.2}, "epsilon_high=0.2: reinforce has no clip"),
        ("cispo", {"epsilon": 0.2}, "epsilon=0.2: cispo has no lower clip"),
        ("cispo", {"delta": 3.0}, "delta=3.0: cispo does not clip as PPO does"),
        ("grpo", {"delta": 1.1}, "delta is 1.1; it must be above 1 . epsilon_high = 1.2"),
        ("rloo", {"importance_sampling_level": "token"}, "rloo is trajectory-level"),
        ("gspo", {"importance_sampling_level": "token"}, "gspo is sequence-level"),
        ("grpo", {"beta": 0.1}, "beta is 0.1, and there are no reference"),
        ("grpo", {"importance_sampling_correction": "token_truncate"}, "needs the sampler's log-probabilities"),
    ],
)
def test_refusals(name: str, settings: dict, message: str) -> None:
    with pytest.raises(PonderError, match=message):
        run(name, PolicySettings(**settings))
    if not message.startswith(("beta", "needs")):  # those depend on the tensors
        with pytest.raises(PonderError, match=message):
            FAMILY[name].check(PolicySettings(**settings))


def test_check_passes_what_a_row_can_do() -> None:
    for row in FAMILY.values():
        row.check(PolicySettings(beta=0.1, kl_estimator="k1"))
    with pytest.raises(PonderError, match="scale_rewards=group"):
        FAMILY["ppo"].check(PolicySettings(scale_rewards="group"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"beta": math.nan}, "beta is nan"),
        ({"kl_estimator": "k4"}, "kl_estimator is 'k4'; it must be one of k1, k2, k3"),
        ({"scale_rewards": "std"}, "scale_rewards is 'std'; it must be one of group, batch, none"),
        ({"importance_sampling_level": "word"}, "importance_sampling_level is 'word'"),
        ({"importance_sampling_correction": "tis"}, "importance_sampling_correction is 'tis'"),
    ],
)
def test_settings_are_checked(settings: dict, message: str) -> None:
    with pytest.raises(PonderError, match=message):
        PolicySettings(**settings)
