"""Multiple choice: the letter that a completion commits itself to, or the answer's own words, against the right one.

Every text gets a verdict, in linear time: only the last 20,000 characters are read, by patterns of bounded reach
(`choice_reading`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from ponder.core.errors import PonderError
from ponder.verify.choice_reading import LETTERS, Picks, Question, Read, plain, read_bare, read_completion, read_free
from ponder.verify.verdict import Verdict

FORMS = ("raw", "bare", "completion")


def verify_choice(
    pred: str,
    gold: str | int | Sequence[str | int],
    choices: Sequence[str] | None = None,
    form: str = "completion",
) -> Verdict:
    """Whether a completion chooses what is right, and nothing else.

    gold: a letter ("B", "(B)"), a position from 0, or the text of a choice; for questions with several right answers a
        sequence of these, or letters as in "A, C".
    choices: the texts in order; with them the answer may be given in words, a letter beside another choice's words is
        a contradiction, and a letter outside is wrong. Without them letters from A to J are read.
    form: "completion": a thought is left out, then the last `<answer>` is read, else the last `\\boxed{}`, else the
        last sentence that names an answer ("The answer is (B)"), else a line at the end or the start that is an answer.
        "raw": the same, without thought and tags. "bare": all of the text is the answer.

    Two answers where one is right, "A or B", and a box that the text after it contradicts are wrong. No answer is wrong
    too, with the note "no answer was found". Raises PonderError for a gold or a form that means nothing.
    """
    start = time.perf_counter()
    if form not in FORMS:
        raise PonderError(f"unknown form {form!r}: one of {', '.join(FORMS)}")
    texts = None if choices is None else tuple(str(choice) for choice in choices)
    if texts is not None and not 1 < len(texts) <= len(LETTERS):
        raise PonderError(f"{len(texts)} choices: there must be from 2 to {len(LETTERS)}")
    wanted = _gold(gold, texts)
    letters = len(texts) if texts else 1 + max(max(picks) for picks in wanted)
    bare = tuple(plain(text) for text in texts or ())
    cased = len(set(bare)) < len(set(texts or ()))
    if cased:
        bare = tuple(plain(text, cased=True) for text in texts or ())
    question = Question(bare, max(10, letters), several=len(wanted) > 1, cased=cased)
    read = {"completion": read_completion, "raw": read_free, "bare": read_bare}[form](pred, question)
    right, note = _judge(read, wanted, len(texts) if texts else len(LETTERS))
    shown = ", ".join(LETTERS[pick] for pick in sorted(read.picks)) if read and read.picks else None
    golden = ", ".join(LETTERS[min(picks)] for picks in wanted)
    return Verdict(right, "choice", (time.perf_counter() - start) * 1000, note, shown, golden)


def _judge(read: Read | None, wanted: list[Picks], count: int) -> tuple[bool, str]:
    if read is None:
        return False, "no answer was found"
    if read.fault:
        return False, read.fault
    outside = [LETTERS[pick] for pick in sorted(read.picks) if pick >= count]
    if outside:
        return False, f"{', '.join(outside)} is not among the {count} choices"
    allowed = frozenset[int]().union(*wanted)
    if all(picks & read.picks for picks in wanted) and read.picks <= allowed:
        return True, ""
    if len(wanted) == 1:
        return False, "two answers where one is right" if len(read.picks) > 1 else ""
    return False, f"{len(wanted)} answers are right"


def _gold(gold: str | int | Sequence[str | int], texts: tuple[str, ...] | None) -> list[Picks]:
    """For each right answer the positions that stand for it: more than one where choices have the same text."""
    if isinstance(gold, str | int):
        parts = [_gold_part(gold, texts)]
        if (
            isinstance(gold, str)
            and not parts[0]
            and re.fullmatch(r"\W*[A-Z](?:\W*(?:and|und)?\W*[A-Z])+\W*", gold[:60])
        ):
            parts = [_gold_part(letter, texts) for letter in re.findall("[A-Z]", gold)]
    else:
        parts = [_gold_part(part, texts) for part in gold]
    found = [part for part in parts if part]
    if not found or len(found) < len(parts):
        among = f"a letter, a position from 0 or one of the {len(texts)} choices" if texts else "a letter from A to Z"
        raise PonderError(f"gold answer {gold!r} names no choice: give {among}")
    return list(dict.fromkeys(found))


def _gold_part(gold: object, texts: tuple[str, ...] | None) -> Picks | None:
    count = len(texts) if texts else len(LETTERS)
    if isinstance(gold, int) and not isinstance(gold, bool):
        return _same(gold, texts) if 0 <= gold < count else None
    if not isinstance(gold, str):
        return None
    letter = re.fullmatch(r"\s*[(\[]?([A-Za-z])[)\].:]{0,2}\s*", gold)
    if letter and LETTERS.index(letter[1].upper()) < count:
        return _same(LETTERS.index(letter[1].upper()), texts)
    for at, text in enumerate(texts or ()):
        if text.strip() == gold.strip():
            return _same(at, texts)
    for at, text in enumerate(texts or ()):
        if plain(text) == plain(gold) or re.sub(r"^[(\[]?[A-Z][)\].:]\s*", "", gold.strip()) == text.strip():
            return _same(at, texts)
    if texts and re.fullmatch(r"\s*\d{1,2}\s*", gold, re.ASCII) and int(gold) < count:
        return _same(int(gold), texts)
    return None


def _same(at: int, texts: tuple[str, ...] | None) -> Picks:
    if texts is None:
        return frozenset({at})
    return frozenset(other for other, text in enumerate(texts) if text.strip() == texts[at].strip())
