"""Process reward models: one score a step, learnt from steps that are labelled right or wrong.

The score is read at the last token of the separator behind each step, as TRL's PRM trainer does. Labels are people's
(`Stepwise` rows), or come from rollouts (`ponder.data.step_labels`); soft ones (`LabelledSteps`) are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ponder.core.calibration import calibration
from ponder.core.errors import PonderError
from ponder.core.records import write_json_atomic
from ponder.core.steps import LabelledSteps
from ponder.models.encode import Unusable
from ponder.models.heads import STEP_SEPARATOR
from ponder.models.scorers import StepTokens, step_logits, tokens_of_steps
from ponder.objectives.scoring import label_loss
from ponder.tasks.loading import RowError, Rows, collected, read_source
from ponder.tasks.shapes import READ, Stepwise, as_row, structure
from ponder.training.distributed import World, unshare
from ponder.training.reward_rows import Fitting, fingerprint, fitting_rows
from ponder.training.step import Stats
from ponder.training.supervised import Lesson, micro_batches, train_supervised


class PRMSettings(Fitting):
    """How to train a process reward model; TRL's names. The steps' separator is the model's (`new_process_model`)."""

    train_on_last_step_only: bool = False
    """Only the last step's label counts: an outcome model in the form of a process model."""


@dataclass(frozen=True)
class Tokens:
    """A row, tokenised: the places that are scored and their labels from 0 to 1."""

    row: StepTokens
    labels: tuple[float, ...]

    @property
    def sides(self) -> tuple[tuple[int, ...], ...]:
        """The one row of tokens."""
        return (self.row.ids,)


def read_step_rows(source: str | Path, *, on_error: str = "raise") -> Rows[LabelledSteps]:
    """Stepwise rows (`prompt`, `completions`, `labels`) of a file or hub id, labels being true, false or 0 to 1.

    Raises PonderError naming file and row.
    """

    def results() -> Iterator[LabelledSteps | RowError]:
        for result in read_source(source):
            if isinstance(result, RowError):
                yield result
                continue
            number, row = result
            try:
                yield _labelled(f"{source}, row {number}", row, number)
            except PonderError as error:
                yield RowError(number, str(error))

    rows: Rows[LabelledSteps] = collected(results(), on_error)
    if not rows and not rows.errors:
        raise PonderError(f"{source} holds no rows")
    return rows


def _labelled(where: str, row: Any, number: int) -> LabelledSteps:
    labels = structure(where, "labels", as_row(where, row).get("labels"))
    if isinstance(labels, list) and labels:
        numbers = [float(x) if isinstance(x, (int, float)) else math.nan for x in labels]
        if not all(0.0 <= x <= 1.0 for x in numbers):
            raise PonderError(f"{where}: labels is no list of true and false, or of numbers from 0 to 1, one a step")
        # What else there is to check is the shape's own business; it knows hard labels only.
        hard = READ["stepwise"](where, {**row, "labels": [x >= 0.5 for x in numbers]}, number)
        assert isinstance(hard, Stepwise)
        return LabelledSteps(hard.prompt, hard.completions, tuple(numbers), number)
    raise PonderError(f"{where}: no labels; a row of prompt + completions + labels needs one a step")


def train_process_model(
    settings: PRMSettings,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Stepwise | LabelledSteps],
    out_dir: Path,
    world: World | None = None,
    *,
    validation: Sequence[Stepwise | LabelledSteps] = (),
    identity: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a process model (`ponder.models.heads.new_process_model(...).model`) in place; write `out_dir/model`.

    rows: steps without their separators, which are put behind each. validation: held-out rows, for `eval_accuracy`
        (steps on the right side of 1/2), `eval_first_error` (rows whose first wrong step, or its absence, is found),
        `eval_auc`, `eval_ece`, `eval_brier`; soft labels are rounded for these. The reliability bins of the last
        evaluation go to `out_dir/calibration.json`.
    Every rank calls this with equal arguments; a stopped run goes on. Returns the last step's metrics.
    Raises PonderError for rows without steps or with labels that do not fit them, and what `train_supervised` raises.
    """
    world = world or World()
    separator = str(getattr(model.config, "step_separator", STEP_SEPARATOR))
    last = settings.train_on_last_step_only

    def read(row: Stepwise | LabelledSteps) -> Tokens:
        return _tokens(tokenizer, row, separator, last)

    lessons = fitting_rows(rows, read, model, settings, world, "rows")
    held = fitting_rows(validation, read, model, settings, world, "validation rows")

    def loss(part: Sequence[Tokens], count: int) -> tuple[torch.Tensor, Stats]:
        logits_N = step_logits(model, [row.row for row in part])
        labels_N = torch.tensor([label for row in part for label in row.labels], device=logits_N.device)
        share = label_loss(logits_N, labels_N, count)
        right = ((logits_N >= 0) == (labels_N >= 0.5)).double()
        return share, {"loss": share.detach(), "right": right.sum(), "label": labels_N.double().sum()}

    def evaluate(step: int) -> dict[str, float]:
        logits = _logits(model, held, world, settings.token_budget or 8192)
        found, bins = _judgement(logits, held)
        if world.first:
            write_json_atomic(Path(out_dir) / "calibration.json", {"step": step, **found, "bins": bins})
        return {f"eval_{name}": value for name, value in found.items()}

    lesson = Lesson(
        rows=lessons, length=_length, extent=_steps, loss=loss, metrics=_metrics, evaluate=evaluate if held else None
    )
    same = {"data": fingerprint(lessons), "step_separator": separator, **dict(identity or {})}
    return train_supervised(
        settings, lesson, model, tokenizer, Path(out_dir), world, identity=same, config=config,
        headline=("loss", "accuracy"),
    )  # fmt: skip


def _tokens(tokenizer: Any, row: Stepwise | LabelledSteps, separator: str, last: bool) -> Tokens:
    if not row.completions:
        raise Unusable(row.row, "no steps")
    if len(row.completions) != len(row.labels):
        raise PonderError(f"row {row.row} has {len(row.completions)} steps and {len(row.labels)} labels; give one each")
    labels = tuple(map(float, row.labels))
    if not all(0.0 <= label <= 1.0 for label in labels):
        raise PonderError(f"row {row.row}: labels are {list(labels)}; each must lie between 0 (wrong) and 1 (right)")
    made = tokens_of_steps(tokenizer, row.prompt, row.completions, separator)
    return Tokens(StepTokens(made.ids, made.ends[-1:]), labels[-1:]) if last else Tokens(made, labels)


def _logits(model: Any, held: Sequence[Tokens], world: World, token_budget: int) -> list[list[float]]:
    """Each row's logits, step by step, on every rank."""
    mine = world.share(held)
    order = sorted(range(len(mine)), key=lambda at: _length(mine[at]), reverse=True)
    found: dict[int, list[float]] = {}
    with torch.inference_mode():
        for part in micro_batches(order, lambda at: _length(mine[at]), token_budget):
            values = iter(step_logits(model, [mine[at].row for at in part]).tolist())
            for at in part:
                found[at] = [next(values) for _ in mine[at].labels]
    return unshare(world.gather([found[at] for at in range(len(mine))]))


def _judgement(
    logits: Sequence[Sequence[float]], held: Sequence[Tokens]
) -> tuple[dict[str, float], list[dict[str, float]]]:
    flat = torch.tensor([value for row in logits for value in row], dtype=torch.float64)
    soft = torch.tensor([label for row in held for label in row.labels], dtype=torch.float64)
    found = calibration(torch.sigmoid(flat).tolist(), (soft >= 0.5).tolist())
    values = {
        "loss": float(label_loss(flat, soft, len(flat))), "accuracy": found.accuracy, "ece": found.ece,
        "brier": found.brier,
        "first_error": sum(
            _first([value < 0 for value in row]) == _first([label < 0.5 for label in one.labels])
            for row, one in zip(logits, held, strict=True)
        ) / len(held),
    }  # fmt: skip
    return values | ({} if found.auc is None else {"auc": found.auc}), [vars(one) for one in found.bins]


def _first(wrong: Sequence[bool]) -> int:
    return next((at for at, bad in enumerate(wrong) if bad), -1)


def _metrics(stats: Mapping[str, float], count: int) -> dict[str, float]:
    return {"loss": stats["loss"], "accuracy": stats["right"] / count, "label_mean": stats["label"] / count}


def _steps(rows: Sequence[Tokens]) -> int:
    return sum(len(row.labels) for row in rows)


def _length(row: Tokens) -> int:
    return len(row.row.ids)
