from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from ponder.core.errors import PonderError
from ponder.verify.symbolic import equivalent, warm

pytest.importorskip("math_verify", reason="the symbolic tier needs math-verify")

RIGHT = [
    (r"288\pi", "288pi"),
    ("pi/2", r"\frac{\pi}{2}"),
    ("√2", r"\sqrt{2}"),
    ("3√5", r"3\sqrt5"),
    ("√(x+1)", r"\sqrt{x+1}"),
    ("½", r"\frac12"),
    ("x²+1", "x^2+1"),
    ("2×10³", "2000"),
    ("2**10", "1024"),
    ("2(3)", "6"),
    ("sqrt(2)/2", r"\frac{1}{\sqrt2}"),
    ("sqrt(2)+sqrt(3)-sqrt(5+2sqrt(6))", "0"),
    (r"\mathrm{e}^2", "e^2"),
    (r"\text{2/3}", "2/3"),
    (r"e^{i\pi}", "-1"),
    (r"0.\overline{3}", r"\frac13"),
    (r"1\frac{1}{2}", r"\frac{3}{2}"),
    ("1 1/2", "1.5"),
    ("1.0e3", "1000"),
    (r"1\,000", "1000"),
    (r"10,\!080", "10080"),
    (r"\sin 30^\circ", r"\frac12"),
    (r"\log_2 8", "3"),
    (r"\binom{10}{3}", "120"),
    (r"\sqrt[3]{-8}", "-2"),
    ("0.0833333333333333", r"\frac1{12}"),
    (r"12^{\mathrm{th}}", "12"),
    (r"5~\text{km/h}", "5"),
    (r"\sec^2(y)", r"\tan^2(y)+1"),
    (r"\frac{x}{7}+\frac{2}{7}", r"\frac{x+2}{7}"),
    (r"-\frac{8x^2}{9(x^2-2)^{5/3}}+\frac{2}{3(x^2-2)^{2/3}}", r"-\frac{2(x^2+6)}{9(x^2-2)\sqrt[3]{x^2-2}^2}"),
    (r"\ln(x^2)", r"2\ln x"),
    ("y=2x+3", "2x-y+3=0"),
    ("x^2 - 1 = 0", "2x^2-2=0"),
    ("x=3", "3"),
    (r"\frac{84}{2} = 42", "42"),
    ("11:21", "V_{1}:V_{2}=11:21"),
    ("4,5", "AB=4,CD=5"),
    ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
    ("1<x<2", "(1,2)"),
    ("-x > -1", "x<1"),
    (r"k\ge 2", r"[2,\infty)"),
    (r"x<2 \text{ or } x>3", r"(-\infty,2)\cup(3,\infty)"),
    (r"[-\frac{3}{2}, -1] \cup [1, \frac{3}{2}]", r"1\leq|z|\leq \frac{3}{2}"),
    (r"(0, 36) \setminus \{9\}", r"(0,9) \cup (9,36)"),
    (r"\{x | x>2\}", r"(2,\infty)"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    ("]1,2[", "(1,2)"),
    ("⟨1,2⟩", "(1,2)"),
    ("2, 1", "1, 2"),
    (r"2 \pm \sqrt{3}", r"2+\sqrt{3}, 2-\sqrt{3}"),
    ("21,16 or 11", "21,16,11"),
    ("(7,11), (11,7)", "(11,7)or(7,11)"),
    ("52_8", "52_{8}"),
    (r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\left[\begin{array}{cc}1 & 2 \\3 & 4\end{array}\right]"),
    (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", r"\begin{pmatrix}-\frac{1}{3}\\ \frac{2}{3}\end{pmatrix}"),
    (r"\int_0^1 x^2 dx", r"\frac13"),
    (r"\sum_{k=1}^{10} k", "55"),
    ("odd", r"\text{Odd}"),
]
NOT_RIGHT = [
    (r"1-\frac{1}{\mathrm{e}}", r"1+\frac{1}{\mathrm{e}}"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    ("10^{-20}", r"2\cdot 10^{-20}"),
    ("10^{-20}", "0"),
    ("10^{100}", "10^{100}+1"),
    ("0.333", r"\frac13"),
    ("3.14", r"\pi"),
    ("52_8", "52_9"),
    ("2(3)", "5"),
    ("12 34", "46"),
    ("5 m", "5 cm"),
    (r"1,2,\ldots,n", r"1,3,5,\ldots"),
    ("1331 and 1728", "1728"),
    ("(2,1)", "(1,2)"),
    ("{1,3}", "(3,1)"),
    ("(1,2]", "(1,2)"),
    ("y=3", "x=3"),
    ("x=3", "x=4"),
    ("1", "2x + z = 1"),
    ("x^2=4", "4"),
    (r"x \le 5", r"x \ge 5"),
    (r"\pm 3", "3"),
    ("1, 2, 3", "1, 2"),
    ("6+5i", "6-5i"),
    ("12:30", "12:45"),
    ("x+1", "x+2n+1"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    ("1/2x", r"\frac{x}{2}"),
    ("no", "on"),
    (r"{x+1 \over 2}", r"x+\frac12"),
    ("", "1"),
    ("-x=3", "3"),
    ("|x|=3", "3"),
    (r"\frac{1}{x}=3", "3"),
    ("xy=6", "6"),
    (r"10 \text{ million}", "10"),
    (r"(5\text{ m}, 2)", r"(5\text{ cm}, 2)"),
    (r"\text{not } 5", "5"),
    ("x2", "2x"),
    ("x<3", "y<3"),
    ("|x|", "x"),
    ("AB", "ab"),
    ("9.9999999999", "10"),
]
HAZARDS = [
    "9^{9^{9^{9}}}",
    "10^{10^{10^{10}}}",
    "(10^9)!",
    "((5!)!)!",
    "2^{2^{2^{2^{2^{2}}}}}",
    "1" * 5000,
    "(" * 300 + "x" + ")+1" * 300,
    r"\sum_{k=1}^{10^{9}} \frac{1}{k!}",
    r"\prod_{n=1}^{99999999} n",
    r"\binom{10^9}{5^8}",
    "9**9**9**9",
    "99999999^{99999999}",
    "+".join(["x"] * 3000),
    r"\sqrt{" * 200 + "2" + "}" * 200,
]


PATIENCE_S = 60.0  # what is right does not depend on how busy the machine is


@pytest.mark.parametrize(("pred", "gold"), RIGHT)
def test_right(pred: str, gold: str) -> None:
    assert equivalent(pred, gold, cap_s=PATIENCE_S).correct is True
    assert equivalent(gold, pred, cap_s=PATIENCE_S).correct is True, "the other way round"


@pytest.mark.parametrize(("pred", "gold"), NOT_RIGHT)
def test_not_right(pred: str, gold: str) -> None:
    for verdict in (equivalent(pred, gold, cap_s=PATIENCE_S), equivalent(gold, pred, cap_s=PATIENCE_S)):
        assert verdict.correct is not True
        assert not verdict.timed_out


@pytest.mark.parametrize("pred", HAZARDS)
def test_hazards_never_reach_the_worker(pred: str) -> None:
    began = time.perf_counter()
    verdict = equivalent(pred, "3")
    assert verdict.correct is not True
    assert verdict.method == "guard"
    assert time.perf_counter() - began < 0.2


def test_a_hazard_may_be_decided_from_the_text() -> None:
    assert equivalent("9^{9^{9^{9}}}", "3").correct is False
    assert equivalent("9^{9^{9^{9}}}", "9^{9^{9^{9}}}").correct is True
    assert equivalent("(10^9)!", "1").correct is False
    assert equivalent("(" * 500 + "x" + ")" * 500, "x").correct is True


SAMPLE = [*RIGHT[::6], *NOT_RIGHT[::5], *[(one, "3") for one in HAZARDS[:6]]]


def grade_all() -> list[bool | None]:
    return [equivalent(pred, gold, workers=1, cap_s=PATIENCE_S).correct for pred, gold in SAMPLE]


def _to_pipe(pipe: int) -> None:
    os.write(pipe, json.dumps(grade_all()).encode())


def test_the_same_verdicts_everywhere() -> None:
    here = grade_all()

    from_thread: list[list[bool | None]] = []
    thread = threading.Thread(target=lambda: from_thread.append(grade_all()))
    thread.start()
    thread.join(60)
    assert from_thread == [here]

    async def main() -> list[bool | None]:
        return await asyncio.to_thread(grade_all)

    assert asyncio.run(main()) == here

    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _to_pipe(send)
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        assert json.loads(stream.read()) == here
    assert os.waitpid(pid, 0)[1] == 0
    assert grade_all() == here, "the fork took nothing from its parent"


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_the_same_verdicts_in_pools_of_processes(way: str) -> None:
    program = (
        "import multiprocessing, json, sys\n"
        "from ponder.verify.symbolic import equivalent\n"
        "def grade(pair): return equivalent(*pair, workers=1, cap_s=60).correct\n"
        "if __name__ == '__main__':\n"
        "    grade(('x+x', '2x'))\n"
        f"    with multiprocessing.get_context({way!r}).Pool(2) as pool:\n"
        "        print(json.dumps(pool.map(grade, json.loads(sys.stdin.read()))))\n"
    )
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder, "grade.py")
        script.write_text(program)
        source = str(pathlib.Path(__file__).resolve().parents[2] / "src")
        done = subprocess.run(
            [sys.executable, str(script)],
            input=json.dumps(SAMPLE),
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"PYTHONPATH": source},
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == grade_all()


def test_options_that_make_no_sense() -> None:
    for options in ({"cap_s": 0.0}, {"cap_s": float("nan")}, {"workers": 0}, {"memory_mb": 10}):
        with pytest.raises(PonderError, match="all positive"):
            equivalent("1", "1", **options)  # type: ignore[arg-type]


def test_the_package_is_light() -> None:
    """Neither sympy nor Math-Verify is imported in this process, not even by grading."""
    program = (
        "import sys; from ponder.verify.symbolic import equivalent; assert equivalent('x+x', '2x', cap_s=60).correct; "
        "print([m for m in ('sympy', 'math_verify', 'mpmath', 'antlr4') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_warm() -> None:
    assert warm() == ""
    assert multiprocessing.active_children() == []
