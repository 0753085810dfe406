"""The embedded base model: a Qwen3 of about a million parameters, loadable by transformers alone."""

from __future__ import annotations

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from ponder.core.seeds import seed_of
from ponder.mini.corpus import CHAT_END, TEXT_END

CONTEXT_LENGTH = 512


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int, hidden: int = 128, layers: int = 4) -> Qwen3ForCausalLM:
    """A model with fresh weights, a function of `seed`: head size 32, tied embeddings."""
    ends = [tokenizer.convert_tokens_to_ids(token) for token in (CHAT_END, TEXT_END)]
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        head_dim=32,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("mini-model", seed))
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, do_sample=True)
    return model
