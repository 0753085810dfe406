"""Preference pairs from traces: who is chosen, who is not, in which mode, and that nothing is lost in silence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.seeds import random_of
from ponder.core.types import Problem
from ponder.data.pairs import PairSettings, pairs_of
from ponder.models.load import load_model
from ponder.tasks.shapes import Preference, read_examples
from ponder.training.preference_rows import encode_pairs
from tests.data.traces import trace

PROBLEM = Problem("arithmetic", "2+3*4", "14")
OTHER = Problem("arithmetic", "7*8", "56")


def bare(problem: Problem, answer: str, correct: bool | None, sample: int = 0, **more: Any) -> dict[str, Any]:
    """A trace without a thought."""
    text = f"<answer>{answer}</answer>"
    own = {"completion": text, "reasoning": "", "response": text, "well_formed": False}
    return trace(problem, "", answer, correct, sample, **{**own, **more})


def content(row: dict[str, Any], side: str) -> str:
    return str(row[side][-1]["content"])


def test_a_right_sample_before_a_wrong_one() -> None:
    right, wrong = trace(PROBLEM, "3*4=12", "14", True, 0), trace(PROBLEM, "2+3=5", "20", False, 1, score=0.1)
    made = pairs_of([wrong, right], PairSettings())
    (row,) = made.rows
    assert row["prompt"] == [{"role": "user", "content": "2+3*4"}]
    assert content(row, "chosen") == right["completion"] and content(row, "rejected") == wrong["completion"]
    assert (
        row["id"] == PROBLEM.id and row["mode"] == "think" and row["chat_template_kwargs"] == {"enable_thinking": True}
    )
    told = row["provenance"]
    assert told["stage"] == "pairs" and told["kind"] == "better"
    assert told["chosen"]["teacher"] == "t" and told["chosen"]["sample"] == 0 and told["chosen"]["correct"] is True
    assert told["rejected"]["sample"] == 1 and told["rejected"]["score"] == 0.1
    assert made.counts == {
        "traces": 2, "problems": 1, "problems with pairs": 1, "pairs": 1, "pairs, think, better": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("traces", "why"),
    [
        ([trace(PROBLEM, "a", "14", True, i) for i in range(3)], "problems without a think pair: all of equal score"),
        ([trace(PROBLEM, "a", "1", False, i) for i in range(3)], "problems without a think pair: all of equal score"),
        ([trace(PROBLEM, "a", "14", True)], "problems without a think pair: fewer than two samples"),
        (
            [trace(PROBLEM, "a", "14", True), trace(PROBLEM, "a", "14", False, 1)],
            "problems without a think pair: equal texts",
        ),
        (
            [trace(PROBLEM, "a", "14", True, score=1.0), trace(PROBLEM, "b", "1", False, 1, score=0.9)],
            "problems without a think pair: margin too small",
        ),
        (
            [trace(PROBLEM, "a", "14", True, well_formed=False), trace(PROBLEM, "b", "1", False, 1)],
            "problems without a think pair: the better ones are not well formed",
        ),
        ([trace(PROBLEM, "a", "14", True), trace(PROBLEM, "b", "1", None, 1)], "traces of unknown verdict"),
        ([trace(PROBLEM, "a", "14", True), trace(PROBLEM, "b", "1", False, 1, finish="length")], "traces unfinished"),
        ([trace(PROBLEM, "a", "14", True), trace(PROBLEM, "b", "1", False, 1, finish="abort")], "traces unfinished"),
        ([trace(PROBLEM, "a", "14", True), trace(PROBLEM, "b", "1", False, 1, completion=" ")], "traces empty"),
    ],
)  # fmt: skip
def test_why_a_problem_has_no_pair_is_told(traces: list[dict[str, Any]], why: str) -> None:
    made = pairs_of(traces, PairSettings(margin=0.5, well_formed=True))
    assert made.rows == [] and made.counts["pairs"] == 0 and made.counts[why] >= 1, made.counts


def test_by_score_the_best_goes_with_the_worst() -> None:
    traces = [
        trace(PROBLEM, f"t{i}", str(i), True, i, score=score) for i, score in enumerate([0.2, 0.9, 0.5, 0.9, 0.0])
    ]
    made = pairs_of([*traces, trace(PROBLEM, "x", "x", True, 9)], PairSettings(rank_by="score", pairs_per_problem=5))
    told = [(r["provenance"]["chosen"]["score"], r["provenance"]["rejected"]["score"]) for r in made.rows]
    assert told == [(0.9, 0.0), (0.9, 0.2)]
    assert made.counts["traces without score"] == 1


def test_among_right_ones_the_higher_score_is_chosen_first() -> None:
    traces = [
        trace(PROBLEM, "a", "14", True, 0, score=0.6), trace(PROBLEM, "b", "14", True, 1, score=1.0),
        trace(PROBLEM, "c", "1", False, 2, score=0.2), trace(PROBLEM, "d", "2", False, 3, score=0.0),
    ]  # fmt: skip
    (row,) = pairs_of(traces, PairSettings()).rows
    assert (row["provenance"]["chosen"]["sample"], row["provenance"]["rejected"]["sample"]) == (1, 3)
    wide = pairs_of(traces, PairSettings(margin=0.5, pairs_per_problem=4))
    assert [r["provenance"]["chosen"]["sample"] for r in wide.rows] == [1], "0.6 - 0.2 is less than the margin"


samples = st.lists(
    st.tuples(st.booleans(), st.sampled_from([None, 0.0, 0.5, 1.0]), st.sampled_from("abcd"), st.booleans()), max_size=8
)


@settings(deadline=None, max_examples=60)
@given(samples, st.integers(1, 4), st.sampled_from(["correct", "score"]), st.sampled_from([0.0, 0.5]), st.booleans())
def test_what_is_true_of_every_pair(found: Any, most: int, rank_by: Any, margin: float, any_form: bool) -> None:
    traces = [
        (trace if thinks else lambda p, t, *a, **k: bare(p, *a, **k))(PROBLEM, text, text, right, at, score=score)
        for at, (right, score, text, thinks) in enumerate(found)
    ]
    how = PairSettings(
        rank_by=rank_by, pairs_per_problem=most, margin=margin, any_form=any_form, modes=("think", "no_think")
    )
    made = pairs_of(traces, how)
    for mode in how.modes:
        rows = [row for row in made.rows if row["mode"] == mode]
        assert len(rows) <= most
        sides = [row["provenance"][side] for row in rows for side in ("chosen", "rejected")]
        assert len({side["sample"] for side in sides}) == len(sides), "a sample is in one pair at most"
    for row in made.rows:
        chosen, rejected = (row["provenance"][side] for side in ("chosen", "rejected"))
        values = (chosen["score"], rejected["score"])
        assert (values[0] > values[1]) if rank_by == "score" else (chosen["correct"] and not rejected["correct"])
        assert None in values or margin == 0 or values[0] - values[1] >= margin
        assert row["chosen"] != row["rejected"]
        assert ("<think>" in content(row, "chosen")) == (row["mode"] == "think")
        assert row["mode"] == "think" or "<think>" not in content(row, "rejected")
    order = list(traces)
    random_of("shuffle", found).shuffle(order)
    assert pairs_of([*order, trace(OTHER, "x", "56", True)], how).rows == made.rows, "neither order nor others matter"


def test_no_think_pairs_are_of_the_answers_alone() -> None:
    traces = [trace(PROBLEM, "3*4=12", "14", True, 0), trace(PROBLEM, "2+3=5", "20", False, 1)]
    think, no_think = pairs_of(traces, PairSettings(modes=("think", "no_think"))).rows
    assert (
        content(no_think, "chosen") == "<answer>14</answer>" and content(no_think, "rejected") == "<answer>20</answer>"
    )
    assert no_think["chat_template_kwargs"] == {"enable_thinking": False} and "<think>" in content(think, "chosen")
    assert no_think["provenance"]["chosen"]["thought_left_out"] is True
    assert think["provenance"]["chosen"]["thought_left_out"] is False
    native = [*traces, bare(PROBLEM, "fourteen", True, 2), bare(PROBLEM, "5", False, 3)]
    (row,) = pairs_of(native, PairSettings(modes=("no_think",))).rows
    assert content(row, "chosen") == "<answer>fourteen</answer>", "answers that never thought come first"
    (empty,) = pairs_of(native, PairSettings(modes=("no_think",), no_thought="empty", flag="system")).rows
    assert content(empty, "chosen").startswith("<think>") and content(empty, "chosen").endswith(
        "<answer>fourteen</answer>"
    )
    assert empty["prompt"][0] == {"role": "system", "content": "/no_think"}


def test_pairs_of_the_modes_themselves() -> None:
    traces = [trace(PROBLEM, "3*4=12", "14", True, i) for i in range(3)]
    made = pairs_of(traces, PairSettings(modes=("think", "no_think"), mode_pairs=2))
    assert Counter((row["mode"], row["provenance"]["kind"]) for row in made.rows) == {
        ("think", "mode"): 2, ("no_think", "mode"): 2,
    }  # fmt: skip
    for row in made.rows:
        assert ("<think>" in content(row, "chosen")) == (row["mode"] == "think")
        assert ("<think>" in content(row, "rejected")) == (row["mode"] == "no_think")


def test_the_form_is_preferred_where_it_is_asked_for() -> None:
    traces = [trace(PROBLEM, "3*4=12", "14", True, 0), bare(PROBLEM, "14", False, 1)]
    assert pairs_of(traces, PairSettings()).rows == []
    (row,) = pairs_of(traces, PairSettings(any_form=True)).rows
    assert content(row, "rejected") == "<answer>14</answer>"
    backwards = [bare(PROBLEM, "14", True, 0), trace(PROBLEM, "a", "1", False, 1)]
    assert pairs_of(backwards, PairSettings(any_form=True)).rows == [], "an answer without a thought is never chosen"


def test_files_without_the_parts_are_taken_apart() -> None:
    right, wrong = trace(PROBLEM, "3*4=12", "14", True, 0), trace(PROBLEM, "2+3=5", "20", False, 1)
    plain = [{**t, "reasoning": None, "response": None, "well_formed": None} for t in (right, wrong)]
    assert pairs_of(plain, PairSettings(well_formed=True)).rows == pairs_of([right, wrong], PairSettings()).rows


def test_rows_are_read_and_tokenised(tmp_path: Path) -> None:
    traces = [
        trace(problem, "3*4=12", problem.answer if right else "1", right, at)
        for problem in (PROBLEM, OTHER) for at, right in enumerate([True, False])
    ]  # fmt: skip
    made = pairs_of(traces, PairSettings(modes=("think", "no_think"), mode_pairs=1))
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made.rows), encoding="utf-8")
    examples = [row for row in read_examples(path) if isinstance(row, Preference)]
    assert len(examples) == len(made.rows) == 8
    found = encode_pairs(examples, load_model("mini").tokenizer, 512, "error")
    assert len(found.pairs) == 8 and not found.dropped


@pytest.mark.parametrize(
    "changes", [{"pairs_per_problem": 0}, {"margin": -1}, {"modes": ()}, {"modes": ("slow",)}, {"rank_by": "luck"}]
)
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        PairSettings(**changes)
