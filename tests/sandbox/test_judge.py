"""The split judge: what tests may do, and what a program cannot do to them."""

from __future__ import annotations

import pytest

from ponder.sandbox.grade import run_tests
from ponder.sandbox.limits import Limits
from tests.sandbox.fake import Counting

LOOP = "for i in range(1):\n    pass\n"  # no lowering


def grade(code, src, entry="f", **options):
    test = {"mode": "assert", "entry": entry, "src": LOOP + src}
    for name in ("setup", "exports"):
        if name in options:
            test[name] = options.pop(name)
    return run_tests(code, test, sandbox=Counting(), **options)  # type: ignore[arg-type]


IDENTITY = "def f(*a, **k): return a[0] if a else k\n"

RIGHT = [
    "for i in range(10):\n    assert f(i) == i",
    "import random\nfor _ in range(5):\n    x = [random.random(), (1, {2: {3}})]\n"
    "    assert f(x) == x and f(x) is not x",
    "def check(candidate):\n    assert candidate(1) == 1",
    "def check(candidate):\n    assert candidate(1) == 1\ncheck(f)",
    "assert all(a == b for a, b in zip(map(candidate, [1, 2]), [1, 2]))",
    "assert f(x=1) == {'x': 1}",
    "assert str(f(12)) == '12' and type(f(1.5)) is float and f(int) is int",
    "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(3), 3)\n"
    "tests = unittest.defaultTestLoader.loadTestsFromTestCase(T)\n"
    "r = unittest.TextTestRunner(stream=open('/dev/null', 'w')).run(tests)\n"
    ""
    "assert r.wasSuccessful()",
    "if __name__ == '__main__':\n    assert f(1) == 1",
]


@pytest.mark.parametrize("src", RIGHT)
def test_right_programs_pass(src):
    verdict = grade(IDENTITY, src)
    assert verdict.correct is True and verdict.passed == verdict.total >= 1, verdict


@pytest.mark.parametrize("src", RIGHT)
@pytest.mark.parametrize(
    "code", ["def f(*a, **k): return None", "def f(*a, **k): raise ValueError", "f = print", "x = 1"]
)
def test_wrong_programs_fail(src, code):
    assert grade(code, src).correct is False


def test_asserts_are_counted_one_by_one():
    src = "for i in range(10):\n    assert f(i) % 2 == 0\nassert f(1) == 1"
    assert grade(IDENTITY, src).passed == 1
    verdict = grade(IDENTITY, src, stop_early=False)
    assert (verdict.correct, verdict.passed, verdict.total, verdict.status) == (False, 6, 11, "wrong")
    raising = "def f(x):\n    if x == 3: raise KeyError(x)\n    return 2 * x\n"
    verdict = grade(raising, src, stop_early=False)
    assert (verdict.correct, verdict.passed, verdict.total) == (False, 9, 11) and "KeyError" in verdict.note


def test_asserts_that_were_not_reached_count_in_the_total():
    verdict = grade("def f(x):\n    import os; os._exit(0)", "assert f(1) == 1\nassert f(2) == 2", stop_early=False)
    assert (verdict.correct, verdict.passed, verdict.total, verdict.status) == (False, 0, 2, "crash")
    verdict = grade(IDENTITY, "assert f(1) == 1\nx = f(1)[0]\nassert x\nassert x", stop_early=False)
    assert (verdict.correct, verdict.passed, verdict.total, verdict.status) == (False, 1, 3, "raised")


def test_a_test_without_asserts_is_not_passed():
    assert grade(IDENTITY, "f(1)").status == "no-asserts"
    assert grade(IDENTITY, "f(1)\nassert True").status == "no-asserts"
    assert grade(IDENTITY, "try:\n    f(1)\nexcept ValueError:\n    assert True").status == "no-asserts"


EXPECTS = "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    assert True\nassert f(1) == 1"


def test_expected_exceptions():
    own = "class Mine(ValueError): pass\ndef f(x):\n    if x < 0: raise Mine('no')\n    return x\n"
    for code in (
        own,
        own.replace("Mine('no')", "ValueError"),
        own.replace("Mine('no')", "UnicodeDecodeError('a', b'', 0, 1, '')"),
    ):
        verdict = grade(code, EXPECTS)
        assert verdict.correct is True and verdict.total == 2, verdict
    for code in (IDENTITY, own.replace("Mine('no')", "KeyError"), own.replace("Mine('no')", "SystemExit")):
        assert grade(code, EXPECTS).correct is False
    assert grade(own, "try:\n    f(-1)\nexcept ValueError as error:\n    assert str(error) == 'no'").correct is True


@pytest.mark.parametrize(
    "thrown", ["StopIteration", "StopAsyncIteration", "GeneratorExit", "SystemExit(0)", "KeyboardInterrupt"]
)
def test_exceptions_that_would_end_the_test_early(thrown):
    for src in (
        "assert all(a == b for a, b in zip(map(f, [1, 2]), [1, 2]))",
        "for got in map(f, [1]):\n    assert got == 1\nassert len([1]) == 1",
        "try:\n    f(1)\nexcept BaseException:\n    pass\nassert f(2) == 2",
    ):
        assert grade(f"def f(x): raise {thrown}", src).correct is False


@pytest.mark.parametrize(
    "code",
    [
        "import os, json, struct\ndef w(o):\n    b = json.dumps(o).encode()\n    for fd in range(3, 12):\n"
        "        try: os.write(fd, struct.pack('<I', len(b)) + b)\n"
        "        except OSError: pass\nw({'load': None}); w({'done': True, 'p': 9, 't': 9, 'error': None})\n"
        "def f(x):\n    w({'done': True, 'p': 9, 't': 9, 'error': None}); w({'static': 1}); return 0\n",
        "import builtins\nbuiltins.all = lambda *a: True\nbuiltins.isinstance = lambda *a: True\ndef f(x): return 0\n",
        "class E(int):\n    __eq__ = lambda s, o: True\n    __bool__ = lambda s: True\n"
        "    __hash__ = lambda s: 0\ndef f(x): return E(0)\n",
        "class E:\n    __eq__ = lambda s, o: True\ndef f(x): return E()\n",
        "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(x): raise SystemExit(0)\n",
        "import gc, sys\ndef f(x):\n    for o in gc.get_objects():\n"
        "        if type(o) is dict and 'src' in o: return x\n    g = sys._getframe()\n"
        "    while g:\n        if 'want' in str(g.f_locals): return x\n        g = g.f_back\n",
    ],
)  # fmt: skip
def test_forgeries_get_nothing(code):
    verdict = grade(code, "for want in (128486, 215595):\n    assert f(want - 1) == want")
    assert verdict.correct is False and verdict.passed == 0


def test_helpers_come_from_the_prompt_and_not_from_the_program():
    setup = "def poly(x):\n    return x - 2\ndef f():\n    'stub'\n"
    src = "x = f()\nassert poly(x) == 0"
    assert grade("def f(): return 2", src, setup=setup).correct is True
    assert grade("def poly(x): return 0\ndef f(): return 5", src, setup=setup).correct is False


STACK = """
class Stack:
    def __init__(self, *items): self.items = list(items)
    def push(self, x): self.items.append(x); return self
    def pop(self): return self.items.pop()
    def clone(self): return Stack(*self.items)
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __getitem__(self, i): return self.items[i]
    def __repr__(self): return f"Stack{self.items}"
    def __eq__(self, other): return True
"""


def test_objects_of_declared_classes_are_opaque_handles():
    src = (
        "s = Stack(1, 2)\ns.push(3).push(4)\nassert s.pop() == 4\nassert s.items == [1, 2, 3]\n"
        "assert len(s) == 3 and s[0] == 1\n"
        "assert list(s) == [1, 2, 3] and repr(s) == 'Stack[1, 2, 3]'\nassert s.push(5) is s\n"
        "assert s != s.clone() and s != 7\n"
        "s.items = [9]\nassert s.pop() == 9\ntry:\n    s.pop()\nexcept IndexError:\n    assert True\n"
    )
    verdict = grade(STACK, src, entry="Stack", exports=["Stack"])
    assert verdict.correct is True and verdict.total == 8, verdict
    assert grade(STACK, src, entry="Stack").correct is False  # not declared
    evil = (
        "class Stack:\n    def __init__(s, *a): pass\n    def __getattr__(s, n): return s\n"
        "    __call__ = lambda s, *a: s\n"
    )
    evil += "    __eq__ = lambda s, o: True\n    __hash__ = lambda s: 0\n    __sub__ = __add__ = lambda s, o: 0\n"
    verdict = grade(evil, src, entry="Stack", exports=["Stack"], stop_early=False)
    assert verdict.correct is False and verdict.passed <= 1  # `s != 7` is as true of it as of any object
    assert grade("x = 1", "assert Stack().pop() == 1", entry="x", exports=["Stack"]).correct is False


def test_forged_handles_are_no_values():
    code = "import __main__\ndef f(x): return x\n"
    test = {"mode": "assert", "entry": "f", "src": LOOP + "assert f(1) == 1", "exports": []}
    assert run_tests(code, test, sandbox=Counting()).correct is True  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "src", ["assert f(", "1 / 0\nassert f(1) == 1", "import nowhere\nassert f(1) == 1", "assert f(1)\n" + "(" * 500]
)
def test_a_test_that_fails_by_itself_is_unknown(src):
    verdict = grade(IDENTITY, src)
    assert verdict.correct is None and verdict.status == "test-error", verdict


def test_a_test_that_fails_on_what_the_program_gave_is_wrong():
    assert grade("def f(x): return None", "x = f(1)\nassert x.y == 1").correct is False
    assert grade("def f(x): return 0", "y = 1 / f(1)\nassert y").status == "raised"


def test_time_runs_out_on_either_side():
    limits = Limits(cpu_s=0.2, wall_s=2)
    assert grade("def f(x):\n    while True: pass", "assert f(1) == 1", limits=limits).status.startswith("timeout")
    assert grade("while True: pass", "assert f(1) == 1", limits=limits).status.startswith("timeout")
    assert grade(IDENTITY, "assert f(1) == 1\nwhile f(2): pass", limits=limits).correct is False
    assert grade(IDENTITY, "x = f(1)\nwhile x: pass\nassert x", limits=limits).correct is False
