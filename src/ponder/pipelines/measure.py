"""How a pipeline measures a model after a stage: the same held-out problems, the same sampling, every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from ponder.core.config import Settings
from ponder.core.seeds import seed_of
from ponder.core.types import SamplingParams
from ponder.evals import spec_of, validation_metrics, write_result
from ponder.models.chat import renderer
from ponder.models.load import load_model
from ponder.models.scorers import OutcomeScorer
from ponder.pipelines.mix import MixSettings, general_tasks, held_out_problems
from ponder.pipelines.sampled import sampled_rows
from ponder.rewards.judge import judged_text
from ponder.rewards.readability import readability
from ponder.training.distributed import World

DEFAULT_TEMPERATURE = 1.0

NO_ANSWER = -1e6
"""What stands for the preference of a response without an answer: any answer is liked better."""


class MeasureSettings(Settings):
    """How every stage's model is measured."""

    problems: int = Field(480, ge=1)
    """Held-out problems over all kinds."""
    general_share: float | None = Field(None, ge=0, le=1)
    """Share of them that are general requests; where not given, as many as of each other kind."""
    n: int = Field(4, ge=1)
    """Samples a problem."""
    temperature: float = Field(DEFAULT_TEMPERATURE, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_completion_length: int = Field(160, ge=1)
    """Tokens."""

    @property
    def params(self) -> SamplingParams:
        """What the sampler sees."""
        return SamplingParams(self.n, self.max_completion_length, self.temperature, self.top_p)


def measure_stage(
    cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str, judge: Path | None = None
) -> Mapping[str, Any]:
    """A stage that measures `model` and writes `NAME.jsonl` and `NAME.json`.

    cfg: `name` (of the result), `mix` (`MixSettings`), `measure` (`MeasureSettings`), `prompt_style`, `seed`.
    judge: an outcome model; what it says of the answers to general requests joins their rows as `preference`.
    Each row also tells how readable it is, and which share of its words is in the language of its question.
    """
    settings, mix = MeasureSettings(**cfg["measure"]), MixSettings(**cfg["mix"])
    problems = held_out_problems(mix, settings.problems, "test", settings.general_share)
    loaded = load_model(str(model))
    render = renderer(loaded.tokenizer, cfg["prompt_style"])
    seed = seed_of(cfg["seed"], "evaluation")
    rows = sampled_rows(loaded, problems, render, settings.params, seed, world, str(cfg["name"]))
    if world.first:
        told = {problem.id: problem for problem in problems}
        for row in rows:
            row["readability"] = readability(row["output"], row["language"]).score
            row["language_consistency"] = 1.0 - float(row["behaviours"]["language_mixing"])
        asked = general_tasks(mix)
        general = [row for row in rows if row["task"] in asked]
        if judge is not None and general:
            scorer = OutcomeScorer(judge)
            answered = [row for row in general if judged_text(row["output"], "answer").strip()]
            prompts = [render(told[row["id"]]) for row in answered]
            scores = scorer.score(prompts, [judged_text(row["output"], "answer") for row in answered])
            for row in general:
                row["preference"] = NO_ANSWER
            for row, score in zip(answered, scores, strict=True):
                row["preference"] = score
        spec = spec_of(problems, settings.params, cfg["prompt_style"], seed)
        write_result(folder, str(cfg["name"]), spec, rows)
    figures = validation_metrics(rows)
    return {name.removeprefix("validation/"): value for name, value in figures.items()}


measure_stage.version = 1  # type: ignore[attr-defined]
