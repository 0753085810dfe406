"""A file of traces that is written as they come, survives a kill, and ends sorted."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import JsonlWriter, explained, fsync_path
from ponder.data.trace import Trace, check_trace

Key = tuple[str, int]
"""A problem's id, and which of its samples."""


@dataclass
class Tally:
    """Traces counted: `rows` by verdict and fate, and sums of what was told of them."""

    rows: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    cost: float | None = None

    def add(self, trace: Mapping[str, Any]) -> None:
        """Count one trace."""
        verdict = {True: "right", False: "wrong"}.get(trace.get("correct"), "unknown")  # type: ignore[arg-type]
        self.rows.update(["samples", verdict])
        self.rows["truncated"] += trace.get("finish") == "length"
        self.rows["failed"] += trace.get("finish") == "abort"
        self.rows["well_formed"] += bool(trace.get("well_formed"))
        for name in ("prompt_tokens", "completion_tokens"):
            self.sums[name] += trace.get(name) or 0
        if trace.get("cost") is not None:
            self.cost = (self.cost or 0.0) + trace["cost"]

    def as_json(self) -> dict[str, Any]:
        """The counts by name; cost is None where nobody told it."""
        rows = ("samples", "right", "wrong", "unknown", "truncated", "failed", "well_formed")
        sums = ("prompt_tokens", "completion_tokens")
        return {**{n: self.rows[n] for n in rows}, **{n: self.sums[n] for n in sums}, "cost": self.cost}


MOVES = ("endpoint",)
"""What a provenance says that may be another when a run goes on: the same teacher, at another address."""


class TraceFile:
    """The traces at `path`, open to add more. Use in a `with`.

    Half a line that a kill left at its end is dropped. `done` has what need not be asked again: traces that were given
    up (finish "abort") are not among it, and a later trace of the same key takes their place.

    provenance: what the traces there must have in theirs, so that no file mixes teachers or settings.
    wanted: the keys that may be there. Raises PonderError for a row of others, and where another process is writing.
    """

    def __init__(self, path: Path, provenance: Mapping[str, Any], wanted: Iterable[Key]) -> None:
        self.path, self.provenance, self._wanted = Path(path), dict(provenance), set(wanted)
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take_lock()
            self._writer = JsonlWriter(self.path)
            self.done: set[Key] = set()
            self.before = Tally()
            for number, trace, _, _ in self._rows():
                self._check(number, trace)
                if trace["finish"] != "abort":
                    self.done.add((trace["id"], trace["sample"]))
                    self.before.add(trace)
        except BaseException:
            os.close(self._lock)
            raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PonderError(f"{self.path}: another process is writing there; wait for it, or stop it") from error

    def _rows(self) -> Iterator[tuple[int, Trace, int, int]]:
        """(line, trace, offset, bytes) of every row."""
        place = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        trace = json.loads(line)
                    except ValueError as error:
                        raise PonderError(f"{self.path}, line {number}: not JSON; mend or delete the line") from error
                    yield number, trace, place, len(line)
                place += len(line)

    def _check(self, number: int, trace: Any) -> None:
        where = f"{self.path}, line {number}"
        if not isinstance(trace, dict):
            raise PonderError(f"{where}: a {type(trace).__name__}, not a trace; choose another file (--out)")
        check_trace(trace, where)
        for name, value in self.provenance.items():
            if name in MOVES:
                continue
            there = trace["provenance"].get(name)
            if there != value:
                raise PonderError(
                    f"{where}: made with {name} {there!r}, not {value!r}; choose another file (--out), or remove it"
                )
        if (trace["id"], trace["sample"]) not in self._wanted:
            raise PonderError(
                f"{where}: answers a problem or a sample that is not asked now ({trace['id']}/{trace['sample']}); "
                "choose another file (--out), or remove it"
            )

    def append(self, traces: Iterable[Trace]) -> None:
        """Add traces; those that are there already are left as they are."""
        for trace in traces:
            key = trace["id"], trace["sample"]
            if key not in self.done:
                self._writer.write(trace)
                if trace["finish"] != "abort":
                    self.done.add(key)

    def finish(self, order: Sequence[Key]) -> dict[str, Any]:
        """Put the file in `order`, in one step, one trace a key (the last that was written).

        Returns its counts, over all and in `tasks` by task.
        """
        self._writer.sync()
        places: dict[Key, tuple[int, int]] = {}
        for _, trace, place, size in self._rows():
            places[trace["id"], trace["sample"]] = (place, size)
        overall = Tally()
        tasks: dict[str, Tally] = {}
        partial = self.path.with_name(f".{self.path.name}.sorted")
        with explained(self.path):
            try:
                with open(self.path, "rb") as old, open(partial, "wb") as new:
                    for key in order:
                        if key not in places:
                            continue
                        place, size = places[key]
                        old.seek(place)
                        line = old.read(size)
                        new.write(line)
                        trace = json.loads(line)
                        overall.add(trace)
                        tasks.setdefault(trace["task"], Tally()).add(trace)
                    new.flush()
                    os.fsync(new.fileno())
                os.replace(partial, self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)
                raise
            fsync_path(self.path.parent)
        return {**overall.as_json(), "tasks": {name: tally.as_json() for name, tally in tasks.items()}}

    def close(self) -> None:
        """Close the file and let others write it."""
        self._writer.close()
        os.close(self._lock)

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
