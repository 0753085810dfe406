"""Each kind's problems: the answer really is the answer to what the prompt says, and levels are what they claim."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ponder.core.seeds import random_of
from ponder.core.types import Problem
from ponder.tasks import KINDS, TASKS
from ponder.tasks.countdown import FORMS, LARGEST, value_of, written
from ponder.tasks.drawing import LANGUAGES, LEVELS, MiniTask
from ponder.tasks.factors import LARGEST as LARGEST_FACTOR
from tests.tasks.reading import calculate, numbers_in, read


def drawn(name: str, level: int, count: int = 400) -> Iterator[Problem]:
    task = TASKS[name]
    assert isinstance(task, MiniTask)
    rng = random_of("kinds", name, level)
    for at in range(count):
        yield task.draw(rng, level, LANGUAGES[at % 2])


levels = pytest.mark.parametrize("level", LEVELS)


@levels
@pytest.mark.parametrize("name", KINDS)
def test_the_answer_follows_from_the_prompt(name: str, level: int) -> None:
    for problem in drawn(name, level):
        reading = read(name, problem.prompt)
        assert reading.right(problem.answer), (problem.prompt, problem.answer)
        assert reading.lang == problem.data["lang"], problem.prompt


@levels
@pytest.mark.parametrize("name", KINDS)
def test_one_content_one_key(name: str, level: int) -> None:
    """The key is the content: equal contents have equal keys (other words cannot make another problem of it)."""
    keys: dict[tuple[object, ...], str] = {}
    for problem in drawn(name, level):
        assert keys.setdefault(read(name, problem.prompt).content, problem.data["key"]) == problem.data["key"]


@levels
def test_countdown_has_one_way_of_the_ten(level: int) -> None:
    for problem in drawn("countdown", level):
        numbers, target = problem.data["numbers"], problem.data["target"]
        hits = [form for form in FORMS if calculate(written(form, numbers)) == target]
        assert len(hits) == 1 and written(hits[0], numbers) == problem.answer
        assert len(set(numbers)) == 3 and target > 0
        assert max(numbers) <= LARGEST[level] and min(numbers) >= 1
        assert f" {numbers[0]} {numbers[1]} {numbers[2]}" in problem.prompt  # in the order in which FORMS reads them


def test_countdown_forms_are_worth_what_they_say() -> None:
    for numbers in ([2, 3, 5], [12, 4, 15], [13, 11, 2]):
        assert all(value_of(form, numbers) == calculate(written(form, numbers)) for form in FORMS)
    assert len(set(FORMS)) == len(FORMS)


@levels
def test_factors_by_level(level: int) -> None:
    for problem in drawn("factors", level):
        form, total, product = read("factors", problem.prompt).content
        assert (form, total, product) == tuple(problem.data[k] for k in ("form", "total", "product"))
        assert product <= LARGEST_FACTOR[level] * max(9, LARGEST_FACTOR[level])
        assert form in ("sum", "difference") or level > 1
    answers = [tuple(numbers_in(p.answer)) for p in drawn("factors", level) if p.data["form"] != "double"]
    assert max(max(a) for a in answers) == LARGEST_FACTOR[level] and all(a > b >= 1 for a, b in answers)


def test_factors_with_two_solutions_have_one_gold_and_accept_both() -> None:
    found = {p.prompt: p for p in drawn("factors", 2, 4000) if read("factors", p.prompt).content == ("double", 10, 12)}
    assert {p.answer for p in found.values()} == {"6*2"}  # counting up from 1 meets this one first
    assert all(TASKS["factors"].grade(p, other).correct for p in found.values() for other in ("6*2", "4*3"))


@levels
def test_ordering_sizes(level: int) -> None:
    asked = set()
    for problem in drawn("ordering", level):
        assert len(problem.data["chain"]) == level + 2
        assert tuple(problem.data["chain"]) == read("ordering", problem.prompt).content[0]
        asked.add(problem.data["top"])
    assert asked == {True, False}


def test_arithmetic_forms_by_level() -> None:
    forms = {level: {p.data["form"] for p in drawn("arithmetic", level)} for level in LEVELS}
    assert forms == {
        1: {"sum_product"},
        2: {"bracket_sum", "bracket_difference", "long_product"},
        3: {"two_products", "long_long_product"},
    }


def test_equations_by_level() -> None:
    for problem in drawn("equations", 1):
        assert problem.data["sign"] == "+" and problem.data["c"] == 0
    assert {p.data["sign"] for p in drawn("equations", 2)} == {"+", "-"}
    for problem in drawn("equations", 3):
        assert 0 < problem.data["c"] < problem.data["a"] and problem.prompt.count("x") >= 2


def test_word_problems_by_level() -> None:
    stories = {level: {p.data["story"] for p in drawn("word_problems", level)} for level in LEVELS}
    assert stories == {1: {"bags"}, 2: {"bags_gone", "times_more"}, 3: {"bags_both"}}


@levels
def test_adding_every_number_is_never_right(level: int) -> None:
    """The misconception has to be wrong, else a check would reject a right answer."""
    for problem in drawn("word_problems", level, 1500):
        *first, last = numbers_in(problem.prompt)
        careless = sum(first) - last if problem.data["story"] == "bags_both" else sum(first) + last
        assert str(careless) != problem.answer, problem.prompt


@levels
def test_functions_are_tested_truly(level: int) -> None:
    for problem in drawn("functions", level, 60):
        function = eval("lambda x: " + problem.answer.removeprefix("def f(x): return "))
        cases = problem.data["test"]["cases"]
        assert len(cases) >= 5 and all(function(*arguments) == value for arguments, value in cases)


@pytest.mark.parametrize("name", KINDS)
def test_data_is_json(name: str) -> None:
    for problem in drawn(name, 2, 20):
        json.dumps(dict(problem.data))
