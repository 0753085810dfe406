"""The filters one by one: each names the rows that it takes, with a reason (`ponder.data.filter` runs them)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of
from ponder.core.thinking import THINK_OPEN
from ponder.data.duplicates import exact_key, near_duplicates, normal_key
from ponder.data.filter_settings import FilterSettings
from ponder.data.held_out import EvaluationSet, held_out_of, problem_in
from ponder.rewards.language import share_of_language
from ponder.rewards.readability import readability
from ponder.tasks.audit import overlapping

Trace = Mapping[str, Any]
Taken = dict[int, str]
"""Place among the rows that a filter was given -> why it takes that one."""

PROBLEMS_OWN = "problem"


@dataclass(frozen=True)
class Given:
    settings: FilterSettings
    against: Sequence[EvaluationSet]
    whole: Sequence[Trace]
    """All rows that came in: a pass rate is of these."""


def verdict_of(trace: Trace, reading: str = "strict") -> bool | None:
    """The verdict of a trace; None where it is unknown, or was never graded."""
    verdict = trace.get("correct" if reading == "strict" else "correct_lenient")
    return verdict if isinstance(verdict, bool) else None


def problem_id(trace: Trace) -> str:
    return str(trace.get("id") or problem_in(trace).id)


def named(trace: Trace) -> str:
    return f"{problem_id(trace)}/{trace.get('sample', 0)}"


def _empty(rows: Sequence[Trace], given: Given) -> Taken:
    return {place: "the completion is empty" for place, row in enumerate(rows) if not row["completion"].strip()}


def _unfinished(rows: Sequence[Trace], given: Given) -> Taken:
    why = {"length": "cut at the limit of tokens", "abort": "given up by the sampler"}
    return {place: why[row["finish"]] for place, row in enumerate(rows) if row.get("finish") in why}


def _wrong(rows: Sequence[Trace], given: Given) -> Taken:
    taken = {}
    for place, row in enumerate(rows):
        verdict = verdict_of(row, given.settings.reading)
        if verdict is not True:
            taken[place] = "wrong" if verdict is False else "not known to be right"
    return taken


def _malformed(rows: Sequence[Trace], given: Given) -> Taken:
    return {place: "not well formed" for place, row in enumerate(rows) if row.get("well_formed") is not True}


def _held_out(rows: Sequence[Trace], given: Given) -> Taken:
    problems = {problem_id(row): problem_in(row) for row in rows}
    found: dict[str, str] = {}
    for one in given.against:
        looked_up = held_out_of([one])
        shared = {p.id: how for p, _, how in overlapping(problems.values(), one.problems, given.settings.ngram)}
        for name, problem in problems.items():
            if looked_up.why(problem):
                found.setdefault(name, f"in {one.name}")
            elif problem.id in shared:
                found.setdefault(name, f"shares {given.settings.ngram} words with {one.name}")
    return {place: found[problem_id(row)] for place, row in enumerate(rows) if problem_id(row) in found}


def _difficulty(rows: Sequence[Trace], given: Given) -> Taken:
    low, high = given.settings.pass_rate_above, given.settings.pass_rate_below
    rates = pass_rates(given.whole, given.settings.reading)
    taken = {}
    for place, row in enumerate(rows):
        rate = rates.get(problem_id(row))
        if rate is None:
            taken[place] = "pass rate unknown"
        elif low is not None and rate <= low:
            taken[place] = "never right" if rate == 0 else f"pass rate at most {low:g}"
        elif high is not None and rate >= high:
            taken[place] = "always right" if rate == 1 else f"pass rate at least {high:g}"
    return taken


def pass_rates(traces: Sequence[Trace], reading: str = "strict") -> dict[str, float]:
    """The share of right samples by problem id, over those whose verdict is known."""
    known: dict[str, list[bool]] = defaultdict(list)
    for row in traces:
        verdict = verdict_of(row, reading)
        if verdict is not None:
            known[problem_id(row)].append(verdict)
    return {name: sum(verdicts) / len(verdicts) for name, verdicts in known.items()}


def _language(rows: Sequence[Trace], given: Given) -> Taken:
    taken = {}
    for place, row in enumerate(rows):
        wanted = given.settings.language or PROBLEMS_OWN
        if wanted == PROBLEMS_OWN:
            wanted = str((row.get("data") or {}).get("lang") or "en")
        if share_of_language(row["completion"], wanted, "auto") < given.settings.min_language_share:
            taken[place] = f"too few words of {wanted}"
    return taken


def _length(rows: Sequence[Trace], given: Given) -> Taken:
    settings, taken = given.settings, {}
    for place, row in enumerate(rows):
        sizes = {"characters": len(row["completion"])}
        if settings.min_tokens or settings.max_tokens:
            sizes["tokens"] = _tokens(row)
        for unit, size in sizes.items():
            low, high = getattr(settings, f"min_{unit}"), getattr(settings, f"max_{unit}")
            if size < low:
                taken[place] = f"fewer than {low} {unit}"
            elif high and size > high:
                taken[place] = f"more than {high} {unit}"
    return taken


def _tokens(row: Trace) -> int:
    tokens = row.get("completion_tokens")
    if not isinstance(tokens, int):
        raise PonderError(
            f"row {named(row)}: no completion_tokens, and min_tokens or max_tokens is set; use min_characters or "
            "max_characters for rows without a count"
        )
    return tokens


def _readability(rows: Sequence[Trace], given: Given) -> Taken:
    least = given.settings.min_readability or 0.0
    taken = {}
    for place, row in enumerate(rows):
        lang = (row.get("data") or {}).get("lang")
        opened = str(row.get("prompt") or "").rstrip().endswith(THINK_OPEN)
        read = readability(row["completion"], lang, opened=opened)
        if read.score < least:
            taken[place] = f"readability below {least:g}: {read.fault}"
    return taken


def _same_question(rows: Sequence[Trace], given: Given) -> Taken:
    firsts: dict[str, int] = {}
    for place, row in enumerate(rows):
        firsts.setdefault(problem_id(row), place)
    names = list(firsts)
    texts = [rows[firsts[name]]["problem"] for name in names]
    same = _duplicates(texts, given.settings.deduplicate_questions, given.settings)
    twice = {names[place] for place in same}
    why = "the question is asked under another id"
    return {place: why for place, row in enumerate(rows) if problem_id(row) in twice}


def _same_answer(rows: Sequence[Trace], given: Given) -> Taken:
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[normal_key(row["problem"])].append(place)
    how, taken = given.settings.deduplicate, {}
    for places in groups.values():
        for at in _duplicates([rows[place]["completion"] for place in places], how, given.settings):
            taken[places[at]] = f"says the same as an earlier trace of its question ({how})"
    return dict(sorted(taken.items()))


def _duplicates(texts: Sequence[str], how: str, settings: FilterSettings) -> Sequence[int]:
    if how == "near":
        return list(near_duplicates(texts, settings.near_similarity, settings.near_ngram))
    key: Callable[[str], Any] = exact_key if how == "exact" else normal_key
    seen: set[Any] = set()
    twice = []
    for place, text in enumerate(texts):
        if key(text) in seen:
            twice.append(place)
        seen.add(key(text))
    return twice


def _surplus(rows: Sequence[Trace], given: Given) -> Taken:
    settings = given.settings
    if settings.which == "best" and rows and not any(_is_score(row.get("score")) for row in rows):
        raise PonderError("which is best, and no row has a score; grade them with a reward, or use which=shortest")
    groups: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[problem_id(row)].append(place)
    why = f"more than {settings.max_per_problem} of its problem"
    taken: Taken = {}
    for places in groups.values():
        order = sorted(places, key=lambda place: (RANKS[settings.which](rows[place], settings.seed), place))
        taken |= dict.fromkeys(order[settings.max_per_problem :], why)
    return dict(sorted(taken.items()))


def _is_score(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _size(row: Trace) -> float:
    tokens = row.get("completion_tokens")
    return float(tokens if isinstance(tokens, int) else len(row["completion"]))


RANKS: Mapping[str, Callable[[Trace, int], float]] = {
    "first": lambda row, seed: 0.0,
    "shortest": lambda row, seed: _size(row),
    "best": lambda row, seed: -float(row["score"]) if _is_score(row.get("score")) else math.inf,
    "random": lambda row, seed: float(seed_of(seed, "keep", problem_id(row), row.get("sample", 0), row["completion"])),
}
"""What the traces of a problem are ordered by; the first `max_per_problem` stay."""

FILTERS: Mapping[str, tuple[Callable[[Given], bool], Callable[[Sequence[Trace], Given], Taken]]] = {
    "empty": (lambda given: True, _empty),
    "unfinished": (lambda given: given.settings.finished, _unfinished),
    "held out": (lambda given: bool(given.against), _held_out),
    "difficulty": (
        lambda given: (given.settings.pass_rate_above, given.settings.pass_rate_below) != (None, None), _difficulty,
    ),
    "right": (lambda given: given.settings.right, _wrong),
    "form": (lambda given: given.settings.well_formed, _malformed),
    "language": (lambda given: given.settings.language is not None, _language),
    "length": (
        lambda given: any(
            getattr(given.settings, f"{end}_{unit}") for end in ("min", "max") for unit in ("tokens", "characters")
        ),
        _length,
    ),
    "readability": (lambda given: given.settings.min_readability is not None, _readability),
    "same question": (lambda given: given.settings.deduplicate_questions != "none", _same_question),
    "duplicate": (lambda given: given.settings.deduplicate != "none", _same_answer),
    "per problem": (lambda given: given.settings.max_per_problem > 0, _surplus),
}  # fmt: skip
"""The filters in their order: whether each is on, and what it takes."""
