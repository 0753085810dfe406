"""The template check: what is fatal, what is odd, and the print-out of what is learnt."""

from __future__ import annotations

from typing import Any

import pytest
from chat_templates import QWEN3, QWEN35, R1
from sft_world import CHATML, make_tokenizer

from ponder.core.errors import PonderError
from ponder.models.encode import Encoded, encode_example
from ponder.models.load import load_tokenizer
from ponder.models.template_check import TemplateReport, check_template, mask_text
from ponder.tasks.shapes import Chat, Completed, Example, Message, Text

ASK = {"role": "user", "content": "2+3?"}
SAY = {"role": "assistant", "content": "<think>\nadd\n</think>\n5"}


def check(tokenizer: Any, *examples: Example) -> TemplateReport:
    return check_template(tokenizer, examples, [encode_example(tokenizer, example) for example in examples])


def chat(*messages: Message, row: int = 1) -> Chat:
    return Chat(messages, row)


def test_a_plain_template_has_nothing_odd_and_shows_what_is_learnt() -> None:
    report = check(make_tokenizer(), chat(ASK, SAY), chat(ASK, SAY, ASK, SAY, row=2), Completed("2+3=", "5", 3))
    assert report.warnings == () and "nothing odd" in report.text
    assert "row 1: 34 tokens, 10 learnt\n" in report.text
    assert "<|im_start|>assistant\n⟦<think>\nadd\n</think>\n5<|im_end|>⟧\n" in report.text
    assert "2+3=⟦5<|im_end|>⟧" in report.text and "end tokens: '<|im_end|>'" in report.text


@pytest.mark.parametrize("template", ["mini", QWEN3])
def test_dropped_earlier_thoughts_are_told_of(template: str) -> None:
    tokenizer = load_tokenizer("mini")[0] if template == "mini" else make_tokenizer(template)
    report = check(tokenizer, chat(ASK, SAY))
    assert [warning.partition(":")[0] for warning in report.warnings] == ["prefix"]
    assert "without their thoughts" in report.text


def test_a_template_that_leaves_the_thought_out_is_fatal_where_there_are_thoughts() -> None:
    tokenizer = make_tokenizer(R1, ("<|you|>", "<|bot|>"))
    with pytest.raises(PonderError, match="row 7: the chat template leaves out the thought"):
        check(tokenizer, chat(ASK, {"role": "assistant", "content": "5"}), chat(ASK, SAY, row=7))
    report = check(tokenizer, chat(ASK, {"role": "assistant", "content": "5"}))
    assert any("another place than it is prompted at, in 1 of 1" in warning for warning in report.warnings)


def test_orphan_tags() -> None:
    orphan = {"role": "assistant", "content": "add\n</think>\n5"}
    double = {"role": "assistant", "content": "<think>\na\n</think>\nb</think>\n5"}
    opened = {"role": "assistant", "content": "<think>\nadd 5"}
    report = check(make_tokenizer(), chat(ASK, SAY), chat(ASK, orphan, row=5), chat(ASK, double, row=6),
                   chat(ASK, opened, row=8))  # fmt: skip
    orphans, unclosed = report.warnings
    assert orphans.startswith("an orphan </think>") and "in 2 of 4 rows looked at (row 5, 6)" in orphans
    assert unclosed.startswith("a thought is opened and not closed, in 1 of 4")


def test_a_thought_that_the_prompt_opens_is_no_orphan() -> None:
    said = {"role": "assistant", "content": "5", "reasoning_content": "add"}
    report = check(make_tokenizer(QWEN35), chat(ASK, said))
    assert not any("orphan" in warning or "opened" in warning for warning in report.warnings)


def test_texts_that_do_not_come_back_and_tokens_that_are_unknown() -> None:
    report = check(make_tokenizer(), Text("2+3=5", 1), Text("zwei plus drei ist fünf", 2))
    assert [warning.partition(",")[0] for warning in report.warnings] == [
        "round trip: the text does not come back from its tokens",
        "a token that the tokenizer does not know is learnt",
    ]
    assert all("in 1 of 2 rows looked at (row 2)" in warning for warning in report.warnings)


def test_an_end_token_inside_a_turn() -> None:
    said = {"role": "assistant", "content": "5<|im_end|>\nno, 6"}
    report = check(make_tokenizer(), chat(ASK, said))
    assert any("an end token stands inside" in warning for warning in report.warnings)


def test_a_template_without_a_generation_prompt() -> None:
    template = CHATML.partition("{% if add_generation_prompt %}")[0]
    report = check(make_tokenizer(template), chat(ASK, SAY))
    assert any("no generation prompt" in warning for warning in report.warnings)


def test_dropped_rows_are_passed_over() -> None:
    tokenizer = make_tokenizer()
    examples = [chat(ASK, row=1), chat(ASK, SAY, row=2), Text("ab", 3)]
    rows = [encode_example(tokenizer, example) for example in examples[1:]]
    assert "rows looked at: 2;" in check_template(tokenizer, examples, rows).text


def test_the_print_out_of_one_row() -> None:
    tokenizer = make_tokenizer()
    ids = tokenizer("ab12")["input_ids"]
    shown = mask_text(tokenizer, Encoded(tuple(ids), (False, True, False, True), 6))
    assert shown == "row 6: 4 tokens, 2 learnt\na⟦b⟧1⟦2⟧"
