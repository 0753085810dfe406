"""`ponder sample` and `ponder eval` on a tiny random model, as a person types them."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from ponder.cli.app import run_app
from ponder.mini.corpus import documents
from ponder.mini.model import CONTEXT_LENGTH, new_model
from ponder.mini.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = train_tokenizer((document.text for document in islice(documents("tokenizer"), 200)), CONTEXT_LENGTH)
    new_model(tokenizer, 0, 64, 2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_sample_shows_n_completions_that_depend_on_the_seed(tiny, capsys):
    def sample(*more: str) -> str:
        options = ["-n", "3", "--max-completion-length", "12", *more]
        assert run_app(["sample", str(tiny), "What is 3 * 4?", *options]) == 0
        return capsys.readouterr().out

    first = sample()
    assert [line.split(":")[0] for line in first.splitlines() if line.startswith("---")] == [
        f"--- {number} of 3" for number in (1, 2, 3)
    ]
    assert sample() == first and sample("--seed", "1") != first
    assert run_app(["sample", str(tiny), "hello", "--style", "nonsense"]) == 2
    assert "unknown prompt style 'nonsense'" in capsys.readouterr().err


def test_eval_measures_and_is_not_done_twice(tiny, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "160")
    options = ["problems=7", "n=2", "max_completion_length=8", "processes=1", "--out", str(tmp_path / "out")]
    assert run_app(["eval", str(tiny), *options]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "7 problems x 2" in out[0] and out[-2].split()[:2] == ["all", "0.00"]
    result = json.loads(Path(out[-1]).read_text())
    assert result["summary"]["overall"]["samples"] == 14 and result["spec"]["sampling"]["n"] == 2
    before = Path(out[-1]).stat().st_mtime_ns
    assert run_app(["eval", str(tiny), *options]) == 0
    assert Path(out[-1]).stat().st_mtime_ns == before and "done already" in capsys.readouterr().err
    assert run_app(["eval", str(tiny), *options, "temperature=0"]) == 0  # other settings: made again, and said so
    told = capsys.readouterr()
    assert "temperature: 1.0 -> 0.0" in told.err and (tmp_path / "out" / ".earlier").is_dir()
    assert json.loads(Path(told.out.splitlines()[-1]).read_text())["spec"]["sampling"]["temperature"] == 0.0


def test_eval_on_ones_own_rows(tiny, capsys, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"problem": "1 + 1?", "answer": "2"}\n{"problem": "1 + 2?", "answer": "3"}\n')
    options = ["n=1", "temperature=0", "max_completion_length=8", "processes=1", "--out", str(tmp_path / "out")]
    assert run_app(["eval", str(tiny), f"file={file}", *options]) == 0
    result = json.loads(Path(capsys.readouterr().out.splitlines()[-1]).read_text())
    assert result["summary"]["overall"]["samples"] == 2
    file.write_text('{"problem": "1 + 1?"}\n')
    assert run_app(["eval", str(tiny), f"file={file}", *options[:-1], str(tmp_path / "other")]) == 2
    assert "mine.jsonl" in capsys.readouterr().err
