"""The settings of PPO, under the names that TRL uses; verl's names are accepted as aliases."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ponder.training.settings import GRPO_ALIASES, GRPOSettings

PPO_ALIASES = GRPO_ALIASES | {
    "num_ppo_epochs": "num_iterations",
    "cliprange": "epsilon",
    "response_length": "max_completion_length",
    "gae_lambda": "lam",
    "kl_ctrl.kl_coef": "kl_coef",
    "algorithm.gamma": "gamma",
    "algorithm.lam": "lam",
    "algorithm.kl_ctrl.kl_coef": "kl_coef",
    "critic.cliprange_value": "cliprange_value",
    "critic.optim.lr": "value_learning_rate",
    "trainer.critic_warmup": "critic_warmup",
    "entropy_coeff": "entropy_coef",
}
"""TRL's PPO and verl's names -> ours, where the meaning is the same."""


class PPOSettings(GRPOSettings):
    """How to train by proximal policy optimisation with a critic (arXiv 1707.06347).

    What is the same as in GRPO has the same name. `num_iterations` are PPO's epochs over a rollout. `scale_rewards`:
    `batch` whitens the advantages over the whole step (the default), `none` leaves them as they are.
    """

    loss_type: Literal["ppo"] = "ppo"
    num_generations: int = Field(1, ge=1)
    """Completions a question. The critic stands in for the group: one is enough."""
    num_iterations: int = Field(4, ge=1)
    """Passes over one rollout, of the policy and of the critic."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """Of the penalty in the reward, and of `beta`'s term in the loss."""

    gamma: float = Field(1.0, ge=0, le=1)
    """What a token later is worth."""
    lam: float = Field(0.95, ge=0, le=1)
    """GAE's lambda: 1 trusts the rewards alone (no bias), 0 the critic alone (least variance)."""
    kl_coef: float = Field(0.0, ge=0)
    """Each token's reward is less by this much of its KL to the reference policy. (`beta` puts it in the loss.)"""
    whiten_rewards: bool = False
    """Scale the rewards a token to variance 1 over the step, before GAE."""
    bootstrap_truncated: bool = False
    """Behind a completion that reached the token limit stands the critic's value, not 0: the limit cut the text off,
    it did not end it. Where running into the limit should cost, leave it off."""

    cliprange_value: float = Field(0.2, ge=0)
    """A value may move by so much in a step before its loss stops falling; 0 never clips."""
    vf_coef: float = Field(1.0, gt=0)
    """Weight of the value loss. The critic has its own optimiser: this only moves where `max_grad_norm` clips."""
    value_learning_rate: float | None = Field(None, gt=0)
    """The critic's; `learning_rate` where not given."""
    critic_warmup: int = Field(0, ge=0)
    """In the first so many steps only the critic learns, from the starting policy's rollouts."""
    entropy_coef: float = Field(0.0, ge=0)
    """Weight of the entropy bonus. Above 0 the whole logits of a micro-batch are in memory at once."""

    @model_validator(mode="after")
    def _agree(self) -> PPOSettings:
        # A reference can be there for either penalty; the family's own check knows beta alone.
        renewed = self.sync_ref_model and not self.kl_coef
        GRPOSettings._agree(self.model_copy(update={"sync_ref_model": renewed}))  # type: ignore[operator]
        if self.critic_warmup > self.max_steps:
            raise ValueError(f"critic_warmup is {self.critic_warmup}, more than max_steps ({self.max_steps})")
        return self

    @property
    def needs_reference(self) -> bool:
        """Whether a copy of the starting policy is kept."""
        return self.beta > 0 or self.kl_coef > 0
