"""Whether a model of two modes keeps to the one that is asked for.

Two things go wrong after training on both: thinking where none is wanted (a leak), and empty thoughts where one is.
`in_mode` takes an evaluation's row apart for that, `mode_figures` makes rates of it, with intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ponder.core.thinking import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, parse
from ponder.evals.metrics import Estimate, clustered

Mode = Literal["think", "no_think"]
MODES: tuple[Mode, ...] = ("think", "no_think")

Row = Mapping[str, Any]
Ratio = Callable[[Row], tuple[float, float]]


def thought_of(text: str, opened: bool = False) -> str:
    """All that stands in thoughts, tags left out: of every `<think>` to its end, or to the text's where it has none."""
    whole = THINK_OPEN + text if opened else text
    parts = []
    while THINK_OPEN in whole:
        _, _, whole = whole.partition(THINK_OPEN)
        inside, _, whole = whole.partition(THINK_CLOSE)
        parts.append(inside)
    return "\n".join(parts)


def worked_out(text: str) -> str:
    """What a text says outside of thoughts before it answers: everything before the first `<answer>`; where there is
    none, everything before the last line."""
    while THINK_OPEN in text:
        before, _, rest = text.partition(THINK_OPEN)
        text = before + rest.partition(THINK_CLOSE)[2]
    head, tag, _ = text.partition(ANSWER_OPEN)
    return (head if tag else "\n".join(text.strip().split("\n")[:-1])).strip()


def in_mode(row: Row, mode: Mode, count: Callable[[str], int], opened: bool = False) -> dict[str, Any]:
    """The evaluation row, with what it tells of a mode.

    row: as `ponder.evals.run.judge` makes it. mode: the one that was asked for. count: tokens of a text.
    opened: the prompt's template wrote `<think>`.

    Adds `mode`; `think_tokens` (in thoughts, wherever they stand); `leaked` (not to think: a tag of a thought all the
    same; None where thinking was asked for); `worked` (not to think: working outside of any thought, before the answer:
    a leak without tags; None likewise); `empty_thought` (to think: none, or nothing in it; None where it was not asked
    for); `only_in_thought` (an answer in the thought and none behind it, in either mode); `obeyed` (to think: a thought
    with something in it, ended, and something behind it; not to think: no leak, no working, and some text).
    """
    text, parsed = str(row["output"]), parse(str(row["output"]), opened)
    thought = thought_of(text, opened)
    hidden = ANSWER_OPEN in thought and ANSWER_CLOSE in thought
    behind = parsed.rest if THINK_CLOSE in text else ("" if thought else text)
    told: dict[str, Any] = {
        "mode": mode,
        "think_tokens": count(thought) if thought else 0,
        "leaked": None,
        "worked": None,
        "empty_thought": None,
        "only_in_thought": parsed.answer is None and (hidden or bool(thought.strip() and not behind.strip())),
    }
    if mode == "think":
        told["empty_thought"] = not thought.strip()
        told["obeyed"] = bool(thought.strip()) and THINK_CLOSE in text and bool(behind.strip())
    else:
        told["leaked"] = THINK_OPEN in text or THINK_CLOSE in text
        told["worked"] = bool(worked_out(text))
        told["obeyed"] = bool(text.strip()) and not told["leaked"] and not told["worked"]
    return {**row, **told}


def _known(key: str) -> Ratio:
    return lambda row: (float(row[key] is True), float(row[key] is not None))


PROPORTIONS: dict[str, Ratio] = {
    "accuracy": _known("correct"),
    "accuracy_lenient": _known("correct_lenient"),
    "obeyed": _known("obeyed"),
    "leaked": _known("leaked"),
    "worked": _known("worked"),
    "empty_thought": _known("empty_thought"),
    "only_in_thought": _known("only_in_thought"),
    "truncated": lambda row: (float(row["finish"] == "length"), 1.0),
}
MEANS: dict[str, Ratio] = {
    "tokens": lambda row: (float(row["tokens"]), 1.0),
    "think_tokens": lambda row: (float(row["think_tokens"]), 1.0),
}
MEASURES = {**PROPORTIONS, **MEANS}


def mode_figures(rows: Sequence[Row]) -> dict[str, dict[str, Estimate]]:
    """An estimate of each of `MEASURES` for each mode that has rows; `in_mode` made them.

    Samples that the sampler gave up count nowhere, unknown verdicts in no accuracy. Intervals resample contents, as in
    `ponder.evals.summary`.
    """
    used = [row for row in rows if row["finish"] != "abort"]
    return {
        mode: _figures(part, mode) for mode in MODES if (part := [row for row in used if row["mode"] == mode])
    }  # fmt: skip


def _figures(rows: Sequence[Row], name: str) -> dict[str, Estimate]:
    contents: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        contents.setdefault((row["task"], row.get("content", row["id"])), []).append(row)
    found: dict[str, Estimate] = {}
    for ratios, proportion in ((PROPORTIONS, True), (MEANS, False)):
        sums = np.array(
            [
                [np.sum([ratio(row) for row in group], axis=0) for ratio in ratios.values()]
                for group in contents.values()
            ]
        )
        estimates = clustered(sums[..., 0], sums[..., 1], "modes", name, proportion=proportion)
        found |= dict(zip(ratios, estimates, strict=True))
    return found


def mode_metrics(rows: Sequence[Row]) -> dict[str, float]:
    """The values alone, flat: `think/accuracy`, `no_think/leaked`, …; what a mode does not have is left out."""
    return {
        f"{mode}/{name}": estimate.value
        for mode, figures in mode_figures(rows).items()
        for name, estimate in figures.items()
        if estimate.value is not None
    }
