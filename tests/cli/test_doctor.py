from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ponder.cli import doctor
from ponder.cli.app import run_app
from ponder.models import files


def test_the_table_says_what_is_there(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    assert run_app(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in (
        "python",
        "torch",
        "transformers",
        "cores",
        "memory",
        "disk",
        "GPU",
        "extra vllm",
        "model mini",
        "namespaces",
    ):
        assert any(line.startswith(name) for line in out.splitlines()), name


def test_what_is_missing_has_its_remedy(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "trackio" else find(name))
    extras = {name: (found, remedy) for name, found, remedy in doctor._extras()}
    assert extras["extra track"] == ("absent: trackio", "pip install 'ponder[track]'")
    assert extras["extra dev"][1] == ""


def test_the_embedded_model_and_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "mini_weights", lambda: None)
    assert doctor._mini() == ("model mini", "absent", "ponder run mini-base")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1_500_000)
    monkeypatch.setattr(files, "mini_weights", lambda: tmp_path)
    assert doctor._mini() == ("model mini", "present, 1.5 MB", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor.os, "access", lambda place, how: Path(place) != tmp_path)
    assert doctor._folder() == ("runs/", "not writable", "use --out with another folder")


@pytest.mark.parametrize("code, found", [(0, "usable"), (1, "not usable")])
def test_namespaces(monkeypatch, code, found):
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor.subprocess, "run", lambda command: doctor.subprocess.CompletedProcess(command, code))
    assert doctor._namespaces()[1] == found
