"""Stopped and run again, a run ends with the weights of one that was never stopped. Real processes, really killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_world import run, same_bits, weights_of

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.seeds import random_of
from ponder.training.distributed import World, launch
from ponder.training.grpo import Stopped

CHANGES: dict[str, Any] = {
    "max_steps": 10, "beta": 0.02, "sync_ref_model": True, "ref_model_sync_steps": 3, "lr_scheduler_type": "cosine",
    "warmup_steps": 2, "dynamic_sampling": True, "dynamic_sampling_max_rounds": 2, "weight_decay": 0.01,
}  # fmt: skip


def _child(out_dir: Path, changes: dict[str, Any], processes: int) -> None:
    os.setsid()
    try:
        launch(run, processes, (out_dir, changes))
    except Stopped:
        os._exit(7)
    os._exit(0)


def start(out_dir: Path, changes: dict[str, Any], processes: int = 1) -> Any:
    """A process that trains, in a group of its own; its server has done the imports, and has no threads to lose."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ponder.training.grpo", "transformers.models.qwen3.modeling_qwen3"])
    process = context.Process(target=_child, args=(out_dir, changes, processes))
    process.start()
    return process


def wait_for_row(out_dir: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        file = out_dir / "metrics.jsonl"
        if file.exists() and file.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"{count} rows never came")


def what_was_learned(out_dir: Path) -> list[dict[str, Any]]:
    """The rows of metrics, without what a clock or the machine says."""
    clocks = ("timing_s/", "perf/", "step_time")
    return [{k: v for k, v in row.items() if not k.startswith(clocks)} for row in read_jsonl(out_dir / "metrics.jsonl")]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("uninterrupted")
    run(World(), out_dir, CHANGES)
    return out_dir


@pytest.mark.parametrize("save_steps", [1, 3])
def test_kill_9_at_any_moment(uninterrupted: Path, tmp_path: Path, save_steps: int) -> None:
    moments, kills = random_of("kill", save_steps), 0
    changes = CHANGES | {"save_steps": save_steps}
    while kills < 6:
        process = start(tmp_path, changes)
        process.join(timeout=moments.uniform(0.05, 0.5))
        if process.exitcode is not None:
            assert process.exitcode == 0
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    assert kills > 0
    run(World(), tmp_path, changes)
    assert same_bits(weights_of(tmp_path / "model"), weights_of(uninterrupted / "model"))
    assert what_was_learned(tmp_path) == what_was_learned(uninterrupted)
    assert read_jsonl(tmp_path / "dropped.jsonl") == read_jsonl(uninterrupted / "dropped.jsonl")
    for page in (uninterrupted / "samples").iterdir():
        assert (tmp_path / "samples" / page.name).read_bytes() == page.read_bytes()


def test_ctrl_c_stops_at_the_end_of_a_step(uninterrupted: Path, tmp_path: Path) -> None:
    changes = CHANGES | {"save_steps": 100}
    process = start(tmp_path, changes)
    wait_for_row(tmp_path, 3)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    assert process.exitcode == 7, "Stopped was not raised"
    step = read_jsonl(tmp_path / "metrics.jsonl")[-1]["step"]
    assert 3 <= step < 10 and (tmp_path / "checkpoints" / f"step-{step:06d}" / "state.json").is_file()
    assert not (tmp_path / "model").exists()
    run(World(), tmp_path, changes)
    assert same_bits(weights_of(tmp_path / "model"), weights_of(uninterrupted / "model"))
    assert what_was_learned(tmp_path) == what_was_learned(uninterrupted)


def test_ctrl_c_with_two_processes(tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches every process of the group; rank 0 alone decides when to stop."""
    whole, broken, changes = tmp_path / "whole", tmp_path / "broken", CHANGES | {"max_steps": 14}
    reference, stopped = start(whole, changes, 2), start(broken, changes, 2)
    wait_for_row(broken, 2)
    os.killpg(stopped.pid, signal.SIGINT)
    stopped.join(timeout=60)
    assert stopped.exitcode == 7
    rows = len(read_jsonl(broken / "metrics.jsonl"))
    assert (broken / "checkpoints" / f"step-{rows:06d}").is_dir()
    launch(run, 2, (broken, changes))
    reference.join(timeout=100)
    assert same_bits(weights_of(broken / "model"), weights_of(whole / "model"))
    assert what_was_learned(broken) == what_was_learned(whole)


# ---- what must not change between a stop and the next start ----


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("finished")
    run(World(), out_dir, {"max_steps": 2})
    return out_dir


def test_a_finished_run_returns_at_once_with_the_same_result(finished: Path) -> None:
    before = weights_of(finished / "model")
    result = run(World(), finished, {"max_steps": 2})
    assert result["step"] == 2 and same_bits(before, weights_of(finished / "model"))


@pytest.mark.parametrize(
    ("world", "changes", "message"),
    [
        (World(), {"learning_rate": 0.5}, "settings.learning_rate was 0.01 and is now 0.5"),
        (World(), {"max_steps": 3}, "settings.max_steps was 2 and is now 3"),
    ],
)
def test_changed_settings_are_refused_with_their_names(
    finished: Path, world: World, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PonderError, match=message):
        run(world, finished, {"max_steps": 2} | changes)


def test_another_number_of_processes_or_other_problems_are_refused(finished: Path) -> None:
    from tiny_world import make_problems

    from ponder.training.checkpoint import agree, newest_checkpoint

    found = newest_checkpoint(finished / "checkpoints")
    assert found is not None
    with pytest.raises(PonderError, match="processes was 1 and is now 2; put it back to go on"):
        agree(found, {"processes": 2})
    with pytest.raises(PonderError, match="problems was"):
        run(World(), finished, {"max_steps": 2}, problems=make_problems(20))


def test_what_does_not_touch_the_weights_may_change(finished: Path) -> None:
    run(World(), finished, {"max_steps": 2, "save_steps": 9, "logging_steps": 2, "sample_steps": 0})


def test_beginning_anew_on_request(finished: Path) -> None:
    before = weights_of(finished / "model")
    result = run(World(), finished, {"max_steps": 2, "learning_rate": 0.02}, resume=False)
    assert result["learning_rate"] == 0.02 and not same_bits(before, weights_of(finished / "model"))
    assert [row["step"] for row in read_jsonl(finished / "metrics.jsonl")] == [1, 2]
