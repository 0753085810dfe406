"""The audit finds what was planted, and says nothing of what is in order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.sandbox.limits import SandboxUnavailable
from ponder.tasks.audit import GRADERS, audit, check_golds, completion_of, grade_gold, overlapping, signs_of, words_of
from ponder.tasks.rows import read_rows
from ponder.verify.answers import extract

SHARED = Path(os.environ.get("PONDER_SHARED_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))
LONG = "A farmer sells {n} eggs on Monday, {m} on Tuesday and on Wednesday as many as on both days before. How many?"


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def ask(problem: str, answer: Any = "5") -> dict[str, Any]:
    return {"problem": problem, "answer": answer}


def test_a_clean_file_has_no_findings(tmp_path: Path) -> None:
    rows = [ask("2+3?"), ask("1/2 + 1/2?", 1), ask("Who wrote Faust?", "Goethe"), ask("Half?", "\\frac{1}{2}")]
    report, problems = audit(write(tmp_path / "r.jsonl", rows))
    assert report.passed and not report.findings and len(problems) == 4
    assert report.kinds == {"math": 3, "rows": 1} and report.golds["math"]["right"] == 3
    assert report.as_json()["counts"] == {} and json.dumps(report.as_json())


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    rows = [
        ask("What is 2+3?"),
        ask("What is 2+3?"),
        ask("what is 2 + 3"),
        ask("What is 2+3?", 6),
        ask("How is it?", "because of this and that, " * 20 + "1"),
        "{broken",
        ask("No answer", ""),
        {"text": "Write f.", "test_list": ["assert f(1) == 1"]},
    ]
    report, problems = audit(write(tmp_path / "r.jsonl", rows))
    found = {what: [f.rows for f in report.findings if f.what == what] for what in report.as_json()["counts"]}
    assert found["duplicate"] == [(1, 2, 4)] and found["conflict"] == [(1, 2, 4)]
    assert found["near duplicate"] == [(1, 3)] and found["long answer"] == [(5,)]
    assert found["unreadable"] == [(6,), (7,)] and found["no answer"] == [(8,)]
    assert report.count("duplicate") == 2 and report.count("near duplicate") == 1
    assert report.rows == 8 and len(problems) == 6 and not report.passed


def test_a_gold_answer_that_its_grader_rejects() -> None:
    ok = Problem("rows", "q", "Goethe", {"row": 1})
    tagged = Problem("rows", "q", "a</answer>b", {"row": 2})
    choice = Problem("choice", "q", "E", {"row": 3, "choices": ["x", "y"]})
    counts, findings = check_golds([ok, tagged, choice])
    assert counts["rows"] == {"right": 1, "wrong": 1, "unknown": 0, "none": 0}
    assert [f.rows for f in findings] == [(2,), (3,)]
    with pytest.raises(PonderError, match="row 0: task 'dance' has no grader"):
        grade_gold(Problem("dance", "q", "a"))


def test_the_completion_form_is_what_rl_reads() -> None:
    assert extract(completion_of("5"), "strict") == "5"


def test_programs(tmp_path: Path) -> None:
    right = {"text": "f", "code": "def f(x):\n    return x", "test_list": ["assert f(1) == 1"]}
    wrong = {"text": "g", "code": "def g(x): return 0", "test_list": ["assert g(1) == 1"]}
    try:
        report, _ = audit(write(tmp_path / "r.jsonl", [right, wrong]))
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    assert report.golds["code"] == {"right": 1, "wrong": 1, "unknown": 0, "none": 0}
    assert [(f.what, f.rows) for f in report.findings] == [("gold", (2,))] and not report.passed


# ---- overlap ----


def problems(*prompts: str) -> list[Problem]:
    return [Problem("rows", prompt, "5", {"row": row}) for row, prompt in enumerate(prompts, 1)]


def test_words_are_free_of_case_and_signs() -> None:
    text = "What's 2+3, in $\\frac{1}{2}$ Äpfel?"
    assert words_of(text) == ("what", "s", "2", "3", "in", "frac", "1", "2", "äpfel")
    assert signs_of(text) == tuple("what s 2 + 3 in \\ frac { 1 } { 2 } äpfel".split())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is 2+3?", "what is  2 + 3", True),
        ("Is it so? Yes.", "is it so, yes", True),
        ("What is 2+3?", "What is 2-3?", False),
        ("What is 1.5?", "What is 15?", False),
        ("Find 5!.", "Find 5.", False),
        ('Match "<" and ">".', 'Match "(" and ")".', False),
        ("Q(sqrt(2)+sqrt(3))", "Q(sqrt(2)*sqrt(3))", False),
    ],
)
def test_which_questions_are_the_same(tmp_path: Path, one: str, other: str, same: bool) -> None:
    report, _ = audit(write(tmp_path / "r.jsonl", [ask(one), ask(other)]))
    assert report.count("near duplicate") == same and bool(overlapping(problems(one), problems(other))) is same


def test_a_turn_of_phrase_is_no_overlap() -> None:
    phrase = "where m and n are relatively prime positive integers find the value of m plus n"
    ours = problems(*(f"The area is {n} m/n, {phrase}" for n in range(20)))
    assert overlapping(ours, problems(f"The length is m/n, {phrase}")) == []
    assert len(overlapping(ours[:5], problems(f"The length is m/n, {phrase}"))) == 5
    assert len(overlapping(ours * 3, problems(ours[0].prompt))) == 3


def test_references_of_programs_do_not_contradict(tmp_path: Path) -> None:
    row = {"text": "Write f.", "test_list": ["assert f(1) == 1"]}
    report, _ = audit(write(tmp_path / "r.jsonl", [row, row]))
    assert report.count("duplicate") == 1 and report.count("conflict") == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "shared"),
    [
        (LONG.format(n=3, m=4), LONG.format(n=3, m=4), True),
        (LONG.format(n=3, m=4).upper() + "!", LONG.format(n=3, m=4), True),
        ("Hear this: " + LONG.format(n=3, m=4), LONG.format(n=3, m=4) + " Think.", True),
        (LONG.format(n=3, m=4), LONG.format(n=5, m=9), True),
        ("What is 2+3?", "what is 2 + 3", True),
        ("What is 2+3?", "What is 2+4?", False),
        ("What is 2+3? Then add the ages of all of the people in the story of today.", "What is 2+3?", False),
        ("Now say it: which of the two sisters is older, and why?", "Which of the two sisters is older?", True),
        ("a b c d e f g h i j k l m", "a b c d e f g h i j k l n", False),
        ("", "What is 2+3?", False),
    ],
)
def test_what_counts_as_overlap(ours: str, theirs: str, shared: bool) -> None:
    for one, other in ((ours, theirs), (theirs, ours)):
        if one == ours or len(words_of(ours)) >= 13:
            assert bool(overlapping(problems(one), problems(other))) is shared


def test_overlap_is_told_by_rows_and_by_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "r.jsonl", [ask("Apart from all others?"), ask(LONG.format(n=1, m=2))])
    held = write(tmp_path / "held.jsonl", [ask("x y z"), ask(LONG.format(n=7, m=2))])
    write(tmp_path / "gsm8k_test.jsonl", [{"question": LONG.format(n=1, m=2), "answer": "#### 6"}])
    report, _ = audit(file, [str(held), "gsm8k"])
    assert report.overlaps == {str(held): {"rows": 1, "of": 2}, "gsm8k": {"rows": 1, "of": 1}}
    assert [f.rows for f in report.findings] == [(2,), (2,)] and report.passed
    assert "row 2: tuesday" in report.findings[0].note or "row 2:" in report.findings[0].note
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("PONDER_DATA", str(tmp_path))
    moved = write(tmp_path / "elsewhere" / "r.jsonl", [ask("q")])
    assert audit(moved, ["gsm8k"])[0].overlaps == {"gsm8k": {"rows": 0, "of": 1}}
    with pytest.raises(PonderError, match="evaluation set aime24: no aime24.jsonl in"):
        audit(moved, ["aime24"])
    with pytest.raises(PonderError, match="ngram is 0"):
        audit(moved, ngram=0)


# ---- real files ----

needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here: set PONDER_SHARED_DATA")


@needs_data
@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [("gsm8k_test.jsonl", "math", 1319), ("aime24.jsonl", "math", 30),
     ("ifeval_input_data.jsonl", "ifeval", 541)],
)  # fmt: skip
def test_gold_answers_of_real_files_score_1(name: str, kind: str, rows: int) -> None:
    found = read_rows(SHARED / name)
    assert len(found) == rows and {p.task for p in found} == {kind}
    counts, findings = check_golds(found)
    assert findings == [] and counts[kind]["right" if kind != "ifeval" else "none"] == rows


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [
        ("math500_test.json", "math", 500),
        ("HumanEval.jsonl.gz", "code", 164),
        ("mbpp.jsonl", "code", 974),
        ("mmlu_stem_test.jsonl", "choice", 3018),
    ],
)
def test_gold_answers_that_take_longer_score_1(name: str, kind: str, rows: int) -> None:
    found = read_rows(SHARED / name)
    counts, findings = check_golds(found)
    assert findings == [] and counts[kind]["right"] == len(found) == rows


@needs_data
@pytest.mark.parametrize("mark", [str.upper, lambda text: "Please solve. " + text + " Thanks."])
def test_a_real_set_is_found_in_a_training_mix(tmp_path: Path, mark: Callable[[str], str]) -> None:
    real = read_rows(SHARED / "gsm8k_test.jsonl")[:40]
    rows = [ask(mark(p.prompt)) for p in real[:10]] + [ask(f"What is {n} times {n + 1}?") for n in range(10)]
    report, _ = audit(write(tmp_path / "mix.jsonl", rows), [str(SHARED / "gsm8k_test.jsonl")])
    assert sorted(f.rows[0] for f in report.findings if f.what == "overlap") == list(range(1, 11))


def test_every_kind_of_row_has_a_grader() -> None:
    assert {"math", "choice", "code", "ifeval", "rows", "gym:gcd"} <= set(GRADERS)
