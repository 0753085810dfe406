"""The mask of what is learnt, against what each template writes, said out loud."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from chat_templates import LLAMA3, MARKS_WITHOUT_END, NO_END, QWEN3, QWEN25, QWEN35, R1, SMOLLM3
from hypothesis import given, settings
from hypothesis import strategies as st
from sft_world import CHARACTERS, CHATML, make_tokenizer

from ponder.core.errors import PonderError
from ponder.models.encode import Encoded, Unusable, encode_chat, encode_completion, encode_example, encode_text
from ponder.models.load import load_tokenizer
from ponder.models.turns import common_prefix, common_suffix, render_chat
from ponder.tasks.shapes import Chat, Completed, Preference, Text

ASK = {"role": "user", "content": "2+3?"}
THINK = {"role": "assistant", "content": "5", "reasoning_content": "two and three"}
AGAIN = {"role": "user", "content": "and 4+4?"}
THINK_MORE = {"role": "assistant", "content": "8", "reasoning_content": "four, four"}
ROUNDS = (ASK, THINK, AGAIN, THINK_MORE)


def learnt(tokenizer: Any, encoded: Encoded) -> list[str]:
    """The text of each stretch that is learnt."""
    stretches: list[list[int]] = []
    for at, (token, on) in enumerate(zip(encoded.ids, encoded.mask, strict=True)):
        if on and not encoded.mask[at - 1]:
            stretches.append([])
        if on:
            stretches[-1].append(token)
    return [tokenizer.decode(ids) for ids in stretches]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, ["<think>\ntwo and three\n</think>\n5<|im_end|>", "<think>\nfour, four\n</think>\n8<|im_end|>"]),
        (QWEN25, ["<think>\ntwo and three\n</think>\n5<|im_end|>", "<think>\nfour, four\n</think>\n8<|im_end|>"]),
        (QWEN3, ["5<|im_end|>", "<think>\nfour, four\n</think>\n\n8<|im_end|>"]),
        (QWEN35, ["5<|im_end|>", "four, four\n</think>\n8<|im_end|>"]),
        (LLAMA3, ["<think>\ntwo and three\n</think>\n5<|eot|>", "<think>\nfour, four\n</think>\n8<|eot|>"]),
        (SMOLLM3, [
            "<|im_start|>assistant\n<think>\ntwo and three\n</think>\n5<|im_end|>",
            "<|im_start|>assistant\n<think>\nfour, four\n</think>\n8<|im_end|>",
        ]),
        (MARKS_WITHOUT_END, [
            "<think>\ntwo and three\n</think>\n5<|im_end|>", "<think>\nfour, four\n</think>\n8<|im_end|>",
        ]),
        (R1, ["\n5<|im_end|>", "\n8<|im_end|>"]),
    ],
)  # fmt: skip
def test_what_is_learnt_of_two_rounds(template: str, expected: list[str]) -> None:
    eos = "<|eot|>" if template == LLAMA3 else "<|im_end|>"
    tokenizer = make_tokenizer(template, ("<|eot|>", "<|you|>", "<|bot|>"), eos)
    assert learnt(tokenizer, encode_chat(tokenizer, ROUNDS)) == expected
    assert learnt(tokenizer, encode_chat(tokenizer, ROUNDS, learn="last")) == expected[-1:]
    assert learnt(tokenizer, encode_completion(tokenizer, ROUNDS[:3], ROUNDS[3:])) == expected[-1:]


def test_the_embedded_models_template_drops_earlier_thoughts_and_the_mask_is_right() -> None:
    tokenizer, _ = load_tokenizer("mini")
    found = learnt(tokenizer, encode_chat(tokenizer, ROUNDS))
    assert found == ["5<|im_end|>", "<think>\nfour, four\n</think>\n8<|im_end|>"]


def test_a_thought_that_the_prompt_wrote_is_not_learnt() -> None:
    tokenizer = make_tokenizer(QWEN3)
    chat = (ASK, {"role": "assistant", "content": "5"})
    assert learnt(tokenizer, encode_chat(tokenizer, chat)) == ["<think>\n\n</think>\n\n5<|im_end|>"]
    off = encode_chat(tokenizer, chat, template_arguments={"enable_thinking": False})
    assert learnt(tokenizer, off) == ["5<|im_end|>"]


def test_the_same_words_elsewhere_do_not_mislead() -> None:
    tokenizer = make_tokenizer()
    say = "<|im_start|>assistant\n5<|im_end|>\n"
    chat = [{"role": "user", "content": say * 2}, {"role": "assistant", "content": "5"},
            {"role": "user", "content": say}, {"role": "assistant", "content": "5"}]  # fmt: skip
    encoded = encode_chat(tokenizer, chat)
    assert learnt(tokenizer, encoded) == ["5<|im_end|>", "5<|im_end|>"]
    assert list(encoded.ids) == tokenizer(render_chat(tokenizer, chat))["input_ids"]


_WORDS = st.lists(st.sampled_from([*CHARACTERS, "<think>", "</think>"]), max_size=12).map("".join)
_PLAIN = make_tokenizer()


@settings(max_examples=60)
@given(st.lists(st.tuples(_WORDS, _WORDS.filter(str.strip)), min_size=1, max_size=4), st.booleans())
def test_any_words_under_a_plain_template(rounds: list[tuple[str, str]], system: bool) -> None:
    tokenizer, chat = _PLAIN, [{"role": "system", "content": "x"}] * system
    for asked, said in rounds:
        chat += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    encoded = encode_chat(tokenizer, chat)
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in chat)
    assert list(encoded.ids) == tokenizer(text)["input_ids"]
    assert learnt(tokenizer, encoded) == [f"{said}<|im_end|>" for _, said in rounds]


@given(st.text("ab", max_size=9), st.text("ab", max_size=9))
def test_common_ends(left: str, right: str) -> None:
    n, m = common_prefix(left, right), common_suffix(left, right)
    assert left[:n] == right[:n] and left[n : n + 1] != right[n : n + 1] or left == right
    assert left[len(left) - m :] == right[len(right) - m :]
    assert left == right or m == min(len(left), len(right)) or left[-m - 1] != right[-m - 1]


def test_tool_calls_and_their_results() -> None:
    said = "+ (message['content'] or '') + (message.tool_calls[0].function.name if message.tool_calls else '') +"
    template = CHATML.replace("+ message['content'] +", said)
    tokenizer = make_tokenizer(template)
    call = {"role": "assistant", "content": None, "tool_calls": [
        {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}]}  # fmt: skip
    chat = (ASK, call, {"role": "tool", "content": "5"}, {"role": "assistant", "content": "it is 5"})
    assert learnt(tokenizer, encode_chat(tokenizer, chat)) == ["add<|im_end|>", "it is 5<|im_end|>"]


def test_prompt_and_completion_as_text() -> None:
    tokenizer, _ = load_tokenizer("mini")
    encoded = encode_completion(tokenizer, "2+3=", "5")
    assert learnt(tokenizer, encoded) == ["5<|im_end|>"] and tokenizer.decode(encoded.ids) == "2+3=5<|im_end|>"
    ended = encode_completion(tokenizer, "2+3=", "5<|im_end|>")
    assert ended == encoded  # not ended twice
    assert encode_completion(tokenizer, "2+3=", "5", completion_only=False).learnt == len(encoded) - 1
    whole = tokenizer.encode("the number")
    across = encode_completion(tokenizer, "the num", "ber")  # a token across the border is the completion's
    assert list(across.ids[:-1]) == whole and across.mask[len(whole) - 1]
    asked = encode_completion(tokenizer, "2+3?", ({"role": "assistant", "content": "5"},))
    assert asked == encode_chat(tokenizer, (ASK, {"role": "assistant", "content": "5"}))


def test_text_is_learnt_whole_and_ended() -> None:
    tokenizer = make_tokenizer()
    encoded = encode_text(tokenizer, "ab", ends=(0, 2))
    assert encoded.ids[-1] == 0 and encoded.mask == (False, True, True)
    assert encode_text(tokenizer, "ab").ids[-1] == 2


def test_a_beginning_of_text_token_where_the_sampler_puts_one() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer(CHATML, ("<s>",))
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<s> $A", None, [("<s>", bos)])
    encoded = encode_completion(tokenizer, "1", "2")
    assert encoded.ids[0] == bos and encoded.mask == (False, False, True, True)
    assert encode_chat(tokenizer, ROUNDS[:2]).ids[:2] == (bos, 1)


def test_what_cannot_be_learnt_from() -> None:
    tokenizer = make_tokenizer()
    silent = {"role": "assistant", "content": " "}
    for call, said in (
        (lambda: encode_chat(tokenizer, (ASK,), row=4), "row 4: no assistant turn"),
        (lambda: encode_chat(tokenizer, (ASK, silent), row=4), "row 4: every assistant turn is empty"),
        (lambda: encode_completion(tokenizer, "a", " ", row=4), "row 4: the completion is empty"),
        (lambda: encode_text(tokenizer, "\n", row=4), "row 4: the text is empty"),
    ):
        with pytest.raises(Unusable, match=said) as caught:
            call()
        copied = pickle.loads(pickle.dumps(caught.value))
        assert (copied.row, str(copied)) == (4, said)


def test_mistakes_are_named() -> None:
    chat = (ASK, {"role": "assistant", "content": "5"})
    with pytest.raises(PonderError, match="row 3: a template without an end token"):
        encode_chat(make_tokenizer(NO_END), chat, row=3)
    with pytest.raises(PonderError, match=r"followed by '<\|im_end\|>.*ends with '<pad>'; set eos_token"):
        encode_chat(make_tokenizer(eos="<pad>"), chat)
    with pytest.raises(PonderError, match="row 3: messages need a chat template"):
        encode_chat(make_tokenizer(""), chat, row=3)
    with pytest.raises(PonderError, match="row 3: the chat template refuses the messages: no tools here"):
        encode_chat(make_tokenizer("{{ raise_exception('no tools here') }}"), chat, row=3)
    with pytest.raises(PonderError, match="leaves message 2"):
        encode_chat(make_tokenizer("{{ messages[0]['content'] + '<|im_end|>' }}"), chat)
    with pytest.raises(PonderError, match="marks hold nothing"):
        template = CHATML + "{% if false %}{% generation %}{% endgeneration %}{% endif %}"
        encode_chat(make_tokenizer(template), chat)
    with pytest.raises(PonderError, match="row 9 is a Preference row; supervised fine-tuning takes messages"):
        encode_example(make_tokenizer(), Preference("a", "b", "c", 9))


def test_examples_of_every_shape() -> None:
    tokenizer = make_tokenizer()
    assert encode_example(tokenizer, Text("ab", 1)) == encode_text(tokenizer, "ab", row=1)
    assert encode_example(tokenizer, Chat(ROUNDS, 2)) == encode_chat(tokenizer, ROUNDS, row=2)
    assert encode_example(tokenizer, Completed("a", "b", 3)) == encode_completion(tokenizer, "a", "b", row=3)
    whole = encode_example(tokenizer, Chat(ROUNDS, 2), assistant_only=False)
    assert whole.learnt == len(whole) - 1
    assert whole.cut(5) == Encoded(whole.ids[:5], whole.mask[:5], 2)


def test_thoughts_under_other_names_and_beside_the_content() -> None:
    tokenizer = make_tokenizer()
    for name in ("reasoning", "thinking"):
        chat = (ASK, {"role": "assistant", "content": "5", name: "two and three"})
        assert encode_chat(tokenizer, chat) == encode_chat(tokenizer, ROUNDS[:2])
    both = {"role": "assistant", "content": "<think>\na\n</think>\n5", "reasoning_content": "a"}
    assert learnt(tokenizer, encode_chat(tokenizer, (ASK, both))) == ["<think>\na\n</think>\n5<|im_end|>"]
    apart = {"role": "assistant", "content": "\n\n5", "reasoning_content": "a"}
    assert learnt(tokenizer, encode_chat(tokenizer, (ASK, apart))) == ["<think>\na\n</think>\n\n5<|im_end|>"]
