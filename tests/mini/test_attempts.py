"""Attempts: what is written as right is right, in every method, kind and language."""

from __future__ import annotations

import re
from functools import cache

import pytest

from ponder.core.seeds import random_of
from ponder.core.types import Problem
from ponder.mini.attempts import METHODS, RIGHT_DIRECTLY, RIGHT_IN_ONE_PASS, Attempt, attempt
from ponder.mini.phrases import PHRASES
from ponder.tasks import KINDS, SEARCH_LIKE, TASKS, grade
from ponder.tasks.drawing import LANGUAGES, MiniTask
from ponder.tasks.functions import value
from ponder.verify.expression import read_expression
from tests.tasks.reading import IN_ENGLISH, Reading, numbers_in, read

MISCONCEPTIONS = tuple(kind for kind in KINDS if kind not in SEARCH_LIKE)
SUMS = ("arithmetic", "equations", "word_problems", "countdown", "factors", "functions")
"""The kinds whose thoughts are arithmetic."""

kinds = pytest.mark.parametrize("kind", KINDS)


COUNT = 240


@cache
def attempts(kind: str, method: str) -> tuple[tuple[Problem, Reading, Attempt, str], ...]:
    """Problems of all levels in both languages, thought about in both languages."""
    task = TASKS[kind]
    assert isinstance(task, MiniTask)
    rng = random_of("attempts", kind, method)
    made = []
    for at in range(COUNT):
        problem = task.draw(rng, at % 3 + 1, LANGUAGES[at // 3 % 2])
        lang = LANGUAGES[at // 6 % 2]
        made.append((problem, read(kind, problem.prompt), attempt(problem, method, rng, lang), lang))
    return tuple(made)


def claims(lines: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every `left=right` that the lines state, without those about an unknown."""
    return [tuple(t.split("=")) for line in lines for t in line.split() if re.fullmatch(r"[0-9+*-]+=-?[0-9]+", t)]  # type: ignore[misc]


def about_x(lines: tuple[str, ...], x: str) -> list[tuple[str, str]]:
    """Every equation that the lines state of the unknown, with its value put in."""
    found = [t for line in lines for t in line.split() if re.fullmatch(r"[0-9]*x=[0-9+-]+", t)]
    return [tuple(re.sub("x", f"*{x}", t).removeprefix("*").split("=")) for t in found]  # type: ignore[misc]


def true(claim: tuple[str, str]) -> bool:
    return read_expression(claim[0]).value == read_expression(claim[1]).value


def right_way(found: Attempt, lang: str) -> tuple[str, ...]:
    """The lines from where a right answer is worked out: after "wait", or all of them."""
    wait = PHRASES[lang]["wait"]
    return found.lines[found.lines.index(wait) + 1 :] if wait in found.lines else found.lines


@kinds
@pytest.mark.parametrize("method", METHODS)
def test_the_grader_and_the_prompt_agree_on_every_answer(kind: str, method: str) -> None:
    """Right attempts are accepted, wrong ones rejected, whatever the language of the thought."""
    for problem, reading, found, _ in attempts(kind, method):
        assert grade(problem, found.answer) is reading.right(found.answer), (problem.prompt, found)


@kinds
@pytest.mark.parametrize("method", METHODS)
def test_every_sum_is_true(kind: str, method: str) -> None:
    """Mistakes are misconceptions, never slips: also a wrong way adds and multiplies rightly."""
    stated = 0
    for problem, reading, found, lang in attempts(kind, method):
        for claim in claims(found.lines):
            assert true(claim), (problem.prompt, found.lines, claim)
        stated += len(claims(found.lines))
        if kind == "equations" and found.lines and reading.right(found.answer):
            equations = about_x(right_way(found, lang), problem.answer)
            assert len(equations) >= 3 and all(map(true, equations)), (problem.prompt, found.lines)
    about_x_only = method == "steps" and kind in ("equations", "functions")
    assert (stated > 100) == (kind in SUMS and method != "direct" and not about_x_only)


@kinds
@pytest.mark.parametrize("method", ["check", "search"])
def test_checks_and_searches_end_right(kind: str, method: str) -> None:
    for problem, _, found, _ in attempts(kind, method):
        assert grade(problem, found.answer) is True, (problem.prompt, found)


@pytest.mark.parametrize("kind", MISCONCEPTIONS)
def test_a_right_way_ends_in_the_answer(kind: str) -> None:
    for problem, reading, found, lang in attempts(kind, "steps"):
        if reading.right(found.answer):
            last = right_way(found, lang)[-1]
            ends = problem.answer.removeprefix("def f(x): return ")
            assert kind == "requests" or last.rpartition("=")[2] == ends, (problem.prompt, found)


@pytest.mark.parametrize("kind", MISCONCEPTIONS)
def test_checks_tell_right_from_wrong(kind: str) -> None:
    """A first pass that a check rejects was wrong; one that it accepts was right."""
    mended = 0
    for problem, reading, found, lang in attempts(kind, "check"):
        say = PHRASES[lang]
        checks = [at for at, line in enumerate(found.lines) if line.startswith(say["check"])]
        assert found.lines[checks[-1]].endswith(say["ok"])
        noticed = [at for at in checks if found.lines[at].endswith(say["wrong"])]
        assert len(noticed) == len(checks) - 1 <= 1 and (say["wait"] in found.lines) == bool(noticed)
        mended += len(noticed)
        if noticed and kind != "requests":
            assert not reading.right(found.lines[noticed[0] - 1].rpartition("=")[2]), (problem.prompt, found)
        elif noticed:
            assert not reading.right(found.lines[noticed[0] - 1]), (problem.prompt, found)
    assert abs(mended / COUNT - (1 - RIGHT_IN_ONE_PASS)) < 0.15


@pytest.mark.parametrize("kind", MISCONCEPTIONS)
def test_single_passes_are_right_as_often_as_is_said(kind: str) -> None:
    found = [reading.right(a.answer) for _, reading, a, _ in attempts(kind, "steps")]
    assert abs(sum(found) / len(found) - RIGHT_IN_ONE_PASS) < 0.15


@kinds
def test_direct_answers_are_just_that(kind: str) -> None:
    found = [(reading.right(a.answer), a.lines) for _, reading, a, _ in attempts(kind, "direct")]
    assert all(lines == () for _, lines in found)
    assert RIGHT_DIRECTLY - 0.1 < sum(right for right, _ in found) / len(found) < 0.65  # a guess, too, may be lucky


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("countdown", "tries"), ("countdown", "search"), ("factors", "search"), ("ordering", "tries"),
        ("ordering", "search"), ("factors", "tries"),
    ],
)  # fmt: skip
def test_verdicts_are_true(kind: str, method: str) -> None:
    yes, no = 0, 0
    for problem, reading, found, lang in attempts(kind, method):
        for line in found.lines:
            verdict = line.endswith(PHRASES[lang]["yes"])
            assert verdict != line.endswith(PHRASES[lang]["no"])
            yes, no = yes + verdict, no + (not verdict)
            if kind == "ordering":
                truth = PHRASES[lang]["nobody"] in line
            else:
                ((tried, _),) = claims((line,))
                truth = reading.right(tried)
            assert truth == verdict, (problem.prompt, line)
        if found.lines and found.lines[-1].endswith(PHRASES[lang]["yes"]):
            assert reading.right(found.answer)
    assert no > 100 and (yes == COUNT or method == "tries")


def test_factors_are_tried_among_those_that_meet_the_first_condition() -> None:
    for problem, reading, found, _ in attempts("factors", "search"):
        form, total, _ = reading.content
        for tried, _ in claims(found.lines):
            a, b = numbers_in(tried)
            assert total == {"sum": a + b, "difference": a - b, "double": a + 2 * b}[str(form)], (problem.prompt, tried)


@pytest.mark.parametrize("method", ["steps", "tries", "search", "check"])
def test_who_is_said_to_be_beyond_whom_is_told_in_the_story(method: str) -> None:
    stated = 0
    for problem, reading, found, lang in attempts("ordering", method):
        order = list(reading.content[0])  # type: ignore[call-overload]
        for line in found.lines:
            ((one, sign, other),) = re.findall(r"(\w+) ([<>]) (\w+)", line)
            if PHRASES[lang]["nobody"] in (one, other):
                assert other == PHRASES[lang]["nobody"] and one == problem.answer
                continue
            more, less = (one, other) if sign == ">" else (other, one)
            assert order.index(less) - order.index(more) == 1, (problem.prompt, line)
            stated += 1
    assert stated > 50


@kinds
@pytest.mark.parametrize("method", METHODS)
def test_the_language_of_the_thought_changes_words_only(kind: str, method: str) -> None:
    for at, (problem, reading, _, _) in enumerate(attempts(kind, method)[:60]):
        one, two = (attempt(problem, method, random_of("same", at), lang) for lang in LANGUAGES)
        assert reading.right(one.answer) == reading.right(two.answer), (problem.prompt, one, two)
        assert len(one.lines) == len(two.lines) and claims(one.lines) == claims(two.lines)
        if reading.right(one.answer):
            assert one.answer == two.answer


@kinds
@pytest.mark.parametrize("method", METHODS)
def test_thoughts_are_in_the_language_asked_for(kind: str, method: str) -> None:
    words = {lang: {w for text in PHRASES[lang].values() for w in re.findall(r"[^\W\d]+", text)} for lang in LANGUAGES}
    told = set(IN_ENGLISH) | set(IN_ENGLISH.values())
    for problem, _, found, lang in attempts(kind, method):
        used = (
            set(re.findall(r"[^\W\d]+", "\n".join(found.lines))) - set(re.findall(r"[^\W\d]+", problem.prompt)) - told
        )
        assert used <= words[lang] | {"x"}, (problem.prompt, found.lines)


def test_requests_are_answered_in_their_own_language() -> None:
    german = set(IN_ENGLISH)
    answered = 0
    for problem, reading, found, lang in attempts("requests", "check"):
        words = set(found.answer.split()) & (german | set(IN_ENGLISH.values()))
        assert words <= (german if problem.data["lang"] == "de" else set(IN_ENGLISH.values()))
        answered += lang != problem.data["lang"]
        assert reading.lang == problem.data["lang"]
    assert answered == COUNT // 2


def test_programs_are_run_before_they_are_handed_in() -> None:
    for problem, reading, found, _ in attempts("functions", "check")[:50]:
        assert reading.right(found.answer) and found.answer == problem.answer
        assert problem.answer.endswith(found.lines[-2])
        x = int(re.findall(r"\d+", found.lines[-1])[0])
        assert f"={value(problem.data['steps'], x)} " in found.lines[-1]
