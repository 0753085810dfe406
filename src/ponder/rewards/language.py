"""The share of words in a language, for a reward: by script, and by the commonest words within the Latin script.

Smaller than what evaluation measures with (`ponder.evals.language`, which also knows the words of arithmetic), and
counts every word of a foreign script, so that mixing scripts costs at once.
"""

from __future__ import annotations

import re

from ponder.core.thinking import TAGS

# No word that is also an English one or a term of arithmetic (plus, sin, come, car).
_COMMON = {
    "en": """the of and to is that it for on with as are this be at by from or have not but what all were when we there
        your which their if each how them then these some would make like into has two more could than first been who
        its now find may only just so because should wait let check answer question number therefore three""",
    "de": """der die das und ist nicht ein eine einer einem einen eines zu dem des mit auf für von sich auch es er sie
        wir ihr ich wie im bei oder nach aus wenn nur noch werden mehr wird sein haben kann müssen diese dieser dann
        weil dass aber zum zur sind jetzt doch zwei drei vier fünf zahl antwort frage prüfe richtig falsch""",
    "fr": """le les et est une dans pour que qui sur avec pas ce cette sont nous vous ils elle mais ou où donc alors si
        plus au aux par être avoir fait deux trois réponse nombre car puis""",
    "es": """el los las y es una para que con no por su al lo como más pero sus este esta son entre cuando muy sin sobre
        también hay donde desde entonces porque dos tres respuesta número""",
    "it": """il lo gli e è una per che con non sono del della come più ma anche questo questa quando dove perché allora
        quindi due tre risposta numero nel nella""",
}

_SCRIPTS = (
    (0x0400, 0x052F, "ru"), (0x0590, 0x05FF, "he"), (0x0600, 0x06FF, "ar"),
    (0x0900, 0x097F, "hi"), (0x0E00, 0x0E7F, "th"), (0x3040, 0x30FF, "ja"), (0x3400, 0x4DBF, "zh"),
    (0x4E00, 0x9FFF, "zh"), (0xAC00, 0xD7AF, "ko"),
)  # fmt: skip
"""First and last code point of a script, and the language it stands for. (Greek letters are mostly formulas.)"""

LANGUAGES = tuple(sorted({*_COMMON, *(language for _, _, language in _SCRIPTS)}))

_LISTS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]{2,}|[\u0400-\uffff]")
_UNSPACED = frozenset({"zh", "ja", "th"})


def share_of_language(text: str, language: str) -> float:
    """The words of `language` over the words whose language is known; 1 where there is none. Linear time.

    A word that several languages share counts for none. Single Latin letters are mostly names of unknowns.
    """
    for tag in TAGS:
        text = text.replace(tag, " ")
    inside = whole = 0.0
    for match in _WORD.finditer(text.casefold()):
        found = _language_of(match[0])
        if found:
            # Two signs of a script without spaces are about one word. Japanese is written in Chinese signs too.
            size = max(len(match[0]) / 2, 1.0) if found in _UNSPACED else 1.0
            whole += size
            inside += size if found == language or (found == "zh" and language == "ja") else 0.0
    return inside / whole if whole else 1.0


def _language_of(word: str) -> str | None:
    point = ord(word[0])
    if point >= 0x0400:
        return next((language for first, last, language in _SCRIPTS if first <= point <= last), None)
    found = [language for language, words in _LISTS.items() if word in words]
    return found[0] if len(found) == 1 else None
