"""The share of words in a language, for a reward: code, formulas and addresses left out (`plain.prose`).

Two ways to tell a word's language. By `words`: its script, and the commonest words within the Latin script; quick, and
enough for the miniature world and for scripts of their own. By `langid` (`detector.py`, an extra): sentence by
sentence, for some sixty languages. Smaller than what evaluation measures with (`ponder.evals.language`, which also
knows the words of arithmetic), and counts every word of a foreign script, so that mixing scripts costs at once.
"""

from __future__ import annotations

import re
from typing import Literal

from ponder.core.errors import PonderError
from ponder.rewards import detector
from ponder.rewards.plain import prose

Detector = Literal["auto", "words", "langid"]

# No word of the last three that is also an English one or a term of arithmetic (plus, sin, per, non, due, car).
_COMMON = {
    "en": """the of and to is that it for on with as are this be at by from or have not but what all were when we there
        your which their if each how them then these some would make like into has two more could than first been who
        its now find may only just so because should wait let check answer question number therefore three""",
    "de": """der die das und ist nicht ein eine einer einem einen eines zu dem des mit auf für von sich auch es er sie
        wir ihr ich wie im bei oder nach aus wenn nur noch werden mehr wird sein haben kann müssen diese dieser dann
        weil dass aber zum zur sind jetzt doch zwei drei vier fünf zahl antwort frage prüfe richtig falsch""",
    "fr": """le les et est une dans que qui sur avec pas ce cette sont nous vous ils elle mais ou où donc alors si
        au aux par être avoir fait deux trois réponse nombre puis""",
    "es": """el los las y es una para que con por su al lo como más pero sus este esta entre cuando muy
        también donde desde entonces porque dos tres respuesta número""",
    "it": """il lo gli e è una che con sono del della più ma anche questo questa quando dove perché allora
        quindi tre risposta numero nel nella""",
}

_SCRIPTS = (
    (0x0400, 0x052F, "ru"), (0x0590, 0x05FF, "he"), (0x0600, 0x06FF, "ar"),
    (0x0900, 0x097F, "hi"), (0x0E00, 0x0E7F, "th"), (0x3040, 0x30FF, "ja"), (0x3400, 0x4DBF, "zh"),
    (0x4E00, 0x9FFF, "zh"), (0xAC00, 0xD7AF, "ko"),
)  # fmt: skip
"""First and last code point of a script, and the language it stands for. (Greek letters are mostly formulas.)"""

LANGUAGES = tuple(sorted({*_COMMON, *(language for _, _, language in _SCRIPTS)}))
"""What `words` can tell."""

_LISTS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]{2,}|[\u0400-\uffff]")
_UNSPACED = frozenset({"zh", "ja", "th"})


def share_of_language(text: str, language: str, by: Detector = "words") -> float:
    """The words of `language` over the words whose language is known; 1 where there is none. Linear time.

    A word that several languages share counts for none. Single Latin letters are mostly names of unknowns.
    by: see `words_by_language`; `auto` takes `words` where they can tell `language`, else `langid`.
    Raises PonderError as `check_language` does.
    """
    chosen = check_language(language, by)
    counts = words_by_language(text, chosen)
    whole, inside = sum(counts.values()), counts.get(language, 0.0)
    if language == "ja" and chosen == "words":  # written in Chinese signs too; `langid` tells which by the sentence
        inside += counts.get("zh", 0.0)
    return inside / whole if whole else 1.0


def check_language(language: str, by: Detector = "auto") -> Literal["words", "langid"]:
    """Which detector tells `language`.

    Raises PonderError for a language that it cannot tell, or where `langid` is wanted and not installed.
    """
    if by == "words" or (by == "auto" and language in LANGUAGES):
        if language not in LANGUAGES:
            raise PonderError(
                f"reward 'language': {language!r} cannot be told; target is one of {', '.join(LANGUAGES)}, or of "
                f"{len(detector.CODES)} more with detector: langid"
            )
        return "words"
    if language not in detector.CODES:
        raise PonderError(
            f"reward 'language': {language!r} cannot be told; target is one of {', '.join(detector.CODES)}"
        )
    detector.identifier()
    return "langid"


def words_by_language(text: str, by: Literal["words", "langid"] = "words") -> dict[str, float]:
    """How many words of each language `text` holds, tags, code and formulas left out; unknown words are not counted.

    Two signs of a script without spaces are about one word.
    """
    if by == "langid":
        return detector.words_by_language(prose(text))
    counts: dict[str, float] = {}
    for match in _WORD.finditer(prose(text).casefold()):
        found = _language_of(match[0])
        if found:
            size = max(len(match[0]) / 2, 1.0) if found in _UNSPACED else 1.0
            counts[found] = counts.get(found, 0.0) + size
    return counts


def _language_of(word: str) -> str | None:
    point = ord(word[0])
    if point >= 0x0400:
        return next((language for first, last, language in _SCRIPTS if first <= point <= last), None)
    found = [language for language, words in _LISTS.items() if word in words]
    return found[0] if len(found) == 1 else None
