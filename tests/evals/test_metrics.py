"""Metrics against values worked out by hand, and against public cases where they are at hand."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ponder.core.errors import PonderError
from ponder.evals.metrics import (
    avg_at_k,
    bootstrap,
    clustered,
    g_pass_at_k,
    maj_at_k,
    paired_bootstrap,
    paired_ratio,
    pass_at_k,
    resample,
    wilson,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def cases(name: str) -> list[dict]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand (looked in ../shared/data)")
    return json.loads(path.read_text())["test_cases"]


# ---- pass@k, avg@k ---------------------------------------------------------------------------------------------------


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 0, 2) == 0.0
    assert pass_at_k(4, 1, 2) == pytest.approx(0.5)  # 1 - C(3,2)/C(4,2) = 1 - 3/6
    assert pass_at_k(5, 2, 3) == pytest.approx(0.9)  # 1 - C(3,3)/C(5,3) = 1 - 1/10
    assert pass_at_k(4, 3, 2) == 1.0  # two of four must meet a right one
    assert pass_at_k(7, 3, 1) == pytest.approx(3 / 7)
    assert pass_at_k(2000, 1000, 64) == pytest.approx(1.0)


def test_pass_at_k_is_the_mean_over_subsets() -> None:
    from itertools import combinations

    correct = [True, False, False, True, False, False]
    for k in range(1, 7):
        subsets = list(combinations(correct, k))
        assert pass_at_k(6, 2, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("n", "right", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 2), (4, -1, 2)])
def test_pass_at_k_refuses_what_makes_no_sense(n: int, right: int, k: int) -> None:
    with pytest.raises(PonderError):
        pass_at_k(n, right, k)


def test_avg_at_k() -> None:
    assert avg_at_k([True, False, False, True]) == 0.5
    with pytest.raises(PonderError, match="no samples"):
        avg_at_k([])


def test_g_pass_at_k_by_hand() -> None:
    # 4 samples, 2 right, 2 drawn: both right in C(2,2)/C(4,2) = 1/6; at least one in 5/6
    assert g_pass_at_k(4, 2, 2, 1.0) == pytest.approx(1 / 6)
    assert g_pass_at_k(4, 2, 2, 0.5) == pytest.approx(5 / 6)
    assert g_pass_at_k(4, 2, 2, 0.0) == pytest.approx(pass_at_k(4, 2, 2))


# ---- maj@k -----------------------------------------------------------------------------------------------------------


def test_majority_wins_and_loses() -> None:
    assert maj_at_k(["7", "7", "8"], [True, True, False], 3) == 1.0
    assert maj_at_k(["7", "8", "8"], [True, False, False], 3) == 0.0


def test_ties_are_averaged() -> None:
    assert maj_at_k(["7", "8"], [True, False], 2) == 0.5
    assert maj_at_k(["7", "8", "9"], [True, False, False], 3) == pytest.approx(1 / 3)


def test_none_never_wins() -> None:
    assert maj_at_k([None, None, "7"], [False, False, True], 3) == 1.0
    assert maj_at_k([None, None, None], [False, False, False], 3) == 0.0


def test_maj_at_one_is_the_mean_and_smaller_k_is_over_all_subsets() -> None:
    answers, correct = ["7", "7", "8", None], [True, True, False, False]
    assert maj_at_k(answers, correct, 1) == pytest.approx(0.5)
    # pairs: 77 -> 1; 78 (two ways) -> 1/2 each; 7None (two ways) -> 1 each; 8None -> 0: 4 of 6
    assert maj_at_k(answers, correct, 2) == pytest.approx(4 / 6)


def test_many_subsets_are_sampled_by_name() -> None:
    answers = ["7"] * 12 + ["8"] * 8
    correct = [True] * 12 + [False] * 8
    first = maj_at_k(answers, correct, 9, "a problem")
    assert first == maj_at_k(answers, correct, 9, "a problem")
    # P(at least 5 of 9 drawn from 12 + 8 are right), hypergeometric
    exact = sum(math.comb(12, j) * math.comb(8, 9 - j) for j in range(5, 10)) / math.comb(20, 9)
    assert first == pytest.approx(exact, abs=0.05)


# ---- intervals -------------------------------------------------------------------------------------------------------


def test_wilson_by_hand() -> None:
    # 8 of 10, z = 1.959964: (0.8 + 0.192073) / 1.384146 -+ 1.959964 * sqrt(0.016 + 0.0096036) / 1.384146
    got = wilson(8, 10)
    assert (got.value, got.n) == (0.8, 10)
    assert got.low == pytest.approx(0.49016, abs=1e-4)
    assert got.high == pytest.approx(0.94332, abs=1e-4)


def test_wilson_at_the_edges() -> None:
    none, every, empty = wilson(0, 20), wilson(20, 20), wilson(0, 0)
    assert none.low == 0.0 and none.high == pytest.approx(0.16113, abs=1e-4)
    assert every.high == 1.0 and every.low == pytest.approx(1 - 0.16113, abs=1e-4)
    assert (empty.value, empty.low, empty.high, empty.n) == (None, None, None, 0)


def test_bootstrap_matches_the_standard_error_of_a_mean() -> None:
    values = [0.0, 0.25, 0.5, 1.0] * 50
    got = bootstrap(values, "spread")
    error = np.std(values) / math.sqrt(len(values))
    assert got.value == pytest.approx(0.4375)
    assert got.low == pytest.approx(0.4375 - 1.96 * error, abs=0.012)
    assert got.high == pytest.approx(0.4375 + 1.96 * error, abs=0.012)


def test_bootstrap_is_fixed_by_its_name() -> None:
    values = list(np.linspace(0, 1, 40))
    assert bootstrap(values, "a") == bootstrap(values, "a")
    assert bootstrap(values, "a") != bootstrap(values, "b")


def test_problems_are_the_unit_not_samples() -> None:
    """Eight copies of the same verdict add nothing: the interval is that of the problems."""
    verdicts_P = np.array([1.0, 0.0] * 20)
    once = clustered(verdicts_P, np.ones(40), "unit")[0]
    copied = clustered(8 * verdicts_P, 8 * np.ones(40), "unit")[0]
    assert (once.low, once.high) == (copied.low, copied.high)
    as_if_independent = wilson(160, 320)
    assert copied.high - copied.low > 2 * (as_if_independent.high - as_if_independent.low)


def test_clustered_weighs_problems_by_their_samples_and_skips_empty_ones() -> None:
    got = clustered(np.array([1.0, 3.0, 0.0]), np.array([4.0, 4.0, 0.0]), "ratio")[0]
    assert got.value == pytest.approx(0.5) and got.n == 2
    nothing = clustered(np.zeros(3), np.zeros(3), "ratio")[0]
    assert nothing.value is None and nothing.n == 0
    assert clustered(np.zeros((0, 2)), np.zeros((0, 2)), "empty")[1].value is None


def test_all_right_keeps_an_honest_interval() -> None:
    got = bootstrap([1.0] * 20, "edge", proportion=True)
    assert got.value == 1.0 and got.low == pytest.approx(1 - 0.16113, abs=1e-4)


def test_one_problem_has_no_spread() -> None:
    got = bootstrap([0.5], "one")
    assert (got.value, got.low, got.high) == (0.5, None, None)


def test_resample_rows_sum_to_n_and_cannot_be_changed() -> None:
    weights = resample(17, 50, "rows")
    assert weights.shape == (50, 17) and (weights.sum(1) == 17).all()
    with pytest.raises(ValueError):
        weights[0, 0] = 3


def test_paired_is_narrower_than_unpaired_and_has_a_sign() -> None:
    rng = np.random.default_rng(7)
    a = rng.random(200)
    b = a + 0.05 + 0.01 * rng.random(200)
    got = paired_bootstrap(a, b, "pair")
    assert got.value == pytest.approx(0.055, abs=0.002)
    assert 0.05 < got.low < got.high < 0.06
    back = paired_bootstrap(b, a, "pair")
    assert back.value == pytest.approx(-got.value) and back.high < 0


def test_paired_ratio_by_hand() -> None:
    got = paired_ratio([1, 1], [2, 2], [3, 1], [2, 2], "ratio")
    assert got.value == pytest.approx(4 / 4 - 2 / 4)
    assert paired_ratio([0, 0], [0, 0], [1, 1], [1, 1], "ratio").value is None
    with pytest.raises(PonderError, match="pair the problems"):
        paired_ratio([1], [1, 1], [1, 1], [1, 1], "ratio")


# ---- public cases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lighteval_pass_at_k.json", "lighteval_pass_at_k_math.json"])
def test_pass_at_k_on_public_cases(name: str) -> None:
    for case in cases(name):
        correct = graded(case)
        k, n = case["metric_params"]["k"], case["metric_params"]["n"]
        (want,) = case["expected_output"].values()
        assert pass_at_k(n, sum(correct), k) == pytest.approx(want, abs=case["tolerance"]), case["name"]


def test_avg_at_k_on_public_cases() -> None:
    for case in cases("lighteval_avg_at_k_math.json"):
        (want,) = case["expected_output"].values()
        assert avg_at_k(graded(case)) == pytest.approx(want, abs=case["tolerance"]), case["name"]


def test_maj_at_k_on_public_cases() -> None:
    for case in cases("lighteval_maj_at_k.json"):
        (want,) = case["expected_output"].values()
        got = maj_at_k(case["model_response"]["text"], graded(case), case["metric_params"]["k"])
        if case["name"].endswith("No Majority"):  # their first answer wins a tie; ours averages the tied ones
            want = 1 / 3
        assert got == pytest.approx(want, abs=case["tolerance"]), case["name"]


def test_g_pass_at_k_on_public_cases() -> None:
    checked = 0
    for case in cases("lighteval_g_pass_at_k_math.json"):
        params = case["metric_params"]
        try:
            gold = Fraction(case["doc"]["choices"][case["doc"]["gold_index"]])
            correct = [number(text) == gold for text in case["model_response"]["text"]]
        except ValueError:
            continue  # symbolic golds are refused by the extractor behind the expected numbers, not by the metric
        ks = params["k"] if isinstance(params["k"], list) else [params["k"]]
        for k in ks:
            for threshold in params["thresholds"]:
                want = case["expected_output"].get(f"math_g-pass@{k}_{threshold}")
                if want is None or params["n"] != len(correct):
                    continue
                assert g_pass_at_k(len(correct), sum(correct), k, threshold) == pytest.approx(
                    want, abs=case["tolerance"]
                ), case["name"]
                checked += 1
    assert checked > 20


def test_reward_model_example_gives_its_known_numbers() -> None:
    """100 problems x 8 real samples. The grader behind the known numbers accepts one sample more, the only right one
    of its problem; that lifts pass@k by (k / 8) / 100, so each figure is known exactly."""
    path = DATA / "qwen_rm_maj_math_cot_100.jsonl"
    if not path.exists():
        pytest.skip("qwen_rm_maj_math_cot_100.jsonl is not at hand (looked in ../shared/data)")
    known = json.loads((DATA / "qwen_rm_maj_reference_numbers.json").read_text())
    verdicts = [[bool(s) for s in json.loads(line)["score"]] for line in path.read_text().splitlines()]
    assert np.mean([avg_at_k(row) for row in verdicts]) == pytest.approx(known["avg@8"] - 1 / 800)
    for k in (1, 2, 4, 8):
        got = np.mean([pass_at_k(8, sum(row), k) for row in verdicts])
        assert got == pytest.approx(known[f"pass@{k}"] - k / 800)


def test_graded_samples_give_the_known_table() -> None:
    """7 problems x 3 samples: average, majority with ties averaged, and pass@3 as published beside them."""
    folder = DATA / "nemo_skills_metrics"
    if not folder.exists():
        pytest.skip("nemo_skills_metrics is not at hand (looked in ../shared/data)")
    runs = [
        [json.loads(line) for line in (folder / f"hendrycks_math_output-rs{i}.jsonl").read_text().splitlines()]
        for i in range(3)
    ]
    problems = [[run[i] for run in runs] for i in range(len(runs[0]))]
    right = [[bool(row["symbolic_correct"]) for row in rows] for rows in problems]
    answers = [[row["predicted_answer"] for row in rows] for rows in problems]
    assert len(problems) == 7
    assert 100 * np.mean([avg_at_k(r) for r in right]) == pytest.approx(71.43, abs=0.01)
    assert 100 * np.mean([maj_at_k(a, r, 3) for a, r in zip(answers, right, strict=True)]) == pytest.approx(
        76.19, abs=0.01
    )
    assert 100 * np.mean([pass_at_k(3, sum(r), 3) for r in right]) == pytest.approx(85.71, abs=0.01)


def number(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except ValueError:
        return None


def graded(case: dict) -> list[bool]:
    gold = case["doc"]["gold_index"]
    golds = {case["doc"]["choices"][i] for i in (gold if isinstance(gold, list) else [gold])}
    return [text in golds for text in case["model_response"]["text"]]
