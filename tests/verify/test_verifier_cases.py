"""The grader on the labelled pairs kept beside the repository, and on answers that models gave."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ponder.verify.math import MathOptions, clear_cache, verify_math

DATA = Path(os.environ.get("PONDER_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
REAL = ("math500-qwen3-0.6b", "gsm8k-openai", "qwen-rm-maj-100", "rasbt-ch03")
needs = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no shared data at {DATA}; PONDER_SHARED_DATA names another place"
)


def rows(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@needs
def test_labelled_pairs() -> None:
    """No wrong answer is called right, real answers reach 0.993, all rows 0.99, in a median below one millisecond."""
    clear_cache()
    here = MathOptions(symbolic=False)
    found: Counter[tuple[bool, bool, bool | None]] = Counter()
    times = []
    for row in rows("verifier_cases.jsonl"):
        if row["convention"]:
            continue
        verdict = verify_math(row["pred"], row["gold"], row["form"], here)
        found[row["source"].startswith(REAL), row["expected"], verdict.correct] += 1
        times.append(verdict.ms)
    assert found[True, False, True] == found[False, False, True] == 0
    for group, least in (((True,), 0.993), ((True, False), 0.99)):
        here_rows = {key: n for key, n in found.items() if key[0] in group}
        agreed = sum(n for key, n in here_rows.items() if key[1] is key[2])
        assert agreed >= least * sum(here_rows.values()), here_rows
    assert sorted(times)[len(times) // 2] < 1


@needs
def test_hazards_are_answered_here() -> None:
    """Towers of powers, factorials and endless digits never reach a worker, and none takes a tenth of a second."""
    seen = 0
    for row in rows("verifier_cases.jsonl"):
        if row["source"].startswith("hazard"):
            clear_cache()
            verdict = verify_math(row["pred"], row["gold"], row["form"], MathOptions(symbolic=False))
            assert verdict.correct is row["expected"] and verdict.ms < 100
            seen += 1
    assert seen >= 6


@needs
def test_math500_gold_answers_are_right_of_themselves_and_of_nothing_else() -> None:
    here = MathOptions(symbolic=False)
    golds = [row["answer"] for row in json.loads((DATA / "math500_test.json").read_text(encoding="utf-8"))]
    for gold in golds:
        for text in (f"\\boxed{{{gold}}}", f"The answer is ${gold}$.", f"x</think><answer>{gold}</answer>"):
            assert verify_math(text, gold, options=here).correct is True, text
    other = [(a, b) for a, b in zip(golds, golds[7:] + golds[:7], strict=True) if a not in b and b not in a]
    assert not [pair for pair in other if verify_math(*pair, "bare", here).correct is not False]


@needs
def test_answers_of_a_small_model() -> None:
    for row in rows("math500_model_answers_labelled.jsonl"):
        if row["correct"] is not None:  # six leave out the base of a numeral
            verdict = verify_math(row["prediction"], row["gold"], options=MathOptions(symbolic=False))
            assert verdict.correct is row["correct"], row


@needs
def test_grade_school_solutions() -> None:
    for row in rows("gsm8k_model_solutions.jsonl"):
        gold = row["ground_truth"].rsplit("A: ", 1)[-1].strip()
        assert verify_math(row["ground_truth"], gold).correct is True
        for solution in row.values():
            if isinstance(solution, dict):
                verdict = verify_math(solution["solution"], gold, options=MathOptions(symbolic=False))
                assert verdict.correct is solution["is_correct"], solution
