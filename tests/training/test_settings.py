"""The settings of GRPO: names, aliases, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.core.config import parse_settings
from ponder.core.errors import PonderError
from ponder.objectives import FAMILY
from ponder.training.settings import GRPO_ALIASES, GRPOSettings


def parse(**values: Any) -> GRPOSettings:
    return parse_settings(GRPOSettings, values, GRPO_ALIASES, where="grpo")


def test_verls_names_are_ours() -> None:
    settings = parse(
        rollout={"n": 16}, max_response_length=100, kl_loss_coef=0.001, clip_ratio_low=0.2, clip_ratio_high=0.3
    )
    assert (settings.num_generations, settings.max_completion_length) == (16, 100)
    assert (settings.beta, settings.epsilon, settings.epsilon_high) == (0.001, 0.2, 0.3)


def test_what_the_loss_and_the_sampler_see() -> None:
    settings = parse(epsilon=10, beta=0.001, kl_estimator="k2", temperature=0.7, stop=["</answer>"], num_generations=3)
    assert (settings.policy.epsilon, settings.policy.beta, settings.policy.kl_estimator) == (10, 0.001, "k2")
    assert (settings.sampling.n, settings.sampling.temperature, settings.sampling.stop) == (3, 0.7, ("</answer>",))
    assert (settings.sampling.top_p, settings.sampling.top_k, settings.sampling.min_p) == (1.0, 0, 0.0)


def test_trls_older_scale_rewards() -> None:
    assert parse(scale_rewards=True).scale_rewards == "group" and parse(scale_rewards=False).scale_rewards == "none"


def test_every_loss_type_has_its_row() -> None:
    for name in FAMILY:
        assert parse(loss_type=name).loss_type == name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lerning_rate": 1}, "grpo.lerning_rate is unknown; did you mean learning_rate?"),
        ({"top_p": 0.9}, "top_p is 0.9: RL must train the distribution that it samples"),
        ({"top_k": 20}, "top_k is 20: RL must train"),
        ({"min_p": 0.1}, "min_p is 0.1: RL must train"),
        ({"num_generations": 1}, r"num_generations is 1: grpo compares .* use at least 2, or .*\(reinforce, ppo\)"),
        ({"num_generations": 1, "loss_type": "rloo"}, "num_generations is 1: rloo"),
        ({"num_generations": 1, "loss_type": "reinforce", "dynamic_sampling": True}, "dynamic_sampling needs groups"),
        ({"temperature": 0}, "grpo.temperature is 0"),
        ({"loss_type": "grop"}, "did you mean grpo?"),
        (
            {"num_mini_batches": 9, "questions_per_step": 8},
            r"num_mini_batches is 9, more than questions_per_step \(8\)",
        ),
        ({"sync_ref_model": True}, "sync_ref_model needs a reference policy: set beta above 0"),
        ({"warmup_steps": 11, "max_steps": 10}, r"warmup_steps is 11, more than max_steps \(10\)"),
        ({"overlong_buffer": 300}, r"overlong_buffer is 300, longer than max_completion_length \(256\)"),
        ({"delta": 1.1}, r"delta is 1.1; it must be above 1 \+ epsilon_high"),
        ({"loss_type": "reinforce", "epsilon": 0.2}, "reinforce has no lower clip"),
        ({"loss_type": "gspo", "importance_sampling_level": "token"}, "gspo is sequence-level"),
        ({"reward_weights": [0, 0]}, "should have a weight other than 0"),
        ({"max_steps": True}, "not true or false"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PonderError, match=message):
        parse(**values)


@pytest.mark.parametrize("loss_type", ["reinforce", "ppo"])
def test_one_sample_a_question_will_do_with_a_baseline_over_the_batch(loss_type: str) -> None:
    assert parse(num_generations=1, loss_type=loss_type).num_generations == 1
