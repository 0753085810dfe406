"""From rows to figures: every rate is a ratio of two sums over rows, so one table serves summaries and comparisons
alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ponder.evals.behaviours import NAMES, SHARES
from ponder.evals.metrics import Estimate, clustered, maj_at_k, paired_ratio, pass_at_k, wilson

Row = Mapping[str, Any]
Ratio = Callable[[Row], tuple[float, float]]
"""Row -> (what it adds to the numerator, what it adds to the denominator)."""

FEWEST = 10
"""A verdict on a difference needs at least this many paired problems."""


def _known(key: str) -> Ratio:
    return lambda row: (float(row[key] is True), float(row[key] is not None))


def _share(test: Callable[[Row], bool]) -> Ratio:
    return lambda row: (float(test(row)), 1.0)


def _extracted(row: Row) -> tuple[float, float]:
    counts = row["answer"] is not None and row["correct_lenient"] is not None
    return float(counts and row["correct_lenient"]), float(counts)


PROPORTIONS: dict[str, Ratio] = {
    "accuracy": _known("correct"),
    "accuracy_lenient": _known("correct_lenient"),
    "accuracy_given_extraction": _extracted,
    "format_rate": _share(lambda row: row["well_formed"]),
    "extraction_rate": _share(lambda row: row["answer"] is not None),
    "format_only_rate": _share(lambda row: row["well_formed"] and row["correct"] is False),
    "right_but_malformed_rate": _share(lambda row: row["correct_lenient"] is True and not row["well_formed"]),
    "truncation_rate": _share(lambda row: row["finish"] == "length"),
}
"""Rates between 0 and 1. extraction: an `<answer>` stands outside the thought, whatever else is wrong with the form.
format_only: the form is right and the answer is not."""

MEANS: dict[str, Ratio] = {
    "mean_length": lambda row: (row["tokens"], 1.0),
    "mean_length/right": lambda row: (row["tokens"] * (row["correct"] is True), float(row["correct"] is True)),
    "mean_length/wrong": lambda row: (row["tokens"] * (row["correct"] is False), float(row["correct"] is False)),
}


def _behaviour(name: str, kind: str = "") -> Ratio:
    if kind == "right":
        return lambda row: (row["behaviours"][name] * (row["correct"] is True), float(row["correct"] is True))
    if kind == "wrong":
        return lambda row: (row["behaviours"][name] * (row["correct"] is False), float(row["correct"] is False))
    if kind == "share":
        return lambda row: (float(row["behaviours"][name] > 0), 1.0)
    if kind == "per_1k_tokens":
        return lambda row: (1000.0 * row["behaviours"][name], row["tokens"])
    return lambda row: (row["behaviours"][name], 1.0)


for _name in NAMES:
    PROPORTIONS[f"behaviour/{_name}/share"] = _behaviour(_name, "share")
    MEANS[f"behaviour/{_name}/per_1k_tokens"] = _behaviour(_name, "per_1k_tokens")
for _name in NAMES + SHARES:
    MEANS[f"behaviour/{_name}"] = _behaviour(_name)
    MEANS[f"behaviour/{_name}/right"] = _behaviour(_name, "right")
    MEANS[f"behaviour/{_name}/wrong"] = _behaviour(_name, "wrong")


def _rechecked(row: Row) -> tuple[float, float]:
    right = row["correct"] is True
    hits = row["behaviours"]["self_verification"] + row["behaviours"]["backtracking"]
    return float(right and hits > 0), float(right)


# The share of right answers with at least one check or one step taken back.
PROPORTIONS["checks_or_backtracks/right"] = _rechecked

MEASURES: dict[str, Ratio] = {**PROPORTIONS, **MEANS}

COMPARED = (
    "accuracy", "accuracy_lenient", "format_rate", "truncation_rate", "mean_length", "mean_length/right",
    *(f"behaviour/{name}" for name in NAMES + SHARES),
    *(f"behaviour/{name}/right" for name in NAMES), "checks_or_backtracks/right",
)  # fmt: skip


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures over all rows and per task: `{"overall": {...}, "tasks": {name: {...}}}`.

    Each holds `problems`, `samples`, `samples_per_problem` (the most of any problem), `unknown` and `aborted` (counted,
    and left out of every rate), and an interval (`metrics.Estimate` as a dict) for each of MEASURES, and for `avg@k`,
    `pass@k` and `maj@k`, k a power of two and the number of samples. With one sample a problem proportions carry
    Wilson's interval, else resampling of whole problems (the wordings of one content as one). avg@k is the mean
    accuracy (what "pass@1" mostly means elsewhere).
    """
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(row["task"], []).append(row)
    return {"overall": _figures(rows, "overall"), "tasks": {task: _figures(part, task) for task, part in tasks.items()}}


def _figures(rows: Sequence[Row], name: str) -> dict[str, Any]:
    used = [row for row in rows if row["finish"] != "abort"]
    groups = _by_problem(used)
    most = max(map(len, groups.values()), default=0)
    figures: dict[str, Any] = {
        "problems": len(_by_problem(rows)),
        "samples": len(rows),
        "samples_per_problem": most,
        "unknown": sum(row["correct"] is None or row["correct_lenient"] is None for row in used),
        "aborted": len(rows) - len(used),
    }
    for measure, estimate in _estimates(_by_content(groups), name).items():
        figures[measure] = estimate.as_dict()
    if most:
        figures[f"avg@{most}"] = figures["accuracy"]
    for k in sorted({2**i for i in range(most.bit_length())} | {most} if most else ()):
        for label, estimate in _at_k(groups, k, name).items():
            figures[label] = estimate.as_dict()
    return figures


def _by_problem(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["id"], []).append(row)
    return groups


def _by_content(groups: Mapping[str, Sequence[Row]]) -> list[list[Row]]:
    """The rows of problems that are one content in several wordings, together: they are not independent, so intervals
    resample them as one."""
    contents: dict[tuple[str, str], list[Row]] = {}
    for problem, rows in groups.items():
        contents.setdefault((rows[0]["task"], rows[0].get("content", problem)), []).extend(rows)
    return list(contents.values())


def _sums(groups: Sequence[Sequence[Row]], measures: Mapping[str, Ratio]) -> tuple[np.ndarray, np.ndarray]:
    """top_PM and bottom_PM: numerators and denominators, summed over each problem's samples."""
    if not groups:
        return np.zeros((0, len(measures))), np.zeros((0, len(measures)))
    values_RM2 = np.array(
        [[measure(row) for measure in measures.values()] for group in groups for row in group], dtype=float
    )
    starts_P = np.cumsum([0, *map(len, groups)])[:-1]
    sums_PM2 = np.add.reduceat(values_RM2, starts_P, axis=0)
    return sums_PM2[..., 0], sums_PM2[..., 1]


def _estimates(groups: Sequence[Sequence[Row]], name: str) -> dict[str, Estimate]:
    estimates: dict[str, Estimate] = {}
    for measures, proportion in ((PROPORTIONS, True), (MEANS, False)):
        top_PM, bottom_PM = _sums(groups, measures)
        if proportion and all(len(group) == 1 for group in groups):
            tops, bottoms = top_PM.sum(0), bottom_PM.sum(0)
            found = [wilson(int(top), int(bottom)) for top, bottom in zip(tops, bottoms, strict=True)]
        else:
            found = clustered(top_PM, bottom_PM, "summary", name, proportion=proportion)
        estimates.update(zip(measures, found, strict=True))
    return estimates


def vote_of(row: Row) -> str | None:
    """What a sample votes for: its answer without case and spacing where it is well formed, else nothing."""
    return " ".join(row["answer"].split()).casefold() if row["well_formed"] and row["answer"] is not None else None


def _at_k(groups: Mapping[str, Sequence[Row]], k: int, name: str) -> dict[str, Estimate]:
    """pass@k and maj@k over the problems with at least k known samples."""
    sums: dict[tuple[str, str], np.ndarray] = {}  # by content: what passes, what is voted right, how many problems
    for problem, group in groups.items():
        known = [row for row in group if row["correct"] is not None]
        if len(known) >= k:
            correct = [bool(row["correct"]) for row in known]
            passed = pass_at_k(len(known), sum(correct), k)
            voted = maj_at_k([vote_of(row) for row in known], correct, k, problem)
            content = (group[0]["task"], group[0].get("content", problem))
            sums[content] = sums.get(content, np.zeros(3)) + (passed, voted, 1.0)
    values_P3 = np.array(list(sums.values())).reshape(-1, 3)
    return {
        label: clustered(values_P3[:, column], values_P3[:, 2], "summary", name, proportion=True)[0]
        for column, label in enumerate((f"pass@{k}", f"maj@{k}"))
    }


def validation_metrics(rows: Sequence[Row], prefix: str = "validation") -> dict[str, float]:
    """The figures of a validation during training, flat, for `metrics.jsonl`: `validation/accuracy`, the same per
    task, and `accuracy_lenient`, `format_rate`, `truncation_rate`, `mean_length` over all. What has no value is left
    out."""
    figures = summary(rows)
    names = ("accuracy", "accuracy_lenient", "format_rate", "truncation_rate", "mean_length")
    flat = {f"{prefix}/{name}": figures["overall"][name]["value"] for name in names}
    flat |= {f"{prefix}/accuracy/{task}": part["accuracy"]["value"] for task, part in figures["tasks"].items()}
    return {name: value for name, value in flat.items() if value is not None}


def compare(a_rows: Sequence[Row], b_rows: Sequence[Row], measures: Sequence[str] = COMPARED) -> dict[str, Any]:
    """B against A on the problems that both have, overall and per task.

    `{"overall": {measure: {a, b, difference, low, high, n, verdict}}, "tasks": {...}, "paired": n, "only_a": n,
    "only_b": n}`.
    difference is b - a with a paired bootstrap interval over problems. verdict: `higher` or `lower` where the interval
    excludes zero, `no difference shown` where it does not, `too few problems` below FEWEST.
    """
    a_groups, b_groups = (_by_problem([row for row in rows if row["finish"] != "abort"]) for rows in (a_rows, b_rows))
    shared = [problem for problem in a_groups if problem in b_groups]
    task_of = {problem: a_groups[problem][0]["task"] for problem in shared}
    result: dict[str, Any] = {
        "overall": _compared(a_groups, b_groups, shared, measures, "overall"),
        "tasks": {},
        "paired": len(shared),
        "only_a": len(a_groups) - len(shared),
        "only_b": len(b_groups) - len(shared),
    }
    for task in dict.fromkeys(task_of.values()):
        members = [problem for problem in shared if task_of[problem] == task]
        result["tasks"][task] = _compared(a_groups, b_groups, members, measures, task)
    return result


def _compared(
    a_groups: Mapping[str, Sequence[Row]],
    b_groups: Mapping[str, Sequence[Row]],
    problems: Sequence[str],
    measures: Sequence[str],
    name: str,
) -> dict[str, dict[str, Any]]:
    table = {measure: MEASURES[measure] for measure in measures}
    # The same problems on both sides make the same contents, in the same order.
    top_a, bottom_a = _sums(_by_content({problem: a_groups[problem] for problem in problems}), table)
    top_b, bottom_b = _sums(_by_content({problem: b_groups[problem] for problem in problems}), table)
    found = {}
    for m, measure in enumerate(table):
        gap = paired_ratio(top_a[:, m], bottom_a[:, m], top_b[:, m], bottom_b[:, m], "compare", name)
        sides = [
            float(top[:, m].sum() / bottom[:, m].sum()) if bottom[:, m].sum() > 0 else None
            for top, bottom in ((top_a, bottom_a), (top_b, bottom_b))
        ]
        found[measure] = {
            "a": sides[0], "b": sides[1], "difference": gap.value, "low": gap.low, "high": gap.high,
            "n": len(problems), "verdict": verdict(gap),
        }  # fmt: skip
    return found


def verdict(gap: Estimate) -> str:
    """A difference in words; `higher` and `lower` only where the interval excludes zero."""
    if gap.value is None or gap.low is None or gap.high is None or gap.n < FEWEST:
        return "too few problems"
    return "higher" if gap.low > 0 else "lower" if gap.high < 0 else "no difference shown"
