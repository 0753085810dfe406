"""`tiny_world` with a critic: what the tests of PPO train on.

The names here are importable by the processes that `launch` spawns.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from tiny_world import letter_reward, make_model, make_problems, make_tokenizer, render
from transformers import AutoModelForTokenClassification

from ponder.sampling.local import LocalSampler
from ponder.training.distributed import World
from ponder.training.grpo_step import Team
from ponder.training.ppo import train_ppo
from ponder.training.ppo_credit import PPOTeam
from ponder.training.ppo_settings import PPOSettings
from ponder.training.step import Optimizer


def make_critic(seed: int = 5, context: int = 64) -> Any:
    """The tiny model's backbone, with a head of random weights."""
    base = make_model(seed=0, context=context)
    config = copy.deepcopy(base.config)
    config.num_labels = 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        critic = AutoModelForTokenClassification.from_config(config)
        torch.nn.init.normal_(critic.score.weight, std=0.1)
        torch.nn.init.zeros_(critic.score.bias)
    critic.base_model.load_state_dict(base.base_model.state_dict())
    return critic.eval()


def make_settings(**changes: Any) -> PPOSettings:
    """Small and quick."""
    base: dict[str, Any] = dict(
        max_steps=6, questions_per_step=4, num_generations=4, max_completion_length=8, learning_rate=1e-2, save_steps=1,
        sample_steps=2, num_iterations=2,
    )  # fmt: skip
    return PPOSettings(**(base | changes))


def run_ppo(
    world: World, out_dir: Path, changes: dict[str, Any], reward: Any = letter_reward, **more: Any
) -> dict[str, Any]:
    """`train_ppo` on the tiny world."""
    problems = more.pop("problems", None) or make_problems()
    return train_ppo(
        make_settings(**changes), make_model(), make_critic(), make_tokenizer(), problems, reward, out_dir, render,
        world, **more,
    )  # fmt: skip


def make_ppo_team(world: World | None = None, reward: Any = letter_reward, **changes: Any) -> PPOTeam:
    """What `ppo_step` works with, on the tiny world."""
    settings, model, critic = make_settings(**changes), make_model(), make_critic()
    tokenizer = make_tokenizer()
    actor = Team(
        settings=settings,
        policy=model,
        reference=copy.deepcopy(model).requires_grad_(False) if settings.needs_reference else None,
        optimizer=Optimizer(model, epsilon=settings.adam_epsilon, weight_decay=settings.weight_decay),
        sampler_of=lambda step: LocalSampler(model, tokenizer, version=step),
        problems=tuple(make_problems()),
        render=render,
        reward=reward,
        world=world or World(),
    )
    return PPOTeam(settings, actor, critic, Optimizer(critic, epsilon=settings.adam_epsilon))
