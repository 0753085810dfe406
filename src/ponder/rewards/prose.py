"""The built-in parts that look at how much is said and in what words: length, repetition, language."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards.language import LANGUAGES, share_of_language


def length(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    verdicts: Sequence[bool | None],
    *,
    target: Annotated[int, Field(ge=1)] = 256,
    shape: Literal["falling", "cosine"] = "falling",
    right: tuple[float, float] = (0.5, 1.0),
    wrong: tuple[float, float] = (-1.0, -0.5),
) -> list[Score]:
    """Breaks ties among right answers in favour of the shorter: no wrong answer ever gets more than a right one.

    target: tokens. falling: a right answer gets 1 up to `target` and target / length beyond it; a wrong one 0 however
    long it is. cosine (open-r1's schedule, from length 0 to `target`, flat beyond): a right answer falls from right[1]
    to right[0], and a wrong one rises from wrong[0] to wrong[1], to search longer where it failed.
    verdicts: what the other parts say is right; unknown gives no reward.
    Raises PonderError where the bounds would pay a wrong answer more than a right one.
    """
    if not wrong[0] <= wrong[1] <= right[0] <= right[1]:
        raise PonderError(
            f"reward 'length': wrong={list(wrong)} and right={list(right)} must rise from left to right: a wrong "
            "answer may never get more than a right one"
        )
    scores = []
    for completion, verdict in zip(completions, verdicts, strict=True):
        tokens = len(completion.token_ids)
        if verdict is None:
            scores.append(Score(None, None, note="no verdict to go by"))
        elif shape == "falling":
            scores.append(Score(min(1.0, target / max(tokens, 1)) if verdict else 0.0, None))
        else:
            low, high = right if verdict else wrong
            fallen = (1 - math.cos(math.pi * min(tokens / target, 1.0))) / 2
            value = high - (high - low) * fallen if verdict else low + (high - low) * fallen
            scores.append(Score(min(max(value, low), high), None))  # rounding may not cross the bounds
    return scores


_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+")
"""A word, or one sign of a script that puts no spaces."""


def repetition(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    *,
    ngram: Annotated[int, Field(ge=1)] = 3,
    max_penalty: Annotated[float, Field(le=0)] = -1.0,
) -> list[Score]:
    """`max_penalty` x the share of n-grams of words that occurred before (Yeo et al. 2025, as open-r1 has it); never
    above 0. A text shorter than `ngram` words has none."""
    scores = []
    for completion in completions:
        words = _WORD.findall(completion.text.casefold())
        grams = list(zip(*(words[start:] for start in range(ngram)), strict=False))
        repeated = 1 - len(set(grams)) / len(grams) if grams else 0.0
        scores.append(Score(max_penalty * repeated + 0.0, None))  # + 0.0: no negative zero
    return scores


def language(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    *,
    target: str = "",
) -> list[Score]:
    """The share of words in the target language (DeepSeek-R1's language reward); 1 where no word gives one away.

    target: a language's code; where empty, the problem's own (`data["lang"]`), else `en`.
    Raises PonderError for a language that cannot be told.
    """
    scores = []
    for problem, completion in zip(problems, completions, strict=True):
        wanted = target or str(problem.data.get("lang") or "en")
        if wanted not in LANGUAGES:
            raise PonderError(f"reward 'language': {wanted!r} cannot be told; target is one of {', '.join(LANGUAGES)}")
        scores.append(Score(share_of_language(completion.text, wanted), None))
    return scores
