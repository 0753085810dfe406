"""What the sampling tests share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sampling.tiny_models import make_model, make_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Byte-level BPE with real merges."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def qwen3() -> Any:
    """A random Qwen3 of two layers; tests that change its weights make their own."""
    return make_model("qwen3")
