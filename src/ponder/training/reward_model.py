"""Outcome reward models: one score a response, learnt from pairs (Bradley-Terry) or from right and wrong answers.

A row is a `Preference` (chosen above rejected) or a `Judged` response (right or wrong). The score is read at the row's
last token, the end token; `ponder.models.scorers.OutcomeScorer` reads the trained model the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from ponder.core.calibration import calibration, pair_accuracy
from ponder.core.errors import PonderError
from ponder.core.records import write_json_atomic
from ponder.models.encode import Unusable
from ponder.models.scorers import outcome_scores, tokens_of
from ponder.objectives.scoring import label_loss, pair_loss
from ponder.tasks.shapes import Preference
from ponder.training.distributed import World, unshare
from ponder.training.reward_rows import Fitting, Judged, fingerprint, fitting_rows, read_reward_rows
from ponder.training.step import Stats
from ponder.training.supervised import Lesson, micro_batches, train_supervised

__all__ = ["Judged", "RewardSettings", "read_reward_rows", "train_reward_model"]


class RewardSettings(Fitting):
    """How to train an outcome reward model; TRL's names."""

    center_rewards_coefficient: float = Field(0.0, ge=0)
    """Weight of (chosen + rejected)^2, which keeps the scores of pairs around 0 (arXiv 2312.09244)."""


@dataclass(frozen=True)
class Tokens:
    """A row, tokenised: `(chosen, rejected)` of a pair, or the one response of a judged row and its label."""

    sides: tuple[tuple[int, ...], ...]
    label: bool | None = None


def train_reward_model(
    settings: RewardSettings,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Preference] | Sequence[Judged],
    out_dir: Path,
    world: World | None = None,
    *,
    validation: Sequence[Preference] | Sequence[Judged] = (),
    identity: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train an outcome model (`ponder.models.heads.new_outcome_model(...).model`) in place; write `out_dir/model`.

    rows: pairs, or judged rows; all of one sort. validation: held-out rows of the same sort, for `eval_*`:
        `eval_accuracy` (of pairs: the chosen one scores higher), `eval_ece`, `eval_brier`, `eval_auc` (judged rows);
        the reliability bins of the last evaluation go to `out_dir/calibration.json`.
    Every rank calls this with equal arguments; a stopped run goes on. Returns the last step's metrics.
    Raises PonderError for rows of two sorts, empty ones, longer ones under `truncation=error`, and what
    `train_supervised` raises.
    """
    world = world or World()
    everything = [*rows, *validation]
    paired = all(isinstance(row, Preference) for row in everything)
    if not paired and any(isinstance(row, Preference) for row in everything):
        raise PonderError("some rows are pairs and some are judged responses; train on one sort at a time")
    if not paired and settings.center_rewards_coefficient:
        raise PonderError("center_rewards_coefficient is for pairs, and these rows have labels; leave it at 0")
    read = partial(_tokens, tokenizer)
    lessons = fitting_rows(rows, read, model, settings, world, "rows")
    held = fitting_rows(validation, read, model, settings, world, "validation rows")

    def loss(part: Sequence[Tokens], count: int) -> tuple[torch.Tensor, Stats]:
        scores = outcome_scores(model, [side for place in range(2 if paired else 1) for side in _side(part, place)])
        return _share(scores, part, count, paired, settings.center_rewards_coefficient)

    def evaluate(step: int) -> dict[str, float]:
        scores = _scores(model, held, world, settings)
        found, bins = _judgement(scores, held, paired)
        if world.first:
            write_json_atomic(Path(out_dir) / "calibration.json", {"step": step, **found, "bins": bins})
        return {f"eval_{name}": value for name, value in found.items()}

    lesson = Lesson(
        rows=lessons, length=_length, extent=len, loss=loss, metrics=_metrics, evaluate=evaluate if held else None
    )
    same = {"data": fingerprint(lessons), **dict(identity or {})}
    return train_supervised(
        settings, lesson, model, tokenizer, Path(out_dir), world, identity=same, config=config,
        headline=("loss", "accuracy"),
    )  # fmt: skip


def _share(
    scores: torch.Tensor, part: Sequence[Tokens], count: int, paired: bool, center: float
) -> tuple[torch.Tensor, Stats]:
    if paired:
        chosen_P, rejected_P = scores.chunk(2)
        loss = pair_loss(chosen_P, rejected_P, count, center)
        right, margin = (chosen_P > rejected_P).double() + (chosen_P == rejected_P) / 2, chosen_P - rejected_P
    else:
        labels_N = torch.tensor([bool(row.label) for row in part], dtype=scores.dtype, device=scores.device)
        loss = label_loss(scores, labels_N, count)
        right, margin = ((scores >= 0) == (labels_N > 0.5)).double(), scores * (2 * labels_N - 1)
    kept = scores.detach().double()
    return loss, {
        "loss": loss.detach(), "right": right.sum(), "margin": margin.detach().double().sum(), "score": kept.sum(),
        "scores": torch.tensor(float(len(kept)), dtype=torch.float64),
    }  # fmt: skip


def _metrics(stats: Mapping[str, float], count: int) -> dict[str, float]:
    return {
        "loss": stats["loss"], "accuracy": stats["right"] / count, "margin": stats["margin"] / count,
        "mean_reward": stats["score"] / stats["scores"],
    }  # fmt: skip


def _scores(model: Any, held: Sequence[Tokens], world: World, settings: RewardSettings) -> list[list[float]]:
    """Each row's sides' scores, on every rank."""
    mine = world.share(held)
    order = sorted(range(len(mine)), key=lambda at: _length(mine[at]), reverse=True)
    found: dict[int, list[float]] = {}
    with torch.inference_mode():
        for part in micro_batches(order, lambda at: _length(mine[at]), settings.token_budget or 8192):
            for place in range(len(mine[part[0]].sides)):
                scores = outcome_scores(model, [mine[at].sides[place] for at in part]).tolist()
                for at, score in zip(part, scores, strict=True):
                    found.setdefault(at, []).append(score)
    return unshare(world.gather([found[at] for at in range(len(mine))]))


def _judgement(
    scores: Sequence[Sequence[float]], held: Sequence[Tokens], paired: bool
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    columns = torch.tensor(scores, dtype=torch.float64)
    if paired:
        chosen, rejected = columns[:, 0], columns[:, 1]
        loss, accuracy = float(pair_loss(chosen, rejected, len(held))), pair_accuracy(*columns.T.tolist())
        # A pair has no wrong side of its own: how sure the model is of its choice, against how often it is right.
        sure, right = torch.sigmoid((chosen - rejected).abs()).tolist(), (chosen > rejected).tolist()
        found = calibration(sure, right)
    else:
        labels = [bool(row.label) for row in held]
        loss = float(label_loss(columns[:, 0], torch.tensor(labels), len(held)))
        found = calibration(torch.sigmoid(columns[:, 0]).tolist(), labels)
        accuracy = found.accuracy
    values = {"loss": loss, "accuracy": accuracy, "ece": found.ece, "brier": found.brier}
    if not paired and found.auc is not None:
        values["auc"] = found.auc
    return values, [vars(one) for one in found.bins]


# Rows, tokenised ------------------------------------------------------------------------------------------------


def _tokens(tokenizer: Any, row: Preference | Judged) -> Tokens:
    for side in (row.completion,) if isinstance(row, Judged) else (row.chosen, row.rejected):
        if isinstance(side, str) and not side.strip():
            raise Unusable(row.row, "the completion is empty")
    if isinstance(row, Judged):
        return Tokens((tokens_of(tokenizer, row.prompt, row.completion, row.row),), row.label)
    chosen, rejected = (tokens_of(tokenizer, row.prompt, side, row.row) for side in (row.chosen, row.rejected))
    if chosen == rejected:
        raise Unusable(row.row, "chosen and rejected are the same")
    return Tokens((chosen, rejected))


def _length(row: Tokens) -> int:
    return len(row.sides) * max(map(len, row.sides))


def _side(part: Sequence[Tokens], place: int) -> list[tuple[int, ...]]:
    return [row.sides[place] for row in part]
