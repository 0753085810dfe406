"""The weights that ship: whole, small enough, and of this very corpus."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import ponder.mini
from ponder.mini.corpus import documents
from ponder.mini.model import CONTEXT_LENGTH, new_model
from ponder.mini.tokenizer import train_tokenizer
from ponder.models.load import load_model
from ponder.pipelines.mini_base import TOKENIZER_DOCUMENTS

WEIGHTS = Path(ponder.mini.__file__).parent / "weights"


@pytest.fixture(scope="module")
def shipped() -> tuple[torch.nn.Module, object]:
    """Read by transformers alone."""
    return AutoModelForCausalLM.from_pretrained(WEIGHTS).eval(), AutoTokenizer.from_pretrained(WEIGHTS)


def test_the_small_one_is_its_like(shipped: tuple[torch.nn.Module, object]) -> None:
    """The student of distillation: the same tokenizer and template, less than half the parameters, the same web."""
    small, (model, tokenizer) = load_model("mini-small"), shipped
    assert small.tokenizer.get_vocab() == tokenizer.get_vocab()  # type: ignore[attr-defined]
    assert small.tokenizer.chat_template == tokenizer.chat_template  # type: ignore[attr-defined]
    sizes = [sum(p.numel() for p in some.parameters()) for some in (small.model, model)]
    assert sizes[0] < 0.5 * sizes[1]
    rows = [tokenizer(d.text, return_tensors="pt")["input_ids"] for d in islice(documents("unseen"), 40)]  # type: ignore[operator]
    assert mean_loss(model, rows) < mean_loss(small.model, rows) < 1.0
    folders = (WEIGHTS, WEIGHTS.with_name("weights_small"))
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) <= 8_000_000


def test_they_are_small_and_have_their_card() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= 8_000_000
    text = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in text and "M tokens seen" in text and "nats a token" in text


def test_they_were_trained_on_this_corpus(shipped: tuple[torch.nn.Module, object]) -> None:
    """The corpus in the package gives the shipped vocabulary.

    Where it does not, the corpus has changed since, and perhaps the splits too: make the weights again with
    `ponder run mini-base`.
    """
    _, tokenizer = shipped
    texts = (document.text for document in islice(documents("tokenizer"), TOKENIZER_DOCUMENTS))
    made = train_tokenizer(texts, CONTEXT_LENGTH)
    assert tokenizer.get_vocab() == made.get_vocab()  # type: ignore[attr-defined]
    assert tokenizer.chat_template == made.chat_template  # type: ignore[attr-defined]


def test_they_have_learnt_it(shipped: tuple[torch.nn.Module, object]) -> None:
    """Loss a token on pages that were never trained on (a seed of their own), against weights that know nothing."""
    model, tokenizer = shipped
    rows = [tokenizer(d.text, return_tensors="pt")["input_ids"] for d in islice(documents("unseen"), 40)]  # type: ignore[operator]
    fresh = new_model(tokenizer, 0).eval()  # type: ignore[arg-type]
    assert sum(p.numel() for p in fresh.parameters()) == sum(p.numel() for p in model.parameters())
    learnt, naive = (mean_loss(some, rows) for some in (model, fresh))
    assert learnt < 1.0 < 6.0 < naive, (learnt, naive)


def mean_loss(model: torch.nn.Module, rows: list[torch.Tensor]) -> float:
    with torch.no_grad():
        losses = [model(row, labels=row).loss.item() * (row.shape[1] - 1) for row in rows]
    return sum(losses) / sum(row.shape[1] - 1 for row in rows)


def test_mini_is_their_name(shipped: tuple[torch.nn.Module, object]) -> None:
    loaded = load_model("mini")
    assert loaded.context_length == CONTEXT_LENGTH and len(loaded.eos_ids) == 2
    for one, other in zip(loaded.model.parameters(), shipped[0].parameters(), strict=True):
        assert torch.equal(one, other)
