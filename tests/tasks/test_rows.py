"""Problems from a file: both formats, every name a field may have, and one line for each thing that can be wrong."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.tasks import TASKS, grade
from ponder.tasks.rows import ANSWER_FIELDS, QUESTION_FIELDS, read_rows

ROWS = [
    {"problem": "What is 2+3?", "answer": "5"},
    {"question": "Wie viel ist 7/2?", "solution": 3.5, "more": [1]},
    {"prompt": "Who wrote Faust?", "ground_truth": "Goethe"},
    {"problem": "0 * 5?", "answer": 0},
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def jsonl(path: Path, *rows: object) -> Path:
    return write(path / "rows.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.txt"])
def test_both_formats(tmp_path: Path, name: str) -> None:
    listed = json.dumps(ROWS) if name.endswith(".json") else "\n\n".join(map(json.dumps, ROWS)) + "\r\n  \n"
    problems = read_rows(str(write(tmp_path / name, listed)))
    wanted = ["What is 2+3?", "Wie viel ist 7/2?", "Who wrote Faust?", "0 * 5?"]
    assert [p.prompt for p in problems] == wanted and [p.answer for p in problems] == ["5", "3.5", "Goethe", "0"]
    assert {p.task for p in problems} == {"rows"}
    assert [p.data["row"] for p in problems] == ([1, 2, 3, 4] if name.endswith(".json") else [1, 3, 5, 7])
    assert all(grade(p, p.answer) is True for p in problems)


@pytest.mark.parametrize(("asked", "answered"), [*product(QUESTION_FIELDS, ANSWER_FIELDS)])
def test_the_names_of_fields(tmp_path: Path, asked: str, answered: str) -> None:
    (problem,) = read_rows(jsonl(tmp_path, {asked: "q", answered: "a"}))
    assert (problem.prompt, problem.answer) == ("q", "a")


def test_the_first_name_that_holds_something_counts(tmp_path: Path) -> None:
    (problem,) = read_rows(
        jsonl(tmp_path, {"prompt": "p", "problem": "q", "answer": " ", "solution": "s", "question": ""})
    )
    assert (problem.prompt, problem.answer) == ("q", "s")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("2+3=5\n#### 5", "5"),
        ("#### 1,234 ", "1,234"),
        ("a #### 4 b #### 5", "5"),
        ("Nora has 3/4.\n####3/4", "3/4"),
        ("no mark: 5", "no mark: 5"),
        (" 5 ", "5"),
        (True, "True"),
    ],
)
def test_gold_is_what_follows_the_last_mark(tmp_path: Path, answer: object, gold: str) -> None:
    (problem,) = read_rows(jsonl(tmp_path, {"problem": "q", "answer": answer}))
    assert problem.answer == gold and grade(problem, gold) is True


def test_windows_files_and_umlauts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"problem": "Äpfel?", "answer": "ß"}\r\n'.encode())
    (problem,) = read_rows(path)
    assert (problem.prompt, problem.answer) == ("Äpfel?", "ß")


def test_line_separators_inside_texts_part_no_rows(tmp_path: Path) -> None:
    """Unicode's own line separators may stand in JSON text as they are."""
    (problem,) = read_rows(jsonl(tmp_path, {"problem": "one\u2028two\x85three", "answer": "5"}))
    assert problem.prompt == "one\u2028two\x85three"


GOOD = '{"problem": "q", "answer": "a"}'
BAD_LINES = [
    ("{", "line 2: not JSON"),
    ('{"problem": "q", "answer": }', "line 2: not JSON"),
    ("q,a", "line 2: not JSON"),
    (GOOD + GOOD, "line 2: not JSON"),
    ('{"problem": "q", "answer": ' + "9" * 5000 + "}", "line 2: not JSON"),
    ("[" * 100_000, "line 2: not JSON"),
    ("[1, 2]", "row 2: expected a JSON object, found list"),
    ('"q"', "row 2: expected a JSON object, found str"),
    ("5", "row 2: expected a JSON object, found int"),
    ("null", "row 2: expected a JSON object, found NoneType"),
    ("{}", "row 2: no question; give one of problem, question, prompt"),
    ('{"answer": "a"}', "row 2: no question"),
    ('{"problem": "", "answer": "a"}', "row 2: no question"),
    ('{"problem": " ", "answer": "a"}', "row 2: no question"),
    ('{"problem": null, "answer": "a"}', "row 2: no question"),
    ('{"problem": "q"}', "row 2: no answer; give one of answer, solution, ground_truth"),
    ('{"problem": "q", "answer": ""}', "row 2: no answer"),
    ('{"problem": "q", "answer": "  "}', "row 2: no answer"),
    ('{"problem": "q", "answer": null}', "row 2: no answer"),
    ('{"problem": "q", "answer": "2+3=5 ####"}', "row 2: no answer after ####"),
    ('{"problem": "q", "answer": "#### "}', "row 2: no answer after ####"),
    ('{"problem": "q", "answer": ["a", "b"]}', "row 2: answer holds a list; give text or a number"),
    ('{"problem": "q", "answer": {"value": 5}}', "row 2: answer holds a dict; give text or a number"),
    ('{"prompt": [{"role": "user", "content": "q"}], "answer": "a"}', "row 2: prompt holds a list; give text"),
]


@pytest.mark.parametrize(("line", "said"), BAD_LINES, ids=[line[:40] for line, _ in BAD_LINES])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_bad_row_is_named(tmp_path: Path, line: str, said: str, name: str) -> None:
    text = f"[{GOOD},\n{line},\n{GOOD}]" if name == "rows.json" else f"{GOOD}\n{line}\n{GOOD}\n"
    path = write(tmp_path / name, text)
    with pytest.raises(PonderError) as error:
        read_rows(path)
    message = str(error.value)
    if name == "rows.json" and "not JSON" in said:  # a number or a depth that is too large has no line
        said = "not JSON"
    assert message.startswith(str(path)) and said in message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "not JSON"), ("{}", "expected a list of rows, found dict"), ('"q"', "found str"), ("[]", "holds no rows")],
)
def test_a_json_file_is_a_list(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PonderError, match=said):
        read_rows(write(tmp_path / "rows.json", text))


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(PonderError, match=r"rows\.jsonl holds no rows: give one JSON object a line"):
        read_rows(write(tmp_path / "rows.jsonl", text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes('{"problem": "Äpfel", "answer": "5"}'.encode("latin-1"))
    for path in (tmp_path / "missing.jsonl", tmp_path, tmp_path / "latin.jsonl"):
        with pytest.raises(PonderError, match="cannot be read") as error:
            read_rows(path)
        assert str(path) in str(error.value)


def test_rows_are_not_drawn() -> None:
    with pytest.raises(PonderError, match="give data.train_file"):
        TASKS["rows"].problems("train", 3)
    assert TASKS["rows"].grade(Problem("rows", "q", "5"), "5").correct
