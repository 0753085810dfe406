"""Any string gets a verdict from every rule, in linear time; gold is right; text after an answer mends nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.verify.choice import verify_choice
from ponder.verify.countdown import verify_countdown
from ponder.verify.instructions import INSTRUCTIONS, verify_instructions
from ponder.verify.logic import verify_ordering, verify_truth_tellers
from ponder.verify.verdict import Verdict

checked = settings(max_examples=100, deadline=None)  # a shared machine makes any deadline flaky
CHOICES = ["ten", "12", "a dog", "Both A and B"]
PEOPLE = ["Ann", "Bob", "Cid"]
ROLES = {"A": True, "B": False}
RULES: dict[str, Callable[[str, str], Verdict]] = {
    "letter": lambda text, form: verify_choice(text, "B", form=form),
    "choices": lambda text, form: verify_choice(text, "B", CHOICES, form=form),
    "several": lambda text, form: verify_choice(text, "A, C", CHOICES, form=form),
    "ordering": lambda text, form: verify_ordering(text, PEOPLE, form=form),
    "roles": lambda text, form: verify_truth_tellers(text, ROLES, form=form),
    "countdown": lambda text, form: verify_countdown(text, [3, 4, 6], 21, form=form),
}
RIGHT = {
    "letter": "B", "choices": "B) 12", "several": "A and C", "ordering": "Ann, Bob, Cid",
    "roles": "A is a knight, B is a knave", "countdown": "6*4-3",
}  # fmt: skip
WRONG = {
    "letter": "C", "choices": "C) a dog", "several": "A", "ordering": "Bob, Ann, Cid",
    "roles": "A is a knave, B is a knight", "countdown": "6*4*3",
}  # fmt: skip
PIECES = [
    "A", "B", "C", "a", "12", "ten", "Ann", "Bob", "Cid", ", ", " > ", " < ", " and ", " or ", " is ", "knight",
    "knave", "\\boxed{", "}", "<answer>", "</answer>", "<think>", "</think>", "The answer is ", "(", ")", ".", "\n",
    "*", "6*4-3", "=", "not ", "\\text{", "\\frac{", "1. ", "$", "'", "?", "both ", "Antwort: ", "İ", "\x00", "９", "²",
]  # fmt: skip
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))


@pytest.mark.parametrize("rule", RULES)
@checked
@given(text=texts, form=st.sampled_from(["raw", "bare", "completion"]))
def test_any_text_gets_a_verdict(rule: str, text: str, form: str) -> None:
    verdict = RULES[rule](text, form)
    assert verdict.correct in (True, False) and verdict.ms >= 0
    again = RULES[rule](text, form)
    assert (again.correct, again.note, again.extracted) == (verdict.correct, verdict.note, verdict.extracted)
    if not verdict.correct and verdict.extracted is None:
        assert verdict.note


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", ["raw", "bare", "completion"])
def test_right_and_wrong_in_every_form(rule: str, form: str) -> None:
    assert RULES[rule](RIGHT[rule], form).correct and not RULES[rule](WRONG[rule], form).correct


@pytest.mark.parametrize("rule", RULES)
@checked
@given(before=st.text(max_size=40), after=texts)
def test_text_around_a_tagged_answer_changes_nothing(rule: str, before: str, after: str) -> None:
    tail = after.replace("<answer>", "").replace("</think>", "")
    for inside, right in ((RIGHT[rule], True), (WRONG[rule], False)):
        text = f"<think>{before.replace('<', '')}</think><answer>{inside}</answer>{tail}"
        assert RULES[rule](text, "completion").correct is right, text


@pytest.mark.parametrize("rule", RULES)
@checked
@given(after=texts)
def test_text_after_a_wrong_box_does_not_mend_it(rule: str, after: str) -> None:
    tail = after.replace("\\boxed{", "").replace("<answer>", "").replace("</think>", "")
    assert not RULES[rule](f"\\boxed{{\\text{{{WRONG[rule]}}}}}. " + tail, "completion").correct


HOSTILE = [
    "A ", "B) x\n", "\\boxed{", "\\boxed{A}", "(", " ", "\n", "*", "The answer is ", "A or ", "Ann, ", "knight ",
    "A is a knight. ", "\\frac{", "\\text{", "1. Ann\n", "9", "6*", "Option ", "and ", "<answer>", "'",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_is_read_in_time(unit: str) -> None:
    text = unit * (10**6 // len(unit))
    for name, rule in RULES.items():
        for form in ("raw", "bare"):  # "completion" reads a part of it as "raw" does
            start = time.process_time()
            rule(text, form)
            assert time.process_time() - start < 1.0, (name, form)


ARGUMENTS = {
    "count": 2, "position": 1, "text": "word", "texts": ["word"], "letter": "e", "relation": "at least",
    "language": "de",
}  # fmt: skip


@pytest.mark.parametrize("name", INSTRUCTIONS)
@settings(max_examples=25, deadline=None)
@given(text=texts, loose=st.booleans())
def test_any_text_is_checked_against_any_instruction(name: str, text: str, loose: bool) -> None:
    kwargs = {key: ARGUMENTS[wanted] for key, wanted in INSTRUCTIONS[name][1].items()}
    found = verify_instructions(text, [name], [kwargs], loose=loose)
    assert found.followed == (found.correct,) and (found.correct or found.note)
