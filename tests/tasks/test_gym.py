"""reasoning-gym's tasks under our verdict: the gold answer is right, and nothing that merely contains it is."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Problem, Task
from ponder.tasks import gym
from ponder.tasks.drawing import SPLITS, split_of
from ponder.tasks.gym import GYM_TASKS, LEFT_OUT, gym_task
from ponder.tasks.gym_checks import GYM, NEEDS_METADATA

pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install 'ponder[gym]'")

SLOW = {"futoshiki", "knight_swap"}
"""Those whose problems take seconds to make."""
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in sorted(GYM)]


def problem(name: str, prompt: str, answer: str, **metadata: object) -> Problem:
    return Problem(f"gym:{name}", prompt, answer, {"key": prompt, "metadata": metadata})


def listings(gold: str, other: str) -> list[str]:
    """What earned something with reasoning-gym's own scorers: candidates, the answer amid a text, any text."""
    return [
        "A B C D",
        "banana",
        f"{gold}, {other}",
        f"{other}, {gold}",
        f"{other}\n{gold}",
        f"{gold} or {other}",
        f"{gold} {gold} maybe",
        f"The answer is {gold}, or so I think; it may be something else.",
        "True or False",
        "1, 2, 3, 4, 5, 6, 7, 8, 9",
        "{}",
        "[[]]",
        " ",
    ]


def decided(task: Any, problem: Problem, answer: str) -> bool | None:
    """The verdict; asked again where the symbolic tier's worker was too late, as on a loaded machine it can be."""
    found = None
    for _ in range(4):
        found = task.grade(problem, answer).correct
        if found is not None:
            break
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_gold_answer_earns_all_and_a_listing_nothing(name: str) -> None:
    task = gym_task(name)
    (drawn,) = task.problems("train", 1, "listing")
    assert drawn.prompt and drawn.task == f"gym:{name}" and split_of(drawn.task, drawn.data["key"]) == "train"
    json.dumps(dict(drawn.data))
    copied = Problem(drawn.task, drawn.prompt, drawn.answer, json.loads(json.dumps(dict(drawn.data))))
    assert decided(task, copied, drawn.answer) is True
    assert decided(task, copied, f"\n {drawn.answer} \n") is True
    for answer in listings(drawn.answer, drawn.answer[::-1] + "7"):
        if answer.strip() != drawn.answer:
            assert decided(task, copied, answer) is False, answer
    assert decided(task, copied, drawn.answer + " " * 30_000 + "x") is False


def test_the_table_knows_every_task_of_the_library() -> None:
    from reasoning_gym.factory import DATASETS

    assert set(DATASETS) - set(LEFT_OUT) == set(GYM)
    assert all(isinstance(task, Task) and task.name == name for name, task in GYM_TASKS.items())
    assert NEEDS_METADATA <= set(GYM)


@pytest.mark.parametrize("name", ["gcd", "basic_arithmetic", "caesar_cipher"])
def test_splits_cannot_overlap_and_seeds_are_ours(name: str) -> None:
    task = gym_task(f"gym:{name}")
    drawn = {split: task.problems(split, 12, "a") for split in SPLITS}
    keys = {split: {p.data["key"] for p in problems} for split, problems in drawn.items()}
    assert all(len(found) == 12 for found in keys.values())
    assert all(not keys[a] & keys[b] for a, b in combinations(SPLITS, 2))
    assert task.problems("train", 12, "a") == drawn["train"] != task.problems("train", 12, "b")


def test_levels_are_the_curriculum() -> None:
    easy, hard = (
        [len(p.answer.lstrip("-")) for p in gym_task("chain_sum").problems("train", 30, "l", level=level)]
        for level in (1, 3)
    )
    assert sum(easy) < sum(hard)
    with pytest.raises(PonderError, match="unknown level 9: one of 1, 2, 3"):
        gym_task("chain_sum").problems("train", 1, level=9)
    with pytest.raises(PonderError, match="gym:gsm_symbolic has no levels"):
        gym_task("gsm_symbolic").problems("train", 1, level=1)


@pytest.mark.parametrize(
    ("case", "right", "wrong"),
    [
        (problem("countdown", "q", "3*4+1", numbers=[1, 3, 4], target=13), ["1+4*3", "(3*4)+1", "3*4+1=13"],
         ["13", "3*4+1+0", "3*4", "__import__('os').getpid()", "12+1"]),
        (problem("puzzle24", "q", "(4-1)*(9-1)", numbers=[4, 1, 9, 1]), ["(9-1)*(4-1)"],
         ["24", "6*4*1*1", "4*6", "(9-1)*3"]),
        (problem("game_of_life_halting", "q", "True"), ["true", "True"], ["False", "x"]),
        (problem("gsm_symbolic", "q", "18"), ["18", "18.0", "$18"], ["18 or 19", "18 19", "about 18"]),
        (problem("fraction_simplification", "q", "$\\frac{3}{4}$"), ["3/4", "\\dfrac{3}{4}", "3 / 4"],
         ["6/8", "0.75", "3/4 4/5"]),
        (problem("coin_flip", "q", "0.109375"), ["7/64", "0.1094", "0.109375"], ["0", "0.1", "0.11"]),
        (problem("power_function", "q", "8.05544e-06"), ["8.06e-6", "0.00000806"], ["8.1e-6", "0", "8.06"]),
        (problem("prime_factorization", "q", "3 × 3 × 37"), ["37 × 3 × 3", "3*3*37"], ["9 × 37", "333", "3 × 37"]),
        (problem("number_sorting", "q", "['-1.5', '2.0', '3.0']"), ['["-1.5", "2", "3.0"]', "[-1.5, 2, 3]"],
         ["[-1.5, 2, 3.5]", "[3, 2, -1.5]", "-1.5, 2, 3 and more"]),
        (problem("advanced_geometry", "q", "(1.5, 2.0)"), ["(1.5, 2)", "1.5,2.0"], ["(1.5, 2.0, 3)", "(2.0, 1.5)"]),
        (problem("advanced_geometry", "q", "45.0°"), ["45", "45°"], ["45, 46", "46"]),
        (problem("polynomial_equations", "q", "-1.5, 2.0"), ["2, -1.5", "-1.5,2.0"], ["2", "2, -1.5, 3", "1.5, 2"]),
        (problem("knights_knaves", "q", "Lily is an egoist, and Logan is an altruist."),
         ["Logan is an altruist and Lily is an egoist", "Lily: egoist, Logan: altruist"],
         ["Lily is an egoist", "Lily is an egoist, Lily is an altruist, and Logan is an altruist",
          "Lily is not an egoist, and Logan is an altruist"]),
        (problem("cryptarithm", "q", "A=1,B=2,C=3", source_dataset="cryptarithm", words_letters=["A", "B"],
                 result_letters="C"), ["B=2, A=1, C=3", "A=1,B=3,C=4"], ["A=1,B=1,C=2", "A=9,B=2,C=3,A=1"]),
        (problem("game_of_life", "q", "[[0,1],[1,0]]"), ["[[0, 1], [1, 0]]"], ["[[0,1],[1,1]]", "[[0,1],[1,0]] x"]),
        (problem("n_queens", "q", "_ Q\nQ _", valid_answers=["_ Q\nQ _", "Q _\n_ Q"]), ["Q _\n_ Q", "_  Q \nQ _"],
         ["Q Q\n_ _", "[['Q','_'],['_','Q']]", "exec('1')"]),
        (problem("figlet_font", "q", "EXTRAORDINARY"), ["extraordinary"], ["extraordinary things", "extraordina"]),
        (problem("sudoku", "q", "1 2\n2 1"), ["1  2\n2 1", "[[1, 2], [2, 1]]"], ["1 2 2 1", "1 2\n2 1\n3 3"]),
        (problem("codeio", "q", '{"steps": "3"}'), ['{"steps":"3"}'], ['The answer: {"steps": "3"}']),
    ],
    ids=lambda value: value.task if isinstance(value, Problem) else "",
)  # fmt: skip
def test_right_and_wrong(case: Problem, right: list[str], wrong: list[str]) -> None:
    task = GYM_TASKS[case.task]
    assert [task.grade(case, answer).correct for answer in right] == [True] * len(right)
    assert [task.grade(case, answer).correct for answer in wrong] == [False] * len(wrong)


@pytest.mark.parametrize("name", ["simple_integration", "polynomial_multiplication", "complex_arithmetic"])
def test_symbolic_answers_are_compared_as_mathematics(name: str) -> None:
    golds = {
        "simple_integration": ("x**3/3 + 2*x + C", "2*x + x**3/3 + C", "x**3/3 + C"),
        "polynomial_multiplication": ("x**2 - 1", "(x-1)*(x+1)", "x**2 + 1"),
        "complex_arithmetic": ("4.0 - 7.0i", "4 - 7i", "4 + 7i"),
    }
    gold, right, wrong = golds[name]
    task, asked = gym_task(name), problem(name, "q", gold)
    assert task.grade(asked, right).correct is True and task.grade(asked, wrong).correct is False


def test_hostile_answers_cost_nothing() -> None:
    """Their expansion of `R9999999999` takes all memory, their evaluation runs code."""
    cube = problem("rubiks_cube", "q", "R", source_dataset="rubiks_cube", cube_size=3, scramble_moves="R'",
                   example_correct_answer="R")  # fmt: skip
    assert gym_task("rubiks_cube").grade(cube, "R").correct is True
    for answer in ("R9999999999", "R R9999999999 ", "[" * 10_000, "(" * 10_000, " " * 19_000 + "+ C x"):
        assert gym_task("rubiks_cube").grade(cube, answer).correct is False
        for name in ("spiral_matrix", "string_insertion", "jugs", "knights_knaves", "polynomial_equations"):
            assert gym_task(name).grade(problem(name, "q", "1 2", source_dataset=name), answer).correct is False


def test_mistakes_are_told() -> None:
    with pytest.raises(PonderError, match=r"unknown task gym:leg_count; did you mean gym:leg_counting\?"):
        gym_task("leg_count")
    with pytest.raises(PonderError, match="gym:boxnet is left out: it has no gold answer"):
        gym_task("gym:boxnet")
    with pytest.raises(PonderError, match="unknown split 'dev'"):
        gym_task("gcd").problems("dev", 1)
    with pytest.raises(PonderError, match="asks in English"):
        gym_task("gcd").problems("train", 1, lang="de")
    with pytest.raises(PonderError, match="gave only .* ask for fewer than 60"):
        gym_task("coin_flip").problems("validation", 60)


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(PonderError, match=r"pip install 'ponder\[gym\]'"):
        gym.gym_task("gcd").problems("train", 1)


def test_the_table_imports_nothing_heavy() -> None:
    code = "import sys, ponder.tasks.gym; print([m for m in ('reasoning_gym', 'sympy', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
