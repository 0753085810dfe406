"""Ctrl-C that acts at the end of a step."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ponder.training.distributed import World

log = logging.getLogger("ponder")


class Stopped(KeyboardInterrupt):
    """Ctrl-C, obeyed at the end of a step: the checkpoint is written, and the same command goes on from it."""


@contextmanager
def ctrl_c(world: World) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second acts at once. Only rank 0, in its main thread, listens."""
    asked = threading.Event()
    if not world.first or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        log.warning("stopping at the end of this step; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
