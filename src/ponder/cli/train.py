"""`ponder train`: one trainer on one file of rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def train(
    kind: Annotated[str, typer.Argument(metavar="TRAINER", help="sft, dpo, outcome, process, grpo or ppo.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE [KEY=VALUE]", help="Rows (files or hub ids), and settings such as max_steps=50."),
    ] = None,
    model: Annotated[str, typer.Option(help="mini, mini-small, a directory, or a hub id.")] = "mini",
    validation: Annotated[str | None, typer.Option(metavar="FILE", help="Held-out rows of the same shape.")] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(help="grpo, ppo: a part of the reward (accuracy, format), NAME or file.py:function; repeatable."),
    ] = None,
    prompt_style: Annotated[str | None, typer.Option(help="grpo, ppo: how a problem becomes a prompt.")] = None,
    sandbox: Annotated[str | None, typer.Option(help="grpo, ppo: where programs run; auto if not given.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to work; runs/train-TRAINER.")] = None,
) -> None:
    """Train a model on rows; run it again to go on after a stop.

    The rows' columns say what they are: messages, prompt + completion, text (sft); prompt + chosen + rejected (dpo,
    outcome); prompt + completion + label (outcome); prompt + completions + labels (process); problem + answer, or
    tasks=countdown,factors (grpo, ppo).

    Example: ponder train sft rows.jsonl learning_rate=1e-3 num_train_epochs=2 --model mini
    """
    from ponder.pipelines.trainers import Job, run_trainer

    given = arguments or []
    data = tuple(one for one in given if "=" not in one or one.startswith("tasks=") or Path(one).is_file())
    overrides = [one for one in given if one not in data]
    job = Job(kind, model, data, validation, tuple(reward or ()), prompt_style, sandbox)
    folder = out or Path("runs") / f"train-{kind}"
    print(f"train {kind}: working in {folder}", file=sys.stderr)
    print(run_trainer(job, overrides, folder) / "model")
