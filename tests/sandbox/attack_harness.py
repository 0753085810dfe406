"""Hostile programs against a sandbox, with canaries on the host that tell what got through.

A row is {name, kind, code, test, must, why}, `must` one of fail, timeout, killed (no reward in all three; the word says
how it should end) and pass. {{TOKEN}} and the other placeholders stand for the canaries: a secret, the file that holds
it, files and folders to write, sockets, a process. Some attacks expect the secret or 1 as "the right answer": there the
reward is the breach. Never to be run without walls: they kill, fill and delete.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from ponder.sandbox.grade import CodeVerdict, run_tests
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import Limits

DATA = Path(os.environ.get("PONDER_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
ROWS = DATA / "sandbox_attacks.jsonl"

# Short enough for a suite, and the same for every row.
QUICK = Limits(cpu_s=1.0, wall_s=2.5, memory_mb=256)
PARENT_MB = 400  # what grading one row may add to the memory of this process
PR_SET_CHILD_SUBREAPER = 36


def shared_rows() -> list[dict[str, Any]]:
    """The rows of the shared file; none where it is not at hand."""
    if not ROWS.exists():
        return []
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines() if line.strip()]


def subset(rows: list[dict[str, Any]], each: int, seed: int = 0) -> list[dict[str, Any]]:
    """Up to `each` rows of every kind, the same ones for the same seed; in the order of the file."""
    import random

    draw = random.Random(seed)
    kinds: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        kinds.setdefault(row["kind"], []).append(index)
    chosen = {index for places in kinds.values() for index in draw.sample(places, min(each, len(places)))}
    return [rows[index] for index in sorted(chosen)]


@dataclass
class Canaries:
    """What an attack must not reach, and what the host looked like before it."""

    place: Path
    fills: dict[str, str]
    victim: subprocess.Popen[bytes]
    sockets: list[socket.socket] = field(default_factory=list)

    def fill(self, value: Any) -> Any:
        """`value` with the placeholders in all its texts filled."""
        if isinstance(value, str):
            for name, text in self.fills.items():
                value = value.replace("{{" + name + "}}", text)
            return value
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        return value

    def touched(self) -> list[str]:
        """What was reached since the last call, in words; nothing where the walls held."""
        found = []
        if self.victim.poll() is not None:
            found.append("the process of the host was killed")
        if (
            Path(self.fills["WRITE"]).read_text(encoding="utf-8") != WRITTEN
            if os.path.exists(self.fills["WRITE"])
            else True
        ):
            found.append("the file of the host was changed")
        if self._tree() != self._before:
            found.append(f"the folders of the host were changed: {self._tree() ^ self._before}")
        for number, sock in enumerate(self.sockets):
            with contextlib.suppress(BlockingIOError):
                if sock.type == socket.SOCK_DGRAM:
                    sock.recv(16)
                else:
                    sock.accept()[0].close()
                found.append(f"socket {number} was reached")
        for path in (Path(os.__file__).parent / "sitecustomize.py", Path("/dev/shm/sparse"), Path("/tmp/sparse")):
            if path.exists() and (path.name == "sparse" or "pwned" in path.read_text(encoding="utf-8")):
                found.append(f"{path} was written")
        return found

    def _tree(self) -> frozenset[tuple[str, int, int]]:
        """Every path below the folder of the canaries, with its size and permissions."""
        told = set()
        for root, folders, files in os.walk(self.place):
            for name in folders + files:
                with contextlib.suppress(OSError):
                    stat = os.lstat(os.path.join(root, name))
                    told.add((os.path.join(root, name), stat.st_size, stat.st_mode))
        return frozenset(told)

    def ready(self) -> None:
        """Remember the host as it is."""
        self._before = self._tree()


WRITTEN = "as it was\n"


@contextlib.contextmanager
def canaries() -> Iterator[Canaries]:
    """Canaries for the time of a `with`. Their permissions are wide open: only the walls are in the way."""
    token = "SBXTOK" + secrets.token_hex(12)
    place = Path(tempfile.mkdtemp(prefix="canary-"))
    os.chmod(place, 0o777)
    (place / "secret.txt").write_text(token, encoding="utf-8")
    (place / "write.txt").write_text(WRITTEN, encoding="utf-8")
    (place / "folder").mkdir()
    (place / "folder" / "kept.txt").write_text(WRITTEN, encoding="utf-8")
    for path in place.rglob("*"):
        os.chmod(path, 0o777)
    name = f"canary-{secrets.token_hex(6)}"
    kinds = {
        "TCP": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "UDP": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "ABS": (socket.AF_UNIX, socket.SOCK_STREAM, "\0" + name),
        "UPATH": (socket.AF_UNIX, socket.SOCK_STREAM, str(place / "stream.sock")),
        "UDGRAM": (socket.AF_UNIX, socket.SOCK_DGRAM, str(place / "datagram.sock")),
    }
    fills = {"TOKEN": token, "READ": str(place / "secret.txt"), "WRITE": str(place / "write.txt")}
    fills |= {"WDIR": str(place / "folder"), "ABS": name}
    sockets = []
    for word, (family, kind, address) in kinds.items():
        sock = socket.socket(family, kind)
        sock.bind(address)
        if kind == socket.SOCK_STREAM:
            sock.listen(16)
        sock.setblocking(False)
        sockets.append(sock)
        if family == socket.AF_INET:
            fills[word] = str(sock.getsockname()[1])
        elif word != "ABS":
            fills[word] = str(address)
            os.chmod(str(address), 0o777)
    waits = "import sys, time\nkept = sys.argv[1]\ntime.sleep(3600)"
    victim = subprocess.Popen([sys.executable, "-S", "-c", waits, token], env={"CANARY": token}, cwd="/")
    fills["PID"] = str(victim.pid)
    had = os.environ.get("CANARY")
    os.environ["CANARY"] = token
    told = Canaries(place, fills, victim, sockets)
    told.ready()
    try:
        yield told
    finally:
        victim.kill()
        victim.wait()
        for sock in sockets:
            sock.close()
        shutil.rmtree(place, ignore_errors=True)
        os.environ.pop("CANARY") if had is None else os.environ.update(CANARY=had)


def adopt_orphans() -> None:
    """Whatever outlives its parent below this process becomes a child of this process, so that none is overlooked."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    OTHERS.update(process.pid for process in psutil.Process().children(recursive=True))


def release_orphans() -> None:
    """The end of `adopt_orphans`: new ones go to init again, and those that have ended are buried."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


OTHERS: set[int] = set()
"""Processes that were there before: other tests share this process, and keep sandboxes and graders of their own."""


def below(canary: Canaries) -> set[int]:
    """Processes below this one, but for the victim and what was there before."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            known = process.pid == canary.victim.pid or process.pid in OTHERS
            if process.status() != psutil.STATUS_ZOMBIE and not known:
                found.add(process.pid)
    return found


@dataclass(frozen=True)
class Report:
    """What came of a row: its verdict, and what the canaries tell. `breaches` is empty where the walls held."""

    name: str
    verdict: CodeVerdict
    breaches: tuple[str, ...]
    cpu_s: float


def attack(row: Mapping[str, Any], sandbox: Sandbox, canary: Canaries, most: int, limits: Limits = QUICK) -> Report:
    """Run one row and look at the host.

    Args:
        most: the number of processes that the sandbox keeps when it rests; more of them afterwards are survivors.
    """
    code, test = canary.fill(row["code"]), canary.fill(row["test"])
    if row["must"] == "pass":
        limits = replace(limits, cpu_s=6.0, wall_s=60.0, memory_mb=1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, spent = time.monotonic(), time.process_time()
    verdict = run_tests(code, test, sandbox=sandbox, limits=limits)
    breaches = canary.touched()
    if row["must"] != "pass" and verdict.correct is not False:
        breaches.append("it was rewarded" if verdict.correct else f"its verdict is unknown: {verdict.status}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if grown > PARENT_MB:
        breaches.append(f"it made this process grow by {grown:.0f} MiB")
    if time.process_time() - spent > 10:
        breaches.append(f"it took {time.process_time() - spent:.0f} s of this process's CPU")
    if time.monotonic() - begin > 300:
        breaches.append(f"it took {time.monotonic() - begin:.0f} s")
    until = time.monotonic() + 10
    while len(below(canary)) > most and time.monotonic() < until:
        time.sleep(0.05)
    if len(left := below(canary)) > most:
        breaches.append(f"{len(left) - most} processes outlived it")
    return Report(row["name"], verdict, tuple(breaches), time.process_time() - spent)


def at_rest(sandbox: Sandbox, canary: Canaries) -> int:
    """How many processes the sandbox keeps once both of a split judge's places have been used."""
    for row in (CONTROL_CALL, CONTROL_SPLIT):
        verdict = run_tests(row["code"], row["test"], sandbox=sandbox, limits=Limits(wall_s=60.0))
        assert verdict.correct, verdict
    time.sleep(0.2)
    return len(below(canary)) + 1  # a place may be renewed at the moment of counting


CONTROL_CALL: dict[str, Any] = {
    "code": "def f(x): return x + 1", "test": {"mode": "call", "entry": "f", "cases": [[[1], 2]]},
}  # fmt: skip
CONTROL_SPLIT: dict[str, Any] = {
    "code": "def f(x): return x + 1",
    "test": {"mode": "assert", "entry": "f", "src": "for n in range(3):\n    assert f(n) == n + 1\n"},
}
