from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ponder.core import records, store
from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.store import Run, read_manifest


class Cfg(Settings):
    steps: int = 3
    rate: float = 0.1
    words: tuple[str, ...] = ("a",)


calls: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()


def count(cfg: Cfg, out: Path, **inputs: Any) -> dict[str, float]:
    """Adds a line a step to `log`; goes on from the lines that are there."""
    calls.append("count")
    log = out / "log"
    done = len(log.read_text().splitlines()) if log.exists() else 0
    for step in range(done, cfg.steps):
        if inputs.get("fail_at") == step:
            raise RuntimeError("power cut")
        with open(log, "a") as file:
            file.write(f"{step}\n")
    return {"lines": cfg.steps, "began_at": done}


def join(cfg: Cfg, out: Path, first: Path, extra: Any = None) -> None:
    calls.append("join")
    (out / "sub").mkdir(exist_ok=True)
    (out / "sub" / "text").write_text((first / "log").read_text() if first.is_dir() else first.read_text())


def test_a_finished_stage_returns_at_once_and_has_a_manifest(tmp_path):
    run = Run(tmp_path / "deep" / "run")
    assert run.state("count") == "to do" and not run.out.exists(), "nothing is written before the first stage"
    path = run.stage("count", count, Cfg())
    assert path == run.out / "count" and (path / "log").read_text() == "0\n1\n2\n"
    manifest = read_manifest(path)
    assert manifest["metrics"] == {"lines": 3, "began_at": 0} and manifest["settings"]["words"] == ["a"]
    assert manifest["function"].endswith("count") and manifest["environment"]["python"]
    assert run.stage("count", count, Cfg()) == path and calls == ["count"]
    assert run.state("count") == "done"
    assert sorted(os.listdir(run.out)) == [".lock", "count"], "nothing is left over"


def test_a_stop_in_the_middle_is_gone_on_with(tmp_path):
    def once(cfg: Cfg, out: Path) -> dict[str, float]:
        try:
            return count(cfg, out, fail_at=2 if not (out / "log").exists() else None)
        except RuntimeError:
            raise KeyboardInterrupt from None

    run = Run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.stage("count", once, Cfg())
    assert run.state("count") == "unfinished" and not (tmp_path / "count").exists()
    with pytest.raises(PonderError, match="not a finished artifact"):
        read_manifest(tmp_path / "count.partial")
    path = run.stage("count", once, Cfg())
    assert (path / "log").read_text() == "0\n1\n2\n"
    manifest = read_manifest(path)
    assert manifest["metrics"]["began_at"] == 2 and manifest["resumed"] is True
    assert not (tmp_path / "count.partial").exists()


def test_killed_for_good_in_a_stage_and_run_again(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from ponder.core.store import Run, read_manifest
        def work(cfg, out):
            done = len(list(out.glob("step-*")))
            for step in range(done, 3):
                (out / f"step-{step}").write_text("x")
                if step == 1 and done == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return {"began_at": done}
        print(read_manifest(Run(Path(sys.argv[1])).stage("work", work, {}))["metrics"]["began_at"])
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == "2", "the second run goes on, and no lock is left by the first"


def test_stopped_between_the_manifest_and_the_rename(tmp_path, monkeypatch):
    run, replace = Run(tmp_path), os.replace

    def no_folders(source: Any, target: Any) -> None:
        if Path(source).is_dir():
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(store.os, "replace", no_folders)
    with pytest.raises(KeyboardInterrupt):
        run.stage("count", count, Cfg())
    monkeypatch.setattr(store.os, "replace", replace)
    assert not (tmp_path / "count").exists()
    read_manifest(run.stage("count", count, Cfg()))
    assert calls == ["count"], "the work was done; only the rename was missing"


def test_changed_settings_are_named_and_the_stage_is_made_again(tmp_path, caplog):
    run = Run(tmp_path)
    first = read_manifest(run.stage("count", count, Cfg(), note="x"))["fingerprint"]
    with caplog.at_level(logging.WARNING, "ponder"):
        again = run.stage("count", count, Cfg(rate=0.5, words=("a", "b")), note="y")
    line = caplog.messages[-1]
    assert "rate: 0.1 -> 0.5" in line and 'words: ["a"] -> ["a", "b"]' in line and "inputs.note: x -> y" in line
    assert "steps" not in line and ".earlier" in line and "\n" not in line
    assert calls == ["count", "count"] and read_manifest(again)["settings"]["rate"] == 0.5
    # What was finished is not lost: with the first settings it comes back, and is not made a third time.
    assert read_manifest(run.stage("count", count, Cfg(), note="x"))["fingerprint"] == first
    assert calls == ["count", "count"]
    second = run.stage("count", count, Cfg(rate=0.5, words=("a", "b")), note="y")
    assert read_manifest(second)["settings"]["rate"] == 0.5 and calls == ["count", "count"]


def test_what_is_made_of_a_changed_stage_is_made_again(tmp_path):
    run = Run(tmp_path)
    run.stage("join", join, Cfg(), first=run.stage("count", count, Cfg()))
    run.stage("join", join, Cfg(), first=run.stage("count", count, Cfg(rate=0.5)))
    assert calls == ["count", "join", "count", "join"]


def test_a_run_that_is_only_looked_up_does_no_work(tmp_path):
    with pytest.raises(store.NotReady):
        Run(tmp_path / "new", ready_only=True).stage("count", count, Cfg())
    assert not (tmp_path / "new").exists()
    made = Run(tmp_path).stage("count", count, Cfg())
    assert Run(tmp_path, ready_only=True).stage("count", count, Cfg()) == made
    with pytest.raises(store.NotReady):
        Run(tmp_path, ready_only=True).stage("count", count, Cfg(rate=0.5))
    assert calls == ["count"] and read_manifest(made)["settings"]["rate"] == 0.1


def test_a_new_version_of_the_function_is_named(tmp_path, monkeypatch, caplog):
    run = Run(tmp_path)
    run.stage("count", count, Cfg())
    monkeypatch.setattr(count, "version", 2, raising=False)
    with caplog.at_level(logging.WARNING, "ponder"):
        run.stage("count", count, Cfg())
    assert "function_version: null -> 2" in caplog.text and calls == ["count", "count"]


def test_unfinished_work_of_other_settings_is_set_aside(tmp_path, caplog):
    run = Run(tmp_path)
    with pytest.raises(RuntimeError, match="power cut"):
        run.stage("count", count, Cfg(rate=0.3), fail_at=2)
    with caplog.at_level(logging.WARNING, "ponder"):
        path = run.stage("count", count, Cfg())
    assert (path / "log").read_text() == "0\n1\n2\n" and read_manifest(path)["metrics"]["began_at"] == 0
    assert "rate: 0.3 -> 0.1" in caplog.text
    assert (tmp_path / "count.partial.old" / "log").read_text() == "0\n1\n"
    # A second such change has a place of its own.
    with pytest.raises(RuntimeError):
        run.stage("again", count, Cfg(rate=0.3), fail_at=2)
    with pytest.raises(RuntimeError):
        run.stage("again", count, Cfg(rate=0.4), fail_at=1)
    run.stage("again", count, Cfg())
    assert (tmp_path / "again.partial.old" / "log").read_text() == "0\n1\n"
    assert (tmp_path / "again.partial1.old" / "log").read_text() == "0\n"


def test_inputs_count_by_fingerprint_and_by_content(tmp_path):
    run = Run(tmp_path / "a")
    first = run.stage("count", count, Cfg())
    run.stage("join", join, Cfg(), first=first)
    assert read_manifest(tmp_path / "a" / "join")["inputs"]["first"] == {
        "artifact": read_manifest(first)["fingerprint"]
    }
    # A run may be moved: the artifact's fingerprint is what counts, not where it lies.
    os.rename(tmp_path / "a", tmp_path / "b")
    moved = Run(tmp_path / "b")
    moved.stage("join", join, Cfg(), first=moved.stage("count", count, Cfg()))
    assert calls == ["count", "join"]
    inside = moved.stage("inside", join, Cfg(), first=tmp_path / "b" / "join" / "sub" / "text")
    assert read_manifest(inside)["inputs"]["first"]["path"] == "sub/text"
    # Any other file counts by its content.
    data = tmp_path / "data.txt"
    data.write_text("one")
    moved.stage("data", join, Cfg(), first=data)
    os.utime(data, (1, 1))
    moved.stage("data", join, Cfg(), first=data)
    data.write_text("two")
    before = len(calls)
    moved.stage("data", join, Cfg(), first=data)
    assert calls[before:] == ["join"]
    with pytest.raises(PonderError, match="none: no such file or folder"):
        moved.stage("other", join, Cfg(), first=tmp_path / "none")


def test_a_foreign_manifest_beside_an_input_is_no_artifact(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text('{"name": "app"}')
    (tmp_path / "web" / "data.txt").write_text("x")
    path = Run(tmp_path / "run").stage("data", join, Cfg(), first=tmp_path / "web" / "data.txt")
    assert "content" in read_manifest(path)["inputs"]["first"]


def test_what_cannot_be_remembered_is_refused(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(TypeError, match="input extra of a stage must be JSON"):
        run.stage("x", join, Cfg(), first=tmp_path, extra=object())
    with pytest.raises(TypeError, match="needs a name"):
        run.stage("x", lambda cfg, out: None, Cfg())
    with pytest.raises(ValueError, match="a stage's name"):
        run.stage("a/b", count, Cfg())


def test_dataclasses_and_plain_json_are_settings_too(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Plain:
        steps: int = 1
        where: Path = Path("x")

    assert read_manifest(Run(tmp_path).stage("plain", count, Plain()))["settings"] == {"steps": 1, "where": "x"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"fingerprint": 3}', "\x00"])
def test_a_corrupt_manifest(tmp_path, text):
    run = Run(tmp_path)
    path = run.stage("count", count, Cfg())
    (path / "manifest.json").write_text(text)
    with pytest.raises(PonderError) as caught:
        run.stage("count", count, Cfg())
    assert "manifest.json is damaged" in str(caught.value) and f"delete {path}" in str(caught.value)
    assert (path / "log").exists(), "nothing is deleted without being asked"


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "count").mkdir()
    (tmp_path / "count" / "mine").write_text("keep")
    with pytest.raises(PonderError, match="is not a finished artifact"):
        Run(tmp_path).stage("count", count, Cfg())
    assert not calls and (tmp_path / "count" / "mine").exists()


def test_an_unwritable_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(PonderError, match="cannot be written.*--out"):
            Run(out).stage("count", count, Cfg())
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):  # root may write anywhere

        def refuse(self: Path, *_: Any, **__: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

        monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PonderError, match="closed/run cannot be written: permission denied"):
        Run(closed / "run").stage("count", count, Cfg())
    assert not calls


def test_a_disk_that_fills_in_a_stage(tmp_path, monkeypatch):
    def fill(cfg: Cfg, out: Path) -> None:
        (out / "kept").write_text("half")
        if not (out / "second").exists():
            (out / "second").write_text("")
            raise OSError(errno.ENOSPC, "No space left on device", str(out / "big"))

    run = Run(tmp_path)
    earlier = run.stage("count", count, Cfg())
    with pytest.raises(PonderError, match="big: the disk is full"):
        run.stage("fill", fill, Cfg())
    assert read_manifest(earlier) and (tmp_path / "fill.partial" / "kept").exists()
    read_manifest(run.stage("fill", fill, Cfg()))


def test_a_disk_that_fills_at_the_manifest(tmp_path, monkeypatch):
    write = store.write_json_atomic

    def full_at_manifest(path: Path, value: Any) -> None:
        if path.name == "manifest.json":
            monkeypatch.setattr(records.os, "fsync", _full)
        write(path, value)

    monkeypatch.setattr(store, "write_json_atomic", full_at_manifest)
    with pytest.raises(PonderError, match="the disk is full"):
        Run(tmp_path).stage("count", count, Cfg())
    monkeypatch.undo()
    assert not (tmp_path / "count").exists()
    path = Run(tmp_path).stage("count", count, Cfg())
    assert (path / "log").read_text() == "0\n1\n2\n" and not list(path.glob(".*"))


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_two_at_once(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from ponder.core.store import Run
        def work(cfg, out):
            print("in", flush=True)
            sys.stdin.readline()
        Run(Path(sys.argv[1])).stage("work", work, {})
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin and first.stdout and first.stdout.readline() == "in\n"
        with pytest.raises(PonderError, match="another ponder is working there"):
            Run(tmp_path).stage("count", count, Cfg())
        first.stdin.write("\n")
        first.stdin.close()
        assert first.wait() == 0
    Run(tmp_path).stage("count", count, Cfg())


def test_errors_of_the_function_pass_untouched(tmp_path):
    def broken(cfg: Cfg, out: Path) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        Run(tmp_path).stage("broken", broken, Cfg())
    assert json.loads((tmp_path / "broken.partial" / "begun.json").read_text())["function"].endswith("broken")
