"""Several processes: results, failures and endings, each with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from ponder.core.errors import PonderError
from ponder.training.distributed import World, launch, unshare

HERE = Path(__file__).parent


def test_a_world_of_one_needs_no_processes() -> None:
    world = World()
    tensor = torch.ones(3)
    assert world.first and world.sum_(tensor) is tensor and world.gather(4) == [4] and world.broadcast("x") == "x"
    assert launch(lambda world, x: (world.size, x), 1, (5,)) == (1, 5)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 5, 6])
def test_shares_are_put_back_in_order(count: int, size: int) -> None:
    items = list(range(count))
    shares = [World(rank, size).share(items) for rank in range(size)]
    assert unshare(shares) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def _together(world: World, factor: float) -> dict[str, object]:
    total = world.sum_(torch.full((2,), factor * (world.rank + 1)))
    return {
        "sum": total.tolist(),
        "ranks": world.gather({"rank": world.rank, "threads": torch.get_num_threads()}),
        "said": world.broadcast(f"rank {world.rank}"),
        "children": len(psutil.Process().children()),
    }


def _mistake_on_rank_1(world: World) -> None:
    if world.rank == 1:
        raise PonderError("row 7 has no answer")
    world.gather(None)


def _bug_on_rank_1(world: World) -> None:
    if world.rank == 1:
        raise ZeroDivisionError("a bug")
    world.sum_(torch.ones(3))


def _killed_rank_1(world: World) -> None:
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    world.sum_(torch.ones(3))


def _mistake_on_rank_0(world: World) -> None:
    if world.first:
        raise PonderError("no such model")
    world.gather(None)


def spawned() -> list[psutil.Process]:
    """The processes that `launch` has started and that are still there."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # of other tests in this process
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_ranks_work_together_and_leave_nothing_behind() -> None:
    before = torch.get_num_threads()
    result = launch(_together, 2, (0.5,))
    assert result["sum"] == [1.5, 1.5] and result["said"] == "rank 0"
    assert result["ranks"] == [{"rank": 0, "threads": 1}, {"rank": 1, "threads": 1}]
    assert torch.get_num_threads() == before
    assert not spawned()


@pytest.mark.parametrize(
    ("fn", "kind", "message"),
    [
        (_mistake_on_rank_1, PonderError, "^row 7 has no answer$"),
        (_bug_on_rank_1, RuntimeError, "rank 1: (.|\n)*ZeroDivisionError: a bug"),
        (_killed_rank_1, RuntimeError, "rank 1 ended early: killed by signal 9"),
        (_mistake_on_rank_0, PonderError, "^no such model$"),
    ],
)
def test_a_failure_on_any_rank_ends_all_and_says_why(fn: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        launch(fn, 2)  # type: ignore[arg-type]
    assert not spawned()


def test_a_function_that_cannot_be_imported_by_the_others_does_not_hang() -> None:
    with pytest.raises(Exception, match="(?i)pickle|local object"):
        launch(lambda world: None, 2)


def test_no_processes_at_all_is_refused() -> None:
    with pytest.raises(PonderError, match="processes is 0"):
        launch(_together, 0, (1.0,))


SLEEPER = """
import sys, time
sys.path.insert(0, {here!r})
from ponder.training.distributed import launch
import sleeper_of_test
if __name__ == "__main__":
    launch(sleeper_of_test.sleep, 2)
"""


def test_kill_9_of_the_parent_leaves_no_child(tmp_path: Path) -> None:
    (tmp_path / "sleeper_of_test.py").write_text(
        "import os, sys, time\n"
        "def sleep(world):\n"
        "    world.gather(None)\n"
        "    open(sys.argv[1] + f'/rank-{world.rank}', 'w').write(str(os.getpid()))\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "main.py").write_text(SLEEPER.format(here=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py"), str(tmp_path)])
    marks = [tmp_path / f"rank-{rank}" for rank in range(2)]
    deadline = time.monotonic() + 120
    while not all(mark.exists() and mark.read_text() for mark in marks):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    child = int(marks[1].read_text())
    assert psutil.pid_exists(child) and child != parent.pid
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def test_under_torchrun_the_same_code_joins(tmp_path: Path) -> None:
    script = tmp_path / "joins.py"
    script.write_text(
        "import sys\n"
        "from ponder.training.distributed import launch\n"
        "def work(world):\n"
        "    sys.stdout.write(f'said {world.gather(world.rank)}\\n')\n"
        "launch(work, 7)\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # By address, not --standalone: that looks the host's own name up, which a machine without a network cannot do.
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with (tmp_path / "output").open("w+") as output:  # a pipe would stay open, and be waited for, in orphaned ranks
        subprocess.run(
            [*command, "--master-port", str(port), str(script)],
            stdout=output, stderr=subprocess.STDOUT, timeout=100, env=environment, check=True,
        )  # fmt: skip
    said = (tmp_path / "output").read_text()
    assert said.count("said [0, 1]") == 2, said
