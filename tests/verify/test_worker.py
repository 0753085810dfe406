from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ponder.verify.worker import Pool, shared_pool

CHILD = """
import json, os, signal, sys, time
from ponder.verify.symbolic_child import _die_with, _limits, _say
def main(settings):
    _die_with(int(os.environ["PONDER_PARENT"]))
    options = json.loads(settings)
    _limits(options.get("memory_mb", 512))
    if options.get("missing"):
        _say(1, {"error": "no such module", "missing": True}); return
    if options.get("dumb"):
        time.sleep(60)
    _say(1, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        do = request["do"]
        if do == "big power": 9 ** 9 ** 9  # in C, with the interpreter's lock
        if do == "sleep": time.sleep(request["s"])
        if do == "die": os.kill(os.getpid(), signal.SIGSEGV)
        if do == "exit": sys.exit(0)
        if do == "garbage": os.write(1, b"{not json\\n"); continue
        if do == "flood": os.write(1, b"x" * 200000); continue
        if do == "memory":
            try: bytearray(1 << 32)
            except MemoryError:
                _say(1, {"memory": True, "last": True}); continue
        _say(1, {"echo": request, "pid": os.getpid()})
"""


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("child")
    (folder / "echo_child_for_tests.py").write_text(CHILD)
    sys.path.append(str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool("echo_child_for_tests", workers=2)
    yield made
    made.close()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pids: list[int], within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def test_a_request_and_its_answer(pool: Pool) -> None:
    reply = pool.ask({"do": "echo", "text": "π\n½"}, 5)
    assert reply.value is not None and reply.value["echo"]["text"] == "π\n½"
    assert not reply.timed_out
    first = pool.pids()
    pool.ask({"do": "echo"}, 5)
    assert pool.pids() == first, "one worker is enough for one thread"


def test_a_worker_that_holds_the_lock_is_killed_and_replaced(pool: Pool) -> None:
    pool.ask({"do": "echo"}, 5)
    before = pool.pids()
    began = time.perf_counter()
    reply = pool.ask({"do": "big power"}, 0.3)
    assert 0.25 < time.perf_counter() - began < 3
    assert reply.value is None and reply.timed_out and "0.3 s" in reply.note
    assert gone(before)
    assert pool.ask({"do": "echo"}, 5).value is not None


@pytest.mark.parametrize("way", ["die", "exit", "garbage", "flood"])
def test_a_worker_that_fails_is_replaced(pool: Pool, way: str) -> None:
    reply = pool.ask({"do": way}, 5)
    assert reply.value is None and reply.timed_out and reply.note
    assert pool.ask({"do": "echo"}, 5).value is not None


def test_memory_is_bounded(pool: Pool) -> None:
    reply = pool.ask({"do": "memory"}, 5)
    assert reply.value == {"memory": True, "last": True}
    assert pool.pids() == [], "its heap is not used again"
    assert pool.ask({"do": "echo"}, 5).value is not None


def test_kill_9_in_mid_request(pool: Pool) -> None:
    pool.ask({"do": "echo"}, 5)
    (victim,) = pool.pids()
    threading.Timer(0.2, os.kill, (victim, signal.SIGKILL)).start()
    reply = pool.ask({"do": "sleep", "s": 30}, 20)
    assert reply.value is None and reply.timed_out and reply.note == "the worker died"
    assert pool.ask({"do": "echo"}, 5).value is not None


def test_kill_9_while_idle_costs_nothing(pool: Pool) -> None:
    pool.ask({"do": "echo"}, 5)
    os.kill(pool.pids()[0], signal.SIGKILL)
    time.sleep(0.1)
    assert pool.ask({"do": "echo"}, 5).value is not None


def test_others_go_on_while_one_is_stuck(pool: Pool) -> None:
    done: list[float] = []
    stuck: list[object] = []
    pool.ask({"do": "echo"}, 5)
    began = time.perf_counter()
    hung = threading.Thread(target=lambda: stuck.append(pool.ask({"do": "big power"}, 4)))
    hung.start()
    time.sleep(0.1)

    def ask() -> None:
        if pool.ask({"do": "sleep", "s": 0.02}, 5).value is not None:
            done.append(time.perf_counter() - began)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 20
    assert max(done) < 3.5 and not stuck, "none waited for the one that is stuck"
    hung.join(30)
    assert stuck


def test_the_clock_starts_with_the_work_not_in_the_queue() -> None:
    pool = Pool("echo_child_for_tests", workers=1)
    pool.warm()
    replies: list[bool] = []

    def ask() -> None:
        replies.append(pool.ask({"do": "sleep", "s": 0.3}, 1.0).value is not None)

    threads = [threading.Thread(target=ask) for _ in range(6)]  # the last waits for 1.5 s, longer than its cap
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    pool.close()
    assert replies == [True] * 6


def test_a_worker_outlives_the_thread_that_started_it() -> None:
    """The parent-death signal is the starting thread's: a passing thread must not be the one."""
    pool = Pool("echo_child_for_tests", workers=1)
    thread = threading.Thread(target=pool.warm)
    thread.start()
    thread.join()
    before = pool.pids()
    time.sleep(0.3)
    assert pool.pids() == before != []
    pool.close()


def test_what_is_missing_is_said_once() -> None:
    pool = Pool("echo_child_for_tests", '{"missing": true}')
    for _ in range(3):
        reply = pool.ask({"do": "echo"}, 5)
        assert reply.unavailable and reply.note == "no such module" and not reply.timed_out
    assert pool.pids() == []


def test_a_closed_pool_answers_and_leaves_nothing() -> None:
    pool = Pool("echo_child_for_tests")
    pool.warm()
    pids = pool.pids()
    pool.close()
    assert gone(pids)
    assert pool.ask({"do": "echo"}, 1).unavailable


def test_workers_are_recycled() -> None:
    pool = Pool("echo_child_for_tests", workers=1, recycle=2)
    seen = {pool.ask({"do": "echo"}, 5).value["pid"] for _ in range(6)}  # type: ignore[index]
    pool.close()
    assert len(seen) == 3


def test_a_forked_process_has_its_own_workers() -> None:
    pool = shared_pool("echo_child_for_tests")
    pool.ask({"do": "echo"}, 5)
    parents = pool.pids()
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            own = shared_pool("echo_child_for_tests")
            answer = own.ask({"do": "echo"}, 5).value
            os.write(send, str(answer["pid"] if answer else 0).encode())
            own.close()
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        other = int(stream.read())
    os.waitpid(pid, 0)
    assert other and other not in parents
    assert gone([other])
    assert pool.pids() == parents
    assert pool.ask({"do": "echo"}, 5).value is not None
    pool.close()


def test_a_pool_held_across_a_fork_starts_its_own(pool: Pool) -> None:
    pool.ask({"do": "echo"}, 5)
    parents = pool.pids()
    pid = os.fork()
    if pid == 0:
        answer = pool.ask({"do": "echo"}, 5).value
        own = pool.pids()
        pool.close()
        os._exit(0 if answer and own and own != parents else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert pool.pids() == parents
    assert pool.ask({"do": "echo"}, 5).value is not None


PROGRAM = """
import os, sys, threading, time
sys.path[:0] = [{source!r}, {folder!r}]
from ponder.verify.worker import shared_pool
pool = shared_pool("echo_child_for_tests")
threading.Thread(target=pool.ask, args=({{"do": "big power"}}, {cap}), daemon=True).start()
pool.ask({{"do": "echo"}}, 5)
while len(pool.pids()) < 2: time.sleep(0.02)
time.sleep(0.3)
print(*pool.pids(), flush=True)
{end}
"""


@pytest.mark.parametrize(
    "end", ["", "sys.exit(3)", "os._exit(0)", "os.kill(os.getpid(), 9)", "raise RuntimeError", "os.abort()"]
)
def test_nothing_is_left_when_the_interpreter_ends(end: str) -> None:
    """One worker is idle, the other is stuck in C with the lock held."""
    source, folder = str(Path(__file__).resolve().parents[2] / "src"), sys.path[-1]
    program = PROGRAM.format(source=source, folder=folder, end=end, cap=60)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    assert gone(pids)
