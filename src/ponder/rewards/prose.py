"""The built-in parts that look at how much is said and in what words: length, overlong, repetition, language,
readability."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards.language import Detector, check_language, share_of_language
from ponder.rewards.readability import readability as how_readable


def length(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    verdicts: Sequence[bool | None],
    *,
    target: Annotated[int, Field(ge=1)] = 256,
    shape: Literal["falling", "cosine", "shortest"] = "falling",
    right: tuple[float, float] = (0.5, 1.0),
    wrong: tuple[float, float] = (-1.0, -0.5),
) -> list[Score]:
    """Breaks ties among right answers in favour of the shorter: no wrong answer ever gets more than a right one.

    target: tokens. falling: a right answer gets 1 up to `target` and target / length beyond it; a wrong one 0 however
    long it is. cosine (open-r1's schedule, from length 0 to `target`, flat beyond): a right answer falls from right[1]
    to right[0], and a wrong one rises from wrong[0] to wrong[1], to search longer where it failed. shortest: a right
    answer gets the length of the shortest right answer to the same problem over its own, a wrong one 0; the answers of
    a problem must come in one call, as they do in GRPO (after Kimi k1.5's group-relative length reward, arXiv
    2501.12599, section 2.3.3, which does not hold wrong answers below right ones).
    verdicts: what the other parts say is right; unknown gives no reward.
    Raises PonderError where the bounds would pay a wrong answer more than a right one.
    """
    if not wrong[0] <= wrong[1] <= right[0] <= right[1]:
        raise PonderError(
            f"reward 'length': wrong={list(wrong)} and right={list(right)} must rise from left to right: a wrong "
            "answer may never get more than a right one"
        )
    scores = []
    shortest = _shortest_right(problems, completions, verdicts)
    for problem, completion, verdict in zip(problems, completions, verdicts, strict=True):
        tokens = len(completion.token_ids)
        if verdict is None:
            scores.append(Score(None, None, note="no verdict to go by"))
        elif shape == "falling":
            scores.append(Score(min(1.0, target / max(tokens, 1)) if verdict else 0.0, None))
        elif shape == "shortest":
            scores.append(Score(shortest[problem.id] / max(tokens, 1) if verdict else 0.0, None))
        else:
            low, high = right if verdict else wrong
            fallen = (1 - math.cos(math.pi * min(tokens / target, 1.0))) / 2
            value = high - (high - low) * fallen if verdict else low + (high - low) * fallen
            scores.append(Score(min(max(value, low), high), None))  # rounding may not cross the bounds
    return scores


def _shortest_right(
    problems: Sequence[Problem], completions: Sequence[Completion], verdicts: Sequence[bool | None]
) -> dict[str, int]:
    """By problem, the tokens of its shortest right answer, at least 1."""
    found: dict[str, int] = {}
    for problem, completion, verdict in zip(problems, completions, verdicts, strict=True):
        if verdict:
            tokens = max(len(completion.token_ids), 1)
            found[problem.id] = min(tokens, found.get(problem.id, tokens))
    return found


def overlong(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    *,
    max_length: Annotated[int, Field(ge=1)] = 1024,
    buffer: Annotated[int, Field(ge=1)] = 256,
) -> list[Score]:
    """DAPO's soft punishment of length (arXiv 2503.14476, equation 13): 0 up to `max_length` - `buffer` tokens, then
    falling in a straight line to -1 at `max_length`, and -1 beyond.

    For data, evaluation, and limits below the sampler's own; a GRPO run has `overlong_buffer` among its settings.
    Raises PonderError for a buffer beyond `max_length`.
    """
    if buffer > max_length:
        raise PonderError(f"reward 'overlong': buffer is {buffer}, beyond max_length {max_length}; give less")
    over = ((len(completion.token_ids) - (max_length - buffer)) / buffer for completion in completions)
    return [Score(-min(max(share, 0.0), 1.0) + 0.0, None) for share in over]  # + 0.0: no negative zero


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
    detector: Detector = "auto",
) -> list[Score]:
    """The share of words in the target language (DeepSeek-R1's language reward, arXiv 2501.12948, section 2.3.2), code
    and formulas left out; 1 where no word gives one away.

    target: a language's ISO 639-1 code; where empty, the problem's own (`data["lang"]`), else `en`.
    detector: words (by script, and by common words of five languages), langid (sentence by sentence, some sixty
        languages; the extra `languages`), or auto: words where they can tell the target, else langid.
    Raises PonderError for a language that cannot be told.
    """
    scores = []
    for problem, completion in zip(problems, completions, strict=True):
        wanted = target or str(problem.data.get("lang") or "en")
        scores.append(Score(share_of_language(completion.text, wanted, detector), None))
    return scores


def readability(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    opened: bool = False,
    *,
    target: str = "",
    detector: Detector = "auto",
) -> list[Score]:
    """How readable a completion is, 0 to 1, with its parts (`ponder.rewards.readability`).

    target: the language it should be in; where empty, the problem's own (`data["lang"]`), else the one that most of
    its words are in. detector: as `language` has it.
    Raises PonderError for a language that cannot be told.
    """
    scores = []
    for problem, completion in zip(problems, completions, strict=True):
        wanted = target or str(problem.data.get("lang") or "") or None
        found = how_readable(completion.text, wanted, opened=opened, detector=detector)
        scores.append(Score(found.score, None, found.parts, found.fault))
    return scores


def check_target(target: str = "", detector: Detector = "auto") -> None:
    """Raises PonderError where options of `language` and `readability` name a language that cannot be told here."""
    if target or detector == "langid":
        check_language(target or "en", detector)
