"""Inside the child: the walls go up, then the program runs as `python main.py` would run it. Standard library only."""

from __future__ import annotations

import _sitebuiltins
import atexit
import builtins
import contextlib
import gc
import io
import linecache
import marshal
import os
import random
import signal
import struct
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn

from ponder.sandbox import kernel, walls

NAME = "main.py"
FRAME_BYTES = 1 << 20
LOAD_ERROR, MEMORY = 197, 198  # exit codes by which the child says how it failed; saying so falsely gains nothing


def settle() -> None:
    """What every program finds, done once: the names of `site`, long integers in text."""
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    builtins.help = _sitebuiltins._Helper()
    sys.argv[:] = [NAME]
    sys.dont_write_bytecode = True
    sys.set_int_max_str_digits(0)
    os.environ.clear()


def start(job: dict[str, Any], fds: list[int], tell: int, built: walls.Walls) -> NoReturn:
    """Runs a job in this fresh child. fds: its memory file, standard input, output and error, frames in and out."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if sys.platform == "linux":
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        else:
            os.setpgid(0, 0)
        source = fds.pop(0)
        with open(source, "rb", closefd=False) as file:
            os.lseek(source, 0, os.SEEK_SET)
            content = file.read()
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        # The walls close every other descriptor; this one is closed by hand, after the last thing it tells.
        high = len(fds)
        tell = os.dup2(tell, high)
        walls.raise_walls(job, built, high + 1)
        body, payload = content[: job["program_bytes"]], content[job["program_bytes"] :]
        gc.enable()
        os.write(tell, b"R")
        os.close(tell)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(tell, f"walls: {type(error).__name__}: {error}"[:2000].encode())
        os._exit(1)
    code = 1
    try:
        code = run_driver(body, payload) if job["frames"] else run_script(body)
    finally:
        os._exit(code)


def open_streams() -> None:
    """Standard streams as of a program whose output goes to a file, in UTF-8 whatever the bytes."""
    for fd, name, errors in (
        (0, "stdin", "surrogateescape"),
        (1, "stdout", "surrogateescape"),
        (2, "stderr", "backslashreplace"),
    ):
        raw = io.FileIO(fd, "w" if fd else "r", closefd=False)
        buffer = io.BufferedWriter(raw) if fd else io.BufferedReader(raw)
        stream = io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=fd == 2)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def fresh_main() -> dict[str, Any]:
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    for name in [name for name in sys.modules if name.startswith("ponder")]:
        del sys.modules[name]
    random.seed(0)  # here, for `random` seeds itself anew in every forked process
    return main.__dict__


def run_script(body: bytes) -> int:
    """The exit code of a program, after its exit handlers and with its output flushed."""
    open_streams()
    names = fresh_main()
    names["__file__"], names["__builtins__"] = NAME, builtins
    try:
        code = compile(body, NAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        with contextlib.suppress(Exception):
            traceback.print_exception(type(error), error, None)
        return LOAD_ERROR
    linecache.cache[NAME] = (lambda: body.decode("utf-8", "replace"),)
    return finish(lambda: exec(code, names))


def run_driver(body: bytes, payload: bytes) -> int:
    """The same for a trusted driver, with `payload`, `read_frame` and `write_frame` among its names."""
    open_streams()
    names = fresh_main()
    names.update({"payload": payload, "read_frame": read_frame, "write_frame": write_frame, "__builtins__": builtins})
    return finish(lambda: exec(marshal.loads(body), names))


def finish(run: Callable[[], object]) -> int:
    """Runs, then ends as the interpreter does: threads, exit handlers, buffers."""
    code = 0
    try:
        run()
    except BaseException as error:
        code = failed(error)
    for last in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            last()
        except BaseException as error:
            code = failed(error)
    for stream in (sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except AttributeError:
            pass  # a program may put anything in their place
        except BaseException:
            code = code or 120  # as CPython does where the last flush fails
    return code


def failed(error: BaseException) -> int:
    """The exit code of an uncaught exception, told by `sys.excepthook` as the interpreter would."""
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        with contextlib.suppress(BaseException):
            print(error.code, file=sys.stderr)
        return 1
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    try:
        sys.excepthook(type(error), BaseException.with_traceback(error, trace), trace)
    except SystemExit as left:
        return failed(left)
    except BaseException:
        pass
    return MEMORY if isinstance(error, MemoryError) else 1


def read_frame() -> bytes | None:
    """The next frame of the parent; None where it has hung up."""
    head = _exactly(4)
    return None if head is None else _exactly(struct.unpack("<I", head)[0])


def _exactly(count: int) -> bytes | None:
    parts = []
    while count:
        part = os.read(3, count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def write_frame(data: bytes) -> None:
    """Sends a frame to the parent. Raises ValueError over 1 MiB."""
    if len(data) > FRAME_BYTES:
        raise ValueError(f"a frame of {len(data)} bytes; the most is {FRAME_BYTES}")
    view = memoryview(struct.pack("<I", len(data)) + data)
    while view:
        view = view[os.write(4, view) :]
