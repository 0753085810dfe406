"""Journey data: wrong paths kept, noticed and corrected, where shortcut data holds the right path alone.

O1 Replication Journey (Qin et al. 2024, arXiv 2410.18982): a student that has seen how an error is noticed and mended
learns to do so. A journey here is made of a model's own attempts: none, one or two that were verified wrong, each
followed by a reflection, then one that was verified right.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.seeds import random_of
from ponder.core.thinking import parse
from ponder.data.duplicates import normal_key
from ponder.data.filter import verdict_of
from ponder.data.held_out import HeldOut, assert_no_held_out, problem_in
from ponder.data.trace import grade
from ponder.rewards.language import words_by_language
from ponder.sampling.endpoint.wire import joined

Trace = Mapping[str, Any]
Count = Callable[[str], int]

REFLECTIONS: dict[str, tuple[str, ...]] = {
    "en": (
        "Wait, that is not right. Let me start again and look at each step.",
        "Hold on, I made a mistake there. Let me try another way.",
        "No, when I check this against the question it does not fit. Once more, from the beginning.",
        "Hmm, that cannot be the answer. Where did I go wrong? Let me do it again.",
    ),
    "de": (
        "Moment, das stimmt nicht. Ich fange noch einmal an und sehe mir jeden Schritt an.",
        "Halt, da habe ich einen Fehler gemacht. Ich versuche es anders.",
        "Nein, das passt nicht zur Frage. Noch einmal von vorn.",
        "Das kann nicht die Antwort sein. Wo lag der Fehler? Ich rechne es noch einmal.",
    ),
}
"""What stands between an attempt that failed and the next, by language, in plain words."""


class JourneySettings(Settings):
    """How journeys are put together."""

    shares: tuple[float, ...] = Field((0.3, 0.5, 0.2), min_length=1)
    """Of the journeys: without a wrong attempt before the right one, with one, with two, …; weights, summed up to 1."""
    per_problem: int = Field(1, ge=1)
    """Journeys of one problem at most, each to another right attempt."""
    max_tokens: int = Field(0, ge=0)
    """Of a whole journey; one that is longer is left out and counted. 0: no bound."""
    seed: int = 0

    @model_validator(mode="after")
    def _are_shares(self) -> JourneySettings:
        if any(share < 0 for share in self.shares) or sum(self.shares) <= 0:
            raise ValueError(f"shares is {list(self.shares)}: give weights of 0 or more, not all of them 0")
        return self


@dataclass(frozen=True)
class Journeys:
    """rows: traces whose thought is a journey; `provenance.wrong` names the samples that it holds.

    problems: with a right attempt. asked, made: journeys by wrong attempts before the right one, as the shares drew
    them and as there were attempts for. dropped: by reason.
    """

    rows: tuple[dict[str, Any], ...]
    problems: int
    asked: Mapping[int, int]
    made: Mapping[int, int]
    dropped: Mapping[str, int] = field(default_factory=dict)


def journeys(
    traces: Sequence[Trace], settings: JourneySettings, held_out: HeldOut, count: Count,
    reflections: Mapping[str, Sequence[str]] = REFLECTIONS,
) -> Journeys:  # fmt: skip
    """Journeys from the attempts of each problem, in the order of their problems.

    traces: graded attempts, several a problem. Only well-formed ones with a thought are used: right ones by both
    readings, wrong ones by both. Wrong attempts of one journey end in different answers.
    count: tokens of a text. reflections: by language; that of the wrong attempt's words decides, else the problem's own
    language, else the first of `reflections`.
    A journey is graded again as a whole. Raises PonderError for a held-out problem, or reflections of no language.
    """
    if not reflections or not all(reflections.values()):
        raise PonderError("journeys need at least one reflection in each language that is listed")
    assert_no_held_out(traces, held_out, "journey")
    rows: list[dict[str, Any]] = []
    asked: Counter[int] = Counter()
    made: Counter[int] = Counter()
    dropped: Counter[str] = Counter()
    groups = attempts_of(traces)
    for name, (right, wrong) in groups.items():
        rng = random_of(settings.seed, "journey", name)
        for goal in rng.sample(right, min(settings.per_problem, len(right))):
            wanted = rng.choices(range(len(settings.shares)), settings.shares)[0]
            before = _different(wrong, wanted, rng)
            row = _journey(before, goal, reflections, rng, count)
            asked[wanted] += 1
            if settings.max_tokens and row["completion_tokens"] > settings.max_tokens:
                dropped[f"longer than {settings.max_tokens} tokens"] += 1
            elif row["correct"] is not True:
                dropped["not right as a whole"] += 1
            else:
                made[len(before)] += 1
                rows.append(row)
    places = range(len(settings.shares))
    told = ({n: asked[n] for n in places}, {n: made[n] for n in places})
    return Journeys(tuple(rows), len(groups), *told, dict(dropped))


def attempts_of(traces: Sequence[Trace]) -> dict[str, tuple[list[Trace], list[Trace]]]:
    """By problem id: its right and its wrong attempts that can be used, each text once; problems with a right one."""
    groups: dict[str, tuple[list[Trace], list[Trace]]] = defaultdict(lambda: ([], []))
    seen: set[tuple[str, Any]] = set()
    for row in traces:
        verdict = verdict_of(row)
        whole = row.get("well_formed") and str(row.get("reasoning") or "").strip() and row.get("finish") == "stop"
        key = (str(row["id"]), normal_key(str(row["completion"])))
        if not whole or verdict is None or verdict_of(row, "lenient") is not verdict or key in seen:
            continue
        seen.add(key)
        groups[key[0]][0 if verdict else 1].append(row)
    return {name: group for name, group in groups.items() if group[0]}


def _different(wrong: Sequence[Trace], wanted: int, rng: random.Random) -> list[Trace]:
    """At most `wanted` wrong attempts, no two with the same answer."""
    chosen: dict[Any, Trace] = {}
    for row in rng.sample(wrong, len(wrong)):
        if len(chosen) < wanted:
            chosen.setdefault(normal_key(str(row["response"])), row)
    return list(chosen.values())


def _journey(
    before: Sequence[Trace], goal: Trace, reflections: Mapping[str, Sequence[str]], rng: random.Random, count: Count
) -> dict[str, Any]:
    parts = []
    for row in before:
        thought = str(row["reasoning"]).strip()
        parts += [thought, rng.choice(list(reflections[language_of(thought, row, reflections)]))]
    text = joined("\n".join([*parts, str(goal["reasoning"]).strip()]), str(goal["response"]))
    graded, parsed = grade(problem_in(goal), text), parse(text)
    provenance = {
        **dict(goal.get("provenance") or {}), "stage": "journey", "right": goal["sample"],
        "wrong": [row["sample"] for row in before],
    }  # fmt: skip
    return {
        **goal, "completion": text, "reasoning": parsed.thought, "response": parsed.rest,
        "completion_tokens": count(text), "correct": graded.correct, "correct_lenient": graded.correct_lenient,
        "well_formed": graded.well_formed, "note": graded.note, "seconds": None, "provenance": provenance,
    }  # fmt: skip


def language_of(text: str, trace: Trace, known: Mapping[str, Any]) -> str:
    """The one of `known` languages that most words of `text` are in; where none tells, the problem's own, or the first
    of `known`."""
    words = {lang: number for lang, number in words_by_language(text).items() if lang in known}
    own = str((trace.get("data") or {}).get("lang") or "")
    best = max(words, key=lambda lang: (words[lang], lang == own), default=own)
    return best if best in known else next(iter(known))


def shortcuts(traces: Sequence[Trace], made: Journeys, count: Count) -> list[dict[str, Any]]:
    """Right attempts alone, of the problems that `made` has journeys of, in as many tokens as these have.

    Round after round, each problem gives its next right attempt (the first again after the last), until the tokens are
    reached: the student sees the same problems, and as much text. `provenance.repeat` counts how often before.
    """
    groups = attempts_of(traces)
    names = list(dict.fromkeys(str(row["id"]) for row in made.rows))
    budget = sum(row["completion_tokens"] for row in made.rows)
    rows: list[dict[str, Any]] = []
    used = turn = 0
    while used < budget:
        for name in names:
            right = groups[name][0]
            goal = right[turn % len(right)]
            tokens = count(str(goal["completion"]))
            if used >= budget:
                break
            used += tokens
            provenance = {**dict(goal.get("provenance") or {}), "stage": "shortcut", "repeat": turn // len(right)}
            rows.append({**goal, "completion_tokens": tokens, "provenance": provenance})
        turn += 1
    return rows
