"""The settings of GRPO and its family, under the names that TRL uses; verl's names are accepted as aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.types import SamplingParams
from ponder.objectives.credit import batch_mean
from ponder.objectives.family import FAMILY, Correction, PolicySettings
from ponder.training.trackers import Tracker

LossType = Literal["grpo", "dr_grpo", "dapo", "bnpo", "rloo", "reinforce", "gspo", "cispo", "ppo"]

GRPO_ALIASES = {
    "rollout.n": "num_generations",
    "max_response_length": "max_completion_length",
    "kl_loss_coef": "beta",
    "clip_ratio_low": "epsilon",
    "clip_ratio_high": "epsilon_high",
    "clip_ratio_c": "delta",
    "ppo_epochs": "num_iterations",
    "train_batch_size": "questions_per_step",
    "grad_clip": "max_grad_norm",
}
"""verl's name -> ours, where the meaning is the same."""

HARMLESS = frozenset({"save_steps", "eval_steps", "logging_steps", "sample_steps", "report_to"})
"""Settings that may change between a stop and the next start: they do not touch the weights."""


class GRPOSettings(Settings):
    """How to train by group-relative policy optimisation. One step is one rollout of `questions_per_step` questions."""

    loss_type: LossType = "grpo"
    """The row of `ponder.objectives.family.FAMILY`: credit x surrogate x aggregation."""
    max_steps: int = Field(100, ge=1)
    questions_per_step: int = Field(32, ge=1)
    """Questions a step over all processes."""
    num_generations: int = Field(8, ge=1)
    """Completions a question: the size of a group."""
    max_completion_length: int = Field(256, ge=1)
    """Tokens at most of a completion."""
    temperature: float = Field(1.0, gt=0)
    """Applied when sampling and in the loss, from this one field."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Only 1: RL trains the distribution that it samples."""
    top_k: int = Field(0, ge=0)
    """Only 0, for the same reason."""
    min_p: float = Field(0.0, ge=0, lt=1)
    """Only 0, for the same reason."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion, e.g. `</answer>`."""

    learning_rate: float = Field(1e-6, gt=0)
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls from its height, after the warm-up, to `min_lr_ratio` of it at the last step."""
    warmup_steps: int = Field(0, ge=0)
    min_lr_ratio: float = Field(0.0, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled decay of the matrices; vectors (norms, biases) have none."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, ge=0)
    """The gradient's norm at most; 0 never clips."""
    max_nonfinite: int = Field(3, ge=1)
    """Stop after so many updates in a row whose gradient was not finite; each is skipped and reported."""

    num_iterations: int = Field(1, ge=1)
    """Passes over one rollout."""
    num_mini_batches: int = Field(1, ge=1)
    """Optimiser updates a pass, each on its share of the questions."""
    epsilon: float | None = Field(None, ge=0)
    """The ratio's lower clip is 1 - epsilon; the loss type's own where not given."""
    epsilon_high: float | None = Field(None, ge=0)
    """The upper clip is 1 + epsilon_high; `epsilon` where that is given, else the loss type's own."""
    delta: float | None = Field(None, gt=1)
    """Upper bound of the ratio where the advantage is negative (two-sided clipping)."""
    importance_sampling_level: Literal["token", "sequence"] | None = None
    """The ratio's level; the loss type's own where not given."""
    importance_sampling_correction: Correction = "none"
    """Weights against a sampler that computes otherwise than the trainer (`token_truncate` is TIS)."""
    importance_sampling_clip_max: float = Field(3.0, gt=0)
    """The cap of those weights."""
    scale_rewards: Literal["group", "batch", "none"] | None = None
    """Whose standard deviation the advantages are divided by; the loss type's own where not given."""

    beta: float = Field(0.0, ge=0)
    """Coefficient of the KL to the reference policy; 0 keeps no reference."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    use_bias_correction_kl: bool = False
    """Weigh the KL by the importance ratio (DeepSeek-V3.2)."""
    sync_ref_model: bool = False
    """Renew the reference every `ref_model_sync_steps` steps."""
    ref_model_sync_steps: int = Field(512, ge=1)
    ref_model_mixup_alpha: float = Field(0.6, gt=0, le=1)
    """reference = alpha * policy + (1 - alpha) * reference; 1 replaces it, as R1 does every 400 steps."""

    reward_weights: tuple[float, ...] | dict[str, float] | None = None
    """Weights of the reward's parts, in their order or by name; the parts' own where not given."""
    mask_truncated_completions: bool = False
    """Leave completions that reached the token limit out of the loss (they still count in their group's mean)."""
    overlong_buffer: int = Field(0, ge=0)
    """DAPO's soft punishment: over the last so many tokens before the limit a completion's reward falls linearly..."""
    overlong_penalty: float = Field(1.0, ge=0)
    """...by as much as this, at the limit."""
    dynamic_sampling: bool = False
    """Replace groups whose answers are all right or all wrong by those of further questions (DAPO)."""
    dynamic_sampling_max_rounds: int = Field(10, ge=1)
    """Rounds of sampling a step at most, the first included; then the step trains on what it has."""

    token_budget: int = Field(0, ge=0)
    """Padded tokens of a micro-batch at most: memory and speed, not the gradient. 0: 4096 on a CPU, else 16384."""
    gradient_checkpointing: bool = False
    bf16: bool = False
    """Train in bfloat16 (autocast); weights, gradients, log-probabilities and the local sampler stay in float32."""
    processes: int = Field(0, ge=0)
    """Processes that share a step; 0 is one a core on a CPU, and the launcher's number under torchrun."""
    seed: int = 0

    save_steps: int = Field(25, ge=1)
    eval_steps: int = Field(0, ge=0)
    """Evaluate every so many steps; 0 never."""
    logging_steps: int = Field(1, ge=1)
    sample_steps: int = Field(10, ge=0)
    """Write the step's completions to `samples/` every so many steps; 0 never."""
    report_to: tuple[Tracker, ...] = ()
    """Trackers that get a copy of the metrics: tensorboard, wandb, trackio."""

    @field_validator("scale_rewards", mode="before")
    @classmethod
    def _trl_bool(cls, value: Any) -> Any:
        """TRL's older `scale_rewards: true` / `false`."""
        return {True: "group", False: "none"}[value] if isinstance(value, bool) else value

    @field_validator("reward_weights")
    @classmethod
    def _some_weight(cls, value: tuple[float, ...] | Mapping[str, float] | None) -> Any:
        weights = [] if value is None else list(value.values() if isinstance(value, Mapping) else value)
        if value is not None and not any(weights):
            raise ValueError("should have a weight other than 0")
        return value

    @model_validator(mode="after")
    def _agree(self) -> GRPOSettings:
        for name, off in (("top_p", 1.0), ("top_k", 0), ("min_p", 0.0)):
            if getattr(self, name) != off:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: RL must train the distribution that it samples; "
                    f"leave {name} out (it is for evaluation), and use temperature"
                )
        if self.num_generations == 1 and FAMILY[self.loss_type].credit is not batch_mean:
            compared = ", ".join(name for name, row in FAMILY.items() if row.credit is batch_mean)
            raise ValueError(
                f"num_generations is 1: {self.loss_type} compares the completions of a question with one another; "
                f"use at least 2, or a loss_type with a baseline over the whole batch ({compared})"
            )
        if self.num_generations == 1 and self.dynamic_sampling:
            raise ValueError("num_generations is 1: dynamic_sampling needs groups; use at least 2, or switch it off")
        if self.questions_per_step < self.num_mini_batches:
            raise ValueError(
                f"num_mini_batches is {self.num_mini_batches}, more than questions_per_step ({self.questions_per_step})"
            )
        if self.overlong_buffer > self.max_completion_length:
            raise ValueError(
                f"overlong_buffer is {self.overlong_buffer}, longer than max_completion_length "
                f"({self.max_completion_length})"
            )
        if self.sync_ref_model and self.beta == 0:
            raise ValueError("sync_ref_model needs a reference policy: set beta above 0, or leave sync_ref_model out")
        if self.warmup_steps > self.max_steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, more than max_steps ({self.max_steps})")
        try:
            FAMILY[self.loss_type].check(self.policy)
        except PonderError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def policy(self) -> PolicySettings:
        """What the loss sees of the settings."""
        return PolicySettings(**{field.name: getattr(self, field.name) for field in fields(PolicySettings)})

    @property
    def sampling(self) -> SamplingParams:
        """What the sampler sees of the settings."""
        return SamplingParams(
            n=self.num_generations,
            max_completion_length=self.max_completion_length,
            temperature=self.temperature,
            stop=self.stop,
        )

    @property
    def updates_per_step(self) -> int:
        """Optimiser updates a rollout."""
        return self.num_iterations * self.num_mini_batches
