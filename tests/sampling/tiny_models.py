"""Random models of two layers, of the shapes that the decode loop knows and of others, and a small tokenizer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

VOCABULARY, PAD, EOS = 320, 0, 1
SENTENCES = [
    "What is 12 times 7? <think>10 times 7 is 70, 2 times 7 is 14, 70 + 14 = 84.</think> <answer>84</answer>",
    "Wait, let me check that again: 3 + 4 = 7, and 7 - 4 = 3. Yes, that is right.",
    "Alice says that Bob lies; Bob says that Carol tells the truth. Übung macht den Meister, naïve café.",
    "Solve for x: 2x + 6 = 20. Subtract 6 on both sides: 2x = 14, so x = 7.",
]


@lru_cache
def make_tokenizer() -> Any:
    """Byte-level BPE with real merges, 320 tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(SENTENCES * 4, trainer)
    assert inner.get_vocab_size() == VOCABULARY
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>")


_COMMON: dict[str, Any] = dict(
    vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6,
    num_key_value_heads=2, max_position_embeddings=128, bos_token_id=None, eos_token_id=EOS, pad_token_id=PAD,
)  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
_DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}

FUSED: dict[str, tuple[type, type, dict[str, Any]]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3-untied": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 8, "tie_word_embeddings": False}),
    "qwen3-yarn": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16, "rope_parameters": _YARN}),
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama-biases": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True, "mlp_bias": True}),
    "llama-scaled-rope": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": _LLAMA3, "tie_word_embeddings": True}),
    "smollm3": (SmolLM3Config, SmolLM3ForCausalLM, {"no_rope_layers": [1, 0]}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
}
GENERIC: dict[str, tuple[type, type, dict[str, Any]]] = {
    "gpt2": (GPT2Config, GPT2LMHeadModel, {}),
    "gpt-neox": (GPTNeoXConfig, GPTNeoXForCausalLM, {}),
    "mistral-window": (MistralConfig, MistralForCausalLM, {"sliding_window": 8}),
    "qwen3-window": (
        Qwen3Config,
        Qwen3ForCausalLM,
        {"head_dim": 16, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "llama-dynamic-rope": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": _DYNAMIC}),
}


def make_model(name: str, seed: int = 0, **changes: Any) -> Any:
    """A random model in evaluation mode, its weights large enough for its distributions to be far from uniform."""
    config_class, model_class, own = (FUSED | GENERIC)[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config_class(**_COMMON | own | changes))
        for path, parameter in model.named_parameters():
            std = 0.02 if path.endswith("bias") else 0.15
            if parameter.dim() > 1 or path.endswith("bias"):
                torch.nn.init.normal_(parameter, std=std)
            else:
                torch.nn.init.normal_(parameter, mean=1.0, std=0.1)
    return model.eval()


def make_prompts(lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Random prompts of the given lengths, without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


def full_logprobs(model: Any, prompt_ids: Any, token_ids: Any, temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities of `token_ids` by one forward of the whole sequence, without a cache; [T], float32."""
    ids = torch.tensor([[*prompt_ids, *token_ids]], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt_ids) - 1 : -1].float()
    chosen = torch.tensor(list(token_ids), device=model.device)[:, None]
    return (logits / temperature).log_softmax(-1).gather(1, chosen)[:, 0].cpu()
