"""Rows from every kind of file and from the hub: the same rows come back, and what cannot be read is named."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

import pytest

from ponder.core.errors import PonderError
from ponder.tasks.loading import RowError, is_hub_id, load_rows

ROWS = [
    {"problem": "What is 2+3?", "answer": "5"},
    {"problem": "Äpfel, \"zwei\"\nZeilen?", "answer": "7/2"},
    {"problem": "x\u2028y", "answer": "0"},
]  # fmt: skip


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """`rows` in the format that the file's name says."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    if name.endswith(".json"):
        text = json.dumps(rows)
    elif name.endswith((".csv", ".tsv")):
        import io

        held = io.StringIO()
        writer = csv.DictWriter(held, list(rows[0]), delimiter="\t" if name.endswith(".tsv") else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = held.getvalue()
    else:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    "name",
    ["r.jsonl", "r.ndjson", "r.json", "r.csv", "r.tsv", "r.parquet", "r.txt", "r", "r.JSONL", "r.jsonl.gz", "r.json.gz",
     "r.csv.gz"],
)  # fmt: skip
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    found = load_rows(written(tmp_path / name, ROWS))
    assert [row for _, row in found] == ROWS and not found.errors
    numbers = [number for number, _ in found]
    assert numbers == ([2, 3, 5] if ".csv" in name or ".tsv" in name else [1, 2, 3])


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    written(tmp_path / "r.jsonl.gz", ROWS).rename(tmp_path / "r.jsonl")
    assert [row for _, row in load_rows(tmp_path / "r.jsonl")] == ROWS


def test_rows_under_a_name_and_jsonl_called_json(tmp_path: Path) -> None:
    (tmp_path / "named.json").write_text(json.dumps({"version": 1, "data": ROWS}))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, ROWS)))
    for name in ("named.json", "lines.json"):
        assert [row for _, row in load_rows(tmp_path / name)] == ROWS


BROKEN = '{"problem": "q", "answer": "a"}\n{"problem": \n\n[1]\n{"problem": "r", "answer": "b"}\n'


def test_bad_lines_are_collected_and_the_good_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(BROKEN.encode() + b'{"problem": "\xff"}\n')
    found = load_rows(path, on_error="collect")
    assert [number for number, _ in found] == [1, 4, 5]
    assert [error.row for error in found.errors] == [2, 6] and "line 6 is not UTF-8" in str(found.errors[1])
    assert all(isinstance(error, RowError) and str(path) in str(error) for error in found.errors)
    with pytest.raises(PonderError, match="line 2: not JSON"):
        load_rows(path)
    with pytest.raises(PonderError, match="on_error is 'skip': one of raise, collect"):
        load_rows(path, on_error="skip")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("problem,answer\nq,a,b\n", "line 2: 3 cells for 2 columns"),
        ("problem,answer\n\nq\n", "line 3: 1 cells for 2 columns"),
        ("problem,problem\nq,a\n", "line 1: a column is named twice"),
    ],
)
def test_a_table_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(PonderError, match=said):
        load_rows(tmp_path / "r.csv")


def test_a_bad_row_of_a_table_keeps_the_others(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('problem,answer\n"a\nb",1\nx,y,z\nc,2\n')
    found = load_rows(tmp_path / "r.csv", on_error="collect")
    assert list(found) == [(2, {"problem": "a\nb", "answer": "1"}), (5, {"problem": "c", "answer": "2"})]
    assert [error.row for error in found.errors] == [4]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.jsonl.gz", b"\x1f\x8b\x08broken"), ("r.parquet", b"PAR1 no"), ("r.json", b'["\xff"]'),
        ("r.csv", b"a,b\n\xff,1"),
    ],
)  # fmt: skip
def test_files_that_are_damaged(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PonderError, match="cannot be read") as error:
        load_rows(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "hub"),
    [
        ("openai/gsm8k", True), ("openai/gsm8k:main", True), ("openai/gsm8k:main@test", True),
        ("gsm8k:main@test", True), ("hub:gsm8k", True), ("gsm8k@train[:10%]", True),
        ("data/rows.jsonl", False), ("rows.csv", False), ("rows", False), ("./data/rows", False),
        ("/data/rows", False), ("~/data", False), ("a/b/c", False), ("data/rows.parquet", False),
    ],
)  # fmt: skip
def test_what_is_a_hub_id(source: str, hub: bool) -> None:
    assert is_hub_id(source) is hub


def test_a_file_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").write_text(json.dumps(ROWS[0]))
    monkeypatch.chdir(tmp_path)
    assert [row for _, row in load_rows("owner/name")] == [ROWS[0]]
    with pytest.raises(PonderError, match="is a file and has no split or config"):
        load_rows("owner/name", split="test")


def test_the_hub_without_a_network_is_one_line() -> None:
    pytest.importorskip("datasets")
    with pytest.raises(PonderError, match="openai/gsm8k .config main, split test. is no file here and cannot") as error:
        load_rows("openai/gsm8k:main@test")
    assert "where there is a network" in str(error.value) and "\n" not in str(error.value)


def test_the_hub_gives_rows_of_its_config_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name: str, config: str | None, split: str) -> object:
        asked.append((name, config, split))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert (
        list(load_rows("a/b:main@test")) == list(enumerate(ROWS, 1)) == list(load_rows("a/b", split="test", config="c"))
    )
    load_rows("hub:b")
    assert asked == [("a/b", "main", "test"), ("a/b", "c", "test"), ("b", None, "train")]
    with pytest.raises(PonderError, match="two splits, test and train"):
        load_rows("a/b@test", split="train")
    with pytest.raises(PonderError, match="is no hub id"):
        load_rows("hub:a b")


@pytest.mark.parametrize(("module", "source"), [("datasets", "a/b"), ("pyarrow.parquet", "r.parquet")])
def test_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, source: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PonderError, match=r"pip install 'ponder\[data\]'"):
        load_rows(source)
