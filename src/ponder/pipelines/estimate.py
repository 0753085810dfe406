"""About how long a stage takes and how much memory it needs, before anything is loaded: on this machine, or on other
hardware that is named. Rough: within a factor of two or three, for the length of answers is not known before they are
sampled; for a GPU the shares below are not measured but assumed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch

from ponder.pipelines.hardware import Hardware, this_machine

SAMPLING_SHARE, TRAINING_SHARE = 0.14, 0.25
"""Shares of the matrix rate that decoding and training were seen to reach with the embedded model on two cores."""

GPU_SAMPLING_SHARE, GPU_TRAINING_SHARE = 0.4, 0.25
"""Shares of a GPU's bfloat16 rate. Assumed, not measured."""

DECODE_STEP_S = 0.03
"""What a decoding step of all rows in flight takes on a GPU at least, for Python and launching kernels. Assumed."""

IN_FLIGHT = 256
"""Rows that the local sampler decodes at once."""

LIKELY_LENGTH = 0.3
"""Mean length of a completion as a share of its limit."""

RUNTIME_GB, GPU_RUNTIME_GB = 0.45, 1.5
"""What PyTorch and transformers take in each process before any model: of memory, and of a GPU's."""

KEPT = 25
"""Numbers kept a token for the backward pass, as a multiple of the square root of the parameters (width x layers grows
about so from 1 M to 7 B)."""

KEPT_CHECKPOINTED = 3
"""The same with gradient checkpointing: the layers' inputs, and one layer at a time."""

BYTES_TRAINED, BYTES_READ, BYTES_READ_GPU = 16, 4, 2
"""A parameter's weight, gradient and AdamW's two moments, all float32; its weight alone (bfloat16 on a GPU)."""

BATCH_TOKENS = 4096
"""Tokens of a training micro-batch where the settings leave them to the machine; on a GPU four times as many."""


@dataclass(frozen=True)
class Target:
    """What is planned for. hardware: where. batch_tokens, checkpointing, bf16, lora: of the trainings; 0 tokens are the
    machine's own choice. references: 1 where a reference model stands beside the one that is trained."""

    hardware: Hardware
    batch_tokens: int = 0
    checkpointing: bool = False
    bf16: bool = False
    references: int = 0
    lora: bool = False


_TARGET: ContextVar[Target | None] = ContextVar("target", default=None)


@contextmanager
def planned_for(target: Target) -> Iterator[None]:
    """Inside, estimates are for `target`; outside, for this machine."""
    token = _TARGET.set(target)
    try:
        yield
    finally:
        _TARGET.reset(token)


def current_target() -> Target:
    """What estimates are for now."""
    return _TARGET.get() or Target(this_machine())


def matrix_rate(size: int = 384, seconds: float = 0.05) -> float:
    """Matrix operations a second of one process: stated for hardware that is named, else measured for a moment (of one
    thread, or of this machine's GPU in bfloat16)."""
    hardware = current_target().hardware
    if hardware.matmul:
        return hardware.matmul
    if hardware.gpu:
        return _measured(torch.device("cuda"), 4096, seconds, torch.bfloat16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measured(torch.device("cpu"), size, seconds, torch.float32)
    finally:
        torch.set_num_threads(threads)


def _measured(device: torch.device, size: int, seconds: float, dtype: torch.dtype) -> float:
    """The fastest product counts: what else the machine does at this moment is not the machine's speed."""
    left = torch.randn(size, size, device=device, dtype=dtype)
    best, count, until = float("inf"), 0, time.perf_counter() + seconds
    while count < 10 or time.perf_counter() < until:
        count, began = count + 1, time.perf_counter()
        left @ left
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def sampling_seconds(completions: int, limit: int, parameters: int, rate: float) -> float:
    """Seconds to sample: 2 N operations a token. On a GPU at least a decoding step's time: that of reading the weights
    and of starting the kernels, for `IN_FLIGHT` rows at a time. rate: of all processes."""
    hardware = current_target().hardware
    tokens = completions * limit * LIKELY_LENGTH
    if not hardware.gpu:
        return tokens * 2 * parameters / (rate * SAMPLING_SHARE)
    step = max(DECODE_STEP_S, BYTES_READ * parameters / hardware.bandwidth)
    computed = tokens * 2 * parameters / (rate * GPU_SAMPLING_SHARE)
    return max(computed, tokens / min(max(1, completions), IN_FLIGHT * hardware.devices) * step)


def training_seconds(tokens: float, parameters: int, rate: float) -> float:
    """Seconds to train on `tokens`: 6 N operations a token, forward and backward; 8 N where the forward is done twice
    to save memory. rate: of all processes."""
    target = current_target()
    share = GPU_TRAINING_SHARE if target.hardware.gpu else TRAINING_SHARE
    return tokens * (8 if target.checkpointing else 6) * parameters / (rate * share)


def memory_gb(parameters: int, processes: int, batch_tokens: int = 0) -> float:
    """GB over all processes, on a GPU of each device (every process holds the whole model).

    batch_tokens: of a training micro-batch, whose activations are kept; 0 only samples. What the sampler keeps of keys
    and values is not counted: it takes what is free.
    """
    target = current_target()
    gpu, trained = target.hardware.gpu, batch_tokens > 0
    read = BYTES_READ_GPU if gpu else BYTES_READ
    learnt = BYTES_READ if target.lora else BYTES_TRAINED  # adapters are small beside what they are put on
    weights = parameters * (learnt + BYTES_READ * target.references if trained else read)
    kept = KEPT_CHECKPOINTED if target.checkpointing else KEPT
    tokens = (target.batch_tokens or (4 * batch_tokens if gpu else batch_tokens)) if trained else 0
    activations = (2 if gpu and target.bf16 else 4) * tokens * kept * parameters**0.5
    one = (GPU_RUNTIME_GB if gpu else RUNTIME_GB) + (weights + activations) / 1e9
    return one if gpu else processes * one
