"""Preference rows: tokens and masks of both sides, both modes, and what cannot be learnt from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from preference_world import TEMPLATE, make_pairs, make_settings, run
from tiny_world import make_model, make_tokenizer

from ponder.core.errors import PonderError
from ponder.models.encode import Encoded
from ponder.tasks.shapes import Preference
from ponder.training.distributed import World
from ponder.training.preference import train_preference
from ponder.training.preference_rows import encode_pairs

CONTEXT = 64


def encoded(pairs: list[Preference], length: int = CONTEXT, truncation: Any = "drop") -> Any:
    return encode_pairs(pairs, make_tokenizer(), length, truncation)


def user(text: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": text},)


def said(text: str) -> tuple[dict[str, str], ...]:
    return ({"role": "assistant", "content": text},)


def test_text_rows_are_prompt_completion_and_end_token() -> None:
    tokenizer = make_tokenizer()
    pair = encoded([Preference("1+1=?", "2", "3", 7)]).pairs[0]
    assert tokenizer.decode(pair.chosen.ids) == "1+1=?2<eos>" and tokenizer.decode(pair.rejected.ids) == "1+1=?3<eos>"
    assert pair.chosen.mask == pair.rejected.mask == (False,) * 5 + (True, True)
    assert pair.row == 7 and pair.length == 14


@pytest.mark.parametrize("thinking", [True, False, None])
def test_message_rows_in_both_modes(thinking: bool | None) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    arguments = {} if thinking is None else {"enable_thinking": thinking}
    row = Preference(user("1+1=?"), said("<think>1</think>2"), said("3"), 1, arguments)
    pair = encode_pairs([row], tokenizer, CONTEXT, "drop").pairs[0]

    def text(side: Encoded, learnt: bool) -> str:
        return str(tokenizer.decode([t for t, m in zip(side.ids, side.mask, strict=True) if m == learnt]))

    before = text(pair.chosen, False)
    assert [text(pair.chosen, True), text(pair.rejected, True)] == ["<think>1</think>2<eos>", "3<eos>"]
    assert before.endswith("<think></think>" if thinking is False else "=")


def test_sides_that_repeat_the_prompt_are_the_same_rows() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    bare = Preference(user("1+1=?"), said("2"), said("3"), 1)
    whole = Preference(user("1+1=?"), user("1+1=?") + said("2"), user("1+1=?") + said("3"), 1)
    text = Preference("1+1=?", user("1+1=?") + said("2"), said("3"), 1)
    found = [encode_pairs([row], tokenizer, CONTEXT, "drop").pairs for row in (bare, whole, text)]
    assert found[0] == found[1] == found[2]


def test_rows_that_cannot_be_learnt_from_are_counted_and_named(caplog: Any, tmp_path: Path) -> None:
    rows = [
        *make_pairs(6),
        Preference("1", "a", "a", 7),
        Preference("1", " ", "a", 8),
        Preference("1", "a", "b" * 80, 9),
        Preference("1" * 70, "a", "b", 10),
        Preference("2", "b", "b", 11),
    ]
    with caplog.at_level(logging.WARNING, "ponder"):
        result = run(World(), tmp_path, {"max_steps": 1}, rows)
    assert result["pairs"] == 6 and result["cut"] == 0
    assert result["dropped"] == {
        "chosen and rejected are equal": 2, "chosen: the completion is empty": 1, "longer than 64 tokens": 2,
    }  # fmt: skip
    assert "2 of 11 training pairs dropped: chosen and rejected are equal (row 7, 11)" in caplog.text
    assert "longer than 64 tokens (row 9, 10)" in caplog.text


def test_a_long_row_is_cut_where_that_is_asked_for(caplog: Any, tmp_path: Path) -> None:
    rows = [
        *make_pairs(6),
        Preference("1", "a", "b" * 80, 7),
        Preference("1" * 70, "a", "b", 8),
        Preference("1", "a" * 80 + "b", "a" * 80 + "c", 9),
    ]
    with caplog.at_level(logging.WARNING, "ponder"):
        result = run(World(), tmp_path, {"max_steps": 1, "truncation": "cut"}, rows)
    assert result["pairs"] == 7 and result["cut"] == 1
    assert result["dropped"] == {"the prompt fills the 64 tokens": 1, "chosen and rejected are equal once cut": 1}
    assert "1 of 9 training pairs cut at the end of the completion (row 7)" in caplog.text


@pytest.mark.parametrize(
    ("row", "changes", "line"),
    [
        (Preference("1", "a", "b" * 80, 3), {"truncation": "error"}, "row 3: 82 tokens, more than 64 .max_length."),
        (Preference(user("1"), said("a"), said("b"), 3), {}, "row 3: messages need a chat template"),
        (Preference(user("1"), "a", said("b"), 3), {}, "row 3: prompt is a list of messages and completion is text"),
        (
            Preference("1", "a", "b", 3, {"enable_thinking": False}),
            {},
            "row 3: chat_template_kwargs are given, but",
        ),
        (Preference("1", "a", "a", 3), {}, "none of the 1 pairs can be learnt from: .'chosen and"),
        (Preference("1", "a", "b", 3), {"max_length": 65}, "max_length is 65, more than the model's context of 64"),
    ],
)
def test_bad_rows_are_errors_of_one_line(row: Preference, changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(PonderError, match=line) as caught:
        run(World(), tmp_path, changes, [row])
    assert "\n" not in str(caught.value)


def test_a_side_without_an_assistant_turn_is_dropped() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    rows = [Preference(user("1"), said("a"), said("b"), 1), Preference(user("1"), user("1"), said("b"), 2)]
    found = encode_pairs(rows, tokenizer, CONTEXT, "drop")
    assert len(found.pairs) == 1 and found.dropped == {"chosen: no assistant turn": (2,)}


def test_smoothing_is_for_sigmoid_alone() -> None:
    with pytest.raises(ValueError, match="ipo knows none"):
        make_settings(loss_type="ipo", label_smoothing=0.1)


def test_a_settings_argument_gives_way_to_a_rows_own(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    own = Preference(user("1"), said("a"), said("b"), 1, {"enable_thinking": True})
    rows = [own, Preference(user("1"), said("a"), said("b"), 2)]
    found = encode_pairs(rows, tokenizer, CONTEXT, "drop", {"enable_thinking": False}).pairs
    texts = [tokenizer.decode(pair.chosen.ids) for pair in found]
    assert texts == ["?=1 a=a<eos>", "?=1 a=<think></think>a<eos>"]  # no token for the "u" of the user


def test_the_template_is_checked_before_the_first_step(tmp_path: Path, caplog: Any) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    rows = [Preference(user("1"), said("a</think>b"), said("b"), row, {"enable_thinking": True}) for row in (1, 2)]
    with caplog.at_level(logging.WARNING, "ponder"):
        train_preference(make_settings(max_steps=1), make_model(), tokenizer, rows, tmp_path)
    assert "an orphan </think>" in caplog.text
    assert "⟦a</think>b<eos>⟧" in (tmp_path / "template_check.txt").read_text(encoding="utf-8")
