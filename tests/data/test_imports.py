from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.data.import_shapes import read_row
from ponder.data.imports import import_traces
from ponder.data.trace import messages_of, problem_of, read_traces

SHARED = next(
    (p / "shared" / "data" for p in Path(__file__).resolve().parents if (p / "shared" / "data").is_dir()), None
)
THOUGHT, SAID = "2 and 2 make 4.", "It is \\boxed{4}."
WHOLE = f"<think>\n{THOUGHT}\n</think>\n{SAID}"
ASKED = {"problem": "What is 2+2?", "answer": "4"}


def imported(tmp_path: Path, *rows: Any, **more: Any) -> Any:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    counts, faults = import_traces(file, tmp_path / "out.jsonl", **more)
    return counts, faults, read_traces(tmp_path / "out.jsonl")


SHAPES: dict[str, dict[str, Any]] = {
    "real R1 traces": {
        "problem": "What is 2+2?", "gtruth_answer": "4", "message_thinking": THOUGHT, "message_content": SAID,
    },
    "open-r1": {**ASKED, "solution": "long\nwork", "generations": [WHOLE], "source": "olympiads"},
    "open-r1 without a closing form": {**ASKED, "generations": [f"{THOUGHT}\n</think>\n{SAID}"]},
    "messages": {"messages": [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": WHOLE}],
                 "answer": "4"},
    "messages with reasoning_content": {
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "What is 2+2?"},
                     {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT}], "answer": "4"},
    "OpenThoughts": {
        "conversations": [
            {"from": "user", "value": "What is 2+2?"},
            {"from": "assistant", "value": f"<|begin_of_thought|>\n\n{THOUGHT}\n\n<|end_of_thought|>\n\n"
                                           f"<|begin_of_solution|>\n\n{SAID}\n\n<|end_of_solution|>"}],
        "answer": "4"},
    "OpenThoughts metadata": {
        "problem": "What is 2+2?", "ground_truth_solution": "x", "deepseek_reasoning": THOUGHT,
        "deepseek_solution": SAID, "expected_answer": "4"},
    "s1K": {"question": "What is 2+2?", "solution": "4", "thinking_trajectories": [THOUGHT], "attempt": SAID},
    "s1K-1.1": {"question": "What is 2+2?", "solution": "4", "deepseek_thinking_trajectory": THOUGHT,
                "deepseek_attempt": SAID},
    "reasoning and response": {"prompt": "What is 2+2?", "answer": 4, "reasoning": THOUGHT, "response": SAID},
    "one text": {"question": "What is 2+2?", "answer": "4", "completion": WHOLE},
}  # fmt: skip


@pytest.mark.parametrize("row", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_one_trace(tmp_path, row):
    counts, faults, traces = imported(tmp_path, row, teacher="r1")
    assert faults == [] and counts["right"] == counts["samples"] == 1
    (trace,) = traces
    assert (trace["problem"], trace["answer"], trace["task"]) == ("What is 2+2?", "4", "math")
    assert (trace["completion"], trace["reasoning"], trace["response"]) == (WHOLE, THOUGHT, SAID)
    assert trace["provenance"]["teacher"] == "r1" and trace["provenance"]["row"] == 1
    assert trace["prompt_tokens"] is None and trace["completion_tokens"] is None
    assert problem_of(trace).answer == "4" and messages_of(trace)["messages"][-1]["content"] == WHOLE


@pytest.mark.skipif(SHARED is None, reason="the real traces are not on this machine")
@pytest.mark.parametrize("name", ["ollama", "openrouter"])
def test_real_traces_import_as_they_are(tmp_path, name):
    counts, faults = import_traces(SHARED / f"traces_{name}_sample.json", tmp_path / "out.jsonl", teacher="r1")
    assert faults == [] and (counts["rows"], counts["samples"], counts["right"], counts["unknown"]) == (5, 5, 5, 0)
    for trace, row in zip(
        read_traces(tmp_path / "out.jsonl"),
        json.loads((SHARED / f"traces_{name}_sample.json").read_text()),
        strict=True,
    ):
        assert trace["reasoning"] == row["message_thinking"].strip()
        assert trace["response"] == row["message_content"].strip() and trace["problem"] == row["problem"]


def test_several_generations_are_graded_each(tmp_path):
    row = {**ASKED, "generations": [WHOLE, WHOLE.replace("{4}", "{5}"), "  ", f"<think>\n{THOUGHT}"],
           "finish_reasons": ["stop", "stop", "stop", "length"], "uuid": "u-1"}  # fmt: skip
    counts, _, traces = imported(tmp_path, row, row)
    assert (counts["rows"], counts["samples"], counts["empty"], counts["truncated"]) == (2, 6, 2, 2)
    assert (counts["right"], counts["wrong"], counts["unknown"]) == (2, 4, 0)
    assert [trace["sample"] for trace in traces] == [0, 1, 2, 3, 4, 5]  # a problem that comes twice goes on counting
    assert traces[0]["provenance"]["columns"] == {"uuid": "u-1"}


def test_math_is_graded_by_its_tiers_and_other_kinds_by_theirs(tmp_path):
    rows = [
        {"problem": "Half?", "answer": "$\\frac{1}{2}$", "completion": "<think>x</think>So \\boxed{0.5}"},
        {"problem": "Roots?", "answer": "\\{1, 2\\}", "completion": "<think>x</think>\\boxed{\\{2, 1\\}}"},
        {"question": "Red?", "choices": ["sky", "rose"], "answer": "B", "output": "<think>x</think><answer>B</answer>"},
        {"problem": "Who?", "answer": "Anna", "completion": "<think>x</think><answer>anna</answer>"},
        {"problem": "Half?", "answer": "1/2", "completion": "<think>x</think>So \\boxed{0.6}"},
    ]  # fmt: skip
    counts, _, traces = imported(tmp_path, *rows)
    assert [trace["correct"] for trace in traces] == [True, True, True, True, False]
    assert [trace["task"] for trace in traces] == ["math", "math", "choice", "rows", "math"]


def test_without_a_reference_answer_it_is_unknown_and_counted(tmp_path):
    rows = [
        {"problem": "Prove it.", "completion": WHOLE},
        {"problem": "Why?", "solution": "First this.\nThen that.", "completion": WHOLE},
    ]
    counts, faults, traces = imported(tmp_path, *rows)
    assert faults == [] and counts["no_answer"] == counts["unknown"] == 2
    assert [trace["correct"] for trace in traces] == [None, None]


def test_malformed_rows_are_named_and_the_others_go_on(tmp_path):
    turn = {"role": "assistant", "content": WHOLE}
    bad: dict[Any, str] = {
        "{broken": "not JSON",
        "[1, 2]": "expected a JSON object",
        json.dumps({"x": 1}): "no trace in columns x",
        json.dumps({"answer": "4", "completion": WHOLE}): "no question",
        json.dumps({**ASKED, "completion": "  ", "generations": [" "]}): "every completion is empty",
        json.dumps({"messages": [{"role": "user", "content": "hi"}]}): "does not end with a turn of the assistant",
        json.dumps({"messages": [turn]}): "no user's turn",
        json.dumps({"messages": [{"role": "user"}, turn]}): "message 1 of messages has no role or no text",
        json.dumps({"messages": ["hi", turn]}): "message 1 of messages has no role",
        json.dumps({**ASKED, "generations": [1]}): "no list of texts",
        json.dumps({**ASKED, "reasoning": ["a", "b"], "response": "c"}): "reasoning holds a list",
        json.dumps({"problem": ["x"], "completion": WHOLE}): "problem holds a list",
        json.dumps({"problem": "x", "answer": {"a": 1}, "completion": WHOLE}): "answer holds a dict",
    }
    counts, faults, traces = imported(tmp_path, {**ASKED, "completion": WHOLE}, *bad, {**ASKED, "completion": WHOLE})
    assert counts["rows"] == len(bad) + 2 and counts["malformed"] == len(bad) == len(faults)
    for place, (fault, line) in enumerate(zip(faults, bad.values(), strict=True), 2):
        assert line in str(fault) and fault.row == place and f"{place}" in str(fault), str(fault)
    assert len(traces) == 2 and traces[1]["provenance"]["row"] == len(bad) + 2


def test_traces_are_graded_anew(tmp_path):
    _, _, (trace,) = imported(tmp_path, {**ASKED, "completion": WHOLE}, teacher="r1")
    counts, faults, (again,) = imported(tmp_path, {**trace, "correct": None, "finish": "length"})
    assert faults == [] and again["correct"] is True and again["finish"] == "length"
    assert again["provenance"]["teacher"] == "r1"
    with pytest.raises(PonderError, match="none of the 1 rows is a trace; the first: .*row 1: trace .*was changed"):
        imported(tmp_path, {**trace, "answer": "5"})


@pytest.mark.parametrize("content, line", [("", "holds no rows"), ("{broken\n", "none of the 1 rows is a trace")])
def test_a_file_without_any_trace_leaves_the_old_output(tmp_path, content, line):
    (tmp_path / "rows.jsonl").write_text(content)
    (tmp_path / "out.jsonl").write_text("as it was")
    with pytest.raises(PonderError, match=line):
        import_traces(tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


NAMES = sorted({name for row in SHAPES.values() for name in row} | {"finish_reasons", "choices", "test_list", "kwargs"})
CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=12) | st.just(WHOLE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "text", "label"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), CELLS, max_size=6))
def test_any_row_is_a_trace_or_is_named(row):
    try:
        read = read_row("file, row 3", row, 3)
    except PonderError as error:
        assert str(error).startswith("file, row 3")
    else:
        assert read.texts and len(read.texts) == len(read.finishes) and all(text.strip() for text in read.texts)
