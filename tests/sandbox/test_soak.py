"""Many programs, good and bad: right outcomes, and nothing that grows, leaks or is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import Limits, SandboxUnavailable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

MIX = [
    ("print(sum(map(int, input().split())))", "ok", b"5\n"),
    ("import json; print(json.dumps([1]))", "ok", b"[1]\n"),
    ("raise ValueError", "raised", b""),
    ("def f(:", "load-error", b""),
    ("import os; os.abort()", "crash", b""),
    ("while 1: print('x' * 5000)", "output-limit", None),
]


@pytest.fixture
def jail() -> Iterator[Sandbox]:
    try:
        sandbox = Sandbox(workers=1)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with sandbox:
        yield sandbox


def resident_kb(pid: int) -> int:
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
    )


def of_session(leader: int) -> list[int]:
    """Living processes of a worker's session, whatever their pid namespace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return sorted(found)


def soak(jail: Sandbox, rounds: int) -> None:
    limits = Limits(cpu_s=10, output_bytes=100_000)
    for number in range(rounds):
        program, status, stdout = MIX[number % len(MIX) if number % 10 == 0 else number % 2]
        outcome = jail.run(program, b"2 3\n", limits)
        assert outcome.status == status and stdout in (None, outcome.stdout), outcome


@pytest.mark.parametrize("rounds", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_nothing_grows(jail, rounds):
    soak(jail, 60)
    worker = jail._idle[0]
    pids = of_session(worker.process.pid)
    assert len(pids) == 2
    before = len(os.listdir("/proc/self/fd")), [resident_kb(pid) for pid in pids], resident_kb(os.getpid())
    inside = [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids] if os.geteuid() == 0 else []
    soak(jail, rounds)
    assert jail._idle == [worker], "the worker was replaced"
    assert len(os.listdir("/proc/self/fd")) == before[0]
    assert of_session(worker.process.pid) == pids
    assert not inside or [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids] == inside
    for pid, was in zip([*pids, os.getpid()], [*before[1], before[2]], strict=True):
        assert resident_kb(pid) < was + 4000


def test_a_worker_is_replaced_after_its_turn(jail, monkeypatch):
    monkeypatch.setattr("ponder.sandbox.jail.RECYCLE", 3)
    first = jail._idle[0]
    jail.run("")
    jail.run("")
    jail.run("")
    jail.run("")
    assert first.process.poll() is not None and jail.run("print(1)").stdout == b"1\n"


OWNER = """
import sys, threading
from ponder.sandbox.jail import Sandbox
jail = Sandbox(sys.argv[1], workers=1)
print(jail._idle[0].process.pid, flush=True)
jail.run("print(1)" if sys.argv[2] == "idle" else "while True: pass")
print("ran", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("mode", ["auto", "nons", "weak"])
@pytest.mark.parametrize("state", ["idle", "busy"])
def test_an_owner_that_is_killed_leaves_no_process(mode, state):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, mode, state], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    try:
        line = owner.stdout.readline()
        if not line:
            pytest.skip(f"no sandbox of mode {mode} here")
        if state == "idle":
            owner.stdout.readline()
        leader, wanted = int(line), 2 if state == "idle" else 3
        for _ in range(100):
            if len(of_session(leader)) == wanted:
                break
            time.sleep(0.1)
        assert len(of_session(leader)) == wanted
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    for _ in range(100):
        if not of_session(leader):
            break
        time.sleep(0.1)
    assert of_session(leader) == []


@pytest.mark.slow
def test_a_program_costs_milliseconds_of_processor_time(jail):
    soak(jail, 20)
    spent = [jail.run("print(1)").cpu_s for _ in range(200)]
    assert sorted(spent)[100] < 0.010  # processor time, for wall time is the neighbours'
