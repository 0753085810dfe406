"""Giving up on graders that hang, and the loop that asynchronous ones share.

In the main thread a call is interrupted by a signal, so that a function runs where its author expected it to (some use
`signal.alarm` themselves). In any other thread it is left behind: a thread cannot be ended from outside.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class GaveUp(BaseException):
    """A call took longer than its cap. No `Exception`, so that a grader's own broad `except` does not swallow it."""


def start(call: Callable[[], T], cap_s: float) -> Callable[[], T]:
    """Begin `call` in a thread of its own; what is returned waits for its value.

    The wait raises what the call raised, or GaveUp once `cap_s` seconds have passed since it began.
    """
    done = threading.Event()
    values: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            values.append(call())
        except BaseException as error:  # handed over to the thread that waits
            errors.append(error)
        finally:
            done.set()

    deadline = time.monotonic() + cap_s
    threading.Thread(target=work, name="grader", daemon=True).start()

    def wait() -> T:
        if not done.wait(max(deadline - time.monotonic(), 0.0)):
            raise GaveUp
        if errors:
            raise errors[0]
        return values[0]

    return wait


def limited(call: Callable[[], T], cap_s: float) -> T:
    """`call()`, in this thread where that can be interrupted; raises GaveUp after `cap_s` seconds."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_kill"):
        return start(call, cap_s)()
    armed = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        if armed:
            raise GaveUp

    before = signal.signal(signal.SIGVTALRM, interrupt)
    timer = threading.Timer(cap_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGVTALRM))
    timer.daemon = True
    timer.start()
    try:
        return call()
    finally:
        armed = False
        timer.cancel()
        timer.join()  # a signal that is under way arrives before the handler goes
        signal.signal(signal.SIGVTALRM, before)


# ---- one loop a process: clients that a function keeps between calls belong to the loop they were made in ----

_lock = threading.Lock()
_loop: tuple[int, asyncio.AbstractEventLoop] | None = None


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's value. All of a process run in one loop, side by side; call it from any thread but the loop's."""
    return asyncio.run_coroutine_threadsafe(coroutine, _running()).result()


def forget_loop() -> None:
    """The next coroutine gets a new loop: in the old one something does not end, and may block it."""
    global _loop
    with _lock:
        _loop = None


def _running() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop[0] != os.getpid():  # a fork has no threads but its own
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="reward loop", daemon=True).start()
            _loop = (os.getpid(), loop)
        return _loop[1]


# ---- the threads that grade ----

GRADERS = 32
"""Completions that are graded at once: most graders wait, for a sandbox, a worker process or an endpoint."""

_pool: tuple[int, ThreadPoolExecutor] | None = None


def graders() -> ThreadPoolExecutor:
    """This process's pool. It is kept, for processes that a grader starts may end with the thread that started them."""
    global _pool
    with _lock:
        if _pool is None or _pool[0] != os.getpid():
            _pool = (os.getpid(), ThreadPoolExecutor(GRADERS, "graders"))
        return _pool[1]
