"""What is shipped to a remote box: the untrusted program, or a driver with its frames, behind a short prologue.

The prologue sets what the program can be held to from inside (CPU seconds, memory, file size), so that CPU time and not
wall time decides there too. The box itself is the wall; nothing here is trusted to be one.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence

from ponder.sandbox.limits import Limits

PROLOGUE = """\
import sys, os, types
def _prepare(cpu_s, memory, file_bytes, open_files):
    try:
        import resource
    except ImportError:
        return
    for name, soft, hard in (
        ("RLIMIT_CPU", cpu_s, cpu_s + 1),
        ("RLIMIT_DATA", memory, memory),
        ("RLIMIT_FSIZE", file_bytes, file_bytes),
        ("RLIMIT_NOFILE", open_files, open_files),
        ("RLIMIT_CORE", 0, 0),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (soft, hard))
        except (ValueError, OSError):
            pass  # the box's own limit is lower
    import random, threading
    threading.stack_size(16 << 20)  # the default is RLIMIT_STACK, which some boxes set to all of the memory
    random.seed(0)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
"""

# JSON carries text; standard input that is none goes in the program.
STDIN = """
import base64, tempfile
_stdin = tempfile.TemporaryFile()
_stdin.write(base64.b64decode({!r}))
_stdin.seek(0)
os.dup2(_stdin.fileno(), 0)
"""

SCRIPT = """
_main = types.ModuleType("__main__")
sys.modules["__main__"] = _main
exec(compile(_source, "<program>", "exec"), _main.__dict__)
"""

# A replay must go as the run before it went: the order of sets of strings included.
REPLAY = """
if os.environ.get("PYTHONHASHSEED") != "0" and sys.executable:
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
import base64, json
_asked = json.loads(sys.stdin.buffer.read())
_frames = [base64.b64decode(frame) for frame in _asked["frames"]][::-1]
_out = os.dup(1)
_null = os.open(os.devnull, os.O_RDWR)
os.dup2(_null, 0)
os.dup2(_null, 1)
def _read_frame():
    return _frames.pop() if _frames else None
def _write_frame(frame):
    line = base64.b64encode(frame) + b"\\n"
    while line:
        line = line[os.write(_out, line):]
exec(compile(_source, "<driver>", "exec"), {
    "__name__": "__driver__", "payload": base64.b64decode(_asked["payload"]),
    "read_frame": _read_frame, "write_frame": _write_frame,
})
"""

# E2B runs cells of a notebook: the program gets a process of its own in that box, and the cell reports on it.
CELL = """\
import base64, json, os, resource, signal, subprocess, sys, tempfile, time
def _cell(program, stdin, wall_s, most):
    with tempfile.TemporaryDirectory() as place:
        for name, content in (("main.py", program), ("in", stdin)):
            with open(os.path.join(place, name), "wb") as file:
                file.write(base64.b64decode(content))
        begin, late = time.monotonic(), False
        with open(place + "/in", "rb") as fin, open(place + "/out", "wb") as out, open(place + "/err", "wb") as err:
            child = subprocess.Popen([sys.executable, "main.py"], stdin=fin, stdout=out, stderr=err, cwd=place,
                                     start_new_session=True, env={**os.environ, "PYTHONHASHSEED": "0"})
            try:
                child.wait(wall_s)
            except subprocess.TimeoutExpired:
                late = True
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(place + "/out", "rb") as file:
            stdout = file.read(most + 1)
        with open(place + "/err", "rb") as file:
            stderr = file.read()[-4096:]
    print()
    print(json.dumps({"code": child.returncode, "late": late, "cpu_s": used.ru_utime + used.ru_stime,
                      "wall_s": time.monotonic() - begin, "stdout": base64.b64encode(stdout).decode(),
                      "stderr": stderr.decode("utf-8", "replace")}))
"""


def _prologue(limits: Limits, source: str) -> str:
    """The prologue with `limits` and the source to come. `ascii` keeps any text one line of plain characters."""
    cpu_s = max(1, math.ceil(limits.cpu_s))
    file_bytes = max(limits.scratch_mb << 20, limits.output_bytes)
    return (
        f"{PROLOGUE}_prepare({cpu_s}, {limits.memory_mb << 20}, {file_bytes}, {limits.open_files})\n"
        f"_source = {ascii(source)}\n"
    )


def script(program: str, limits: Limits, stdin: bytes | None = None) -> str:
    """The text that runs `program` as `__main__` within `limits`; with `stdin` inside where it is given."""
    given = "" if stdin is None else STDIN.format(base64.b64encode(stdin).decode())
    return _prologue(limits, program) + given + SCRIPT


def replay(driver: str, payload: bytes, frames: Sequence[bytes], limits: Limits) -> tuple[str, bytes]:
    """The text, and its standard input, that runs `driver` over `frames` and prints each frame it writes in base64."""
    coded = {"payload": base64.b64encode(payload).decode(), "frames": [base64.b64encode(f).decode() for f in frames]}
    return _prologue(limits, driver) + REPLAY, json.dumps(coded).encode()


def cell(program: str, stdin: bytes, wall_s: float, output_bytes: int) -> str:
    """The notebook cell that runs `program` in a process of its own and prints one JSON line about it."""
    coded = [base64.b64encode(part).decode() for part in (program.encode("utf-8", "surrogatepass"), stdin)]
    return f"{CELL}_cell({coded[0]!r}, {coded[1]!r}, {wall_s!r}, {output_bytes})\n"
