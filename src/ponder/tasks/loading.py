"""Rows from wherever they lie: JSONL, JSON, CSV, TSV (each also gzipped), parquet, or a data set of the hub.

A row is what the file says, untouched; what it means is `ponder.tasks.shapes`' and `ponder.tasks.rows`' business.
`datasets` and `pyarrow` are asked for only when a hub id or a parquet file is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ponder.core.errors import PonderError

T = TypeVar("T")

SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")
"""What ends a file's name; all but parquet may be followed by .gz. A file with another ending is read as JSONL."""

ON_ERROR = ("raise", "collect")
ROW_LISTS = ("data", "rows", "examples")
"""Under one of these a JSON object may hold its rows."""

_HUB_ID = re.compile(r"(?:hub:)?([\w.-]+(?:/[\w.-]+)?)(?::([\w.-]+))?(?:@([\w.+\[\]:%-]+))?", re.ASCII)


@dataclass(frozen=True)
class RowError:
    """A row that could not be used: its number (the line, in formats that have lines) and one line on what is wrong."""

    row: int
    message: str

    def __str__(self) -> str:
        return self.message


class Rows(list[T]):
    """The good rows, a plain list, and `errors`: the bad ones, where they were collected and not raised."""

    errors: tuple[RowError, ...] = ()


def load_rows(
    source: str | Path, *, split: str | None = None, config: str | None = None, on_error: str = "raise"
) -> Rows[tuple[int, Any]]:
    """(number, row) of every row in `source`; the number is the line in JSONL, CSV and TSV, else counts from 1.

    source: a file, or a hub id, `name`, `name:config`, `name:config@split` (`hub:name` where a file has that name).
    split, config: the same as options, for hub ids only; the split is `train` if not given.
    on_error: "raise" at the first row that cannot be read, or "collect" such rows in the result's `errors`.
    Raises PonderError naming the source (and the line) for what cannot be read at all.
    """
    return collected(read_source(source, split, config), on_error)


def collected(results: Iterable[T | RowError], on_error: str) -> Rows[T]:
    """The good results as a list; the first bad one raised as PonderError, or all of them as its `errors`."""
    if on_error not in ON_ERROR:
        raise PonderError(f"on_error is {on_error!r}: one of {', '.join(ON_ERROR)}")
    good: Rows[T] = Rows()
    errors = []
    for result in results:
        if not isinstance(result, RowError):
            good.append(result)
        elif on_error == "raise":
            raise PonderError(result.message)
        else:
            errors.append(result)
    good.errors = tuple(errors)
    return good


def read_source(
    source: str | Path, split: str | None = None, config: str | None = None
) -> Iterator[tuple[int, Any] | RowError]:
    """The rows of `load_rows`, one after the other, a bad one as `RowError`."""
    file = Path(source)
    if is_hub_id(source):
        return _hub_rows(str(source), split, config)
    if split is not None or config is not None:
        raise PonderError(f"{file} is a file and has no split or config; leave them out, or give a hub id")
    if _suffix(file) == ".parquet":
        return _parquet_rows(file)
    return READERS.get(_suffix(file), _jsonl_rows)(file, _bytes_of(file))


def is_hub_id(source: str | Path) -> bool:
    """Whether `source` names a data set of the hub: `owner/name`, `name:config`, `name@split` or `hub:name`, with no
    file of that name."""
    text = str(source)
    if text.startswith("hub:"):
        return True
    bare = text.partition("@")[0].partition(":")[0]
    if Path(text).exists() or bare.startswith((".", "/", "~")) or "\\" in text:
        return False
    if bare.count("/") != 1 and (bare == text or "/" in bare):
        return False
    return _suffix(Path(bare)) not in SUFFIXES and bool(_HUB_ID.fullmatch(text))


def _suffix(file: Path) -> str:
    suffixes = [s.lower() for s in file.suffixes if s.lower() != ".gz"] if file.suffix.lower() == ".gz" else []
    return suffixes[-1] if suffixes else file.suffix.lower()


def _bytes_of(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        if content[:2] == b"\x1f\x8b":  # by content, since a gzipped file may be named without .gz
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise PonderError(f"{file} cannot be read: {error}") from error
    return content.removeprefix(b"\xef\xbb\xbf")  # Windows editors write a byte order mark


def _decoded(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PonderError(f"{file} cannot be read: line {line} is not UTF-8; convert the file") from error


def _jsonl_rows(file: Path, content: bytes) -> Iterator[tuple[int, Any] | RowError]:
    # Only the line feed parts rows: Unicode's own line separators may stand in JSON text as they are.
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            yield RowError(number, f"{file} cannot be read: line {number} is not UTF-8; convert the file")
        except (ValueError, RecursionError) as error:  # also for 5,000 digits or brackets
            why = getattr(error, "msg", error)
            yield RowError(number, f"{file}, line {number}: not JSON ({why}); mend or remove the line")


def _json_rows(file: Path, content: bytes) -> Iterator[tuple[int, Any] | RowError]:
    text = _decoded(file, content)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("{") and getattr(error, "msg", "") == "Extra data":
            yield from _jsonl_rows(file, content)  # many a data set is JSONL under the name .json
            return
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise PonderError(f"{file}{line}: not JSON ({getattr(error, 'msg', error)})") from error
    if isinstance(rows, dict):
        rows = next((rows[name] for name in ROW_LISTS if isinstance(rows.get(name), list)), rows)
    if not isinstance(rows, list):
        raise PonderError(f"{file}: expected a list of rows, found {type(rows).__name__}")
    yield from enumerate(rows, 1)


def _table_rows(separator: str) -> Callable[[Path, bytes], Iterator[tuple[int, Any] | RowError]]:
    def rows(file: Path, content: bytes) -> Iterator[tuple[int, Any] | RowError]:
        text = _decoded(file, content)
        csv.field_size_limit(2**31 - 1)  # a cell may hold a long solution
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        heads: list[str] = []
        while True:
            number = reader.line_num + 1  # where the row begins: a quoted cell may hold several lines
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield RowError(number, f"{file}, line {number}: not a row of cells ({error})")
                continue
            if not any(cell.strip() for cell in cells):
                continue
            if not heads:
                heads = [cell.strip() for cell in cells]
                if len(set(heads)) < len(heads):
                    raise PonderError(f"{file}, line {number}: a column is named twice in {', '.join(heads)}")
            elif len(cells) != len(heads):
                yield RowError(
                    number, f"{file}, line {number}: {len(cells)} cells for {len(heads)} columns; quote the commas"
                )
            else:
                yield number, dict(zip(heads, cells, strict=True))

    return rows


def _parquet_rows(file: Path) -> Iterator[tuple[int, Any] | RowError]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise PonderError(f"{file}: parquet needs pyarrow; pip install 'ponder[data]'") from error
    try:
        table = parquet.ParquetFile(file)
        number = 0
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except Exception as error:  # pyarrow's own classes, and OSError
        raise PonderError(f"{file} cannot be read: {_one_line(error)}") from error


def _hub_rows(source: str, split: str | None, config: str | None) -> Iterator[tuple[int, Any] | RowError]:
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise PonderError(f"{source!r} is no hub id: write name, name:config or name:config@split")
    name = match[1]
    for what, named, given in (("config", match[2], config), ("split", match[3], split)):
        if named and given and named != given:
            raise PonderError(f"{source}: two {what}s, {named} and {given}; give one")
    config, split = match[2] or config, match[3] or split or "train"
    try:
        import datasets
    except ImportError as error:
        raise PonderError(f"{name} is a hub id, which needs datasets; pip install 'ponder[data]'") from error
    try:
        rows = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # offline, no such name, no such config or split: the library's classes change
        raise PonderError(
            f"{name} (config {config or 'default'}, split {split}) is no file here and cannot be loaded from the "
            f"hub: {_one_line(error)}; check the name, or fetch it where there is a network and give the file"
        ) from error
    yield from enumerate(rows, 1)


def _one_line(error: Exception, limit: int = 240) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[:limit] + " …"


READERS: dict[str, Callable[[Path, bytes], Iterator[tuple[int, Any] | RowError]]] = {
    ".json": _json_rows, ".csv": _table_rows(","), ".tsv": _table_rows("\t"),
}  # fmt: skip
