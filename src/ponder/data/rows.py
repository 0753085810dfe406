"""Rows of a data stage as files: JSON lines, old or new and never half."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ponder.core.records import finite, write_atomic


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace `path` by `rows`, one JSON object a line; half characters are escaped, NaN becomes null."""
    write_atomic(path, "".join(_line(row) + "\n" for row in rows))


def _line(row: Mapping[str, Any]) -> str:
    text = json.dumps(finite(row), ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(finite(row), allow_nan=False)
    return text
