"""Without a wall, the attacks that it stops succeed: the suite of attacks is not green by accident.

Each ablation takes one wall from a tier, in a process of its own that is walled by the others, and runs a few named
attacks that are harmless when they succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ponder.sandbox import jail, worker
from ponder.sandbox.jail import Sandbox
from ponder.sandbox.limits import SandboxUnavailable
from tests.sandbox.attack_harness import Canaries, attack, canaries, shared_rows
from tests.sandbox.attacks import ATTACKS

pytestmark = pytest.mark.slow

ROWS = {row["name"]: row for row in [*shared_rows(), *ATTACKS]}
# (the tier, the wall taken away, attacks that must then succeed)
ABLATIONS = {
    "full without seccomp": (
        "full",
        "seccomp",
        ["call_fork", "call_inotify_init", "proc_raw_clone", "call_timerfd_create"],
    ),
    "nons without seccomp": ("nons", "seccomp", ["net_unix_dgram", "call_socket", "write_chmod", "call_inotify_init"]),
    "nons without landlock": ("nons", "landlock", ["read_open", "read_mmap", "lists_the_host", "write_append"]),
}


@pytest.fixture(scope="module")
def canary() -> Iterator[Canaries]:
    """Canaries of this module."""
    with canaries() as told:
        yield told


def without(tier: str, wall: str, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox of a tier that lacks one wall; its proof is left out, for it would rightly refuse."""
    weaker = replace(worker.TIERS[tier], **{wall: False})
    monkeypatch.setitem(worker.TIERS, tier, weaker)
    monkeypatch.setattr(jail, "prove", lambda mode, packages: (tier, worker.start(weaker, packages)))
    return Sandbox(tier, workers=1)


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_a_wall_that_is_taken_away_is_missed(name: str, canary: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    tier, wall, attacks = ABLATIONS[name]
    rows: list[dict[str, Any]] = [ROWS[attack_name] for attack_name in attacks]
    try:
        whole = Sandbox(tier, workers=1)
    except SandboxUnavailable as error:
        pytest.skip(f"this machine cannot build {tier}: {error}")
    with whole:
        for row in rows:
            report = attack(row, whole, canary, most=99)
            assert report.verdict.correct is False and not report.breaches, (row["name"], report)
    with without(tier, wall, monkeypatch) as weaker:
        held = [row["name"] for row in rows if not attack(row, weaker, canary, most=99).breaches]
    for row in rows:  # as they were, for the next ablation
        if row["kind"] == "write":
            with open(canary.fills["WRITE"], "w", encoding="utf-8") as file:
                file.write("as it was\n")
    canary.ready()
    assert not held, f"{name}: these attacks failed although nothing should have stopped them: {held}"
