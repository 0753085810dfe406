"""Multiple choice: what counts as the answer, and what does not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.verify.choice import verify_choice

NUMBERS = ["10", "12", "14", "16"]
WORDS = [
    "maintain the population", "opt for zero control", "reduce the carrying capacity", "increase the mortality rate",
]  # fmt: skip
CELLS = ["a nucleus", "the mitochondria", "ribosomes", "both A and B"]

Case = tuple[str, Any, list[str] | None]

RIGHT: list[Case] = [
    ('(B)', 'B', None), ('B.', 'B', None), ('**B**', 'B', None), ('\\boxed{B}', 'B', None),
    ('\\boxed{\\text{B}}', 'B', None), ('The answer is B', 'B', None), ('B) 12', 'B', None),
    ('B) 12', 'B', NUMBERS), ('b', 'B', None), ('(b)', 'B', None), ('B', '(B)', None), ('Answer: B', 'B', None),
    ('**Answer:** B', 'B', None), ('**Answer: B**', 'B', None), ('Final Answer: (C)', 'C', None),
    ('The correct option is (D).', 'D', None), ('12', 'B', NUMBERS), ('The answer is 12.', 'B', NUMBERS),
    ('\\boxed{12}', 'B', NUMBERS), ('$12$', 'B', NUMBERS), ('It is 12.', 'B', NUMBERS), ('B', 1, NUMBERS),
    ('B', '12', NUMBERS), ('A', 0, NUMBERS), ('A, C', ['A', 'C'], None), ('A and C', 'AC', None),
    ('AC', 'A,C', None), ('\\boxed{A, C}', ['A', 'C'], None), ('\\boxed{A} and \\boxed{C}', ['A', 'C'], None),
    ('The correct answers are A and C.', ['A', 'C'], None), ('(A) and (C)', ['C', 'A'], None),
    ('C, A', ['C', 'A'], None), ('Options A and C are correct', ['A', 'C'], None), ('A', 'A', None),
    ('The answer is A because it works.', 'A', None), ('The answer is A.', 'A', None),
    ('The answer is a.', 'A', None), ('The answer is A. Wait, no. The answer is C.', 'C', None),
    ('<think>\\boxed{A}</think>The answer is B', 'B', None), ('<think>x</think><answer>B</answer>', 'B', None),
    ('<answer>(B)</answer> The answer is C', 'B', None), ('<answer>B. 12</answer>', 'B', NUMBERS),
    ('<answer>The answer is B</answer>', 'B', None), ('The answer is not A but B.', 'B', None),
    ('B is correct.', 'B', None), ('Option (C) is the correct answer.', 'C', None),
    ('Thus, (D) is correct', 'D', None), ('A is correct.', 'A', None),
    ('A and C are correct', ['A', 'C'], None), ('Die Antwort ist B.', 'B', None), ('Antwort: **C**', 'C', None),
    ('Die richtige Antwort lautet D)', 'D', None), ('Option B ist richtig.', 'B', None),
    ('Richtig ist B.', 'B', None), ('Die Lösung ist C', 'C', None),
    ('B\n\nBecause it is known that mosquitoes breed.', 'B', None),
    ('Some reasoning here about A and C.\n\nB', 'B', None),
    ('Options:\nA) 10\nB) 12\nC) 14\nD) 16\n\nB) 12', 'B', NUMBERS),
    ('reduce the carrying capacity', 'C', WORDS),
    ('The answer is to reduce the carrying capacity.', 'C', WORDS),
    ('**reduce the carrying capacity**', 'C', WORDS), ('C. reduce the carrying capacity', 'C', WORDS),
    ('The mitochondria', 'B', CELLS), ('The answer is mitochondria.', 'B', CELLS), ('nucleus', 'A', CELLS),
    ('both A and B', 'D', CELLS), ('The answer is both A and B.', 'D', CELLS),
    ('The best answer is (B) the mitochondria.', 'B', CELLS), ('#### B', 'B', None),
    ('I would choose C.', 'C', None), ('So the answer is $\\boxed{\\textbf{(C)}}$.', 'C', None),
    ('\\boxed{\\mathrm{(D)}}', 'D', None), ('\\boxed{C. 14}', 'C', NUMBERS),
    ('\\boxed{\\textbf{(C)}\\ 14}', 'C', NUMBERS), ('\\boxed{(C)~14}', 'C', NUMBERS),
    ('Therefore, the answer is: **D. 16**', 'D', NUMBERS), ('Therefore, C.', 'C', None),
    ('So it must be (A).', 'A', None), ('Is the answer B? No, the answer is C.', 'C', None),
    ('The answer could be A or C, but I think the answer is D', 'D', None),
    ('**Final Answer**\n\n**(B)**', 'B', None), ('Final answer:\nB', 'B', None),
    ('The correct answer is\n\nB) 12', 'B', NUMBERS), ('ANSWER: $B$', 'B', None), ('J', 'J', None),
    ('The answer is I.', 'I', None), ('The answer is \\text{B}.', 'B', None), ('{B}', 'B', None),
    ('[B]', 'B', None), ("'B'", 'B', None), ('B:', 'B', None), ('B 12', 'B', NUMBERS), ('Option B', 'B', None),
    ('choice B', 'B', None), ('Answer B', 'B', None), ('B, because it is even', 'B', None),
    ('The answer is C, not B.', 'C', None), ('The correct answer would be C) ribosomes', 'C', CELLS),
    ('Answer: B\nExplanation: A is wrong since B is better than C.', 'B', None),
    ('B) is the answer', 'B', None), ('The answer is: B\n\nThe answer is: B', 'B', None),
    ('\\boxed{A}\n...\nWait.\n\\boxed{B}', 'B', None), ('We pick E = mc^2. The answer is C', 'C', None),
    ('My answer: D', 'D', None), ('The final answer is: $\\boxed{B}$. I hope it is correct.', 'B', None),
    ('12.0', 'B', NUMBERS), ('The answer is $12$ apples', 'B', NUMBERS),
    ('What I believe is the correct choice is B', 'B', None), ('B.  Let me explain: A is wrong.', 'B', None),
    ('The answer is one of:\nA) 10\nB) 12\nSo I pick B.', 'B', NUMBERS),
    ('After analysis, **option C** is the best answer.', 'C', None), ("I'm going with D.", 'D', None),
    ('My choice: B', 'B', None), ('So, the correct answer is **B**: 12.', 'B', NUMBERS),
    ('Correct answer: B. 12\n\nExplanation: ...', 'B', NUMBERS),
    ('(A) is wrong, (B) is wrong, so (C).', 'C', None), ("It's B.", 'B', None), ("that's option B", 'B', None),
    ('answer B', 'B', None), ("The answer's C.", 'C', None), ('I am not sure, but the answer is C', 'C', None),
    ('All of the above', 'D', ['x1', 'y2', 'z3', 'All of the above']),
    ('The answer is none of the above.', 'D', ['x1', 'y2', 'z3', 'None of the above']),
    ('True', 'A', ['True', 'False']), ('yes', 'B', ['no', 'yes']),
    ('The statement is True.', 'A', ['True', 'False']), ('1', 'B', ['0', '1', '2', '3']),
    ('1', 1, ['0', '1', '2', '3']), ('The answer is 1.', 'B', ['0', '1', '2', '3']),
    ('3/4', 'C', ['1/4', '1/2', '3/4', '1']), ('0.75', 'C', ['1/4', '1/2', '3/4', '1']),
    ('\\boxed{\\frac{3}{4}}', 'C', ['\\frac{1}{4}', '\\frac{1}{2}', '\\frac{3}{4}', '1']),
    ('The correct answer is (A), (C) and (D).', ['A', 'C', 'D'], None), ('A,C,D', ['A', 'C', 'D'], None),
    ('A; C; D', ['A', 'C', 'D'], None), ('{A, C}', ['A', 'C'], None), ('Antworten: A und C', ['A', 'C'], None),
    ('Richtig sind A und C.', ['A', 'C'], None), ('Vitamin C is needed. The answer is B', 'B', None),
    ('Answer: (B', 'B', None), ('<answer>A</answer> <answer>B</answer>', 'B', None),
    ('<answer>\\boxed{B}</answer>', 'B', None), ('x</think>\n\n**B**', 'B', None), ('B B', 'B', None),
    ('B!!!', 'B', None), ('b) 12', 'B', NUMBERS), ('The Answer Is B', 'B', None),
    ('THE ANSWER IS B', 'B', None), ('die antwort ist b', 'B', None),
    ('I think the answer is B, but it could also be C.', 'B', None), ('A. nucleus', 'A', CELLS),
    ('a nucleus', 'A', CELLS), ('A nucleus', 'A', CELLS), ('The answer is a nucleus', 'A', CELLS),
    ('Answer: A nucleus', 'A', CELLS), ('\\[ \\boxed{C} \\]', 'C', None), ('$$\\boxed{C}$$', 'C', None),
    ('\\fbox{D}', 'D', None), ('The final answer is $B$.', 'B', None),
    ('Final Answer: The final answer is B. I hope it is correct.', 'B', None),
    ('The answer is: (b)', 'B', None), ('**Correct Option: B**', 'B', None), ('Answer:B', 'B', None),
    ('Answer is B', 'B', None), ('answer=B', 'B', None), ('Answer -> B', 'B', None), ('Answer → B', 'B', None),
    ('=> B', 'B', None), ('Selected: B', 'B', None), ('Ans: B', 'B', None), ('Ans. (B)', 'B', None),
    ('Respuesta: B', 'B', None), ('B is the answer, A is not.', 'B', None),
    ('Neither A nor B; the answer is C', 'C', None),
    ('A is the correct answer? No. C is the correct answer.', 'C', None),
    ('Both A and B are correct.', 'D', CELLS),
]  # fmt: skip
WRONG: list[Case] = [
    ('The answer is 14.', 'B', NUMBERS), ('A', ['A', 'C'], None), ('A, B, C', ['A', 'C'], None),
    ('A cat sat on the mat.', 'A', None), ('The answer is a dog.', 'A', None),
    ('A good question. I think about it.', 'A', None), ("I think it's hard.", 'I', None),
    ('The answer is A or B', 'A', None), ('The answer is A or B', 'B', None),
    ('\\boxed{A} or \\boxed{B}', 'B', None), ('\\boxed{A, B}', 'B', None), ('Either A or B', 'A', None),
    ('A/B', 'A', None), ('A B C D', 'A', None), ('A, B, C, D', 'B', None), ('ABCD', 'B', None),
    ('The answer is A. Wait, no. The answer is C.', 'A', None),
    ('<think>\\boxed{A}</think>The answer is B', 'A', None), ('<think>the answer is B', 'B', None),
    ('B. 14', 'B', NUMBERS), ('B) 14', 'C', NUMBERS), ('\\boxed{A}. Actually the answer is B.', 'B', None),
    ('\\boxed{A}. Actually the answer is B.', 'A', None), ("I don't know", 'A', None), ('', 'A', None),
    ('The answer is not B.', 'B', None), ('B is incorrect.', 'B', None), ('A is not correct', 'A', None),
    ("Let's see.\nA) 10\nB) 12\nC) 14\nD) 16", 'D', NUMBERS), ('C. increase the mortality rate', 'C', WORDS),
    ('E', 'B', NUMBERS), ('The answer might be B', 'B', None), ('The answer is (B) and (C).', 'B', None),
    ('The answer is C, not B.', 'B', None), ('Both A and C', 'A', None), ('12 or 14', 'B', NUMBERS),
    ('The answer is 12 or 14', 'B', NUMBERS), ('The answer is 120', 'B', NUMBERS), ('-12', 'B', NUMBERS),
    ('The answer is 12.5', 'B', NUMBERS), ('The answer is B: 14.', 'B', NUMBERS), ('None', 'A', None),
    ('no', 'A', None), ('The answer is False.', 'A', ['True', 'False']),
    ('\\boxed{B} \\text{ or } \\boxed{C}', 'B', None), ('A\nB\nC\nD', 'D', None), ('A\nB', 'A', None),
    ('A or C', ['A', 'C'], None), ('A and C', 'A', None), ('The answer is Plan B.', 'A', None),
    ('<answer>A or B</answer>', 'B', None), ('<answer></answer>', 'B', None), ('Answer: A B', 'A', None),
    ('The answer is B C', 'B', None), ('B? C?', 'B', None), ('Maybe B', 'B', None),
    ('THE ANSWER IS A DOG', 'A', None), ('ribosomes, not mitochondria', 'C', CELLS),
    ('The answer is ribosomes and the mitochondria.', 'C', CELLS), ('\\boxed{}', 'A', None),
    ('\\boxed{B', 'B', None), ('Both A and B are correct.', 'A', CELLS),
]  # fmt: skip


@pytest.mark.parametrize(("pred", "gold", "choices"), RIGHT)
def test_right(pred: str, gold: Any, choices: list[str] | None) -> None:
    verdict = verify_choice(pred, gold, choices)
    assert verdict.correct is True and verdict.method == "choice" and not verdict.note, verdict


@pytest.mark.parametrize(("pred", "gold", "choices"), WRONG)
def test_wrong(pred: str, gold: Any, choices: list[str] | None) -> None:
    verdict = verify_choice(pred, gold, choices)
    assert verdict.correct is False, verdict


@pytest.mark.parametrize(
    "pred", ["", "I don't know", "<think>the answer is B", "\\boxed{}", "The answer is not B.", "no"]
)
def test_nothing_found_is_told_from_another_answer(pred: str) -> None:
    verdict = verify_choice(pred, "B")
    assert verdict.correct is False and verdict.extracted is None and verdict.note == "no answer was found"
    assert verify_choice("C", "B").note == "" and verify_choice("C", "B").extracted == "C"


@pytest.mark.parametrize(
    ("pred", "note"),
    [
        ("A or B", "two answers, one or the other"),
        ("A and B", "two answers where one is right"),
        ("A) 12", "the letter and the words beside it are of different choices"),
        ("E", "E is not among the 4 choices"),
        ("\\boxed{A}. Actually the answer is B.", "the box and the text after it contradict each other"),
    ],
)
def test_notes_say_why(pred: str, note: str) -> None:
    assert verify_choice(pred, "A", NUMBERS).note == note


@pytest.mark.parametrize(
    ("gold", "choices"),
    [
        ("B", None), ("(B)", None), ("b", None), ("B.", NUMBERS), (1, NUMBERS), ("12", NUMBERS), ("B) 12", NUMBERS),
        (["B"], None), (1, None),
    ],
)  # fmt: skip
def test_gold_may_be_a_letter_a_position_or_a_text(gold: Any, choices: list[str] | None) -> None:
    assert verify_choice("B", gold, choices).correct and not verify_choice("C", gold, choices).correct


@pytest.mark.parametrize(
    ("gold", "choices"),
    [
        ("", None), ("banana", None), ("E", NUMBERS), (4, NUMBERS), (-1, NUMBERS), (["A", "X"], NUMBERS), ([], None),
        (True, None), ("A", ["one"]),
    ],
)  # fmt: skip
def test_a_gold_that_names_no_choice_is_a_mistake_of_the_row(gold: Any, choices: list[str] | None) -> None:
    with pytest.raises(PonderError):
        verify_choice("A", gold, choices)


def test_forms() -> None:
    assert verify_choice("<think>x</think> B", "B", form="completion").correct
    assert verify_choice("(B)", "B", form="bare").correct and verify_choice("12", "B", NUMBERS, form="bare").correct
    assert not verify_choice("I weighed A against the rest. The answer is B.", "B", form="bare").correct
    assert verify_choice("I weighed A against the rest. The answer is B.", "B", form="raw").correct
    with pytest.raises(PonderError, match="unknown form 'boxed'"):
        verify_choice("B", "B", form="boxed")


def test_every_letter_in_every_shape() -> None:
    shapes = (
        "{}", "({})", "{}.", "**{}**", "\\boxed{{{}}}", "\\boxed{{\\text{{{}}}}}", "The answer is {}",
        "The answer is ({}).", "**Answer: {}**", "Answer: {}) words", "Option {} is correct.",
        "<answer>{}</answer>", "Die Antwort ist {}.",
    )  # fmt: skip
    for at, letter in enumerate("ABCDEFGHIJ"):
        for shape in shapes:
            for gold in ("ABCDEFGHIJ"[(at + 1) % 10], letter):
                verdict = verify_choice(shape.format(letter), gold)
                assert verdict.correct == (gold == letter), (shape, letter, gold, verdict)


def test_choices_with_the_same_text_are_one_answer() -> None:
    choices = ["1", "2", "2", "3"]
    assert verify_choice("2", "B", choices).correct and verify_choice("C", "B", choices).correct
    assert not verify_choice("D", "B", choices).correct


def test_choices_that_differ_in_capitals_or_in_a_sign() -> None:
    crosses = ["bb x bb", "Bb x Bb", "Bb x bb"]
    assert verify_choice("The answer is Bb x Bb", "B", crosses).correct
    assert not verify_choice("C. Bb x bb", "B", crosses).correct and verify_choice("C. Bb x bb", "C", crosses).correct
    assert not verify_choice("The answer is BB x BB.", "A", crosses).correct
    signs = ["-19", "-10", "19", "10"]
    assert verify_choice("(A) -19", "A", signs).correct and not verify_choice("(A) 19", "A", signs).correct
    assert verify_choice("A - -19", "A", signs).correct and verify_choice("C - 19", "C", signs).correct


def test_a_choice_that_is_itself_a_letter() -> None:
    vowels = ["A", "E", "I", "O"]
    assert verify_choice("\\boxed{E}", "B", vowels).correct and verify_choice("B", "B", vowels).correct
    assert verify_choice("The answer is 4f", "D", ["(1/2)f", "f", "2f", "4f"]).correct
    assert verify_choice("\\boxed{f}", "B", ["(1/2)f", "f", "2f", "4f"]).correct


DATA = Path(os.environ.get("PONDER_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
MMLU = DATA / "mmlu_stem_test.jsonl"
SHAPES = (
    "{letter}. {text}", "The correct answer is ({letter}).", "The answer is {text}", "\\boxed{{{text}}}",
    "**Answer: {letter}) {text}**",
)  # fmt: skip


def test_real_questions_in_real_shapes() -> None:
    if not MMLU.exists():
        pytest.skip("mmlu_stem_test.jsonl is not at hand (looked in ../shared/data)")
    rows = [json.loads(line) for line in MMLU.read_text(encoding="utf-8").splitlines()][::10]
    missed = passed = 0
    for row in rows:
        for shape in SHAPES:
            for at in range(len(row["choices"])):
                said = shape.format(letter="ABCD"[at], text=row["choices"][at])
                right = row["choices"][at] == row["choices"][row["answer"]]
                correct = verify_choice(said, row["answer"], row["choices"]).correct
                missed += right and not correct
                passed += correct and not right
    assert len(rows) > 300 and missed <= 5 and passed <= 1, (missed, passed)  # a choice "c" is a letter too


def test_words_that_deny_or_have_several_sentences() -> None:
    choices = ["It falls. It does not rise.", "It rises.", "neither of these", "not at all"]
    assert verify_choice("The answer is neither of these.", "C", choices).correct
    assert verify_choice("The answer is: not at all", "D", choices).correct
    assert verify_choice("The answer is It falls. It does not rise.", "A", choices).correct
    assert not verify_choice("The answer is not B.", "B", choices).correct
