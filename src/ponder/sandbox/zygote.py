"""The process that forks programs: fresh, without secrets, started once per worker. Standard library only.

Two processes: a guard, which goes when the owner goes, and the zygote proper, which is process 1 of its namespaces and
goes with the guard. The zygote forks one program at a time, kills it when its CPU time is used up or when it is told
to, and reports what wait4 says. It never reads a program: its bytes go to the child in a sealed memory file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

from ponder.sandbox import kernel, landlock, mounts, program, seccomp, walls

PRELOADED = (
    "abc array ast atexit bisect builtins cmath collections contextlib copy copyreg dataclasses datetime decimal enum "
    "fractions functools hashlib heapq inspect io itertools json linecache locale math numbers operator queue random "
    "re signal statistics string struct textwrap threading time traceback types typing uuid warnings weakref "
    "_sitebuiltins _strptime encodings.idna encodings.ascii encodings.latin_1 encodings.utf_8_sig"
).split()

LINUX = sys.platform == "linux"


def say(link: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """Sends one message: four bytes of length, JSON, descriptors with the first byte."""
    text = json.dumps(message).encode()
    data = struct.pack("<I", len(text)) + text
    sent = socket.send_fds(link, [data], fds) if fds else 0
    link.sendall(data[sent:])


def hear(link: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors; None where the other side has gone."""
    try:
        data, fds, _, _ = socket.recv_fds(link, 4, 16)
        while len(data) < 4:
            more = link.recv(4 - len(data))
            if not more:
                return None
            data += more
        left, parts = struct.unpack("<I", data)[0], []
        while left:
            parts.append(link.recv(left))
            if not parts[-1]:
                return None
            left -= len(parts[-1])
    except ConnectionError:
        return None
    return json.loads(b"".join(parts)), fds


def main() -> None:
    """Started by `worker.start` with the control socket as descriptor 3."""
    link = socket.socket(fileno=3)
    heard = hear(link)
    if heard is None:
        return
    config = heard[0]
    try:
        prepared = prepare(config)
    except Exception as error:
        say(link, {"error": f"{type(error).__name__}: {error}"})
        return
    try:
        child = os.fork()
    except OSError as error:
        say(link, {"error": f"fork: {error}"})
        return
    if child:
        link.close()
        guard(child, config["owner"])
        os._exit(0)
    code = 1
    try:
        serve(link, prepared, config)
        code = 0
    finally:
        os._exit(code)


def prepare(config: dict[str, Any]) -> walls.Walls:
    """Loads what programs import, and puts this process behind the walls of its tier. Raises OSError."""
    sys.path[:] = [path for path in sys.path if path] + config["path"]
    for name in [*PRELOADED, *config["preload"]]:
        importlib.import_module(name)
    if LINUX:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # before the trainer, whatever the host runs out of
    readable = tuple(mounts.readable_paths(config["readable"])) if config["landlock"] or config["namespaces"] else ()
    if config["landlock"]:
        landlock.abi()
    filters = seccomp.program() if config["seccomp"] else b""
    dedicated = False
    if config["namespaces"]:
        walls.enter_namespaces(readable)
    elif config["landlock"] and os.geteuid() == 0:
        # Not "nobody", whose processes on the host would share its limits; but a container may have few users.
        dedicated = walls.drop_user(readable, config["uid"])
        if not dedicated:
            walls.drop_user(readable)
    return walls.Walls(
        config["namespaces"], config["landlock"], config["seccomp"], readable, filters, dedicated=dedicated
    )


def guard(child: int, owner: int) -> None:
    """Waits until the zygote or the owner has gone, then ends; the zygote follows."""
    poll, known = select.poll(), False
    with contextlib.suppress(AttributeError, OSError):
        poll.register(os.pidfd_open(child), select.POLLIN)
        poll.register(os.pidfd_open(owner), select.POLLIN)
        known = True
    while os.getppid() == owner and os.waitpid(child, os.WNOHANG) == (0, 0):
        if known:
            poll.poll(5000)
        else:
            time.sleep(0.2)
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)


def serve(link: socket.socket, built: walls.Walls, config: dict[str, Any]) -> None:
    """Forks one program per job until the owner hangs up. Never raises for a job's sake: it is told as an error."""
    guard_pid = os.getppid()
    if LINUX:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        if not config["namespaces"] and os.getppid() != guard_pid:
            return
    link_fd = link.fileno()
    while link_fd < 10:  # descriptors that come in must not have the numbers that a program gets
        link_fd = os.dup(link_fd)
    link = socket.socket(fileno=os.dup(link_fd))
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(10):
        os.dup2(null, fd)
    try:
        if config["namespaces"]:
            built = own_pids(built)
        if config["landlock"]:
            built = dataclasses.replace(built, rules=landlock.ruleset(built.readable, mounts.DEVICES))
    except OSError as error:
        say(link, {"error": str(error)})
        return
    tell_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    program.settle()
    gc.collect()
    gc.freeze()
    say(link, {"ready": True, "own_pids": built.own_pids >= 0, "rss_kb": tell_memory, "dedicated": built.dedicated})
    while (heard := hear(link)) is not None:
        job, fds = heard
        if "job" in job and not run_job(link, job["job"], fds, built):
            return
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)


def own_pids(built: walls.Walls) -> walls.Walls:
    """Walls with a pid namespace for each program, where the kernel can come back from one (5.8)."""
    try:
        own = os.pidfd_open(os.getpid())
        kernel.setns(own, kernel.NEWPID)  # first: after an unshare without a way back, only one more fork works
    except (AttributeError, OSError):
        return built
    kernel.unshare(kernel.NEWPID)
    kernel.setns(own, kernel.NEWPID)
    return dataclasses.replace(built, own_pids=own)


def run_job(link: socket.socket, job: dict[str, Any], fds: list[int], built: walls.Walls) -> bool:
    """Forks a program, waits for its end and reports it. Whether the owner is still there."""
    ready, tell = os.pipe()
    began = time.monotonic()
    try:
        if built.own_pids >= 0:
            kernel.unshare(kernel.NEWPID)
        pid = os.fork()
    except OSError as error:
        os.close(ready)
        os.close(tell)
        say(link, {"end": {"error": f"fork: {error}"}})
        return True
    if pid == 0:
        program.start(job, fds, tell, built)  # never returns
    if built.own_pids >= 0:
        kernel.setns(built.own_pids, kernel.NEWPID)
    os.close(tell)
    for fd in fds:
        os.close(fd)
    fds.clear()
    why, present, (_, status, used) = watch(link, pid, job["cpu_s"])
    wall = time.monotonic() - began
    reap()
    said = os.read(ready, 4096)
    os.close(ready)
    end = {
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": wall,
        "rss_kb": used.ru_maxrss,
        "why": why,
        "error": None if said == b"R" else said.decode("utf-8", "replace") or "it ended while its walls went up",
    }
    if present:
        say(link, {"end": end})
    return present


Ended = tuple[int, int, resource.struct_rusage]


def watch(link: socket.socket, pid: int, cpu_s: float) -> tuple[str | None, bool, Ended]:
    """Waits for the end of `pid`, or kills it. Why it was killed, whether the owner is still there, and its wait4."""
    poll, clock = select.poll(), (~pid << 3) | 2  # the clock of that process's CPU time
    poll.register(link, select.POLLIN)
    fd = -1
    with contextlib.suppress(AttributeError, OSError):  # macOS, gVisor
        fd = os.pidfd_open(pid)
        poll.register(fd, select.POLLIN)
    wait, why, present = cpu_s, None, True
    try:
        while why is None and present:
            events = poll.poll(1 + 1000 * (wait if fd >= 0 else min(wait, 0.005)))
            if fd < 0 or any(which == fd for which, _ in events):
                ended = os.wait4(pid, os.WNOHANG)
                if ended[0]:
                    return why, present, ended
            if any(which == link.fileno() for which, _ in events):
                heard = hear(link)
                present = heard is not None
                if heard is not None and "pidfd" in heard[0]:
                    say(link, {"pidfd": fd >= 0}, [fd] if fd >= 0 else None)
                elif heard is not None:
                    why = str(heard[0].get("kill", "kill"))
            try:
                left = cpu_s - time.clock_gettime(clock)
            except OSError:  # a platform without such clocks: RLIMIT_CPU counts alone
                left = 1.0
            if left <= 0:
                why = why or "cpu"
            wait = max(left, 0.005)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        return why, present, os.wait4(pid, 0)
    finally:
        if fd >= 0:
            os.close(fd)


def reap() -> None:
    """Ends whatever a program left behind: nothing behind walls that refuse fork, anything without them."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            try:
                with open(f"/proc/self/task/{os.getpid()}/children") as file:
                    for left in file.read().split():
                        os.kill(int(left), signal.SIGKILL)
            except OSError:
                return
            time.sleep(0.002)


if __name__ == "__main__":
    main()
