"""Exact step labels: on lines written by hand, and on every method of the corpus."""

from __future__ import annotations

import pytest

from ponder.core.seeds import random_of
from ponder.core.steps import split_steps
from ponder.core.types import Problem
from ponder.mini.attempts import METHODS, attempt
from ponder.mini.step_truth import step_truth, takes_back
from ponder.tasks import KINDS, TASKS, grade
from ponder.tasks.factors import FACTORS

SUM = Problem("arithmetic", "What is 3+4*5?", "23", {"form": "sum_product", "numbers": [3, 4, 5], "lang": "en"})
EQUATION = Problem("equations", "Solve 2x+3=19 for x.", "8", {"a": 2, "b": 3, "sign": "+", "c": 0, "d": 19})
COUNT = Problem("countdown", "Use 3 7 6 to make 45.", "7*6+3", {"numbers": [3, 7, 6], "target": 45})
PAIR = Problem("factors", "sum 7, product 12", "4*3", {"form": "sum", "total": 7, "product": 12})
ORDER = Problem(
    "ordering", "Ann is taller than Bob. Bob is taller than Cara. Who is the tallest?", "Ann",
    {"chain": ["Ann", "Bob", "Cara"], "facts": [["Ann", "Bob"], ["Bob", "Cara"]], "top": True},
)  # fmt: skip
NAMES = Problem(
    "requests", "Name 2 colours.", "red blue",
    {"form": "name", "n": 2, "category": "colours", "lang": "en", "words": [], "tone": "plain"},
)  # fmt: skip
HARM = Problem("requests", "Tell me how to rob a bank.", "I cannot help with that.", {"form": "harm", "lang": "en"})
CODE = Problem("functions", "adds 2, then times 3", "def f(x): return (x+2)*3", {"steps": [["+", 2], ["*", 3]]})


@pytest.mark.parametrize(
    "problem, lines, truths",
    [
        (SUM, "4*5=20 | 3+20=23 | <answer>23</answer>", "111"),
        (SUM, "5*4=20 | 20+3=23 | <answer>24</answer>", "110"),
        (SUM, "4*5=21 | 3+21=24 | <answer>24</answer>", "000"),
        (SUM, "4*5=20 | 3+20=33 | <answer>33</answer>", "100"),
        (SUM, "3+4=7 | 7*5=35 | <answer>35</answer>", "000"),
        (SUM, "3+4=7 | check: times before plus wrong | wait | 4*5=20 | 3+20=23 | <answer>23</answer>", "011111"),
        (SUM, "3+4=7 | check: times before plus ok | <answer>35</answer>", "000"),
        (SUM, "4*5=20 | 3+20=23 | check: times before plus wrong | wait | 3+4=7 | <answer>23</answer>", "110101"),
        (SUM, "3+4=7 | check: times before plus wrong | 7*5=35 | <answer>35</answer>", "0100"),
        (SUM, "I guess | <answer>9</answer>", "10"),
        (SUM, "The answer is 23. | <answer>23</answer>", "11"),
        (SUM, "rubbish | <answer>23</answer>", "01"),
        (EQUATION, "2x=19-3 | 2x=16 | x=8 | <answer>8</answer>", "1111"),
        (EQUATION, "2x=19+3 | x=11 | check: 2*11=22 22+3=25 change the sign wrong | Moment | x=8 | x=8", "001111"),
        (EQUATION, "2x=16 | x=8 | check: 2*8=15 15+3=18 ok | x=8", "1101"),
        (EQUATION, "x=9 | <answer>9</answer>", "00"),
        (COUNT, "3+7+6=16 no | 7*6+3=45 yes | <answer>7*6+3</answer>", "111"),
        (COUNT, "3+7+6=17 no | 7*6+3=45 yes | <answer>7*6+3</answer>", "011"),
        (COUNT, "try 7*6+3=45 no | 3+7+6=16 no | 7*6+3=45 yes | <answer>7*6+3</answer>", "0011"),
        (COUNT, "3+7+6=16 yes | <answer>3+7+6</answer>", "00"),
        (COUNT, "7*6+3=45 | <answer>7*6+3</answer>", "11"),
        (COUNT, "3+7+6=16 | <answer>3+7+6</answer>", "00"),
        (COUNT, "7*6+4=46 no | <answer>7*6+3</answer>", "01"),
        (PAIR, "6*1=6 nein | 4*3=12 ja | <answer>4*3</answer>", "111"),
        (PAIR, "5*1=5 no | 3*4=12 yes | <answer>4*3</answer>", "011"),
        (PAIR, "4*3=12 no | 3*4=12 yes | <answer>4*3</answer>", "011"),
        (ORDER, "check: Bob < Ann no | check: Ann < nobody yes | <answer>Ann</answer>", "111"),
        (ORDER, "check: Cara < Ann no | check: Bob < Cara no | <answer>Ann</answer>", "101"),
        (ORDER, "check: Bob < nobody yes | <answer>Bob</answer>", "00"),
        (ORDER, "first Ann > Bob | <answer>Bob</answer>", "10"),
        (ORDER, "first Ann > Gina | <answer>Ann</answer>", "01"),
        (NAMES, "2 words | 1 red | 2 blue | <answer>red blue</answer>", "1111"),
        (NAMES, "2 words | 1 red | 2 red | check: 2 words ok | <answer>red red</answer>", "11000"),
        (NAMES, "3 words | <answer>red blue</answer>", "01"),
        (NAMES, "red green | <answer>red green</answer>", "11"),
        (NAMES, "2 words | 1 red | 2 dog | <answer>red dog</answer>", "1100"),
        (HARM, "that is harmful | <answer>I cannot help with that.</answer>", "11"),
        (HARM, "easy | <answer>First you wait until night.</answer>", "00"),
        (CODE, "x+2 | (x+2)*3 | check: 1+2=3 3*3=9 ok", "111"),
        (CODE, "x+2*3 | check: 1+2=3 3*3=9 brackets first wrong | wait | x+2", "0111"),
    ],
)  # fmt: skip
def test_lines_by_hand(problem, lines, truths, monkeypatch):
    if problem is CODE:  # no sandbox: the last line stands in for an answer that is right
        monkeypatch.setattr("ponder.mini.step_truth.grade", lambda *_: True)
    found = step_truth(problem, lines.split(" | "))
    assert "".join("01"[bool(truth)] for truth in found) == truths


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "functions"])
@pytest.mark.parametrize("method", METHODS)
def test_the_corpus_is_read_right(kind, method):
    """Whoever goes a right way ends with the right answer; whoever ends with a wrong one went wrong somewhere."""
    rng = random_of("step-truth", kind, method)
    for problem in TASKS[kind].problems("train", 40, "truth"):
        lang = problem.data["lang"]
        written = attempt(problem, method, rng, lang)
        text = "<think>\n" + "\n".join(written.lines) + f"\n</think>\n<answer>{written.answer}</answer>"
        steps = split_steps(text)
        truths = step_truth(problem, steps)
        right = grade(problem, written.answer)
        assert truths[-1] == right
        if not written.lines:
            continue
        if kind in ("countdown", "factors"):
            # Every try of the corpus is true; one that is handed in without a verdict may miss.
            assert all(truths[:-1]) or (method in ("steps",) and not right), (problem, steps, truths)
        elif kind == "ordering":
            assert all(truths[:-1]), (problem, steps, truths)
        elif method == "check":
            again = [at for at, step in enumerate(steps) if step in ("wait", "Moment")]
            start = again[-1] if again else 0
            assert all(truths[start:]) and right, (problem, steps, truths)
            assert not again or not any(truths[: again[0] - 1]) or problem.task in ("arithmetic", "word_problems")
            assert not again or not truths[again[0] - 2], "the line before the check was wrong"
        else:
            assert truths[-2] == right, (problem, steps, truths)


def test_a_wrong_way_is_wrong_from_its_first_wrong_line():
    """Two products worked from the left: the first line is still true of the problem."""
    problem = Problem("arithmetic", "2*3+4*5", "26", {"form": "two_products", "numbers": [2, 3, 4, 5], "lang": "en"})
    truths = step_truth(problem, ["2*3=6", "6+4=10", "10*5=50", "<answer>50</answer>"])
    assert truths == [True, False, False, False]


def test_unknown_is_unknown(monkeypatch):
    monkeypatch.setattr("ponder.mini.step_truth.grade", lambda *_: None)
    assert step_truth(CODE, ["x+2", "<answer>def f(x): return x</answer>"]) == [True, None]
    assert step_truth(SUM, []) == []


def test_german_and_english_and_gold():
    for problem in FACTORS.problems("train", 30, "truth"):
        assert step_truth(problem, [f"{problem.answer}={problem.data['product']} ja", "x"])[0] is True


@pytest.mark.parametrize(
    "continuation, back",
    [
        ("3+20=23\n</think>", False),
        ("check: times before plus wrong\nwait\n4*5=20", True),
        ("wait\n4*5=20\n3+20=23", False),
        ("\nMoment\n4*5=20", False),
        ("Probe: falsch\nMoment\n", True),
        ("", False),
        ("we wait a little", False),
    ],
)
def test_what_takes_its_prefix_back(continuation, back):
    assert takes_back(continuation) is back
