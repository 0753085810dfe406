"""Rewards as a recipe names them, and verl's functions."""

from __future__ import annotations

import pickle
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards import RewardPart, compose, parts_of, reward_part
from ponder.rewards.recipe import BUILT_IN

GOOD = "<think>easy</think><answer>2</answer>"
Say = Callable[..., list[Completion]]


def test_names_and_mappings_stand_side_by_side(sums: Problem, say: Say) -> None:
    parts = parts_of(["accuracy", "format", {"name": "length", "weight": 0.1, "target": 200}])
    assert [(part.name, part.weight) for part in parts] == [("accuracy", 1.0), ("format", 0.2), ("length", 0.1)]
    scores = compose(parts)([sums] * 2, say(GOOD, GOOD, tokens=[100, 400]))
    assert [score.value for score in scores] == pytest.approx([1.3, 1.25])


def test_a_part_twice_with_other_parameters(sums: Problem, say: Say) -> None:
    entries: list[Any] = [{"name": "steps", "target": 1}, {"name": "steps", "label": "many", "target": 4}]
    (score,) = compose(parts_of(entries))([sums], say("<think>1. a\n2. b</think>"))
    assert score.parts == {"steps": 1.0, "many": 0.5}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"name": "length", "taget": 3},
            r"reward 'length': taget is unknown; did you mean target\? \(its parameters are",
        ),
        ({"name": "length", "wieght": 3}, r"wieght is unknown; did you mean weight\?"),
        ({"name": "format", "target": 3}, "target is unknown .*it has no parameters of its own"),
        ({"name": "length", "target": 0}, "reward 'length': target is 0: .*greater than or equal to 1"),
        ({"name": "length", "target": "far"}, "target is 'far': .*valid integer"),
        ({"name": "length", "shape": "cosin"}, "shape is 'cosin': .*'falling', 'cosine' or 'shortest'"),
        ({"name": "repetition", "max_penalty": 1}, "max_penalty is 1: .*less than or equal to 0"),
        ({"name": "repetition", "max_penalty": True}, "max_penalty is True"),
        ({"name": "code", "partial": "maybe"}, "partial is 'maybe': .*valid boolean"),
        ({"name": "acuracy"}, r"'acuracy' is unknown; .*did you mean accuracy\?"),
        ({"weight": 1}, "has no name"),
        ({"name": "format", "weight": "a lot"}, "weight is 'a lot', not a number"),
        ({"name": "format", "none": "zero"}, "none is 'zero'; it is one of unknown, skip"),
        ({"name": "format", "slow": 1}, "slow is 1, not true or false"),
        ({"name": "format", "cap_s": 0}, "cap_s is 0, not a number of seconds above 0"),
        ({"name": "format", "cap_s": 5}, "cap_s is for functions of your own"),
        ({"name": "format", "label": 5}, "label is 5, not a name"),
    ],
)
def test_mistakes_are_named(entry: Any, message: str) -> None:
    with pytest.raises(PonderError, match=message) as raised:
        parts_of([entry])
    assert "\n" not in str(raised.value)


def test_length_needs_a_part_that_says_what_is_right() -> None:
    with pytest.raises(PonderError, match="'length' goes by which answers are right.*add accuracy"):
        compose(parts_of(["length"]))
    with pytest.raises(PonderError, match="weight -0.1: a negative one would pay wrong answers more"):
        compose(parts_of(["accuracy", {"name": "length", "weight": -0.1}]))
    reward = compose(parts_of(["accuracy", "length"]))
    with pytest.raises(PonderError, match="a negative one"):
        reward.reweighted({"length": -1.0})


def test_parts_that_go_by_verdicts_may_stand_first(sums: Problem, say: Say) -> None:
    scores = compose(parts_of(["length", "accuracy"]))(
        [sums] * 3, say(GOOD, GOOD.replace("2", "3"), "<answer>?</answer>")
    )
    assert [score.value for score in scores] == [1.1, 0.0, None]
    assert [score.correct for score in scores] == [True, False, None]


def test_parameters_of_functions_from_a_file(tmp_path: Path, sums: Problem, say: Say) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def short(completions, limit: int = 3, **columns):\n    return [float(len(c) <= limit) for c in completions]\n"
    )
    problem = Problem("sums", "1+1?", "2", {"limit": 99})  # a column of that name does not unbind it
    reward = compose(parts_of([{"name": f"{file}:short", "weight": 0.5, "limit": 4}]))
    assert [s.value for s in reward([problem] * 2, say("abcd", "abcde"))] == [0.5, 0.0]
    with pytest.raises(PonderError, match="'short': limt is unknown; did you mean limit"):
        parts_of([{"name": f"{file}:short", "limt": 4}])
    with pytest.raises(PonderError, match="limit is 'x'"):
        parts_of([{"name": f"{file}:short", "limit": "x"}])


def test_every_built_in_part_can_be_named_and_sent_to_another_process(sums: Problem, say: Say) -> None:
    names = [name for name in BUILT_IN if name != "code"]
    reward = pickle.loads(pickle.dumps(compose(parts_of(names, opened=True))))
    (score,) = reward([sums], say("easy</think><answer>2</answer>"))
    assert score.correct is True and score.parts["format"] == 1.0 and None not in score.parts.values()


def test_a_part_of_weight_0_still_gives_its_verdict(sums: Problem, say: Say) -> None:
    reward = compose(parts_of([{"name": "accuracy", "weight": 0}, "length"]))
    assert [s.value for s in reward([sums], say(GOOD))] == [0.1]


# ---- accuracy and code on problems from files ----


def test_rows_are_read_in_a_tag_or_a_box(say: Say) -> None:
    problem = Problem("rows", "1+1?", "2")
    texts = say(
        "<answer>2</answer>", r"<think>\boxed{3}</think> so \boxed{2}", r"<think>\boxed{2}</think>",
        r"\boxed{2} or \boxed{3}",
        r"<answer>3</answer> \boxed{2}", "2",
    )  # fmt: skip
    scores = compose(parts_of(["accuracy"]))([problem] * 6, texts)
    assert [score.correct for score in scores] == [True, True, False, False, False, False]
    assert scores[2].note == scores[5].note == "accuracy: no answer"


def test_the_kinds_of_the_miniature_world_want_their_tag(say: Say) -> None:
    problem = Problem("arithmetic", "1+1?", "2", {"level": 1})
    assert compose(parts_of(["accuracy"]))([problem], say(r"\boxed{2}"))[0].note == "accuracy: no answer"


class Verdict:
    """What `run_tests` returns, as far as it is read."""

    def __init__(self, correct: bool | None, share: float, note: str = "") -> None:
        self.correct, self.share, self.note, self.status = correct, share, note, "infra" if correct is None else "ok"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, bool]]:
    """The programs that were run, by a sandbox that reads its verdict in them: "2/4", or "?" for unknown."""
    import ponder.sandbox.choice
    import ponder.sandbox.grade

    calls: list[tuple[str, Any, bool]] = []

    def run_tests(code: str, test: Any, *, sandbox: Any = None, limits: Any = None, stop_early: bool = True) -> Verdict:
        calls.append((code.strip(), test, stop_early))
        if "?" in code:
            return Verdict(None, 0.0, "no zygote")
        passed, total = (int(part) for part in code.strip().removeprefix("#").split("/"))
        return Verdict(passed == total, passed / total)

    monkeypatch.setattr(ponder.sandbox.grade, "run_tests", run_tests)
    monkeypatch.setattr(ponder.sandbox.choice, "default_sandbox", lambda: None)
    return calls


TEST = {"mode": "call", "entry": "f", "cases": [[[1], 2]]}


def test_code_is_all_or_nothing_or_the_share(ran: list[tuple[str, Any, bool]], say: Say) -> None:
    problem = Problem("code", "Write f.", "", {"test": TEST})
    texts = say("<think>x</think>```python\n#4/4\n```", "<answer>#1/4</answer>", "#?", "<think>never closed")
    whole = compose(parts_of(["code"]))([problem] * 4, texts)
    assert [(s.value, s.correct) for s in whole] == [(1.0, True), (0.0, False), (None, None), (0.0, False)]
    assert whole[3].note == "code: no answer" and "no zygote" in whole[2].note
    assert {stop_early for _, _, stop_early in ran} == {True}
    ran.clear()
    shares = compose(parts_of([{"name": "code", "partial": True}]))([problem] * 4, texts)
    assert [(s.value, s.correct) for s in shares] == [(1.0, True), (0.25, False), (None, None), (0.0, False)]
    assert {stop_early for _, _, stop_early in ran} == {False}, "a share needs every test"
    assert shares[1].parts["code/tests"] == 0.25
    assert sorted(code for code, _, _ in ran) == ["#1/4", "#4/4", "#?"] and ran[0][1] == TEST


def test_code_without_tests_is_named(ran: list[tuple[str, Any, bool]], say: Say) -> None:
    with pytest.raises(PonderError, match="reward 'code': problem .* has no tests: a code row needs its tests"):
        compose(parts_of(["code"]))([Problem("rows", "1+1?", "2")], say("<answer>#1/1</answer>"))


def test_the_miniature_worlds_functions_have_tests(ran: list[tuple[str, Any, bool]], say: Say) -> None:
    problem = Problem("functions", "f", "f", {"entry": "f", "tests": [[[1], 2]]})
    assert compose(parts_of(["code"]))([problem], say("<answer>#1/1</answer>"))[0].correct is True
    assert ran[0][1] == {"mode": "call", "entry": "f", "cases": [[[1], 2]]}


@pytest.mark.slow
def test_code_runs_in_the_sandbox(say: Say) -> None:
    from ponder.sandbox.choice import default_sandbox
    from ponder.sandbox.limits import SandboxUnavailable

    try:
        default_sandbox()
    except SandboxUnavailable as error:
        pytest.skip(f"programs cannot be walled off here: {error}")
    test = {"mode": "call", "entry": "f", "cases": [[[1], 2], [[5], 10]]}
    problem = Problem("code", "Write f.", "", {"test": test})
    programs = ("def f(x):\n    return 2 * x", "def f(x):\n    return 2", "import sys; sys.exit(0)")
    texts = say(*(f"<think>x</think><answer>\n```python\n{code}\n```\n</answer>" for code in programs))
    scores = compose(parts_of([{"name": "code", "partial": True}]))([problem] * 3, texts)
    assert [(s.value, s.correct) for s in scores] == [(1.0, True), (0.5, False), (0.0, False)]


# ---- verl's functions ----


def verl_gsm8k(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    """Of verl's shape."""
    return 1.0 if f"#### {ground_truth}" in solution_str else 0.0


def verl_dict(data_source: Any, solution_str: Any, ground_truth: Any, extra_info: Any, **kwargs: Any) -> dict[str, Any]:
    right = solution_str.strip() == ground_truth
    return {"score": 1.0 if right else -1.0, "acc": right, "pred": solution_str, "length": len(solution_str)}


async def verl_async(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    return float(solution_str == ground_truth)


def test_verls_functions_are_known_by_their_parameters(sums: Problem, say: Say) -> None:
    reward = compose([reward_part(verl_gsm8k), reward_part(verl_async)])
    assert [s.value for s in reward([sums] * 3, say("so #### 2", "2", "x"))] == [1.0, 1.0, 0.0]


def test_a_mapping_gives_score_verdict_and_parts(sums: Problem, say: Say) -> None:
    right, wrong = compose([reward_part(verl_dict)])([sums] * 2, say("2", "34"))
    assert (right.value, right.correct) == (1.0, True) and (wrong.value, wrong.correct) == (-1.0, False)
    assert wrong.parts == {"verl_dict": -1.0, "verl_dict/acc": 0.0, "verl_dict/length": 2.0}


def test_verls_arguments_are_the_rows_own(say: Say) -> None:
    seen: list[tuple[Any, ...]] = []

    def compute_score(data_source: Any, solution_str: Any, ground_truth: Any, extra_info: Any = None) -> float:
        seen.append((data_source, solution_str, ground_truth, extra_info))
        return 0.0

    data = {"data_source": "gsm8k", "reward_model": {"ground_truth": "72"}, "extra_info": {"index": 3}}
    compose([reward_part(compute_score)])(
        [Problem("math", "?", "72.0", data), Problem("math", "?", "7", {"row": 1})], say("a", "b")
    )
    assert seen == [("gsm8k", "a", "72", {"index": 3}), ("math", "b", "7", {"row": 1})]


def test_a_function_that_takes_less_gets_less(sums: Problem, say: Say) -> None:
    def compute_score(solution_str: str, ground_truth: str) -> bool:
        return solution_str == ground_truth

    assert compose([reward_part(compute_score)])([sums], say("2"))[0].value == 1.0


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"acc": 1}, "returned a mapping without 'score' .it has acc"),
        ("good", "returned 'good', not a finite number"),
        ({"score": float("inf")}, "returned inf"),
        (ValueError("no"), r"raised ValueError: no on problem \w+, completion 'x'"),
    ],
)
def test_what_verls_functions_return_is_checked(returned: Any, message: str, sums: Problem, say: Say) -> None:
    def compute_score(solution_str: str, ground_truth: str) -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    with pytest.raises(PonderError, match=f"reward 'compute_score'.*{message}"):
        compose([reward_part(compute_score)])([sums], say("x"))


def test_verls_none_is_unknown(sums: Problem, say: Say) -> None:
    def compute_score(solution_str: str, ground_truth: str) -> Any:
        return {"score": None, "note": "no verdict"}

    assert compose([reward_part(compute_score)])([sums], say("x"))[0].value is None


def test_verls_functions_come_from_a_file(tmp_path: Path, sums: Problem, say: Say) -> None:
    file = tmp_path / "gsm.py"
    file.write_text(
        textwrap.dedent("""
        def compute_score(data_source, solution_str, ground_truth, extra_info=None, method="strict", format_score=0.0):
            return 1.0 if ground_truth in solution_str else format_score
        """)
    )
    reward = compose(parts_of([{"name": f"{file}:compute_score", "label": "gsm", "format_score": 0.1}]))
    assert [s.parts for s in reward([sums] * 2, say("2", "3"))] == [{"gsm": 1.0}, {"gsm": 0.1}]


def test_a_function_of_our_own_shape_is_called_as_such(sums: Problem, say: Say) -> None:
    def mine(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        return [Score(1.0, True, {"tests": 0.5}) for _ in completions]

    (score,) = compose([RewardPart("mine", mine, weight=2.0)])([sums], say("x"))
    assert (score.value, score.correct, score.parts) == (2.0, True, {"mine": 1.0, "mine/tests": 0.5})
