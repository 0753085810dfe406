"""The worker's side of the symbolic tier: reads pairs of answers, compares them, is killed when it takes too long."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys

GRACE_S = 1.0  # after the parent's clock: the alarm is only for a parent that is gone
IDLE_CHECK_S = 2.0


def main(settings: str) -> None:
    """Serves requests, one line of JSON each, until standard input ends or the parent is gone.

    settings: JSON with `memory_mb`, the most address space that this process may take.
    """
    parent = int(os.environ.get("PONDER_PARENT", os.getppid()))
    _die_with(parent)
    # An ignored or blocked signal would be inherited, and the alarm below must be able to end this process
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    out = os.dup(1)  # what libraries print must not be taken for an answer
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    _limits(int(json.loads(settings).get("memory_mb", 1024)))
    try:
        from ponder.verify.symbolic_compare import compare, prepare

        prepare()
    except ImportError as error:
        _say(out, {"error": f"the symbolic tier needs sympy and math-verify: {error}", "missing": True})
        return
    except Exception as error:  # reported, never a silent end
        _say(out, {"error": f"the worker could not start: {error}"[:300]})
        return
    _say(out, {"ready": True})
    waiting = b""
    while True:
        while b"\n" not in waiting:
            if not select.select([0], [], [], IDLE_CHECK_S)[0]:
                if os.getppid() != parent:
                    return
                continue
            got = os.read(0, 1 << 16)
            if not got:
                return
            waiting += got
        line, waiting = waiting.split(b"\n", 1)
        request = json.loads(line)
        # The default action of the alarm is the kernel's, so it works while the interpreter's lock is held
        signal.setitimer(signal.ITIMER_REAL, float(request["cap_s"]) + GRACE_S)
        reply = _answer(compare, request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(out, reply)


def _answer(compare, request: dict[str, object]) -> dict[str, object]:  # type: ignore[no-untyped-def]
    try:
        correct, note = compare(str(request["pred"]), str(request["gold"]))
        return {"correct": correct, "note": note[:200]}
    except MemoryError:
        return {"correct": None, "note": "out of memory", "last": True, "memory": True}
    except RecursionError:
        return {"correct": None, "note": "nested too deeply"}
    except Exception as error:  # a grader is total: what sympy trips over is unknown
        with contextlib.suppress(Exception):
            return {"correct": None, "note": f"{type(error).__name__}: {error}"[:200]}
        return {"correct": None, "note": type(error).__name__}


def _say(out: int, reply: dict[str, object]) -> None:
    line = json.dumps(reply).encode() + b"\n"
    try:
        while line:
            line = line[os.write(out, line) :]
    except BrokenPipeError:
        os._exit(0)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before the call above
        os._exit(0)


def _limits(memory_mb: int) -> None:
    size = memory_mb << 20
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (size, size))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(3000)
