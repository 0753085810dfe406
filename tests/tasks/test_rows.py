"""Problems from a file: every shape a row may have, and one line for each thing that can be wrong."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.sandbox.limits import SandboxUnavailable
from ponder.tasks import TASKS
from ponder.tasks.rows import ANSWER_FIELDS, QUESTION_FIELDS, ROW_TASKS, ROWS, read_rows

GRADERS = {**ROW_TASKS, ROWS.name: ROWS}

HELD = [
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
    listed = json.dumps(HELD) if name.endswith(".json") else "\n\n".join(map(json.dumps, HELD)) + "\r\n  \n"
    problems = read_rows(str(write(tmp_path / name, listed)))
    wanted = ["What is 2+3?", "Wie viel ist 7/2?", "Who wrote Faust?", "0 * 5?"]
    assert [p.prompt for p in problems] == wanted and [p.answer for p in problems] == ["5", "3.5", "Goethe", "0"]
    assert [p.task for p in problems] == ["math", "math", "rows", "math"]
    assert [p.data["row"] for p in problems] == ([1, 2, 3, 4] if name.endswith(".json") else [1, 3, 5, 7])
    assert all(GRADERS[p.task].grade(p, p.answer).correct is True for p in problems)


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
    assert problem.answer == gold and GRADERS[problem.task].grade(problem, gold).correct is True


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
    ('{"prompt": {"role": "user"}, "answer": "a"}', "row 2: prompt holds a dict; give text or a list of messages"),
    ('{"prompt": ["q"], "answer": "a"}', "row 2: prompt holds a list; give text or a list of messages"),
    ('{"prompt": [{"role": "user"}], "answer": "a"}', "row 2: message 1 of prompt has no content that is text"),
    ('{"prompt": [{"role": "assistant", "content": "x"}], "answer": "a"}', "does not end with a message of role user"),
    ('{"problem": "\\ud800", "answer": "a"}', "row 2: problem holds half a character"),
    ('{"problem": "q", "answer": "\\ud800"}', "row 2: answer holds half a character"),
    ('{"problem": "q", "answer": NaN}', "row 2: no answer"),
    ('{"problem": "q", "answer": "\\\\boxed{}"}', "row 2: no answer after #### or in"),
    ('{"problem": "q", "solution": "one\\ntwo"}', "row 2: no answer after #### or in"),
    ('{"messages": [{"role": "user", "content": "q"}]}', "row 2: an example of shape messages has no answer to grade"),
    ('{"prompt": "p", "chosen": "a", "rejected": "b"}', "row 2: an example of shape preference has no answer"),
    ('{"question": "q", "choices": ["x", "y"]}', "row 2: no answer to the choices"),
    ('{"question": "q", "choices": ["x", "y"], "answer": 2}', "row 2: answer is 2 and the choices are 0 to 1"),
    ('{"question": "q", "choices": ["x", "y"], "answer": "C"}', "row 2: answer 'C' is no letter"),
    ('{"question": "q", "choices": ["1", "2"], "answer": "1"}', "row 2: answer '1' is one choice's text and another's"),
    ('{"question": "q", "choices": ["x"], "answer": 0}', "row 2: choices must hold 2 to 26 texts"),
    ('{"question": "q", "choices": "x or y", "answer": 0}', "row 2: choices holds a str; give a list"),
    ('{"choices": ["x", "y"], "answer": 0}', "row 2: no question"),
    ('{"prompt": "q", "instruction_id_list": ["punctuation:no_comma"]}', "row 2: kwargs is no list"),
    ('{"prompt": "q", "instruction_id_list": ["punctuation:no_comma"], "kwargs": []}', "row 2: 1 instructions, but 0"),
    ('{"prompt": "q", "instruction_id_list": ["no:such"], "kwargs": [{}]}', "row 2: "),
    ('{"prompt": "def f(): ...", "test": "def check(candidate): assert candidate()"}', "row 2: a code row needs"),
    ('{"prompt": "def f(): ...", "entry_point": "f"}', "row 2: a code row needs its tests"),
    ('{"question": "q", "tests": [{"input": "1"}]}', "row 2: tests: test 1 needs `input` and `output`"),
    ('{"question": "q", "input_output": "{]"}', "row 2: input_output looks like JSON and is not"),
    ('{"test_list": ["assert f(1) == 2"]}', "row 2: no question; give one of"),
    (
        '{"prompt": "q", "data_source": "d", "reward_model": {"style": "rule"}}',
        "row 2: reward_model has no ground_truth",
    ),
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
    assert "\n" not in message and len(message) < 1000


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


def test_the_good_rows_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    lines = [line for line, _ in BAD_LINES if len(line) < 4000]
    path = write(tmp_path / "rows.jsonl", "\n".join([GOOD, *lines, GOOD]))
    found = read_rows(path, on_error="collect")
    assert [p.data["row"] for p in found] == [1, len(lines) + 2]
    assert [error.row for error in found.errors] == list(range(2, len(lines) + 2))


# ---- the shapes ----

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+3?"}]
IFEVAL = {"prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": None}]}
STDIO = {"mode": "stdio", "cases": [["1\n", "2\n"]]}
SHAPES: list[tuple[dict[str, Any], str, str, dict[str, Any]]] = [
    ({"problem": "q", "solution": "So\nit is $\\boxed{\\frac{1}{2}}$."}, "math", "\\frac{1}{2}", {}),
    ({"problem": "q", "solution": "\\boxed{1} no \\fbox{\\{1\\}} yes"}, "math", "\\{1\\}", {}),
    ({"problem": "q", "solution": "it is $\\boxed 5$"}, "math", "5", {}),
    ({"problem": "q", "solution": "a long\nway", "ground_truth": "7"}, "math", "7", {}),
    ({"problem": "q", "expected_answer": "73", "answer": None}, "math", "73", {}),
    ({"problem": "q", "answer": ["5"]}, "math", "5", {}),
    ({"question": "q", "answer": "Goethe"}, "rows", "Goethe", {}),
    ({"question": "q", "answer": "North Carolina"}, "rows", "North Carolina", {}),
    ({"question": "q", "answer": "pi"}, "math", "pi", {}),
    ({"question": "q", "answer": "x"}, "math", "x", {}),
    ({"question": "q", "answer": "(1,2)"}, "math", "(1,2)", {}),
    ({"prompt": ASKED, "answer": "5"}, "math", "5", {"messages": ASKED}),
    ({"data_source": "gsm8k", "prompt": ASKED, "ability": "math", "extra_info": {"split": "train"},
      "reward_model": {"style": "rule", "ground_truth": "5"}}, "math", "5", {"messages": ASKED}),
    ({"data_source": "c", "prompt": ASKED, "ability": "code",
      "reward_model": {"style": "rule", "ground_truth": '{"inputs": ["1\\n"], "outputs": ["2\\n"]}'}}, "code", "",
     {"test": STDIO}),
    ({"question": "q", "choices": ["x", "y"], "answer": 1}, "choice", "B", {"choices": ["x", "y"]}),
    ({"question": "q", "choices": ["x", "y"], "answer": "b"}, "choice", "B", {}),
    ({"question": "q", "choices": ["x", "y"], "answer": "(B)"}, "choice", "B", {}),
    ({"question": "q", "options": ["red", "blue"], "answer": "blue"}, "choice", "B", {}),
    ({"question": "q", "options": {"A": "x", "B": "y"}, "answer": "B"}, "choice", "B", {}),
    ({"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}, "choice", "B", {}),
    ({"question": "q", "options": '["x", "y"]', "answer": "1"}, "choice", "B", {}),
    ({"question": "q", "A": "w", "B": "x", "C": "y", "D": "z", "answer": "D"}, "choice", "D", {}),
    ({"question": "q", "choices": ["1", "2", "3"], "answer": 1}, "choice", "B", {}),
    (IFEVAL, "ifeval", "", {"instruction_ids": ["punctuation:no_comma"], "kwargs": [{}]}),
    ({**IFEVAL, "kwargs": "[{}]"}, "ifeval", "", {"kwargs": [{}]}),
    ({"question": "q", "tests": [{"input": "1\n", "output": "2\n", "type": "stdin_stdout"}]}, "code", "",
     {"test": STDIO}),
    ({"question": "q", "input_output": '{"inputs": ["1\\n"], "outputs": ["2\\n"]}', "solutions": '["print(2)"]'},
     "code", "print(2)", {"test": STDIO}),
    ({"question": "q", "inputs": ["1\n"], "outputs": ["2\n"]}, "code", "", {"test": STDIO}),
    ({"text": "Write f.", "code": "def f(x): return x", "test_list": ["assert f(1) == 1", "assert f(2) == 2"]}, "code",
     "def f(x): return x", {}),
    ({"prompt": "def f(x):\n", "entry_point": "f", "canonical_solution": "    return x\n",
      "test": "def check(candidate):\n    assert candidate(1) == 1\n"}, "code", "    return x\n",
     {"stub": "def f(x):\n", "entry_point": "f"}),
]  # fmt: skip


@pytest.mark.parametrize(("row", "task", "answer", "data"), SHAPES)
def test_each_shape_becomes_a_problem_of_its_kind(
    tmp_path: Path, row: dict[str, Any], task: str, answer: str, data: dict[str, Any]
) -> None:
    (problem,) = read_rows(jsonl(tmp_path, row))
    assert (problem.task, problem.answer) == (task, answer)
    assert {name: problem.data[name] for name in data} == data
    json.dumps(dict(problem.data))


def test_shapes_from_tables(tmp_path: Path) -> None:
    """A table's cells are texts; parquet has lists and objects."""
    write(tmp_path / "r.csv", 'question,choices,answer\nq,"[""x"", ""y""]",y\nq2,"[""1"", ""2""]",B\n')
    assert [p.answer for p in read_rows(tmp_path / "r.csv")] == ["B", "B"]
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    rows = [{"data_source": "d", "prompt": ASKED, "reward_model": {"style": "rule", "ground_truth": "5"}}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    (problem,) = read_rows(tmp_path / "r.parquet")
    assert (problem.prompt, problem.answer, problem.data["messages"]) == ("2+3?", "5", ASKED)


def test_what_the_question_says(tmp_path: Path) -> None:
    turns = [*ASKED, {"role": "assistant", "content": "5"}, {"role": "user", "content": "And 3+3?"}]
    several, chosen, named, called = read_rows(
        jsonl(
            tmp_path,
            {"prompt": turns, "answer": "6"},
            {"question": "Which?", "choices": ["red", "blue"], "answer": 0},
            {"question": "Which? A. red B. blue", "choices": ["red", "blue"], "answer": 0},
            {"text": "Double it.", "test_list": ["assert twice(1) == 2", "assert twice(2) == 4"]},
        )
    )
    assert several.prompt == "User: 2+3?\n\nAssistant: 5\n\nUser: And 3+3?"
    assert chosen.prompt == "Which?\nA. red\nB. blue" and named.prompt == "Which? A. red B. blue"
    assert "assert twice(1) == 2" in called.prompt and "twice(2)" not in called.prompt


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        ({"problem": "q", "answer": "\\frac{1}{2}"}, ["1/2", "0.5"], ["2", "", "1/2 or 1/3"]),
        ({"problem": "q", "answer": "Goethe"}, ["goethe", "\\text{Goethe}", " Goethe. "], ["Schiller", "Ghoete", ""]),
        ({"question": "q", "choices": ["x", "y"], "answer": 1}, ["B", "(B)", "b"], ["A", "A or B", ""]),
    ],
)
def test_each_kind_has_its_grader(tmp_path: Path, row: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    (problem,) = read_rows(jsonl(tmp_path, row))
    assert [GRADERS[problem.task].grade(problem, answer).correct for answer in right] == [True] * len(right)
    assert [GRADERS[problem.task].grade(problem, answer).correct for answer in wrong] == [False] * len(wrong)


def test_instructions_are_graded_on_the_whole_response(tmp_path: Path) -> None:
    (problem,) = read_rows(jsonl(tmp_path, IFEVAL))
    assert ROW_TASKS["ifeval"].whole and ROW_TASKS["code"].whole and not ROW_TASKS["math"].whole
    assert ROW_TASKS["ifeval"].grade(problem, "Fine").correct is True
    score = ROW_TASKS["ifeval"].grade(problem, "Well, no")
    assert score.correct is False and "no_comma" in score.note


def test_programs_are_run_behind_walls(tmp_path: Path) -> None:
    (body, asserts) = read_rows(jsonl(tmp_path, SHAPES[-1][0], SHAPES[-2][0]))
    try:
        assert ROW_TASKS["code"].grade(body, body.answer).correct is True
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    for answer in ("return x", "```python\ndef f(x):\n    return x\n```", "def f(x): return x"):
        assert ROW_TASKS["code"].grade(body, answer).correct is True, answer
    assert ROW_TASKS["code"].grade(asserts, "Here:\n```python\ndef f(x): return x\n```\nDone.").correct is True
    wrong = ROW_TASKS["code"].grade(asserts, "def f(x): return 1")
    assert wrong.correct is False and wrong.value == 0.0


def test_rows_are_not_drawn() -> None:
    for task in (*ROW_TASKS.values(), TASKS["rows"]):
        with pytest.raises(PonderError, match="give data.train_file"):
            task.problems("train", 3)
    assert TASKS["rows"].grade(Problem("rows", "q", "5"), "5").correct
