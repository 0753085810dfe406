"""Rewards: the built-in parts, functions written for TRL as they are, and how parts combine."""

from __future__ import annotations

import asyncio
import math
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ponder.tasks
from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards import Reward, RewardPart, accuracy, compose, format, load_function, reward_part

PROBLEMS = [Problem("sums", "1+1?", "2", {"level": 1}), Problem("sums", "2+3?", "5", {"level": 2, "hint": "odd"})]


class Sums:
    """A task whose answers are compared as text; "?" is beyond its grader."""

    name = "sums"

    def problems(self, split: str, n: int, seed: str = "") -> list[Problem]:
        return PROBLEMS[:n]

    def grade(self, problem: Problem, answer: str) -> Score:
        if answer == "?":
            return Score(None, None, note="cannot say")
        return Score(float(answer == problem.answer), answer == problem.answer)


@pytest.fixture(autouse=True)
def _sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ponder.tasks.TASKS, "sums", Sums())


def say(*texts: str) -> list[Completion]:
    return [Completion((1,), (2, 3), (-0.1, -0.2), text, "stop") for text in texts]


def values(scores: Sequence[Score]) -> list[float | None]:
    return [score.value for score in scores]


GOOD = "<think>easy</think><answer>2</answer>"


@pytest.mark.parametrize(
    ("text", "value", "correct"),
    [
        (GOOD, 1.0, True),
        ("<answer>2</answer>", 1.0, True),  # accuracy does not ask for form
        ("<think>x</think><answer>3</answer><answer>2</answer>", 0.0, False),  # the first answer counts
        ("<think>x</think><answer>2</answer> or 3", 1.0, True),  # what follows is not graded
        ("<think><answer>2</answer></think>", 0.0, False),  # an answer inside the thought is none
        ("<think>x</think>2", 0.0, False),
        ("<think>x</think><answer>2", 0.0, False),  # never closed
        ("<think>x</think><answer></answer>", 0.0, False),
        ("", 0.0, False),
        ("<think>x</think><answer>?</answer>", None, None),
    ],
)
def test_accuracy_grades_the_first_answer_outside_the_thought(
    text: str, value: float | None, correct: bool | None
) -> None:
    score = accuracy(PROBLEMS[:1], say(text))[0]
    assert (score.value, score.correct) == (value, correct)
    if "<answer>" not in text:
        assert score.note == "no answer"


@pytest.mark.parametrize(
    ("text", "value", "note"),
    [
        (GOOD, 1.0, ""),
        (" " + GOOD + "\n", 1.0, ""),
        (GOOD + "!", 0.0, "text after the answer"),
        (GOOD + GOOD, 0.0, "2 times <think>"),
        ("so " + GOOD, 0.0, "text before the thought"),
        ("<answer>2</answer>", 0.0, "no <think>"),
        ("<think></think><answer>2</answer>", 0.0, "empty thought"),
        ("<think>x</think> hence <answer>2</answer>", 0.0, "text between thought and answer"),
    ],
)
def test_format_is_strict(text: str, value: float, note: str) -> None:
    score = format(PROBLEMS[:1], say(text))[0]
    assert (score.value, score.note) == (value, note)


def test_a_thought_that_the_template_opened_is_one_thought() -> None:
    text = "easy</think><answer>2</answer>"
    assert format(PROBLEMS[:1], say(text))[0].value == 0.0
    assert format(PROBLEMS[:1], say(text), opened=True)[0].value == 1.0


@settings(deadline=None)
@given(st.text(alphabet="<>/thinkaswer2 \n", max_size=80))
def test_the_parts_are_total(text: str) -> None:
    reward = compose([reward_part("accuracy"), reward_part("format")])
    score = reward(PROBLEMS[:1], say(text))[0]
    assert score.value in (None, 0.0, 1.0, 2.0)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(PonderError, match="task 'tea' has no grader"):
        accuracy([Problem("tea", "?", "1")], say(GOOD))


# ---- combining ----


def test_the_value_is_the_weighted_sum_and_the_parts_are_kept() -> None:
    reward = compose([reward_part("accuracy", 1.0), reward_part("format", 0.5)])
    right, wrong = reward(PROBLEMS, say(GOOD, "<think>x</think><answer>4</answer>!"))
    assert right.value == 1.5 and right.correct is True and right.parts == {"accuracy": 1.0, "format": 1.0}
    assert wrong.value == 0.0 and wrong.correct is False and wrong.note == "format: text after the answer"


def half(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float | None]:
    return [0.5 if "half" in c.text else None for c in completions]


def test_an_unknown_part_makes_the_reward_unknown_and_never_zero() -> None:
    reward = compose([RewardPart("half", half), reward_part("format")])
    known, unknown = reward(PROBLEMS, say("half", GOOD))
    assert known.value == 0.5
    assert unknown.value is None and unknown.parts == {"half": None, "format": 1.0}


def test_a_part_that_does_not_apply_can_be_skipped() -> None:
    reward = compose([RewardPart("half", half, none="skip"), reward_part("format")])
    assert values(reward(PROBLEMS, say("half", GOOD))) == [0.5, 1.0]
    only = compose([RewardPart("half", half, none="skip")])
    assert values(only(PROBLEMS[:1], say(GOOD))) == [None]


def test_a_part_of_weight_0_is_only_logged() -> None:
    reward = compose([RewardPart("half", half, weight=0.0), reward_part("format")])
    score = reward(PROBLEMS[:1], say(GOOD))[0]
    assert score.value == 1.0 and score.parts["half"] is None


def test_weights_can_be_changed_in_order_or_by_name() -> None:
    reward = compose([reward_part("accuracy"), reward_part("format")])
    assert values(reward.reweighted([2.0, 3.0])(PROBLEMS[:1], say(GOOD))) == [5.0]
    assert values(reward.reweighted({"format": 0.25})(PROBLEMS[:1], say(GOOD))) == [1.25]
    with pytest.raises(PonderError, match="3 values for 2 parts"):
        reward.reweighted([1.0, 2.0, 3.0])
    with pytest.raises(PonderError, match="names 'accuracies'; the parts are accuracy, format"):
        reward.reweighted({"accuracies": 1.0})


def test_mistakes_in_composing_are_named() -> None:
    with pytest.raises(PonderError, match="at least one part"):
        compose([])
    with pytest.raises(PonderError, match="two reward parts are called 'format'"):
        compose([reward_part("format"), reward_part("format")])
    with pytest.raises(PonderError, match="'acuracy' is unknown; .* accuracy, code, .*did you mean accuracy"):
        reward_part("acuracy")


def test_a_reward_of_importable_parts_can_be_sent_to_another_process() -> None:
    reward = pickle.loads(pickle.dumps(compose([reward_part("accuracy"), reward_part(tutorial_format_reward)])))
    assert isinstance(reward, Reward) and reward(PROBLEMS[:1], say(GOOD))[0].value == 2.0


# ---- functions written for TRL ----


def tutorial_format_reward(completions: Any, **kwargs: Any) -> list[float]:
    """As the TRL-based tutorials have it, but for the type hints."""
    pattern = r"^<think>.*?</think>\s*<answer>.*?</answer>$"
    completion_contents = [completion[0]["content"] for completion in completions]
    matches = [re.match(pattern, content) for content in completion_contents]
    return [1.0 if match else 0.0 for match in matches]


def tutorial_accuracy_reward(completions: Any, **kwargs: Any) -> list[float]:
    """As above, with a regular expression in the place of math_verify."""
    solutions = kwargs["solution"]
    completion_contents = [completion[0]["content"] for completion in completions]
    rewards = []
    for content, solution in zip(completion_contents, solutions):  # noqa: B905
        found = re.search(r"<answer>(.*?)</answer>", content)
        rewards.append(1.0 if found and found.group(1) == solution else 0.0)
    return rewards


def ground_truth_reward(completions: Any, ground_truth: Any, **kwargs: Any) -> list[float]:
    """TRL's documentation, with completions as strings."""
    matches = [re.search(r"<answer>(.*?)</answer>", completion) for completion in completions]
    contents = [match.group(1) if match else "" for match in matches]
    return [1.0 if c == gt else 0.0 for c, gt in zip(contents, ground_truth)]  # noqa: B905


def test_the_tutorials_functions_run_as_they_are() -> None:
    texts = say(GOOD, "<think>x</think>\n<answer>4</answer>")
    reward = compose([reward_part(tutorial_format_reward), reward_part(tutorial_accuracy_reward)])
    assert values(reward(PROBLEMS, texts)) == [2.0, 1.0]
    assert values(compose([reward_part(ground_truth_reward)])(PROBLEMS, texts)) == [1.0, 0.0]


def test_trls_own_reward_functions_run_as_they_are() -> None:
    rewards = pytest.importorskip("trl.rewards")
    reward = compose([reward_part(rewards.think_format_reward)])
    assert values(reward(PROBLEMS, say("<think>a</think>b", "b"))) == [1.0, 0.0]


def test_an_empty_completion_does_not_hide_what_a_function_wants() -> None:
    reward = compose([reward_part(tutorial_format_reward)])
    assert values(reward(PROBLEMS, say("", GOOD))) == [0.0, 1.0]
    assert values(reward([], [])) == []
    assert values(reward(PROBLEMS[:1], say(GOOD))) == [1.0]


def test_columns_are_the_problems_fields() -> None:
    seen: dict[str, Any] = {}

    def spy(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        seen.update(columns, prompts=prompts, completions=completions)
        return [0.0] * len(prompts)

    compose([reward_part(spy)])(PROBLEMS, say("a", "b"))
    assert seen["prompts"] == ["1+1?", "2+3?"] and seen["completions"] == ["a", "b"]
    assert seen["answer"] == seen["solution"] == seen["ground_truth"] == ["2", "5"]
    assert seen["task"] == ["sums", "sums"] and seen["problem_id"] == [p.id for p in PROBLEMS]
    assert seen["level"] == [1, 2] and seen["hint"] == [None, "odd"]
    assert seen["completion_ids"] == [[2, 3], [2, 3]]


def test_a_field_of_the_data_wins_over_our_own_name_for_it() -> None:
    problem = Problem("sums", "1+1?", "2", {"solution": r"\boxed{2}"})

    def spy(completions: Any, solution: Any) -> list[float]:  # takes no **kwargs
        assert solution == [r"\boxed{2}"]
        return [1.0]

    assert values(compose([reward_part(spy)])([problem], say("x"))) == [1.0]


def test_a_signature_default_or_an_attribute_says_conversational() -> None:
    def with_default(completions: Any, conversational: bool = True, **kwargs: Any) -> list[float]:
        return [float(isinstance(c, list)) for c in completions]

    def with_attribute(completions: Any, **kwargs: Any) -> list[float]:
        return [float(isinstance(c, list)) for c in completions]

    def plain(completions: Any, **kwargs: Any) -> list[float]:
        return [float(isinstance(c, list)) for c in completions]

    with_attribute.conversational = True  # type: ignore[attr-defined]
    reward = compose([reward_part(f) for f in (with_default, with_attribute, plain)])
    parts = reward(PROBLEMS[:1], say("x"))[0].parts
    assert parts == {"with_default": 1.0, "with_attribute": 1.0, "plain": 0.0}


async def awaited(completions: Any, **kwargs: Any) -> list[float]:
    await asyncio.sleep(0)
    return [float(len(c)) for c in completions]


def test_async_functions_run_with_and_without_a_loop_around() -> None:
    reward = compose([reward_part(awaited)])
    assert values(reward(PROBLEMS, say("a", "bc"))) == [1.0, 2.0]

    async def notebook() -> list[Score]:
        return reward(PROBLEMS, say("a", "bc"))

    assert values(asyncio.run(notebook())) == [1.0, 2.0]


def test_none_and_nan_are_unknown() -> None:
    def verdict(completions: Any, **kwargs: Any) -> list[float | None]:
        return [None, math.nan]

    assert values(compose([reward_part(verdict)])(PROBLEMS, say("a", "b"))) == [None, None]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1.0], r"reward 'bad' returned 1 values for 2 completions"),
        (0.5, r"reward 'bad' returned a float; it must return a list"),
        ("ab", r"reward 'bad' returned a str"),
        ([0.0, "good"], r"reward 'bad', row 1 \(problem \w+\): returned 'good', not a finite number"),
        ([math.inf, 0.0], r"reward 'bad', row 0 \(problem \w+\): returned inf"),
        ([[1.0], [2.0]], r"reward 'bad', row 0 .*: returned \[1.0\]"),
    ],
)
def test_what_a_function_returns_is_checked(returned: Any, message: str) -> None:
    reward = compose([reward_part(lambda completions, **kwargs: returned, name="bad")])
    with pytest.raises(PonderError, match=message):
        reward(PROBLEMS, say("a", "b"))


def test_an_exception_inside_a_function_names_it_and_the_row() -> None:
    def brittle(completions: Any, **kwargs: Any) -> list[float]:
        return [1.0 / len(c) for c in completions]

    with pytest.raises(
        PonderError, match=r"reward 'brittle' raised ZeroDivisionError: .* on row 1 \(problem"
    ) as raised:
        compose([reward_part(brittle)])(PROBLEMS, say("a", ""))
    assert "\n" not in str(raised.value)


def test_a_bug_in_a_conversational_function_is_told_as_such() -> None:
    def brittle(completions: Any, **kwargs: Any) -> list[float]:
        return [1.0 / len(c[0]["content"]) for c in completions]

    with pytest.raises(PonderError, match="raised ZeroDivisionError"):
        compose([reward_part(brittle)])(PROBLEMS, say("a", ""))


# ---- functions from a file ----


def test_a_function_is_loaded_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def short(completions, **kwargs):\n    return [1.0 / (1 + len(c)) for c in completions]\n")
    part = reward_part(f"{file}:short", weight=2.0)
    assert part.name == "short"
    assert values(compose([part])(PROBLEMS, say("", "a"))) == [2.0, 1.0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{folder}/none.py:f", "there is no file"),
        ("{folder}/mine.py:g", "has no function 'g'"),
        ("{folder}/broken.py:f", "raised SyntaxError"),
        ("{folder}/mine.py:", "write it as path/to/file.py:function"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_named(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "mine.py").write_text("f = 3\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(PonderError, match=message):
        load_function(spec.format(folder=tmp_path))
