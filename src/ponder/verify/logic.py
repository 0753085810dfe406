"""Answers of logic puzzles: who comes after whom, and who tells the truth. Every text gets a verdict in linear time."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ponder.core.errors import PonderError
from ponder.verify.regions import answer_region, readable
from ponder.verify.verdict import Verdict

_JOINTS = re.compile(
    r"(?:[\s,;>|&.)(\]\[:'–—<+-]|\d{1,2}(?:st|nd|rd|th)?\b|\b(?:and|then|und|dann|followed by|gefolgt von|next|finally|"
    r"lastly|zuletzt|schließlich|danach|first|second|third|fourth|fifth|sixth|last|is|ist|comes?|kommt|in|place|position|"
    r"platz|erste[rn]?|zweite[rn]?|dritte[rn]?|vierte[rn]?|fünfte[rn]?|letzte[rn]?|rank)\b|\([^()]{0,60}\))*",
    re.IGNORECASE,
)
_EITHER = re.compile(r"\b(?:or|oder)\b|/", re.IGNORECASE)
_LINKED_AFTER = re.compile(
    r"\s*(?:[,;>&]|->|\band\b|\bund\b|\n[\s*-]*\d{0,2}[.)]?)+\s*(?:and\s+|und\s+)?([^\W\d_][\w'-]*)"
)
_LINKED_BEFORE = re.compile(r"([^\W\d_][\w'-]*)\s*(?:[,;>&]|->|\band\b|\bund\b)\s*$")
_NO_NAMES = frozenset(
    "so therefore thus hence then finally answer order yes well also first note the that which since because as where "
    "this and und also daher somit wobei da weil antwort reihenfolge from with in is ist or oder".split()
)


def verify_ordering(pred: str, gold: Sequence[str] | str, form: str = "completion") -> Verdict:
    """Whether the answer names all of the given names in the given order.

    gold: the names, or a text such as "Ann, Bob, Cid" or "Ann > Bob > Cid". Read are lists with commas, "and", arrows
        or `>`, and numbered lists. Where gold has `>` or `<` these say who is before whom: `C < B < A` is `A > B > C`;
        where it is a plain list, they only divide.
    form: as in `regions.answer_region`. In unmarked prose the last full list counts.

    Another name in the list, a name twice, a name missing, both `<` and `>`, and "this or that" are wrong.
    Raises PonderError where gold names fewer than two, or one twice.
    """
    start = time.perf_counter()
    names, related = _gold_order(gold)
    text, marked = answer_region(pred, form)
    found, note = _order(readable(text), names, related, marked in ("tag", "box"))
    right = found == [name.casefold() for name in names] and not note
    if not right and not note:
        note = "another order" if found else "no answer was found"
    shown = ", ".join(found) if found else None
    return Verdict(right, "ordering", (time.perf_counter() - start) * 1000, note, shown, ", ".join(names))


def _gold_order(gold: Sequence[str] | str) -> tuple[list[str], bool]:
    related = isinstance(gold, str) and bool(re.search("[<>]", gold.replace("->", "")))
    parts = re.split(r"->|[,;><→\n]|\band\b|\bund\b", gold) if isinstance(gold, str) else list(gold)
    names = [re.sub(r"^\s*\d+[.)]\s*", "", str(part)).strip() for part in parts]
    names = [name for name in names if name]
    if related and isinstance(gold, str) and "<" in gold:
        names.reverse()
    if len(names) < 2 or len({name.casefold() for name in names}) < len(names):
        raise PonderError(f"gold order {gold!r} must name two or more, each once")
    return names, related


def _finder(names: Sequence[str]) -> re.Pattern[str]:
    parts = sorted((re.escape(name) for name in names), key=len, reverse=True)
    small = all(len(name) > 1 for name in names)
    return re.compile(rf"(?<![\w-])(?<!\w['’])(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE if small else 0)


def _order(text: str, names: list[str], related: bool, strict: bool) -> tuple[list[str], str]:
    """The names in the order of the last full list (else of the last list), and what is wrong with it."""
    places = list(_finder(names).finditer(text))
    runs: list[list[re.Match[str]]] = []
    for at, place in enumerate(places):
        joined = at and _JOINTS.fullmatch(text[places[at - 1].end() : place.start()][:200])
        if joined and place.start() - places[at - 1].end() <= 200:
            runs[-1].append(place)
        else:
            runs.append([place])
    lists = [run for run in runs if len(run) >= len(names)] or [run for run in runs if len(run) > 1]
    if not lists:
        return [], ""
    orders = [_signed(text, run, related) for run in lists]
    order, note = orders[-1]
    if strict and any(other != orders[-1] for other in orders):
        return order, "two answers where one is right"
    for (before, after), (other, _) in zip(pairwise(lists), orders, strict=False):
        gap = text[before[-1].end() : after[0].start()]
        if after is lists[-1] and other != order and len(gap) < 60 and _EITHER.search(gap) and "." not in gap:
            return order, "two answers, one or the other"
    return order, note or _stranger(text, lists[-1], strict)


def _signed(text: str, run: list[re.Match[str]], related: bool) -> tuple[list[str], str]:
    order = [place[0].casefold() for place in run]
    gaps = [text[a.end() : b.start()].replace("->", "") for a, b in pairwise(run)]
    more, less = any(">" in gap for gap in gaps), any("<" in gap for gap in gaps)
    if more and less:
        return order, "both < and > in one list"
    if more or less:  # `A > B, B > C`
        order = [name for at, name in enumerate(order) if not at or name != order[at - 1]]
    if less and related:
        order.reverse()
    return order, "a name is there twice" if len(set(order)) < len(order) else ""


def _stranger(text: str, run: list[re.Match[str]], strict: bool) -> str:
    """A name in the list that is none of the given, or ""."""
    after = _LINKED_AFTER.match(text[run[-1].end() : run[-1].end() + 80])
    before = _LINKED_BEFORE.search(text[max(0, run[0].start() - 60) : run[0].start()])
    for match in (after, before):
        if match and match[1].casefold() not in _NO_NAMES and (strict or match[1][0].isupper()):
            return f"{match[1]} is none of the names"
    return ""


TRUTHFUL = (
    "knight", "truth-teller", "truth teller", "truthteller", "truthful", "honest", "saint", "hero", "angel", "altruist",
    "sage", "pioneer", "true", "telling the truth", "tells the truth", "tell the truth", "ritter", "wahrheitssager",
    "wahrsager", "ehrlich", "ehrlicher", "ehrliche", "sagt die wahrheit", "sagt immer die wahrheit",
    "sagen die wahrheit", "always tells the truth", "wahr", "wahrhaftig", "wahrheitsliebend",
)  # fmt: skip
LYING = (
    "knave", "liar", "lying", "lies", "lie", "tells lies", "dishonest", "sinner", "villain", "devil", "egoist", "fool",
    "laggard", "false", "schurke", "lügner", "lügnerin", "lügt", "lügen", "knappe", "unehrlich", "falsch",
    "sagt die unwahrheit", "lügender", "always lies", "spy",
)  # fmt: skip
_PLURALS = r"(?:s|es|n|en|innen|in)?"


def verify_truth_tellers(
    pred: str,
    gold: Mapping[str, bool | str] | str,
    form: str = "completion",
    roles: tuple[str, str] | None = None,
) -> Verdict:
    """Whether the answer says of each person, rightly, whether they tell the truth.

    gold: name -> whether truthful (or the word for it: "knight", "liar"), or a text ("A is a knight, B is a knave").
    roles: further words for the two, the truthful first. Known are knight and knave, truth-teller and liar, Ritter and
        Schurke or Lügner, and the pairs of reasoning-gym (saint and sinner, hero and villain, ...).
    form: as in `regions.answer_region`. Read are sentences ("A and B are knights", "C is not a knight"), lists
        ("Knights: A, B"), tables and `A = knight`, in English and German; suppositions and reported
        speech are left out.

    Contradicting statements, a list of several possibilities, a person left out and a person not in gold are wrong.
    Raises PonderError for a gold that says nothing.
    """
    start = time.perf_counter()
    words = _roles(roles)
    wanted = _gold_roles(gold, words)
    text, marked = answer_region(pred, form)
    found, note = _statements(readable(text), list(wanted), words)
    if note and not marked:
        found, note = _last_paragraph(readable(text), list(wanted), words)
    if not note and set(found) != set(wanted):
        note = "no answer was found" if not found else f"nothing is said of {sorted(set(wanted) - set(found))[0]}"
    right = not note and found == wanted
    milliseconds = (time.perf_counter() - start) * 1000
    return Verdict(right, "truth-tellers", milliseconds, note, _shown(found) if found else None, _shown(wanted))


def _shown(found: Mapping[str, bool]) -> str:
    return ", ".join(f"{name}: {'truthful' if found[name] else 'lying'}" for name in sorted(found))


def _roles(extra: tuple[str, str] | None) -> dict[str, bool]:
    words = dict.fromkeys(TRUTHFUL, True) | dict.fromkeys(LYING, False)
    if extra:
        if len(extra) != 2 or not all(isinstance(word, str) and word.strip() for word in extra):
            raise PonderError(f"roles must be two words, the truthful one first, but are {extra!r}")
        words |= {extra[0].strip().lower(): True, extra[1].strip().lower(): False}
    return words


def _gold_roles(gold: Mapping[str, bool | str] | str, words: dict[str, bool]) -> dict[str, bool]:
    wanted: dict[str, bool] = {}
    if isinstance(gold, str):
        role = "|".join(sorted((re.escape(word) for word in words), key=len, reverse=True))
        pattern = rf"([^\W\d_][\w'-]*)\s*(?:is|ist|are|:|=)\s*(?:an?\s+|eine?\s+|the\s+)?({role})\b"
        for name, word in re.findall(pattern, gold, re.IGNORECASE):
            wanted[name] = words[word.lower()]
    else:
        for name, value in gold.items():
            known = value if isinstance(value, bool) else words.get(str(value).strip().lower())
            if known is None:
                raise PonderError(f"gold says {value!r} of {name}: give True (truthful) or False, or a known word")
            wanted[str(name)] = known
    if not wanted:
        raise PonderError(f"gold {gold!r} says of nobody whether they tell the truth")
    return wanted


def _tokens(names: list[str], words: dict[str, bool]) -> re.Pattern[str]:
    role = "|".join(sorted((re.escape(word).replace(r"\ ", r"\s+") for word in words), key=len, reverse=True))
    ordered = sorted(names, key=len, reverse=True)
    people = "|".join(re.escape(name) if len(name) == 1 else f"(?i:{re.escape(name)})" for name in ordered)
    return re.compile(
        rf"""(?P<name>(?<![\w-])(?<!\w['’])(?:{people})(?![\w-]))
          | (?P<role>\b(?i:{role}){_PLURALS}\b)
          | (?P<no>\b(?i:not|never|neither|nor|nicht|kein|keine|keiner|weder|noch)\b|\b\w{{1,12}}n't\b)
          | (?P<link>\b(?i:is|are|was|were|ist|sind|be|sein|being)\b|[=:(|]|->|[–—-])
          | (?P<everyone>\b(?i:all|everyone|everybody|alle|jeder)\b)
          | (?P<both>\b(?i:both|beide)\b)
          | (?P<maybe>\b(?i:if|suppose|supposing|assume|assuming|says?|said|claims?|claimed|states?|stated|would|could|
              might|whether|wenn|falls|angenommen|behauptet|könnte|wäre|thinks?)\b)
          | (?P<either>\b(?i:or|oder|either|entweder)\b)
          | (?P<turn>\b(?i:but|while|whereas|aber|während)\b)
          | (?P<stop>[.;\n!?])
          | (?P<word>[^\W\d_][\w'-]*)""",
        re.VERBOSE,
    )


def _statements(text: str, names: list[str], words: dict[str, bool]) -> tuple[dict[str, bool], str]:
    """What a text says of each name; and why it is no answer, or ""."""
    known = {name.casefold(): name for name in names} | {name: name for name in names}
    said: dict[str, bool] = {}
    pending: list[str] = []
    role: bool | None = None  # a role that waits for its names: "Knights: A, B"
    listing = no = maybe = False
    filler = 0
    last = ""
    for token in _tokens(names, words).finditer(text):
        kind, word = token.lastgroup or "", token[0]
        if kind == "stop" or kind == "turn":
            pending, role, listing, no, filler = [], None, False, False, 0
            maybe = maybe and kind == "turn"
            last = ""
            continue
        if maybe:
            continue
        if kind == "maybe":
            maybe = True
        elif kind == "either":
            if said or pending or role is not None:
                return said, "two answers, one or the other"
        elif kind == "no":
            no = True
        elif kind == "both":
            pending = pending or (list(names) if len(names) == 2 else [])
        elif kind == "everyone":
            pending = list(names)
        elif kind == "link":
            listing = role is not None
        elif kind == "name":
            word = known.get(word) or known[word.casefold()]
            if listing and role is not None:
                if said.setdefault(word, role) != role:
                    return said, f"two statements on {word}"
            else:
                pending, role, filler = [*dict.fromkeys([*pending, word])], None, 0
        elif kind == "role":
            truthful = _role_of(word, words) != no
            if not pending and last and last[0].isupper() and last.lower() not in _NO_PEOPLE:
                return said, f"{last} is none of the persons"
            for name in pending:
                if said.setdefault(name, truthful) != truthful:
                    return said, f"two statements on {name}"
            role, listing = (None, False) if pending else (truthful, False)
            pending, no, filler = [], False, 0
        elif kind == "word":
            filler += 1
            if filler > 6:
                pending = []
        if kind == "word" and text[token.end() : token.end() + 4].strip()[:2] in ("is", "ar", "=", ":", "si"):
            last = word
        elif kind not in ("link", "no") and not (kind == "word" and word.lower() in _ARTICLES):
            last = ""
    return said, ""


_ARTICLES = frozenset("a an the ein eine der die das definitely clearly also therefore".split())
_NO_PEOPLE = frozenset(
    "he she it this that who there one they these those everyone nobody answer solution statement conclusion er sie es "
    "dies wer das antwort lösung so thus therefore hence knights knaves person name role which what".split()
)


def _role_of(word: str, words: dict[str, bool]) -> bool:
    plain = " ".join(word.lower().split())
    for end in ("", "s", "es", "n", "en", "innen", "in"):
        if plain.endswith(end) and (bare := plain[: len(plain) - len(end)]) in words:
            return words[bare]
    return False


_CASES = re.compile(
    r"\b(?:possib|case \d|option \d|scenario|alternativ|fall \d|möglichkeit|solution \d)", re.IGNORECASE
)


def _last_paragraph(text: str, names: list[str], words: dict[str, bool]) -> tuple[dict[str, bool], str]:
    """In prose that says different things along the way, what its last paragraph says, if that is one answer."""
    for part in reversed(re.split(r"\n\s*\n", text)):
        said, note = _statements(part, names, words)
        if said or note:
            return said, "several possibilities" if _CASES.search(part) else note
    return {}, ""
