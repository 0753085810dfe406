"""Rows of the shapes that are trained on: typed examples, and one line for each thing that is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.tasks.shapes import COLUMNS, Chat, Completed, Preference, Stepwise, Text, read_examples

USER, SAYS = {"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}
GOOD: list[tuple[dict[str, Any], Any]] = [
    ({"text": "Once"}, Text("Once", 1)),
    ({"messages": [USER, SAYS]}, Chat((USER, SAYS), 1)),
    ({"messages": json.dumps([USER])}, Chat((USER,), 1)),
    ({"prompt": "2+3=", "completion": "5"}, Completed("2+3=", "5", 1)),
    ({"prompt": [USER], "completion": [SAYS]}, Completed((USER,), (SAYS,), 1)),
    ({"prompt": "p", "chosen": "a", "rejected": "b", "text": "x"}, Preference("p", "a", "b", 1)),
    ({"prompt": "p", "chosen": [SAYS], "rejected": [USER]}, Preference("p", (SAYS,), (USER,), 1)),
    ({"prompt": "p", "completions": ["a", "b"], "labels": [True, 0]}, Stepwise("p", ("a", "b"), (True, False), 1)),
    ({"prompt": "p", "completions": '["a"]', "labels": "[1]"}, Stepwise("p", ("a",), (True,), 1)),
]


def rows(path: Path, *held: Any) -> Path:
    file = path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, held)))
    return file


@pytest.mark.parametrize(("row", "wanted"), GOOD)
def test_each_shape_is_found_by_its_columns(tmp_path: Path, row: dict[str, Any], wanted: Any) -> None:
    (found,) = read_examples(rows(tmp_path, row))
    assert found == wanted and type(found) is type(wanted)


BAD: list[tuple[Any, str]] = [
    ({"prompt": "p", "chosen": "a"}, "no rejected; a row of shape prompt [+] chosen [+] rejected needs it"),
    ({"chosen": "a", "rejected": "b"}, "no prompt"),
    ({"prompt": "p", "chosen": "a", "rejected": " "}, "rejected is empty"),
    ({"completion": "5"}, "no prompt; a row of shape prompt [+] completion"),
    ({"prompt": [USER], "completion": "5"}, "prompt is a list of messages and the rest is not"),
    ({"prompt": "p", "completions": ["a"]}, "no labels"),
    ({"prompt": "p", "completions": ["a", "b"], "labels": [True]}, "2 completions and 1 labels"),
    ({"prompt": "p", "completions": ["a"], "labels": ["good"]}, "labels is no list of true and false"),
    ({"prompt": "p", "completions": "a", "labels": [True]}, "completions is no list of texts"),
    ({"messages": "hello"}, "messages is no list of messages"),
    ({"messages": [USER, {"role": "wizard", "content": "x"}]}, "message 2 of messages has role 'wizard'"),
    ({"messages": [{"role": "user", "content": 5}]}, "message 1 of messages has no content that is text"),
    ({"messages": ["hi"]}, "message 1 of messages is no object"),
    ({"messages": "[{]"}, "messages looks like JSON and is not"),
    ({"text": 5}, "text holds a int"),
    ({"text": "\ud800"}, "text holds half a character"),
    ({"problem": "q"}, "columns problem are of no known shape; give one of: prompt [+] chosen"),
    ([1], "expected a JSON object, found list"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "said"), BAD)
def test_what_is_missing_is_named(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(PonderError, match=said) as error:
        read_examples(rows(tmp_path, row))
    assert str(error.value).startswith(f"{tmp_path / 'rows.jsonl'}, row 1: ") and "\n" not in str(error.value)


def test_a_file_is_of_one_shape_and_the_good_rows_are_kept(tmp_path: Path) -> None:
    file = rows(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "completion": "a"}, 5)
    found = read_examples(file, on_error="collect")
    assert list(found) == [Preference("p", "a", "b", 1)]
    assert [error.row for error in found.errors] == [2, 3] and "row 2: no chosen" in str(found.errors[0])


def test_the_shape_can_be_said(tmp_path: Path) -> None:
    file = rows(tmp_path, {"prompt": "p", "completion": "a", "text": "t"})
    assert list(read_examples(file)) == [Completed("p", "a", 1)] and list(read_examples(file, "text")) == [Text("t", 1)]
    with pytest.raises(PonderError, match=f"unknown shape 'dpo': one of {', '.join(COLUMNS)}"):
        read_examples(file, "dpo")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(PonderError, match="holds no rows"):
        read_examples(tmp_path / "empty.jsonl")


def test_a_row_may_bring_arguments_of_the_chat_template(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
             "chat_template_kwargs": {"enable_thinking": False, "tools": None}},
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row.chat_template_kwargs for row in read_examples(file)] == [{"enable_thinking": False}, {}]
    file.write_text(json.dumps({**rows[0], "chat_template_kwargs": [1]}))
    with pytest.raises(PonderError, match="row 1: chat_template_kwargs is no object"):
        read_examples(file)


def test_an_empty_completion_is_named_as_such(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a", "completion": "  "}))
    with pytest.raises(PonderError, match="row 1: completion is empty"):
        read_examples(file)


def test_sharegpt_rows_are_chats(tmp_path):
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    chat = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (
        {"conversations": turns, "id": 7}, {"conversations": turns, "system": "be brief"},
        {"conversations": list(chat)}, {"conversations": json.dumps(turns)},
    )))  # fmt: skip
    found = read_examples(file)
    brief = ({"role": "system", "content": "be brief"}, *chat)
    assert [row.messages for row in found] == [chat, brief, chat, chat]
    file.write_text(json.dumps({"conversations": [{"from": "nobody", "value": "a"}]}))
    with pytest.raises(PonderError, match="row 1: message 1 of messages has role 'nobody'"):
        read_examples(file)
    file.write_text(json.dumps({"conversations": "hello"}))
    with pytest.raises(PonderError, match="row 1: conversations is no list of turns"):
        read_examples(file)


def test_pairs_of_whole_conversations_have_the_prompt_in_themselves(tmp_path):
    ask = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    good, bad = {"role": "assistant", "content": "d"}, {"role": "assistant", "content": "e"}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"chosen": [*ask, good], "rejected": [*ask, bad]}) + "\n"
                    + json.dumps({"chosen": [*ask, good], "rejected": [*ask, good]}))  # fmt: skip
    found = read_examples(file)
    assert [(row.prompt, row.chosen, row.rejected) for row in found] == [
        (tuple(ask), (good,), (bad,)), (tuple(ask), (good,), (good,)),
    ]  # fmt: skip
    file.write_text(json.dumps({"chosen": [good], "rejected": [bad]}))
    with pytest.raises(PonderError, match="row 1: prompt is empty"):
        read_examples(file)


def test_a_side_that_is_the_whole_conversation_loses_the_prompt(tmp_path):
    ask, good, bad = ({"role": r, "content": c} for r, c in (("user", "a"), ("assistant", "d"), ("assistant", "e")))
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a", "chosen": [ask, good], "rejected": [ask, bad]}) + "\n"
                    + json.dumps({"prompt": [ask], "chosen": [ask, good], "rejected": [bad]}))  # fmt: skip
    assert [(row.prompt, row.chosen, row.rejected) for row in read_examples(file)] == [
        ("a", (good,), (bad,)), ((ask,), (good,), (bad,)),
    ]  # fmt: skip
