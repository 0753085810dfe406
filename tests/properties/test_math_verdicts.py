"""Properties of the mathematical grader: total, linear, symmetric, reflexive, and deaf to what follows an answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.verify.extract_math import find_answer
from ponder.verify.math import FORMS, MathOptions, clear_cache, verify_math

checked = settings(max_examples=250, deadline=None)
HERE = MathOptions(symbolic=False)

PIECES = [
    "\\boxed{", "\\fbox{", "{", "}", "(", ")", "[", "]", "\\{", "\\}", "<answer>", "</answer>", "</think>",
    "the answer is ", "#### ", "1", "12", "1,000", "0.5", ".5", "x", "n", "e", "i", "\\frac", "\\frac{1}{2}",
    "\\sqrt", "\\sqrt[3]", "^", "_", "!", "+", "-", "*", "/", "=", "<", "\\le", "\\ne", "\\pm", "\\cup", "\\setminus",
    "\\in", "\\infty", "\\mathbb{R}", "|", "\\text{ cm}", "\\text{ and }", " or ", ",", ";", "\\%", "$", "\\$",
    "\\pi", "pi", "\\sin", "\\log_2", "^\\circ", "\\binom", "\\begin{pmatrix}", "\\end{pmatrix}", "&", "\\\\",
    "\\overline{", "\\ldots", ":", "apples", "E", " ", "\n", "\\sum", "½", "²", "√", "−", "\\left", "\\right", ".",
    "'", "\\langle", "\\begin{cases}", "\\lfloor", "10^", "9^{9", "\x00", "İ", "\\", "\\pmod{7}", "\\approx", "\\max",
    "0.\\overline{3}", "1e5", "\\mid", "\\begin{vmatrix}", "\\det",
]  # fmt: skip
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=16).map("".join))


def graded(pred: str, gold: str, form: str = "bare") -> bool | None:
    return verify_math(pred, gold, form, HERE).correct


@settings(max_examples=1500, deadline=None)
@given(texts, texts, st.sampled_from(FORMS), st.booleans())
def test_any_two_strings_get_a_verdict(pred: str, gold: str, form: str, box_required: bool) -> None:
    verdict = verify_math(pred, gold, form, MathOptions(symbolic=False, box_required=box_required))
    assert verdict.correct in (True, False, None) and verdict.method and "\n" not in verdict.note
    if not gold.strip():
        assert verdict.correct is None


@checked
@given(texts)
def test_reflexive(text: str) -> None:
    if text.strip():
        assert graded(text, text) is True


@settings(max_examples=800, deadline=None)
@given(texts, texts)
def test_symmetric(one: str, other: str) -> None:
    if one.strip() and other.strip():
        here, there = graded(one, other), graded(other, one)
        assert here is there or {here, there} == {False, None}  # what nobody can read is wrong, or an unknown gold


# ---- numbers: right exactly where the values are equal ----

fractions = st.fractions(min_value=-50, max_value=50, max_denominator=40)


@st.composite
def written(draw: st.DrawFn) -> tuple[Fraction, str]:
    """A number, and one of many ways to write it."""
    value = draw(fractions)
    top, bottom = value.numerator, value.denominator
    times = draw(st.integers(1, 4))
    ways = [
        f"\\frac{{{top * times}}}{{{bottom * times}}}",
        f"{top * times}/{bottom * times}",
        f"\\dfrac{{{top}}}{{{bottom}}}",
    ]
    if value == int(value):
        ways += [
            str(top),
            f"{top}.0",
            f"{top}.",
            f"\\text{{{top}}}",
            f"\\left({top}\\right)",
            f"x = {top}",
            f"{top}\\text{{ cm}}",
        ]
    if 100 % bottom == 0:
        ways += [f"{float(value):.2f}", f"{float(value) * 100:.0f}e-2", f"{float(value) * 10:.1f}\\times 10^{{-1}}"]
    if value > 1 and bottom > 1:
        ways += [f"{top // bottom}\\frac{{{top % bottom}}}{{{bottom}}}", f"{top // bottom} {top % bottom}/{bottom}"]
    return value, draw(st.sampled_from(ways))


@settings(max_examples=600, deadline=None)
@given(written(), written())
def test_numbers_are_right_where_they_are_equal(one: tuple[Fraction, str], other: tuple[Fraction, str]) -> None:
    assert graded(one[1], other[1]) is (one[0] == other[0])


@checked
@given(st.lists(written(), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_lists_sets_and_tuples(numbers: list[tuple[Fraction, str]], random: object) -> None:
    plain = [(v, t) for v, t in numbers if "=" not in t and "text" not in t]
    if len(plain) < 2:
        return
    values, written_ = [v for v, _ in plain], [t for _, t in plain]
    mixed = list(plain)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    joined, shuffled = ", ".join(written_), ", ".join(t for _, t in mixed)
    assert graded(f"\\{{{shuffled}\\}}", f"\\{{{joined}\\}}") is True and graded(shuffled, joined) is True
    assert graded(f"({shuffled})", f"({joined})") is ([v for v, _ in mixed] == values)
    assert graded(f"\\{{{joined}, 51\\}}", f"\\{{{joined}\\}}") is False


@checked
@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_polynomials_multiplied_out(a: int, b: int, c: int, d: int) -> None:
    product = f"({a}x+{b})({c}x+{d})".replace("+-", "-")
    out = f"{a * c}x^2+{a * d + b * c}x+{b * d}".replace("+-", "-")
    assert graded(product, out) is True
    assert graded(product, f"{out}+1") is False


# ---- what follows an answer ----

PROSE = [
    "Done.", " I hope it is right.", "\n", "42", " so 7", "$x$", "$$9$$", "x = 3", "2", ",", "(1)", " or 5", "and 6",
    "{", "}", "\\frac{1}{2}", "\\text{ cm}", "é", "|", " units", "%",
]  # fmt: skip
tails = st.one_of(st.text(), st.lists(st.sampled_from(PROSE), max_size=8).map("".join)).filter(
    lambda text: not any(mark in text.lower() for mark in ("boxed", "fbox", "<answer", "</think", "answer"))
)
NUMBERS = st.integers(-99, 99)


@settings(max_examples=600, deadline=None)
@given(NUMBERS, NUMBERS, tails, st.booleans())
def test_text_after_a_marked_answer_changes_nothing(answer: int, gold: int, tail: str, box_required: bool) -> None:
    options = MathOptions(symbolic=False, box_required=box_required)
    for marked in (f"So \\boxed{{{answer}}}", f"<think>x</think>\n<answer>{answer}</answer>", f"\\fbox{{{answer}}}"):
        before = verify_math(marked, str(gold), options=options)
        after = verify_math(marked + tail, str(gold), options=options)
        assert before.correct is after.correct is (answer == gold)


@checked
@given(NUMBERS, NUMBERS, tails)
def test_text_after_a_sentence_with_the_answer_never_makes_it_right(answer: int, gold: int, tail: str) -> None:
    if answer != gold:
        for cue in (f"The answer is {answer}.", f"#### {answer}", f"The answer is ${answer}$."):
            assert verify_math(f"{cue}\n{tail}", str(gold), options=HERE).correct is False


@checked
@given(NUMBERS, st.lists(NUMBERS, min_size=2, max_size=4, unique=True))
def test_several_answers_are_not_one_of_them(gold: int, several: list[int]) -> None:
    """Whoever names several answers in one breath has named none of them."""
    for glue in (" or ", " and ", ", ", " \\text{ or } "):
        joined = glue.join(f"\\boxed{{{n}}}" for n in several)
        assert verify_math(joined, str(gold), options=HERE).correct is False
        assert graded(glue.join(map(str, several)), str(gold)) is False


# ---- linear time ----

HOSTILE = [
    "\\boxed{", "\\boxed{}", "\\fbox{1}", "{", "}", "(", "[", "\\{", "<answer>", "<answer></answer>", "$", "$$",
    "\\(", "\\[", "the answer is ", "answer", "#### ", "1", "1,", "1,000", "1 000 ", "0.", ".", "-", "+1", "x", "x+",
    "\\frac", "\\frac1", "\\frac{1}{", "\\sqrt", "^", "^{2", "2^", "_", "\\text{", "\\text{a}", "\\begin{pmatrix}",
    "&", "\\\\", "\\", "!", "|", "'", "\\left(", "and ", " or ", ",", ";", "=", "x=1,", "\\pm", "1\\pm", "½", "²",
    "é", "İ", " ", "\n", "\\ ", "~", "cm ", "**", "\\boxed{1} and ", "\\overline{3}", "\\cup", "[0,1]\\cup", "e",
    "sin", "pi", "\\mid", "%", "\\%", ":", "1:", "\\ldots,",
]  # fmt: skip


def completion(text: str) -> object:
    return verify_math(text, "5", "completion", HERE)


def bare(text: str) -> object:
    return verify_math(text, "5", "bare", HERE)


def gold(text: str) -> object:
    return verify_math("\\boxed{x+1}", text, "completion", HERE)


def found(text: str) -> object:
    return find_answer(text), find_answer(text, box_required=True)


@pytest.mark.parametrize("read", [completion, bare, gold, found])
def test_linear_time(read: Callable[[str], object]) -> None:
    """120,000 characters cost some 8 times what 15,000 cost; 64 times would be quadratic. In processor time."""
    for piece in HOSTILE:
        small, large = (piece * (size // len(piece)) for size in (15_000, 120_000))
        fast, slow = timed(read, small), timed(read, large)
        if slow > 30 * max(fast, 0.005):  # once more, lest a hiccup decide
            slow = min(timed(read, large) for _ in range(3))
        assert slow <= 30 * max(fast, 0.005), (piece, fast, slow)


@pytest.mark.parametrize("piece", HOSTILE)
def test_answers_of_any_size_are_cheap(piece: str) -> None:
    """The dearest lengths are the ones that are still read whole."""
    for size in (50, 200, 1000, 5000, 19_000):
        text = piece * max(1, size // len(piece))
        assert timed(bare, text) < 0.5 and timed(gold, f"\\boxed{{{text}}}") < 0.5, (piece, size)


def timed(read: Callable[[str], object], text: str) -> float:
    clear_cache()
    began = time.process_time()
    read(text)
    return time.process_time() - began
