"""Reward models on the embedded base's own samples: worth more than chance on problems that they have not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ponder.core.steps import split_steps
from ponder.core.types import SamplingParams
from ponder.evals.calibration import pick_table, step_agreement
from ponder.mini.step_truth import step_truth
from ponder.models.chat import renderer
from ponder.models.heads import new_outcome_model, new_process_model
from ponder.models.load import load_model
from ponder.models.scorers import OutcomeScorer, StepScorer
from ponder.sampling.local import LocalSampler
from ponder.tasks import draw_mix, grade
from ponder.tasks.shapes import Stepwise
from ponder.training.process_reward import PRMSettings, train_process_model
from ponder.training.reward_model import Judged, RewardSettings, train_reward_model
from ponder.verify.answers import extract

KINDS, N = ("arithmetic", "equations", "word_problems"), 8


def samples(split: str, count: int) -> tuple[Any, list[Any], list[str], list[list[str]]]:
    """The base, problems, prompts and each one's N samples."""
    torch.set_num_threads(1)
    base = load_model("mini", device="cpu")
    render = renderer(base.tokenizer, "chat")
    problems = draw_mix(KINDS, split, count)
    prompts = [render(problem) for problem in problems]
    found = LocalSampler(base.model, base.tokenizer).sample(prompts, SamplingParams(n=N, max_completion_length=120), 3)
    return base, problems, prompts, [[one.text for one in found[at * N : at * N + N]] for at in range(count)]


@pytest.mark.slow
def test_the_outcome_model_picks_better_than_chance(tmp_path: Path) -> None:
    base, problems, prompts, texts = samples("train", 60)
    rows = [
        Judged(prompt, text, bool(grade(problem, extract(text, "lenient"))))
        for problem, prompt, own in zip(problems, prompts, texts, strict=True) for text in own if text.strip()
    ]  # fmt: skip
    head = new_outcome_model(base)
    settings = RewardSettings(num_train_epochs=2, learning_rate=5e-4, save_steps=10_000)
    train_reward_model(settings, head.model, head.tokenizer, rows, tmp_path)
    _, problems, prompts, texts = samples("validation", 60)
    correct = [[bool(grade(p, extract(t, "lenient"))) for t in own] for p, own in zip(problems, texts, strict=True)]
    scorer = OutcomeScorer(head)
    scores = [scorer.score([prompt] * N, own) for prompt, own in zip(prompts, texts, strict=True)]
    row = {row.name: row for row in pick_table({"model": scores}, correct)}["model"]
    assert row.above["chance"].low is not None and row.above["chance"].low > 0.1


@pytest.mark.slow
def test_the_process_model_learns_exact_steps(tmp_path: Path) -> None:
    def rows(split: str, count: int) -> tuple[Any, list[Stepwise]]:
        base, problems, prompts, texts = samples(split, count)
        found = []
        for problem, prompt, own in zip(problems, prompts, texts, strict=True):
            for text in own[:4]:
                if steps := split_steps(text):
                    found.append(Stepwise(prompt, tuple(steps), tuple(map(bool, step_truth(problem, steps))), 0))
        return base, found

    base, train = rows("train", 90)
    head = new_process_model(base)
    settings = PRMSettings(num_train_epochs=3, learning_rate=5e-4, batch_size=16, save_steps=10_000)
    train_process_model(settings, head.model, head.tokenizer, train, tmp_path)
    _, held = rows("validation", 45)
    scores = StepScorer(head).score([row.prompt for row in held], [row.completions for row in held])
    found = step_agreement(scores, [row.labels for row in held])
    assert found.all_steps.value > max(0.85, found.blind + 0.15)
