"""Stages of a pipeline that several processes run together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ponder.core.store import Run
from ponder.training.distributed import World


def stage(
    world: World,
    run: Run,
    name: str,
    fn: Callable[..., Mapping[str, Any] | None],
    cfg: Any,
    harmless: Mapping[str, Any] | None = None,
    **inputs: Any,
) -> Path:
    """`run.stage` on every rank: rank 0 keeps the books, the others join in when there is work to do.

    fn: `fn(cfg, folder, world=world, **harmless, **inputs)`; only rank 0 may write into `folder`.
    harmless: what may change without making the stage another one (how often to save, say).
    """
    harmless = dict(harmless or {})
    if world.first:
        called = False

        @functools.wraps(fn)
        def work(cfg: Any, folder: Path, **inputs: Any) -> Mapping[str, Any] | None:
            nonlocal called
            called = True
            world.broadcast("work")
            return fn(cfg, folder, world=world, **harmless, **inputs)

        path = run.stage(name, work, cfg, **inputs)
        if not called:
            world.broadcast("done already")
    else:
        path = run.out / name
        if world.broadcast("") == "work":
            fn(cfg, run.out / f"{name}.partial", world=world, **harmless, **inputs)
    world.broadcast("next")  # nobody reads the artifact before it is published
    return path
