"""Reading what a run left on disk, whole or in part: a page can be drawn of any run that ever wrote a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl

Row = Mapping[str, Any]

BEFORE, COT, AFTER, OTHER = "base", "cot", "trained", "other"
"""What was evaluated: the base as it is, the base asked to think step by step, the trained model, something else."""

TITLES = {BEFORE: "Base", COT: "Base with CoT prompt", AFTER: "Trained", OTHER: "Other"}


@dataclass(frozen=True)
class Result:
    """One evaluation: `NAME.json` and its rows. kind: one of BEFORE, COT, AFTER, OTHER. mode: greedy, sampled or ""."""

    name: str
    kind: str
    mode: str
    spec: Row
    summary: Row
    rows: tuple[Row, ...]
    more: Row = field(default_factory=dict)

    @property
    def lenient(self) -> bool:
        """Whether its headline is read leniently: a base never asked for the form is not marked down for it."""
        return self.kind == COT

    @property
    def measure(self) -> str:
        return "accuracy_lenient" if self.lenient else "accuracy"

    @property
    def title(self) -> str:
        kind = TITLES[self.kind] if self.kind != OTHER else self.name
        return f"{kind}, {self.mode}" if self.mode and self.kind != OTHER else kind

    def overall(self, measure: str) -> Row | None:
        return self.summary.get("overall", {}).get(measure)

    def of_task(self, task: str, measure: str) -> Row | None:
        return self.summary.get("tasks", {}).get(task, {}).get(measure)


@dataclass(frozen=True)
class Stage:
    """A training stage: a folder with `metrics.jsonl`. samples: step -> file. done: it has its manifest."""

    name: str
    folder: Path
    config: Row
    environment: Row
    metrics: tuple[Row, ...]
    samples: Mapping[int, Path]
    manifest: Row
    done: bool

    @property
    def steps(self) -> int:
        return int(max((row["step"] for row in self.metrics), default=0))

    @property
    def planned(self) -> int | None:
        """The steps that the settings ask for."""
        found = _find(self.config, "max_steps")
        return int(found) if isinstance(found, (int, float)) else None

    def series(self, name: str) -> tuple[tuple[float, float | None], ...]:
        """(step, value) of one metric, where the step has it at all."""
        return tuple((row["step"], _number(row[name])) for row in self.metrics if name in row)

    def names(self, pattern: str) -> list[str]:
        """The metrics whose name matches `pattern`, in order of first appearance."""
        seen = dict.fromkeys(name for row in self.metrics for name in row)
        return [name for name in seen if re.fullmatch(pattern, name)]


@dataclass(frozen=True)
class Records:
    """All of a run. unread: one line for every file that could not be read."""

    folder: Path
    stages: tuple[Stage, ...]
    results: tuple[Result, ...]
    manifests: Mapping[str, Row]
    unread: tuple[str, ...]
    styles: bool = False
    """Whether the base's styles were measured (`styles.json`), as they are in the miniature world."""

    @property
    def stage(self) -> Stage | None:
        """The last training stage."""
        return self.stages[-1] if self.stages else None

    def result(self, kind: str, mode: str) -> Result | None:
        return next((r for r in self.results if (r.kind, r.mode) == (kind, mode)), None)

    @cached_property
    def tasks(self) -> list[str]:
        """Every task that was evaluated or trained on."""
        names = [task for result in self.results for task in result.summary.get("tasks", {})]
        for stage in self.stages:
            names += [name.removeprefix("accuracy/") for name in stage.names("accuracy/.+")]
        return sorted(dict.fromkeys(names))


def read_run(folder: Path) -> Records:
    """Read a run's folder. Raises PonderError where it is none: no metrics and no evaluation anywhere in it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise PonderError(f"{folder} is not a folder; give the folder of a run (the --out of `ponder run`)")
    unread: list[str] = []
    folders = [folder, *_stage_folders(folder)]
    stages = [_stage(place, unread) for place in folders if (place / "metrics.jsonl").exists()]
    results = [
        found
        for place in folders
        for file in sorted(place.glob("*.json"))
        if file.name not in ("manifest.json", "begun.json", "config.json", "environment.json", "styles.json")
        and (found := _result(file, unread))
    ]
    if not stages and not results:
        raise PonderError(f"{folder} holds no run: neither metrics.jsonl nor an evaluation; is it the right folder?")
    manifests = {
        place.name: manifest for place in folders if (manifest := _json(place / "manifest.json", unread, missing=True))
    }
    stages.sort(key=lambda stage: str(stage.manifest.get("started", "~")))
    styles = any((place / "styles.json").exists() for place in folders)
    return Records(folder, tuple(stages), tuple(_ordered(results)), manifests, tuple(unread), styles)


def _stage_folders(folder: Path) -> list[Path]:
    """The folders of stages; an unfinished `NAME.partial` counts unless `NAME` is there; one set aside never."""
    places = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and p.suffix != ".old")
    names = {place.name for place in places}
    return [p for p in places if not (p.name.endswith(".partial") and p.name.removesuffix(".partial") in names)]


def _stage(folder: Path, unread: list[str]) -> Stage:
    try:
        rows = [row for row in read_jsonl(folder / "metrics.jsonl", growing=True) if isinstance(row.get("step"), int)]
    except PonderError as error:
        unread.append(str(error))
        rows = []
    samples = {
        int(match[1]): file
        for file in sorted((folder / "samples").glob("step-*.jsonl"))
        if (match := re.fullmatch(r"step-(\d+)\.jsonl", file.name))
    }
    manifest = _json(folder / "manifest.json", unread, missing=True)
    environment = _json(folder / "environment.json", unread, missing=True) or manifest.get("environment", {})
    begun = manifest or _json(folder / "begun.json", unread, missing=True)
    config = _json(folder / "config.json", unread, missing=True) or begun.get("settings") or {}
    name = folder.name.removesuffix(".partial")
    return Stage(name, folder, config, environment, tuple(rows), samples, manifest, bool(manifest))


def _result(file: Path, unread: list[str]) -> Result | None:
    content = _json(file, unread)
    summary = content.get("summary")
    if not isinstance(summary, Mapping) or "overall" not in summary:
        return None
    rows: tuple[Row, ...] = ()
    try:
        rows = tuple(read_jsonl(file.parent / str(content.get("rows", f"{file.stem}.jsonl"))))
    except PonderError as error:
        unread.append(str(error))
    name = str(content.get("name", file.stem)).removeprefix("eval-")
    words = re.split(r"[-_]", name)
    kind = COT if COT in words else BEFORE if words[0] == BEFORE else AFTER if words[0] == AFTER else OTHER
    spec = content.get("spec") or {}
    mode = next((mode for mode in ("greedy", "sampled") if mode in words), "") or _mode(spec)
    more = {key: value for key, value in content.items() if key not in ("name", "spec", "summary", "rows")}
    return Result(name, kind, mode, spec, summary, rows, more)


def _mode(spec: Row) -> str:
    temperature = _find(spec, "temperature")
    return "" if temperature is None else "greedy" if temperature == 0 else "sampled"


def _ordered(results: list[Result]) -> list[Result]:
    kinds, modes = (BEFORE, COT, AFTER, OTHER), ("sampled", "greedy", "")
    return sorted(results, key=lambda r: (kinds.index(r.kind), modes.index(r.mode), r.name))


def _json(file: Path, unread: list[str], missing: bool = False) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not missing:
            unread.append(f"{file} is missing")
        return {}
    except (OSError, ValueError) as error:
        unread.append(f"{file} could not be read ({error})")
        return {}
    return content if isinstance(content, dict) else {}


def _find(values: Row, name: str) -> Any:
    """A setting by name, at any depth."""
    if name in values:
        return values[name]
    inner = (_find(value, name) for value in values.values() if isinstance(value, Mapping))
    return next((value for value in inner if value is not None), None)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
