"""Finding the choice that a text commits itself to. See `choice.verify_choice`."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from ponder.core.thinking import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from ponder.verify.numbers import same_number

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
READ = 20_000
"""Characters of a completion that are read, from its end."""
REACH = 2_000
"""Characters that are read after a cue such as "the answer is"."""
HEDGED = "two answers, one or the other"
BOTH = "two answers where one is right"

Picks = frozenset[int]


@dataclass(frozen=True)
class Question:
    """What an answer may be: the choices as `plain` texts (or none), how many letters, whether several are right.

    cased: whether the choices differ in nothing but capitals, so that these must be right.
    """

    texts: tuple[str, ...]
    letters: int
    several: bool
    cased: bool = False


@dataclass(frozen=True)
class Read:
    """The positions of the choices that a text commits itself to; fault: why it is no answer all the same, or ""."""

    picks: Picks
    fault: str = ""


_WRAPPED = re.compile(r"\\(?:text(?:bf|it|rm|tt)?|math(?:rm|bf|it|sf)|boxed|fbox|bf|rm)\s*\{([^{}]{0,300})\}")
_LATEX = re.compile(r"\\(?:left|right|displaystyle|quad|qquad|bf|rm)\b|\\[()\[\],;:! ]|~")
_MARKS = re.compile(r"[*_`$\"“”„«»{}]+")


def clean(text: str) -> str:
    """A text without marks of emphasis, quotation marks and LaTeX around words."""
    for _ in range(2):
        text = _WRAPPED.sub(r" \1 ", text)
    return _MARKS.sub("", _LATEX.sub(" ", text)).replace("’", "'").replace("−", "-")


def plain(text: str, cased: bool = False) -> str:
    """A text as it is compared: clean, without leading articles, punctuation at its ends and (not `cased`) capitals."""
    bare = " ".join(clean(text[:2000]).split()).strip(" .,:;!?'‘")
    bare = bare if cased else bare.casefold()
    return re.sub(r"^(?:the|an?|der|die|das|eine?|to)\s+(?=\S)", "", bare)


def read_completion(text: str, question: Question) -> Read | None:
    """The commitment of a completion, its thought left out; None where there is none, or the thought never ended."""
    if THINK_CLOSE in text:
        text = text[text.rfind(THINK_CLOSE) + len(THINK_CLOSE) :]
    elif THINK_OPEN in text:
        return None
    start = text.rfind(ANSWER_OPEN)
    if start >= 0:
        text = text[start + len(ANSWER_OPEN) :].split(ANSWER_CLOSE, 1)[0]
    return read_free(text, question)


def read_free(text: str, question: Question) -> Read | None:
    """The commitment of prose: a box, else a sentence that names an answer, else a line that is one."""
    part = text[-READ:]
    boxed, end = _boxed(part, question)
    if boxed:
        later = _cued(clean(part[end:]), question)
        if later and later.picks != boxed.picks and not boxed.fault:
            return Read(frozenset(), "the box and the text after it contradict each other")
        return boxed
    cleaned = clean(part)
    return _words(part, question) or _cued(cleaned, question) or _alone(cleaned, question) or _worded(cleaned, question)


def read_bare(text: str, question: Question) -> Read | None:
    """A text that is nothing but an answer: `(B)`, `B) 12`, `**A, C**`, the words of a choice."""
    if len(text) > 4000:
        return None
    lines = [line for line in clean(text).split("\n") if line.strip(" \t.\r")]
    return _words(text, question) or (_letters(lines[0], question, whole=True) if len(lines) == 1 else None)


def _boxed(text: str, question: Question) -> tuple[Read | None, int]:
    """The last box, with the boxes joined to it by "and", "or" or a comma; and where it ends."""
    spans = box_spans(text)
    if not spans:
        return None, 0
    first, hedged = len(spans) - 1, False
    while first:
        gap = text[spans[first - 1][1] + 1 : spans[first][0]]
        gap = re.sub(r"\\(?:boxed|fbox|text)\s*\{|[\s$*.}\\]", "", gap).lower() if len(gap) < 40 else "apart"
        if (
            gap.strip(",;") not in ("", "/", "and", "or", "und", "oder", "&")
            or "\n" in text[spans[first - 1][1] : spans[first][0]]
        ):
            break
        hedged = hedged or gap.strip(",") in ("or", "oder", "/")
        first -= 1
    reads = [read_bare(text[start:end], question) for start, end in spans[first:]]
    found = [read for read in reads if read]
    if not found:
        return None, 0
    picks = frozenset[int]().union(*(read.picks for read in found))
    fault = next((read.fault for read in found if read.fault), "")
    return Read(picks, fault or (HEDGED if hedged and len(picks) > 1 else "")), spans[-1][1] + 1


def box_spans(text: str) -> list[tuple[int, int]]:
    """Where the insides of the closed `\\boxed{}` and `\\fbox{}` begin and end, the outermost of nested ones."""
    spans: list[tuple[int, int]] = []
    opened: list[int] = []  # for each open brace where a box begins, or -1
    for match in re.finditer(r"\\(?:boxed|fbox)\s{0,9}\{|\\.|[{}]", text, re.DOTALL):
        if match[0] == "}":
            start = opened.pop() if opened else -1
            if start >= 0:
                while spans and spans[-1][0] > start:
                    spans.pop()
                spans.append((start, match.start()))
        elif match[0].endswith("{") and len(match[0]) != 2:
            opened.append(match.end() if len(match[0]) > 1 else -1)
    return spans


_NOUN = (
    r"(?:answers?|ans\.?|respuesta|réponse|risposta|selected|options?|choices?|response|solution|letters?|"
    r"antwort(?:en|option|möglichkeit)?|lösung|wahl|auswahl)"
)
_SURELY = (
    r"(?:\s+(?:therefore|thus|hence|clearly|definitely|probably|likely|most\s+likely|simply|indeed|then|also|now|"
    r"somit|daher|wohl|damit|eindeutig)\b)?"
)
_CUE = re.compile(
    rf"""\b{_NOUN}(?:\s+(?:choice|option|letter|here|to\s+(?:the|this)\s+question))?
        (?:\s*(?:'s|(?:is|are|was|were|would\s+be|must\s+be|should\s+be|has\s+to\s+be|lautet|ist|sind|wäre|muss)\b|[-=]>|→|[=:–—-]|(?<=\.))
        {_SURELY}(?:\s*(?:be\b|sein\b|:))?)
      | \b(?:i|we|ich|wir)(?:'d|'m|\s+am|\s+would|\s+will|'ll)?\s+
        (?:choose|pick|select|chose|go(?:ing)?\s+with|wähle|wählen|nehme)\b
      | \b(?:it|that)'s\b | (?:^|\n)[ \t]{{0,9}}(?:=>|->|→)
      | \b(?:it|this|that|correct|right|richtig|korrekt|es)\s+
        (?:is|must\s+be|has\s+to\s+be|would\s+be|ist|sind)\b{_SURELY}\s*:?
      | \b(?:choose|pick|select|wähle)\b
      | \#{{4}}
      | \b(?:so|therefore|thus|hence|also|daher|somit|ergo)\b\s*[,:]?\s*(?=\(?[A-J]\b)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_UNSURE = re.compile(
    r"\b(?:could|might|may|can|kann|könnte|whether|if|ob|wenn|not|\w*n't|nicht|cannot|suppose|assume|why)\W*"
    r"(?:the\s+|die\s+)?$",
    re.IGNORECASE,
)
_LISTS = re.compile(r"(?:options|choices)\s*[=:-]", re.IGNORECASE)
_AFTERWARDS = re.compile(
    r"""(?<![A-Za-z0-9])\(?([A-J])(?![A-Za-z0-9'])\)?(?:\s*\([^()\n]{0,60}\))?\s+(?:is|are|ist|sind|must\s+be|would\s+be)\s+
        (?:(?:therefore|thus|clearly|also|indeed|both|damit|the|die)\s+){0,2}
        (?:[Cc]orrect|right|best|true|richtig|korrekt|answer|Antwort|only\s+correct)""",
    re.VERBOSE,
)


def _cued(text: str, question: Question) -> Read | None:
    """The last sentence that names an answer: "the answer is B", "(B) is correct"."""
    found: list[tuple[int, Read]] = []
    for match in _last(_AFTERWARDS, text):
        before = text[max(0, match.start() - 40) : match.start()]
        if not _UNSURE.search(before) and LETTERS.index(match[1]) < question.letters:
            found.append((match.start(1), _with_letters_before(before, match[1], question)))
            break
    for match in _last(_CUE, text):
        if found and match.end() < found[0][0]:
            break
        if _UNSURE.search(text[max(0, match.start() - 24) : match.start()]) or _LISTS.match(match[0]):
            continue
        if read := _after_cue(text[match.end() : match.end() + REACH], question):
            found.append((match.end(), read))
            break
    return max(found, key=lambda item: item[0])[1] if found else None


def _last(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The last hundred matches, the last first: a text with more cues than that, all empty, says nothing."""
    return list(deque(pattern.finditer(text), maxlen=100))[::-1]


def _with_letters_before(before: str, letter: str, question: Question) -> Read:
    """`A or B is correct`, `Both A and C are right`: the letters before belong to the answer."""
    picks, hedged = {LETTERS.index(letter)}, False
    while match := re.search(r"(?<![A-Za-z0-9])([A-J])\)?\s*(,\s*(?:and|or)?|and|or|und|oder|/|&)\s*$", before):
        picks.add(LETTERS.index(match[1]))
        hedged = hedged or bool(_HEDGE.search(match[2]))
        before = before[: match.start()]
    return _both(sorted(picks), hedged, question)


def _both(picks: list[int], hedged: bool, question: Question) -> Read:
    """Several letters: one choice may say just that ("Both A and B"), else they are several answers."""
    said = " and ".join(LETTERS[pick].lower() for pick in picks)
    for at, words in enumerate(question.texts):
        if words in (said, f"both {said}") and not hedged:
            return Read(frozenset({at}))
    return Read(frozenset(picks), HEDGED if hedged else "")


def _after_cue(text: str, question: Question) -> Read | None:
    lines = [line for line in text.split("\n") if line.strip(" \t:.")]
    if not lines or not text.split("\n", 1)[0].strip(" \t:.") and _in_list([_head(line) for line in lines], 0):
        return None
    line = lines[0].lstrip(" \t:")
    if words := _words(line, question) or _words(text, question):  # "neither of them", words of several sentences
        return words
    denied = re.match(r"\W*(?:not|nicht|neither|never)\b(.{0,150})", line, re.IGNORECASE)
    if denied:  # "not A but B"
        turn = re.search(r"\b(?:but|sondern)\b(?:\s+(?:rather|it\s+is))?", denied[1], re.IGNORECASE)
        line = denied[1][turn.end() :] if turn else ""
    sentence = re.split(r"(?<=[\w)])[.!](?:\s|$)", line, maxsplit=1)[0]
    if sentence.rstrip().endswith("?"):
        return None
    return _words(sentence, question) or _letters(line, question) or _prefix(sentence, question)


_LEAD = re.compile(
    r"(?:[\s:.'‘(\[-]*(?:the|die|der|option|choice|answer|letter|antwort|buchstabe|probably|definitely|either|both|"
    r"entweder|sowohl|correct|final|choices|options|letters|answers|antworten|optionen|is|ist)\b)*[\s:.'‘-]*",
    re.IGNORECASE,
)
_LETTER = re.compile(
    r"[\s'‘(\[]*(?:(?:option|choice|antwort)\s+)?[(\[]?([A-Za-z])(?![A-Za-z0-9^_]|'[a-z]|\s*[=^+]|[-/][a-z0-9])"
)
_JOIN = re.compile(
    r"['’)\]]*\s*(?:,\s*(?:(?:and|or|und|oder)\b)?|;|/|&|\+|(?:and|or|und|oder|as\s+well\s+as|sowie)\b)\s*",
    re.IGNORECASE,
)
_HEDGE = re.compile(r"\b(?:or|oder)\b|/", re.IGNORECASE)
_BESIDE = re.compile(r"[\s)\]']*(?:[.:]|[-–—](?=\s))?")
_ENDED = re.compile(r"\s*['’)\]]*\s*(?:[.,;:!?]|$)")
_GOES_ON = re.compile(
    r"\s*(?:[(–—\\-]|(?:because|since|as|which|with|for|given|due|and|or|is|weil|denn|da|und|oder|ist|by|from|based)\b)"
)


def _letters(text: str, question: Question, whole: bool = False) -> Read | None:
    """The letters that a text begins with (or, `whole`, that are all of it but the words of the choice)."""
    lead = _LEAD.match(text)
    start = end = (
        0
        if whole and not re.match(r"\W*(?:option|choice|answer|antwort|both|either)", text, re.I)
        else (lead.end() if lead else 0)
    )
    picks: list[int] = []
    hedged = False
    while (match := _LETTER.match(text, start)) and _is_letter(text, match, question, first=not picks):
        picks.append(LETTERS.index(match[1].upper()))
        end = match.end()
        join = _JOIN.match(text, end)
        if not join:
            break
        following = _LETTER.match(text, join.end())
        if following and _is_letter(text, following, question, first=False):
            hedged = hedged or bool(_HEDGE.search(join[0]))
        start = join.end()
    rest = text[end:]
    if not picks:
        return _run(text[start:], question, whole)
    if whole and not _may_follow(rest, text[:end]):
        return None
    if more := re.match(r"\s+\(?([A-Z])\)?\s*(?:[.,;]|$)", rest):
        picks.append(LETTERS.index(more[1]))
    if len(set(picks)) > 1:
        return _both(picks, hedged, question)
    said = _words(_BESIDE.sub("", rest, count=1).split("\n", 1)[0], question)
    if said and picks[0] not in said.picks:
        return Read(frozenset(picks), "the letter and the words beside it are of different choices")
    return Read(frozenset(picks))


def _is_letter(text: str, match: re.Match[str], question: Question, first: bool) -> bool:
    """Whether it is the letter of a choice and no word: not the article "a", not "I" in a sentence."""
    letter, after = match[1], text[match.end() : match.end() + 60]
    if LETTERS.index(letter.upper()) >= question.letters:
        return False
    bracketed = bool(re.match(r"[)\]]|[.:](?:\s|$)", after))
    if letter.islower():
        return bracketed or bool(_ENDED.match(after)) and (first or letter != "a")
    if letter in "AI":
        return bracketed or bool(_ENDED.match(after) or _GOES_ON.match(after))
    return True


def _may_follow(rest: str, before: str) -> bool:
    """Whether `rest` may follow letters in a text that should be nothing but the answer."""
    if not rest.strip(" \t.!\r')]"):
        return True
    if re.match(r"\s*(?:is|ist)\b", rest):
        return False
    if "(" in before or re.match(r"\s*(?:[).:\]]|[,(]|[-–—]\s|because\b|since\b|weil\b|denn\b)", rest):
        return True
    return len(rest) < 60 and bool(re.match(r"\s+\w", rest)) and before.strip() not in ("A", "I")


def _run(text: str, question: Question, whole: bool) -> Read | None:
    """`ACD`: letters in one, in order; where one is right they are two answers."""
    match = re.match(r"[\s'(\[]*([A-Z]{2,10})(?![A-Za-z0-9])[\s')\].]*", text)
    if not match or list(match[1]) != sorted(set(match[1])) or whole and match.end() < len(text):
        return None
    picks = frozenset(LETTERS.index(letter) for letter in match[1])
    if max(picks) >= question.letters:
        return None
    return Read(picks, "" if question.several else BOTH)


def _words(text: str, question: Question) -> Read | None:
    """A text that is the words, or the number, of a choice."""
    if not question.texts or len(text) > 2000:
        return None
    bare = plain(text, question.cased)
    if len(bare) == 1 and bare.upper() in LETTERS[: len(question.texts)]:
        return None  # a letter is a letter first
    same = frozenset(
        at for at, words in enumerate(question.texts) if words == bare and bare or same_number(words, bare)
    )
    return Read(same) if same else None


def _prefix(text: str, question: Question) -> Read | None:
    """A sentence that begins with the words of a choice: the longest, and no other after "or" or "and"."""
    bare = plain(text, question.cased)
    hits = [
        words for words in question.texts
        if words and bare.startswith(words) and not re.match(r"[\w^=*/+]|[.,]\d| ?[-+*/^=] ?\w", bare[len(words) :])
    ]  # fmt: skip
    if not hits:
        return None
    longest = max(hits, key=len)
    picks = frozenset(at for at, words in enumerate(question.texts) if words == longest)
    other = re.match(r"\s*,?\s*(?:or|oder|and|und)\s+(.*)", bare[len(longest) :])
    if other and any(
        words and words != longest and plain(other[1], question.cased).startswith(words) for words in question.texts
    ):
        return Read(picks, BOTH)
    return Read(picks)


_HEAD = re.compile(r"[-•\s]*\(?([A-J])(?:[).:]\s*\S|[).]?\s*$)")


def _alone(text: str, question: Question) -> Read | None:
    """A line that is nothing but an answer: the last one, else the first, and none of a list of the choices."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    heads = [_head(line) for line in lines]
    for at in (len(lines) - 1, 0) if lines else ():
        if not _in_list(heads, at) and len(lines[at]) <= REACH and (read := read_bare(lines[at], question)):
            return read
    return None


def _head(line: str) -> str:
    match = _HEAD.match(line)
    return match[1] if match else ""


def _in_list(heads: list[str], at: int) -> bool:
    """Whether a line `B) ...` stands beside one with the letter before or after."""
    if not heads[at]:
        return False
    here = LETTERS.index(heads[at])
    before, after = (heads[at - 1] if at else ""), (heads[at + 1] if at + 1 < len(heads) else "")
    return bool(before and LETTERS.index(before) == here - 1 or after and LETTERS.index(after) == here + 1)


_DENIES = re.compile(r"\b(?:not|no|never|nicht|kein\w*|or|oder|neither|except)\b|n't\b|\?")


def _worded(text: str, question: Question) -> Read | None:
    """The last line, where it holds the words of one choice and of no other, denies nothing, and is in no list."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines or not question.texts or len(lines[-1]) > 1000 or _HEAD.match(lines[-1]):
        return None
    last = plain(lines[-1], question.cased)
    if _DENIES.search(last.casefold()):
        return None
    hits = {
        words for words in question.texts
        if len(words) > 1 and re.search(rf"(?<![\w.,-]){re.escape(words)}(?![\w^]|[.,]\d)", last)
    }  # fmt: skip
    longest = {words for words in hits if not any(words != other and words in other for other in hits)}
    if len(longest) != 1:
        return None
    return Read(frozenset(at for at, words in enumerate(question.texts) if words in longest))
