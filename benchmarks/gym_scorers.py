"""What reasoning-gym's own scorers pay for answers that are none, beside ours, task by task.

    python benchmarks/gym_scorers.py [NAME …]

Each column is the most that any of four problems earned for: the gold answer, a list of two candidates, the gold answer
amid other text, a word that has nothing to do with it. Ours is 1 or 0; -1 stands for a scorer that raised.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from ponder.core.types import Problem
from ponder.tasks.gym import gym_task
from ponder.tasks.gym_checks import GYM, library

PROBLEMS = 4
COLUMNS = ("gold", "listing", "amid text", "any word")


def probes(gold: str, other: str) -> dict[str, list[str]]:
    """Answers by column."""
    return {
        "gold": [gold],
        "listing": [f"{other}, {gold}", f"{gold}, {other}", f"{other}\n{gold}"],
        "amid text": [f"I think the answer is {gold} but it may be something else. It may be something else."],
        "any word": ["banana"],
    }


def most(pay: Callable[[str], float], answers: list[str]) -> float:
    """The most that any of the answers earned."""
    earned = []
    for answer in answers:
        try:
            earned.append(float(pay(answer)))
        except Exception:  # their scorers raise on some answers
            earned.append(-1.0)
    return max(earned)


def survey(name: str) -> dict[str, tuple[float, float]]:
    """(theirs, ours) of each column."""
    task = gym_task(name)
    made = library().create_dataset(name, seed=7, size=PROBLEMS)
    entries = [made[at] for at in range(PROBLEMS)]
    asked = [task.problem_of(entry) for entry in entries]
    table = dict.fromkeys(COLUMNS, (-1.0, -1.0))
    for at, (entry, problem) in enumerate(zip(entries, asked, strict=True)):
        if not problem.answer.strip():
            continue
        other = asked[(at + 1) % PROBLEMS].answer
        other = other if other != problem.answer else "something else"
        for column, answers in probes(problem.answer, other).items():
            theirs = most(lambda answer, entry=entry: made.score_answer(answer, entry), answers)
            ours = most(lambda answer, problem=problem: _value(name, problem, answer), answers)
            table[column] = (max(table[column][0], theirs), max(table[column][1], ours))
    return table


def _value(name: str, problem: Problem, answer: str) -> float:
    return gym_task(name).grade(problem, answer).value or 0.0


def main(names: list[str]) -> None:
    """Print the table, and how many scorers pay for each column."""
    print(f"{'':28}" + "".join(f"{column:>18}" for column in COLUMNS))
    print(f"{'':28}" + "".join(f"{'theirs':>11}{'ours':>7}" for _ in COLUMNS))
    paying = {column: [0, 0] for column in COLUMNS}
    for name in names or sorted(GYM):
        table = survey(name)
        print(f"{name:28}" + "".join(f"{table[c][0]:11.2f}{table[c][1]:7.0f}" for c in COLUMNS), flush=True)
        for column, pair in table.items():
            for side in (0, 1):
                paying[column][side] += pair[side] > 0.01
    print(f"{'tasks that pay over 0.01':28}" + "".join(f"{paying[c][0]:11d}{paying[c][1]:7d}" for c in COLUMNS))


if __name__ == "__main__":
    main(sys.argv[1:])
