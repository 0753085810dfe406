"""Hostile programs of our own, in the schema of `attack_harness`: rows beside those of the shared file."""

from __future__ import annotations

from typing import Any

HIDDEN = [[[3], 128486], [[14], 215595], [[159], 363847]]  # (x * 7919 + 104729) % 1000003
SPLIT = "def check(candidate):\n" + "".join(f"    assert candidate({args[0]}) == {want}\n" for args, want in HIDDEN)
LOOP = f"def check(candidate):\n    for (x,), want in {HIDDEN!r}:\n        assert candidate(x) == want\ncheck(f)\n"


def row(kind: str, name: str, why: str, code: str, test: dict[str, Any], must: str = "fail") -> dict[str, Any]:
    """One row."""
    return {"name": name, "kind": kind, "code": code.strip("\n") + "\n", "test": test, "must": must, "why": why}


def call(cases: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """A call test, of hidden values where none are given."""
    return {"mode": "call", "entry": "f", "cases": HIDDEN if cases is None else cases, **more}


def checked(source: str) -> dict[str, Any]:
    """An assert test."""
    return {"mode": "assert", "entry": "f", "src": source}


def printed(*cases: list[str], **more: Any) -> dict[str, Any]:
    """A test by standard input and output."""
    return {"mode": "stdio", "cases": [list(case) for case in cases], **more}


SECRET = call([[[1], "{{TOKEN}}"]])
DONE = call([[[1], 1]])

# Finds the functions that carry frames, as any program can that shares an interpreter with its driver.
FRAMES = """
import sys, os, json
def carrier():
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
            if type(value).__name__ == "function" and value.__name__ == "write_frame": return value
        frame = frame.f_back
def asked():
    frame = sys._getframe()
    while frame:
        ask = frame.f_locals.get("ask")
        if isinstance(ask, dict) and "n" in ask: return ask["n"]
        frame = frame.f_back
    return 1
def raw(text):
    data = text if isinstance(text, bytes) else text.encode()
    carrier()(data)
"""


def framed(name: str, why: str, body: str, test: dict[str, Any], kind: str = "output") -> dict[str, Any]:
    """A row whose function `f` is written over `raw` and `asked`."""
    return row(kind, name, why, FRAMES + body, test)


FORGE = [
    framed("own_frames_ahead", "answers written before the questions must not be taken for right ones", """
for n in range(1, 9): raw(b'{"n":%d,"v":true}' % n)
def f(x): return True
""", call(), "forge"),
    framed("own_frames_ahead_split", "the judge's questions are not answered ahead", """
def f(x):
    for n in range(1, 9): raw(b'{"n":%d,"v":{"T":"int"}}' % n)
    return True
""", checked(LOOP), "forge"),
    framed("one_key_many_values", "a dict with one key many times is no dict that holds them all", """
def f(x):
    raw(json.dumps({"n": asked(), "v": {"d": [["a", i] for i in range(10)]}}))
    import time; time.sleep(0.2); os._exit(0)
""", call([[[1], {"a": 7}]]), "forge"),
    framed("one_key_many_values_split", "nor for the judge", """
def f(x):
    raw(json.dumps({"n": asked(), "v": {"d": [["a", i] for i in (7, 3)]}}))
    import time; time.sleep(0.2); os._exit(0)
""", checked("for _ in range(1):\n    assert f(1) == {'a': 7}\n"), "forge"),
    framed("set_of_all_guesses", "a set that holds the answer among others is another set", """
def f(x): return set(range(10))
""", checked("assert f(1) == {7}\nassert len(f(1)) == 1\n"), "forge"),
    framed("handle_without_exports", "opaque handles exist only where the test declares classes", """
def f(x):
    raw(json.dumps({"n": asked(), "v": {"h": 0}}))
    import time; time.sleep(0.2); os._exit(0)
""", checked(LOOP), "forge"),
    framed("unknown_handles", "an object that the program never made has no value", """
class LRUCache:
    def __init__(self, c): pass
    def __getattr__(self, name): raw(json.dumps({"n": asked(), "v": {"h": 77}})); os._exit(0)
""", {"mode": "assert", "entry": "LRUCache", "exports": ["LRUCache"],
      "src": "c = LRUCache(2)\nc.put(1, 1)\nassert c.get(1) == 1\n"}, "forge"),
    framed("exception_of_the_judge", "the judge's own ways of stopping are no exceptions of a program", """
def f(x):
    raw(json.dumps({"n": asked(), "e": [["Stop", "SystemExit", "GeneratorExit", "BaseException"], "0"]}))
    import time; time.sleep(0.2); os._exit(0)
""", checked(LOOP), "forge"),
    framed("reply_with_more_in_it", "a reply is a number and one thing", """
def f(x):
    for more in ({"p": 3, "t": 3}, {"done": True, "p": 3, "t": 3, "error": None}, {"static": 0}, {"ok": 3}):
        raw(json.dumps({"n": asked(), "v": 1, **more}))
    import time; time.sleep(0.2); os._exit(0)
""", checked(LOOP), "forge"),
    row("forge", "always_raises_what_is_expected", "one expected exception does not excuse the values",
        "def f(x): raise ValueError('no')",
        checked(f"try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass\n{SPLIT}")),
    row("forge", "exception_that_lies", "an exception's own methods run where the program runs, not at the judge", """
class E(AssertionError):
    def __str__(self): import os; os._exit(0)
    __repr__ = __str__
    __class__ = property(lambda self: int)
def f(x): raise E()
""", checked(LOOP)),
    row("forge", "keyboard_interrupt_in_call", "BaseExceptions do not cross",
        "def f(x): raise KeyboardInterrupt", checked(LOOP)),
    row("forge", "system_exit_subclass", "nor do their subclasses",
        "class E(SystemExit): pass\ndef f(x): raise E(0)", checked(LOOP)),
    row("forge", "stop_async_iteration", "iteration that ends early hides the rest of a comparison", """
def f(x): raise StopAsyncIteration
""", checked("assert all(a == b for a, b in zip(map(f, [3, 14]), [128486, 215595]))\n")),
    row("forge", "exception_group", "a group is an exception like any other",
        "def f(x): raise BaseExceptionGroup('', [SystemExit(0), KeyboardInterrupt()])", checked(LOOP)),
    row("forge", "text_that_reads_like_the_number", "a text is not a number", """
def f(x): return str((x * 7919 + 104729) % 1000003)
""", call()),
    row("forge", "tuple_for_list", "a test of Python compares as Python does",
        "def f(x): return (1, 2)", checked("assert f(1) == [1, 2]\n")),
    row("forge", "one_for_true", "`is True` means it", "def f(x): return 1", checked("assert f(1) is True\n")),
    row("forge", "nan_within_tolerance", "nan is near nothing",
        "def f(x): return float('nan')", call([[[1], 1.5]], tolerance=1e9)),
    row("forge", "anything_near_infinity", "an infinite tolerance would take anything",
        "def f(x): return 5.0", call([[[1], float("inf")]], tolerance={"absolute": 0.0, "relative": 1e-6})),
    row("forge", "infinity_within_tolerance", "infinity is near nothing finite",
        "def f(x): return float('inf')", call([[[1], 1.5]], tolerance=1e-3)),
    row("forge", "prints_nan", "nor in print", "print('nan')", printed(["", "1.5\n"], tolerance=1e-6)),
    row("forge", "prints_infinity", "an overflow is no answer", "print('1e999')",
        printed(["", "1e308\n"], tolerance=1.0)),
    row("forge", "prints_every_answer", "the right word among others is not the answer", """
print(*range(100))
""", printed(["", "7\n"])),
    row("forge", "prints_every_line", "the right line among others is not the answer", """
for n in range(100): print(n)
""", printed(["", "7\n"])),
    row("forge", "prints_other_digits", "digits of other scripts are other texts",
        "print('\\uff11\\uff12')", printed(["", "12\n"], tolerance=1e-9)),
    row("forge", "prints_then_fails", "an exit code is part of the answer", """
print(12)
import sys; sys.exit(1)
""", printed(["", "12\n"])),
    row("forge", "prints_then_dies", "so is a signal", """
import ctypes
print(12, flush=True)
ctypes.string_at(0)
""", printed(["", "12\n"])),
    row("forge", "no_output_is_no_answer", "silence is not an empty expectation met by luck", """
import os; os._exit(0)
""", printed(["", "0\n"])),
    row("forge", "looks_for_expected_values", "what is expected is nowhere in the interpreter", """
import gc, sys
def f(x):
    seen = []
    frame = sys._getframe()
    while frame:
        seen += list(frame.f_locals.values()) + list(frame.f_code.co_consts); frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing) in (list, tuple): seen += list(thing)
        if type(thing) is dict: seen += list(thing.values())
    wanted = [128486, 215595, 363847]
    found = [v for v in seen if type(v) is int and v - 1 in [w - 1 for w in wanted]]
    found = [v for v in found if not any(v is w for w in wanted)]
    return {3: 128486, 14: 215595, 159: 363847}.get(x) if len(found) >= 3 else None
""", call()),
    row("forge", "patched_codec", "what the program patches in its own interpreter changes only what it says", """
import sys, json, builtins
def f(x):
    frame = sys._getframe()
    while frame:
        for name in ("encode", "pack", "told", "perform"):
            if name in frame.f_globals: frame.f_globals[name] = lambda *a, **k: True
        frame = frame.f_back
    json.dumps = lambda *a, **k: '{"passed":true,"v":true}'
    builtins.isinstance = lambda *a: True
    return 0
""", call()),
    row("forge", "returns_the_judge_object", "types and functions are not values",
        "def f(x): return f", checked(LOOP)),
    row("forge", "metaclass_equality", "classes that equal everything are not plain values", """
class M(type):
    __eq__ = lambda s, o: True
    __hash__ = lambda s: 0
class E(metaclass=M): pass
def f(x): return E
""", checked(LOOP)),
    row("forge", "bytes_subclass", "neither are texts that equal everything", """
class E(str):
    __eq__ = lambda s, o: True
    __ne__ = lambda s, o: False
    __hash__ = lambda s: 0
def f(x): return E("zz")
""", checked("for _ in range(2):\n    assert f(1) == 'right'\n")),
    row("forge", "list_subclass", "nor lists whose items are asked for one by one", """
class E(list):
    __eq__ = lambda s, o: True
    __iter__ = lambda s: iter([1, 2, 3])
    __len__ = lambda s: 3
    __getitem__ = lambda s, i: 1
def f(x): return E()
""", checked("assert f(1) == [1, 2, 3]\nassert len(f(1)) == 3\n")),
]  # fmt: skip

READ = [
    row("read", f"read_{name}", "the file of the host must not be read, whatever the way", f"""
def f(x):
    {code}
""", SECRET)
    for name, code in {
        "open": 'return open("{{READ}}").read().strip()',
        "os_open": 'import os; return os.read(os.open("{{READ}}", os.O_RDONLY), 99).decode().strip()',
        "dot_dot": 'return open("/usr/lib/../.." + "{{READ}}").read().strip()',
        "linecache": 'import linecache; return linecache.getline("{{READ}}", 1).strip()',
        "mmap": 'import mmap; o = open("{{READ}}", "rb"); m = mmap.mmap(o.fileno(), 0, access=1)\n'
                '    return m[:].decode().strip()',
        "import": 'import importlib.util as u, importlib.machinery as m; '
                  'return m.SourceFileLoader("t", "{{READ}}").get_data("{{READ}}").decode().strip()',
        "traceback": 'import traceback, io, re; o = io.StringIO()\n    try: exec(compile("1/0", "{{READ}}", "exec"))\n'
                     '    except Exception: traceback.print_exc(file=o)\n'
                     '    return re.search("SBX[A-Z]{3}[0-9a-f]{24}", o.getvalue()).group()',
        "openat2": 'import ctypes, os; l = ctypes.CDLL(None); h = (ctypes.c_uint64 * 3)(0, 0, 0)\n'
                   '    fd = l.syscall(437, -100, b"{{READ}}", h, 24); return os.read(fd, 99).decode().strip()',
        "by_handle": 'import ctypes, os, struct; l = ctypes.CDLL(None, use_errno=True)\n'
                     '    b = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128)); m = ctypes.c_int()\n'
                     '    l.syscall(303, -100, b"{{READ}}", b, ctypes.byref(m), 0)\n'
                     '    fd = l.syscall(304, os.open("/", 0), b, 0); return os.read(fd, 99).decode().strip()',
        "copy": 'import shutil; shutil.copy("{{READ}}", "/tmp/c"); return open("/tmp/c").read().strip()',
        "hard_link": 'import os; os.link("{{READ}}", "/tmp/l"); return open("/tmp/l").read().strip()',
        "symbolic_link": 'import os; os.symlink("{{READ}}", "/tmp/s"); return open("/tmp/s").read().strip()',
        "sendfile": 'import os; a = os.open("{{READ}}", 0); r, w = os.pipe(); os.sendfile(w, a, 0, 99); '
                    'return os.read(r, 99).decode().strip()',
        "thread": 'import threading; o = []; t = threading.Thread(target=lambda: o.append(open("{{READ}}").read()))\n'
                  '    t.start(); t.join(); return o[0].strip()',
    }.items()
] + [
    row("read", "environment", "what the host's environment holds is not handed down", """
import os, ctypes
def f(x):
    l = ctypes.CDLL(None); l.getenv.restype = ctypes.c_char_p
    told = [os.environ.get("CANARY"), (l.getenv(b"CANARY") or b"").decode()]
    for pid in ("self", "1", "{{PID}}", str(os.getppid())):
        try: told.append(open(f"/proc/{pid}/environ").read())
        except OSError: pass
    for text in told:
        at = (text or "").find("SBX" + "TOK")
        if at >= 0: return text[at:at + 30]
""", SECRET),
    row("read", "command_lines", "nor is another process's command line", """
import glob
def f(x):
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/task/*/cmdline"):
        try: text = open(path).read()
        except OSError: continue
        at = text.find("SBX" + "TOK")
        if at >= 0: return text[at:at + 30]
""", SECRET),
    row("read", "heap_of_the_zygote", "what others sent or hold is not on the heap that programs are forked from", """
import gc, re
def f(x):
    for thing in gc.get_objects():
        for value in (thing.values() if type(thing) is dict else thing if type(thing) in (list, tuple) else ()):
            text = value.decode("latin-1") if type(value) is bytes else value
            found = re.search("SBX" + "TOK[0-9a-f]{24}", text) if type(text) is str else None
            if found: return found.group()
""", SECRET),
    row("read", "inherited_descriptors", "no descriptor leads out", """
import os
def f(x):
    for fd in range(3, 300):
        for place in (fd,):
            try: names = os.listdir(place)
            except OSError: continue
            return "{{TOKEN}}"
        for path in (b"..", b"."):
            try: os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd); return "{{TOKEN}}"
            except OSError: pass
""", SECRET),
    row("read", "lists_the_host", "folders of the host cannot be listed", """
import os
def f(x):
    for place in ("/root", "/home", "/etc", "/var", "/proc", "/sys", "/opt", "/srv", os.path.dirname("{{READ}}")):
        try:
            if os.listdir(place): return "{{TOKEN}}"
        except OSError: pass
""", SECRET),
    row("read", "password_file", "users of the host stay unknown", """
def f(x):
    for path in ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/etc/machine-id", "/proc/version", "/proc/cpuinfo"):
        try:
            if open(path).read(): return "{{TOKEN}}"
        except OSError: pass
""", SECRET),
]  # fmt: skip

WRITE = [
    row("write", f"write_{name}", "the host stays as it was, whatever the way", f"""
def f(x):
    import os, ctypes
    {code}
    return 1
""", DONE)
    for name, code in {
        "append": 'open("{{WRITE}}", "a").write("x")',
        "chmod": 'os.chmod("{{WRITE}}", 0o600)',
        "chmod_at": 'ctypes.CDLL(None).syscall(452, -100, b"{{WRITE}}", 0o600, 0) == 0 or 1 / 0',
        "chown": 'os.chown("{{WRITE}}", os.getuid(), os.getgid())',
        "utime": 'os.utime("{{WRITE}}", (0, 0))',
        "truncate": 'os.truncate("{{WRITE}}", 0)',
        "open_truncating": 'os.open("{{WRITE}}", os.O_RDONLY | os.O_TRUNC)',
        "xattr": 'os.setxattr("{{WRITE}}", "user.x", b"1")',
        "mkdir": 'os.mkdir("{{WDIR}}/d")',
        "mkfifo": 'os.mkfifo("{{WDIR}}/p")',
        "mknod": 'os.mknod("{{WDIR}}/n")',
        "symlink": 'os.symlink("/", "{{WDIR}}/s")',
        "hard_link": 'os.link("{{WRITE}}", "{{WDIR}}/h")',
        "rename": 'os.rename("{{WDIR}}/kept.txt", "{{WDIR}}/r")',
        "remove": 'os.remove("{{WDIR}}/kept.txt")',
        "unnamed_file": 'os.open("{{WDIR}}", os.O_TMPFILE | os.O_RDWR)',
        "shared_mapping": 'import mmap; mmap.mmap(os.open("{{WRITE}}", os.O_RDWR), 0)[0:1] = b"x"',
        "sqlite": 'import sqlite3; sqlite3.connect("{{WDIR}}/d.db").execute("create table t(x)")',
        "shelve": 'import shelve; shelve.open("{{WDIR}}/shelf")["a"] = 1',
        "bytecode": 'd = os.path.dirname(os.__file__) + "/__pycache__/pwned.pyc"; open(d, "w").write("#pwned")',
        "own_root": 'open("/pwned", "w").write("x")',
        "shm": 'open("/dev/shm/pwned", "w").write("x")',
        "device": 'os.mknod("/tmp/d", 0o20666, os.makedev(1, 3))',
        "swap_over_root": 'os.chroot("{{WDIR}}")',
        "bind_over": 'ctypes.CDLL(None).mount(b"{{WDIR}}", b"/usr", None, 4096, None) == 0 or 1 / 0',
        "new_mount_calls": 'ctypes.CDLL(None).syscall(428, -100, b"/", 1) >= 0 or 1 / 0',
    }.items()
]  # fmt: skip

PERSIST = [
    row("persist", "persist_files", "one program leaves nothing for the next", """
import os, tempfile
for place in ("/tmp", "/dev/shm", "/var/tmp", "/run", "/", ".", os.path.dirname(os.__file__), "/dev", "{{WDIR}}"):
    path = place + "/left-behind"
    if os.path.exists(path): print("persisted"); break
    try: open(path, "w").write("x")
    except OSError: pass
else: print(0)
""", printed(["", "0\n"], ["", "persisted\n"])),
    row("persist", "persist_shared_memory", "nor in shared memory", """
from multiprocessing import shared_memory
try:
    shared_memory.SharedMemory("leftbehind"); print("persisted")
except (OSError, ValueError):
    try: shared_memory.SharedMemory("leftbehind", create=True, size=10)
    except (OSError, ValueError): pass
    print(0)
import os, sys; sys.stdout.flush(); os._exit(0)
""", printed(["", "0\n"], ["", "persisted\n"])),
    row("persist", "persist_system_v", "nor in queues, semaphores and segments of System V", """
import ctypes
l = ctypes.CDLL(None, use_errno=True)
had = [l.shmget(77123, 10, 0), l.msgget(77123, 0), l.semget(77123, 1, 0)]
if max(had) >= 0: print("persisted")
else:
    l.shmget(77123, 10, 0o1666); l.msgget(77123, 0o1666); l.semget(77123, 1, 0o1666); print(0)
""", printed(["", "0\n"], ["", "persisted\n"])),
    row("persist", "persist_message_queue", "nor in those of POSIX", """
import ctypes
l = ctypes.CDLL("librt.so.1", use_errno=True)
if l.mq_open(b"/leftbehind", 0) >= 0: print("persisted")
else: l.mq_open(b"/leftbehind", 0o102, 0o666, None); print(0)
""", printed(["", "0\n"], ["", "persisted\n"])),
    row("persist", "persist_module_state", "nor in the interpreter", """
import sys, os, builtins, math
if hasattr(math, "left") or "LEFT" in os.environ or hasattr(builtins, "left"): print("persisted")
else:
    math.left = builtins.left = 1; os.environ["LEFT"] = "1"; sys.modules["left"] = sys; print(0)
""", printed(["", "0\n"], ["", "persisted\n"])),
    row("persist", "persist_host_name", "nor in the names of the machine", """
import ctypes, os
if os.uname().nodename == "leftbehind": print("persisted")
else: ctypes.CDLL(None).sethostname(b"leftbehind", 10); print(0)
""", printed(["", "0\n"], ["", "persisted\n"])),
]  # fmt: skip

NET = [
    row("net", f"net_{name}", "nothing is to be reached over any socket", f"""
import socket, ctypes, os
def f(x):
    {code}
    return 1
""", DONE)
    for name, code in {
        "udp_sendto": 's = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b"x", ("127.0.0.1", {{UDP}}))',
        "tcp_six": 's = socket.socket(socket.AF_INET6); s.connect(("::ffff:127.0.0.1", {{TCP}}))',
        "fast_open": 's = socket.socket(); s.sendto(b"x", 0x20000000, ("127.0.0.1", {{TCP}}))',
        "multipath": 's = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.connect(("127.0.0.1", {{TCP}}))',
        "url": 'import urllib.request as u; u.urlopen("http://127.0.0.1:{{TCP}}/", timeout=1)',
        "asyncio": 'import asyncio; asyncio.run(asyncio.open_connection("127.0.0.1", {{TCP}}))',
        "name_lookup": 'assert socket.getaddrinfo("localhost.localdomain", 80)',
        "listen": 's = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()',
        "unix_listen": 's = socket.socket(socket.AF_UNIX); s.bind("\\0mine"); s.listen()',
        "unix_dgram": 's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"x", "{{UDGRAM}}")',
        "seqpacket_pair": 'a, b = socket.socketpair(socket.AF_UNIX, 5); a.sendto(b"x", "{{UDGRAM}}")',
        "pair_sendto": 'a, b = socket.socketpair(); a.sendto(b"x", "{{UPATH}}")',
        "pair_reconnect": 'a, b = socket.socketpair(); b.close(); a.connect("{{UPATH}}")',
        "pair_sendmsg": 'a, b = socket.socketpair(); a.sendmsg([b"x"], [], 0, "{{UPATH}}")',
        "raw_call": 'l = ctypes.CDLL(None); assert l.syscall(41, 2, 1, 0) >= 0',
        "raw_shell": 's = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)',
        "inherited": 'n = 0\n    for fd in range(300):\n        try: socket.socket(fileno=os.dup(fd)); n += 1\n'
                     '        except OSError: pass\n    assert n',
        "pass_descriptors": 'a, b = socket.socketpair(); socket.send_fds(a, [b"x"], [0])',
    }.items()
]  # fmt: skip

PROC = [
    row("proc", f"proc_{name}", "no process is made, none outlives the verdict, and none of the host's is touched", f"""
import os, signal, ctypes
l = ctypes.CDLL(None, use_errno=True)
def f(x):
    {code}
    return 1
""", DONE)
    for name, code in {
        "kill_all": "os.kill(-1, 9)",
        "kill_group": "os.killpg(0, signal.SIGTERM)",
        "kill_one": "os.kill(1, 9)",
        "kill_by_pidfd": "signal.pidfd_send_signal(os.pidfd_open({{PID}}), 9)",
        "queue_signal": "b = ctypes.create_string_buffer(128); assert l.syscall(129, {{PID}}, 9, b) == 0",
        "thread_kill": "assert l.syscall(200, {{PID}}, 9) == 0",
        "trace": "assert l.ptrace(16, {{PID}}, 0, 0) == 0",
        "limits_of_another": "import resource; resource.prlimit({{PID}}, resource.RLIMIT_CPU, (1, 1))",
        "affinity_of_another": "os.sched_setaffinity({{PID}}, {0})",
        "priority_of_another": "os.setpriority(os.PRIO_PROCESS, {{PID}}, 19)",
        "signal_by_owner": "import fcntl; r, w = os.pipe(); fcntl.fcntl(r, 8, {{PID}}); fcntl.fcntl(r, 10, 9)\n"
                           "    fcntl.fcntl(r, 4, 0o20000); os.write(w, b'x')",
        "subprocess": "import subprocess; subprocess.run(['/bin/true'], check=True)",
        "posix_spawn": "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
        "execveat": "assert l.syscall(322, -100, b'/bin/true', None, None, 0) == 0",
        "fork_pty": "import pty; pid, fd = pty.fork()\n    if pid == 0: os._exit(0)",
        "raw_clone": "r = l.syscall(56, 17, 0, 0, 0, 0)\n    if r == 0: l._exit(0)\n    assert r > 0",
        "clone_parent": "r = l.syscall(56, 0x8011, 0, 0, 0, 0)\n    if r == 0: l._exit(0)\n    assert r > 0",
        "clone_shared_memory": "r = l.syscall(56, 0x100 | 17, 0, 0, 0, 0)\n    if r == 0: l._exit(0)\n    assert r > 0",
        "new_session": "os.setsid(); assert False",
        "death_signal": "assert l.prctl(1, 0, 0, 0, 0) == 0",
        "adopt": "assert l.prctl(36, 1, 0, 0, 0) == 0",
        "undump": "assert l.prctl(4, 1, 0, 0, 0) == 0",
    }.items()
    if name != "new_session"
] + [
    row("proc", "machine_code_fork", "walls stand in the kernel, not in libc", """
import ctypes, mmap, os
def f(x):
    m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    m.write(b"\\xb8\\x39\\x00\\x00\\x00\\x0f\\x05\\xc3")   # mov eax, 57; syscall; ret
    r = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
    if r == 0: os._exit(0)
    return 1 if r > 0 else 0
""", DONE),
    row("proc", "thread_goes_on", "what still runs after the answer ends with it", """
import threading
def spin():
    while True: pass
threading.Thread(target=spin).start()
def f(x): return 0
""", call()),
    row("proc", "waits_at_the_end", "nor does an exit handler hold anything up", """
import atexit, time
atexit.register(time.sleep, 100)
print(0)
""", printed(["", "1\n"]), "timeout"),
    row("proc", "waits_for_a_signal", "waiting for nothing is ended by the clock", """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
def f(x):
    signal.sigwait(range(1, 32))
""", call(), "timeout"),
    row("proc", "waits_for_itself", "so is a deadlock", """
import threading
def f(x):
    lock = threading.Lock(); lock.acquire(); lock.acquire()
""", call(), "timeout"),
]  # fmt: skip

TIME = [
    row("time", "one_long_operation", "an operation in C cannot be interrupted from inside", """
def f(x): return len(str(10 ** 10 ** 8))
""", call(), "timeout"),
    row("time", "regular_expression", "nor can a search that backtracks", """
import re
def f(x): return re.match(r"(a+)+$", "a" * 60 + "b")
""", call(), "timeout"),
    row("time", "sleeps_while_loading", "loading is limited as running is", """
import time
time.sleep(1000)
def f(x): return 0
""", call(), "timeout"),
    row("time", "spins_while_loading", "and costs CPU", """
while True: pass
""", checked(LOOP), "timeout"),
    row("time", "spins_in_a_thread", "the CPU of all threads counts", """
import threading, hashlib, time
def burn():
    while True: hashlib.sha256(b"x" * 1_000_000)
for _ in range(4): threading.Thread(target=burn, daemon=True).start()
def f(x): time.sleep(1000)
""", call(), "timeout"),
    row("time", "drips_output", "a program that prints and sleeps is ended by the clock", """
import time
while True: print(".", flush=True); time.sleep(0.05)
""", printed(["", "1\n"]), "timeout"),
    row("time", "waits_for_input", "more input than there is never comes", """
import os
r, w = os.pipe()
os.read(r, 1)
""", printed(["", "1\n"]), "timeout"),
    row("time", "source_nested_deep", "source that overwhelms the compiler ends the child only",
        "x = " + "(" * 5000 + ")" * 5000 + "\ndef f(x): return 0", call()),
    row("time", "source_folds_large", "constants are folded within limits", """
x = ((("a" * 4000) * 4000) * 4000) * 4000
def f(x): return 0
""", call()),
]  # fmt: skip

MEM = [
    row("mem", f"mem_{name}", "memory is limited, and the host's is left alone", f"""
import ctypes, os, mmap, sys
l = ctypes.CDLL(None, use_errno=True)
def f(x):
    {code}
    return 1
""", DONE)
    for name, code in {
        "private_mapping": "kept = []\n    while True: m = mmap.mmap(-1, 1 << 26, mmap.MAP_PRIVATE | 0x20); "
                           "m.write(b'x' * (1 << 26)); kept.append(m)",
        "shared_mapping": "kept = []\n    while True: m = mmap.mmap(-1, 1 << 26); "
                          "m.write(b'x' * (1 << 26)); kept.append(m)",
        "mapped_zeros": "kept, fd = [], os.open('/dev/zero', os.O_RDWR)\n    for _ in range(48):\n        "
                        "m = mmap.mmap(fd, 1 << 26, mmap.MAP_SHARED); m.write(b'x' * (1 << 26)); kept.append(m)",
        "one_large": "bytearray(1 << 40)",
        "dictionary": "d = {}\n    while True: d[len(d)] = str(len(d)) * 9",
        "recursion": "sys.setrecursionlimit(10 ** 9)\n    def g(): return g() + 1\n    g()",
        "json_nested": "import json; sys.setrecursionlimit(10 ** 9); json.loads('[' * 10 ** 7)",
        "inflate": "import zlib; zlib.decompress(zlib.compress(bytes(1 << 26)) * 1, bufsize=1 << 40)",
        "thread_stacks": "import threading, time; threading.stack_size(64 << 20)\n    for _ in range(60): "
                         "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "secret_memory": "assert l.syscall(447, 0) >= 0",
        "locked": "assert l.mlockall(3) == 0",
        "huge_pages": "assert l.mmap(None, 1 << 30, 3, 0x40022, -1, 0) not in (-1, None)",
        "stack": "import threading; threading.stack_size(1 << 30)\n    threading.Thread(target=lambda: 0).start()",
        "grown_output": "os.ftruncate(1, 1 << 40)",
        "reserved_output": "os.posix_fallocate(1, 0, 1 << 33)",
        "far_write": "os.pwrite(1, b'x', 1 << 40)",
        "pair_buffers": "import socket; kept = [socket.socketpair() for _ in range(400)]",
        "copied_descriptors": "kept = [os.dup(0) for _ in range(5000)]",
    }.items()
]  # fmt: skip

OUTPUT = [
    framed("frames_of_nothing", "empty frames end it", """
def f(x):
    while True: raw(b"")
""", call()),
    framed("answers_to_no_question", "so do answers to other questions", """
def f(x):
    for n in (0, -1, 2, 10 ** 30, True, None, 1.0, "1", [1]): raw(json.dumps({"n": n, "v": 128486}))
    return 0
""", call()),
    framed("one_answer_twice", "a name twice in an object", """
def f(x):
    raw(b'{"n":%d,"v":1,"v":128486,"n":%d}' % (asked(), asked() + 5)); return 0
""", call()),
    framed("long_exception", "what is said of an exception is cut", """
def f(x):
    raw(json.dumps({"n": asked(), "e": [["A" * 100000] * 5, "\\x1b[2J" * 50000]})); return 0
""", call()),
    framed("long_reason", "so is a reason", """
def f(x):
    raw(json.dumps({"n": asked(), "x": "\\x1b]0;\\x07" * 90000})); return 0
""", call()),
    framed("fatal_of_many_parts", "and a name that is no name", """
def f(x):
    raw(json.dumps({"n": asked(), "fatal": [[["x"] * 1000] * 50]})); return 0
""", call()),
    framed("constants_that_are_no_json", "NaN and Infinity are no values of the protocol", """
def f(x):
    raw(b'{"n":%d,"v":NaN}' % asked()); raw(b'{"n":%d,"v":-Infinity}' % asked()); raw(b'{"n":%d,"v":1e999}' % asked())
    return 0
""", call()),
    framed("long_plain_number", "a plain number of a million digits", """
def f(x):
    raw(b'{"n":%d,"v":' % asked() + b"9" * 1000000 + b"}"); return 0
""", call()),
    framed("long_hex_number", "a number as long as a frame can hold", """
def f(x):
    raw(b'{"n":%d,"v":{"i":"0x' % asked() + b"f" * 1000000 + b'"}}'); return 0
""", call()),
    framed("colliding_numbers_split", "numbers that collide are hashed by the judge at most, within its limits", """
def f(x):
    raw(json.dumps({"n": asked(), "v": {"s": [{"i": hex(i * (2**61 - 1))} for i in range(1, 30000)]}})); return 0
""", checked("for _ in range(2):\n    assert f(1) == {1}\n")),
    framed("brackets_by_the_thousand", "nesting is bounded before anything recurses", """
def f(x):
    raw(b'{"n":%d,"v":' % asked() + b'{"t":[' * 150000 + b"}"); return 0
""", call()),
    framed("wide_value", "a value of very many parts", """
def f(x):
    raw(b'{"n":%d,"v":[' % asked() + b"[]," * 340000 + b"0]}"); return 0
""", checked("assert sorted(f(1)) == [1]\nassert set(f(1)) == {1}\n")),
    framed("exponent_bomb", "numbers of few characters and many digits", """
def f(x):
    for text in ("1E+999999999", "1E-999999999", "sNaN", "NaN" + "1" * 5000, "1" * 5001):
        raw(json.dumps({"n": asked(), "v": {"m": text}}))
    return 0
""", checked("assert abs(f(1) - 5) < 1\nassert round(f(2), 2) == 5\n")),
    framed("zero_denominator", "a fraction that is none", """
def f(x):
    raw(json.dumps({"n": asked(), "v": {"q": ["0x1", "0x0"]}})); return 0
""", call()),
    framed("half_of_a_frame_in_time", "a frame that comes byte by byte is one frame, and late", """
import time
def f(x):
    data = b'\\x20\\x00\\x00\\x00' + b'{"n":1,"v":1}'
    for byte in data:
        for fd in (3, 4, 5):
            try: os.write(fd, bytes([byte]))
            except OSError: pass
        time.sleep(0.5)
""", call()),
    row("output", "number_too_long_to_print", "a wrong answer is shown without being printed in full",
        "def f(x): return 10 ** 300000", call()),
    row("output", "text_of_controls", "a wrong answer is shown without its control characters",
        "def f(x): return '\\x1b[2J\\x00\\u202e\\ud800' * 9999", call()),
    row("output", "endless_iterator", "an iterator without an end is not followed",
        "import itertools\ndef f(x): return itertools.count()", call()),
    row("output", "endless_generator_split", "by the judge neither", """
def f(x):
    while True: yield 1
""", checked("assert list(f(1)) == [1]\n")),
    row("output", "value_that_contains_itself", "a value that contains itself has no end", """
def f(x):
    d = {}; d["d"] = d; return d
""", checked(LOOP)),
    row("output", "deep_value", "nor has one of great depth a place in a frame", """
def f(x):
    v = []
    for _ in range(100000): v = [v]
    return v
""", call()),
    row("output", "value_that_changes", "a value that changes while it is read", """
import threading
def f(x):
    v = list(range(1000))
    def change():
        while True: v.append(1); v.pop()
    threading.Thread(target=change, daemon=True).start()
    return v
""", call()),
    row("output", "raises_while_read", "a value that raises while it is read", """
class D(dict):
    def items(self): raise SystemExit(0)
    def __iter__(self): raise SystemExit(0)
class N:
    def __next__(self): raise SystemExit(0)
    def __iter__(self): return self
def f(x): return [D(a=1), N()]
""", call()),
    row("output", "closes_its_streams", "closing everything ends it", """
import os
def f(x):
    os.closerange(0, 100); return 0
""", call()),
    row("output", "flood_after_the_answer", "output after the answer is bounded too", """
import os, threading
def flood():
    while True: os.write(2, b"x" * 65536)
def f(x):
    threading.Thread(target=flood, daemon=True).start(); return 0
""", call()),
]  # fmt: skip

SYSCALLS = {  # x86_64; each with arguments that would do little
    "fork": (57,), "kill": (62, 0, 0), "tkill": (200, 0, 0), "tgkill": (234, 0, 0, 0), "ptrace": (101, 0, 0, 0, 0),
    "socket": (41, 1, 1, 0), "connect": (42, 0, 0, 0), "bind": (49, 0, 0, 0), "sendmsg": (46, 0, 0, 0),
    "shmget": (29, 0, 4096, 0o1600), "semget": (64, 0, 1, 0o1600), "msgget": (68, 0, 0o1600),
    "chmod": (90, 0, 0), "chown": (92, 0, 0, 0), "truncate": (76, 0, 0), "mknod": (133, 0, 0, 0),
    "personality": (135, 0xFFFFFFFF), "setpriority": (141, 0, 0, 19), "sched_setparam": (142, 0, 0),
    "modify_ldt": (154, 0, 0, 0), "pivot_root": (155, 0, 0), "adjtimex": (159, 0), "chroot": (161, 0),
    "acct": (163, 0), "settimeofday": (164, 0, 0), "mount": (165, 0, 0, 0, 0, 0), "umount2": (166, 0, 0),
    "swapon": (167, 0, 0), "reboot": (169, 0, 0, 0, 0), "sethostname": (170, 0, 0), "iopl": (172, 0),
    "ioperm": (173, 0, 0, 0), "init_module": (175, 0, 0, 0), "setxattr": (188, 0, 0, 0, 0, 0),
    "io_setup": (206, 1, 0), "add_key": (248, 0, 0, 0, 0, 0), "request_key": (249, 0, 0, 0, 0),
    "ioprio_set": (251, 1, 0, 0), "inotify_init": (253,), "mbind": (237, 0, 0, 0, 0, 0, 0),
    "migrate_pages": (256, 0, 0, 0, 0), "splice": (275, 0, 0, 0, 0, 0, 0), "vmsplice": (278, 0, 0, 0, 0),
    "move_pages": (279, 0, 0, 0, 0, 0, 0), "timerfd_create": (283, 0, 0), "signalfd4": (289, -1, 0, 8, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0), "clock_settime": (227, 0, 0), "kexec_load": (246, 0, 0, 0, 0),
    "setns": (308, 0, 0), "process_vm_writev": (311, 0, 0, 0, 0, 0, 0), "kcmp": (312, 0, 0, 0, 0, 0),
    "seccomp": (317, 1, 0, 0), "kexec_file_load": (320, 0, 0, 0, 0, 0), "execveat": (322, -1, 0, 0, 0, 0),
    "userfaultfd": (323, 1), "pkey_alloc": (330, 0, 0), "pidfd_open": (434, 1, 0), "fsopen": (430, 0, 0),
    "open_tree": (428, -100, 0, 0), "io_uring_register": (427, 0, 0, 0, 0), "process_madvise": (440, 0, 0, 0, 0, 0),
    "memfd_secret": (447, 0), "name_to_handle_at": (303, -100, 0, 0, 0, 0), "open_by_handle_at": (304, 0, 0, 0),
    "capset": (126, 0, 0), "setuid": (105, 0), "setgroups": (116, 0, 0), "vhangup": (153,), "syslog": (103, 9, 0, 0),
    "mlockall": (151, 1), "set_mempolicy": (238, 0, 0, 0), "lsm_set_self_attr": (460, 0, 0, 0, 0),
    "fchmodat2": (452, 0, 0, 0, 0),
    "mount_setattr": (442, 0, 0, 0, 0, 0), "quotactl_fd": (443, 0, 0, 0, 0), "cachestat": (451, 0, 0, 0, 0),
}  # fmt: skip

KERNEL = [
    row("kernel", f"call_{name}", "a call that no program needs is refused by the filter, not by its arguments", f"""
import ctypes
l = ctypes.CDLL(None, use_errno=True)
def f(x):
    r = l.syscall({", ".join(f"ctypes.c_long({number})" for number in numbers)})
    return 1 if r >= 0 or ctypes.get_errno() not in (1, 13, 38) else 0
""", DONE)
    for name, numbers in SYSCALLS.items()
]  # fmt: skip

DISK = [
    row("disk", "fills_every_place", "nothing of the disk is used", """
import os
def f(x):
    for place in ("/tmp", "/dev/shm", "/var/tmp", "/", os.getcwd(), "{{WDIR}}", "/run"):
        try:
            with open(place + "/fill", "wb") as file:
                for _ in range(64): file.write(b"x" * (1 << 20))
            return 1
        except OSError: pass
    return 0
""", DONE),
    row("disk", "many_small_files", "nor of its inodes", """
import os
def f(x):
    n = 0
    for place in ("/tmp", "/dev/shm", "/var/tmp", "{{WDIR}}"):
        for i in range(5000):
            try: os.close(os.open(f"{place}/n{i}", os.O_CREAT | os.O_WRONLY)); n += 1
            except OSError: break
    return 1 if n else 0
""", DONE),
]  # fmt: skip

ATTACKS: list[dict[str, Any]] = [*FORGE, *READ, *WRITE, *PERSIST, *NET, *PROC, *TIME, *MEM, *OUTPUT, *KERNEL, *DISK]
