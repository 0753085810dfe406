"""A local stand-in for SandboxFusion, Piston and E2B: their HTTP interfaces, over a plain subprocess.

It has no walls: only programs that the tests themselves wrote may be sent to it. Request checks, field names, status
words and ceilings are those of the real services (see the sources named in `ponder.sandbox.remote.wires`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any

FUSION_CUT = 1 << 20
KEPT = 8 << 20  # bytes of a stream that are kept at all


@dataclass
class StandIn:
    """A running stand-in: what it should do wrong, and what it saw.

    `faults` is used up from the front, one per request that would run a program (for E2B: that would make a box);
    `always` comes after them. Each is a status number, "hang", "drop", "malformed" or "truncated".
    """

    url: str = ""
    key: str = ""  # asked for where it is not empty
    isolated: bool = True
    faults: list[str | int] = field(default_factory=list)
    always: str | int | None = None
    retry_after: str | None = None
    ceilings: dict[str, int] = field(default_factory=dict)  # Piston's, by the name of the field
    output_max: int = 1 << 20  # Piston's
    pythons: tuple[str, ...] = ("3.12.0",)
    modern: bool = True  # Piston: with status, cpu_time and wall_time
    hang_s: float = 3.0
    asked: int = 0  # requests to run a program
    bodies: list[dict[str, Any]] = field(default_factory=list)
    boxes: dict[str, str] = field(default_factory=dict)  # E2B: those alive, with their tokens
    boxes_made: int = 0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Ran:
    """What a subprocess did."""

    code: int | None
    stdout: bytes
    stderr: bytes
    wall_s: float
    late: bool = False
    full: bool = False


def run_program(text: str, stdin: bytes, timeout_s: float, *, shared_tmp: str | None, most: int | None = None) -> Ran:
    """Run a trusted program in a subprocess of its own session, in a folder of its own."""
    place = tempfile.mkdtemp()
    try:
        path = os.path.join(place, "main.py")
        with open(path, "wb") as file:
            file.write(text.encode("utf-8", "surrogatepass"))
        env = {"PATH": os.environ["PATH"], "HOME": place, "TMPDIR": shared_tmp or place, "MALLOC_ARENA_MAX": "1"}
        begin = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-S", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=place, env=env, start_new_session=True,
        )  # fmt: skip

        def stop() -> None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

        kept = [bytearray(), bytearray()]
        full = threading.Event()

        def drain(pipe: IO[bytes], into: bytearray) -> None:
            while chunk := os.read(pipe.fileno(), 65536):
                into.extend(chunk[: KEPT - len(into)])
                if most is not None and len(into) > most:  # Piston kills, SandboxFusion only drops
                    full.set()
                    stop()

        def feed(pipe: IO[bytes]) -> None:
            with suppress(OSError):
                pipe.write(stdin)
                pipe.close()

        assert child.stdin and child.stdout and child.stderr
        work = [threading.Thread(target=feed, args=(child.stdin,), daemon=True)]
        work += [threading.Thread(target=drain, args=(pipe, into), daemon=True)
                 for pipe, into in zip((child.stdout, child.stderr), kept, strict=True)]  # fmt: skip
        for thread in work:
            thread.start()
        late = False
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            late = True
        stop()
        child.wait()
        for thread in work:
            thread.join(5)
        for pipe in (child.stdin, child.stdout, child.stderr):
            with suppress(OSError):
                pipe.close()
        return Ran(child.returncode, bytes(kept[0]), bytes(kept[1]), time.monotonic() - begin, late, full.is_set())
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Handler(BaseHTTPRequestHandler):
    """The three services under one roof: their paths do not overlap."""

    protocol_version = "HTTP/1.1"
    state: StandIn
    shared_tmp: str

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def reply(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """JSON, or text where `body` is a string."""
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def fault(self) -> bool:
        """Do the next wrong thing, if one is due."""
        with self.state.lock:
            due = self.state.faults.pop(0) if self.state.faults else self.state.always
        if due is None:
            return False
        if isinstance(due, int):
            after = self.state.retry_after
            self.reply(due, {"message": "Requests limited to 1 per 200ms"}, {"Retry-After": after} if after else {})
        elif due == "hang":
            time.sleep(self.state.hang_s)
            self.close_connection = True
        elif due == "drop":
            self.close_connection = True
        elif due == "malformed":
            self.reply(200, "<html>gateway</html>")
        elif due == "truncated":
            content = b'{"status": "Success", "run": {"stdout": "'
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + 100))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True
        return True

    def allowed(self, sent: str | None, wanted: str) -> bool:
        """Whether the key is right; answers 401 where it is not."""
        if not self.state.key or sent == wanted:
            return True
        self.reply(401, {"message": "Unauthorized"})
        return False

    def work(self, *given: Any, **named: Any) -> Ran:
        """`run_program`, counted: over before the reply is sent, for the caller may ask again as soon as it has it."""
        with self.state.lock:
            self.state.at_once += 1
            self.state.most_at_once = max(self.state.most_at_once, self.state.at_once)
        try:
            return run_program(*given, **named)
        finally:
            with self.state.lock:
                self.state.at_once -= 1

    def do_GET(self) -> None:
        """Health and runtimes."""
        if self.path == "/v1/ping":
            if self.allowed(self.headers.get("Authorization"), f"Bearer {self.state.key}"):
                self.reply(200, "pong")
        elif self.path == "/api/v2/runtimes":
            rows = [{"language": "python", "version": v, "aliases": ["py", "python3"]} for v in self.state.pythons]
            self.reply(200, rows)
        else:
            self.reply(404, {"message": "Not Found"})

    def do_DELETE(self) -> None:
        """E2B: kill a box."""
        name = self.path.rpartition("/")[2]
        with self.state.lock:
            known = self.state.boxes.pop(name, None) is not None
        self.send_response(204 if known else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Run a program, or make a box."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        serve = {
            "/run_code": self.fusion,
            "/api/v2/execute": self.piston,
            "/sandboxes": self.make_box,
            "/execute": self.cell,
        }.get(self.path)
        if serve is None:
            self.reply(404, {"message": "Not Found"})
            return
        with self.state.lock:
            if self.path != "/execute":
                self.state.asked += 1
                self.state.bodies.append(body)
        if self.path == "/execute" or not self.fault():
            serve(body)

    def fusion(self, body: dict[str, Any]) -> None:
        """`RunCodeRequest` -> `RunCodeResponse`."""
        if not self.allowed(self.headers.get("Authorization"), f"Bearer {self.state.key}"):
            return
        missing = [name for name in ("code", "language") if not isinstance(body.get(name), str)]
        if missing:
            self.reply(422, {"detail": [{"type": "missing", "loc": ["body", name]} for name in missing]})
            return
        ran = self.work(
            body["code"], (body.get("stdin") or "").encode(), body.get("run_timeout", 10),
            shared_tmp=None if self.state.isolated else self.shared_tmp,
        )  # fmt: skip
        result: dict[str, Any] = {
            "status": "TimeLimitExceeded" if ran.late else "Finished",
            "execution_time": ran.wall_s,
            "return_code": None if ran.late else ran.code,
            "stdout": ran.stdout[:FUSION_CUT].decode("utf-8", "replace"),
            "stderr": ran.stderr[:FUSION_CUT].decode("utf-8", "replace"),
        }
        status = "Success" if not ran.late and ran.code == 0 else "Failed"
        self.reply(200, {
            "status": status, "message": "", "compile_result": None, "run_result": result, "executor_pod_name": None,
            "files": {},
        })  # fmt: skip

    def piston(self, body: dict[str, Any]) -> None:
        """Piston's job: ceilings are checked first, and output beyond the buffer kills."""
        for name, kind in (("language", str), ("version", str), ("files", list)):
            if not isinstance(body.get(name), kind):
                self.reply(400, {"message": f"{name} is required as a {kind.__name__}"})
                return
        for name, ceiling in self.state.ceilings.items():
            if body.get(name, 0) > ceiling:
                self.reply(400, {"message": f"{name} cannot exceed the configured limit of {ceiling}"})
                return
        ran = self.work(
            body["files"][0]["content"], (body.get("stdin") or "").encode(), body.get("run_timeout", 3000) / 1000,
            shared_tmp=None, most=self.state.output_max,
        )  # fmt: skip
        killed = ran.late or ran.full or (ran.code is not None and ran.code < 0)
        name = signal.Signals(-ran.code).name if ran.code is not None and ran.code < 0 else "SIGKILL"
        run: dict[str, Any] = {
            "stdout": ran.stdout[: self.state.output_max].decode("utf-8", "replace"),
            "stderr": ran.stderr[: self.state.output_max].decode("utf-8", "replace"),
            "code": None if killed else ran.code,
            "signal": name if killed else None,
        }
        run["output"] = run["stdout"] + run["stderr"]
        if self.state.modern:
            status = "TO" if ran.late else "OL" if ran.full else "SG" if killed else "RE" if ran.code else None
            run |= {"message": None, "status": status, "cpu_time": int(ran.wall_s * 500), "memory": 8_000_000}
            run["wall_time"] = int(ran.wall_s * 1000)
        self.reply(200, {"run": run, "language": "python", "version": self.state.pythons[0]})

    def make_box(self, body: dict[str, Any]) -> None:
        """E2B: `POST /sandboxes`."""
        if not self.allowed(self.headers.get("X-API-Key"), self.state.key):
            return
        if not isinstance(body.get("templateID"), str):
            self.reply(400, {"code": 400, "message": "templateID is required"})
            return
        name, token = uuid.uuid4().hex[:20], uuid.uuid4().hex
        with self.state.lock:
            self.state.boxes[name] = token
            self.state.boxes_made += 1
        box = {"sandboxID": name, "templateID": body["templateID"], "clientID": "c", "envdVersion": "0.2.0"}
        self.reply(201, {**box, "envdAccessToken": token, "domain": None})

    def cell(self, body: dict[str, Any]) -> None:
        """E2B: a cell in a box, as a stream of JSON lines."""
        name = self.headers.get("E2b-Sandbox-Id", "")
        if self.state.boxes.get(name) is None or self.headers.get("E2b-Sandbox-Port") != "49999":
            self.reply(502, {"message": "The sandbox was not found", "code": 502})
            return
        if self.headers.get("X-Access-Token") != self.state.boxes[name]:
            self.reply(401, "Unauthorized")
            return
        ran = self.work(body["code"], b"", 60, shared_tmp=None)
        events: list[dict[str, Any]] = [{"type": "number_of_executions", "execution_count": 1}]
        for kind, text in (("stdout", ran.stdout), ("stderr", ran.stderr)):
            for at in range(0, len(text), 8192):
                part = text[at : at + 8192].decode("utf-8", "replace")
                events.append({"type": kind, "text": part, "timestamp": time.time_ns()})
        if ran.code:
            events.append({"type": "error", "name": "SystemExit", "value": str(ran.code), "traceback": ""})
        events.append({"type": "end_of_execution"})
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            line = (json.dumps(event) + "\n").encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")


class Server(ThreadingHTTPServer):
    """Does not wait for requests that hang."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no error here."""


@contextmanager
def stand_in(**wanted: Any) -> Iterator[StandIn]:
    """A stand-in on a port of this machine for the time of a `with`; arguments are `StandIn`'s fields."""
    state = StandIn(**wanted)
    with tempfile.TemporaryDirectory() as shared_tmp:
        handler = type("Bound", (Handler,), {"state": state, "shared_tmp": shared_tmp})
        server = Server(("127.0.0.1", 0), handler)
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)
