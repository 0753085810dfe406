"""The walls of a zygote and of each program that it forks. Standard library only.

A zygote enters its namespaces once. A program's own walls go up in its process, in the order below, before a byte of it
is read: limits, rights, Landlock, seccomp.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ponder.sandbox import kernel, landlock, mounts, seccomp

NOBODY = 65534
STACK = 64 << 20


@dataclass(frozen=True)
class Walls:
    """Which walls stand. namespaces: user, mount, pid, net, ipc, uts. own_pids: a pid namespace for each program."""

    namespaces: bool
    landlock: bool
    seccomp: bool
    readable: tuple[str, ...] = ()
    filters: bytes = b""
    rules: int = -1
    own_pids: int = -1
    dedicated: bool = False  # the user id is the sandbox's own


def enter_namespaces(readable: Iterable[str]) -> None:
    """New namespaces, a new root and an unprivileged user; the next fork is process 1. Raises OSError."""
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    rooted = False
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # in a container that keeps CAP_SYS_ADMIN: the way of a plain user
            kernel.unshare(kernel.NEWNS)
            rooted = True
    if rooted:
        mounts.enter(readable)
        drop_user(readable)
    flags = kernel.NEWUSER | kernel.NEWPID | kernel.NEWNET | kernel.NEWIPC | kernel.NEWUTS
    uid, gid = os.geteuid(), os.getegid()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # a change of user took it, and with it /proc/self
    kernel.unshare(flags if rooted else flags | kernel.NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        fd = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    os.close(proc)
    if not rooted:
        mounts.enter(readable)


def drop_user(readable: Iterable[str], uid: int = NOBODY) -> bool:
    """From root to a user without rights, where that user can still read the interpreter. Whether it was done."""
    for path in readable:
        needed = 0o005 if os.path.isdir(path) else 0o004
        while True:
            if stat.S_IMODE(os.stat(path).st_mode) & needed != needed:
                return False
            if path == "/":
                break
            path, needed = os.path.dirname(path), 0o001
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError:  # a container that has no such user
        return False
    return True


def limit(limits: dict[str, Any], walls: Walls, strict: bool) -> None:
    """The limits of one program. `strict`: a limit that this platform does not know is an error."""
    mb, data = 1 << 20, limits["memory_mb"] << 20
    cpu = math.ceil(limits["cpu_s"]) + 1  # the zygote strikes first, to the millisecond; this is if it cannot
    files = max(limits["output_bytes"], limits["scratch_mb"] * mb if limits["scratch"] else 0)
    processes = limits["threads"] + limits["processes"]
    wanted = {
        "RLIMIT_CPU": cpu,
        "RLIMIT_DATA": data,
        "RLIMIT_AS": data + 1024 * mb,
        "RLIMIT_FSIZE": files,
        "RLIMIT_NOFILE": limits["open_files"],
        "RLIMIT_NPROC": processes,
        "RLIMIT_CORE": 0,
        "RLIMIT_STACK": STACK,
        "RLIMIT_MEMLOCK": 64 << 10,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_SIGPENDING": 256,
    }
    for name, value in wanted.items():
        try:
            which = getattr(resource, name)
            most = resource.getrlimit(which)[1]
            value = value if most == resource.RLIM_INFINITY else min(value, most)
            resource.setrlimit(which, (value, value))
        except (AttributeError, OSError, ValueError):
            if strict and name not in ("RLIMIT_MSGQUEUE", "RLIMIT_SIGPENDING", "RLIMIT_MEMLOCK"):
                raise
    threading.stack_size(8 * mb)  # else a thread's is as large as the stack limit, and counts as memory


def raise_walls(limits: dict[str, Any], walls: Walls, keep: int) -> None:
    """Puts this process behind its walls; descriptors from `keep` up are closed.

    Raises OSError, and then nothing untrusted may run in it.
    """
    strict = walls.namespaces or walls.landlock or walls.seccomp
    if limits["scratch"]:
        mounts.scratch(limits["scratch_mb"])
        os.chdir("/tmp")
    limit(limits, walls, strict)
    if not strict:
        kernel.close_from(keep)
        return
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no core, and no debugger of the same user
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.drop_capabilities()
    if walls.landlock:
        rules = walls.rules
        if limits["scratch"]:
            rules = landlock.ruleset(walls.readable, mounts.DEVICES, "/tmp")
        landlock.restrict(rules)
    kernel.close_from(keep)
    if walls.seccomp:
        seccomp.install(walls.filters)
