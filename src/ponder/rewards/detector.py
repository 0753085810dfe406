"""Which languages a text is in, sentence by sentence, with py3langid (the extra `languages`).

py3langid is a naive Bayes classifier over groups of bytes with its model in the package: no network, no random
numbers, numpy alone. It was chosen before langdetect (draws random numbers) and lingua (a wheel of 96 MB; this one has
4.6 MB). Scripts of one language are told without it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from ponder.core.errors import PonderError

CODES = tuple(
    """af ar az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id is it ja ka kk km kn ko ky
    lo lt lv mk ml mn mr ms my ne nl no pa pl ps pt ro ru si sk sl sq sr sv sw ta te tg th tl tr uk ur uz vi
    zh""".split()
)
"""Languages it is asked for: without dialects and small neighbours, which steal short sentences."""

SURE = 0.5
"""The least probability of a verdict that counts."""

_WINDOW = 14
"""Words that are judged together at most, so that a change of language within a long sentence is seen."""

_FEWEST = 8
"""Letters; a shorter stretch says too little."""

_ALONE = (
    ("el", "\u0370-\u03ff\u1f00-\u1fff"), ("he", "\u0590-\u05ff"), ("bn", "\u0980-\u09ff"), ("pa", "\u0a00-\u0a7f"),
    ("gu", "\u0a80-\u0aff"), ("ta", "\u0b80-\u0bff"), ("te", "\u0c00-\u0c7f"), ("kn", "\u0c80-\u0cff"),
    ("ml", "\u0d00-\u0d7f"), ("si", "\u0d80-\u0dff"), ("th", "\u0e00-\u0e7f"), ("lo", "\u0e80-\u0eff"),
    ("my", "\u1000-\u109f"), ("ka", "\u10a0-\u10ff"), ("hy", "\u0530-\u058f"), ("km", "\u1780-\u17ff"),
    ("ko", "\uac00-\ud7af\u1100-\u11ff"),
)  # fmt: skip
"""Scripts that one language of `CODES` is written in."""

_SHARED = (
    ("latin", "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff"),
    ("cyrillic", "\u0400-\u052f"),
    ("arabic", "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff\u200c"),
    ("devanagari", "\u0900-\u097f"),
    ("han", "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"),
)
_RUN = re.compile("|".join(f"(?P<{name}>[{ranges}\u0300-\u036f'’]+)" for name, ranges in (*_ALONE, *_SHARED)))
_SENTENCE = re.compile(r"[.!?。！？؟।…;:\n]+")
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my"})


def words_by_language(text: str) -> dict[str, float]:
    """How many words of each language of `CODES` a text holds; stretches that are not sure are not counted.

    A stretch is the words of one script in one sentence, at most `_WINDOW` of them.
    Raises PonderError where py3langid is not installed.
    """
    counts: dict[str, float] = {}
    for script, words in _stretches(text):
        letters = sum(map(len, words))
        code = script if len(script) == 2 else _classify(" ".join(words)) if letters >= _least(script) else None
        if code:
            size = max(letters / 2, 1.0) if code in _UNSPACED else float(len(words))
            counts[code] = counts.get(code, 0.0) + size
    return counts


def _least(script: str) -> int:
    return 2 if script == "han" else _FEWEST


def _stretches(text: str) -> Iterator[tuple[str, list[str]]]:
    for sentence in _SENTENCE.split(text):
        held: dict[str, list[str]] = {}
        for match in _RUN.finditer(sentence):
            script, word = str(match.lastgroup), match[0].strip("'’")
            if len(word) < 2 and script != "han":
                continue  # names of unknowns, pi
            held.setdefault(script, []).append(word)
        for script, words in held.items():
            # Windows of about equal length: a last one of two words would say nothing.
            count = -(-len(words) // _WINDOW)
            for part in range(count):
                yield script, words[part * len(words) // count : (part + 1) * len(words) // count]


@lru_cache(maxsize=4096)
def _classify(stretch: str) -> str | None:
    code, probability = identifier().classify(stretch.lower())
    return str(code) if probability >= SURE else None


@cache
def identifier() -> Any:
    """py3langid's classifier for `CODES`, loaded once a process. Raises PonderError where it is not installed."""
    try:
        langid = importlib.import_module("py3langid.langid")
    except ImportError as error:
        raise PonderError(
            "telling this language needs py3langid; install it with: pip install 'ponder[languages]'"
        ) from error
    kind = langid.LanguageIdentifier
    load = getattr(kind, "from_model_file", None) or kind.from_pickled_model  # the name before 0.4
    found = load(langid.MODEL_FILE, norm_probs=True)
    found.set_languages(set(CODES) & set(found.nb_classes))
    return found
