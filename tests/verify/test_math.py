"""The mathematical grader on pairs of every class, its options, its cache, and where it may be called from."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import threading
from collections.abc import Iterator

import pytest

from ponder.core.errors import PonderError
from ponder.verify import math as grader
from ponder.verify.math import MathOptions, clear_cache, verify_math
from ponder.verify.verdict import Verdict
from tests.verify.math_pairs import FOUND, PAIRS, RAW

HERE = MathOptions(symbolic=False)  # the tiers of this process alone: cheap, and never a worker
CASES = [(kind, *pair) for kind, pairs in PAIRS.items() for pair in pairs]


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    clear_cache()
    yield
    clear_cache()


@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_either_way_round(kind: str) -> None:
    for answer, gold, right in PAIRS[kind]:
        for one, other in ((answer, gold), (gold, answer)):
            verdict = verify_math(one, other, "bare", HERE)
            assert verdict.correct is right, (one[:80], other[:80], verdict)


@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_in_a_box(kind: str) -> None:
    for answer, gold, right in PAIRS[kind]:
        if "**" in answer or "\\boxed" in answer or answer.startswith("\\fbox"):
            continue
        verdict = verify_math(f"Thus \\boxed{{{answer}}}.", gold, "completion", HERE)
        assert verdict.correct is right, (answer[:80], gold[:80], verdict)
        assert verify_math(f"<think>\\boxed{{0}}</think><answer>{answer}</answer>", gold, options=HERE).correct is right


@pytest.mark.parametrize(("text", "gold", "right"), FOUND)
def test_completions(text: str, gold: str, right: bool) -> None:
    assert verify_math(text, gold, options=HERE).correct is right


@pytest.mark.parametrize(("text", "gold", "right"), RAW)
def test_raw_texts(text: str, gold: str, right: bool) -> None:
    assert verify_math(text, gold, "raw", HERE).correct is right


def test_every_pair_is_right_of_itself() -> None:
    for _, answer, gold, _ in CASES:
        for text in (answer, gold):
            assert verify_math(text, text, "bare", HERE).correct is True


# ---- what is said beside right and wrong ----


def test_tiers_are_named() -> None:
    for answer, gold, method in (
        ("\\dfrac{1}{2}", "\\frac{1}{2}", "string"), ("12", "13", "number"), ("1,200", "1200", "string"),
        ("0.5", "\\frac12", "structure"), ("(1,2)", "(1,3)", "structure"), ("B. 4", "B", "choice"),
    ):  # fmt: skip
        assert verify_math(answer, gold, "bare", HERE).method == method, (answer, gold)


def test_verdicts_say_what_was_compared() -> None:
    verdict = verify_math("so \\boxed{\\dfrac{1}{2}}", "\\frac12", options=HERE)
    assert verdict.correct and verdict.extracted and verdict.gold and verdict.ms > 0


def test_no_answer_is_wrong_and_no_gold_is_unknown() -> None:
    assert verify_math("I do not know.", "5", options=MathOptions(box_required=True)).correct is False
    assert verify_math("\\boxed{5}", "  ").correct is None
    assert "empty" in verify_math("\\boxed{5}", "").note


def test_gold_that_cannot_be_read_is_unknown() -> None:
    verdict = verify_math("\\boxed{5}", "\\frac{1}{", options=HERE)
    assert verdict.correct is None and "gold" in verdict.note


def test_the_symbolic_tier_is_asked_only_for_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, float]] = []

    def equivalent(pred: str, gold: str, *, cap_s: float) -> Verdict:
        asked.append((pred, gold, cap_s))
        return Verdict(True, "symbolic", 1.0, "said so")

    monkeypatch.setattr("ponder.verify.symbolic.equivalent", equivalent)
    options = MathOptions(cap_s=2.5)
    for answer, gold in (("5", "5"), ("0.5", "1/2"), ("(1,2)", "(1,3)"), ("x+1", "1+x")):
        verify_math(answer, gold, "bare", options)
    assert asked == []
    verdict = verify_math("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}", "bare", options)
    assert asked == [("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}", 2.5)]
    assert verdict.correct and verdict.method == "symbolic" and verdict.note.endswith("said so")
    assert verify_math("\\sum_{k=1}^{n} k", "n^2", "bare", HERE).correct is None and len(asked) == 1


# ---- options ----


def right(answer: str, gold: str, form: str = "bare", **options: object) -> bool | None:
    return verify_math(answer, gold, form, MathOptions(symbolic=False, **options)).correct  # type: ignore[arg-type]


def test_box_required() -> None:
    for text in (
        "The answer is 5.",
        "5",
        "#### 5",
        "so $5$",
        "\\boxed 5",
        "\\boxed{5",
        "<answer>5",
        "<think>\\boxed{5}",
    ):
        assert right(text, "5", "completion") is True, text
        if "<think>" not in text:
            assert right(text, "5", "completion", box_required=True) is False, text
    for text in ("\\boxed{5}", "<answer>5</answer>", "<think>x</think><answer>5</answer>", "\\fbox{5}"):
        assert right(text, "5", "completion", box_required=True) is True, text
    assert right("<think>\\boxed{5}</think> so it is 5", "5", "completion", box_required=True) is False


def test_percent() -> None:
    for mode, tenth, ten in (("unit", False, True), ("fraction", True, False), ("either", True, True)):
        assert right("10\\%", "0.1", percent=mode) is tenth and right("0.1", "10\\%", percent=mode) is tenth
        assert right("10\\%", "10", percent=mode) is ten and right("10", "10\\%", percent=mode) is ten


def test_units() -> None:
    for mode, other, missing in (("both", False, True), ("required", False, False), ("ignore", True, True)):
        assert right("5\\text{ m}", "5\\text{ cm}", units=mode) is other
        assert right("5", "5\\text{ cm}", units=mode) is missing
        assert right("5\\text{ cm}", "5\\text{ centimeters}", units=mode) is True
        assert right("6\\text{ cm}", "5\\text{ cm}", units=mode) is False


def test_ordered() -> None:
    assert right("2, 1", "1, 2") is True and right("2, 1", "1, 2", ordered=True) is False
    assert right("1, 2", "1, 2", ordered=True) is True
    assert right("\\{2, 1\\}", "\\{1, 2\\}", ordered=True) is True  # a set has no order


def test_decimals_and_floats() -> None:
    assert right("0.33", "\\frac13") is False and right("0.33", "\\frac13", decimals=2) is True
    assert (
        right("0.34", "\\frac13", decimals=2) is False
        and right("(0.6,2.67]", "(\\frac35,\\frac83]", decimals=2) is True
    )
    assert right("0.3333333333333333", "\\frac13") is True
    assert right("0.3333333333333333", "\\frac13", float_digits=0) is False
    assert right("0.33333", "\\frac13", float_digits=5) is True


def test_decimal_comma_only_in_raw_texts_unless_asked() -> None:
    assert right("2,75", "2.75") is False and right("2,75", "2.75", "raw") is True
    assert (
        right("2,75", "2.75", decimal_comma=True) is True and right("2,75", "2.75", "raw", decimal_comma=False) is False
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percent": "strip"}, "MathOptions.percent is 'strip': one of unit, fraction, either"),
        ({"units": "si"}, "MathOptions.units is 'si'"),
        ({"cap_s": 0}, "MathOptions.cap_s is 0"),
        ({"decimals": -1}, "MathOptions.decimals is -1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(PonderError, match=message):
        MathOptions(**options)  # type: ignore[arg-type]


def test_unknown_form() -> None:
    with pytest.raises(PonderError, match="unknown form 'boxed': one of completion, bare, raw"):
        verify_math("5", "5", "boxed")


# ---- the cache, threads, processes ----


def test_the_same_pair_is_graded_once_for_each_set_of_options(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    graded = grader._graded

    def counted(answer: str, gold: str, options: MathOptions) -> Verdict:
        calls.append(answer)
        return graded(answer, gold, options)

    monkeypatch.setattr(grader, "_graded", counted)
    first = verify_math("so \\boxed{1/3}", "2/6", options=HERE)
    again = verify_math("or else \\boxed{1/3}", "2/6", options=HERE)
    assert calls == ["1/3"] and again.ms == 0 and again.correct is first.correct is True
    verify_math("\\boxed{1/3}", "2/6", options=MathOptions(symbolic=False, ordered=True))
    assert len(calls) == 2


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grader, "CACHE_SIZE", 5)
    for n in range(20):
        verify_math(str(n), "3", "bare", HERE)
    assert len(grader._cache) == 5


def wanted() -> list[bool | None]:
    return [verify_math(answer, gold, "bare", HERE).correct for _, answer, gold, _ in CASES]


def test_the_same_verdicts_from_threads_asyncio_and_forked_processes() -> None:
    labels = [label for *_, label in CASES]
    seen: list[list[bool | None]] = []

    def work() -> None:
        seen.append(wanted())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def several() -> list[list[bool | None]]:
        return list(await asyncio.gather(*(asyncio.to_thread(wanted) for _ in range(2))))

    seen += asyncio.run(several())
    clear_cache()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        seen.append(pool.apply(wanted))
    assert len(seen) == 7 and all(found == labels for found in seen)


def test_importing_it_loads_no_algebra() -> None:
    import subprocess

    heavy = ("sympy", "mpmath", "math_verify", "torch")
    program = f"import sys, ponder.verify.math; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("pred", "gold", "right"),
    [
        (r"\sqrt{-1}\sqrt{-1}", r"0 \cdot x \cdot x+\sqrt{\sqrt{x}}", False),
        (r"\sqrt{0i} < x", r"\sqrt{0} < x", True),
        (r"\sqrt{-1}\sqrt{-1} < x", "x > -1", True),
    ],
)
def test_complex_numbers_without_imaginary_part_have_an_order(pred: str, gold: str, right: bool) -> None:
    assert verify_math(pred, gold, "bare").correct is right and verify_math(gold, pred, "bare").correct is right


def test_a_fault_of_ours_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.verify.math._graded", lambda *arguments: 1 / 0)
    verdict = verify_math("\\boxed{12345}", "54321")
    assert verdict.correct is None and verdict.method == "fault" and "ZeroDivisionError" in verdict.note
