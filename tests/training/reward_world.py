"""Rows, models and short runs of reward models; importable by the processes that `launch` spawns."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tiny_world import make_model, make_tokenizer

from ponder.core.steps import LabelledSteps
from ponder.models.heads import LoadedHead, new_outcome_model, new_process_model
from ponder.models.load import LoadedModel
from ponder.tasks.shapes import Preference, Stepwise
from ponder.training.distributed import World
from ponder.training.process_reward import PRMSettings, train_process_model
from ponder.training.reward_model import Judged, RewardSettings, train_reward_model

SEPARATOR = "="
"""One token of the tiny tokenizer, which knows no newline."""


def loaded() -> LoadedModel:
    return LoadedModel(make_model(), make_tokenizer(), "tiny", 64, (1,))


def outcome() -> LoadedHead:
    return new_outcome_model(loaded())


def process() -> LoadedHead:
    return new_process_model(loaded(), step_separator=SEPARATOR)


def word(rng: random.Random, good: bool) -> str:
    """Letters; a good word has an `a` and no other has."""
    letters = [rng.choice("bcdefgh") for _ in range(rng.randint(2, 7))]
    if good:
        letters[rng.randrange(len(letters))] = "a"
    return "".join(letters)


def judged(n: int = 24, name: str = "train") -> list[Judged]:
    rng = random.Random(name)
    return [Judged(f"{at}?", word(rng, at % 2 == 0), at % 2 == 0, at) for at in range(n)]


def pairs(n: int = 24, name: str = "train") -> list[Preference]:
    rng = random.Random(name)
    return [Preference(f"{at}?", word(rng, True), word(rng, False), at) for at in range(n)]


def stepwise(n: int = 24, name: str = "train") -> list[Stepwise]:
    """Steps are good until the first without an `a`."""
    rng, rows = random.Random(name), []
    for at in range(n):
        goods = [rng.random() < 0.7 for _ in range(rng.randint(1, 4))]
        labels = tuple(all(goods[: k + 1]) for k in range(len(goods)))
        rows.append(Stepwise(f"{at}?", tuple(word(rng, good) for good in goods), labels, at))
    return rows


def soft(n: int = 24) -> list[LabelledSteps]:
    return [
        LabelledSteps(row.prompt, row.completions, tuple(0.9 if label else 0.2 for label in row.labels), row.row)
        for row in stepwise(n)
    ]


BASE: dict[str, Any] = {"max_steps": 6, "batch_size": 8, "learning_rate": 1e-2, "save_steps": 2, "adam_epsilon": 1e-4}


def run_outcome(world: World, out: Path, rows: Any = None, validation: Any = (), **changes: Any) -> dict[str, Any]:
    head = outcome()
    return train_reward_model(
        RewardSettings(**(BASE | changes)), head.model, head.tokenizer, pairs() if rows is None else rows, out, world,
        validation=validation,
    )  # fmt: skip


def run_process(world: World, out: Path, rows: Any = None, validation: Any = (), **changes: Any) -> dict[str, Any]:
    head = process()
    return train_process_model(
        PRMSettings(**(BASE | changes)), head.model, head.tokenizer, stepwise() if rows is None else rows, out, world,
        validation=validation,
    )  # fmt: skip
