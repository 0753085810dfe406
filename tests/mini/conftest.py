"""A corpus and its tokenizer, made once for all tests of the miniature world."""

from __future__ import annotations

from itertools import islice

import pytest
from transformers import PreTrainedTokenizerFast

from ponder.mini.corpus import Document, documents
from ponder.mini.model import CONTEXT_LENGTH
from ponder.mini.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def corpus() -> list[Document]:
    return list(islice(documents("tests"), 20_000))


@pytest.fixture(scope="session")
def tokenizer(corpus: list[Document]) -> PreTrainedTokenizerFast:
    return train_tokenizer((document.text for document in corpus[:3000]), CONTEXT_LENGTH)
