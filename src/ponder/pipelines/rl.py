"""A stage of reinforcement learning, whatever it starts from and whatever it pays for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ponder.core.records import environment, write_json_atomic
from ponder.evals import behaviour_metrics
from ponder.evals.behaviours import group_sums
from ponder.models.chat import renderer
from ponder.models.load import load_model
from ponder.pipelines.mix import MixSettings, training_mix
from ponder.pipelines.r1_zero import opens_thought
from ponder.pipelines.reward_parts import parts_of_recipe
from ponder.rewards import compose
from ponder.training.distributed import World
from ponder.training.grpo import Observer, train_grpo
from ponder.training.settings import HARMLESS, GRPOSettings


def lasting(grpo: GRPOSettings) -> dict[str, Any]:
    """The settings that make the stage what it is: how often to save or log is not among them."""
    kept = {name: GRPOSettings.model_fields[name].default for name in HARMLESS}
    return grpo.model_copy(update=kept).model_dump(mode="json")


def train_rl(
    cfg: Mapping[str, Any], folder: Path, *, world: World, grpo: GRPOSettings, model: Path | str,
    reward_model: Path | None = None,
) -> Mapping[str, Any]:  # fmt: skip
    """GRPO from `model`, from `folder`'s newest checkpoint if there is one.

    cfg: `name` (keys the draw of problems), `mix`, `problems`, `general_share`, `rewards` (a recipe's entries),
    `prompt_style`, `seed`, `grpo` (what `lasting` gives). grpo: the same settings with what may change between a stop
    and a start. reward_model: stands in for `path` of the entry `outcome_model` where that has none.
    """
    loaded = load_model(str(model), dtype="float32")
    render = renderer(loaded.tokenizer, cfg["prompt_style"])
    problems = training_mix(
        MixSettings(**cfg["mix"]), cfg["problems"], f"{cfg['name']} {cfg['seed']}", cfg.get("general_share", 0.0)
    )
    if world.first:
        write_json_atomic(folder / "environment.json", {**environment(), "processes": world.size})
    parts = parts_of_recipe(with_model(cfg["rewards"], reward_model), opened=opens_thought(render))
    return train_grpo(
        grpo, loaded.model, loaded.tokenizer, problems, compose(parts), folder, render, world,
        observe=Observer(group_sums, behaviour_metrics), context_length=loaded.context_length, eos_ids=loaded.eos_ids,
        config={**cfg, "grpo": grpo.model_dump(mode="json"), "model": str(cfg.get("model", model))},
    )  # fmt: skip


train_rl.version = 1  # type: ignore[attr-defined]


def with_model(entries: list[Any], reward_model: Path | None) -> list[Any]:
    """The entries, with the path of the reward model that this run trained where an entry leaves it out."""
    return [
        {**entry, "path": str(reward_model)}
        if isinstance(entry, Mapping) and entry.get("name") == "outcome_model" and "path" not in entry and reward_model
        else entry
        for entry in entries
    ]
