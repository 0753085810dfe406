"""The embedded model: its size, its shape on disk, and that transformers alone can read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3ForCausalLM

from ponder.mini.corpus import CHAT_END, TEXT_END
from ponder.mini.model import CONTEXT_LENGTH, new_model
from ponder.models.load import load_model


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    return new_model(tokenizer, seed=0).eval()


def test_size_and_shape(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    parameters = sum(p.numel() for p in model.parameters())
    assert 1e6 <= parameters <= 3e6
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert model.config.max_position_embeddings == CONTEXT_LENGTH == tokenizer.model_max_length
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_it_ends_where_the_corpus_ends(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    ends = tokenizer.convert_tokens_to_ids([CHAT_END, TEXT_END])
    for config in (model.config, model.generation_config):
        assert config.eos_token_id == ends and config.pad_token_id == tokenizer.pad_token_id
    assert model.generation_config.bos_token_id is None


def test_transformers_alone_loads_it(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = tokenizer("<|im_start|>user\nWas ist 2+3*4?<|im_end|>\n", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=0, atol=0)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert "lm_head.weight" not in file.keys()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 8_000_000
    ours = load_model(str(tmp_path))
    assert set(ours.eos_ids) == set(model.config.eos_token_id) and ours.context_length == CONTEXT_LENGTH


def test_the_weights_are_a_function_of_the_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, again, two = (new_model(tokenizer, seed, hidden=64, layers=1) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's randomness is touched
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.get_input_embeddings().weight, two.get_input_embeddings().weight)


@pytest.mark.parametrize(("hidden", "layers"), [(64, 1), (96, 2), (160, 3)])
def test_other_sizes(tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int) -> None:
    small = new_model(tokenizer, 0, hidden, layers)
    assert (small.config.hidden_size, small.config.num_hidden_layers) == (hidden, layers)
    assert small.config.num_attention_heads % small.config.num_key_value_heads == 0
    with torch.no_grad():
        assert small(torch.tensor([[1, 2, 3]])).logits.isfinite().all()
