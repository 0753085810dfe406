"""The artifact store: a pipeline is ordinary Python, and each of its stages is remembered on disk.

    run = Run(Path("runs/r1-zero"))
    trained = run.stage("train", train, cfg.grpo, base=base)          # returns at once where that is done already

A stage works in `<name>.partial/`, where a later run finds it and goes on. When it is done its files are made durable,
`manifest.json` is written last, and the folder is renamed to `<name>/`: whoever sees `<name>/` sees all of it. The
manifest's fingerprint hashes the function, its version, Ponder's version, the settings and the inputs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

import ponder
from ponder.core.errors import PonderError
from ponder.core.records import environment, explained, fsync_path, write_json_atomic

log = logging.getLogger("ponder")

MANIFEST = "manifest.json"
BEGUN = "begun.json"
"""In an unfinished stage: the identity of the work that was begun there."""

EARLIER = ".earlier"
"""In a run: finished stages that were made with other settings."""

_HASHED_WHOLE = 64 * 2**20


class NotReady(Exception):
    """A run that was only to be looked up has work to do."""


class Run:
    """A folder of stages. Nothing is written before the first stage.

    ready_only: do no work; a stage that is not done, or was made with other settings, raises `NotReady`.
    """

    def __init__(self, out: Path, ready_only: bool = False) -> None:
        self.out, self.ready_only = Path(out), ready_only

    def stage(self, name: str, fn: Callable[..., Mapping[str, Any] | None], cfg: Any, **inputs: Any) -> Path:
        """The folder of the finished stage `name`: found, or made by `fn(cfg, folder, **inputs) -> metrics`.

        fn: a named function; it writes into `folder` only, and goes on from what an earlier, stopped try left there.
            An attribute `fn.version` counts as its version; raise it when old results must not be reused.
        cfg: a Settings, a dataclass or JSON.
        inputs: JSON, or paths. A path inside a finished artifact counts by the artifact's fingerprint, so a run may be
            moved; any other file or folder counts by its content.
        A stage whose settings or inputs have changed says which and is made again; what was there is kept in
        `.earlier/`, and comes back as it was when the settings do.
        Raises PonderError where the folder cannot be written, the disk is full, or another process works here.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ValueError(f"a stage's name is letters, digits, - and _; not {name!r}")
        identity = _identity(fn, cfg, inputs)
        fingerprint = _digest(identity)
        final, partial = self.out / name, self.out / f"{name}.partial"
        if final.exists() and read_manifest(final)["fingerprint"] == fingerprint:
            log.info("%s: done already", name)
            return final
        if self.ready_only:
            raise NotReady(name)
        with explained(self.out):
            try:
                self.out.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:  # a place that is no ordinary folder, such as /proc
                raise PonderError(f"{self.out} cannot be made there; choose another folder (--out DIR)") from error
        with _alone(self.out):
            if final.exists():
                self._put_aside(final, identity)
            earlier = self._earlier(name, fingerprint)
            if (earlier / MANIFEST).exists() and read_manifest(earlier)["fingerprint"] == fingerprint:
                with explained(final):
                    os.replace(earlier, final)
                    fsync_path(self.out)
                log.info("%s: made before with these settings; taken back from %s", name, earlier)
                return final
            with explained(partial):
                resumed = _prepare(partial, name, identity, fingerprint)
            if not (partial / MANIFEST).exists():  # else it was stopped just before the rename
                started = time.time()
                with explained(partial, only_inside=True):
                    metrics = fn(cfg, partial, **inputs)
                manifest = {
                    "stage": name,
                    "fingerprint": fingerprint,
                    **identity,
                    "metrics": dict(metrics or {}),
                    "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
                    "seconds": round(time.time() - started, 3),
                    "resumed": resumed,
                    "environment": environment(),
                }
                with explained(partial):
                    _make_durable(partial)
                    write_json_atomic(partial / MANIFEST, manifest)
            with explained(final):
                (partial / BEGUN).unlink(missing_ok=True)
                os.replace(partial, final)
                fsync_path(self.out)
        return final

    def _earlier(self, name: str, fingerprint: str) -> Path:
        return self.out / EARLIER / f"{name}-{fingerprint[:12]}"

    def _put_aside(self, final: Path, identity: Mapping[str, Any]) -> None:
        """Make room for work of other settings; what is finished is never deleted."""
        manifest = read_manifest(final)
        aside = self._earlier(final.name, manifest["fingerprint"])
        changes = changed_keys({key: manifest.get(key) for key in identity}, identity)
        log.warning("%s: made before with other settings (%s); made again, the earlier one is in %s", final.name,
                    changes, aside)  # fmt: skip
        with explained(aside):
            aside.parent.mkdir(exist_ok=True)
            if aside.exists():  # the same work twice: one of them is enough
                shutil.rmtree(aside)
            os.replace(final, aside)
            fsync_path(self.out)

    def state(self, name: str) -> Literal["done", "unfinished", "to do"]:
        """What a `plan` can say of a stage without making its inputs."""
        if (self.out / name / MANIFEST).exists():
            return "done"
        return "unfinished" if (self.out / f"{name}.partial" / BEGUN).exists() else "to do"


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a finished artifact; PonderError where it is missing or damaged."""
    file = Path(path) / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise PonderError(
            f"{path} is not a finished artifact: it has no {MANIFEST}; move it away or choose another --out"
        ) from error
    except (OSError, ValueError) as error:
        raise PonderError(f"{file} is damaged ({error}); delete {path} to have it made again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("fingerprint"), str):
        raise PonderError(f"{file} is damaged (no fingerprint); delete {path} to have it made again")
    return manifest


# Identity ---------------------------------------------------------------------------------------------------


def _identity(fn: Callable[..., Any], cfg: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    qualname = getattr(fn, "__qualname__", None)
    if qualname is None or "<lambda>" in qualname:
        raise TypeError(f"a stage's function needs a name by which it is known again; {fn!r} has none")
    return {
        "function": f"{fn.__module__}.{qualname}",
        "function_version": getattr(fn, "version", None),
        "ponder": ponder.__version__,
        "settings": _jsonable(cfg, "cfg"),
        "inputs": {key: _input(value, key) for key, value in sorted(inputs.items())},
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:24]


def _jsonable(value: Any, name: str) -> Any:
    if isinstance(value, pydantic.BaseModel):
        value = value.model_dump(mode="json")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        return json.loads(json.dumps(value, default=_path_or_model))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} of a stage must be JSON, a settings class or a path: {error}") from error


def _path_or_model(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is none of these")


def _input(value: Any, name: str) -> Any:
    if not isinstance(value, Path):
        return _jsonable(value, f"input {name}")
    path = value.resolve()
    for folder in (path, *path.parents):
        if (folder / MANIFEST).is_file():
            with contextlib.suppress(PonderError):  # somebody else's manifest.json is no artifact of ours
                inside = path.relative_to(folder).as_posix()
                return {"artifact": read_manifest(folder)["fingerprint"], **({"path": inside} if inside != "." else {})}
    if not path.exists():
        raise PonderError(f"{value}: no such file or folder ({name})")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {"content": _digest([[file.relative_to(path).as_posix(), _content(file)] for file in files])}


def _content(file: Path) -> Any:
    status = file.stat()
    if status.st_size > _HASHED_WHOLE:  # reading a model's shards would take longer than many a stage
        return [status.st_size, status.st_mtime_ns]
    return hashlib.sha256(file.read_bytes()).hexdigest()


def changed_keys(old: Any, new: Any) -> str:
    """`learning_rate: 0.001 -> 0.0001, …`: where two nested mappings differ, five places at most."""
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = [key for key in {**before, **after} if before.get(key, "-") != after.get(key, "-")]
    texts = [
        f"{key.removeprefix('settings.')}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}" for key in keys[:5]
    ]
    return ", ".join(texts + ([f"and {len(keys) - 5} more"] if len(keys) > 5 else []))


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, json.dumps(value) if not isinstance(value, str) else value


# Folders ----------------------------------------------------------------------------------------------------


def _prepare(partial: Path, name: str, identity: Mapping[str, Any], fingerprint: str) -> bool:
    """Make the working folder ready; True where it holds earlier work of the same identity, to be gone on with."""
    if partial.exists():
        begun = _read_begun(partial)
        if begun is not None and _digest(begun) == fingerprint:
            log.info("%s: going on from where it was stopped", name)
            return True
        taken = len(list(partial.parent.glob(f"{name}.partial*.old")))  # what was set aside before stays there
        aside = partial.with_name(f"{name}.partial{taken or ''}.old")
        why = changed_keys(begun, identity) if begun is not None else "no record of its settings"
        log.warning("%s: the unfinished work there is of other settings (%s); set aside as %s", name, why, aside)
        os.replace(partial, aside)
    partial.mkdir()
    write_json_atomic(partial / BEGUN, identity)
    return False


def _read_begun(partial: Path) -> Any:
    for file in (partial / BEGUN, partial / MANIFEST):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(file.read_bytes())
            return {key: record[key] for key in ("function", "function_version", "ponder", "settings", "inputs")}
    return None


def _make_durable(partial: Path) -> None:
    """Make every file and folder durable before the manifest says that they are there."""
    for path in sorted(partial.rglob("*")):
        if not path.is_symlink():
            fsync_path(path)
    fsync_path(partial)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the run's lock. The system gives it back however the process ends; child processes do not inherit it."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with explained(out):
        lock = open(out / ".lock", "a+")
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise PonderError(
                f"{out}: another ponder is working there; wait for it, or choose another --out"
            ) from error
        except OSError as error:  # a file system without locks
            log.warning("%s: cannot be locked (%s); run only one ponder there", out, error)
        yield
