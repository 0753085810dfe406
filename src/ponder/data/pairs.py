"""Preference pairs from scored traces: of one problem's samples, a better one and a worse one.

A pair is a row that `read_examples` and TRL load: `prompt`, `chosen`, `rejected` as messages, `chat_template_kwargs`
for its mode, and where both sides came from. Pairs are made within one mode: with the thought (`think`), or of the
answers alone (`no_think`), so that a preference for the better answer is not one for the longer text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from ponder.core.config import Settings
from ponder.core.seeds import seed_of
from ponder.core.thinking import THINK_OPEN, parse
from ponder.data.trace import messages_of

Mode = Literal["think", "no_think"]

UNFINISHED = ("length", "abort")
"""Ends of a completion that was cut: it is no example of an answer, good or bad."""


class PairSettings(Settings):
    """Which pairs are made, and how they are written."""

    rank_by: Literal["correct", "score"] = "correct"
    """correct: chosen is right and rejected wrong. score: chosen has the higher `score`, whatever is right."""
    margin: float = Field(0.0, ge=0)
    """The difference of `score` at least (with `rank_by: correct`, only where both have one)."""
    pairs_per_problem: int = Field(1, ge=1)
    """Pairs of a problem at most, in each mode; a sample is in one of them at most."""
    modes: tuple[Mode, ...] = Field(("think",), min_length=1)
    """think: samples with a thought. no_think: samples without one, and where a problem has no pair of these, the
    answers of those with one, their thoughts left out."""
    mode_pairs: int = Field(0, ge=0)
    """Besides, so many pairs of a problem at most in each mode whose sides are one right sample with its thought and
    without: chosen is the one that keeps to the mode."""
    any_form: bool = False
    """In think mode, samples without a thought may be rejected too: the form is then part of what is preferred."""
    well_formed: bool = False
    """In think mode, only well-formed samples are chosen."""
    no_thought: Literal["drop", "empty"] = "drop"
    """How a no_think answer is written: alone, or behind an empty thought (where the template adds none)."""
    inline: bool = True
    """The thought stands in the content; else in `reasoning_content`, for templates that place it themselves."""
    flag: Literal["none", "system", "user"] = "none"
    """Put `/think` or `/no_think` at the end of the system or of the user turn."""
    system: str | None = None
    """What the system turn says."""
    seed: int = 0
    """Decides between samples of equal score."""


@dataclass(frozen=True)
class PairsMade:
    """rows: the pairs, problems in the order of the traces. counts: what was there, what came of it, and why no more"""

    rows: list[dict[str, Any]]
    counts: dict[str, int]


@dataclass(frozen=True)
class _Sample:
    """A trace as a side of a pair in one mode. value: what it is ranked by. turn: what the assistant says."""

    trace: Mapping[str, Any]
    value: float
    turn: Mapping[str, str]
    bare: bool = False
    eligible: bool = True


def pairs_of(traces: Iterable[Mapping[str, Any]], settings: PairSettings) -> PairsMade:
    """Pairs from trace rows (`ponder.data.trace`).

    Traces that cannot be ranked (unknown verdict, no score), unfinished ones and empty ones make no pairs and are
    counted. The sides of a pair are never of equal score (but for `mode_pairs`), nor of equal text. A problem's pairs
    are a function of its traces and the settings: neither their order nor other problems change them.
    """
    by_problem: dict[str, list[Mapping[str, Any]]] = {}
    counts: Counter[str] = Counter({"traces": 0, "problems": 0, "problems with pairs": 0, "pairs": 0})
    for trace in traces:
        counts["traces"] += 1
        by_problem.setdefault(str(trace["id"]), []).append(trace)
    rows: list[dict[str, Any]] = []
    for problem, members in by_problem.items():
        usable = [_parted(trace) for trace in members if _usable(trace, settings, counts)]
        usable.sort(key=lambda t: seed_of(settings.seed, "pairs", problem, t.get("sample"), t["completion"]))
        made: list[dict[str, Any]] = []
        for mode in settings.modes:
            found, why = _better(usable, mode, settings)
            if not found:
                counts[f"problems without a {mode} pair: {why}"] += 1
            made += [_row(mode, "better", settings, *pair) for pair in found]
            made += [_row(mode, "mode", settings, *pair) for pair in _across(usable, mode, settings)]
        for row in made:
            counts[f"pairs, {row['mode']}, {row['provenance']['kind']}"] += 1
        counts["problems with pairs"] += bool(made)
        rows += made
    counts["problems"], counts["pairs"] = len(by_problem), len(rows)
    return PairsMade(rows, dict(counts))


def _usable(trace: Mapping[str, Any], settings: PairSettings, counts: Counter[str]) -> bool:
    if trace.get("finish") in UNFINISHED:
        why = "traces unfinished"
    elif not str(trace.get("completion") or "").strip():
        why = "traces empty"
    elif settings.rank_by == "correct" and trace.get("correct") is None:
        why = "traces of unknown verdict"
    elif settings.rank_by == "score" and trace.get("score") is None:
        why = "traces without score"
    else:
        return True
    counts[why] += 1
    return False


def _parted(trace: Mapping[str, Any]) -> dict[str, Any]:
    """The trace with thought and response, also where the file has neither."""
    parsed = parse(trace["completion"], str(trace.get("prompt") or "").rstrip().endswith(THINK_OPEN))
    told = {name: trace.get(name) for name in ("reasoning", "response")}
    if None in told.values():
        told = {"reasoning": parsed.thought, "response": parsed.rest}
    form = trace.get("well_formed")
    return {**trace, **told, "well_formed": parsed.well_formed if form is None else form}


def _thinks(trace: Mapping[str, Any]) -> bool:
    return bool(trace["reasoning"].strip())


def _answers(trace: Mapping[str, Any]) -> bool:
    return bool(trace["response"].strip())


def _value(trace: Mapping[str, Any], settings: PairSettings) -> float:
    return float(trace["score"] if settings.rank_by == "score" else trace["correct"])


def _conversation(trace: Mapping[str, Any], thought: Any, settings: PairSettings) -> list[dict[str, str]]:
    told = messages_of(trace, thought=thought, inline=settings.inline, flag=settings.flag, system=settings.system)
    return list(told["messages"])


def _thinking(trace: Mapping[str, Any], settings: PairSettings) -> _Sample:
    """With the thought; a sample that lacks thought or answer as the very text that it is."""
    whole = _thinks(trace) and _answers(trace)
    turn = {"role": "assistant", "content": trace["completion"]}
    if whole:
        turn = _conversation(trace, "keep", settings)[-1]
    eligible = whole and (trace["well_formed"] or not settings.well_formed)
    return _Sample(trace, _value(trace, settings), turn, eligible=eligible)


def _bare(trace: Mapping[str, Any], settings: PairSettings) -> _Sample:
    turn = _conversation(trace, settings.no_thought, settings)[-1]
    return _Sample(trace, _value(trace, settings), turn, bare=_thinks(trace))


def _better(
    traces: Sequence[Mapping[str, Any]], mode: str, settings: PairSettings
) -> tuple[list[tuple[_Sample, _Sample]], str]:
    """The pairs of a problem in `mode`, and why there is none ("" where there is)."""
    if mode == "think":
        return _ranked([_thinking(t, settings) for t in traces if _thinks(t) or settings.any_form], settings)
    found, why = _ranked([_bare(t, settings) for t in traces if not _thinks(t) and _answers(t)], settings)
    if found:
        return found, why
    return _ranked([_bare(t, settings) for t in traces if _thinks(t) and _answers(t)], settings)


def _ranked(samples: Sequence[_Sample], settings: PairSettings) -> tuple[list[tuple[_Sample, _Sample]], str]:
    """The best with the worst, the second best with the second worst, and so on."""
    order = sorted(samples, key=lambda sample: (-sample.value, -_score(sample)))
    left = list(order)
    pairs: list[tuple[_Sample, _Sample]] = []
    why = "fewer than two samples" if len(order) < 2 else "all of equal score"
    for better in order:
        if len(pairs) == settings.pairs_per_problem or better not in left:
            continue
        lower = [worse for worse in left if worse.value < better.value]
        if lower and not better.eligible:
            why = "the better ones are not well formed"
            continue
        wide = [worse for worse in lower if _wide(better, worse, settings)]
        other = [worse for worse in wide if worse.turn != better.turn]
        if lower and not other:
            why = "equal texts" if wide else "margin too small"
        if other:
            pairs.append((better, other[-1]))
            left.remove(better)
            left.remove(other[-1])
    return pairs, "" if pairs else why


def _score(sample: _Sample) -> float:
    score = sample.trace.get("score")
    return 0.0 if score is None else float(score)


def _wide(better: _Sample, worse: _Sample, settings: PairSettings) -> bool:
    if better.trace.get("score") is None or worse.trace.get("score") is None:
        return True
    return settings.margin == 0 or _score(better) - _score(worse) >= settings.margin


def _across(
    traces: Sequence[Mapping[str, Any]], mode: str, settings: PairSettings
) -> list[tuple[_Sample, _Sample]]:  # fmt: skip
    """A right sample that keeps to `mode` before the same one in the other mode."""
    right = [t for t in traces if t.get("correct") is True and _thinks(t) and _answers(t) and t["well_formed"]]
    both = [(_thinking(t, settings), _bare(t, settings)) for t in right[: settings.mode_pairs]]
    return both if mode == "think" else [(bare, thinking) for thinking, bare in both]


def _row(mode: str, kind: str, settings: PairSettings, chosen: _Sample, rejected: _Sample) -> dict[str, Any]:
    trace = chosen.trace
    asked = _conversation(trace, "keep" if mode == "think" else settings.no_thought, settings)[:-1]
    return {
        "id": trace["id"],
        "task": trace.get("task"),
        "prompt": asked,
        "chosen": [dict(chosen.turn)],
        "rejected": [dict(rejected.turn)],
        "mode": mode,
        "chat_template_kwargs": {"enable_thinking": mode == "think"},
        "provenance": {"stage": "pairs", "kind": kind, "chosen": _told(chosen), "rejected": _told(rejected)},
    }


def _told(sample: _Sample) -> dict[str, Any]:
    told = {name: sample.trace.get(name) for name in ("sample", "correct", "score", "finish")}
    return {**told, "thought_left_out": sample.bare, **dict(sample.trace.get("provenance") or {})}
