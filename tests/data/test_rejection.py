"""Rejection sampling: the best of the right answers, by rule or by a reward model; rows for training."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.data.filter import FilterSettings
from ponder.data.held_out import EvaluationSet, held_out_of
from ponder.data.rejection import keep_best, lessons, scored, text_after
from ponder.tasks import draw_mix
from tests.data.traces import trace

ONE = Problem("rows", "What is 2+3?", "5")
NOTHING = held_out_of(())
ROWS = [
    trace(ONE, "a long way round to the sum", "5", True, 0), trace(ONE, "short", "5", True, 1),
    trace(ONE, "no", "6", False, 2), trace(ONE, "middling way", "5", True, 3),
]  # fmt: skip


def _by_letters(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    assert all(prompt.startswith("Q: ") for prompt in prompts)
    return [float(response.count("d")) for response in responses]


@pytest.mark.parametrize(("which", "kept"), [("shortest", 1), ("first", 0), ("best", 3)])
def test_the_best_by_rule_or_by_a_reward_model(which: str, kept: int) -> None:
    settings = FilterSettings(max_per_problem=1, which=which)
    scorer = _by_letters if which == "best" else None
    (best,), _ = keep_best(ROWS, settings, NOTHING, scorer=scorer, scored_by="letters")
    assert best["sample"] == kept and best["correct"] is True
    assert best["provenance"]["teacher"] == "t"
    if which == "best":
        assert best["score"] == 2.0 and best["provenance"]["scored_by"] == "letters"


def test_only_right_answers_are_scored_and_the_given_rows_stay_as_they_were() -> None:
    seen: list[str] = []

    def scorer(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        seen.extend(responses)
        return [0.5] * len(responses)

    rows = scored(ROWS, scorer, "m")
    assert len(seen) == 3 and rows[2] is ROWS[2] and ROWS[0]["score"] is None and rows[0]["score"] == 0.5
    with pytest.raises(PonderError, match="gave 0 scores for 3 answers"):
        scored(ROWS, lambda prompts, responses: [])


def test_held_out_problems_stop_it() -> None:
    (test,) = draw_mix(["arithmetic"], "test", 1)
    with pytest.raises(PonderError, match=f"rejection sampling: problem {test.id} .row 5. is held out"):
        keep_best([*ROWS, trace(test, "x", test.answer, True)], FilterSettings(), NOTHING)
    with pytest.raises(PonderError, match=ONE.id):
        keep_best(ROWS, FilterSettings(), held_out_of([EvaluationSet("mine", (ONE,))]))


def test_rows_for_training_ask_the_bare_question() -> None:
    (row,) = lessons(ROWS[1:2], lambda problem: f"<{problem.prompt}>")
    assert (row.prompt, row.completion) == ("<What is 2+3?>", ROWS[1]["completion"])


def test_a_thought_that_a_prompt_had_opened() -> None:
    text = "<think>\nso\n</think>\n<answer>5</answer>"
    closed = trace(ONE, "so", "5", True)
    opened = {**closed, "prompt": "Q<think>\n", "completion": text.removeprefix("<think>\n")}
    assert text_after("Q", closed) == text == text_after("Q", opened)
    assert text_after("Q<think>\n", opened) == text.removeprefix("<think>\n") == text_after("Q<think>\n", closed)
