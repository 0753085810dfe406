"""The built-in parts that look at form, length, repetition and language."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem
from ponder.rewards import compose, format_parts, language, length, parts_of, repetition, steps, tags
from ponder.rewards.form import tags_in_place
from ponder.rewards.language import LANGUAGES, share_of_language

PROBLEM = Problem("sums", "1+1?", "2")
GOOD = "<think>easy</think><answer>2</answer>"
Say = Callable[..., list[Completion]]


def one(part: Callable[..., Any], text: str, **options: Any) -> Any:
    return part([PROBLEM], [Completion((1,), (2, 3), (), text, "stop")], **options)[0]


# ---- tags ----


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (GOOD, 1.0),
        ("", 0.0),
        ("<think>x", 0.25),
        ("<think>x</think>2", 0.5),
        ("</answer><answer></think><think>", 0.25),  # all there, all out of order
        ("</answer><think>x</think><answer>2", 0.75),
        (GOOD + "<think>", 0.75),  # a tag that is there twice counts for nothing
        (GOOD * 2, 0.0),
        ("<answer>2</answer><think>x</think>", 0.5),
    ],
)
def test_tags_count_once_and_in_order(text: str, share: float) -> None:
    assert one(tags, text).value == share


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "x"]), max_size=9))
def test_tags_in_place_stand_in_order_and_no_other_set_is_larger(pieces: list[str]) -> None:
    text = "".join(pieces)
    placed = tags_in_place(text)
    places = [text.find(tag) for tag in placed]
    assert places == sorted(places) and all(text.count(tag) == 1 for tag in placed)
    assert (len(placed) == 0) == all(text.count(t) != 1 for t in ("<think>", "</think>", "<answer>", "</answer>"))


def test_a_template_that_opened_the_thought_pays_for_its_tag() -> None:
    text = "easy</think><answer>2</answer>"
    assert (one(tags, text).value, one(tags, text, opened=True).value) == (0.75, 1.0)
    assert one(format_parts, text, opened=True).value == 1.0


# ---- the form by its parts ----


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (GOOD, 1.0),
        (GOOD + " and more", 0.8),
        ("so " + GOOD, 0.8),
        ("<think></think><answer>2</answer>", 0.8),
        ("<think>x</think>", 0.4),
        ("", 0.0),
        ("2", 0.0),
    ],
)
def test_format_by_parts(text: str, value: float) -> None:
    score = one(format_parts, text)
    assert score.value == pytest.approx(value) and score.correct is None
    assert sum(score.parts.values()) == pytest.approx(5 * value)


def test_the_parts_of_a_part_are_logged_under_its_name(sums: Problem, say: Say) -> None:
    (score,) = compose(parts_of(["accuracy", "format_parts"]))([sums], say("<think>x</think><answer>2"))
    assert score.parts["format_parts/answer_open"] == 1.0 and score.parts["format_parts/answer_close"] == 0.0
    assert score.value == pytest.approx(0.2 * 0.6)


# ---- steps ----


@pytest.mark.parametrize(
    ("thought", "value"),
    [
        ("1. add\n2. carry\n3. write", 1.0),
        ("Step 1: add\nStep 2: carry", 2 / 3),
        ("- add\n- carry", 2 / 3),
        ("- add\n- add\n- add\n- add", 1 / 3),  # the same again is no further step
        ("First add, then carry. Finally write.", 1.0),
        ("First, first, first, first", 1 / 3),
        ("Zuerst addieren, danach übertragen", 2 / 3),
        ("it is 2", 0.0),
        ("3.5 is a number\nand 1.25 too", 0.0),
    ],
)
def test_steps_of_the_thought_saturate(thought: str, value: float) -> None:
    assert one(steps, f"<think>{thought}</think><answer>2</answer>").value == pytest.approx(value)
    assert one(steps, f"<think>x</think><answer>{thought}</answer>").value == 0.0, "only the thought counts"


def test_the_number_of_steps_is_a_parameter() -> None:
    assert one(steps, "<think>1. a\n2. b</think>", target=8).value == 0.25


# ---- length ----

lengths = st.integers(0, 5000)
bounds = st.lists(st.floats(-3, 3), min_size=4, max_size=4).map(sorted)


@given(lengths, lengths, st.integers(1, 4000), st.sampled_from(["falling", "cosine"]), bounds)
def test_no_wrong_answer_gets_more_than_a_right_one(a: int, b: int, target: int, shape: Any, ends: list[float]) -> None:
    pair = [Completion((1,), (2,) * n, (), "", "stop") for n in (a, b)]
    options: Any = {"target": target, "shape": shape}
    options |= {"wrong": (ends[0], ends[1]), "right": (ends[2], ends[3])}
    right, wrong = length([PROBLEM] * 2, pair, [True, False], **options)
    assert right.value >= wrong.value  # type: ignore[operator]
    shorter, longer = length([PROBLEM] * 2, sorted(pair, key=lambda c: len(c.token_ids)), [True, True], **options)
    assert shorter.value >= longer.value, "among right answers the shorter is never the worse"  # type: ignore[operator]


@settings(deadline=None)  # the grader is imported on first use
@given(st.lists(st.tuples(st.sampled_from("2357"), lengths), min_size=2, max_size=8), st.floats(0, 5))
def test_with_accuracy_a_right_answer_stays_above_every_wrong_one(answers: list[Any], weight: float) -> None:
    from ponder.tasks import TASKS

    task = TASKS["rows"]
    problem = Problem("rows", "1+1?", "2")
    assert task.grade(problem, "2").correct
    reward = compose(parts_of(["accuracy", {"name": "length", "weight": weight, "target": 100}]))
    texts = [Completion((1,), (2,) * n, (), f"<answer>{said}</answer>", "stop") for said, n in answers]
    scores = reward([problem] * len(texts), texts)
    right = [s.value for s in scores if s.correct and s.value is not None]
    wrong = [s.value for s in scores if not s.correct and s.value is not None]
    assert len(right) + len(wrong) == len(answers)
    assert not right or not wrong or min(right) > max(wrong)


def test_length_falls_beyond_the_target(say: Say) -> None:
    three = say("a", "b", "c", tokens=[50, 200, 400])
    values = [s.value for s in length([PROBLEM] * 3, three, [True] * 3, target=200)]
    assert values == [1.0, 1.0, 0.5]
    assert [s.value for s in length([PROBLEM] * 3, three, [False, None, False])] == [0.0, None, 0.0]


def test_the_cosine_schedule_is_open_r1s(say: Say) -> None:
    """The values of open-r1's own tests: right 1.0 to 0.5, wrong -1.0 to -0.5, over the length."""
    three = say("a", "b", "c", tokens=[0, 50, 100])
    right = [s.value for s in length([PROBLEM] * 3, three, [True] * 3, target=100, shape="cosine")]
    wrong = [s.value for s in length([PROBLEM] * 3, three, [False] * 3, target=100, shape="cosine")]
    assert right == pytest.approx([1.0, 0.75, 0.5]) and wrong == pytest.approx([-1.0, -0.75, -0.5])


def test_bounds_that_would_pay_for_wrong_answers_are_refused(say: Say) -> None:
    with pytest.raises(PonderError, match="a wrong answer may never get more than a right one"):
        length([PROBLEM], say("a"), [True], right=(0.0, 1.0), wrong=(-1.0, 0.5))


# ---- repetition ----


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("one two three four five", 0.0),
        ("one two", 0.0),
        ("", 0.0),
        ("a b c a b c", -0.25),  # of four groups of three words one is there twice
        ("wait " * 103, -100 / 101),
    ],
)
def test_repetition_is_a_penalty(text: str, value: float) -> None:
    assert one(repetition, text).value == pytest.approx(value)
    assert one(repetition, text, max_penalty=-0.5).value == pytest.approx(value / 2)


@given(st.text(max_size=200), st.integers(1, 5))
def test_repetition_never_pays(text: str, ngram: int) -> None:
    assert -1.0 <= one(repetition, text, ngram=ngram).value <= 0.0


def test_repetition_sees_scripts_without_spaces() -> None:
    assert one(repetition, "等等等等等等").value == pytest.approx(-0.75)


# ---- language ----


def test_the_share_of_words_in_the_language() -> None:
    english = "We add the two numbers and then we check that it is right"
    german = "Wir rechnen zuerst die Summe und dann prüfe ich, ob sie richtig ist"
    assert share_of_language(english, "en") == 1.0 and share_of_language(english, "de") == 0.0
    assert share_of_language(german, "de") == 1.0
    assert 0.2 < share_of_language(english + " " + german, "en") < 0.8
    assert share_of_language(english + " 我们 再 检查", "en") < 1.0
    assert share_of_language("我们检查答案", "zh") == 1.0
    assert share_of_language("<think>2 + 2 = 4, x = π</think>", "en") == 1.0


def test_the_language_is_the_problems_own_where_none_is_given() -> None:
    german = Problem("sums", "1+1?", "2", {"lang": "de"})
    said = [Completion((1,), (2,), (), "das ist die Zahl", "stop")]
    assert language([german], said)[0].value == 1.0
    assert language([PROBLEM], said)[0].value == 0.0
    assert language([PROBLEM], said, target="de")[0].value == 1.0
    with pytest.raises(PonderError, match="'klingon' cannot be told"):
        language([PROBLEM], said, target="klingon")


# ---- all of them ----

ALL = ("format", "format_parts", "tags", "steps", "repetition", "language")


@given(st.text(max_size=300) | st.text(alphabet="<>/thinkaswer.- \n12", max_size=300))
def test_they_are_total_and_bounded(text: str) -> None:
    (score,) = compose(parts_of(ALL))([PROBLEM], [Completion((1,), (), (), text, "stop")])
    for name in ALL:
        value = score.parts[name]
        assert value is not None and -1.0 <= value <= 1.0
    assert all(0.0 <= share_of_language(text, code) <= 1.0 for code in LANGUAGES)


@pytest.mark.parametrize(
    "unit", ["<think>", " \n", "- ", "1. ", "a b ", "\t", "step 1", "</answer><answer>", "等", "- x"]
)
def test_time_is_linear(unit: str) -> None:
    """Ten times the text takes about ten times as long; a quadratic part would take a hundred times."""

    def seconds(size: int) -> float:
        completion = [Completion((1,), (), (), "<think>" + unit * (size // len(unit)), "stop")]
        reward = compose(parts_of(ALL))
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            reward([PROBLEM], completion)
            best = min(best, time.process_time() - start)
        return best

    small = seconds(10_000)
    assert seconds(100_000) < 40 * small + 0.05
