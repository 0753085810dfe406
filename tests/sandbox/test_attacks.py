"""Hostile programs get no reward and reach nothing, on every tier that this machine can build; honest ones pass.

The rows are those of `sandbox_attacks.jsonl`, where it is at hand, and those of `attacks.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import SandboxUnavailable
from tests.sandbox.attack_harness import (
    ROWS,
    Canaries,
    Report,
    adopt_orphans,
    at_rest,
    attack,
    below,
    canaries,
    release_orphans,
    shared_rows,
    subset,
)
from tests.sandbox.attacks import ATTACKS

TIERS = ("full", "nons")
ALL = [*shared_rows(), *ATTACKS]
SLOW_ONES = {"fork_bomb", "thread_bomb"}  # two of a kind are enough in the fast suite
FAST = [row for row in subset(ALL, 9, seed=7) if row["name"] not in SLOW_ONES]


def named(rows: list[dict[str, Any]]) -> Any:
    """Rows as parameters, by name."""
    return pytest.mark.parametrize("row", rows, ids=[row["name"] for row in rows])


@pytest.fixture(scope="module")
def canary() -> Iterator[Canaries]:
    """One set of canaries for all rows."""
    adopt_orphans()
    try:
        with canaries() as told:
            yield told
    finally:
        release_orphans()


class Bench:
    """Sandboxes by tier, each with the number of processes that it keeps at rest."""

    def __init__(self, canary: Canaries) -> None:
        self.canary = canary
        self.open: dict[str, tuple[Sandbox, int] | str] = {}

    def run(self, row: dict[str, Any], tier: str) -> Report:
        """The report of a row on a tier; skips where this machine cannot build the tier."""
        if tier not in self.open:
            others = len(below(self.canary))
            try:
                sandbox = Sandbox(tier, workers=1)
                self.open[tier] = (sandbox, at_rest(sandbox, self.canary) - others)
            except SandboxUnavailable as error:
                self.open[tier] = str(error)
        place = self.open[tier]
        if isinstance(place, str):
            pytest.skip(f"this machine cannot build {tier}: {place}")
        most = sum(kept for other in self.open.values() if not isinstance(other, str) for kept in other[1:])
        return attack(row, place[0], self.canary, most)


@pytest.fixture(scope="module")
def bench(canary: Canaries) -> Iterator[Bench]:
    """The sandboxes of this module; nothing may be left of them."""
    told = Bench(canary)
    yield told
    for place in told.open.values():
        if not isinstance(place, str):
            place[0].close()
    until = time.monotonic() + 10
    while below(canary) and time.monotonic() < until:
        time.sleep(0.05)
    assert not below(canary), "processes outlived their sandbox"


def judge(report: Report, row: dict[str, Any]) -> None:
    """An attack: no breach. A control: right as well."""
    assert not report.breaches, f"{row['kind']}/{row['name']} ({row['why']}): {report.breaches} {report.verdict}"
    if row["must"] == "pass":
        assert report.verdict.correct is True, report.verdict
    if row["must"] == "timeout" and row["name"] in ("busy_loop", "ignore_signals"):
        assert report.verdict.status.startswith("timeout"), report.verdict


def test_every_row_is_well_formed() -> None:
    names = [row["name"] for row in ALL]
    assert len(set(names)) == len(names)
    for row in ALL:
        assert set(row) == {"name", "kind", "code", "test", "must", "why"}, row["name"]
        assert row["must"] in ("fail", "timeout", "killed", "pass")
        assert row["test"]["mode"] in ("stdio", "call", "assert")
        json.dumps(row)


@named(FAST)
def test_a_subset_on_the_strongest_tier(row: dict[str, Any], bench: Bench) -> None:
    judge(bench.run(row, TIERS[0]), row)


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
@named(ALL)
def test_every_row_on_every_tier(row: dict[str, Any], tier: str, bench: Bench) -> None:
    judge(bench.run(row, tier), row)


@pytest.mark.slow
def test_the_shared_rows_are_at_hand() -> None:
    if not ROWS.exists():
        pytest.skip(
            "sandbox_attacks.jsonl is not at hand (looked in ../shared/data; PONDER_SHARED_DATA names another place)"
        )
    assert len(shared_rows()) >= 100
