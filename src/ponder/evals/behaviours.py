"""What a model does while it thinks: spans that a person can audit, counted per response and per 1,000 tokens.

A hit is a fixed phrase at word boundaries, found with `str.find`, so reading is linear in the text whatever it holds.
Words are weak evidence of skill: the counts are always given among right and among wrong answers too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ponder.core.types import Group
from ponder.evals.language import language_mixing

PHRASES: dict[str, tuple[str, ...]] = {
    "self_verification": (
        "check:", "let me check", "let's check", "i'll check", "i should check", "we can check", "checking", "check if",
        "check that", "check whether", "check this", "check my", "double-check", "double check", "cross-check",
        "sanity check", "verify", "verifying", "verification", "to confirm", "let me confirm", "let me make sure",
        "to make sure", "plug it back", "plugging back", "plug back", "substitute back", "substituting back",
        "does that make sense", "does this make sense", "is that right?", "is that correct?",
        "probe:", "kontrolle", "ich prüfe", "prüfen wir", "zur probe", "überprüfe", "überprüfen", "nachrechnen",
    ),
    "backtracking": (
        "no,", "no:", "wrong", "that's not right", "that is not right", "not correct", "incorrect", "too big",
        "too small", "too large", "too high", "too low", "doesn't work", "does not work", "didn't work", "won't work",
        "not working", "mistake", "made an error", "go back", "going back", "backtrack", "start over", "start again",
        "scratch that", "doesn't match", "does not match", "dead end",
        " no\n", " nein\n", "nein,", "nein:", "falsch", "zu groß", "zu klein", "passt nicht", "stimmt nicht",
        "geht nicht", "zurück zu",
    ),
    "exploration": (
        "try", "trying", "alternatively", "alternative", "another way", "another approach", "another method",
        "different approach", "different way", "what if", "maybe", "perhaps", "suppose", "let's consider",
        "let me consider", "versuche", "versuch", "versuchen", "probiere", "probieren", "alternativ", "vielleicht",
        "angenommen",
    ),
    "aha": (
        "wait", "hmm", "hold on", "aha", "oh,", "oh!", "oh no", "actually", "i see", "now i see", "i realize",
        "i realise", "moment,", "moment:", "moment mal", "\nmoment\n", "warte", "ach so", "halt,",
    ),
    "refinement": (
        "so better", "better:", "more precisely", "to be precise", "more carefully", "let me refine", "refine",
        "let me redo", "redo", "let me recalculate", "recalculate", "recompute", "let me rewrite", "let me rephrase",
        "let me reconsider", "reconsider", "improve", "correction:", "corrected",
        "also besser", "besser:", "genauer", "korrigiert", "korrektur",
    ),
    "decomposition": (
        "first,", "firstly", "second,", "secondly", "next,", "finally,", "step by step", "step 1", "step 2", "step 3",
        "step 4", "step 5", "break it down", "break this down", "break down", "case 1", "case 2", "part 1", "part 2",
        "let's start by", "let me start by", "to begin",
        "zuerst", "zunächst", "erstens", "zweitens", "danach", "schließlich", "schritt",
    ),
}  # fmt: skip
"""Behaviour -> the phrases that show it, in lower case, English and German. A phrase that starts or ends with a
letter or a digit must do so at a word's edge; `check:` with a colon is the label, not the verb. Blanks and line ends
around a phrase are its surroundings, not part of the hit: a line that ends in "no" rejects a try, the word elsewhere
does not."""

NAMES = tuple(PHRASES)
SHARES = ("language_mixing", "repetition")
"""The two that are a share of the text (0 to 1) instead of a count."""

CLOSE = 16
"""Two different phrases of one behaviour at most this many characters apart, on one line ("no, 12 is too big"), are
one hit."""

APART = frozenset({"decomposition"})
"""Behaviours whose phrases always count one by one: "first, …" and "next, …" are two steps however short they are."""

REPEAT_N = 4
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Span:
    """One hit: `text[start:end]` shows the behaviour `name`; `phrase` is the entry of the table that found it."""

    name: str
    start: int
    end: int
    phrase: str


def spans(text: str, phrases: Mapping[str, Sequence[str]] = PHRASES) -> list[Span]:
    """Every hit in `text`, by place. Hits of one behaviour never overlap; those of different behaviours may."""
    low = _lower(text)
    found: list[Span] = []
    for name, entries in phrases.items():
        found += _joined(low, sorted(_hits(low, name, entries), key=lambda span: (span.start, -span.end)))
    return sorted(found, key=lambda span: (span.start, span.end, span.name))


def _lower(text: str) -> str:
    """Lower case of the same length, so that places agree (the Turkish İ would grow by one)."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


def _hits(low: str, name: str, entries: Iterable[str]) -> Iterable[Span]:
    for phrase in entries:
        bare = phrase.strip()
        before = phrase.index(bare)
        at = low.find(phrase)
        while at >= 0:
            end = at + len(phrase)
            if _edge(low, at, phrase[0]) and _edge(low, end, phrase[-1]):
                yield Span(name, at + before, at + before + len(bare), bare)
            at = low.find(phrase, at + before + len(bare))


def _edge(low: str, at: int, char: str) -> bool:
    """Whether a phrase whose outermost character is `char` may begin or end between low[at - 1] and low[at]."""
    return not (char.isalnum() and 0 < at < len(low) and low[at - 1].isalnum() and low[at].isalnum())


def _joined(low: str, ordered: Sequence[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in ordered:
        last = kept[-1] if kept else None
        if last and span.start < last.end:
            if span.end > last.end:
                kept[-1] = Span(last.name, last.start, span.end, last.phrase)
        elif (
            last
            and span.phrase != last.phrase
            and span.name not in APART
            and span.start - last.end <= CLOSE
            and "\n" not in low[last.end : span.start]
        ):
            kept[-1] = Span(last.name, last.start, span.end, last.phrase)
        else:
            kept.append(span)
    return kept


def repetition(text: str, n: int = REPEAT_N) -> float:
    """The share of word n-grams that occurred before in the same text (seq-rep-n, Welleck et al. 2020, arXiv
    1908.04319):
    0 for text that never repeats itself, near 1 for a loop."""
    words = _WORDS.findall(text)
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def measure(text: str, language: str | None = None) -> dict[str, float]:
    """All behaviours of one response: a count for each of NAMES, a share for each of SHARES.

    language: the language that the response should be in (`en`, `de`); None takes the one it mostly is in.
    """
    counts = dict.fromkeys(NAMES, 0.0)
    for span in spans(text):
        counts[span.name] += 1
    return {**counts, "language_mixing": language_mixing(text, language), "repetition": repetition(text)}


def behaviour_sums(
    measured: Iterable[Mapping[str, float]], correct: Iterable[bool | None], tokens: Iterable[int]
) -> dict[str, float]:
    """Sums over responses from which `behaviour_metrics` takes its rates. Sums of shards simply add up, key by key.

    measured: what `measure` gave for each response. correct: its verdict (None, unknown, counts in neither part).
    tokens: its length.
    """
    sums: dict[str, float] = {"responses": 0.0, "responses/right": 0.0, "responses/wrong": 0.0, "tokens": 0.0}
    for name in NAMES + SHARES:
        sums.update({name: 0.0, f"{name}/right": 0.0, f"{name}/wrong": 0.0})
    for name in NAMES:
        sums[f"{name}/having"] = 0.0
    for values, verdict, length in zip(measured, correct, tokens, strict=True):
        part = None if verdict is None else "right" if verdict else "wrong"
        sums["responses"] += 1
        sums["tokens"] += length
        if part:
            sums[f"responses/{part}"] += 1
        for name in NAMES + SHARES:
            sums[name] += values[name]
            if part:
                sums[f"{name}/{part}"] += values[name]
        for name in NAMES:
            sums[f"{name}/having"] += values[name] > 0
    return sums


def group_sums(groups: Iterable[Group]) -> dict[str, float]:
    """`behaviour_sums` of all rollouts of `groups`; the language to keep to is the problem's own, `data["lang"]`."""
    pairs = [(group.problem, rollout) for group in groups for rollout in group.rollouts]
    return behaviour_sums(
        [measure(rollout.completion.text, problem.data.get("lang")) for problem, rollout in pairs],
        [rollout.score.correct for _, rollout in pairs],
        [len(rollout.completion.token_ids) for _, rollout in pairs],
    )


def behaviour_metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a batch under their names in `metrics.jsonl`.

    `behaviour/X`: hits a response (for SHARES the mean share); `behaviour/X/right` and `/wrong`: the same among right
    and among wrong answers; `behaviour/X/share`: responses with at least one hit; `behaviour/X/per_1k_tokens`. A rate
    with nothing below it (no right answer yet) is left out.
    """
    metrics: dict[str, float] = {}

    def put(key: str, top: float, bottom: float) -> None:
        if bottom > 0:
            metrics[f"behaviour/{key}"] = top / bottom

    for name in NAMES + SHARES:
        put(name, sums[name], sums["responses"])
        put(f"{name}/right", sums[f"{name}/right"], sums["responses/right"])
        put(f"{name}/wrong", sums[f"{name}/wrong"], sums["responses/wrong"])
    for name in NAMES:
        put(f"{name}/share", sums[f"{name}/having"], sums["responses"])
        put(f"{name}/per_1k_tokens", 1000 * sums[name], sums["tokens"])
    return metrics
