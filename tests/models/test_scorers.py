"""Scorers: padding and company do not matter, tokens are where they should be, and mistakes are one line."""

from __future__ import annotations

import pytest
import torch

from ponder.core.errors import PonderError
from ponder.models.encode import Unusable
from ponder.models.heads import new_outcome_model, new_process_model
from ponder.models.load import load_model
from ponder.models.scorers import OutcomeScorer, StepScorer, tokens_of, tokens_of_steps

PROMPTS = ["What is 3+4*5?\n", "x\n", "Use 3 7 6 to make 45.\n", "What is 3+4*5?\n"]
RESPONSES = [
    "<think>\n4*5=20\n3+20=23\n</think>\n<answer>23</answer>",
    "8",
    "try 7*6+3=45 yes\nThe answer is 7*6+3.",
    "no",
]


@pytest.fixture(scope="module")
def mini():
    return load_model("mini", device="cpu")


@pytest.fixture(scope="module")
def outcome(mini):
    return OutcomeScorer(new_outcome_model(mini))


@pytest.fixture(scope="module")
def process(mini):
    return StepScorer(new_process_model(mini))


def test_a_row_is_scored_alone_as_in_company(outcome, process):
    together = outcome.score(PROMPTS, RESPONSES)
    alone = [outcome.score([p], [r])[0] for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == outcome.score(PROMPTS, RESPONSES), "the same again, bit for bit"
    assert len(set(together)) == 4
    steps = [process.split(r) for r in RESPONSES]
    many = process.score(PROMPTS, steps)
    few = StepScorer(process.head, token_budget=1).score(PROMPTS, steps)
    assert [len(row) for row in many] == [3, 1, 2, 1]
    for a, b in zip(many, few, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    assert all(0 <= score <= 1 for row in many for score in row)


def test_a_steps_score_does_not_know_what_follows(process):
    whole = process.split(RESPONSES[0])
    parts = process.score([PROMPTS[0]] * 3, [whole[:1], whole[:2], whole])
    assert parts[0] == pytest.approx(parts[2][:1], abs=1e-5) and parts[1] == pytest.approx(parts[2][:2], abs=1e-5)


def test_one_number_a_response(process):
    rows = process.score(PROMPTS, [process.split(r) for r in RESPONSES])
    assert process.score_responses(PROMPTS, RESPONSES, "min") == pytest.approx([min(row) for row in rows])
    assert process.score_responses(PROMPTS, RESPONSES, "last") == pytest.approx([row[-1] for row in rows])
    assert process.score_responses(["x"], [""]) == [0.0]
    assert process.score(["x"], [[]]) == [[]]
    with pytest.raises(PonderError, match="unknown aggregation"):
        process.score_responses(PROMPTS, RESPONSES, "most")


def test_rows_are_prompt_steps_and_separators(mini):
    row = tokens_of_steps(mini.tokenizer, "Q?\n", ["a b", "c"], "\n")
    assert mini.tokenizer.decode(row.ids) == "Q?\na b\nc\n"
    assert [mini.tokenizer.decode(row.ids[: end + 1]) for end in row.ends] == ["Q?\na b\n", "Q?\na b\nc\n"]
    outcome = tokens_of(mini.tokenizer, "Q?\n", "a")
    assert mini.tokenizer.decode(outcome) == "Q?\na" + mini.tokenizer.eos_token
    assert tokens_of(mini.tokenizer, "Q?\n", "a" + mini.tokenizer.eos_token) == outcome, "no second end"


def test_messages_end_with_their_end_token(mini):
    def said_by(role: str, content: str):
        return ({"role": role, "content": content},)

    said = tokens_of(mini.tokenizer, said_by("user", "Q"), said_by("assistant", "a"))
    rendered = mini.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Q"}], tokenize=False, add_generation_prompt=True
    )
    assert said == tokens_of(mini.tokenizer, rendered, "a")
    with pytest.raises(Unusable, match="row 7: .*empty"):
        tokens_of(mini.tokenizer, said_by("user", "Q"), said_by("assistant", " "), 7)
    assert tokens_of(mini.tokenizer, "Q", "") == (*mini.tokenizer("Q").input_ids, mini.tokenizer.eos_token_id)


def test_an_empty_response_and_one_that_fills_the_context_have_a_score(outcome):
    scores = outcome.score(["Q", "Q", "Q"], ["", " ", "1" * (outcome.head.context_length - 1)])
    assert all(isinstance(score, float) for score in scores)
    with pytest.raises(PonderError, match=r"row 2 to score has 514 tokens, and the context of mini is 512"):
        outcome.score(["Q", "Q"], ["a", "1" * outcome.head.context_length])


def test_a_model_gone_astray_is_one_line(mini, tmp_path):
    head = new_outcome_model(mini)
    with torch.no_grad():
        head.model.score.weight[0, 3] = float("nan")
    with pytest.raises(PonderError, match="mini scores row 1 as nan: its weights are damaged"):
        OutcomeScorer(head).score(["Q"], ["a"])
    steps = new_process_model(mini)
    with torch.no_grad():
        steps.model.score.bias[0] = float("nan")
    with pytest.raises(PonderError, match="mini scores row 1 as nan"):
        StepScorer(steps).score(["Q"], [["a"]])


def test_lists_that_do_not_fit(outcome, process):
    with pytest.raises(PonderError, match="2 as prompts and 1 responses"):
        outcome.score(["a", "b"], ["a"])
    with pytest.raises(PonderError, match="one text as prompts"):
        process.score("ab", [["a"], ["b"]])


def test_scoring_leaves_the_model_as_it_was(mini, process):
    process.head.model.train()
    process.score(["Q"], [["a"]])
    assert process.head.model.training
    process.head.model.eval()
    assert all(parameter.grad is None for parameter in process.head.model.parameters())
