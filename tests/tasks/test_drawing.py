"""Drawing: splits by content, seeds by name, levels, languages, and what cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict

import pytest

from ponder.core.errors import PonderError
from ponder.core.seeds import random_of
from ponder.core.types import Task
from ponder.tasks import KINDS, SEARCH_LIKE, TASKS, draw_mix, grade
from ponder.tasks.drawing import LANGUAGES, LEVELS, SPLITS, MiniTask, split_of
from tests.tasks.reading import read

DRAWN = {name: task for name, task in TASKS.items() if isinstance(task, MiniTask)}
names = pytest.mark.parametrize("name", DRAWN)


def test_the_table() -> None:
    assert all(isinstance(task, Task) and task.name == name for name, task in TASKS.items())
    assert set(KINDS) == set(DRAWN) and set(SEARCH_LIKE) < set(KINDS)


@names
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_gold_scores_1_and_problems_are_distinct(name: str, level: int, lang: str) -> None:
    task = DRAWN[name]
    problems = task.problems("train", 60, "gold", level, lang)
    assert len({p.id for p in problems}) == len({p.prompt for p in problems}) == len(problems)
    for problem in problems:
        assert (problem.task, problem.data["level"], problem.data["lang"]) == (name, level, lang)
        score = task.grade(problem, problem.answer)
        assert score.correct is True and score.value == 1.0, (problem.prompt, problem.answer, score.note)


HELD_OUT: dict[str, dict[tuple[object, ...], str]] = {
    "arithmetic": {("n+n*n", 3, 5, 7): "validation", ("n+n*n", 3, 5, 6): "test", ("n*n+n*n", 6, 7, 8, 9): "test"},
    "equations": {(5, 3, 0, 38): "test", (7, 6, 0, 41): "test", (2, 9, 0, 23): "test", (8, 2, 0, 26): "validation"},
    "word_problems": {("times", 5, 6): "validation", ("times", 6, 8): "validation", ("times", 3, 6): "test"},
    "countdown": {(1, 3, 6, 4): "validation", (4, 5, 6, 5): "test", (2, 5, 6, 17): "test"},
    "factors": {("sum", 5, 4): "validation", ("difference", 5, 14): "test", ("sum", 15, 56): "test"},
    "ordering": {(("Cara", "Ann", "Eva"), True): "validation", (("Eva", "Hugo", "Finn"), True): "test"},
    "requests": {
        ("harm", "break a lock"): "validation",
        ("harm", "rob a bank"): "test",
        ("name", 4, "animals"): "test",
    },
    "functions": {(7, -9): "test", (2, 2): "test", (4, 4): "validation", (6, -5): "validation"},
}
"""Contents that weights trained so far have never seen. Where one moves to train, those weights are contaminated."""


@names
def test_no_content_is_in_two_splits(name: str) -> None:
    """Whatever the wording, the language, or the order of numbers whose order means nothing."""
    rng = random_of("splits", name)
    splits: dict[tuple[object, ...], set[str]] = defaultdict(set)
    keys: dict[str, set[str]] = defaultdict(set)
    drawn = 4000
    for at in range(drawn):
        problem = DRAWN[name].draw(rng, level=at % 3 + 1)
        split = split_of(name, problem.data["key"])
        splits[read(name, problem.prompt).content].add(split)
        keys[problem.data["key"]].add(split)
    assert len(splits) < 0.9 * drawn or name == "requests"  # contents did come again, in other words
    assert [content for content, found in splits.items() if len(found) > 1] == []
    assert all(len(found) == 1 for found in keys.values())
    share = sum(found == {"train"} for found in splits.values()) / len(splits)
    assert 0.7 < share < 0.95
    pinned = HELD_OUT[name]
    met = {content: splits[content] for content in pinned if content in splits}
    assert met == {content: {pinned[content]} for content in met} and met


@pytest.mark.parametrize("name", KINDS)
def test_splits_do_not_meet(name: str) -> None:
    contents: dict[str, set[tuple[object, ...]]] = {}
    for split in SPLITS:
        problems = [p for seed in "abc" for p in DRAWN[name].problems(split, 70, seed)]
        assert {split_of(name, p.data["key"]) for p in problems} == {split}
        contents[split] = {read(name, p.prompt).content for p in problems}
    assert not contents["train"] & contents["validation"] and not contents["train"] & contents["test"]
    assert not contents["validation"] & contents["test"]


def test_every_form_of_request_is_in_every_split() -> None:
    for split in SPLITS:
        for lang in LANGUAGES:
            problems = DRAWN["requests"].problems(split, 150, lang=lang, level=1)
            assert {p.data["form"] for p in problems} == {"name", "repeat", "double", "harm"}, (split, lang)
            assert {p.data["tone"] for p in problems} == {"polite", "plain", "rude"}


@pytest.mark.parametrize("name", KINDS)
def test_seeds_by_name(name: str) -> None:
    task = DRAWN[name]
    one = task.problems("train", 60, "1")
    assert task.problems("train", 60, "1") == one
    assert task.problems("train", 30, "1") == one[:30]  # asking for fewer gives the first of them
    for other in ("2", "11", ""):
        assert len({p.id for p in one} & {p.id for p in task.problems("train", 60, other)}) <= 12


def test_the_same_problems_in_another_process() -> None:
    """Neither the hash seed nor the machine's state may choose problems."""
    program = (
        "from ponder.tasks import KINDS, draw_mix\n"
        "print(*[p.id for p in draw_mix(KINDS, 'test', 70, 'process')])\n"
        "import sys; print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    ids, torch_loaded = run.stdout.splitlines()
    assert ids.split() == [p.id for p in draw_mix(KINDS, "test", 70, "process")]
    assert torch_loaded == "False"


def test_splits_are_pinned() -> None:
    """Where this fails, held-out problems have moved into the corpus of weights already trained: train them again."""
    found = [split_of("anything", f"[2, 3, 4] {target}") for target in range(30)]
    assert [at for at, split in enumerate(found) if split == "validation"] == [19, 23]
    shares = [split_of("anything", str(i)) for i in range(5000)]
    assert [round(shares.count(split) / 5000, 1) for split in SPLITS] == [0.8, 0.1, 0.1]


@names
def test_what_cannot_be_had_is_said_in_one_line(name: str) -> None:
    task = DRAWN[name]
    for arguments, said in (
        (("tset", 1), "unknown split 'tset'"),
        (("test", 1, "", 4), "unknown level 4"),
        (("test", 1, "", 0), "unknown level 0"),
        (("test", 1, "", 1, "fr"), "unknown language 'fr'"),
    ):
        with pytest.raises(PonderError, match=said) as error:
            task.problems(*arguments)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)


def test_too_many_problems() -> None:
    with pytest.raises(PonderError, match=r"factors has only \d+ problems in split 'test'"):
        DRAWN["factors"].problems("test", 60, level=1)


def test_a_mix_has_equal_shares_and_is_shuffled() -> None:
    mix = draw_mix(KINDS, "validation", 100, "mix")
    counts = [sum(p.task == kind for p in mix) for kind in KINDS]
    assert sum(counts) == 100 and max(counts) - min(counts) == 1
    assert len({p.id for p in mix}) == 100
    assert [p.task for p in mix] != sorted((p.task for p in mix), key=KINDS.index)
    assert draw_mix(KINDS, "validation", 100, "mix") == mix != draw_mix(KINDS, "validation", 100, "mix 2")
    assert {p.data["level"] for p in draw_mix(["factors"], "test", 40, level=3)} == {3}


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], "no kinds of problem"),
        (["countdwn"], "unknown kind of problem 'countdwn'"),
        (["rows"], "unknown kind of problem 'rows'"),
        (["factors", "factors"], "named twice"),
    ],
)
def test_a_mix_that_cannot_be_drawn(kinds: list[str], said: str) -> None:
    with pytest.raises(PonderError, match=said):
        draw_mix(kinds, "train", 10)


def test_grade_reads_three_states() -> None:
    (problem,) = DRAWN["arithmetic"].problems("test", 1)
    assert grade(problem, problem.answer) is True and grade(problem, "no") is False and grade(problem, None) is False
