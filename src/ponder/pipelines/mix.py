"""Which problems a pipeline's stages draw: reasoning and general requests, for training and held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.seeds import random_of
from ponder.core.types import Problem
from ponder.data.held_out import EvaluationSet, HeldOut, evaluation_sets, held_out_of
from ponder.tasks import KINDS, draw_mix, unknown_kind
from ponder.tasks.audit import signs_of
from ponder.tasks.rows import read_rows

GENERAL = ("requests",)
REASONING = tuple(kind for kind in KINDS if kind not in GENERAL)

HELD_OUT_SAMPLE = 480
"""Held-out problems of the miniature world that are looked for by id and question; all are known by their content."""


class MixSettings(Settings):
    """Reasoning problems and general requests: kinds of the miniature world, or files in their place."""

    reasoning: tuple[str, ...] = REASONING
    """Kinds of verifiable problem, in equal shares; not used where `train_file` is given."""
    general: tuple[str, ...] = GENERAL
    """Kinds of general request; not used where `general_train_file` is given. Empty: none."""
    level: int | None = Field(None, ge=1, le=3)
    """Difficulty; the kinds' own mix where not given."""
    train_file: Path | None = None
    """Rows with `problem` and `answer`, in place of the miniature world."""
    test_file: Path | None = None
    general_train_file: Path | None = None
    """Rows of general requests whose form can be checked (IFEval's columns, say)."""
    general_test_file: Path | None = None

    @field_validator("reasoning", "general")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := unknown_kind(kinds):
            raise ValueError(wrong)
        return kinds

    @model_validator(mode="after")
    def _pairs(self) -> MixSettings:
        for one, other in (("train_file", "test_file"), ("general_train_file", "general_test_file")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} go together: give both, or neither")
        if self.train_file is None and not self.reasoning:
            raise ValueError("reasoning is empty: name at least one kind, or give train_file")
        return self


def told_of(mix: MixSettings) -> dict[str, Any]:
    """What a stage's settings say of its problems: `mix`, and the contents of its files, so that one that was edited
    makes the stage another one."""
    named = {name: getattr(mix, name) for name in type(mix).model_fields if name.endswith("_file")}
    contents = {
        name: hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
        for name, file in named.items() if file is not None and Path(file).is_file()
    }  # fmt: skip
    return {"mix": mix.model_dump(mode="json"), **({"contents": contents} if contents else {})}


def training_mix(mix: MixSettings, n: int, name: str, general_share: float = 0.0) -> list[Problem]:
    """`n` training problems, `general_share` of them general requests, shuffled; the same for the same `name`.

    Never a problem that is held out: the miniature world's splits never overlap, and rows of the test files are left
    out of the training files' by their question (case, spacing and punctuation apart). Of files all rows are taken, up
    to `n`.
    """
    wanted = round(n * general_share) if mix.general or mix.general_train_file else 0
    problems = _reasoning(mix, "train", n - wanted, name) + (_general(mix, "train", wanted, name) if wanted else [])
    random_of("mix", name).shuffle(problems)
    return problems


def general_tasks(mix: MixSettings) -> tuple[str, ...]:
    """The `task` of general requests: kinds of the miniature world, or those of the file's rows."""
    if mix.general_train_file is None:
        return mix.general
    return tuple(sorted({problem.task for problem in read_rows(mix.general_train_file)}))


def held_out_problems(
    mix: MixSettings, n: int, split: str = "test", general_share: float | None = None
) -> list[Problem]:  # fmt: skip
    """`n` problems that no stage trains on: reasoning first, as many of each kind, then general requests.

    general_share: of them that are general requests; where not given, as many as of each other kind.
    """
    if general_share is None:
        general_share = len(mix.general) / (len(mix.reasoning) + len(mix.general))
    wanted = round(n * general_share) if mix.general or mix.general_train_file else 0
    general = _general(mix, split, wanted, "held out") if wanted else []
    return _reasoning(mix, split, n - wanted, "held out") + general


def held_out_of_mix(
    mix: MixSettings, names: Sequence[str] = (), n: int = HELD_OUT_SAMPLE
) -> tuple[HeldOut, tuple[EvaluationSet, ...]]:
    """What may not be trained on, to be looked up in; and the test files and the named sets, to filter against.

    names: evaluation sets besides. n: held-out problems of the miniature world that are looked for by id and question.
    """
    files = [str(file) for file in (mix.test_file, mix.general_test_file) if file is not None]
    sets = evaluation_sets([*files, *names])
    world = () if mix.test_file else (EvaluationSet("the held-out problems", tuple(held_out_problems(mix, n))),)
    return held_out_of([*sets, *world]), sets


def _reasoning(mix: MixSettings, split: str, n: int, name: str) -> list[Problem]:
    if mix.train_file is not None and mix.test_file is not None:
        return _rows(mix.train_file, mix.test_file, split, n, name)
    return draw_mix(mix.reasoning, split, n, seed=name, level=mix.level)


def _general(mix: MixSettings, split: str, n: int, name: str) -> list[Problem]:
    if mix.general_train_file is not None and mix.general_test_file is not None:
        return _rows(mix.general_train_file, mix.general_test_file, split, n, name)
    return draw_mix(mix.general, split, n, seed=name, level=mix.level)


def _rows(train: Path, test: Path, split: str, n: int, name: str) -> list[Problem]:
    if split != "train":
        return list(read_rows(test))[:n]
    held = {question_of(problem) for problem in read_rows(test)}
    rows = [problem for problem in read_rows(train) if question_of(problem) not in held]
    if not rows:
        raise PonderError(f"{train}: every row is also in {test}; nothing is left to train on")
    random_of("rows", name).shuffle(rows)
    return rows[:n]


def question_of(problem: Problem) -> tuple[str, ...]:
    """What two problems have in common that ask the same: case, spacing and punctuation do not count."""
    return signs_of(problem.prompt) or (problem.prompt,)
