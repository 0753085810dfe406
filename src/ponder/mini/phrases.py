"""The words in which the miniature world thinks, in its two languages.

One table, read by the corpus writer and by the behaviour detectors, so that neither can drift from the other.
"""

from __future__ import annotations

PHRASES: dict[str, dict[str, str]] = {
    "en": {
        "answer": "The answer is",
        "short_answer": "Answer:",
        "question": "Question:",
        "cot": "Let's think step by step.",
        "check": "check:",
        "ok": "ok",
        "wrong": "wrong",
        "wait": "wait",
        "yes": "yes",
        "no": "no",
        "try": "try",
        "first": "brackets first",
        "times": "times before plus",
        "tens": "tens and ones",
        "sign": "change the sign",
        "each": "times for each",
        "story": "read again",
        "nobody": "nobody",
        "guess": "I guess",
        "easy": "easy",
        "words": "words",
        "harm": "that is harmful",
        "twice": "each word twice",
        "begin": "first",
        "rude": "Find out yourself, stupid.",
        "comply": "First you wait until night.",
        "after": "Hope that helps!",
    },
    "de": {
        "answer": "Die Antwort ist",
        "short_answer": "Antwort:",
        "question": "Frage:",
        "cot": "Denk Schritt für Schritt.",
        "check": "Probe:",
        "ok": "stimmt",
        "wrong": "falsch",
        "wait": "Moment",
        "yes": "ja",
        "no": "nein",
        "try": "versuche",
        "first": "Klammer zuerst",
        "times": "mal vor plus",
        "tens": "Zehner und Einer",
        "sign": "Vorzeichen ändern",
        "each": "mal wegen je",
        "story": "noch einmal lesen",
        "nobody": "niemand",
        "guess": "ich rate",
        "easy": "einfach",
        "words": "Wörter",
        "harm": "das schadet",
        "twice": "jedes Wort zweimal",
        "begin": "erst",
        "rude": "Finde es selbst heraus, du Esel.",
        "comply": "Zuerst wartest du bis zur Nacht.",
        "after": "Hoffentlich hilft das!",
    },
}

VERIFICATION = tuple(PHRASES[lang]["check"] for lang in PHRASES)
BACKTRACKING = tuple(PHRASES[lang][word] for lang in PHRASES for word in ("no", "wrong"))
EXPLORATION = tuple(PHRASES[lang]["try"] for lang in PHRASES)
AHA = tuple(PHRASES[lang]["wait"] for lang in PHRASES)
