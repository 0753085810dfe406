"""The pool: outcomes, limits, frames, threads, forks, and workers that die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ponder.core.errors import PonderError
from ponder.sandbox import child as child_module
from ponder.sandbox.jail import Sandbox, get_sandbox
from ponder.sandbox.limits import Limits, Outcome, SandboxUnavailable

SHORT = Limits(cpu_s=1.0, wall_s=2.0)
ECHO = "while (frame := read_frame()) is not None: write_frame(payload + frame)"


@pytest.fixture(scope="module")
def jail() -> Iterator[Sandbox]:
    try:
        sandbox = Sandbox(workers=2)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("program", "status", "stdout", "exit_code"),
    [
        ("print(int(input()) * 2)", "ok", b"42\n", 0),
        ("import sys; sys.stdout.buffer.write(bytes([255, 0])); sys.exit()", "ok", b"\xff\x00", 0),
        ("import os; print(os.read(0, os.fstat(0).st_size).decode())", "ok", b"21\n\n", 0),
        ("print(__name__, __file__); exit(0)", "ok", b"__main__ main.py\n", 0),
        ("import atexit; atexit.register(print, 'late')", "ok", b"late\n", 0),
        ("import threading, time\nthreading.Thread(target=lambda: (time.sleep(.05), print('thread'))).start()", "ok",
         b"thread\n", 0),
        ("print(10 ** 5000 > 0, len(str(10 ** 5000)))", "ok", b"True 5001\n", 0),
        ("import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)\nprint(f(50000))", "ok",
         b"50000\n", 0),
        ("import asyncio\nasyncio.run(asyncio.sleep(0.01)); print('slept')", "ok", b"slept\n", 0),
        ("print('\\udcff', ascii('é'))", "ok", b"\xff '\\xe9'\n", 0),
        ("import os; print(dict(os.environ))", "ok", b"{}\n", 0),
        ("print('before'); raise SystemExit('why')", "raised", b"before\n", 1),
        ("import sys; sys.exit(7)", "raised", b"", 7),
        ("import os; print('lost'); os._exit(197 - 190)", "raised", b"", 7),
        ("1 / 0", "raised", b"", 1),
        ("def f(:", "load-error", b"", 1),
        ("x = '\0'", "load-error", b"", 1),
        ("x = [0] * (1 << 32)", "memory", b"", 1),
        ("import ctypes; ctypes.string_at(0)", "crash", b"", None),
        ("import os; os.abort()", "crash", b"", None),
    ],
)  # fmt: skip
def test_a_program_runs_as_python_runs_a_file(jail, program, status, stdout, exit_code):
    outcome = jail.run(program, b"21\n", SHORT)
    assert (outcome.status, outcome.stdout, outcome.exit_code) == (status, stdout, exit_code), outcome
    assert outcome.cpu_s > 0 and outcome.wall_s > 0


def test_a_traceback_shows_the_program_and_not_the_sandbox(jail):
    outcome = jail.run("def f():\n    raise KeyError('spam')\nf()\n")
    assert outcome.stderr.splitlines() == [
        "Traceback (most recent call last):",
        '  File "main.py", line 3, in <module>',
        '  File "main.py", line 2, in f',
        "KeyError: 'spam'",
    ]
    assert outcome.note == "KeyError: 'spam'"
    lines = jail.run("import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\n").stderr
    assert lines.splitlines()[1:3] == ['  File "main.py", line 3, in <module>', "    1 / 0"]


def test_cpu_time_decides_and_is_kept_to_a_fraction_of_a_second(jail):
    outcome = jail.run("while True: pass", limits=Limits(cpu_s=0.3))
    assert outcome.status == "timeout-cpu" and 0.28 < outcome.cpu_s < 0.6


@pytest.mark.parametrize(
    "program",
    [
        "import time\ntime.sleep(60)",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)",
        "import threading\nthreading.Event().wait()",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
    ],
)
def test_a_sleeper_meets_the_wall_clock(jail, program):
    began = time.monotonic()
    outcome = jail.run(program, limits=Limits(cpu_s=5.0, wall_s=0.4))
    assert outcome.status == "timeout-wall" and outcome.cpu_s < 1
    assert time.monotonic() - began < 30


def test_time_in_the_run_queue_is_the_hosts(jail, monkeypatch):
    began = time.monotonic()
    monkeypatch.setattr(child_module, "waiting_s", lambda pidfd: time.monotonic() - began)
    assert jail.run("import time\ntime.sleep(0.6)\nprint(1)", limits=Limits(wall_s=0.2)).status == "ok"
    # Beyond reason it is nobody's verdict.
    monkeypatch.setattr(child_module, "STARVED", 2)
    assert jail.run("import time\ntime.sleep(60)", limits=Limits(wall_s=0.2)).status == "infra"


def test_an_unreadable_run_queue_makes_the_wall_generous_and_not_endless(jail, monkeypatch):
    monkeypatch.setattr(child_module, "waiting_s", lambda pidfd: None)
    assert jail.run("import time\ntime.sleep(0.5)\nprint(1)", limits=Limits(wall_s=0.3)).status == "ok"
    assert jail.run("import time\ntime.sleep(60)", limits=Limits(wall_s=0.3)).status == "timeout-wall"


HOGGED = """
import os, subprocess, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import Limits
with Sandbox(workers=1) as jail:
    hogs = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(6)]
    try:
        # Half a second of work that gets a seventh of a processor, against a wall of one second.
        work = "import time\\nwhile time.process_time() < 0.5: pass\\nprint('done')"
        print(jail.run(work, limits=Limits(cpu_s=2.0, wall_s=1.0)))
    finally:
        for hog in hogs:
            hog.kill()
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs to pin processes to one processor")
def test_a_loaded_host_does_not_turn_work_into_a_timeout(jail):
    done = subprocess.run([sys.executable, "-c", HOGGED], capture_output=True, text=True, timeout=200)
    assert "status='ok', stdout=b'done\\n'" in done.stdout, done.stdout + done.stderr


def test_output_is_capped_and_told(jail):
    outcome = jail.run("print('x' * 5000)", limits=Limits(output_bytes=1000))
    assert outcome.status == "output-limit" and outcome.stdout == b"x" * 1000
    flood = jail.run("import sys\nwhile 1: sys.stderr.write('y' * 999)", limits=Limits(output_bytes=100_000))
    assert flood.status == "output-limit" and set(flood.stderr) == {"y"} and len(flood.stderr) <= 4096


def test_programs_leave_nothing_to_the_next(jail):
    one = "import builtins, sys, math\nbuiltins.print = None\nmath.pi = 3\nsys.modules['json'] = None\nopen = 1"
    assert jail.run(one).status == "ok"
    assert jail.run("import json, math; print(math.pi > 3.1, open)").stdout.startswith(b"True <built-in")


def test_sets_and_random_numbers_are_the_same_in_every_worker():
    program = "import random; print(list({'a', 'b', 'c', 'd', 'e'}), random.random(), hash('x'))"
    outputs = set()
    for _ in range(2):
        with Sandbox(mode="weak", workers=1) as jail:
            outputs.add(jail.run(program).stdout)
    assert len(outputs) == 1


def test_scratch_space_is_private_bounded_and_gone(jail):
    if jail.tier == "nons":
        with pytest.raises(SandboxUnavailable, match="scratch space needs namespaces"):
            jail.run("", limits=Limits(scratch=True))
        return
    write = "import os, tempfile\nopen('/tmp/a', 'w').write('1')\nos.rename('/tmp/a', 'b')\nprint(os.listdir('/tmp'))"
    for _ in range(2):
        assert jail.run(write, limits=Limits(scratch=True)).stdout == b"['b']\n"
    fill = "try:\n for i in range(9): open(f'{i}', 'wb').write(bytes(1 << 20))\nexcept OSError as e: print(i, e.errno)"
    assert jail.run(fill, limits=Limits(scratch=True, scratch_mb=4)).stdout == b"4 28\n"
    assert jail.run("open('/tmp/a', 'w')").status == "raised"


def test_frames_go_both_ways_and_the_end_is_none(jail):
    with jail.open(ECHO, b"<") as child:
        for size in (0, 1, 100_000, 1 << 19):
            child.send(bytes(size))
            assert child.receive() == b"<" + bytes(size)
        assert child.receive(timeout_s=0.2) is None
        assert child.close().status == "timeout-wall"
    with jail.open("write_frame(b'one'); print('said'); write_frame(b'two')") as child:
        assert [child.receive(), child.receive(), child.receive(), child.receive()] == [b"one", b"two", None, None]
        assert child.close().stdout == b"said\n" and child.close().status == "ok"
        child.send(b"to nobody")
    with pytest.raises(PonderError, match="a frame of 1048577 bytes; the most is 1048576"), jail.open(ECHO) as child:
        child.send(bytes((1 << 20) + 1))


def raw(expression: str) -> str:
    return f"import os, struct, time\n{expression}\ntime.sleep(60)"


@pytest.mark.parametrize(
    ("driver", "status"),
    [
        (raw("os.write(4, struct.pack('<I', 1 << 31))"), "protocol"),
        (raw("os.write(4, struct.pack('<I', 0x100001))"), "protocol"),
        (raw("os.write(4, struct.pack('<I', 100) + b'half')"), "timeout-wall"),
        (raw("os.write(4, struct.pack('<I', 1 << 20))\nwhile 1: os.write(4, b'.'); time.sleep(0.02)"), "timeout-wall"),
        ("import os; os.write(4, b'\\x05\\0\\0\\0abc'); os._exit(0)", "ok"),
        ("while 1: pass", "timeout-cpu"),
    ],
)
def test_hostile_frames_end_in_none(jail, driver, status):
    with jail.open(driver, limits=Limits(cpu_s=0.5, wall_s=0.6)) as child:
        assert child.receive() is None
    assert child.close().status == status


def test_more_frames_than_the_total_are_refused(jail):
    with jail.open("while 1: write_frame(bytes(1 << 20))") as child:
        got = 0
        while child.receive() is not None:
            got += 1
    assert got == 15 and child.close().status == "protocol"


def test_a_child_that_reads_nothing_cannot_hold_the_parent(jail):
    with jail.open("import time\ntime.sleep(60)", limits=Limits(wall_s=0.5)) as child:
        began = time.monotonic()
        child.send(bytes(1 << 20))
        assert child.receive() is None
        assert child.close().status == "timeout-wall" and time.monotonic() - began < 20


def test_time_between_receives_is_not_the_childs(jail):
    with jail.open(ECHO, limits=Limits(wall_s=0.3)) as child:
        for _ in range(3):
            time.sleep(0.2)
            child.send(b"x")
            assert child.receive() == b"x"


def test_one_worker_gives_two_children_to_a_thread_and_many_threads_do_not_lock():
    def both(number: int) -> bytes | None:
        with jail.open(ECHO, b"a%d" % number) as one, jail.open(ECHO, b"b") as two:
            one.send(b"1")
            two.send(one.receive() or b"")
            return two.receive()

    with Sandbox(mode="weak", workers=1) as jail, ThreadPoolExecutor(6) as pool:
        assert list(pool.map(both, range(12))) == [b"ba%d1" % number for number in range(12)]


def test_many_threads_share_few_workers(jail):
    with ThreadPoolExecutor(8) as pool:
        outcomes = pool.map(lambda n: jail.run(f"print({n})"), range(40))
        assert [int(outcome.stdout) for outcome in outcomes] == list(range(40))


def test_asyncio_runs_programs_beside_the_loop(jail):
    async def several() -> list[Outcome]:
        return await asyncio.gather(*(asyncio.to_thread(jail.run, f"print({n})") for n in range(5)))

    assert [outcome.stdout for outcome in asyncio.run(several())] == [b"%d\n" % n for n in range(5)]


def test_a_thread_that_ends_takes_no_worker_with_it():
    with Sandbox(mode="weak", workers=2) as jail:
        thread = threading.Thread(target=lambda: jail.open(ECHO).close())
        thread.start()
        thread.join()
        time.sleep(0.2)
        assert all(worker.process.poll() is None for worker in jail._idle)
        assert jail.run("print(1)").stdout == b"1\n"


@pytest.mark.parametrize("when", ["idle", "busy"])
def test_a_worker_that_dies_is_replaced(jail, when):
    jail.run("")
    workers = list(jail._idle)
    if when == "idle":
        for worker in workers:
            os.kill(worker.process.pid, signal.SIGKILL)
        assert jail.run("print(1)").stdout == b"1\n"
        return
    timer = threading.Timer(0.3, lambda: [os.kill(worker.process.pid, signal.SIGKILL) for worker in workers])
    timer.start()
    assert jail.run("import time; time.sleep(0.8); print(1)").stdout == b"1\n"  # the second try
    timer.join()


def test_a_machine_that_cannot_start_programs_is_unknown_and_not_wrong(monkeypatch):
    with Sandbox(mode="weak", workers=1) as jail:
        monkeypatch.setattr("ponder.sandbox.worker._spawn", lambda *_: (_ for _ in ()).throw(OSError(12, "no memory")))
        for worker in jail._idle:
            worker.process.kill()
            worker.process.wait()
        outcome = jail.run("print(1)")
        assert outcome.status == "infra" and "no memory" in outcome.note
        with pytest.raises(SandboxUnavailable, match="no memory"):
            jail.open(ECHO)


def test_a_forked_process_has_workers_of_its_own(jail):
    read, write = os.pipe()
    before = jail.run("print(1)")
    opened = jail.open(ECHO, b"<")
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, jail.run("print(2)").stdout)
            with pytest.raises(PonderError, match="belongs to that process"):
                opened.close()
            del opened
            jail.close()
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 10) == b"2\n"
    os.close(read)
    os.waitpid(pid, 0)
    opened.send(b"still here")
    assert opened.receive() == b"<still here"
    opened.close()
    assert before.stdout == b"1\n" and jail.run("print(3)").stdout == b"3\n"


def test_the_shared_sandbox_is_one(jail):
    assert get_sandbox("weak") is get_sandbox("weak")
    get_sandbox("weak").close()
    assert get_sandbox("weak").run("print(1)").stdout == b"1\n"


def test_mistakes_are_told_in_one_line():
    with pytest.raises(PonderError, match="sandbox mode 'strong' is unknown; use auto, full, nons or weak"):
        Sandbox(mode="strong")
    with pytest.raises(PonderError, match="workers is 0"):
        Sandbox(workers=0)
    for wrong in ({"cpu_s": 0}, {"wall_s": -1}, {"memory_mb": 1}, {"cpu_s": float("nan")}, {"scratch_mb": 0}):
        with pytest.raises(PonderError, match=next(iter(wrong))):
            Limits(**wrong)
    closed = Sandbox(mode="weak")
    closed.close()
    with pytest.raises(PonderError, match="this sandbox is closed"):
        closed.run("")


def test_weak_is_only_ever_typed_and_kills_what_a_program_leaves_behind():
    program = "import os, time\npid = os.fork()\nif not pid:\n os.setsid()\n time.sleep(60)\nprint(pid)"
    with Sandbox(mode="weak", workers=1) as jail:
        assert jail.tier == "weak"
        left = int(jail.run(program, limits=SHORT).stdout)
        assert not os.path.exists(f"/proc/{left}")


def test_packages_are_there_when_asked_for(jail):
    pytest.importorskip("numpy")
    with Sandbox(mode=jail.mode, workers=1, packages=["numpy"]) as with_numpy:
        program = "import numpy; print(numpy.linalg.det(numpy.eye(3)), numpy.random.default_rng(0).integers(9) < 9)"
        assert with_numpy.run(program).stdout == b"1.0 True\n"
    assert jail.run("import numpy").status == "raised"
