"""Language mixing: the share of words outside the language that a response should be in.

Words are recognised by script (Han, Cyrillic, …) and, within the Latin script, by lists of common words; a word in no
list, or in both, says nothing and is not counted. Code, formulas and the think / answer tags are left out first.
"""

from __future__ import annotations

import re

from ponder.core.thinking import TAGS

WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(
        """the of and to is that it for on with as are this be at by from or have not but what all were when we there
        can your which their if each how them then these some would make like into has two more go see no way could my
        than first been who its now find long get come made may part over new take only work know year give most very
        after our just name good sentence great think say help low line before turn cause same mean right too does
        tell set three want well also play small end put large must big even such because here why ask need different
        us again point close open seem next together got group often until side sum add adds added subtract product
        times divide divided equals equal equation solve value number numbers answer question check let lets wait try
        tries wrong correct so better therefore thus hence left remains remaining minus plus result first second third
        finally per both half twice double total many much he she his her they was did do you i me makes gives one
        four five six seven eight nine ten yes where older younger taller shorter between behind pick which
        pair brackets nobody ones sign guess easy words start change read again harmful backwards count
        second""".split()
    ),
    "de": frozenset(
        """der die das und ist nicht ein eine einer einem einen eines zu den dem des mit auf für von sich auch es er
        sie wir ihr ich wie im bei oder nach aus wenn nur noch werden bis mehr durch wird sein seine haben hat hatte
        kann können muss müssen soll diese dieser dieses dann weil dass daß aber zum zur vom beim sind waren wurde
        sehr hier jetzt also doch schon immer wieder zwei drei vier fünf sechs sieben acht neun zehn eins mal geteilt
        gleich ergibt ergeben rechne rechnen rechnung löse lösen lösung gleichung zahl zahlen antwort frage probe
        kontrolle prüfe prüfen versuche versuch versuchen falsch richtig stimmt nein ja zuerst danach schließlich
        zusammen summe produkt rest übrig bleiben bleibt besser warte moment welche welcher welches wieviel viele wie
        wer wen wo warum jeder jede jedes alle alles beide bilde nimm wähle groß klein größer kleiner älter jünger
        zwischen hinter vor links rechts neben über unter gibt gab kauft verkauft
        klammer zehner einer vorzeichen niemand einfach einmal lesen hinten anfangen wegen je schadet selbst
        heraus""".split()
    ),
}  # fmt: skip
"""Common words of each language; words of both languages (`_SHARED`) are dropped."""

SCRIPTS: tuple[tuple[int, int, str], ...] = (
    (0x0400, 0x052F, "ru"), (0x0590, 0x05FF, "he"), (0x0600, 0x06FF, "ar"), (0x0900, 0x097F, "hi"),
    (0x0E00, 0x0E7F, "th"), (0x3040, 0x30FF, "ja"), (0x3400, 0x4DBF, "zh"), (0x4E00, 0x9FFF, "zh"),
    (0xAC00, 0xD7AF, "ko"),
)  # fmt: skip
"""First and last code point of a script, and the language it stands for."""

_WORD = re.compile(r"[^\W\d_]+")
_GERMAN = frozenset("äöüß")
_UNSPACED = frozenset({"zh", "ja", "th"})
_SHARED = frozenset.intersection(*WORDS.values()) | set(
    "in an am was war so also die man her hat rest probe moment links den gab tag gift plus minus".split()
)
_LATIN = {word: language for language, words in WORDS.items() for word in words - _SHARED}


def language_of(word: str) -> str | None:
    """The language that a single word gives away, or None."""
    low = word.lower()
    if low in _LATIN:
        return _LATIN[low]
    if low in _SHARED:
        return None
    if not _GERMAN.isdisjoint(low):
        return "de"
    point = ord(low[0])
    return next((language for first, last, language in SCRIPTS if first <= point <= last), None)


def words_by_language(text: str) -> dict[str, float]:
    """How many recognised words of each language `text` holds; two letters of an unspaced script count as one word."""
    counts: dict[str, float] = {}
    for match in _WORD.finditer(_prose(text)):
        word = match[0]
        language = language_of(word)
        if language:
            counts[language] = counts.get(language, 0.0) + (max(len(word) / 2, 1.0) if language in _UNSPACED else 1.0)
    return counts


def language_mixing(text: str, language: str | None = None) -> float:
    """The share of recognised words outside `language`; None stands for the most frequent language of the text
    itself."""
    counts = words_by_language(text)
    whole = sum(counts.values())
    if not whole:
        return 0.0
    inside = max(counts.values()) if language is None else counts.get(language, 0.0)
    return 1.0 - inside / whole


def _prose(text: str) -> str:
    """The text without tags, fenced code and formulas between dollar signs."""
    for tag in TAGS:
        text = text.replace(tag, " ")
    text = " ".join(text.split("```")[::2])
    pieces = text.split("$")
    # Between dollar signs stands a formula where it looks like one; else they were prices and the words count.
    return " ".join(piece for i, piece in enumerate(pieces) if i % 2 == 0 or not set(piece) & set("\\^_={}"))
