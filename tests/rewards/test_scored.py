"""A model's score as a part, and parts that apply to some tasks alone."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards import RewardPart, compose, parts_of
from ponder.rewards.scored import Scored, ScoredSteps

ASKED = Problem("requests", "Name two colours.", "red blue")
Say = Callable[..., list[Completion]]


class Lengths:
    """Scores by length; remembers what it was asked."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.asked = scale, []  # type: ignore[var-annotated]

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        self.asked.append(list(zip(prompts, responses, strict=True)))
        return [self.scale * len(text) for text in responses]


def values(part: Any, texts: Sequence[str]) -> list[float | None]:
    said = [Completion((1,), (2,), (), text, "stop") for text in texts]
    return [score.value for score in part([ASKED] * len(texts), said)]


def test_the_response_or_the_answer_alone() -> None:
    text = "<think>abc</think><answer>red</answer>"
    assert values(Scored(Lengths()), [text]) == [len(text)]
    assert values(Scored(Lengths(), on="answer"), [text, "plain"]) == [3, 5]
    opened = Scored(Lengths(), on="answer", opened=True)
    assert values(opened, ["abc</think>four", "never closed"]) == [4, 0]


def test_the_prompt_is_rendered_for_the_scorer() -> None:
    scorer = Lengths()
    values(Scored(scorer, render=lambda problem: f"<{problem.prompt}>"), ["x"])
    assert scorer.asked == [[("<Name two colours.>", "x")]]


def test_normalisations() -> None:
    raw = ["", "a", "aaa"]
    assert values(Scored(Lengths(), missing=-1.0), raw) == [-1.0, 1.0, 3.0]
    sigmoid = values(Scored(Lengths(), normalise="sigmoid"), raw)
    assert sigmoid == pytest.approx([0.0, 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))])
    assert values(Scored(Lengths(), normalise="standard", mean=1.0, std=2.0), raw) == [-0.5, 0.0, 1.0]
    assert values(Scored(Lengths(), clip=(0.5, 2.0)), raw) == [0.5, 1.0, 2.0]
    batch = values(Scored(Lengths(), normalise="batch"), ["a", "aaa"])
    assert batch == pytest.approx([-1.0, 1.0])
    assert values(Scored(Lengths(), normalise="batch"), ["a", "b"]) == [0.0, 0.0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_higher_score_is_never_worth_less(told: list[float]) -> None:
    class Fixed:
        def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
            return [told[int(text)] for text in responses]

    texts = [str(i) for i in range(len(told))]
    for options in (
        {"normalise": "sigmoid"},
        {"normalise": "batch"},
        {"clip": (-1, 1)},
        {"normalise": "standard", "std": 3.0},
    ):
        got = values(Scored(Fixed(), **options), texts)  # type: ignore[arg-type]
        assert all(value is not None and math.isfinite(value) for value in got)
        ordered = [value for _, value in sorted(zip(told, got, strict=True), key=lambda pair: pair[0])]
        assert all(a <= b + 1e-9 for a, b in zip(ordered, ordered[1:], strict=False))  # type: ignore[operator]


def test_no_finite_score_is_unknown() -> None:
    (score,) = Scored(Lengths(math.nan))([ASKED], [Completion((1,), (2,), (), "a", "stop")])
    assert score.value is None and "nan" in score.note
    (score,) = Scored(Lengths(math.inf), normalise="sigmoid")([ASKED], [Completion((1,), (2,), (), "a", "stop")])
    assert score.value is None


def test_equal_answers_get_equal_scores_whatever_rounding_the_batch_brings() -> None:
    class Noisy:
        def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
            return [0.5 + 1e-7 * place for place in range(len(responses))]

    got = values(Scored(Noisy(), on="answer"), [f"<think>{i}</think><answer>x</answer>" for i in range(4)] + ["y"])
    assert len(set(got)) == 1
    scorer = Lengths()
    values(Scored(scorer), ["a", "b", "a"])
    assert [text for _, text in scorer.asked[0]] == ["a", "b"]


def test_a_spread_or_bounds_that_cannot_be_are_refused() -> None:
    with pytest.raises(PonderError, match="std is 0"):
        Scored(Lengths(), std=0.0)
    with pytest.raises(PonderError, match=r"clip is \[1, 0\]"):
        Scored(Lengths(), clip=(1, 0))


def test_scores_of_steps() -> None:
    class Steps:
        def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float]]:
            return [[float(step) for step in row] for row in steps]

    texts = ["0.5\n0.25\n1", "", "1", "nan"]
    wanted: dict[str, list[float | None]] = {
        "min": [0.25, 0.0, 1.0, None], "mean": [0.5833, 0.0, 1.0, None],
        "last": [1.0, 0.0, 1.0, None], "product": [0.125, 0.0, 1.0, None],
    }  # fmt: skip
    for how, expected in wanted.items():
        assert values(ScoredSteps(Steps(), str.split, how), texts) == expected
    (score,) = ScoredSteps(Steps(), str.split)([ASKED], [Completion((1,), (2,), (), texts[0], "stop")])
    assert score.parts == {"least": 0.25, "steps": 3.0}


# ---- some tasks alone ----


def test_a_part_is_asked_about_its_own_tasks_alone(sums: Problem, say: Say) -> None:
    scorer = Lengths()
    reward = compose([
        *parts_of([{"name": "accuracy", "tasks": ["sums"]}, "format"]),
        RewardPart("model", Scored(scorer), 0.1, tasks=("requests",)),
    ])  # fmt: skip
    right, asked = reward([sums, ASKED], say("<think>x</think><answer>2</answer>", "red"))
    assert right.value == pytest.approx(1.2) and right.correct is True
    assert right.parts["model"] is None and "model/raw" not in right.parts
    assert asked.value == pytest.approx(0.3) and asked.correct is None
    assert asked.parts["accuracy"] is None and asked.parts["model"] == 3.0 and asked.parts["model/raw"] == 3.0
    assert [len(call) for call in scorer.asked] == [1]


def test_a_part_that_cannot_say_is_unknown_where_it_applies_and_only_there(sums: Problem, say: Say) -> None:
    reward = compose([*parts_of(["accuracy"]), RewardPart("m", Scored(Lengths(math.nan)), tasks=("requests",))])
    assert reward([sums], say("<answer>2</answer>"))[0].value == 1.0
    broken = compose([*parts_of(["format"]), RewardPart("m", Scored(Lengths(math.nan)), tasks=("requests",))])
    (score,) = broken([ASKED], say("red"))
    assert score.value is None and score.note.startswith("format: ")


def test_where_no_part_applies_the_reward_is_unknown_and_says_so(say: Say) -> None:
    (score,) = compose(parts_of([{"name": "format", "tasks": "sums"}]))([ASKED], say("x"))
    assert score.value is None and score.note == "no part of the reward applies to this task"


def test_slow_parts_begin_on_their_own_tasks_alone(sums: Problem, say: Say) -> None:
    seen: list[str] = []
    lock = threading.Lock()

    def wait(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        with lock:
            seen.extend(problem.task for problem in problems)
        return [Score(0.5, None) for _ in completions]

    reward = compose([*parts_of(["format"]), RewardPart("slow", wait, slow=True, tasks=("requests",))])
    assert reward.slow_for(ASKED) and not reward.slow_for(sums)
    both = reward([sums, ASKED], say("x", "y"))
    assert seen == ["requests"] and [score.parts["slow"] for score in both] == [None, 0.5]


def test_length_goes_by_the_verdicts_of_its_own_rows(sums: Problem, say: Say) -> None:
    entries = [{"name": "accuracy", "tasks": ["sums"]}, {"name": "length", "tasks": ["sums"], "target": 1}, "format"]
    right, asked = compose(parts_of(entries))([sums, ASKED], say("<answer>2</answer>", "red"))
    assert right.parts["length"] == 0.5 and asked.parts["length"] is None and asked.value == 0.0


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        (["request"], r"tasks has 'request', which is unknown.*requests"),
        ([], r"tasks is \[\], not a list"),
        (3, "tasks is 3, not a list"),
        ([""], "not a list of tasks"),
    ],
)
def test_tasks_are_checked(tasks: Any, why: str) -> None:
    with pytest.raises(PonderError, match=why):
        parts_of([{"name": "format", "tasks": tasks}])


def test_tasks_of_files_of_your_own_are_taken() -> None:
    assert parts_of([{"name": "format", "tasks": ["my-own-rows"]}])[0].tasks == ("my-own-rows",)


@given(st.lists(st.tuples(st.sampled_from(["2", "3"]), st.integers(1, 400)), min_size=2, max_size=6), st.floats(0, 3))
def test_the_shortest_right_answer_leads_and_wrong_ones_get_nothing(answers: list[Any], weight: float) -> None:
    problem = Problem("rows", "1+1?", "2")
    said = [Completion((1,), (2,) * n, (), f"<answer>{text}</answer>", "stop") for text, n in answers]
    entry = {"name": "length", "weight": weight, "shape": "shortest"}
    scores = compose(parts_of(["accuracy", entry]))([problem] * len(said), said)
    right = [(n, s) for (_, n), s in zip(answers, scores, strict=True) if s.correct]
    wrong = [s for s in scores if not s.correct]
    assert all(s.parts["length"] == 0.0 for s in wrong)
    if right:
        assert max(s.parts["length"] or 0 for _, s in right) == 1.0
        assert min(s.value or 0 for _, s in right) > max([s.value or 0 for s in wrong], default=-1)
        shortest = min(n for n, _ in right)
        assert all(s.parts["length"] == pytest.approx(shortest / n) for n, s in right)
