"""All 541 prompts of IFEval: every row is read, and graded whatever the response."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ponder.verify.instructions import INSTRUCTIONS, check_instructions, verify_instructions

DATA = Path(os.environ.get("PONDER_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    path = DATA / "ifeval_input_data.jsonl"
    if not path.exists():
        pytest.skip("ifeval_input_data.jsonl is not at hand (looked in ../shared/data)")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def graded(row: dict[str, Any], response: str, loose: bool = False) -> tuple[bool, ...]:
    found = verify_instructions(response, row["instruction_id_list"], row["kwargs"], prompt=row["prompt"], loose=loose)
    assert found.correct == all(found.followed) and len(found.followed) == len(row["instruction_id_list"])
    return found.followed


def test_every_row_is_read_and_every_instruction_is_met(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 541
    seen = Counter(name for row in rows for name in row["instruction_id_list"])
    assert set(seen) == set(INSTRUCTIONS) and sum(seen.values()) == 834
    for row in rows:
        check_instructions(row["instruction_id_list"], row["kwargs"], row["prompt"])


def test_a_blank_response_follows_nothing(rows: list[dict[str, Any]]) -> None:
    assert not any(any(graded(row, text, loose)) for row in rows for text in ("", " \n") for loose in (False, True))


def test_prompts_and_random_texts_get_a_verdict(rows: list[dict[str, Any]]) -> None:
    rng = random.Random("responses")
    signs = "abcXYZ .,!?*-<>[]{}\"'\n\t0123éßñ中अ😀\u200c\x00"
    followed = 0
    for row in rows:
        text = "".join(rng.choices(signs, k=rng.randrange(1, 300)))
        for response in (text, row["prompt"]):
            strict, loose = graded(row, response), graded(row, response, loose=True)
            assert all(late or not early for early, late in zip(strict, loose, strict=True))
        followed += sum(strict)
    assert 200 < followed < 800  # a prompt repeats itself, has words, and seldom is JSON


def test_a_prompt_that_is_repeated_is_recognised(rows: list[dict[str, Any]]) -> None:
    found = 0
    for row in rows:
        for name, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            if name == "combination:repeat_prompt":
                right = kwargs["prompt_to_repeat"] + "\nHere is my answer."
                assert verify_instructions(right, [name], [kwargs]).correct
                assert not verify_instructions("Sure. " + right, [name], [kwargs]).correct
                found += 1
    assert found == 41


HUGE = ["[", "*", "<", " ", "\n", "a", "p.", ". ", "*\n", '{"a":', "Hello WORLD. ", "I'm ", "é", "\" '", "- x\n"]


@pytest.mark.parametrize("unit", HUGE)
def test_a_megabyte_is_graded_in_time(unit: str, rows: list[dict[str, Any]]) -> None:
    """Linear: processor time, so that other work on the machine does not count."""
    text = unit * (10**6 // len(unit)) + "x"
    arguments = {
        name: given for row in rows for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True)
    }
    for name, given in arguments.items():
        start = time.process_time()
        verify_instructions(text, [name], [given])
        assert time.process_time() - start < 2.0, name
