"""Prompts: each style's text, through the tokenizer's own template or without one."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from ponder.core.errors import PonderError
from ponder.core.types import Problem
from ponder.mini.tokenizer import CHAT_TEMPLATE
from ponder.models.chat import FLAGS, STYLES, asked_in, cot_style, renderer

QUESTION = "What is {2+3}? {question} <|im_end|> \\n é"


def tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=template)


PLAIN = {
    "qa": f"Question: {QUESTION}\nAnswer:",
    "qa-cot": f"Question: {QUESTION}\nAnswer: Let's think step by step.",
}
CHAT = {
    "chat": f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n",
    "chat-cot": f"<|im_start|>user\n{QUESTION}\nLet's think step by step.<|im_end|>\n<|im_start|>assistant\n",
    "chat-think": f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n",
    "chat-no-think": f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
}


@pytest.mark.parametrize(("style", "wanted"), [*PLAIN.items(), *CHAT.items()])
def test_styles(style: str, wanted: str) -> None:
    """The question stands there as it is, whatever looks like markup in it."""
    assert renderer(tokenizer(CHAT_TEMPLATE), style)(QUESTION) == wanted


@pytest.mark.parametrize("style", STYLES)
def test_a_problem_is_its_prompt(style: str) -> None:
    render = renderer(tokenizer(CHAT_TEMPLATE), style)
    assert render(Problem("t", QUESTION, "the answer", {"n": 1})) == render(QUESTION)
    assert render(QUESTION).count(QUESTION) == 1 and "the gold" not in render(Problem("t", "p", "the gold"))


def test_r1_zero_is_the_papers_prompt() -> None:
    text = renderer(tokenizer(None), "r1-zero")("What is 2+3?")
    assert text.startswith("A conversation between User and Assistant. The user asks a question, and the Assistant")
    assert text.endswith(
        "<think> reasoning process here </think> <answer> answer here </answer>. User: What is 2+3? Assistant:"
    )


def test_plain_styles_need_no_template_and_ignore_one() -> None:
    for style, wanted in PLAIN.items():
        assert renderer(tokenizer(None), style)(QUESTION) == wanted


@pytest.mark.parametrize("style", CHAT)
def test_chat_styles_need_a_template(style: str) -> None:
    with pytest.raises(PonderError, match=f"no chat template .*'{style}'.*use one of qa, qa-cot, r1-zero"):
        renderer(tokenizer(None), style)


def test_an_unknown_style() -> None:
    with pytest.raises(PonderError, match="unknown prompt style 'caht': one of chat, chat-cot, qa, qa-cot, r1-zero"):
        renderer(tokenizer(CHAT_TEMPLATE), "caht")


def test_template_arguments_reach_the_template() -> None:
    template = "{{ messages[0]['content'] }}|{{ 'on' if enable_thinking else 'off' }}|{{ add_generation_prompt }}"
    assert renderer(tokenizer(template), "chat", enable_thinking=True)("q") == "q|on|True"
    assert renderer(tokenizer(template), "chat", enable_thinking=False)("q") == "q|off|True"


def test_cot_style_is_the_same_style_with_the_cue() -> None:
    assert {style: cot_style(style) for style in STYLES} == {
        "chat": "chat-cot", "chat-cot": "chat-cot", "qa": "qa-cot", "qa-cot": "qa-cot", "r1-zero": "qa-cot",
        "chat-think": "chat-think", "chat-no-think": "chat-no-think",
    }  # fmt: skip
    for style in ("chat", "qa"):
        render, cot = (renderer(tokenizer(CHAT_TEMPLATE), s) for s in (style, cot_style(style)))
        assert cot("q").replace("Let's think step by step.", "").split("q") != cot("q").split("q")
        assert "".join(cot("q").replace("Let's think step by step.", "").split()) == "".join(render("q").split())


def test_the_cue_speaks_the_language_of_the_question() -> None:
    asked = Problem("countdown", "Bilde 5 aus 1 2 4.", "4+2-1", {"lang": "de"})
    assert renderer(tokenizer(None), "qa-cot")(asked).endswith("Answer: Denk Schritt für Schritt.")


QWEN3 = (  # as Qwen3's template does it: the argument decides, flags stay in the text for the model to read
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{{ '<assistant>' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)


def test_styles_of_a_mode_speak_to_templates_of_either_kind() -> None:
    assert renderer(tokenizer(QWEN3), "chat-think")("q") == "<system>/think<user>q<assistant>"
    told = renderer(tokenizer(QWEN3), "chat-no-think")("q")
    assert told == "<system>/no_think<user>q<assistant><think>\n\n</think>\n\n"
    assert renderer(tokenizer(QWEN3), "chat", enable_thinking=False)("q").endswith("<assistant><think>\n\n</think>\n\n")


@pytest.mark.parametrize("style", FLAGS)
def test_a_template_of_one_mode_is_an_error(style: str) -> None:
    with pytest.raises(PonderError, match=f"knows no enable_thinking and no {FLAGS[style]}, which style '{style}'"):
        renderer(tokenizer("{{ messages[0]['content'] }}"), style)


@pytest.mark.parametrize("style", [style for style in STYLES if style.startswith("chat")])
def test_messages_and_prompt_of_a_style_agree(style: str) -> None:
    """Rows to train on begin with exactly the prompt that is sampled from."""
    read = tokenizer(CHAT_TEMPLATE)
    talk = [*asked_in(style, QUESTION), {"role": "assistant", "content": "<answer>5</answer>"}]
    whole = read.apply_chat_template(talk, tokenize=False)
    assert whole == renderer(read, style)(QUESTION) + "<answer>5</answer><|im_end|>\n"
