"""The commands on their own; that `ponder data` has them is `test_app`'s business."""

from __future__ import annotations

import json

import pytest
import typer

from ponder.cli.data_generate import register
from ponder.core.errors import PonderError
from tests.sampling.stand_in import said, stand_in

SMALL = ["tasks=[arithmetic, equations]", "problems=4", "processes=1", "max_completion_length=32"]


def call(*arguments):
    app = typer.Typer()
    register(app)
    return app(list(map(str, arguments)), standalone_mode=False)


def test_a_local_teacher_and_again(tmp_path, capsys):
    out = tmp_path / "t.jsonl"
    call("generate", "--model", "mini", "-n", 2, "--out", out, *SMALL)
    printed = capsys.readouterr().out
    assert "8 asked now" in printed and "arithmetic" in printed and str(out) in printed
    assert len(out.read_text().splitlines()) == 8
    call("generate", "--model", "mini", "-n", 2, "--out", out, *SMALL)
    assert "0 asked now" in capsys.readouterr().out


def test_an_endpoint_and_a_file_of_problems(tmp_path, capsys):
    file = tmp_path / "p.jsonl"
    file.write_text(
        '{"problem": "2+2?", "answer": "4"}\n{"problem": "1+1?", "answer": "2"}\n{"problem": "1+1?", "answer": "2"}\n'
    )
    with stand_in(lambda body, before: said("So \\boxed{4}", reasoning_content="hm", usage=None)) as server:
        call("generate", "--endpoint", server.url, "--model-name", "big", "--problems", file, "-n", 1, "--out",
             tmp_path / "t.jsonl", "endpoint.at_once=2", "temperature=0.6")  # fmt: skip
        assert server.bodies[0]["temperature"] == 0.6 and server.bodies[0]["model"] == "big"
    printed = capsys.readouterr().out
    assert "left out: 1" in printed and "2 answers came without a count" in printed
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [row["correct"] for row in rows] == [True, False]


@pytest.mark.parametrize(
    "arguments, line",
    [
        ((), "one teacher"),
        (("--endpoint", "http://127.0.0.1:9/v1"), "--endpoint wants --model-name"),
        (("--model-name", "x"), "--model-name goes with --endpoint"),
        (("--model", "mini", "--endpoint", "http://127.0.0.1:9/v1", "--model-name", "x"), "one teacher"),
        (("--model", "mini", "temprature=1"), "generate.temprature is unknown; did you mean temperature?"),
        (("--model", "mini", "temperature=0"), "temperature 0"),
        (("--model", "mini", "tasks=[sums]", "processes=1"), "unknown kind of problem 'sums'"),
        (("--model", "mini", "--problems", "nowhere.jsonl", "processes=1"), "nowhere.jsonl"),
        (("--model", "mini", "split=test"), "generate.split"),  # held-out problems are no training data
        (("--endpoint", "localhost", "--model-name", "x", *SMALL), "is no address"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, line):
    with pytest.raises(PonderError) as caught:
        call("generate", "--out", tmp_path / "t.jsonl", *arguments)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_import_names_what_it_leaves_out(tmp_path, capsys):
    file, out, errors = tmp_path / "r.jsonl", tmp_path / "t.jsonl", tmp_path / "errors.txt"
    good = {"problem": "2+2?", "answer": "4", "completion": "<think>x</think>\\boxed{4}"}
    file.write_text("\n".join([json.dumps(good), *['{"problem": "?"}'] * 7]) + "\n")
    assert call("import", file, "--out", out, "--teacher", "r1", "--errors", errors) == 1
    printed = capsys.readouterr().out
    assert "1 traces of 8 rows" in printed and "row 2: no trace in columns problem" in printed
    assert "and 2 more rows" in printed and len(errors.read_text().splitlines()) == 7
    file.write_text(json.dumps(good) + "\n")
    assert call("import", file, "--out", out) == 0
    with pytest.raises(PonderError, match="nowhere"):
        call("import", tmp_path / "nowhere.jsonl", "--out", out)
