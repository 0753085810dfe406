"""Which language a text is in: by its script, and among languages of one script by common words and groups of letters.

It knows the thirty languages of IFEval and some neighbours that would be taken for one of them. The verdict is the same
on every call and in every installation (langdetect, which the reference asks, draws random numbers), and texts in
capitals are read in small letters. Like langdetect it reads the first 10,000 characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache

from ponder.verify.instructions.language_words import ARABIC, CYRILLIC, DEVANAGARI, LATIN

READ = 10_000
_SCRIPTS = {
    "latin": (("A", "Z"), ("a", "z"), ("\u00c0", "\u024f"), ("\u1e00", "\u1eff")),
    "cyrillic": (("\u0400", "\u052f"),),
    "arabic": (("\u0600", "\u06ff"), ("\u0750", "\u077f"), ("\ufb50", "\ufdff"), ("\ufe70", "\ufeff")),
    "devanagari": (("\u0900", "\u097f"),),
    "bn": (("\u0980", "\u09ff"),),
    "pa": (("\u0a00", "\u0a7f"),),
    "gu": (("\u0a80", "\u0aff"),),
    "ta": (("\u0b80", "\u0bff"),),
    "te": (("\u0c00", "\u0c7f"),),
    "kn": (("\u0c80", "\u0cff"),),
    "ml": (("\u0d00", "\u0d7f"),),
    "th": (("\u0e00", "\u0e7f"),),
    "he": (("\u0590", "\u05ff"),),
    "el": (("\u0370", "\u03ff"), ("\u1f00", "\u1fff")),
    "ko": (("\uac00", "\ud7af"), ("\u1100", "\u11ff"), ("\u3130", "\u318f")),
    "kana": (("\u3040", "\u30ff"),),
    "han": (("\u4e00", "\u9fff"), ("\u3400", "\u4dbf")),
}
_FINDERS = {name: re.compile("[" + "".join(f"{a}-{b}" for a, b in ranges) + "]+") for name, ranges in _SCRIPTS.items()}
_FAMILIES = {"latin": LATIN, "cyrillic": CYRILLIC, "arabic": ARABIC, "devanagari": DEVANAGARI}
_SYLLABIC = ("ko", "kana", "han")
"""Scripts in which a letter says as much as two or three of an alphabet."""
_LETTERS = {
    "de": "ß", "es": "ñ¿¡", "pt": "ãõ", "pl": "łżźśęąćń", "ro": "țșăâ", "cs": "řěůč", "hu": "őű", "tr": "ğışİ",
    "da": "øæ", "sv": "åä", "fi": "ää", "ru": "ыэё", "uk": "іїєґ", "bg": "ъщ", "fa": "پچژگیک", "ur": "ٹڈڑںےہھۓ",
    "ar": "ةىيكأإؤئ", "mr": "ळ", "vi": "đơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
}  # fmt: skip
"""Letters and signs that speak for one language among those that share its script."""
CODES = frozenset([*LATIN, *CYRILLIC, *ARABIC, *DEVANAGARI, *_SCRIPTS, "ja", "zh"]) - {
    "latin", "cyrillic", "arabic", "devanagari", "kana", "han",
}  # fmt: skip


def detect(text: str) -> str | None:
    """The ISO 639-1 code of the language that most of the text is in, or None for a text without letters.

    A text in a script that is not known is "unknown". Code, links and marks of emphasis are not told from words: the
    language with the most letters is the answer, as with the reference.
    """
    part = text[:READ]
    counts = {name: sum(len(run) for run in finder.findall(part)) for name, finder in _FINDERS.items()}
    if not any(counts.values()):
        return "unknown" if any(letter.isalpha() for letter in part) else None
    for name in _SYLLABIC:
        counts[name] *= 2
    if counts["kana"] * 8 > counts["han"] and counts["kana"]:
        counts["kana"] += counts["han"]  # Japanese is written with both
    script = max(counts, key=lambda name: counts[name])
    if script in _FAMILIES:
        return _of_family(part, script)
    return {"kana": "ja", "han": "zh"}.get(script, script)


def _of_family(text: str, script: str) -> str:
    low = text.replace("İ", "i").lower()
    words = Counter(re.findall(r"[^\W\d_]+(?:['’\u200c][^\W\d_]+)*", low) if script != "devanagari" else _marked(low))
    scores = {code: 8.0 if code == "en" else 0.0 for code in _FAMILIES[script]}  # a lone name or exclamation is English
    groups = _groups(script)
    hits = {code: sum(min(times, 3) for word, times in words.items() if word in groups[code][0]) for code in scores}
    first, second = sorted(hits.values(), reverse=True)[:2]
    if first > 20 + 2 * second:  # the little words alone decide, as they do in most texts of some length
        return max(hits, key=lambda code: hits[code])
    for word, times in words.items():
        weight = min(times, 3)
        for code in scores:
            common, known, total = groups[code]
            if word in common:
                scores[code] += weight * (6.0 if len(word) > 1 else 2.0)
            for gram in _grams(word[:30]):
                scores[code] += weight * math.log((known.get(gram, 0) + 0.2) / (total + 400))
    for code in scores:
        own = sum(min(low.count(letter), 5) for letter in _LETTERS.get(code, ""))
        scores[code] += 4.0 * own
    return max(scores, key=lambda code: scores[code])


def _marked(text: str) -> list[str]:
    return re.findall("[\u0900-\u0963\u0971-\u097f]+", text)


def _grams(word: str) -> list[str]:
    padded = f" {word} "
    return [padded[at : at + size] for size in (2, 3) for at in range(len(padded) - size + 1)]


@cache
def _groups(script: str) -> dict[str, tuple[frozenset[str], Counter[str], int]]:
    """For each language of a script: its common words, how often each group of letters occurs in them, the sum."""
    table = {}
    for code, listed in _FAMILIES[script].items():
        words = listed.split()
        known: Counter[str] = Counter()
        for word in words:
            known.update(_grams(word))
        table[code] = (frozenset(words), known, sum(known.values()))
    return table
