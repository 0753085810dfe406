"""Remote sandboxes against a local stand-in of their HTTP interfaces, well behaved and not."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.sandbox.grade import run_tests
from ponder.sandbox.limits import Limits
from ponder.sandbox.remote import Remote, sandbox_of
from ponder.sandbox.remote.exchange import Exchange, Trouble
from tests.sandbox.stand_in import StandIn, stand_in

SERVICES = ("fusion", "piston", "e2b")
SUM = "n = int(input())\nprint(sum(map(int, input().split())))\n"
QUICK = Limits(cpu_s=1.0, wall_s=60.0)


def remote_of(service: str, *places: StandIn, **wanted: Any) -> Remote:
    """A client with short pauses."""
    return Remote(service, [place.url for place in places], **{"pause_s": 0.01, "tries": 4, **wanted})


@pytest.mark.parametrize("service", SERVICES)
def test_a_program_runs_as_a_script_with_its_input(service: str) -> None:
    with stand_in() as place, remote_of(service, place) as remote:
        told = remote.run("if __name__ == '__main__':\n    " + SUM.replace("\n", "\n    "), b"3\n1 2 3\n", QUICK)
        assert (told.status, told.stdout, told.exit_code) == ("ok", b"6\n", 0)
        assert remote.tier == service
        assert not place.boxes  # every box is killed


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("raise ValueError('no')", "raised"),
        ("import sys\nsys.exit(3)", "raised"),
        ("def f(:\n", "load-error"),
        ("x = bytearray(200 << 20)", "memory"),
        ("import ctypes\nctypes.string_at(0)", "crash"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", "killed"),
        ("print('x' * 100000)", "output-limit"),
        ("while True: pass", "timeout-cpu"),
        ("import time\ntime.sleep(60)", "timeout-wall"),
    ],
)
def test_how_programs_end(service: str, program: str, status: str) -> None:
    limits = Limits(cpu_s=1.0, wall_s=1.5 if status == "timeout-wall" else 90.0, memory_mb=128, output_bytes=50_000)
    with stand_in() as place, remote_of(service, place) as remote:
        told = remote.run(program, b"", limits)
    assert told.status == status, told
    assert len(told.stdout) <= limits.output_bytes
    assert place.asked == 1  # a program's own end is never tried again


@pytest.mark.parametrize("service", ("fusion", "piston"))
def test_what_is_no_text_goes_in_all_the_same(service: str) -> None:
    data = bytes(range(256))
    with stand_in() as place, remote_of(service, place) as remote:
        told = remote.run("import sys\nprint(sum(sys.stdin.buffer.read()))", data, QUICK)
        assert told.stdout == b"%d\n" % sum(data)
        assert remote.run("print('\\ud800')", b"", QUICK).status == "raised"  # a program that cannot be printed
        assert remote.run("x = '\ud800'", b"", QUICK).status in ("raised", "load-error")  # one that is no UTF-8


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fault", [429, 500, 503, "drop", "malformed", "truncated"])
def test_a_passing_failure_is_tried_again(service: str, fault: str | int) -> None:
    with stand_in(faults=[fault, fault]) as place, remote_of(service, place) as remote:
        told = remote.run("print(1)", b"", QUICK)
        assert (told.status, told.stdout) == ("ok", b"1\n")
        assert place.asked == 3


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fault", [500, "drop", "malformed", "truncated"])
def test_a_lasting_failure_is_unknown_and_names_the_endpoint(service: str, fault: str | int) -> None:
    with stand_in(always=fault) as place, remote_of(service, place) as remote:
        told = remote.run("print(1)", b"", QUICK)
        assert told.status == "infra"
        assert told.stdout == b"" and told.exit_code is None
        assert place.url in told.note and service in told.note
        assert place.asked == 4


def test_an_endpoint_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.sandbox.remote.wires.SLACK_S", 0.2)
    with stand_in(always="hang", hang_s=2.0) as place, remote_of("fusion", place, tries=2) as remote:
        begin = time.monotonic()
        told = remote.run("print(1)", b"", Limits(cpu_s=1.0, wall_s=0.3))
        assert told.status == "infra" and "gave no answer in 0.5 s" in told.note
        assert time.monotonic() - begin < 2.0


def test_nobody_at_home_is_unknown_with_the_remedy() -> None:
    with stand_in() as place:
        pass
    told = remote_of("piston", place, tries=2).run("print(1)", b"", QUICK)
    assert told.status == "infra" and "could not be asked" in told.note and "docker run" in told.note


def test_a_wish_to_be_left_alone_is_kept() -> None:
    with stand_in(faults=[429], retry_after="0.3") as place, remote_of("fusion", place) as remote:
        begin = time.monotonic()
        assert remote.run("print(1)", b"", QUICK).status == "ok"
        assert time.monotonic() - begin >= 0.3


def test_work_goes_to_the_endpoint_that_is_well() -> None:
    with stand_in(always=500) as ill, stand_in() as well, remote_of("fusion", ill, well, pause_s=60.0) as remote:
        begin = time.monotonic()
        assert [remote.run("print(1)", b"", QUICK).status for _ in range(6)] == ["ok"] * 6
        assert time.monotonic() - begin < 10  # it never waits for the ill one
        assert ill.asked <= 1 and well.asked == 6


def test_callers_share_the_endpoints_and_wait_their_turn() -> None:
    with stand_in() as one, stand_in() as two, remote_of("fusion", one, two, at_once=2) as remote:
        told: list[bytes] = []

        def ask(number: int) -> None:
            told.append(remote.run(f"import time\ntime.sleep(0.1)\nprint({number})", b"", QUICK).stdout)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == sorted(b"%d\n" % number for number in range(12))
        assert one.asked and two.asked and one.most_at_once + two.most_at_once <= 4


@pytest.mark.parametrize(
    ("service", "wanted", "told"),
    [
        ("fusion", {"key": "secret"}, "SANDBOX_FUSION_API_KEY"),
        ("e2b", {"key": "secret"}, "E2B_API_KEY"),
        ("piston", {"ceilings": {"run_timeout": 3000}}, "PISTON_RUN_TIMEOUT"),
        ("piston", {"pythons": ("2.7.18",)}, "no Python 3"),
        ("piston", {"output_max": 1024}, "PISTON_OUTPUT_MAX_SIZE=1048576"),
        ("fusion", {"isolated": False}, "isolation: lite"),
    ],
)
def test_what_is_unfit_is_told_before_any_work(service: str, wanted: dict[str, Any], told: str) -> None:
    with stand_in(**wanted) as place, pytest.raises(PonderError, match=told) as caught:
        sandbox_of(f"{service}:{place.url}")
    assert place.url in str(caught.value) and "\n" not in str(caught.value)


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for service, name in (("fusion", "SANDBOX_FUSION_API_KEY"), ("e2b", "E2B_API_KEY")):
        monkeypatch.setenv(name, "secret")
        with stand_in(key="secret") as place:
            assert sandbox_of(f"{service}:{place.url}").run("print(1)", b"", QUICK).stdout == b"1\n"


def test_an_endpoint_without_isolation_can_be_accepted_by_name() -> None:
    with stand_in(isolated=False) as place:
        remote = sandbox_of(f"fusion-open:{place.url}")
        assert remote.tier == "fusion-open"
        assert remote.run("print(1)", b"", QUICK).stdout == b"1\n"


def test_older_piston_servers_tell_less() -> None:
    with stand_in(modern=False) as place, remote_of("piston", place) as remote:
        assert remote.run("import time\ntime.sleep(60)", b"", Limits(cpu_s=1, wall_s=0.7)).status == "timeout-wall"
        assert remote.run("while True: pass", b"", Limits(cpu_s=1, wall_s=60)).status == "timeout-cpu"
        assert remote.run("print(1)", b"", QUICK).status == "ok"


def test_a_program_that_floods_is_no_failure_of_the_endpoint() -> None:
    flood = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    for service in ("fusion", "piston"):
        with stand_in() as place, remote_of(service, place) as remote:
            told = remote.run(flood, b"", Limits(cpu_s=1, wall_s=6))
            assert told.status in ("output-limit", "timeout-cpu", "timeout-wall"), told
            assert place.asked == 1


def test_a_program_that_ends_its_own_report_fails_and_is_not_unknown() -> None:
    kill = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time\ntime.sleep(1)"
    with stand_in() as place, remote_of("e2b", place) as remote:
        assert remote.run(kill, b"", QUICK).status == "protocol"
        assert place.asked == 1 and not place.boxes


@pytest.mark.parametrize(
    "spec", ["nonsense", "fusion", "piston:", "fusion:not-an-address", "fusion:ftp://x", "docker:http://x"]
)
def test_a_wrong_word_is_told_in_one_line(spec: str) -> None:
    with pytest.raises(PonderError) as caught:
        sandbox_of(spec)
    assert "\n" not in str(caught.value) and "http" in str(caught.value)


def test_an_address_where_nobody_is_names_the_remedy() -> None:
    with stand_in() as place:
        pass
    with pytest.raises(PonderError, match="docker run") as caught:
        sandbox_of(f"fusion:{place.url}")
    assert place.url in str(caught.value)


# ---- a driver in turns ----

ECHO = """
write_frame(b"loaded:" + payload)
kept = []
while (frame := read_frame()) is not None:
    print("noise that must not be taken for a frame")
    kept.append(frame)
    write_frame(b"|".join(kept))
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_driver_answers_in_turns_and_keeps_its_state(service: str) -> None:
    with stand_in() as place, remote_of(service, place) as remote:
        child = remote.open(ECHO, b"\x00payload", QUICK)
        assert child.receive() == b"loaded:\x00payload"
        for number, wanted in ((b"1", b"1"), (b"2", b"1|2")):
            child.send(number)
            assert child.receive(1.0) == wanted
        assert child.receive() is None  # nothing more was asked
        child.send(b"3")
        child.send(b"4")
        assert [child.receive(), child.receive(), child.receive()] == [b"1|2|3", b"1|2|3|4", None]
        assert child.close().status == "ok"


def test_frames_sent_together_cost_one_request() -> None:
    with stand_in() as place, remote_of("fusion", place) as remote:
        child = remote.open(ECHO, b"", QUICK)
        for number in range(10):
            child.send(b"%d" % number)
        assert [child.receive() for _ in range(11)][-1] == b"0|1|2|3|4|5|6|7|8|9"
        assert place.asked == 1


@pytest.mark.parametrize(
    ("driver", "status"),
    [
        ("read_frame()\nraise ValueError", "raised"),
        ("read_frame()\nwhile True: pass", "timeout-cpu"),
        ("import os\nread_frame()\nos.write(_out if '_out' in dir() else 3, b'not base64!\\n')", "protocol"),
        ("import os\nread_frame()\nwrite_frame(b'x' * (1 << 21))", "output-limit"),
    ],
)
def test_a_driver_that_fails_ends(driver: str, status: str) -> None:
    with stand_in() as place, remote_of("fusion", place) as remote:
        child = remote.open(driver, b"", Limits(cpu_s=1.0, wall_s=60.0))
        child.send(b"1")
        assert child.receive() is None
        child.send(b"2")
        assert child.receive() is None
        assert child.close().status == status
        assert place.asked == 1


def test_a_driver_without_an_endpoint_is_unknown() -> None:
    with stand_in(always=500) as place, remote_of("fusion", place) as remote:
        child = remote.open(ECHO, b"", QUICK)
        assert child.receive() is None
        assert child.close().status == "infra"


# ---- the exchange ----


def test_an_answer_that_drips_or_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Drip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(2000):
                    self.wfile.write(b"x" * (1 if self.path == "/drip" else 1 << 20))
                    time.sleep(0.05 if self.path == "/drip" else 0)
            except OSError:
                pass

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Drip)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    exchange = Exchange({}, "KEY")
    for path, told in (("/drip", "had not finished"), ("/flood", "more than 16 MiB")):
        begin = time.monotonic()
        with pytest.raises(Trouble, match=told):
            exchange.ask("GET", base + path, timeout_s=0.5 if path == "/drip" else 20.0)
        assert time.monotonic() - begin < 10
    server.shutdown()
    server.server_close()


def test_a_client_outlives_a_fork() -> None:
    with stand_in() as place, remote_of("fusion", place) as remote:
        assert remote.run("print(1)", b"", QUICK).stdout == b"1\n"
        child = os.fork()
        if child == 0:
            told = b""
            try:
                told = remote.run("print(2)", b"", QUICK).stdout
            finally:
                os._exit(0 if told == b"2\n" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert remote.run("print(3)", b"", QUICK).stdout == b"3\n"


def test_what_is_shipped_holds_no_expected_value() -> None:
    with stand_in() as place, remote_of("fusion", place) as remote:
        remote.run("print(input())", b"question\n", QUICK)
        sent = place.bodies[-1]
        assert set(sent) == {
            "code", "language", "stdin", "run_timeout", "compile_timeout", "memory_limit_MB", "files", "fetch_files",
        }  # fmt: skip
        assert sent["stdin"] == "question\n" and sent["files"] == {}


# ---- verdicts over it ----

RIGHT = "def f(x):\n    return (x * 7919 + 104729) % 1000003\n"
CALLS = {"mode": "call", "entry": "f", "cases": [[[3], 128486], [[14], 215595], [[159], 363847]]}
PRINTS = {"mode": "stdio", "cases": [["3\n1 2 3\n", "6\n"], ["2\n5 5\n", "10\n"]]}
LOOP = {
    "mode": "assert",
    "entry": "f",
    "src": "import random\nfor _ in range(3):\n    n = random.randint(0, 99)\n"
    "    assert f(n) == (n * 7919 + 104729) % 1000003\n",
}
CLASS = {
    "mode": "assert",
    "entry": "Stack",
    "exports": ["Stack"],
    "src": "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2\nassert s.pop() == 1\n",
}
STACK = (
    "class Stack:\n    def __init__(s): s.v = []\n    def push(s, x): s.v.append(x)\n    def pop(s): return s.v.pop()\n"
)


JUDGED = [
    (SUM, PRINTS, True),
    ("print(6)", PRINTS, False),
    (RIGHT, CALLS, True),
    ("print('noise')\ndef f(x):\n    print('more')\n    return 1\n", CALLS, False),
    ("import os\ndef f(x): os._exit(0)", CALLS, False),
]
SPLIT = [
    (RIGHT, LOOP, True),
    ("def f(x): return 1", LOOP, False),
    (STACK, CLASS, True),
    (STACK.replace("pop()", "pop(0)"), CLASS, False),
]


@pytest.mark.parametrize(
    ("service", "code", "test", "correct"),
    [(service, *case) for service in SERVICES for case in JUDGED] + [("fusion", *case) for case in SPLIT],
)
def test_every_kind_of_test_is_judged_over_it(service: str, code: str, test: dict[str, Any], correct: bool) -> None:
    with stand_in() as place, remote_of(service, place) as remote:
        verdict = run_tests(code, test, sandbox=remote, limits=QUICK)  # type: ignore[arg-type]
    assert verdict.correct is correct, verdict
    assert verdict.tier == service


@pytest.mark.parametrize("test", [PRINTS, CALLS, LOOP], ids=["stdio", "call", "assert"])
def test_a_service_that_fails_gives_no_verdict(test: dict[str, Any]) -> None:
    with stand_in(always=500) as place, remote_of("piston", place, tries=2) as remote:
        verdict = run_tests(SUM if test is PRINTS else RIGHT, test, sandbox=remote, limits=QUICK)  # type: ignore[arg-type]
    assert verdict.correct is None and verdict.status == "infra", verdict
    assert place.url in verdict.note


def test_the_service_sees_no_expected_value() -> None:
    with stand_in() as place, remote_of("fusion", place) as remote:
        run_tests(RIGHT, CALLS, sandbox=remote, limits=QUICK)  # type: ignore[arg-type]
        run_tests(RIGHT, LOOP, sandbox=remote, limits=QUICK)  # type: ignore[arg-type]
    for body in place.bodies:
        seen = body["code"]
        for frame in json.loads(body["stdin"])["frames"]:
            seen += base64.b64decode(frame).decode()
        assert "128486" not in seen and "assert f" not in seen
