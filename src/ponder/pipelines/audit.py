"""How difficult a set of problems is for a model: the share of its samples that are right, problem by problem."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.seeds import random_of, seed_of
from ponder.core.types import Problem, SamplingParams
from ponder.evals import evaluate
from ponder.models.chat import renderer
from ponder.models.load import load_model
from ponder.sampling.local import LocalSampler
from ponder.tasks.audit import GRADERS, row_of

BANDS = {"never right": 0.0, "rarely (to 1/4)": 0.25, "sometimes (to 3/4)": 0.75, "often": 1.0, "always right": 2.0}
"""Where pass rates are put, by the rate that ends each band; `often` ends below 1. Group-relative training learns
nothing from the first and the last."""


@dataclass(frozen=True)
class Difficulty:
    """Pass rates of `model`. rates: by row, of those problems that were sampled and whose grader could tell.
    unknown: problems of which no sample could be graded."""

    model: str
    samples: int
    rates: Mapping[int, float]
    unknown: int

    @property
    def mean(self) -> float:
        """The mean pass rate, 0 for no problems."""
        return sum(self.rates.values()) / len(self.rates) if self.rates else 0.0

    @property
    def bands(self) -> dict[str, int]:
        """How many problems are in each of `BANDS`."""
        counted = Counter(band_of(rate) for rate in self.rates.values())
        return {name: counted[name] for name in BANDS}

    def as_json(self) -> dict[str, Any]:
        """For audit.json."""
        named = {"model": self.model, "samples": self.samples, "problems": len(self.rates), "unknown": self.unknown}
        return {**named, "mean": self.mean, "bands": self.bands, "rates": {str(k): v for k, v in self.rates.items()}}


def band_of(rate: float) -> str:
    """The band of a pass rate between 0 and 1."""
    if rate >= 1.0:
        return "always right"
    return next(name for name, end in BANDS.items() if rate <= end)


def difficulty(
    problems: Sequence[Problem], model: str, *, samples: int = 8, limit: int = 200, max_completion_length: int = 512,
    temperature: float = 1.0, prompt_style: str | None = None, seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Difficulty:  # fmt: skip
    """Sample `samples` answers a problem, read leniently, and count the right ones.

    model: `mini`, a directory, or a hub id. limit: problems at most, drawn by `seed`; 0 is all of them.
    max_completion_length: tokens. temperature: 0 is greedy. prompt_style: `chat` where the model has a template, else
    `qa`. on_progress: called with (done, in all). Raises PonderError for no problems or fewer than one sample.
    """
    if not problems or samples < 1:
        raise PonderError("difficulty needs problems, and at least one sample of each")
    chosen = list({p.id: p for p in problems}.values())  # a double would be sampled twice under one seed
    if 0 < limit < len(chosen):
        chosen = sorted(random_of("audit", seed).sample(chosen, limit), key=row_of)
    loaded = load_model(model)
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    style = prompt_style or ("chat" if loaded.tokenizer.chat_template else "qa")
    params = SamplingParams(samples, max_completion_length, temperature)
    render = renderer(loaded.tokenizer, style)
    graded = evaluate(sampler, chosen, render, params, seed_of(seed, "audit"), on_progress, tasks=GRADERS, chunk=32)
    right: dict[str, list[bool]] = defaultdict(list)
    for row in graded:
        if row["correct_lenient"] is not None:
            right[row["id"]].append(row["correct_lenient"])
    rates = {row_of(p): sum(right[p.id]) / len(right[p.id]) for p in chosen if right[p.id]}
    return Difficulty(model, samples, rates, len(chosen) - len(rates))
