"""Filters of traces: what each takes, with which reason, and that what stays is untouched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.core.config import parse_settings
from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.data.duplicates import jaccard, near_duplicates, shingles
from ponder.data.filter import FilterSettings, filter_traces, table_as_json
from ponder.data.held_out import EvaluationSet, assert_no_held_out, evaluation_sets, held_out_of
from ponder.tasks import TASKS, draw_mix
from tests.data.traces import trace

ONE = Problem("rows", "What is 2+3?", "5")
TWO = Problem("rows", "What is 4*6?", "24")


def _kept(rows: list[dict[str, Any]], against: tuple[EvaluationSet, ...] = (), **settings: Any) -> list[int]:
    kept, _ = filter_traces(rows, FilterSettings(**{"deduplicate": "none", **settings}), against)
    return [row["sample"] for row in kept]


def test_right_answers_only_and_unknown_ones_are_told_apart() -> None:
    rows = [trace(ONE, f"way {i}", "5", verdict, i) for i, verdict in enumerate((True, False, None, True))]
    kept, table = filter_traces(rows, FilterSettings())
    assert [row["sample"] for row in kept] == [0, 3]
    right = next(row for row in table if row.filter == "right")
    assert (right.before, right.taken, right.after) == (4, 2, 2)
    assert right.reasons == {"wrong": 1, "not known to be right": 1}
    assert right.examples == (f"{ONE.id}/1", f"{ONE.id}/2")
    assert kept[0] is rows[0]  # untouched, provenance and all


def test_the_lenient_reading_is_another_verdict() -> None:
    row = trace(ONE, "so", "5", False, correct_lenient=True)
    assert _kept([row]) == [] and _kept([row], reading="lenient") == [0]


def test_empty_cut_and_malformed_rows() -> None:
    rows = [
        trace(ONE, "a", "5", True, 0, completion="  "), trace(ONE, "b", "5", True, 1, finish="length"),
        trace(ONE, "c", "5", True, 2, well_formed=False), trace(ONE, "d", "5", True, 3),
    ]  # fmt: skip
    assert _kept(rows) == [2, 3]
    assert _kept(rows, well_formed=True) == [3]
    assert _kept(rows, finished=False) == [1, 2, 3]


def test_duplicates_by_three_measures_and_only_within_a_question() -> None:
    long = "first we add the two numbers that were given and then we look at the sum once more to be sure of it"
    texts = (long, f" {long} ", long.upper(), long.replace("sure", "certain"), "quite another way")
    rows = [trace(ONE, "x", "5", True, i, completion=text) for i, text in enumerate(texts)]
    rows.append(trace(TWO, "x", "24", True, 9, completion=long))
    assert _kept(rows, deduplicate="none") == [0, 1, 2, 3, 4, 9]
    assert _kept(rows, deduplicate="exact") == [0, 2, 3, 4, 9]
    assert _kept(rows, deduplicate="normalised") == [0, 3, 4, 9]
    assert _kept(rows, deduplicate="near", near_similarity=0.5) == [0, 4, 9]
    assert _kept(rows, deduplicate="near", near_similarity=0.9) == [0, 3, 4, 9]


def test_a_question_under_another_id() -> None:
    again = Problem("rows", "what is  2+3", "5.0")
    rows = [trace(ONE, "a", "5", True, 0), trace(again, "b", "5", True, 1), trace(TWO, "c", "24", True, 2)]
    assert _kept(rows, deduplicate_questions="normalised") == [0, 2]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
def test_near_duplicates_are_those_of_the_slow_way(threshold: float) -> None:
    import random

    rng = random.Random(5)
    texts = [" ".join(rng.choices("abcd", k=rng.randint(1, 14))) for _ in range(120)]
    sets = [shingles(text, 3) for text in texts]
    slow: dict[int, int] = {}
    kept: list[int] = []
    for place, one in enumerate(sets):
        hit = next((earlier for earlier in kept if jaccard(one, sets[earlier]) >= threshold), None)
        if hit is None:
            kept.append(place)
        else:
            slow[place] = hit
    assert near_duplicates(texts, threshold, 3) == slow and len(slow) > 3


def test_overlap_with_a_named_evaluation_set_by_words_id_question_and_content() -> None:
    words = "a farmer has seventeen goats and buys nine more goats at the market on monday before"
    suite = EvaluationSet("goats", (Problem("rows", f"{words} noon. How many?", "26"), TWO))
    rows = [
        trace(Problem("rows", f"Long ago {words} ten. What then?", "26"), "a", "26", True, 0),
        trace(TWO, "b", "24", True, 1), trace(Problem("rows", "WHAT IS 4 * 6", "24"), "c", "24", True, 2),
        trace(ONE, "d", "5", True, 3),
    ]  # fmt: skip
    kept, table = filter_traces(rows, FilterSettings(), [suite])
    assert [row["sample"] for row in kept] == [3]
    assert dict(table[2].reasons) == {"shares 13 words with goats": 1, "in goats": 2}


def test_other_wordings_of_a_held_out_content() -> None:
    held, other = TASKS["equations"].problems("test", 2)
    reworded = Problem(held.task, f"Please: {held.prompt}", held.answer, held.data)
    assert reworded.id != held.id
    suite = EvaluationSet("own", (held,))
    kept, _ = filter_traces([trace(reworded, "x", held.answer, True)], FilterSettings(), [suite])
    assert kept == []
    assert held_out_of([suite]).why(reworded) == "its content is in own"
    assert "test split" in held_out_of([suite]).why(other)  # by its content alone


def test_difficulty_window_is_over_all_samples_that_came_in() -> None:
    rows = [trace(ONE, f"w{i}", "5", right, i) for i, right in enumerate((True, False, True))]
    rows += [trace(TWO, f"v{i}", "24", True, 3 + i) for i in range(2)]
    rows += [trace(Problem("rows", "What is 1?", "1"), "n", "2", False, 9)]
    assert _kept(rows, pass_rate_above=0, pass_rate_below=1) == [0, 2]
    assert _kept(rows, pass_rate_above=0.7) == [3, 4]
    assert _kept(rows, pass_rate_below=0.5, right=False) == [9]


def test_language_share() -> None:
    german = "und dann ist die antwort nicht die frage, wir prüfen jetzt noch einmal mit der zahl"
    rows = [
        trace(Problem("rows", "Wie viel?", "5", {"lang": "de"}), german, "5", True, 0),
        trace(ONE, german, "5", True, 1), trace(ONE, "and then the answer is what we have found", "5", True, 2),
    ]  # fmt: skip
    assert _kept(rows, language="problem") == [0, 2]
    assert _kept(rows, language="de") == [0, 1]


def test_length_in_tokens_and_characters() -> None:
    rows = [trace(ONE, "x" * size, "5", True, i, completion_tokens=size) for i, size in enumerate((3, 30, 300))]
    assert _kept(rows, min_tokens=10) == [1, 2] and _kept(rows, max_tokens=10) == [0]
    assert _kept(rows, max_characters=100) == [0, 1]
    with pytest.raises(PonderError, match="no completion_tokens"):
        _kept([{**rows[0], "completion_tokens": None}], max_tokens=5)


def test_at_most_k_a_problem_by_rule() -> None:
    rows = [
        trace(ONE, "x" * size, "5", True, i, completion_tokens=size, score=score)
        for i, (size, score) in enumerate(((30, 0.1), (10, 0.5), (20, 0.9)))
    ]
    assert _kept(rows, max_per_problem=1, which="first") == [0]
    assert _kept(rows, max_per_problem=1, which="shortest") == [1]
    assert _kept(rows, max_per_problem=2, which="best") == [1, 2]
    drawn = [tuple(_kept(rows, max_per_problem=1, which="random", seed=seed)) for seed in range(30)]
    assert set(drawn) == {(0,), (1,), (2,)} and drawn[3] == tuple(_kept(rows[::-1], max_per_problem=1, which="random",
                                                                        seed=3))  # fmt: skip
    with pytest.raises(PonderError, match="no row has a score"):
        _kept([{**row, "score": None} for row in rows], max_per_problem=1, which="best")


def test_the_table_adds_up() -> None:
    rows = [trace(p, f"t{s}", p.answer, (i + s) % 3 > 0, s)
            for i, p in enumerate(draw_mix(["arithmetic"], "train", 9)) for s in range(4)]  # fmt: skip
    kept, table = filter_traces(rows, FilterSettings(max_per_problem=1, pass_rate_below=1, max_tokens=500))
    assert table[0].before == len(rows) and table[-1].after == len(kept)
    for before, after in zip(table, table[1:], strict=False):
        assert before.after == after.before
    for row in table:
        assert sum(row.reasons.values()) == row.taken == row.before - row.after
    told = table_as_json(table, rows, kept)
    assert told["problems"] == 9 and told["kept"] == len(kept) and told["without_provenance"] == 0
    json.dumps(told)


@pytest.mark.parametrize(
    ("row", "line"),
    [({"id": "x"}, "row 1: no problem"), ({"problem": "?", "completion": None}, "row 1: no completion")],
)
def test_a_row_that_is_no_trace_is_one_line(row: dict[str, Any], line: str) -> None:
    with pytest.raises(PonderError, match=line):
        filter_traces([row], FilterSettings())


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"max_per_problm": 2}, "did you mean max_per_problem"),
        ({"min_tokens": 9, "max_tokens": 3}, "min_tokens is 9, more than max_tokens"),
        ({"pass_rate_above": 0.5, "pass_rate_below": 0.5}, "not below pass_rate_below"),
        ({"deduplicate": "fuzzy"}, "none"),
    ],
)
def test_a_wrong_setting_is_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(PonderError, match=line):
        parse_settings(FilterSettings, values)


def test_held_out_problems_stop_a_training_stage_by_id() -> None:
    train, test = draw_mix(["arithmetic"], "train", 3), draw_mix(["arithmetic"], "test", 3)
    nothing = held_out_of([])
    assert_no_held_out([*train, *(trace(p, "x", p.answer, True) for p in train)], nothing, "sft")
    for bad in (test[1], trace(test[1], "x", "1", True)):
        with pytest.raises(PonderError, match=f"sft: problem {test[1].id} .row 4. is held out: .*test split"):
            assert_no_held_out([*train, bad], nothing, "sft")
    rows = held_out_of([EvaluationSet("mine", (ONE,))])
    with pytest.raises(PonderError, match=f"{ONE.id}.*its id is in mine"):
        assert_no_held_out([trace(ONE, "x", "5", True)], rows, "sft")
    renamed = trace(Problem("rows", "what is 2+3", "5"), "x", "5", True, id="another")
    with pytest.raises(PonderError, match=r"another.*its question is in mine"):
        assert_no_held_out([renamed], rows, "sft")


def test_sets_by_suite_name_are_found_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PONDER_DATA", raising=False)
    (tmp_path / "gsm8k_test.jsonl").write_text(json.dumps({"question": "What is 2+3?", "answer": "#### 5"}) + "\n")
    (found,) = evaluation_sets(["gsm8k"], tmp_path / "traces.jsonl")
    assert found.name == "gsm8k" and found.problems[0].answer == "5"
    with pytest.raises(PonderError, match="aime24"):
        evaluation_sets(["aime24"], tmp_path / "traces.jsonl")
