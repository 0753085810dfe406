"""The proof of a tier: attacks of every kind, run behind its walls before any program is. All must be refused.

That a call exists, or that a wall went up without an error, proves little: containers filter, kernels differ, a rule
may be missing. So the walls are asked, once per process and tier, and a tier that leaks is not used.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from pathlib import Path

from ponder.sandbox.child import Child
from ponder.sandbox.limits import Limits
from ponder.sandbox.worker import Worker

# System calls that the filter must refuse, whatever their arguments: x86_64, aarch64.
FILTERED = {
    "socket": (41, 198),
    "execve": (59, 221),
    "kill": (62, 129),
    "ptrace": (101, 117),
    "unshare": (272, 97),
    "mount": (165, 40),
    "memfd_create": (319, 279),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "process_vm_readv": (310, 270),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "chmod": (90, 53),
    "clone3": (435, 435),
}

ATTACKS = r"""
import ctypes, errno, json, os, socket, sys, threading

at = json.load(sys.stdin)
breached = []
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def attack(name, act):
    try:
        act()
    except (OSError, RuntimeError):
        return
    breached.append(name)


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def write(path):
    with open(path, "wb") as file:
        file.write(b"x")


def connect(family, kind, address):
    with socket.socket(family, kind) as link:
        link.settimeout(2)
        link.connect(address)
        link.send(b"x")


def fork():
    if os.fork() == 0:
        os._exit(0)


attack("reads a file of the host", lambda: read(at["token"]))
attack("lists a folder of the host", lambda: os.listdir(at["folder"]))
attack("reads /etc/passwd", lambda: read("/etc/passwd"))
attack("writes a file of the host", lambda: write(at["folder"] + "/written"))
attack("overwrites a file of the host", lambda: write(at["token"]))
attack("removes a file of the host", lambda: os.unlink(at["token"]))
attack("changes the mode of a file", lambda: os.chmod(at["token"], 0))
attack("makes a folder in the host's /tmp", lambda: os.mkdir(at["folder"] + "/made"))
attack("opens the standard library to write", lambda: open(os.__file__, "ab").close())
attack("reads the environment of its owner", lambda: read("/proc/%d/environ" % at["pid"]))
attack("reads the memory of its owner", lambda: read("/proc/%d/mem" % at["pid"]))
attack("signals its owner", lambda: os.kill(at["pid"], 0))
attack("starts a process", fork)
attack("connects over TCP", lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", at["tcp"])))
attack("sends a datagram", lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", at["tcp"])))
attack("connects to an abstract socket", lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + at["abstract"]))
attack("connects to a socket file", lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, at["socket"]))
attack("makes a pair of datagram sockets", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
for name, number in at["filtered"].items():
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1 if name != "memfd_create" else 0)] * 5)
    if done != -1 or ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        breached.append("system call " + name)
if os.environ.get("PATH") or os.getuid() == 0 and at["namespaces"]:
    breached.append("keeps the owner's identity")

threads = [threading.Thread(target=lambda: None) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
import difflib  # a module that is not preloaded: the standard library can be read

print(json.dumps({"breached": breached, "threads": len(threads)}))
"""


def failures(worker: Worker) -> list[str]:
    """What the walls of this worker let through, or why honest work fails behind them; empty for walls that hold."""
    with tempfile.TemporaryDirectory(prefix="canary") as name, contextlib.ExitStack() as open_sockets:
        folder = Path(name)
        folder.chmod(0o777)  # only the walls stand in the way
        token = folder / "token"
        token.write_text("not for the jail")
        token.chmod(0o666)
        tcp = open_sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        try:
            tcp.bind(("127.0.0.1", 0))
            tcp.listen()
            port = tcp.getsockname()[1]
        except OSError:  # no loopback here: nothing to connect to, and the attempt is refused all the same
            port = 9
        abstract = f"canary-{os.getpid()}-{os.urandom(6).hex()}"
        for address in ("\0" + abstract, str(folder / "socket")):
            unix = open_sockets.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            unix.bind(address)
            unix.listen()
        (folder / "socket").chmod(0o777)
        before = sorted(os.listdir(folder)), token.read_text(), token.stat().st_mode
        column = 0 if os.uname().machine == "x86_64" else 1
        at = {
            "token": str(token),
            "folder": str(folder),
            "socket": str(folder / "socket"),
            "abstract": abstract,
            "tcp": port,
            "pid": os.getpid(),
            "filtered": {name: numbers[column] for name, numbers in FILTERED.items()},
            "namespaces": worker.tier.namespaces,
        }
        limits = Limits(cpu_s=10, wall_s=60)
        outcome = Child(worker, ATTACKS.encode(), None, json.dumps(at).encode(), limits, lambda healthy: None).wait()
        after = sorted(os.listdir(folder)), token.read_text() if token.exists() else "", before[2]
        with contextlib.suppress(OSError):
            after = after[0], after[1], token.stat().st_mode
    try:
        said = json.loads(outcome.stdout)
        breached = [str(what) for what in said["breached"]]
    except (ValueError, KeyError, TypeError):
        return [f"honest work fails ({outcome.status}: {outcome.note or 'no answer'})"]
    if after != before:
        breached.append("the host's files are not as they were")
    return breached
