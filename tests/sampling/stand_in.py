"""A server of models for tests: OpenAI's wire format, answers from a script, and faults to order.

What was asked is on record before any byte of a reply is sent, so that whoever has a reply finds it counted.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What is sent for one request. hang: seconds of silence first. cut: the connection closes after so many bytes of
    the body (whose length is told in full). raw: the body as it is, in place of `value`."""

    value: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hang: bool = False
    cut: int | None = None


def said(*contents: Any, finish: str | None = "stop", usage: Any = "count", **message: Any) -> Body:
    """A chat answer with a choice for each of `contents`; `message` are further fields of each message."""
    choices = [
        {"index": at, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
        for at, content in enumerate(contents)
    ]
    counted = {"prompt_tokens": 7, "completion_tokens": 10 * len(contents)} if usage == "count" else usage
    return {"object": "chat.completion", "choices": choices, **({"usage": counted} if counted else {})}


@dataclass
class StandIn:
    """answer: (body, how often this very body was asked before) -> Reply, or the JSON to send with status 200."""

    answer: Callable[[Body, int], Any]
    url: str = ""
    bodies: list[Body] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def asked(self) -> Counter[tuple[str, int | None]]:
        """How often each (last message, seed) was asked."""
        return Counter((body["messages"][-1]["content"], body.get("seed")) for body in self.bodies)


class _Handler(BaseHTTPRequestHandler):
    state: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        state = self.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = json.dumps(body, sort_keys=True)
        with state.lock:
            before = state.seen[key]
            state.seen[key] += 1
            state.bodies.append(body)
            state.paths.append(self.path)
            state.keys.append(self.headers.get("Authorization"))
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
        try:
            reply = state.answer(body, before)
        finally:
            with state.lock:
                state.at_once -= 1
        self.send(reply if isinstance(reply, Reply) else Reply(reply))

    def send(self, reply: Reply) -> None:
        if reply.hang:
            self.state.closing.wait()
            self.close_connection = True
            return
        data = reply.raw if reply.raw is not None else json.dumps(reply.value).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if reply.cut is None else data[: reply.cut])
        if reply.cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no error here."""


@contextmanager
def stand_in(answer: Callable[[Body, int], Any]) -> Iterator[StandIn]:
    """A stand-in on a port of this machine for the time of a `with`."""
    state = StandIn(answer)
    server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
