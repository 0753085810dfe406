"""The tokenizer: exact round trips, single digits, tags and chat marks as tokens, a template that forgets thoughts."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ponder.core.thinking import TAGS
from ponder.mini.corpus import CHAT_END, CHAT_START, TEXT_END, Document, documents
from ponder.mini.model import CONTEXT_LENGTH
from ponder.mini.tokenizer import VOCABULARY, train_tokenizer

MARKS = (CHAT_START, CHAT_END, TEXT_END)
OTHER = [
    "",
    " ",
    "\n\n\n",
    "a  b",
    " lead",
    "trail ",
    "Äpfel ß ñ 漢字 🙂👩‍👩‍👧 e\u0301",
    "\x00\x07",
    "1,234.56",
    "don't",
    "<think",
    "</ answer>",
    "\r\n",
    "٣",
]


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def test_corpus_texts_come_back_exactly(tokenizer: PreTrainedTokenizerFast, corpus: list[Document]) -> None:
    texts = [document.text for document in corpus[-2000:]]  # not those that it was trained on
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert tokenizer.batch_decode(rows, skip_special_tokens=False) == texts
    assert sum(map(len, rows)) < 0.5 * sum(map(len, texts))  # real merges
    assert max(map(len, rows)) <= CONTEXT_LENGTH


def test_any_text_comes_back_exactly(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in OTHER:
        assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False) == text

    @settings(max_examples=150, deadline=None)
    @given(st.text())
    def holds(text: str) -> None:
        assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False) == text

    holds()


def test_digits_are_single(tokenizer: PreTrainedTokenizerFast) -> None:
    assert {token for token in tokenizer.get_vocab() if any(c.isdigit() and c.isascii() for c in token)} == set(
        "0123456789"
    )
    assert tokenizer.tokenize("12+345=357") == ["1", "2", "+", "3", "4", "5", "=", "3", "5", "7"]


@pytest.mark.parametrize("tag", [*TAGS, *MARKS])
def test_tags_and_marks_are_one_token(tokenizer: PreTrainedTokenizerFast, tag: str) -> None:
    (own,) = ids(tokenizer, tag)
    assert tokenizer.convert_ids_to_tokens(own) == tag
    for around in (f"a{tag}b", f"5{tag}\n", f" {tag} ", f"\n\n{tag}{tag}", f"<{tag}>"):
        found = ids(tokenizer, around)
        assert found.count(own) == around.count(tag)
        assert tokenizer.decode(found, skip_special_tokens=False) == around


def test_tags_are_text_and_marks_are_not(tokenizer: PreTrainedTokenizerFast) -> None:
    """A decoder that drops special tokens keeps thought and answer."""
    text = f"{CHAT_START}assistant\n<think>a</think><answer>5</answer>{CHAT_END}\n{TEXT_END}"
    shown = tokenizer.decode(ids(tokenizer, text), skip_special_tokens=True)
    assert shown == "assistant\n<think>a</think><answer>5</answer>\n"
    assert set(tokenizer.all_special_tokens) == set(MARKS)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token, tokenizer.unk_token) == (
        CHAT_END, TEXT_END, None, None,
    )  # fmt: skip


def test_size(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == VOCABULARY == len(tokenizer.get_vocab())
    assert sorted(tokenizer.get_vocab().values()) == list(range(VOCABULARY))
    assert tokenizer.model_max_length == CONTEXT_LENGTH


TALK = [
    {"role": "user", "content": "2+3?"},
    {"role": "assistant", "content": "<think>\n2+3=5\n</think>\n<answer>5</answer>"},
    {"role": "user", "content": "3+3?"},
]


def test_the_template_renders_and_drops_earlier_thoughts(tokenizer: PreTrainedTokenizerFast) -> None:
    render = tokenizer.apply_chat_template
    asked = render(TALK[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|im_start|>user\n2+3?<|im_end|>\n<|im_start|>assistant\n"
    answered = render(TALK[:2], tokenize=False)
    assert answered == asked + TALK[1]["content"] + "<|im_end|>\n"  # the last answer keeps its thought
    third = render(TALK, tokenize=False, add_generation_prompt=True)
    assert third == (
        "<|im_start|>user\n2+3?<|im_end|>\n<|im_start|>assistant\n<answer>5</answer><|im_end|>\n"
        "<|im_start|>user\n3+3?<|im_end|>\n<|im_start|>assistant\n"
    )
    plain = [TALK[0], {"role": "assistant", "content": " 5 "}, TALK[2]]
    assert "assistant\n 5 <|im_end|>" in render(plain, tokenize=False)  # nothing to drop: left as it is
    assert (
        render([{"role": "system", "content": "Be short."}], tokenize=False)
        == "<|im_start|>system\nBe short.<|im_end|>\n"
    )
    whole = render(TALK, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert list(whole) == ids(tokenizer, third)


BEFORE_MODES = (
    "{% for message in messages %}"
    "{% set content = message['content'] %}"
    "{% if message['role'] == 'assistant' and not loop.last and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] | trim %}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""The template that the shipped weights, the golden runs and R1-Zero's prompts were made with."""

TOLD = ["", "  a ", "x\n y ", "<think>\nab\n</think>\n<answer>5</answer>", "</think>", "<think>\n\n</think>\n\n7",
        "a/think b", "/thinking", "no_think", "/no_think.", "x</think>y</think> z", "{{ 1 }} {% if %}"]  # fmt: skip
TALKS = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.sampled_from(TOLD)), min_size=1, max_size=5
)


def test_without_a_flag_nothing_is_rendered_otherwise(tokenizer: PreTrainedTokenizerFast) -> None:
    @settings(max_examples=400, deadline=None)
    @given(TALKS, st.booleans())
    def holds(talk: list[tuple[str, str]], prompt: bool) -> None:
        messages = [{"role": role, "content": content} for role, content in talk]
        before, now, thinking = (
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt, **more)
            for more in ({"chat_template": BEFORE_MODES}, {}, {"enable_thinking": True})
        )
        assert before == now == thinking

    holds()


CLOSED = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
OPEN = "<|im_start|>assistant\n"
SAYS = "<|im_start|>user\n{}<|im_end|>\n".format
MODES = [  # system turn, user turns, argument, what is rendered
    ("/no_think", ["q"], None, SAYS("q") + CLOSED),
    ("/think", ["q"], None, SAYS("q") + OPEN),
    ("/think", ["q"], False, SAYS("q") + OPEN),  # a flag wins over the argument
    ("/no_think", ["q"], True, SAYS("q") + CLOSED),
    (None, ["q"], False, SAYS("q") + CLOSED),
    (None, ["q"], True, SAYS("q") + OPEN),
    (None, ["q /no_think"], None, SAYS("q") + CLOSED),
    (None, ["/no_think\n  a\n\n b  c"], None, SAYS("a\n\nb  c") + CLOSED),
    (None, ["/no_think"], None, SAYS("") + CLOSED),
    (None, ["/no_think q /think"], None, SAYS("q") + OPEN),  # the last one holds
    ("/no_think", ["/think q"], None, SAYS("q") + OPEN),
    ("/think", ["/no_think q", "r"], None, SAYS("q") + SAYS("r") + CLOSED),  # and stays for later turns
    (None, ["/no_think q", "r /think"], None, SAYS("q") + SAYS("r") + OPEN),
    ("Be kind. /no_think", ["q"], None, "<|im_start|>system\nBe kind.<|im_end|>\n" + SAYS("q") + CLOSED),
    ("", ["q"], False, "<|im_start|>system\n<|im_end|>\n" + SAYS("q") + CLOSED),  # empty without a flag: it stays
    (None, ["what is a/no_think path?"], None, SAYS("what is a/no_think path?") + OPEN),
]  # fmt: skip


@pytest.mark.parametrize(("system", "asked", "argument", "wanted"), MODES)
def test_modes(
    tokenizer: PreTrainedTokenizerFast, system: str | None, asked: list[str], argument: bool | None, wanted: str
) -> None:
    talk = [{"role": "system", "content": system}] if system is not None else []
    talk += [{"role": "user", "content": text} for text in asked]
    more = {} if argument is None else {"enable_thinking": argument}
    assert tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True, **more) == wanted


ANSWER = "<answer>5</answer>"
REPLIES: list[tuple[dict[str, str], bool | None, str]] = [  # the last turn, the argument, what follows its header
    ({"content": ANSWER, "reasoning_content": " r "}, None, f"<think>\nr\n</think>\n{ANSWER}"),
    ({"content": f"<think>\na\n</think>{ANSWER}", "reasoning_content": "r"}, None, f"<think>\na\n</think>{ANSWER}"),
    ({"content": ANSWER, "reasoning_content": ""}, None, ANSWER),
    ({"content": ANSWER}, False, f"<think>\n\n</think>\n\n{ANSWER}"),
    ({"content": ANSWER, "reasoning_content": "r"}, False, f"<think>\n\n</think>\n\n{ANSWER}"),
    ({"content": f"<think>\n\n</think>\n{ANSWER}"}, False, f"<think>\n\n</think>\n\n{ANSWER}"),
    # A thought all the same, after the closed one: what a leak looks like, and a pair's worse side.
    ({"content": f"<think>\na\n</think>\n{ANSWER}"}, False,
     f"<think>\n\n</think>\n\n<think>\na\n</think>\n{ANSWER}"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "argument", "wanted"), REPLIES)
def test_a_reply_in_its_mode(
    tokenizer: PreTrainedTokenizerFast, reply: dict[str, str], argument: bool | None, wanted: str
) -> None:
    """Behind the prompt of its mode; once another turn follows, only the answer is left."""
    more = {} if argument is None else {"enable_thinking": argument}
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", **reply}]
    whole = tokenizer.apply_chat_template(talk, tokenize=False, **more)
    assert whole == SAYS("q") + OPEN + wanted + "<|im_end|>\n"
    assert whole.startswith(tokenizer.apply_chat_template(talk[:1], tokenize=False, add_generation_prompt=True, **more))
    later = tokenizer.apply_chat_template([*talk, talk[0]], tokenize=False, **more)
    assert later == SAYS("q") + OPEN + ANSWER + "<|im_end|>\n" + SAYS("q")


def test_a_conversation_of_the_corpus_is_the_template(
    tokenizer: PreTrainedTokenizerFast, corpus: list[Document]
) -> None:
    """The base has seen exactly what the template writes."""
    for document in [d for d in corpus if d.form != "web"][:300]:
        asked, _, reply = document.text.removeprefix(f"{CHAT_START}user\n").partition(
            f"{CHAT_END}\n{CHAT_START}assistant\n"
        )
        talk = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": reply.removesuffix(f"{CHAT_END}\n")},
        ]
        assert tokenizer.apply_chat_template(talk, tokenize=False) == document.text


def test_saved_and_loaded_it_is_the_same(
    tokenizer: PreTrainedTokenizerFast, corpus: list[Document], tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    texts = [document.text for document in corpus[:300]] + OTHER
    assert (
        loaded(texts, add_special_tokens=False)["input_ids"] == tokenizer(texts, add_special_tokens=False)["input_ids"]
    )
    assert (
        loaded(OTHER)["input_ids"] == loaded(OTHER, add_special_tokens=False)["input_ids"]
    )  # nothing is added by itself
    assert loaded.get_vocab() == tokenizer.get_vocab()
    for name in ("eos_token", "pad_token", "bos_token", "all_special_tokens", "chat_template", "model_max_length"):
        assert getattr(loaded, name) == getattr(tokenizer, name), name
    row = ids(loaded, f"a b , c .{CHAT_END}")
    assert loaded.decode(row, skip_special_tokens=True) == "a b , c ."  # spaces are not cleaned up
    assert loaded.apply_chat_template(TALK, tokenize=False) == tokenizer.apply_chat_template(TALK, tokenize=False)


def test_the_same_texts_give_the_same_vocabulary() -> None:
    texts = [document.text for document in islice(documents("small"), 200)]
    one, two = (train_tokenizer(iter(texts), 128) for _ in range(2))
    assert one.get_vocab() == two.get_vocab() and ids(one, texts[0]) == ids(two, texts[0])
    assert one.model_max_length == 128
