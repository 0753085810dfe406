"""How readable a text is: a score in 0 to 1 and the parts that make it, for data filters, rewards and tables of stages.

What DeepSeek-R1 means by it (arXiv 2501.12948, section 2.3): no mixed languages, no long paragraphs, no blocks that
never end, a form in which the answer is found. A pure function of the text, in linear time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ponder.core.thinking import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, parse
from ponder.rewards.language import Detector, check_language, words_by_language
from ponder.rewards.plain import open_ends

LONGEST = 200
"""Words of a line without a break that are still easy to read."""

LOOP = 8
"""Words in a row that, said again, are a loop and not a turn of phrase."""

PARTS = ("one_language", "closed", "once", "fresh", "paragraphs", "clean")
"""The parts of the score, as they are logged."""


@dataclass(frozen=True)
class Readability:
    """The score of a text, the product of its parts: a text that fails in one of them whole is not readable.

    parts, each 0 to 1:
        one_language: the share of words in the wanted language, or in the text's most frequent one.
        closed: 1 where the thought, code fences and displayed formulas that are opened are closed, tags in order.
        once: 1 where there is an answer behind the thought, and it is stated once: one `<answer>`, or equal boxes.
        fresh: 1 less the share of lines said before, or of `LOOP` words in a row said before, whichever is more.
        paragraphs: the share of words in lines of at most `LONGEST` words.
        clean: 1 less ten times the share of broken or control characters, at least 0.
    lang: the language that was wanted, or the most frequent one; None where no word gives one away.
    fault: the part that is worst, in a few words; "" where all are 1.
    """

    score: float
    parts: Mapping[str, float]
    lang: str | None
    fault: str


def readability(
    text: str, lang: str | None = None, *, opened: bool = False, detector: Detector = "auto"
) -> Readability:
    """Read a whole response.

    lang: ISO 639-1 code of the language it should be in; None takes the one that most of its words are in.
    opened: the prompt's template already wrote `<think>`. detector: as the reward part `language` has it; without
    `lang`, auto is words.
    Raises PonderError for a language that cannot be told.
    """
    whole = THINK_OPEN + text if opened and not text.lstrip().startswith(THINK_OPEN) else text
    main, share = _one_language(text, lang, detector)
    words = [line.split() for line in _spaced(_untagged(whole)).splitlines()]
    parts = {
        "one_language": share,
        "closed": float(_closed(whole)),
        "once": float(_once(whole)),
        "fresh": 1.0 - max(_repeated_lines(words), _loops(words)),
        "paragraphs": _in_short_lines(words),
        "clean": _clean(text),
    }
    worst = min(parts, key=lambda name: parts[name])
    return Readability(math.prod(parts.values()), parts, main, _FAULTS[worst] if parts[worst] < 1.0 else "")


_FAULTS = {
    "one_language": "mixed languages", "closed": "something is opened and not closed", "once": "not one answer",
    "fresh": "says the same again", "paragraphs": "over-long paragraph", "clean": "broken characters",
}  # fmt: skip


def _one_language(text: str, lang: str | None, detector: Detector) -> tuple[str | None, float]:
    by: Literal["words", "langid"] = "langid" if detector == "langid" else "words"
    counts = words_by_language(text, check_language(lang, detector) if lang else by)
    if "ja" in counts and by == "words":  # written in Chinese signs too
        counts["ja"] += counts.pop("zh", 0.0)
    whole = sum(counts.values())
    main = lang or max(sorted(counts), key=lambda code: counts[code], default=None)
    return main, counts.get(main or "", 0.0) / whole if whole else 1.0


def _untagged(text: str) -> str:
    for tag in (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE):
        text = text.replace(tag, "\n")
    return text


def _closed(text: str) -> bool:
    for opening, closing in ((THINK_OPEN, THINK_CLOSE), (ANSWER_OPEN, ANSWER_CLOSE)):
        count = text.count(opening)
        if count != text.count(closing) or count > 1 or (count and text.find(opening) > text.find(closing)):
            return False
    return not open_ends(text)


_BOX = re.compile(r"\\boxed\s?\{([^{}]{0,200}(?:\{[^{}]{0,200}\}[^{}]{0,200}){0,8})\}")


def _once(text: str) -> bool:
    rest = parse(text).rest
    if ANSWER_OPEN in rest:
        return text.count(ANSWER_OPEN) == 1 and bool(parse(text).answer)
    boxes = {"".join(box.split()) for box in _BOX.findall(rest)}
    return bool(rest) and len(boxes) <= 1


_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]{2}")


def _spaced(text: str) -> str:
    """With a blank after every two signs of a script without spaces: about a word."""
    return _UNSPACED.sub(lambda pair: pair[0] + " ", text)


_SAYS = re.compile(r"[^\W_]")


def _repeated_lines(words: list[list[str]]) -> float:
    """The share of lines, by words, that were there before; only lines of two words or more that say something."""
    seen: set[tuple[str, ...]] = set()
    whole = again = 0
    for line in words:
        if len(line) < 2 or not any(_SAYS.search(word) for word in line):
            continue
        key = tuple(line)
        whole += len(line)
        again += len(line) if key in seen else 0
        seen.add(key)
    return again / whole if whole else 0.0


def _loops(words: list[list[str]]) -> float:
    """The share of stretches of `LOOP` words that were there before."""
    flat = [word for line in words for word in line]
    grams = list(zip(*(flat[start:] for start in range(LOOP)), strict=False))
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def _in_short_lines(words: list[list[str]]) -> float:
    whole = sum(map(len, words))
    return sum(len(line) for line in words if len(line) <= LONGEST) / whole if whole else 1.0


_BROKEN = re.compile("[\ufffd\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ud800-\udfff]")


def _clean(text: str) -> float:
    return max(0.0, 1.0 - 10.0 * len(_BROKEN.findall(text)) / len(text)) if text else 1.0
