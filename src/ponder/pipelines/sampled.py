"""Sampling and grading held-out problems on all ranks: the one way in which pipelines measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ponder.core.progress import Progress
from ponder.core.types import Problem, SamplingParams
from ponder.evals import evaluate, merge, shard
from ponder.models.load import LoadedModel
from ponder.sampling.local import LocalSampler
from ponder.training.distributed import World

Rows = list[dict[str, Any]]


def sampled_rows(
    loaded: LoadedModel, problems: Sequence[Problem], render: Callable[[Problem], str], params: SamplingParams,
    seed: int, world: World, label: str,
) -> Rows:  # fmt: skip
    """The graded rows of all ranks, on every rank. label: of the progress line; "" shows none."""
    sampler = LocalSampler(
        loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids
    )
    mine = shard(problems, world.rank, world.size)
    with Progress(len(mine), label, enabled=world.first and bool(label)) as progress:
        rows = evaluate(sampler, mine, render, params, seed, lambda done, _: progress.update(done)) if mine else []
    return merge(world.gather(rows), problems)
