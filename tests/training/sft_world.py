"""What the tests of supervised fine-tuning train on: a tiny chat model of random weights, and rows for it.

The names here are importable by the processes that `launch` spawns.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from ponder.tasks.shapes import Chat, Completed, Example, Text
from ponder.training.distributed import World
from ponder.training.sft import SFTSettings, train_sft

SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>"]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
CHARACTERS = list("0123456789+-*=?., abcdefghijklmnopqrstuvwxyz\n")
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def make_tokenizer(template: str = CHATML, extra: Sequence[str] = (), eos: str = "<|im_end|>") -> Any:
    """One token a character, the tags, the special tokens, and `extra` special ones."""
    tokens = [*SPECIAL, *TAGS, *extra, *CHARACTERS, "<unk>"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (*SPECIAL, *extra)])
    inner.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    named = {"eos_token": eos, "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template, **named)


def make_model(seed: int = 0, context: int = 256, vocabulary: int = 64) -> Any:
    """Qwen3-shaped, two layers, grouped keys, tied embeddings; its weights are a function of `seed`."""
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=context, tie_word_embeddings=True,
        eos_token_id=2, pad_token_id=0, bos_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2 if "embed" in name else 0.1)
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)
    return model.eval()


def make_examples(count: int = 24, seed: int = 0) -> list[Example]:
    """Chats of one and two rounds, prompts with completions, and texts, of different lengths."""
    rng = random.Random(seed)
    examples: list[Example] = []
    for row in range(1, count + 1):
        left, right = rng.randrange(100), rng.randrange(100)
        asked = {"role": "user", "content": f"{left}+{right}?"}
        reply = {"role": "assistant", "content": f"<think>\nadd them\n</think>\n<answer>{left + right}</answer>"}
        more = "and now please the same once more" if row % 4 == 0 else "again"
        if row % 6 == 5:
            examples.append(Text(f"{left}+{right}={left + right}. " * (1 + row % 3), row))
        elif row % 6 in (1, 4):
            examples.append(Completed(f"{left}+{right}=", f"{left + right}", row))
        elif row % 6 == 3:
            examples.append(Chat((asked, reply, {"role": "user", "content": more}, reply), row))
        else:
            examples.append(Chat((asked, reply), row))
    return examples


def make_settings(**changes: Any) -> SFTSettings:
    """Small and quick."""
    base: dict[str, Any] = dict(
        max_steps=6, batch_size=8, max_length=256, learning_rate=1e-2, save_steps=1, lr_scheduler_type="constant"
    )
    return SFTSettings(**(base | changes))


def run(world: World, out_dir: Path, changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """`train_sft` on the tiny world."""
    examples = more.pop("examples", None) or make_examples()
    model = more.pop("model", None) or make_model()
    return train_sft(make_settings(**changes), model, make_tokenizer(), examples, out_dir, world, **more)
