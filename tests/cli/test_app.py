from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ponder.pipelines
from ponder.cli.app import run_app
from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.pipelines import Pipeline, Plan


class Inner(Settings):
    learning_rate: float = 1e-6


class Cfg(Settings):
    steps: int = 3
    trouble: str = ""
    inner: Inner = Inner()


def work(settings: Cfg, out: Path) -> Path:
    if settings.trouble == "mend":
        raise PonderError("row 3 of data.jsonl has no answer; add one or delete the row")
    if settings.trouble == "stop":
        raise KeyboardInterrupt
    if settings.trouble == "full":
        raise OSError(errno.ENOSPC, "No space left on device", str(out / "model.safetensors"))
    if settings.trouble == "closed":
        raise PermissionError(errno.EACCES, "Permission denied", str(out))
    if settings.trouble == "pipe":
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    if settings.trouble == "bug":
        raise ZeroDivisionError("a fault of Ponder's own")
    out.mkdir(parents=True)
    (out / "seen").write_text(f"{settings.steps} {settings.inner.learning_rate}")
    return out / "report.html"


def rows(settings: Cfg, out: Path) -> list[Plan]:
    done = Plan("base", "done", "measured")
    return [done, Plan("train", "to do", f"{settings.steps} steps", 130.0, 2.25)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"fake": Pipeline("fake", Cfg, work, rows, {"lr": "inner.learning_rate"})}
    monkeypatch.setattr(ponder.pipelines, "pipeline_table", lambda: table)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PONDER_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "job.yaml").write_text("pipeline: fake\nsteps: 5\n")


def ponder_(arguments: Sequence[str], capsys: Any) -> tuple[int, str, str]:
    code = run_app(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def fault(arguments: Sequence[str], capsys: Any, code: int = 2) -> str:
    got, out, err = ponder_(arguments, capsys)
    line = err.splitlines()[-1]
    assert got == code and out == "" and line.startswith("ponder: ") and "Traceback" not in err
    return line.removeprefix("ponder: ")


def test_run_reads_recipe_and_overrides(capsys, tmp_path):
    code, out, err = ponder_(["run", "job.yaml", "inner.learning_rate=1e-3"], capsys)
    assert (code, out) == (0, f"{Path('runs/job/report.html')}\n")
    assert (tmp_path / "runs" / "job" / "seen").read_text() == "5 0.001"
    assert "working in runs/job" in err
    ponder_(["run", "job.yaml", "steps=7", "lr=1", "--out", "else/where"], capsys)
    assert (tmp_path / "else" / "where" / "seen").read_text() == "7 1.0"


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["run", "job.yaml", "inner.lerning_rate=1"], "job.inner.lerning_rate is unknown; did you mean learning_rate?"),
        (["run", "job.yaml", "steps=many"], "job.steps is 'many': should be a valid integer"),
        (["run", "job.yaml", "steps"], "'steps' is not a setting; write key=value"),
        (["run", "job.yaml", "pipeline=r2"], "job.pipeline is 'r2': should be one of fake"),
        (["run", "none.yaml"], "none.yaml: no such file"),
        (["run", "no-such-recipe"], "no recipe is called 'no-such-recipe'"),
        (["run", "job.yaml", "--steps", "3"], "no such option: --steps"),
        (["run"], "missing argument"),
        (["rum"], "no such command 'rum'"),
        (["run", "job.yaml", "trouble=mend"], "row 3 of data.jsonl has no answer; add one or delete the row"),
        (["run", "job.yaml", "trouble=full"], "runs/job/model.safetensors: the disk is full; free some space"),
        (["run", "job.yaml", "trouble=closed"], "runs/job cannot be written: permission denied; choose another folder"),
        (["report", "none"], "none: no such run"),
        (["sample", "none/at/all", "hello"], "none/at/all: no such directory"),
        (["sample", "mini", " "], "the question is empty"),
        (["eval", "./none"], "./none: no such directory"),
        (["eval", "mini", "modle=1"], "eval.modle is unknown; did you mean model?"),
        (["eval", "mini", "n=0"], "eval.n is 0: should be greater than or equal to 1"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(capsys, arguments, line):
    assert line in fault(arguments, capsys)


def test_a_recipe_without_a_pipeline(capsys, tmp_path):
    (tmp_path / "bare.yaml").write_text("steps: 5\n")
    assert fault(["run", "bare.yaml"], capsys) == "bare names no pipeline: should be one of fake"


def test_ctrl_c_says_how_to_go_on(capsys):
    line = fault(["run", "job.yaml", "trouble=stop"], capsys, code=130)
    assert line == "stopped; run the same command again to go on"


def test_a_fault_of_our_own_keeps_its_traceback(capsys):
    with pytest.raises(ZeroDivisionError):
        run_app(["run", "job.yaml", "trouble=bug"])


def test_debugging_shows_the_traceback_of_a_users_mistake_too(monkeypatch):
    monkeypatch.setenv("PONDER_DEBUG", "1")
    with pytest.raises(PonderError):
        run_app(["run", "job.yaml", "trouble=mend"])


def test_plan_shows_the_stages_and_writes_nothing(capsys, tmp_path):
    code, out, _ = ponder_(["plan", "job.yaml", "steps=9"], capsys)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and lines[0] == ["job", "in", "runs/job"]
    assert lines[1] == ["stage", "state", "what", "about", "memory"]
    assert lines[2] == ["base", "done", "measured", "-", "-"]
    assert lines[3] == ["train", "to", "do", "9", "steps", "0:02:10", "2.2", "GB"]
    assert os.listdir(tmp_path) == ["job.yaml"]


def test_version_and_help(capsys):
    assert ponder_(["--version"], capsys)[1] == f"ponder {ponder.__version__}\n"
    code, out, _ = ponder_(["--help"], capsys)
    assert code == 0 and all(command in out for command in ("run", "plan", "sample", "eval", "report", "doctor"))


def test_help_does_not_wait_for_torch():
    script = (
        "import sys\nfrom ponder.cli.app import run_app\nassert run_app(['run', '--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'rich.progress'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_the_command_as_a_process(tmp_path):
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ponder", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    bad = call("run", "none.yaml")
    assert (bad.returncode, bad.stdout, bad.stderr) == (2, "", "ponder: none.yaml: no such file\n")
    assert call("--version").stdout == f"ponder {ponder.__version__}\n"


def test_a_reader_who_has_enough_is_no_error():
    script = "import sys; from ponder.cli.app import run_app\nfor _ in range(400): run_app(['--help'])\nsys.exit(0)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_run_shows_the_results_of_its_finished_stages(capsys, tmp_path, monkeypatch):
    def figures(value: float) -> dict[str, Any]:
        one = {"value": value, "low": value / 2, "high": value * 2, "n": 9, "method": "wilson"}
        nothing = {**one, "value": None, "low": None, "high": None}
        names = ("accuracy", "accuracy_lenient", "format_rate", "truncation_rate")
        return {**dict.fromkeys(names, one), "mean_length": nothing}

    def measure(settings: Cfg, out: Path) -> Path:
        for stage, name, value in (("before", "base", 0.1), ("after", "trained", 0.4), ("half.partial", "half", 0.3)):
            (out / stage).mkdir(parents=True)
            (out / stage / "settings.json").write_text("{}")
            (out / stage / f"{name}.jsonl").write_text("")
            overall = {"name": name, "summary": {"overall": figures(value)}}
            (out / stage / f"{name}.json").write_text(json.dumps(overall))
            if stage != "half.partial":
                (out / stage / "manifest.json").write_text("{}")
        return out / "report.html"

    table = {"fake": Pipeline("fake", Cfg, measure, rows)}
    monkeypatch.setattr(ponder.pipelines, "pipeline_table", lambda: table)
    code, out, _ = ponder_(["run", "job.yaml"], capsys)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and lines[0] == ["job:", "held-out", "problems"]
    assert lines[2][:3] == ["base", "0.10", "(0.05-0.20)"] and lines[3][:3] == ["trained", "0.40", "(0.20-0.80)"]
    assert lines[2][-1] == "-" and lines[4] == ["runs/job/report.html"] and len(lines) == 5
