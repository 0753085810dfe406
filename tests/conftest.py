"""Every test runs without a network and on one thread: fast on a shared machine, and the same on every machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from hypothesis import settings

from ponder.sandbox.limits import SandboxUnavailable

# Where a merge depends on it the examples are the same each time; on a person's machine they are new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Where this machine cannot wall a program off, tests that happen to run one are skipped; those of the jail itself
    (tests/sandbox) say for themselves what a machine must be able to do."""
    try:
        return (yield)
    except SandboxUnavailable as error:
        if Path(item.fspath).parent.name == "sandbox":
            raise
        pytest.skip(f"no jail on this machine: {error}")
