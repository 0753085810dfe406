"""A stand-in for the sandbox without any wall: a plain process. For programs that this repository wrote, and no others.

It tells what the graders do from what the jail does; their tests run on every machine, whatever it can isolate.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

from ponder.sandbox.jail import get_sandbox
from ponder.sandbox.limits import Limits, Outcome, SandboxUnavailable

BOOT = """
import os, struct, sys
sys.set_int_max_str_digits(0)
def _read(n):
    data = b""
    while len(data) < n:
        part = os.read(IN, n - len(data))
        if not part: return None
        data += part
    return data
def read_frame():
    head = _read(4)
    return None if head is None else _read(struct.unpack("<I", head)[0])
def write_frame(frame):
    data = struct.pack("<I", len(frame)) + frame
    while data: data = data[os.write(OUT, data):]
IN, OUT = int(sys.argv[1]), int(sys.argv[2])
driver = read_frame().decode(); payload = read_frame()
names = {"payload": payload, "read_frame": read_frame, "write_frame": write_frame, "__name__": "driver"}
exec(compile(driver, "<driver>", "exec"), names)
"""


class FakeChild:
    def __init__(self, driver: str, payload: bytes, limits: Limits) -> None:
        mine, theirs = os.pipe(), os.pipe()
        self.limits, self.started, self.status, self.waited = limits, time.monotonic(), "", 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT, str(mine[0]), str(theirs[1])],
            pass_fds=(mine[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(mine[0])
        os.close(theirs[1])
        self.out, self.into = mine[1], theirs[0]
        self.send(driver.encode())
        self.send(payload)

    def send(self, frame: bytes) -> None:
        data = struct.pack("<I", len(frame)) + frame
        while data:
            data = data[os.write(self.out, data) :]

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        head = self._read(4)  # no CPU limit here: the wall clock stands in for it
        if head is None:
            return None
        length = struct.unpack("<I", head)[0]
        if length > 1 << 20:
            self.status = "protocol"
            return None
        return self._read(length)

    def _read(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            before = time.monotonic()
            ready, _, _ = select.select([self.into], [], [], max(0.0, self.limits.wall - self.waited))
            self.waited += time.monotonic() - before
            if not ready:
                self.status = "timeout-wall"
                return None
            part = os.read(self.into, count - len(data))
            if not part:
                return None
            data += part
        return data

    def close(self) -> Outcome:
        if self.process.poll() is None:
            time.sleep(0.02)
        code = self.process.poll()
        self.process.kill()
        self.process.wait()
        for end in (self.out, self.into):
            try:
                os.close(end)
            except OSError:
                pass
        self.out = self.into = -1
        status = self.status or ("killed" if code is None else "ok" if code == 0 else "crash" if code < 0 else "raised")
        return Outcome(status, b"", "", 0.0, time.monotonic() - self.started, code)  # type: ignore[arg-type]


class FakeSandbox:
    tier = "fake"

    def __init__(self) -> None:
        self.opened = self.ran = 0

    def open(self, driver: str, payload: bytes, limits: Limits) -> FakeChild:
        self.opened += 1
        return FakeChild(driver, payload, limits)

    def run(self, program: str, stdin: bytes = b"", limits: Limits = Limits()) -> Outcome:  # noqa: B008
        self.ran += 1
        started = time.monotonic()
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(program)
            file.flush()
            command = [sys.executable, "-I", "-S", file.name]
            try:
                done = subprocess.run(command, input=stdin, capture_output=True, timeout=limits.wall)
            except subprocess.TimeoutExpired:
                return Outcome("timeout-wall", b"", "", 0.0, limits.wall, None)
        status = "ok" if done.returncode == 0 else "raised" if done.returncode > 0 else "crash"
        wall = time.monotonic() - started
        return Outcome(status, done.stdout, done.stderr.decode()[-4096:], 0.0, wall, done.returncode)  # type: ignore[arg-type]

    def __enter__(self) -> FakeSandbox:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return None


class Counting:
    """The sandbox of this machine, or the stand-in where there is none, with the children that it started counted."""

    def __init__(self) -> None:
        self.inner, self.opened, self.ran = sandbox_at_hand(), 0, 0
        self.tier = self.inner.tier

    def open(self, driver: str, payload: bytes, limits: Limits) -> Any:
        self.opened += 1
        return self.inner.open(driver, payload, limits)

    def run(self, program: str, stdin: bytes = b"", limits: Limits | None = None) -> Outcome:
        self.ran += 1
        return self.inner.run(program, stdin, limits or Limits())


def sandbox_at_hand() -> Any:
    """Walls where they stand, for they are also faster; the programs of these tests are harmless either way."""
    try:
        return get_sandbox()
    except SandboxUnavailable:
        return FakeSandbox()
