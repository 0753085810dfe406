"""Journeys: wrong attempts, reflections in their language, the right one; shortcuts of as many tokens beside them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ponder.core.config import parse_settings
from ponder.core.errors import PonderError
from ponder.core.thinking import parse
from ponder.core.types import Problem
from ponder.data.held_out import held_out_of
from ponder.data.journey import REFLECTIONS, JourneySettings, attempts_of, journeys, shortcuts
from ponder.tasks import draw_mix
from tests.data.traces import trace

NOTHING = held_out_of(())


def _count(text: str) -> int:
    return len(text.split())


def _problems(n: int) -> list[Problem]:
    return [Problem("rows", f"What is {i}+{i}?", str(2 * i)) for i in range(1, n + 1)]


def _attempts(problems: list[Problem], wrong: int = 3, right: int = 2) -> list[dict[str, Any]]:
    rows = []
    for p in problems:
        rows += [trace(p, f"it is {p.answer}9{k} for {p.id}", f"{p.answer}9{k}", False, k) for k in range(wrong)]
        rows += [trace(p, f"way {k} gives {p.answer}", p.answer, True, wrong + k) for k in range(right)]
    return rows


def test_a_journey_holds_wrong_thoughts_reflections_and_the_right_end() -> None:
    problems = _problems(1)
    made = journeys(_attempts(problems), JourneySettings(shares=(0, 0, 1)), NOTHING, _count)
    (row,) = made.rows
    lines = parse(row["completion"]).thought.splitlines()
    assert row["correct"] is True and row["well_formed"] and row["response"] == "<answer>2</answer>"
    assert len(lines) == 5 and lines[1] in REFLECTIONS["en"] and lines[3] in REFLECTIONS["en"]
    assert lines[0] != lines[2] and "9" in lines[0] and "9" in lines[2] and lines[4].endswith("gives 2")
    assert row["provenance"]["stage"] == "journey" and len(set(row["provenance"]["wrong"])) == 2
    assert row["provenance"]["teacher"] == "t" and row["completion_tokens"] == _count(row["completion"])


def test_shares_can_be_set_and_are_met() -> None:
    rows = _attempts(_problems(400))
    made = journeys(rows, JourneySettings(shares=(1, 2, 1)), NOTHING, _count)
    assert made.asked == made.made and sum(made.made.values()) == 400 == made.problems
    for wrong, share in enumerate((0.25, 0.5, 0.25)):
        assert abs(made.made[wrong] / 400 - share) < 0.08
    counted = Counter(len(row["provenance"]["wrong"]) for row in made.rows)
    assert counted == Counter({k: v for k, v in made.made.items() if v})
    only = journeys(rows, JourneySettings(shares=(0, 1)), NOTHING, _count)
    assert only.made == {0: 0, 1: 400}


def test_where_wrong_attempts_are_missing_it_is_told() -> None:
    rows = _attempts(_problems(10), wrong=1)
    made = journeys(rows, JourneySettings(shares=(0, 0, 1)), NOTHING, _count)
    assert made.asked[2] == 10 and made.made == {0: 0, 1: 10, 2: 0}


def test_wrong_attempts_of_a_journey_end_differently() -> None:
    (p,) = _problems(1)
    rows = [trace(p, f"thought {k}", "7", False, k) for k in range(4)] + [trace(p, "so", "2", True, 9)]
    (row,) = journeys(rows, JourneySettings(shares=(0, 0, 1)), NOTHING, _count).rows
    assert len(row["provenance"]["wrong"]) == 1


def test_only_attempts_that_are_surely_wrong_or_right_are_used() -> None:
    (p,) = _problems(1)
    rows = [
        trace(p, "a", "3", False, 0, correct_lenient=True), trace(p, "b", "3", None, 1),
        trace(p, "c", "3", False, 2, well_formed=False), trace(p, "d", "3", False, 3, finish="length"),
        trace(p, "e", "3", False, 4), trace(p, "e", "3", False, 5), trace(p, "f", "2", True, 6),
    ]  # fmt: skip
    ((right, wrong),) = attempts_of(rows).values()
    assert [row["sample"] for row in right] == [6] and [row["sample"] for row in wrong] == [4]
    assert attempts_of(rows[:6]) == {}  # no right attempt: no problem


def test_reflections_are_in_the_language_of_the_wrong_attempt() -> None:
    p = Problem("rows", "Wie viel ist 1+1?", "2", {"lang": "de"})
    for thought, lang in (("das ist nicht schwer, wir haben drei", "de"), ("this is what we have, so three", "en"),
                          ("1+1=3", "de")):  # fmt: skip
        rows = [trace(p, thought, "3", False, 0), trace(p, "1+1=2", "2", True, 1)]
        (row,) = journeys(rows, JourneySettings(shares=(0, 1)), NOTHING, _count).rows
        assert row["reasoning"].splitlines()[1] in REFLECTIONS[lang]
    own = {"en": ("wrong\nwait",), "de": ("falsch\nMoment",)}
    (row,) = journeys(rows, JourneySettings(shares=(0, 1)), NOTHING, _count, own).rows
    assert row["reasoning"] == "1+1=3\nfalsch\nMoment\n1+1=2"
    with pytest.raises(PonderError, match="at least one reflection"):
        journeys(rows, JourneySettings(), NOTHING, _count, {"en": ()})


def test_the_same_seed_gives_the_same_journeys_and_order_of_rows_does_not_matter_to_others() -> None:
    rows = _attempts(_problems(30))
    one, two = (journeys(rows, JourneySettings(seed=4), NOTHING, _count) for _ in range(2))
    assert one == two != journeys(rows, JourneySettings(seed=5), NOTHING, _count)
    part = journeys(rows[50:], JourneySettings(seed=4), NOTHING, _count)
    assert {r["id"]: r["completion"] for r in part.rows}.items() <= {r["id"]: r["completion"] for r in one.rows}.items()


def test_shortcuts_have_the_problems_and_the_tokens_of_the_journeys() -> None:
    rows = _attempts(_problems(40), right=3)
    made = journeys(rows, JourneySettings(shares=(0, 0, 1)), NOTHING, _count)
    short = shortcuts(rows, made, _count)
    tokens = [sum(row["completion_tokens"] for row in part) for part in (made.rows, short)]
    assert 0 <= tokens[1] - tokens[0] <= max(row["completion_tokens"] for row in short)
    assert {row["id"] for row in short} == {row["id"] for row in made.rows}
    assert all(row["correct"] and "9" not in row["reasoning"].replace(row["answer"], "") for row in short)
    first = [row["completion"] for row in short[:120]]
    assert len(set(first)) == len(first)  # every right attempt once before any a second time
    assert {row["provenance"]["repeat"] for row in short[:120]} == {0}


def test_a_journey_that_is_too_long_is_counted() -> None:
    rows = _attempts(_problems(20))
    made = journeys(rows, JourneySettings(shares=(1, 1), max_tokens=12), NOTHING, _count)
    assert made.dropped == {"longer than 12 tokens": made.asked[1]} and made.made[0] == made.asked[0]
    assert all(row["completion_tokens"] <= 12 for row in made.rows)


def test_held_out_problems_and_wrong_settings_stop_it() -> None:
    test = draw_mix(["arithmetic"], "test", 1)
    with pytest.raises(PonderError, match=f"journey: problem {test[0].id}"):
        journeys(_attempts(test), JourneySettings(), NOTHING, _count)
    for shares in ([0, 0], [-1, 2], []):
        with pytest.raises(PonderError, match="shares"):
            parse_settings(JourneySettings, {"shares": shares})
