"""reasoning-gym's procedural tasks as tasks of ours: `gym:NAME`, with our seeds, our splits and a strict verdict.

Many of its own scorers pay for what is not an answer: a text that contains the gold answer, a list of candidates, any
non-empty text, a part that matches. Some evaluate the answer as Python. So an answer is right here when it *is* the
gold answer, by the comparison that `GYM` names for its task; and where a question has several right answers, when its
form is the one that was asked for and reasoning-gym's scorer then gives it full credit. There is no partial credit.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of
from ponder.core.types import Problem, Score
from ponder.tasks.drawing import LEVELS, SPLITS, right_or_wrong, split_of
from ponder.tasks.gym_checks import GYM, NEEDS_METADATA, library, same

PREFIX = "gym:"
MAX_ANSWER = 20_000
"""Characters; a longer answer is wrong unread."""

_TRIES_PER_PROBLEM = 60


LEFT_OUT = {
    "boxnet": "it has no gold answer",
    "composite": "it only mixes other tasks",
    "rush_hour": "it has no gold answer",
}
_GOLD_IN = {"graph_color": "possible_answer", "propositional_logic": "example_answer",
            "rubiks_cube": "example_correct_answer"}  # fmt: skip
"""Where the entry itself holds no gold answer, the part of its metadata that does."""


@dataclass(frozen=True)
class GymTask:
    """One of reasoning-gym's tasks. name: `gym:` and its name there."""

    name: str

    def problems(
        self, split: str, n: int, seed: str = "", level: int | None = None, lang: str | None = None
    ) -> list[Problem]:
        """`n` distinct problems of one split; which split a question is in hangs on its text alone.

        level: 1, 2 or 3, the first steps of the task's curriculum; None is reasoning-gym's own defaults.
        Raises PonderError where reasoning-gym is missing, for an unknown task, split, level or language, and where too
        few problems were found.
        """
        if split not in SPLITS:
            raise PonderError(f"unknown split {split!r}: one of {', '.join(SPLITS)}")
        if lang not in (None, "en"):
            raise PonderError(f"{self.name} asks in English; leave lang out")
        tries = _TRIES_PER_PROBLEM * n
        made = _dataset(self.source, seed_of("gym", self.source, split, seed) % 2**31, tries, level)
        found: dict[str, Problem] = {}
        for at in range(tries):
            if len(found) == n:
                break
            problem = self.problem_of(made[at], level)
            if _askable(problem.answer) and split_of(self.name, problem.data["key"]) == split:
                found.setdefault(problem.data["key"], problem)
        if len(found) < n:
            raise PonderError(f"{self.name} gave only {len(found)} problems of split {split!r}; ask for fewer than {n}")
        return list(found.values())

    @property
    def source(self) -> str:
        """The name in reasoning-gym."""
        return self.name.removeprefix(PREFIX)

    def problem_of(self, entry: Mapping[str, Any], level: int | None = None) -> Problem:
        """An entry of reasoning-gym as a problem of ours."""
        question, name = str(entry["question"]).strip(), self.source
        gold = entry["metadata"].get(_GOLD_IN[name]) if name in _GOLD_IN else entry["answer"]
        answer = json.dumps(gold) if isinstance(gold, dict | list) else str(gold)
        data: dict[str, Any] = {"key": " ".join(question.split()).casefold(), "level": level, "lang": "en"}
        if name in NEEDS_METADATA:
            metadata = {**entry["metadata"], "source_dataset": name}
            data["metadata"] = json.loads(json.dumps(metadata, default=_plain))
        return Problem(self.name, question, answer, data)

    def grade(self, problem: Problem, answer: str) -> Score:
        """Right or wrong by the task's comparison in `GYM`; unknown only where a symbolic comparison gave up."""
        if len(answer) > MAX_ANSWER:
            return right_or_wrong(False, "too long")
        try:
            correct = GYM.get(self.source, same)(answer.strip(), problem.answer, problem.data.get("metadata", {}))
        except Exception as error:  # a fault of the comparison, not of the answer
            return Score(None, None, {}, f"could not be compared ({type(error).__name__}: {error})")
        return Score(None, None, {}, "could not be decided") if correct is None else right_or_wrong(correct)


GYM_TASKS: dict[str, GymTask] = {PREFIX + name: GymTask(PREFIX + name) for name in GYM}
"""Every task by its name; making the table imports nothing."""


def gym_task(name: str) -> GymTask:
    """The task called `name` or `gym:name`. Raises PonderError for one that is unknown or left out."""
    bare = name.removeprefix(PREFIX)
    if bare in LEFT_OUT:
        raise PonderError(f"gym:{bare} is left out: {LEFT_OUT[bare]}")
    if bare not in GYM:
        near = difflib.get_close_matches(bare, GYM, 1)
        raise PonderError(f"unknown task gym:{bare}" + (f"; did you mean gym:{near[0]}?" if near else ""))
    return GYM_TASKS[PREFIX + bare]


def _askable(gold: str) -> bool:
    """Not without an answer (no real root), nor one that sympy gave up on (an integral of an integral)."""
    return bool(gold.strip()) and "Integral(" not in gold


def _dataset(name: str, seed: int, size: int, level: int | None) -> Any:
    gym = library()
    gym_task(name)
    if level is None:
        return gym.create_dataset(name, seed=seed, size=size)
    if level not in LEVELS:
        raise PonderError(f"unknown level {level!r}: one of {', '.join(map(str, LEVELS))}")
    if not gym.factory.has_curriculum(name):
        raise PonderError(f"gym:{name} has no levels; leave level out")
    curriculum = gym.factory.create_curriculum(name)
    for attribute, definition in curriculum.attributes.items():
        curriculum.set_attr_level(attribute, min(level, len(definition.levels)) - 1)
    return gym.create_dataset(name, **{**vars(curriculum.generate_configuration()), "seed": seed, "size": size})


def _plain(value: Any) -> Any:
    """Sets, arrays and enumerations of the metadata as JSON."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return getattr(value, method)()
    return str(value)
