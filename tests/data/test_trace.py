from __future__ import annotations

import json

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.data.trace import messages_of, problem_of, read_traces, trace_of
from ponder.sampling.endpoint import Reply
from ponder.tasks import KINDS, TASKS
from ponder.tasks.rows import problem_of as row_problem

SUM = Problem("arithmetic", "What is 2 + 2?", "4", {"lang": "en", "level": 1})
MATHS = row_problem("row", {"problem": "Half of one?", "answer": "\\frac{1}{2}"})
CHOICE = row_problem("row", {"question": "Which is red?", "choices": ["sky", "rose", "grass"], "answer": "B"})


def made(problem, text, finish="stop", prompt="P", **more):
    completion = Completion((1, 2), (3, 4, 5), (), text, finish)
    return trace_of(problem, completion, prompt=prompt, sample=2, provenance={"teacher": "t"}, **more)


def tagged(answer, thought="hm"):
    return f"<think>\n{thought}\n</think>\n<answer>{answer}</answer>"


def test_a_row_says_all():
    row = made(SUM, tagged("4"), seconds=0.5)
    assert row == {
        "id": SUM.id, "task": "arithmetic", "problem": SUM.prompt, "answer": "4", "data": {"lang": "en", "level": 1},
        "prompt": "P", "completion": tagged("4"), "reasoning": "hm", "response": "<answer>4</answer>", "finish": "stop",
        "prompt_tokens": 2, "completion_tokens": 3, "sample": 2, "correct": True, "correct_lenient": True,
        "well_formed": True, "score": 1.0, "parts": {}, "note": row["note"], "seconds": 0.5, "cost": None,
        "provenance": {"teacher": "t"},
    }  # fmt: skip
    assert problem_of(json.loads(json.dumps(row))) == SUM


@pytest.mark.parametrize(
    "problem, text, correct, lenient, formed",
    [
        (SUM, tagged("4"), True, True, True),
        (SUM, tagged("5"), False, False, True),
        (SUM, tagged("4") + " or 5", True, True, False),  # right where it should stand; the form is another matter
        (SUM, tagged("5") + " The answer is 4", False, False, False),  # both readings keep to the tag
        (SUM, "The answer is 4.", False, True, False),
        (SUM, "<think>\n4", False, True, False),
        (SUM, "", False, False, False),
        (MATHS, "<think>\nhm\n</think>\nSo \\boxed{0.5}", True, True, False),
        (MATHS, tagged("1/2"), True, True, True),
        (MATHS, "<think>\nhm\n</think>\nThe answer is 0.5.", False, True, False),
        (MATHS, "<think>\n\\boxed{0.5}\n</think>\nI do not know.", False, False, False),  # not inside the thought
        (MATHS, "<think>\nhm\n</think>\nSo \\boxed{0.6}", False, False, False),
        (CHOICE, tagged("B"), True, True, True),
        (CHOICE, "<think>\nhm\n</think>\nThe answer is (B).", False, True, False),
        (CHOICE, tagged("C"), False, False, True),
    ],
)
def test_both_readings(problem, text, correct, lenient, formed):
    row = made(problem, text)
    assert (row["correct"], row["correct_lenient"], row["well_formed"]) == (correct, lenient, formed)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_graded_by_its_own_grader(kind):
    for problem in TASKS[kind].problems("train", 3):
        gold = TASKS[kind].gold(problem) if hasattr(TASKS[kind], "gold") else problem.answer
        assert made(problem, tagged(gold))["correct"] is True
        assert made(problem, tagged("no such thing"))["correct"] is False


def test_code_of_files_is_the_whole_response():
    problem = row_problem(
        "row", {"prompt": "def twice(x):", "test_list": ["assert twice(2) == 4"], "code": "def twice(x): return 2 * x"}
    )
    good = "<think>\nhm\n</think>\n```python\ndef twice(x):\n    return x + x\n```"
    row = made(problem, good)
    assert row["correct"] is True and row["correct_lenient"] is True
    assert made(problem, good.replace("x + x", "x"))["correct"] is False


def test_given_up_is_unknown_and_cut_is_wrong():
    row = made(SUM, "", "abort")
    assert row["correct"] is None and row["correct_lenient"] is None and row["score"] is None and row["note"]
    assert made(SUM, "<think>\nhm", "length")["correct"] is False


def test_a_prompt_that_opened_the_thought():
    row = made(SUM, "hm\n</think>\n<answer>4</answer>", prompt="Q\n<think>\n")
    assert row["well_formed"] and row["correct"] and row["reasoning"] == "hm"


def test_a_reward_in_place_of_the_grader():
    row = made(SUM, tagged("5"), score=Score(0.7, True, {"accuracy": 1.0}, "said so"))
    assert (row["score"], row["correct"], row["parts"], row["note"]) == (0.7, True, {"accuracy": 1.0}, "said so")
    row = made(SUM, tagged("5"), score=Score(0.7, None, {"length": 0.7}))  # it says nothing of what is right
    assert (row["score"], row["correct"]) == (0.7, False)


def test_what_an_endpoint_tells():
    reply = Reply((), (), (), "4", "stop", prompt_tokens=7, completion_tokens=None, cost=0.1, note="finish_reason None")
    row = trace_of(SUM, reply, prompt="P", sample=0, provenance={})
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost"]) == (7, None, 0.1)
    assert row["note"] == "finish_reason None"


def test_a_task_without_a_grader():
    with pytest.raises(PonderError, match="task 'riddles' has no grader"):
        made(Problem("riddles", "?", "!"), "!")


def test_a_changed_row_is_told():
    row = made(SUM, tagged("4")) | {"answer": "5"}
    with pytest.raises(PonderError, match="was changed"):
        problem_of(row)


# ---- messages ----


def test_messages_with_the_thought_as_the_teacher_wrote_it():
    text = "<think>\nhm \n</think>\n\n<answer>4</answer>"
    row = messages_of(made(SUM, text))
    assert row["messages"] == [{"role": "user", "content": SUM.prompt}, {"role": "assistant", "content": text}]
    assert (row["id"], row["task"], row["sample"], row["provenance"]) == (SUM.id, "arithmetic", 2, {"teacher": "t"})


def test_messages_by_option():
    trace = made(SUM, tagged("4"))
    last = lambda **how: messages_of(trace, **how)["messages"][-1]  # noqa: E731
    assert last(thought="drop") == {"role": "assistant", "content": "<answer>4</answer>"}
    assert last(thought="empty")["content"] == "<think>\n\n</think>\n<answer>4</answer>"
    assert last(inline=False) == {
        "role": "assistant", "content": "<answer>4</answer>", "reasoning_content": "hm",
    }  # fmt: skip
    turns = messages_of(trace, flag="user", system="Be kind.", language="problem")["messages"]
    assert turns[0] == {"role": "system", "content": "Be kind.\nThink and answer in English."}
    assert turns[1]["content"] == f"{SUM.prompt} /think"
    turns = messages_of(trace, thought="drop", flag="system")["messages"]
    assert turns[0]["content"] == "/no_think" and turns[1]["content"] == SUM.prompt


def test_a_thought_that_the_prompt_opened_gets_its_tag():
    trace = made(SUM, "hm\n</think>\n<answer>4</answer>", prompt="Q\n<think>\n")
    assert messages_of(trace)["messages"][-1]["content"] == tagged("4")


@pytest.mark.parametrize(
    "text, how, line",
    [
        ("<think>\nhm", {}, "nothing follows the thought"),
        ("4", {}, "no thought to keep"),
        (tagged("4"), {"thought": "hide"}, "thought is 'hide': one of keep, drop, empty"),
        (tagged("4"), {"flag": "both"}, "flag is 'both'"),
        (tagged("4"), {"language": "fr"}, "language 'fr' is none of en, de"),
    ],
)
def test_what_cannot_be_a_conversation(text, how, line):
    with pytest.raises(PonderError, match=line):
        messages_of(made(SUM, text), **how)


def test_reading_a_file(tmp_path):
    file = tmp_path / "traces.jsonl"
    good = made(SUM, tagged("4"))
    file.write_text(json.dumps(good) + "\n" + json.dumps({k: v for k, v in good.items() if k != "task"}) + "\n")
    with pytest.raises(PonderError, match=r"traces.jsonl, row 2: task is missing"):
        read_traces(file)
    file.write_text(json.dumps(good) + "\n" + json.dumps(good | {"sample": "1"}) + "\n")
    with pytest.raises(PonderError, match=r"row 2: sample is a str"):
        read_traces(file)
    file.write_text(json.dumps(good) + "\n")
    assert read_traces(file) == [good]
