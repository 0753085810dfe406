"""What is wrong with a set of problems before anything is trained or measured on it.

Gold answers that their own grader does not accept, duplicates, overlap with sets that are measured on, rows without an
answer and answers too long to be one. What the difficulty is for a model is `ponder.pipelines.audit`'s business.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import usable_cores
from ponder.core.types import Problem, Score, Task
from ponder.sandbox.limits import SandboxUnavailable
from ponder.tasks.gym import GYM_TASKS
from ponder.tasks.row_tasks import ROW_TASKS, ROWS
from ponder.tasks.rows import read_rows
from ponder.verify.answers import extract

NGRAM = 13
"""Words in a row that two questions must share to count as overlapping (GPT-3, arXiv 2005.14165, appendix C)."""

LONG_ANSWER = 200
"""Characters from which an answer of a kind with short answers is called too long."""

SUITES: dict[str, tuple[str, ...]] = {
    "gsm8k": ("gsm8k_test.jsonl",),
    "math500": ("math500_test.json",),
    "aime24": ("aime24.jsonl",),
    "humaneval": ("HumanEval.jsonl.gz",),
    "mbpp": ("mbpp.jsonl",),
    "ifeval": ("ifeval_input_data.jsonl",),
    "mmlu-stem": ("mmlu_stem_test.jsonl",),
}
"""Evaluation sets by name, and what their files are called."""

GRADERS: Mapping[str, Task] = {ROWS.name: ROWS, **ROW_TASKS, **GYM_TASKS}
_WORD = re.compile(r"[^\W_]+")
_SIGN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|(?<=\d)!|[^\w\s.,;:!?'\"`$’‘“”„]")

COMMON = 10
"""Words in a row that more than so many different questions share are a turn of phrase, and no overlap (as GPT-3)."""

SHORT_ANSWERS = (ROWS.name, "math", "choice")
"""The kinds whose answers are one value: a long one is a mistake, and two for one question contradict each other."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. rows: where, by their numbers in the file."""

    what: str
    rows: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True)
class Audit:
    """All that was found.

    golds: how many gold answers were checked, right, wrong, undecided and missing, by kind.
    findings: `unreadable`, `gold` (not accepted), `unknown` (the grader could not tell), `no answer`, `long answer`,
        `duplicate`, `near duplicate` (same words), `conflict` (same question, another answer), `overlap`.
    overlaps: rows of the file that share words with each set it was held against, and that set's size.
    """

    file: str
    rows: int
    kinds: Mapping[str, int]
    golds: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    overlaps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def count(self, what: str) -> int:
        """Rows under one heading: of duplicates, those beyond the first of each set."""
        several = what in ("duplicate", "near duplicate")
        return sum(len(f.rows) - several for f in self.findings if f.what == what)

    @property
    def passed(self) -> bool:
        """Whether every row could be read, and no gold answer failed its grader."""
        return not any(f.what in ("unreadable", "gold", "unknown") for f in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For audit.json."""
        headings = dict.fromkeys(f.what for f in self.findings)
        return {**asdict(self), "passed": self.passed, "counts": {what: self.count(what) for what in headings}}


def audit(
    source: str | Path, against: Sequence[str] = (), *, ngram: int = NGRAM, long_answer: int = LONG_ANSWER,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Audit, list[Problem]]:  # fmt: skip
    """Look at every row of `source`; returns what was found, and the problems that could be read.

    against: evaluation sets, each a file, a hub id, or a name of `SUITES` (its file is searched for beside `source`,
        in the working directory, and in $PONDER_DATA).
    ngram: words in a row that make an overlap; shorter questions overlap where they are the same as a whole.
    on_progress: called with (gold answers graded, all).
    Raises PonderError where `source` or a set cannot be read at all, or `ngram` is below 1.
    """
    if ngram < 1:
        raise PonderError(f"ngram is {ngram}: give the number of words that must be shared, e.g. {NGRAM}")
    sets = {name: read_rows(found_suite(name, Path(source)), on_error="collect") for name in against}
    problems = read_rows(source, on_error="collect")
    findings = [Finding("unreadable", (error.row,), error.message) for error in problems.errors]
    golds, wrong = check_golds(problems, on_progress)
    findings += wrong + _lengths(problems, long_answer) + _duplicates(problems)
    overlaps: dict[str, dict[str, Any]] = {}
    for name, others in sets.items():
        shared = overlapping(problems, others, ngram)
        overlaps[name] = {"rows": len(shared), "of": len(others)}
        findings += [Finding("overlap", (row_of(p),), f"with {name}, row {row_of(q)}: {how}") for p, q, how in shared]
    kinds = dict(Counter(p.task for p in problems))
    report = Audit(str(source), len(problems) + len(problems.errors), kinds, golds, tuple(findings), overlaps)
    return report, list(problems)


def row_of(problem: Problem) -> int:
    """The row's number in its file."""
    return int(problem.data.get("row", 0))


def found_suite(name: str, beside: Path) -> str:
    """The file of a set that may be called by its suite's name. Raises PonderError telling where it was searched."""
    if name not in SUITES or Path(name).exists():
        return name
    folders = [beside.parent, Path.cwd(), *([Path(os.environ["PONDER_DATA"])] if os.environ.get("PONDER_DATA") else [])]
    for folder in folders:
        for file in SUITES[name]:
            if (folder / file).is_file():
                return str(folder / file)
    places = ", ".join(dict.fromkeys(map(str, folders)))
    raise PonderError(
        f"evaluation set {name}: no {' or '.join(SUITES[name])} in {places}; set PONDER_DATA, or give the file's path"
    )


# ---- gold answers ----


def completion_of(answer: str) -> str:
    """The gold answer as a model would give it, well formed."""
    return f"<think>\nI know it.\n</think>\n<answer>\n{answer}\n</answer>"


def grade_gold(problem: Problem) -> Score:
    """The gold answer by its own grader: as it stands, and read back out of a completion; both must be right."""
    task = GRADERS.get(problem.task)
    if task is None:
        raise PonderError(f"row {row_of(problem)}: task {problem.task!r} has no grader; known: {', '.join(GRADERS)}")
    try:
        plain = task.grade(problem, problem.answer)
    except SandboxUnavailable:
        raise
    except PonderError as error:  # the grader cannot use this gold answer, whatever is answered
        return Score(0.0, False, {}, str(error))
    if plain.correct is not True:
        return plain
    read = extract(completion_of(problem.answer), "strict")
    if read is None:
        return Score(0.0, False, {}, "cannot be read back out of <answer> … </answer>")
    again = task.grade(problem, read)
    return again if again.correct is True else Score(again.value, again.correct, {}, f"in a completion: {again.note}")


def check_golds(
    problems: Sequence[Problem], on_progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, dict[str, int]], list[Finding]]:
    """How many golds of each kind were right, and a finding for each that was not. Instructions have no gold answer;
    that the grader knows them is checked when they are read."""
    golds: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(("right", "wrong", "unknown", "none"), 0))
    findings = []
    with ThreadPoolExecutor(usable_cores()) as pool:  # programs run in processes of their own
        for done, (problem, score) in enumerate(zip(problems, pool.map(_gold_score, problems), strict=True), 1):
            count, row = golds[problem.task], row_of(problem)
            if score is None:
                count["none"] += 1
                if problem.task != "ifeval":
                    findings.append(Finding("no answer", (row,), f"no reference answer of kind {problem.task}"))
            else:
                count["right" if score.correct else "unknown" if score.correct is None else "wrong"] += 1
                if score.correct is not True:
                    what = "unknown" if score.correct is None else "gold"
                    findings.append(Finding(what, (row,), f"{problem.answer[:80]!r}: {score.note}"))
            if on_progress:
                on_progress(done, len(problems))
    return {kind: dict(count) for kind, count in golds.items()}, findings


def _gold_score(problem: Problem) -> Score | None:
    """None where the row has no gold answer: then there is nothing to check that `read_rows` has not checked."""
    return grade_gold(problem) if problem.answer.strip() else None


def _lengths(problems: Sequence[Problem], limit: int) -> list[Finding]:
    long = [p for p in problems if p.task in SHORT_ANSWERS and len(p.answer) > limit]
    return [Finding("long answer", (row_of(p),), f"{len(p.answer)} characters: {p.answer[:60]!r} …") for p in long]


# ---- duplicates and overlap ----


def words_of(text: str) -> tuple[str, ...]:
    """The words and numbers of a text, without case and any sign: what a run of words is looked for in."""
    return tuple(_WORD.findall(text.casefold()))


def signs_of(text: str) -> tuple[str, ...]:
    """Words, numbers and the signs that carry a meaning (2+3 is not 2-3), without case, spacing and punctuation: two
    questions with the same ones are the same."""
    return tuple(_SIGN.findall(text.casefold()))


def _duplicates(problems: Sequence[Problem]) -> list[Finding]:
    exact: dict[str, list[Problem]] = defaultdict(list)
    near: dict[tuple[str, ...], list[Problem]] = defaultdict(list)
    for problem in problems:
        exact[problem.prompt].append(problem)
    for prompt, same in exact.items():
        near[signs_of(prompt) or (prompt,)].append(same[0])
    findings = []
    for what, groups in (("duplicate", exact.values()), ("near duplicate", near.values())):
        for group in groups:
            if len(group) < 2:
                continue
            rows = tuple(map(row_of, group))
            findings.append(Finding(what, rows, group[0].prompt[:80]))
            answers = {p.answer.strip() for p in group if p.task in SHORT_ANSWERS}
            if what == "duplicate" and len(answers) > 1:
                findings.append(Finding("conflict", rows, "the same question with different answers"))
    return findings


def overlapping(
    problems: Iterable[Problem], others: Iterable[Problem], ngram: int = NGRAM
) -> list[tuple[Problem, Problem, str]]:
    """The problems whose question shares `ngram` words in a row with one of `others`, with that one, and how.

    The same question is an overlap whatever its length. One with fewer words than `ngram`, but at least half as many,
    overlaps where it stands in ours as a whole. A run of words in more than COMMON of our questions does not count.
    """
    ours = list(problems)
    whole: dict[tuple[str, ...], Problem] = {}
    grams: dict[tuple[str, ...], Problem] = {}
    short: dict[int, dict[tuple[str, ...], Problem]] = defaultdict(dict)
    for other in others:
        signs, words = signs_of(other.prompt), words_of(other.prompt)
        whole.setdefault(signs, other)
        for gram in _grams(words, ngram):
            grams.setdefault(gram, other)
        if ngram // 2 <= len(words) < ngram and signs:
            short[len(signs)].setdefault(signs, other)
    different = {signs_of(p.prompt): p for p in ours}.values()
    common = Counter(gram for p in different for gram in {*_grams(words_of(p.prompt), ngram)} if gram in grams)
    found = []
    for problem in ours:
        signs = signs_of(problem.prompt)
        if signs and signs in whole:
            found.append((problem, whole[signs], "the same question"))
            continue
        shared = (g for g in _grams(words_of(problem.prompt), ngram) if g in grams and common[g] <= COMMON)
        hit = next(shared, None)
        if hit is not None:
            found.append((problem, grams[hit], " ".join(hit)))
            continue
        inside = ((known, g) for n, known in short.items() for g in _grams(signs, n) if g in known)
        known, part = next(inside, (None, ()))
        if known is not None:
            found.append((problem, known[part], " ".join(part)))
    return found


def _grams(words: tuple[str, ...], n: int) -> Iterable[tuple[str, ...]]:
    return (words[at : at + n] for at in range(len(words) - n + 1))
