"""Continuous batching, seen from a session that plays a script instead of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ponder.core.types import SamplingParams
from ponder.sampling import schedule
from ponder.sampling.decode import Prefilled
from ponder.sampling.pick import row_keys
from ponder.sampling.schedule import Ended, Job, Schedule
from ponder.sampling.stopping import token_flags

SIZE, EOS = 40, 0


class ScriptedSession:
    """Each prompt is (first token, length): the row counts on from its first token, and ends after `length` tokens.

    It keeps for each slot what it was given and fed, so that a row which is moved wrongly shows.
    """

    device = torch.device("cpu")

    def __init__(self, rows: int) -> None:
        self.rows, self.slots = rows, [[] for _ in range(rows)]
        self.prefilled: list[tuple[int, ...]] = []
        self.steps: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Prefilled:
        self.prefilled += [tuple(prompt) for prompt in prompts]
        self.ready = [list(prompt) for prompt in prompts]
        return Prefilled(self._logits(self.ready), tuple(map(len, prompts)), (), ())

    def admit(self, ready: Prefilled, picks: Sequence[int], slots: Sequence[int]) -> None:
        for pick, slot in zip(picks, slots, strict=True):
            self.slots[slot] = list(self.ready[pick])

    def move(self, source: Sequence[int], target: Sequence[int]) -> None:
        for old, new in zip(source, target, strict=True):
            self.slots[new] = list(self.slots[old])

    def sort(self, rows: int) -> np.ndarray:
        """Another order each time, whatever it costs: the schedule must follow."""
        order = np.roll(np.arange(rows), len(self.steps))[::-1].copy()
        self.slots[:rows] = [self.slots[slot] for slot in order]
        return order

    def step(self, token_B: Tensor) -> Tensor:
        self.steps.append(len(token_B))
        for slot, token in enumerate(token_B.tolist()):
            self.slots[slot].append(token)
        return self._logits(self.slots[: len(token_B)])

    def _logits(self, rows: Sequence[list[int]]) -> Tensor:
        logits = torch.full((len(rows), SIZE), -torch.inf)
        for row, (first, length, *fed) in enumerate(rows):
            assert fed == [first + i for i in range(len(fed))], "a row must be fed what it said"
            logits[row, EOS if len(fed) + 1 == length else first + len(fed)] = 0.0
        return logits


def run(
    prompts: list[tuple[int, int]], n: int, rows: int, limit: int = 100
) -> tuple[ScriptedSession, dict[int, Ended]]:
    session, ended = ScriptedSession(rows), {}
    jobs = [Job(prompt, limit, range(at * n, at * n + n), row_keys(0, prompt, n)) for at, prompt in enumerate(prompts)]
    flags = token_flags(SIZE, [EOS], None, session.device)

    def on_end(one: Ended) -> None:
        assert one.index not in ended
        ended[one.index] = one

    Schedule(session, jobs, SamplingParams(n=n), rows, flags, None, on_end).run()
    return session, ended


def test_every_sample_ends_as_its_own_script_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "EVERY", 3)
    prompts = [(2, 9), (5, 1), (3, 4), (11, 17), (7, 2), (20, 6), (1, 1), (9, 12)]
    for rows in (1, 2, 5, 24):
        session, ended = run(prompts, n=3, rows=min(rows, 24))
        for index, one in ended.items():
            first, length = prompts[index // 3]
            assert one.token_ids == [*range(first, first + length - 1), EOS]
            assert one.logprobs == [0.0] * length
            assert one.finish == "stop"
        assert sorted(ended) == list(range(24))
        assert max(session.steps, default=0) <= rows


def test_a_prompt_is_read_once_for_all_its_samples() -> None:
    session, _ = run([(2, 9), (5, 3), (3, 4)], n=7, rows=4)
    assert sorted(session.prefilled) == [(2, 9), (3, 4), (5, 3)]


def test_freed_rows_are_filled_at_once_and_empty_ones_cost_nothing() -> None:
    """Rows x steps is the number of tokens fed: no row is ever computed that nobody waits for."""
    prompts = [(1, 30), (1, 2), (1, 3), (1, 2), (1, 5), (1, 2), (1, 4), (1, 3)]
    session, ended = run(prompts, n=1, rows=2)
    assert sum(session.steps) == sum(length - 1 for _, length in prompts)
    # The first row alone lasts 29 steps; the second keeps busy with all others (14 steps) meanwhile.
    assert len(session.steps) == 29
    assert session.steps == [2] * 14 + [1] * 15
    assert len(ended) == len(prompts)


def test_a_limit_ends_a_row_without_an_end_token() -> None:
    _, ended = run([(1, 30), (4, 3)], n=2, rows=3, limit=5)
    assert [(ended[i].token_ids, ended[i].finish) for i in range(4)] == [
        ([1, 2, 3, 4, 5], "length"),
        ([1, 2, 3, 4, 5], "length"),
        ([4, 5, EOS], "stop"),
        ([4, 5, EOS], "stop"),
    ]


def test_the_session_learns_how_many_rows_are_still_needed() -> None:
    session, _ = run([(1, 9), (1, 3), (1, 3)], n=1, rows=3)
    assert session.rows == 0
