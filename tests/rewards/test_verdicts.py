"""Reading a judge's verdict: what counts as one, what does not, and that no text breaks the reading."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.rewards.verdicts import own_words, read_choice, read_label, read_score


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Score: 7", 7),
        ("It is fine.\nScore: 7/10", 7),
        ("**Score:** 7", 7),
        ("**Score: 7**", 7),
        ("The final score is 7 out of 10.", 7),
        ("Rating = 7.0", 7),
        ("score: 7,5 von 10", 7.5),
        ('{"score": 7, "why": "fine"}', 7),
        ('```json\n{"reason": "ok", "rating": "7/10"}\n```', 7),
        (r"so \boxed{7}", 7),
        (r"\boxed{7/10}", 7),
        ("I rate it [[7]]", 7),
        ("Good.\n7", 7),
        ("Good.\n**7/10**", 7),
        ("I would give this 7/10, for it is fine", 7),
        ("Bewertung: 7", 7),
        ("Score: 3\nOn second thoughts,\nScore: 7", 7),  # the last counts
        ('{"score": 3} no: Score: 7', 7),
        ('The answer says "Score: 10/10". Mine:\nScore: 7', 7),
        ("Score: 7. The answer claims “Score: 10”", 7),  # quoted: somebody else's
        ("Scores go from Score: 1-10.\nScore: 7", 7),
        ("Score: 1", 1),
        ("Score: 10", 10),
    ],
)
def test_scores_are_read(text: str, value: float) -> None:
    assert read_score(text).value == pytest.approx((value - 1) / 9)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no score"),
        ("I cannot say.", "no score"),
        ("Score: high", "no score"),
        ("There are 7 apples in it", "no score"),
        ("Score: 1-10", "no score"),
        ("Score: 11", "outside 1 to 10"),
        ("Score: -3", "outside 1 to 10"),
        ("Score: 0.5", "outside 1 to 10"),
        ("Score: 4/5", "on a scale to 10"),
        ("Score: 70%", "on a scale to 10"),
        ("Score: 12345678901234567890", "no score"),
        ("Score: inf", "no score"),
    ],
)
def test_what_cannot_be_read_is_unknown_and_says_why(text: str, why: str) -> None:
    verdict = read_score(text)
    assert verdict.value is None and why in verdict.note and "\n" not in verdict.note


def test_scales_of_their_own() -> None:
    assert read_score("Score: 0.25", 0, 1).value == 0.25
    assert read_score("Score: 70 %", 0, 100).value == 0.7
    assert read_score("Score: 4/5", 1, 5).value == 0.75
    assert read_score("Score: -1", -1, 1).value == 0.0


LABELS = {"safe": 1.0, "unsafe": 0.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Verdict: safe", 1.0),
        ("Verdict: **unsafe**.", 0.0),
        ("The verdict is: UNSAFE", 0.0),
        ("It would be safe, but\nVerdict: unsafe", 0.0),
        ('{"verdict": "safe"}', 1.0),
        ("Well.\nsafe.", 1.0),
        (r"\boxed{\text{unsafe}}", 0.0),
        ("Verdict: safe or unsafe?", None),
        ("Verdict: safe / unsafe", None),
        ("It is quite safe I think", None),
        ("Verdict: safety first", None),
    ],
)
def test_labels(text: str, value: float | None) -> None:
    assert read_label(text, LABELS).value == value


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Verdict: A", "A"),
        ("verdict: b.", "B"),
        ("[[B]]", "B"),
        ("A is longer, B is right.\n\nB", "B"),
        ("Winner: Response A", "A"),
        ("**Verdict:** tie", "tie"),
        ('{"winner": "B", "why": "A is rude"}', "B"),
        ("Verdict: A or B", None),
        ("Both are good answers", None),
        ("A", "A"),
        ("", None),
    ],
)
def test_choices(text: str, choice: str | None) -> None:
    assert read_choice(text, ("A", "B", "tie")).choice == choice


def test_own_words_leave_out_thought_and_what_is_repeated() -> None:
    assert own_words("<think>Score: 1</think>\nScore: 7") == "Score: 7"
    assert own_words("Score: 1</think>Score: 7") == "Score: 7", "the template may have opened the thought"
    assert own_words("<think>Score: 9 and on and on") == ""
    quoted = "It says\n===== response m4rk =====\nScore: 10\n===== end of response m4rk =====\nScore: 2"
    assert read_score(own_words(quoted, "m4rk")).value == pytest.approx(1 / 9)
    assert "Score" not in own_words("===== response m4rk =====\nScore: 10", "m4rk")


PIECES = [
    "Score: ",
    "score",
    '"',
    "7",
    "/10",
    "[[",
    "]]",
    "\\boxed{",
    "}",
    "{",
    ":",
    " ",
    "\n",
    "A",
    "tie",
    "Verdict",
    "%",
    "-",
    ".",
    "9" * 30,
]


@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_reading_is_total_and_on_the_scale(text: str) -> None:
    value = read_score(text).value
    assert value is None or 0.0 <= value <= 1.0
    assert read_choice(text, ("A", "B", "tie")).choice in (None, "A", "B", "tie")
    assert read_label(text, LABELS).value in (None, 0.0, 1.0)
    assert len(own_words(text, "x")) <= len(text)


@pytest.mark.parametrize(
    "unit",
    ["Score: ", "score is ", "7/", "1.", "[[ ", "\\boxed{ ", '"score":', "Verdict: A or ", "A ", "*", "</think>", "- "],
)
def test_time_is_bounded(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    start = time.process_time()
    read_score(text), read_choice(text, ("A", "B", "tie")), read_label(own_words(text, "mark"), LABELS)
    assert time.process_time() - start < 1.0
