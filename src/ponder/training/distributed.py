"""Several processes that train one model: every rank runs the same program (SPMD), on its share of the questions.

On a CPU small models scale by processes of one thread each, not by threads (they spin at barriers). `launch` keeps
rank 0 in the calling process and spawns the others; under torchrun the same code joins the group that is there.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from ponder.core.errors import PonderError

T = TypeVar("T")

_TIMEOUT = timedelta(hours=24)
"""A rank that died closes its sockets and is noticed at once; a rank that evaluates for hours is in order."""


@dataclass(frozen=True)
class World:
    """This process's place among `size` equal ones. Each method is called by every rank, in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and talks to the person."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's part of `items`: every `size`-th, so that neighbours (of like length) are spread."""
        return list(items[self.rank :: self.size])

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace `tensor` by its sum over the ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """Every rank's `value`, in order of rank, on every rank."""
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def broadcast(self, value: T) -> T:
        """Rank 0's `value`, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def unshare(parts: Sequence[Sequence[T]]) -> list[T]:
    """The inverse of `World.share`: the parts of all ranks, in the order of the whole."""
    size = len(parts)
    return [parts[i % size][i // size] for i in range(sum(map(len, parts)))]


def under_torchrun() -> bool:
    """Whether a launcher has already started the processes and told each its rank."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ and "MASTER_ADDR" in os.environ


def launch(fn: Callable[..., T], nproc: int, args: Sequence[Any] = ()) -> T:
    """Run `fn(world, *args)` on `nproc` ranks and return what rank 0, which is the calling process, returned.

    `fn` must be importable by name, and `args` picklable, for the other ranks are new interpreters; they hold one
    thread each, ignore Ctrl-C (rank 0 tells them when to stop) and die with this process, however it dies. An
    exception on any rank ends all of them and is raised here: a PonderError as itself, any other as a RuntimeError
    that carries the rank's traceback. Under torchrun nothing is spawned and `nproc` is the launcher's.
    """
    if under_torchrun():
        return _join(fn, args)
    if nproc < 1:
        raise PonderError(f"processes is {nproc}; it must be at least 1")
    if nproc == 1:
        return fn(World(), *args)
    return _spawn(fn, nproc, args)


def _join(fn: Callable[..., T], args: Sequence[Any]) -> T:
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_TIMEOUT)
    try:
        return fn(World(dist.get_rank(), dist.get_world_size()), *args)
    finally:
        dist.destroy_process_group()


def _spawn(fn: Callable[..., T], nproc: int, args: Sequence[Any]) -> T:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if sys.platform == "linux":  # gloo otherwise looks the host's own name up, which many containers cannot resolve
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = dist.TCPStore("127.0.0.1", 0, nproc, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)  # type: ignore[attr-defined]
    children: list[_Child] = []
    try:
        for rank in range(1, nproc):
            children.append(_start(rank, nproc, store.port, fn, args))
        for child in children:
            child.wait_until_ready()
        try:
            dist.init_process_group("gloo", store=store, rank=0, world_size=nproc, timeout=_TIMEOUT)
            dist.barrier()  # no rank may fail, and so vanish, while another is still connecting to it
            result = fn(World(0, nproc), *args)
        except PonderError:
            raise
        except Exception as error:  # perhaps only the echo, in a collective, of what went wrong on another rank
            failure = _reported_failure(children)
            if failure is None:
                raise
            raise failure from (None if isinstance(failure, PonderError) else error)
        for child in children:
            child.process.join(timeout=60)
        failure = _reported_failure(children)
        if failure is not None:
            raise failure
        return result
    finally:
        for child in children:
            if child.process.is_alive():
                child.process.kill()
            child.process.join()
            child.pipe.close()
        if dist.is_initialized():
            dist.destroy_process_group()
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Child:
    rank: int
    process: BaseProcess
    pipe: Connection

    def wait_until_ready(self) -> None:
        """Return when the rank is about to join the group, so that rank 0 never waits for one that cannot."""
        while not self.pipe.poll(0.1):
            if not self.process.is_alive() and not self.pipe.poll():
                raise RuntimeError(f"rank {self.rank} ended before it could start ({self.exit_reason()})")
        failure = self.failure()
        if failure is not None:
            raise failure

    def failure(self) -> Exception | None:
        """What the rank has reported, or how it ended; None while all is well with it."""
        try:
            if self.pipe.poll():
                kind, message = self.pipe.recv()
                if kind == "ready":
                    return None
                return PonderError(message) if kind == "mistake" else RuntimeError(f"rank {self.rank}: {message}")
        except (EOFError, OSError):
            pass
        if not self.process.is_alive() and self.process.exitcode != 0:
            return RuntimeError(f"rank {self.rank} ended early: {self.exit_reason()}")
        return None

    def exit_reason(self) -> str:
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return "killed by signal 9, as a machine out of memory does"
        return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _start(rank: int, nproc: int, port: int, fn: Callable[..., Any], args: Sequence[Any]) -> _Child:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    call = (rank, nproc, port, os.getpid(), theirs, fn, tuple(args))
    process = context.Process(target=_child, args=call, name=f"ponder-rank-{rank}")
    # A new interpreter takes seconds to reach `_child`; until then the inherited mask keeps Ctrl-C from it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return _Child(rank, process, ours)


def _child(rank: int, nproc: int, port: int, parent: int, pipe: Connection, fn: Callable[..., Any], args: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(parent)
    torch.set_num_threads(1)
    try:
        store = dist.TCPStore("127.0.0.1", port, nproc, is_master=False, timeout=_TIMEOUT)  # type: ignore[attr-defined]
        pipe.send(("ready", ""))
        dist.init_process_group("gloo", store=store, rank=rank, world_size=nproc, timeout=_TIMEOUT)
        dist.barrier()
        fn(World(rank, nproc), *args)
        dist.destroy_process_group()
    except KeyboardInterrupt:  # the stop that rank 0 announced
        pass
    except PonderError as error:
        pipe.send(("mistake", str(error)))
    except BaseException:
        pipe.send(("failure", traceback.format_exc()))
    finally:
        pipe.close()


def _die_with(parent: int) -> None:
    """End this process when `parent` ends, even by kill -9."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)
    else:
        threading.Thread(target=_poll_parent, args=(parent,), daemon=True).start()


def _poll_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _reported_failure(children: Sequence[_Child], patience_s: float = 3.0) -> Exception | None:
    """The first failure among the other ranks; waits a moment, for a message may trail the broken connection."""
    deadline = time.monotonic() + patience_s
    while True:
        for child in children:
            failure = child.failure()
            if failure is not None:
                return failure
        if time.monotonic() > deadline or all(child.process.exitcode == 0 for child in children):
            return None
        time.sleep(0.05)
