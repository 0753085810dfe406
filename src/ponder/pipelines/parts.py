"""The parts that pipelines are put together from: a stage of RL, a stage that makes data and learns from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.data.filter import FilterSettings
from ponder.pipelines.data_stages import SampleSettings
from ponder.pipelines.rl import lasting
from ponder.training.settings import GRPOSettings
from ponder.training.sft import SFTSettings

Entries = tuple[str | dict[str, Any], ...]

KEPT_SHARE = 0.7
"""Share of traces that filters are guessed to keep, before anything is sampled."""


def _nothing_to_look_at(name: str, eval_steps: int) -> None:
    if eval_steps:
        raise ValueError(f"{name}.eval_steps is {eval_steps}: models are measured after the stage, so leave it at 0")


class RLStage(Settings):
    """A stage of reinforcement learning: what it draws, what it pays for, how it learns."""

    problems: int = Field(3500, ge=1)
    general_share: float = Field(0.0, ge=0, le=1)
    """Share of the problems that are general requests."""
    rewards: Entries = ("accuracy", "format")
    """As a recipe names them; `outcome_model` without a path is the reward model that the run trains."""
    grpo: GRPOSettings = GRPOSettings()

    @model_validator(mode="after")
    def _no_validation(self) -> RLStage:
        _nothing_to_look_at("grpo", self.grpo.eval_steps)
        return self


class DataStage(Settings):
    """A stage that makes data: samples, which of them are kept, and how is learnt from them."""

    sample: SampleSettings = SampleSettings()
    filter: FilterSettings = FilterSettings()
    """For reasoning problems."""
    general: FilterSettings = FilterSettings(right=False, well_formed=True, which="best", max_per_problem=1)
    """For general requests; `which: best` goes by the reward model's score."""
    rows: int = Field(0, ge=0)
    """Rows kept at most of either sort; 0 is all."""
    sft: SFTSettings = SFTSettings()

    @model_validator(mode="after")
    def _no_validation(self) -> DataStage:
        _nothing_to_look_at("sft", self.sft.eval_steps)
        return self

    @property
    def likely_rows(self) -> int:
        """How many rows are guessed to be kept."""
        sample = self.sample
        each = min(sample.n, self.filter.max_per_problem or sample.n)
        likely = round(sample.problems * each * KEPT_SHARE)
        return min(likely, self.rows) if self.rows else likely


def rl_told(name: str, part: RLStage, common: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and harmless settings of `ponder.pipelines.rl.train_rl` as a stage called `name`."""
    told = part.model_dump(mode="json", exclude={"grpo"})
    return {**common, "name": name, **told, "grpo": lasting(part.grpo)}, {"grpo": part.grpo}
