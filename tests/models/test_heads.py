"""Models with a one-number head: the body is the causal model's, the files are transformers' own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from ponder.core.errors import PonderError
from ponder.models.heads import load_head, new_outcome_model, new_process_model, new_value_model
from ponder.models.load import LoadedModel, load_model
from ponder.models.scorers import OutcomeScorer, StepScorer


@pytest.fixture(scope="module")
def mini() -> LoadedModel:
    return load_model("mini", device="cpu")


def saved(head, folder: Path) -> Path:
    head.model.save_pretrained(folder)
    head.tokenizer.save_pretrained(folder)
    return folder


IDS = torch.tensor([[5, 6, 7, 8, 0, 0], [9, 10, 11, 12, 13, 14]])


def test_the_body_is_the_causal_models_and_a_copy(mini):
    wanted = mini.model.base_model(input_ids=IDS).last_hidden_state
    for head in (new_outcome_model(mini), new_process_model(mini)):
        assert torch.equal(head.model.base_model(input_ids=IDS).last_hidden_state, wanted)
        with torch.no_grad():
            head.model.base_model.embed_tokens.weight.zero_()
    assert torch.equal(mini.model.base_model(input_ids=IDS).last_hidden_state, wanted)


def test_heads_are_keyed_by_their_seed_alone(mini):
    torch.manual_seed(1)
    first = new_outcome_model(mini, seed=3).model.score.weight
    before = torch.random.get_rng_state()
    again = new_outcome_model(mini, seed=3).model.score.weight
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's random numbers are untouched"
    assert torch.equal(first, again)
    assert not torch.equal(first, new_outcome_model(mini, seed=4).model.score.weight)


def test_a_value_model_begins_at_zero(mini):
    assert torch.equal(new_value_model(mini)(input_ids=IDS).logits, torch.zeros(2, 6, 1))


def test_they_load_in_plain_transformers(mini, tmp_path):
    """Outcome scores at each row's last token that is not padding; step scores at any token; no dropout."""
    prompt, text = "What is 3+4*5?\n", "<think>\n4*5=20\n</think>\n<answer>23</answer>"
    outcome = new_outcome_model(mini)
    plain = AutoModelForSequenceClassification.from_pretrained(saved(outcome, tmp_path / "o"))
    ids = mini.tokenizer(prompt + text + mini.tokenizer.eos_token, return_tensors="pt").input_ids
    padded = torch.nn.functional.pad(ids, (0, 5), value=mini.tokenizer.pad_token_id)
    score = OutcomeScorer(tmp_path / "o").score([prompt], [text])[0]
    for rows in (ids, padded):
        logits = plain(input_ids=rows, attention_mask=(rows != mini.tokenizer.pad_token_id).long()).logits
        assert logits.tolist() == [[pytest.approx(score, abs=1e-5)]]

    process = new_process_model(mini)
    other = AutoModelForTokenClassification.from_pretrained(saved(process, tmp_path / "p")).train()
    steps = StepScorer(tmp_path / "p")
    ids = mini.tokenizer(prompt + text + "\n", return_tensors="pt").input_ids
    logits = other(input_ids=ids).logits[0, :, 0]
    ends = [at for at, token in enumerate(ids[0].tolist()) if mini.tokenizer.decode([token]) == "\n"]
    # The newlines behind `<think>` and `</think>` end no step (the prompt's is one token with its question mark).
    wanted = torch.sigmoid(logits[[ends[1], ends[-1]]]).tolist()
    assert steps.score([prompt], [steps.split(text)])[0] == pytest.approx(wanted, abs=1e-5)


def test_what_is_saved_says_its_kind_and_its_separator(mini, tmp_path):
    path = saved(new_process_model(mini, step_separator="\n\n"), tmp_path / "p")
    loaded = load_head(path)
    assert (loaded.kind, loaded.step_separator, loaded.context_length) == ("process", "\n\n", mini.context_length)
    assert StepScorer(path).split("a\n\nb") == ["a", "b"]
    with pytest.raises(PonderError, match="TokenClassification, not an outcome model"):
        OutcomeScorer(path)
    with pytest.raises(PonderError, match="of the process sort"):
        OutcomeScorer(loaded)


def test_what_is_no_reward_model(mini, tmp_path):
    with pytest.raises(PonderError, match="CausalLM, not an outcome or process model"):
        load_head("mini")
    path = saved(new_outcome_model(mini), tmp_path / "o")
    config = json.loads((path / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "a", "1": "b"}, {"a": 0, "b": 1}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PonderError, match="has 2 outputs"):
        load_head(path)
    with pytest.raises(PonderError, match="step_separator ''"):
        new_process_model(mini, step_separator="")


def test_a_missing_head_is_not_filled_with_chance(mini, tmp_path):
    from safetensors.torch import load_file, save_file

    path = saved(new_outcome_model(mini), tmp_path / "o")
    weights = load_file(path / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PonderError, match="lack score.weight"):
        load_head(path)


def test_another_architecture(mini):
    """GPT-2 calls its body and its heads otherwise."""
    config = GPT2Config(vocab_size=1100, n_positions=64, n_embd=32, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1)
    loaded = LoadedModel(GPT2LMHeadModel(config).eval(), mini.tokenizer, "gpt2", 64, mini.eos_ids)
    wanted = loaded.model.base_model(input_ids=IDS).last_hidden_state
    for head in (new_outcome_model(loaded), new_process_model(loaded)):
        assert torch.equal(head.model.base_model(input_ids=IDS).last_hidden_state, wanted)
    assert torch.equal(new_value_model(loaded)(input_ids=IDS).logits, torch.zeros(2, 6, 1))
