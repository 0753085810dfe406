"""The embedded model's tokenizer: byte-level BPE, single digits, think / answer / chat tags as tokens of their own.

The pre-tokeniser is Qwen2's (`\\p{N}` one digit at a time), so the vocabulary has a GGUF form (`tokenizer.ggml.pre =
qwen2`). Thought and answer tags are added tokens but not special ones, so decoding without special tokens keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ponder.core.thinking import NO_THOUGHT, TAGS
from ponder.mini.corpus import CHAT_END, CHAT_START, TEXT_END

VOCABULARY = 1024
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CLOSED = NO_THOUGHT.replace("\n", "\\n")  # in the template's own quotes
CHAT_TEMPLATE = (
    # Which mode: the argument, then every flag in the order of the talk; the last one holds.
    "{% set modes = namespace(think=none) %}"
    "{% if enable_thinking is defined and enable_thinking is not none %}"
    "{% set modes.think = true if enable_thinking else false %}"
    "{% endif %}"
    "{% for message in messages if message['role'] in ('system', 'user') %}"
    "{% for word in (message['content'] or '').split() if word in ('/think', '/no_think') %}"
    "{% set modes.think = word == '/think' %}"
    "{% endfor %}"
    "{% endfor %}"
    "{% for message in messages %}"
    "{% set told = message['content'] or '' %}"
    "{% set said = namespace(content=told, empty=false) %}"
    "{% if message['role'] in ('system', 'user') %}"
    # A flag is for the template, not for the model; text without one stays as it is.
    "{% if '/think' in told.split() or '/no_think' in told.split() %}"
    "{% set lines = namespace(kept=[]) %}"
    "{% for line in told.split('\\n') %}"
    "{% set kept = line.split(' ') | reject('in', ['/think', '/no_think']) | join(' ') | trim %}"
    "{% if kept or not line.strip() %}{% set lines.kept = lines.kept + [kept] %}{% endif %}"
    "{% endfor %}"
    "{% set said.content = lines.kept | join('\\n') | trim %}"
    "{% set said.empty = message['role'] == 'system' and not said.content %}"
    "{% endif %}"
    "{% elif message['role'] == 'assistant' and not loop.last %}"
    "{% if '</think>' in told %}{% set said.content = told.split('</think>')[-1] | trim %}{% endif %}"
    "{% elif message['role'] == 'assistant' and modes.think is sameas false %}"
    "{% if told.split('</think>')[0].strip() == '<think>' %}"
    "{% set said.content = told.split('</think>')[1:] | join('</think>') | trim %}"
    "{% endif %}"
    f"{{% set said.content = '{_CLOSED}' + said.content %}}"
    "{% elif message['role'] == 'assistant' and message['reasoning_content'] and '</think>' not in told %}"
    "{% set said.content = '<think>\\n' + message['reasoning_content'] | trim + '\\n</think>\\n' + told %}"
    "{% endif %}"
    "{% if not said.empty %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + said.content + '<|im_end|>' + '\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    f"{{% if modes.think is sameas false %}}{{{{ '{_CLOSED}' }}}}{{% endif %}}"
    "{% endif %}"
)
"""The chat, with two modes of answering, one rendering each.

Not to think is asked by `enable_thinking=false`, or by `/no_think` as a word of its own in a system or user turn; to
think by `enable_thinking=true`, `/think`, or nothing at all. A flag wins over the argument and the last flag over
earlier ones, as in SmolLM3 (Qwen3 lets the argument win). Flags are taken out of the text, as in SmolLM3 (Qwen3 leaves
them in), and a system turn that held nothing else is left out: so however a mode is asked for, the model sees one form,
and that of thinking is what it sees without any of this. Not to think, the generation prompt closes an empty thought,
`<think>\\n\\n</think>\\n\\n`, and so does the answer that is trained on.

A thought may stand in the content or in `reasoning_content`; those of all turns but the last are dropped, and
`reasoning_content` is not written at all where none is to be had.
"""


def train_tokenizer(texts: Iterable[str], context_length: int) -> PreTrainedTokenizerFast:
    """Train the vocabulary on `texts` (the same texts give the same one) and dress it as a Hugging Face tokenizer."""
    special = [TEXT_END, CHAT_START, CHAT_END]
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(TAGS),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator(texts, trainer)
    bare.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        eos_token=CHAT_END,
        pad_token=TEXT_END,
        additional_special_tokens=[CHAT_START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )
