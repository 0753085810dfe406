"""A fuzz run over the graders of `ponder.verify`: no crash, no hang,
    no verdict that depends on the order of the two sides.

    .venv/bin/python benchmarks/fuzz_verify.py [--inputs 200000] [--seed 1] [--processes 2] [--kinds math,symbolic,...]

Inputs are drawn from a grammar of LaTeX, from real answers with characters changed (where the shared data is there;
else from a short list), from random unicode, and from hostile texts. Each input is a function of its seed and
number, so a failure is repeated with `--only NUMBER`. A watchdog stops the run when one takes longer than `--hang` s.
Prints the rate, how many inputs went to a worker process, the slowest ones and every failure; exits with 1 on any.
"""

from __future__ import annotations

import argparse
import collections
import heapq
import importlib.util
import json
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ponder.verify.answers import extract
from ponder.verify.expression import ExpressionError, read_expression
from ponder.verify.guards import guard, least_digits, peel
from ponder.verify.symbolic import equivalent
from ponder.verify.verdict import Verdict

SHARED = Path(os.environ.get("PONDER_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CAP_S = 1.0
SYMMETRY = 0.1  # the share of inputs that are graded the other way round too
# kind: share of the inputs. "symbolic" asks the last tier itself, so most of it goes to a worker
SHARES = {
    "math": 0.60,
    "completion": 0.15,
    "symbolic": 0.01,
    "choice": 0.08,
    "expression": 0.06,
    "extraction": 0.05,
    "guards": 0.05,
}
FEW = [r"\frac{13}{6}", "3\\sqrt{13}", "(3, \\frac{\\pi}{2})", "x^2+7x+10", "[0,9)", "\\text{Evelyn}",
    "11,111,111,100", "-5", "0.35",
       "1 \\pm \\sqrt{19}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "y=2x+3", "90^\\circ", "10\\%", "2516_8",
       "\\{1,2,3\\}"]  # fmt: skip
HOSTILE = ["9^{9^{9^{9}}}", "(10^9)!", "2^{2^{2^{2^{2^{2}}}}}", "((((5!)!)!)!)!", "\\binom{10^9}{5^8}",
    "\\sum_{k=1}^{10^{9}} k^{k}", "10^{-10^{10}}",
           "\\prod_{n=1}^{99999} n!", "1/0", "\\frac{1}{0}", "0^{0}", "0^{-1}", "\\infty-\\infty", "\\log 0",
           "\\sqrt{-1}", "\\sqrt[0]{2}", "1e999999",
           "\\frac\\frac\\frac", "{{{{", "}}}}", "\\boxed{", "\\left(", "^", "_", "\\", "$", "$$", "&&", "\\\\", "%",
           "\\%", "`", "\x00", "\ud800",
           "İ", "ß", "ﬁ", "٣", "²", "𝟙", "0x10", "__import__('os')", "exec('1')", "lambda: 0", "x" * 300, "[[[[",
           "1,2,\\ldots"]  # fmt: skip
PIECES = ["\\frac", "\\sqrt", "{", "}", "(", ")", "[", "]", "^", "_", "+", "-", "*", "/", "=", "<", "\\le", ",", ";",
    ":", "|", "!", "\\pi", "\\infty",
          "\\sin", "\\log", "\\cup", "\\in", "\\text{ cm}", "\\pm", "\\cdot", "\\circ", "\\%", "e", "i", "x", "y",
          "n", "0", "1", "2", "7", "10", "1000",
          "0.5", "\\overline{3}", "\\{", "\\}", "\\boxed{", "\\begin{pmatrix}", "\\end{pmatrix}", "&", "\\\\",
          "\\left", "\\right", "$", " ", "\\,",
          "\\mathrm{e}", "\\sum", "\\int", "\\binom", "and", "or", "<answer>", "</answer>", "</think>", "####",
          "the answer is", "**", "'"]  # fmt: skip


def expression(rng: random.Random, depth: int = 0) -> str:
    """One expression of a small LaTeX grammar."""
    if depth > 3 or rng.random() < 0.3:
        return rng.choice(
            [
                "x",
                "y",
                "n",
                "\\pi",
                "e",
                str(rng.randint(0, 12)),
                str(rng.randint(0, 12)),
                f"{rng.uniform(0, 9):.2f}",
                "\\theta",
            ]
        )

    def inner() -> str:
        return expression(rng, depth + 1)

    shapes: list[Callable[[], str]] = [
        lambda: f"{inner()}+{inner()}",
        lambda: f"{inner()}-{inner()}",
        lambda: f"{inner()} \\cdot {inner()}",
        lambda: f"\\frac{{{inner()}}}{{{inner()}}}",
        lambda: f"\\sqrt{{{inner()}}}",
        lambda: f"\\sqrt[3]{{{inner()}}}",
        lambda: f"({inner()})^{{{rng.randint(-3, 4)}}}",
        lambda: f"\\sin({inner()})",
        lambda: f"\\ln {inner()}",
        lambda: f"|{inner()}|",
        lambda: f"{rng.randint(2, 9)}({inner()})",
        lambda: f"{inner()}/{inner()}",
        lambda: f"-{inner()}",
    ]
    return rng.choice(shapes)()


def answer(rng: random.Random) -> str:
    """An answer of the grammar: an expression, or a structure of some."""
    one, two = expression(rng, 1), expression(rng, 2)
    shapes = [
        *(one, one, one, f"({one}, {two})", f"[{one}, {two})", f"\\{{{one}, {two}\\}}", f"{one}, {two}", f"x={one}"),
        *(f"x \\le {one}", f"{one} < x < {two}", f"(-\\infty, {one}) \\cup ({two}, \\infty)", f"{one} \\text{{ cm}}"),
        *(f"\\begin{{pmatrix}} {one} \\\\ {two} \\end{{pmatrix}}", f"{one}:{two}", f"{rng.randint(1, 99)}\\%"),
        *(f"{rng.randint(1, 9999999):,}", f"{one} \\pm {two}"),
    ]
    return rng.choice(shapes)


def respelled(text: str, rng: random.Random) -> str:
    """The same answer written in another way, as far as that is simple."""
    for before, after in (
        ("\\frac", "\\dfrac"),
        ("(", "\\left("),
        (")", "\\right)"),
        ("\\cdot", "\\times"),
        ("\\pi", "π"),
        (" ", ""),
        ("+", " + "),
    ):
        if rng.random() < 0.4:
            text = text.replace(before, after)
    return f"${text}$" if rng.random() < 0.1 else text


def mutated(text: str, rng: random.Random) -> str:
    """A few characters or pieces changed."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(text))
        way = rng.random()
        if way < 0.35:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif way < 0.6:
            text = text[:at] + text[at + rng.randint(1, 3) :]
        elif way < 0.8:
            text = text[:at] + chr(rng.choice((rng.randint(32, 126), rng.randint(160, 0x2FFF)))) + text[at + 1 :]
        elif way < 0.9:
            text = text[at:] + text[:at]
        else:
            text = text * 2
    return text


def noise(rng: random.Random) -> str:
    """Random unicode, or pieces of LaTeX in a heap; now and then long."""
    size = rng.choice((3, 10, 30, 100)) if rng.random() < 0.98 else 5000
    if rng.random() < 0.5:
        return "".join(rng.choice(PIECES) for _ in range(size))
    return "".join(
        chr(rng.choice((rng.randint(0, 127), rng.randint(128, 0xD7FF), rng.randint(0xE000, 0x10FFFF))))
        for _ in range(size)
    )


def hostile(rng: random.Random) -> str:
    one = rng.choice(HOSTILE)
    way = rng.random()
    if way < 0.3:
        return one * rng.choice((2, 20, 400))
    return f"{one}{rng.choice(('+', '^', '(', ',', ''))}{rng.choice(HOSTILE)}" if way < 0.5 else one


def pair(rng: random.Random, real: Sequence[str]) -> tuple[str, str]:
    """Two answers: alike, near, or far."""
    draw = rng.random()
    if draw < 0.45:
        gold = rng.choice(real)
    elif draw < 0.85:
        gold = answer(rng)
    elif draw < 0.95:
        gold = hostile(rng)
    else:
        gold = noise(rng)
    draw = rng.random()
    if draw < 0.3:
        return respelled(gold, rng), gold
    if draw < 0.75:
        return mutated(gold, rng), gold
    return rng.choice((rng.choice(real), answer(rng), hostile(rng), noise(rng))), gold


def real_answers() -> list[str]:
    """Answers of people and models, from the shared data."""
    found: list[str] = list(FEW)
    cases, problems = SHARED / "verifier_cases.jsonl", SHARED / "math500_test.json"
    if cases.exists():
        rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
        found += [row["gold"] for row in rows if len(row["gold"]) < 200]
        found += [row["pred"] for row in rows if row["form"] == "bare"]
    if problems.exists():
        found += [str(row["answer"]) for row in json.loads(problems.read_text(encoding="utf-8"))]
    return sorted(set(found))


def grade(
    index: int, seed: int, kinds: Sequence[str], real: Sequence[str]
) -> tuple[str, str, str, Verdict | None, list[str]]:
    """Input number `index` graded: its kind, its two texts, the verdict, and what is wrong with it."""
    rng = random.Random(f"{seed}:{index}")
    kind = rng.choices(kinds, [SHARES[one] for one in kinds])[0]
    pred, gold = pair(rng, real)
    wrong: list[str] = []
    verdict: Verdict | None = None
    if kind in ("math", "completion"):
        from ponder.verify.math import MathOptions, verify_math

        options = MathOptions(cap_s=CAP_S)
        if kind == "completion":
            tail = rng.choice(("", " I hope it is correct.", "\n\n", noise(rng)[:20]))
            box = rng.choice(("\\boxed{%s}", "<answer>%s</answer>", "The answer is $%s$.", "#### %s", "%s"))
            pred = f"<think>{noise(rng)[:60]}</think> So {box.replace('%s', pred)}{tail}"
        form = "bare" if kind == "math" else rng.choice(("completion", "completion", "raw"))
        verdict = verify_math(pred, gold, form, options)
        if kind == "math" and rng.random() < SYMMETRY:
            back = verify_math(gold, pred, form, options)
            if {verdict.correct, back.correct} == {True, False}:
                wrong.append(f"not symmetric: {verdict.correct} by {verdict.method}, {back.correct} by {back.method}")
        if kind == "math" and rng.random() < SYMMETRY and verify_math(gold, gold, form, options).correct is False:
            wrong.append("an answer that is not itself")
    elif kind == "symbolic":
        verdict = equivalent(pred, gold, cap_s=CAP_S)
        if rng.random() < SYMMETRY and {verdict.correct, equivalent(gold, pred, cap_s=CAP_S).correct} == {True, False}:
            wrong.append("not symmetric")
    elif kind == "choice":
        from ponder.verify.choice import verify_choice

        choices = [real[rng.randrange(len(real))] for _ in range(4)] if rng.random() < 0.5 else None
        text = rng.choice(
            (f"The answer is ({rng.choice('ABCDE')}){pred[:30]}", f"\\boxed{{{rng.choice('ABCD')}}}", pred)
        )
        verdict = verify_choice(text, rng.choice("ABCD"), choices, rng.choice(("completion", "bare", "raw")))
        pred = text
    elif kind == "expression":
        try:
            read_expression(pred if rng.random() < 0.5 else "".join(rng.choice("0123456789+-*/() ") for _ in range(40)))
        except ExpressionError:
            pass
    elif kind == "extraction":
        text = f"{noise(rng)}{rng.choice(('<answer>', 'Answer:', chr(92) + 'boxed{'))}{pred}"
        for mode in ("strict", "lenient"):
            found = extract(text, mode, rng.random() < 0.5)
            if found is not None and not isinstance(found, str):
                wrong.append("extraction gave no text")
    else:
        for text in (pred, gold):
            guard(text), least_digits(text), peel(text)
    if verdict is not None and (verdict.correct not in (True, False, None) or not verdict.method or verdict.ms < 0):
        wrong.append(f"no proper verdict: {verdict}")
    return kind, pred, gold, verdict, wrong


def work(share: int, of: int, inputs: int, seed: int, kinds: Sequence[str], state: Any, out: Connection) -> None:
    """Every `of`-th input. `state` tells the watchdog which one is being graded, and since when."""
    from ponder.verify import worker

    real = real_answers()
    counts: collections.Counter[str] = collections.Counter()
    slowest: list[tuple[float, int, str, str, str]] = []
    failures: list[str] = []
    for index in range(share, inputs, of):
        began = time.perf_counter()
        state[2 * share], state[2 * share + 1] = index, time.monotonic()
        try:
            kind, pred, gold, verdict, wrong = grade(index, seed, kinds, real)
        except Exception:
            failures.append(f"input {index}: {traceback.format_exc(limit=-4)}")
            continue
        ms = (time.perf_counter() - began) * 1000
        failures += [f"input {index} ({kind}): {one}\n    {pred[:150]!r}\n    {gold[:150]!r}" for one in wrong]
        counts[f"kind {kind}"] += 1
        if verdict is not None:
            counts[f"verdict {'unknown' if verdict.correct is None else 'right' if verdict.correct else 'wrong'}"] += 1
            counts[f"method {verdict.method}"] += 1
            counts["timed out"] += verdict.timed_out
        entry = (ms, index, kind, pred[:60], gold[:60])
        (heapq.heappush if len(slowest) < 10 else heapq.heappushpop)(slowest, entry)
    counts["asked of a worker process"] = sum(pool.asked for pool in worker._pools.values())
    state[2 * share] = -1
    out.send((counts, slowest, failures))
    out.close()
    worker.close_pools()


def watch(processes: list[Any], state: Any, hang_s: float) -> str:
    """Waits for every process, telling how far they are; the number of the input that hangs, or nothing."""
    told = time.monotonic()
    while any(process.is_alive() for process in processes):
        time.sleep(0.2)
        for at, process in enumerate(processes):
            if process.is_alive() and state[2 * at] >= 0 and time.monotonic() - state[2 * at + 1] > hang_s:
                for other in processes:
                    other.kill()
                return f"input {int(state[2 * at])} took longer than {hang_s:g} s"
        if time.monotonic() - told > 20 and sys.stderr.isatty():
            told = time.monotonic()
            at_inputs = [str(int(state[2 * at])) for at in range(len(processes)) if state[2 * at] >= 0]
            print(f"at input {', '.join(at_inputs)}", file=sys.stderr)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=max(1, len(os.sched_getaffinity(0))))
    parser.add_argument("--hang", type=float, default=30.0, help="seconds after which one input counts as hanging")
    parser.add_argument("--kinds", default=",".join(SHARES), help="of: %(default)s")
    parser.add_argument("--only", type=int, help="grade this one input and print it whole")
    options = parser.parse_args(arguments)
    kinds = [kind for kind in options.kinds.split(",") if kind]
    unknown = [kind for kind in kinds if kind not in SHARES]
    if unknown or not kinds or options.inputs < 1 or options.processes < 1 or options.hang <= CAP_S:
        parser.error(
            f"--kinds {options.kinds}: of {', '.join(SHARES)}; --inputs, --processes at least 1; --hang above {CAP_S}"
        )
    needs = {"math": "ponder.verify.math", "completion": "ponder.verify.math", "choice": "ponder.verify.choice"}
    missing = sorted({needs[kind] for kind in kinds if kind in needs and importlib.util.find_spec(needs[kind]) is None})
    if missing:
        parser.error(f"{', '.join(missing)} cannot be imported; leave its kinds out with --kinds")
    if options.only is not None:
        began = time.perf_counter()
        for part in grade(options.only, options.seed, kinds, real_answers()):
            print(repr(part))
        print(f"{(time.perf_counter() - began) * 1000:.1f} ms")
        return 0
    began = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    state = context.Array("d", [-1.0] * (2 * options.processes), lock=False)
    pipes = [context.Pipe(duplex=False) for _ in range(options.processes)]
    processes = []
    for share, (_, out) in enumerate(pipes):
        job = (share, options.processes, options.inputs, options.seed, kinds, state, out)
        processes.append(context.Process(target=work, args=job))
        processes[-1].start()
        out.close()
    hung = watch(processes, state, options.hang)
    counts: collections.Counter[str] = collections.Counter()
    slowest: list[tuple[float, int, str, str, str]] = []
    failures = [f"HANG: {hung}"] if hung else []
    for share, (receive, _) in enumerate(pipes):
        try:
            its = receive.recv()
        except EOFError:
            failures.append(f"process {share} ended at input {int(state[2 * share])} with no result")
            continue
        counts, slowest, failures = counts + its[0], slowest + its[1], failures + its[2]
    seconds = time.perf_counter() - began
    graded = sum(count for name, count in counts.items() if name.startswith("kind "))
    rate = graded / seconds
    print(
        f"{graded} inputs in {seconds:.0f} s: {rate:.0f} a second, {options.processes} processes, seed {options.seed}"
    )
    for name, count in sorted(counts.items()):
        print(f"  {name:32s} {count:8d}  {count / max(1, graded):7.2%}")
    print("slowest:")
    for ms, index, kind, pred, gold in sorted(slowest, reverse=True)[:10]:
        print(f"  {ms:8.0f} ms  input {index} ({kind})  {pred!r}  against {gold!r}")
    print(f"{len(failures)} failures" if failures else "no crash, no hang, no asymmetry")
    for failure in failures[:40]:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
