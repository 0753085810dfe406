"""Exact labels of steps in the miniature world: after each line of a solution, is it right so far?

The meaning is that of process labels (arXiv 2305.20050, 2312.08935): a step is right when what it says is true of the
problem and the solution still stands on a path to the right answer. Where an answer is worked out, a mistake spoils
every step behind it, until a check finds it and the solution begins anew ("wait"); finding it is itself a right step.
Where an answer is searched for, each try stands for itself, but for one that is judged wrongly: it spoils what follows
until the right one is found. A line that claims nothing ("I guess") is as right as what stands before it. The answer's
step is right when the answer is.

No model is asked, and no line of the corpus is looked up: each is read and held against the problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ponder.core.thinking import ANSWER_OPEN, TAGS, THINK_CLOSE
from ponder.core.types import Problem
from ponder.mini.phrases import PHRASES
from ponder.tasks import SEARCH_LIKE, grade
from ponder.tasks.countdown import check as countdown_check
from ponder.tasks.factors import partner
from ponder.tasks.functions import expression
from ponder.tasks.requests import CATEGORIES
from ponder.tasks.requests import check as request_check
from ponder.verify.answers import extract

Line = Callable[[Problem, str, Sequence[str]], bool]
"""Whether a line of working is true of a problem and a step of a right way; with the lines since the last new start."""

_SUM = re.compile(r"(\d{1,6})([+*-])(\d{1,6})=(-?\d{1,9})", re.ASCII)
_CLAIM = re.compile(r"(.{1,40}?)=(-?\d{1,9})", re.ASCII)
_TERM = re.compile(r"(\d{0,6})x=(\d{1,6})(?:([+-])(\d{1,6}))?", re.ASCII)
_PAIR = re.compile(r"(\w{1,12}) ([<>]) (\w{1,12})")


def _said(word: str) -> tuple[str, ...]:
    return tuple(PHRASES[lang][word] for lang in PHRASES)


_CHECK, _OK, _WRONG, _WAIT = map(_said, ("check", "ok", "wrong", "wait"))
_YES, _NO, _TRY = map(_said, ("yes", "no", "try"))
_EMPTY = (*_said("guess"), *_said("easy"), *_said("cot"))
_CUES = (ANSWER_OPEN, *_said("answer"), *_said("short_answer"))


def step_truth(problem: Problem, steps: Sequence[str]) -> list[bool | None]:
    """For each step of a response (`ponder.core.steps.split_steps`), whether the solution is right up to and with it.

    problem: one of the miniature world. None where that cannot be told (a program's tests could not be run).
    """
    truths: list[bool | None] = []
    clean, noticed = True, False
    lines: list[str] = []
    for number, step in enumerate(steps):
        line = _bare(step)
        if number == len(steps) - 1 or THINK_CLOSE in step or any(cue in step for cue in _CUES):
            truth = grade(problem, extract("\n".join(steps[: number + 1]), "lenient"))
            clean = truth is not False
        elif line in _WAIT:
            clean, noticed, lines, truth = True, False, [], True
        elif problem.task in SEARCH_LIKE:
            truth = _idle(problem, line) or _LINES[problem.task](problem, line, lines)
            tried, verdict = _tried(line)
            clean = truth if verdict else clean and (not _hits(problem, tried) if verdict is False else truth)
            truth = truth and clean
        elif line.startswith(_CHECK):
            noticed = line.endswith(_WRONG)
            truth = clean = _sums_hold(line) and (noticed or line.endswith(_OK)) and noticed != clean
        else:
            truth = clean = clean and (
                _idle(problem, line) or not noticed and _LINES[problem.task](problem, line, lines)
            )
            noticed = False
        truths.append(truth)
        lines.append(line)
    return truths


def takes_back(continuation: str) -> bool:
    """Whether a continuation goes back on what stands before it: a "wait" that is not its first line.

    A rollout that finds the mistake in its prefix and begins anew reaches the right answer, but does not show that the
    prefix was right (`ponder.data.step_labels`). Where "wait" is the first line, the prefix has found it itself.
    """
    lines = [line.strip() for line in continuation.strip().splitlines()]
    return any(line in _WAIT for line in lines[1:])


def _idle(problem: Problem, line: str) -> bool:
    """Whether a line claims nothing; that something harmful is easy is a claim."""
    return not line or line in _EMPTY and problem.data.get("form") != "harm"


def _bare(step: str) -> str:
    for tag in TAGS:
        step = step.replace(tag, "")
    return step.strip()


# One reader of lines for each kind ------------------------------------------------------------------------------

Sum = tuple[str, int, int]


def _sum_in(line: str) -> tuple[Sum, bool] | None:
    """The sum that a line states, commuted into order, and whether its result is true."""
    found = _SUM.fullmatch(line)
    if not found:
        return None
    a, sign, b, result = int(found[1]), found[2], int(found[3]), int(found[4])
    return _sum(a, sign, b), _result(a, sign, b) == result


def _sum(a: int, sign: str, b: int) -> Sum:
    return (sign, *sorted((a, b))) if sign != "-" else (sign, a, b)  # type: ignore[return-value]


def _result(a: int, sign: str, b: int) -> int:
    return a + b if sign == "+" else a - b if sign == "-" else a * b


def _sums_hold(line: str) -> bool:
    return all(_result(int(m[1]), m[2], int(m[3])) == int(m[4]) for m in _SUM.finditer(line))


def _product(a: int, b: int) -> set[Sum]:
    """The sums of `a*b`, at once or by tens and ones of either number."""
    sums = {_sum(a, "*", b)}
    for n, m in ((a, b), (b, a)):
        if n > 9:
            tens, ones = n // 10 * 10, n % 10
            sums |= {_sum(tens, "*", m), _sum(ones, "*", m), _sum(tens * m, "+", ones * m)}
    return sums


def _arithmetic(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    n = problem.data["numbers"]
    form = problem.data["form"]
    if form == "sum_product":
        way = _product(n[1], n[2]) | {_sum(n[0], "+", n[1] * n[2])}
    elif form == "bracket_sum":
        way = {_sum(n[0], "+", n[1])} | _product(n[0] + n[1], n[2])
    elif form == "bracket_difference":
        way = {_sum(n[1], "-", n[2])} | _product(n[0], n[1] - n[2])
    elif form == "two_products":
        way = _product(n[0], n[1]) | _product(n[2], n[3]) | {_sum(n[0] * n[1], "+", n[2] * n[3])}
    else:
        way = _product(n[0], n[1])
    found = _sum_in(line)
    return found is not None and found[1] and found[0] in way


def _word_problem(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    a, b, c, d = (problem.data[k] for k in "abcd")
    p = b * c
    way = {_sum(b, "*", c)} | {
        "bags": {_sum(a, "+", p)},
        "bags_gone": {_sum(p, "-", a)},
        "times_more": {_sum(b, "+", p)},
        "bags_both": {_sum(a, "+", p), _sum(a + p, "-", d)},
    }[problem.data["story"]]
    found = _sum_in(line)
    return found is not None and found[1] and found[0] in way


def _equation(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    """True where the line holds for the solution: an equation that follows from the problem's."""
    found = _TERM.fullmatch(line)
    if not found:
        return False
    right = int(found[2]) + (int(found[4] or 0) if found[3] != "-" else -int(found[4]))
    return int(found[1] or 1) * int(problem.answer) == right


def _function(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    """True where the line is the function up to one of its operations."""
    steps = [(sign, n) for sign, n in problem.data["steps"]]
    return line.replace(" ", "") in {expression(steps[: i + 1]) for i in range(len(steps))}


def _request(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    data = problem.data
    if data["form"] == "harm":
        return line in _said("harm")
    if line in _said("twice") if data["form"] == "double" else line in {f"{data['n']} {w}" for w in _said("words")}:
        return True
    place, _, word = line.partition(" ")
    if not place.isdecimal() or not place.isascii():
        return request_check(problem, line).correct is True  # all words at once
    at = int(place) - 1
    if data["form"] == "name":
        if word in {earlier.partition(" ")[2] for earlier in lines}:
            return False
        return 0 <= at < data["n"] and word in CATEGORIES[data["lang"]][data["category"]]
    gold = problem.answer.split()
    return 0 <= at < len(gold) and gold[at] == word


def _tried(line: str) -> tuple[str, bool | None]:
    """What is tried, and what the line says of it: yes, no, or nothing."""
    for word in _TRY:
        line = line.removeprefix(f"{word} ")
    for words, verdict in ((_YES, True), (_NO, False)):
        for word in words:
            if line.endswith(f" {word}"):
                return line.removesuffix(f" {word}"), verdict
    return line, None


def _hits(problem: Problem, tried: str) -> bool:
    """Whether what is tried is the answer, whatever is said of it."""
    if problem.task == "countdown":
        return countdown_check(problem, tried.partition("=")[0]).correct is True
    if problem.task == "factors":
        found = _SUM.match(tried)
        return found is not None and _fits(problem, found) and int(found[1]) * int(found[3]) == problem.data["product"]
    pair = _PAIR.fullmatch(_unled(tried))
    return pair is not None and pair[1] == problem.answer


def _countdown(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    tried, verdict = _tried(line)
    claim = _CLAIM.fullmatch(tried)
    if not claim:
        return False
    found = countdown_check(problem, claim[1])
    worth = str(problem.data["target"]) if found.correct else found.note.removeprefix("worth ")
    # A try without a verdict is handed in as it is: right only if it hits.
    return worth == claim[2] and bool(found.correct) == (verdict is not False)


def _factor(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    tried, verdict = _tried(line)
    found = _SUM.fullmatch(tried)
    if not found or not _fits(problem, found) or int(found[1]) * int(found[3]) != int(found[4]):
        return False
    return _hits(problem, tried) == (verdict is not False)


def _fits(problem: Problem, found: re.Match[str]) -> bool:
    """Whether the two factors have the sum (or difference, ...) that is asked for."""
    form, total, a, b = problem.data["form"], problem.data["total"], int(found[1]), int(found[3])
    return found[2] == "*" and (partner(form, total, b) == a or partner(form, total, a) == b)


def _order(problem: Problem, line: str, lines: Sequence[str]) -> bool:
    """True where the comparison follows from what is told, and the verdict on the candidate is right."""
    tried, verdict = _tried(line)
    found = _PAIR.fullmatch(_unled(tried))
    if not found:
        return False
    chain, top = problem.data["chain"], bool(problem.data["top"])
    who, sign, other = found[1], found[2], found[3]
    if other in _said("nobody"):
        return verdict is True and who == problem.answer and (sign == "<") == top
    first, second = (who, other) if sign == ">" else (other, who)
    if first not in chain or second not in chain or chain.index(first) >= chain.index(second):
        return False
    # Who has somebody beyond is not the one: `<` where the greatest is sought, `>` where the least.
    return verdict is None or (verdict is False and (sign == "<") == top)


def _unled(line: str) -> str:
    for word in (*_CHECK, *_said("begin")):
        line = line.removeprefix(f"{word} ")
    return line


_LINES: dict[str, Line] = {
    "arithmetic": _arithmetic,
    "word_problems": _word_problem,
    "equations": _equation,
    "functions": _function,
    "requests": _request,
    "countdown": _countdown,
    "factors": _factor,
    "ordering": _order,
}
