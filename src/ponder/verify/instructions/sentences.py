"""Counting sentences, words and capital words as IFEval's reference counts them, without NLTK or its data.

The reference counts sentences with NLTK's Punkt model of English and capital words with NLTK's word tokenizer. Both are
rebuilt here from their rules: Punkt's learned tables are replaced by a list of abbreviations and of words that start
sentences, so a count may differ by one where an abbreviation or an initial stands before a capital letter.
Everything is linear in the text.
"""

from __future__ import annotations

import re
from functools import lru_cache

ABBREVIATIONS = frozenset(
    # titles and names of firms
    "adm col corp co cos cie inc ltd bros gen lt maj messrs mr mrs ms dr prof rep reps sen sr jr st ave ph.d m.b.a "
    # time and measures
    "a.m p.m p.a.m a.d jan feb aug sep sept oct nov dec tues wed fri yr ft mg chg vs "
    # states and countries
    "ala ariz calif colo conn fla ga ill kan ky mich minn nev okla ore pa tenn va vt wash wis w.va d.c l.a "
    "n.c n.d n.h n.j n.m n.y r.i s.c s.d u.k u.n u.s u.s.a u.s.s.r "
    # letters that mostly stand for a name; the others may end a sentence ("plan B. Then ...")
    "c d e f g h k l m n p r s t v w".split()
)
STARTERS = frozenset(
    "a according after all also although among an and another as at because before both but by consequently despite "
    "during each even every finally first for from further furthermore he hence her here his how however i if in "
    "indeed instead it its just later let many maybe meanwhile moreover most much my nevertheless next no nonetheless "
    "nor not now of on once one only or other our perhaps she similarly since so some soon still such that the their "
    "then there therefore these they this those though through thus to today under unfortunately until we what when "
    "where whether which while who whose why with without yes yet you your".split()
)
_CLOSERS = frozenset("\"')]}‘’“”«»")
_NON_WORD = ")\";}*:@'({[!?\\]‘’“”«»"
_INNER_END = re.compile(rf"(?s).*[.?!](?=[{_NON_WORD}])")
_BEFORE = re.compile(r"[)\";}\]*:@({\[!?‘’“”«»,`&#]")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")


def count_words(text: str) -> int:
    """Runs of letters, digits and underscores: `don't` counts two, as in the reference."""
    return len(re.findall(r"\w+", text))


def count_sentences(text: str) -> int:
    """The number of sentences; 0 for a blank text."""
    words = text.split()
    found, opened, skip = 0, False, False
    for at, word in enumerate(words):
        after = words[at + 1] if at + 1 < len(words) else ""
        if skip:
            skip = False  # a closing quote or bracket that stands alone belongs to the sentence before
            continue
        opened = True
        if "." not in word and "?" not in word and "!" not in word:
            continue
        end = len(word)
        if word[-1] not in ".?!" or not after:
            match = _INNER_END.match(word)
            if not match:
                continue
            end = match.end()
        rest = word[end:]
        if not _ends(word[max(0, end - 80) : end], rest[:80] or after[:80]):
            continue
        found += 1
        opened = bool(rest) and not _closing(rest)
        skip = not rest and _closing(after)
    return found + opened


def _closing(piece: str) -> bool:
    return all(letter in _CLOSERS for letter in piece)


@lru_cache(maxsize=4096)
def _ends(word: str, follower: str) -> bool:
    """Whether the full stop, question or exclamation mark at the end of `word` ends a sentence before `follower`."""
    if word[-1] in "?!":
        return True
    if word.endswith(".."):
        return follower[0].isupper()
    core = _BEFORE.split(word[:-1])[-1].lower()
    plain = follower.strip("\"'()[]{}*_.,;:!?").lower()
    if core in ABBREVIATIONS or core.rsplit("-", 1)[-1] in ABBREVIATIONS:
        return len(core) > 1 and follower[0].isupper() and plain in STARTERS
    if len(core) == 1 and core.isalpha():
        if core == "j" and follower[0].isupper():
            return plain in STARTERS  # "J. Bach", but "Box A. Put it down."
        return not (follower[0].islower() or follower[0] in ";:,.!?")
    if _NUMBER.fullmatch(core):
        return not (follower[0].islower() or follower[0] in ";:,.!?")
    return True


_SPLIT = re.compile(r"[«“‘„»”’`\"\[\](){}<>;@#$%&?!*\u2012-\u2015]+|[:,](?!\d)|--|\.{2,}|''")
_CLITIC = re.compile(r"(.+?)('[sSmMdD]|'ll|'LL|'re|'RE|'ve|'VE|n't|N'T|')", re.DOTALL)
_DOUBLE = frozenset("CANNOT D'YE GIMME GONNA GOTTA LEMME MORE'N WANNA".split())


def count_capital_words(text: str) -> int:
    """Words without a small letter, cut as NLTK cuts them: `I'M` and `CANNOT` count two, `TOP-NOTCH` and `U.S.` one."""
    return sum(_short(word) if len(word) < 30 else _capitals(word) for word in text.split() if not word.islower())


def _capitals(word: str) -> int:
    found = 0
    for piece in _SPLIT.split(word):
        if "'" in piece[-4:] and (match := _CLITIC.fullmatch(piece.rstrip("."))):
            found += match[1].isupper() + match[2].isupper()
        elif piece.isupper():
            found += 1 + (piece.rstrip(".") in _DOUBLE)
    return found


_short = lru_cache(maxsize=4096)(_capitals)  # short words only, so that the cache stays small
