"""Drawing problems: splits by content hash, levels of difficulty, two languages.

A problem belongs to train, validation or test by the hash of its canonical content (the numbers or names that make it,
not the words around them), so the splits can never overlap, whatever the seed, the wording or the language.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from ponder.core.errors import PonderError
from ponder.core.seeds import random_of
from ponder.core.types import Problem, Score

SPLITS = ("train", "validation", "test")
LANGUAGES = ("en", "de")
LEVELS = (1, 2, 3)

_TRIES_PER_PROBLEM = 400


def split_of(task: str, key: str) -> str:
    """The split of a problem with canonical content `key`: 80 % train, 10 % validation, 10 % test."""
    bucket = hashlib.sha256(f"{task}\x1f{key}".encode()).digest()[0]
    return "train" if bucket < 205 else "validation" if bucket < 230 else "test"


@dataclass(frozen=True)
class MiniTask:
    """A kind of the miniature world.

    make: (generator, level 1-3, language) -> Problem, whose `data` holds `key`, `level` and `lang` besides what the
        grader and the corpus writer need.
    check: (problem, answer text) -> Score; total.
    levels: how often each level is drawn when none is asked for.
    """

    name: str
    make: Callable[[random.Random, int, str], Problem]
    check: Callable[[Problem, str], Score]
    levels: tuple[float, float, float] = (0.5, 0.5, 0.0)
    languages: tuple[float, float] = (0.7, 0.3)

    def draw(self, rng: random.Random, level: int | None = None, lang: str | None = None) -> Problem:
        """One problem of any split."""
        level = level or rng.choices(LEVELS, self.levels)[0]
        lang = lang or rng.choices(LANGUAGES, self.languages)[0]
        return self.make(rng, level, lang)

    def problems(
        self, split: str, n: int, seed: str = "", level: int | None = None, lang: str | None = None
    ) -> list[Problem]:
        """`n` distinct problems of one split.

        Raises PonderError for an unknown split, level or language, or where fewer than `n` were found in 400 n draws.
        """
        if split not in SPLITS:
            raise PonderError(f"unknown split {split!r}: one of {', '.join(SPLITS)}")
        if level is not None and level not in LEVELS:
            raise PonderError(f"unknown level {level!r}: one of {', '.join(map(str, LEVELS))}")
        if lang is not None and lang not in LANGUAGES:
            raise PonderError(f"unknown language {lang!r}: one of {', '.join(LANGUAGES)}")
        rng = random_of("problems", self.name, split, seed)
        found: dict[str, Problem] = {}
        for _ in range(_TRIES_PER_PROBLEM * n):
            if len(found) == n:
                break
            problem = self.draw(rng, level, lang)
            if split_of(self.name, problem.data["key"]) == split:
                found.setdefault(problem.id, problem)
        if len(found) < n:
            raise PonderError(
                f"task {self.name} has only {len(found)} problems in split {split!r}, and {n} were asked for: "
                f"lower the number of problems (with several kinds, to {len(found)} for each of them)"
            )
        return list(found.values())

    def grade(self, problem: Problem, answer: str) -> Score:
        """Grade an extracted answer; never raises, for any string."""
        return self.check(problem, answer)


def right_or_wrong(correct: bool, note: str = "") -> Score:
    """The score of a grader that always knows."""
    return Score(1.0 if correct else 0.0, correct, {}, note)
