"""On the embedded model: pairs of its own samples raise the preferred form on held-out problems, and keep accuracy.

The pairs are made by `ponder.data.pairs` from the model's own traces: a right and well-formed answer before a badly
formed one, right or wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ponder.core.types import SamplingParams
from ponder.data.pairs import PairSettings, pairs_of
from ponder.data.trace import trace_of
from ponder.models.chat import renderer
from ponder.models.load import LoadedModel, load_model
from ponder.sampling.local import LocalSampler
from ponder.tasks import draw_mix
from ponder.tasks.shapes import Preference
from ponder.training.preference import PreferenceSettings, train_preference

KINDS = ("arithmetic", "equations", "word_problems")
BETA = {"sigmoid": 0.1, "ipo": 0.05, "apo_zero": 0.1}


def sampled(loaded: LoadedModel, split: str, problems: int, n: int) -> list[dict[str, Any]]:
    """The model's own traces."""
    render = renderer(loaded.tokenizer, "chat")
    asked = draw_mix(KINDS, split, problems)
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    prompts = [render(problem) for problem in asked]
    found = sampler.sample(prompts, SamplingParams(n=n, max_completion_length=160), seed=3)
    return [
        trace_of(asked[at // n], one, prompt=prompts[at // n], sample=at % n, provenance={"teacher": "mini"})
        for at, one in enumerate(found)
    ]


def formed(trace: dict[str, Any]) -> dict[str, Any]:
    """Scored: 1 for right and well formed, 0 for badly formed; what lies between is in no pair."""
    good = trace["well_formed"] and trace["correct"]
    return {**trace, "score": 1.0 if good else None if trace["well_formed"] else 0.0}


def share(traces: list[dict[str, Any]], column: str) -> tuple[float, float]:
    """Mean, and half of its 95 % interval."""
    values = [float(bool(trace[column])) for trace in traces]
    mean = sum(values) / len(values)
    return mean, 1.96 * (mean * (1 - mean) / len(values)) ** 0.5


def learn(loss_type: str, problems: int, held: int, out_dir: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Held-out traces before and after, and the last metrics."""
    loaded = load_model("mini")
    before = sampled(loaded, "validation", held, 2)
    traces = [formed(trace) for trace in sampled(loaded, "train", problems, 8)]
    made = pairs_of(traces, PairSettings(rank_by="score", any_form=True, pairs_per_problem=2))
    rows = [
        Preference(tuple(row["prompt"]), tuple(row["chosen"]), tuple(row["rejected"]), at)
        for at, row in enumerate(made.rows, 1)
    ]
    settings = PreferenceSettings(
        loss_type=loss_type, beta=BETA[loss_type], learning_rate=3e-4, lr_scheduler_type="linear",
        batch_size=16, num_train_epochs=2, save_steps=1000,
    )  # fmt: skip
    kept = len(rows) // 8
    result = train_preference(
        settings, loaded.model, loaded.tokenizer, rows[kept:], out_dir, validation=rows[:kept], eos_ids=loaded.eos_ids
    )
    return before, sampled(loaded, "validation", held, 2), result


def check(before: Any, after: Any, result: dict[str, Any], beta: float) -> None:
    form, form_after = share(before, "well_formed"), share(after, "well_formed")
    right, right_after = share(before, "correct_lenient"), share(after, "correct_lenient")
    told = f"form {form} -> {form_after}; accuracy {right} -> {right_after}; {result}"
    assert form_after[0] - form_after[1] > form[0] + form[1], told
    assert right_after[0] + right_after[1] > right[0], told
    assert result["eval_rewards/accuracies"] > 0.8 and result["eval_rewards/margins"] > beta, told  # 1 nat and more


def test_dpo_raises_the_preferred_form_and_keeps_accuracy(tmp_path: Path) -> None:
    check(*learn("sigmoid", problems=48, held=100, out_dir=tmp_path), beta=BETA["sigmoid"])


@pytest.mark.slow
@pytest.mark.parametrize("loss_type", BETA)
def test_each_loss_raises_it_on_more_problems(loss_type: str, tmp_path: Path) -> None:
    before, after, result = learn(loss_type, problems=96, held=300, out_dir=tmp_path)
    check(before, after, result, BETA[loss_type])
    print(loss_type, *(share(t, c) for t in (before, after) for c in ("well_formed", "correct", "correct_lenient")))
