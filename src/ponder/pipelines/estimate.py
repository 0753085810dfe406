"""About how long a stage takes here and how much memory it needs, before anything is loaded. Rough: within a factor of
two or three, for the length of answers is not known before they are sampled."""

from __future__ import annotations

import time

import torch

SAMPLING_SHARE, TRAINING_SHARE = 0.2, 0.5
"""Shares of the matrix rate that decoding and training were seen to reach with the embedded model on two cores."""

LIKELY_LENGTH = 0.3
"""Mean length of a completion as a share of its limit."""

RUNTIME_GB = 0.45
"""What PyTorch and transformers take in each process before any model."""

KEPT = 25
"""Numbers kept a token for the backward pass, as a multiple of the square root of the parameters (width x layers grows
about so from 1 M to 7 B)."""

BYTES_TRAINED, BYTES_READ = 16, 4
"""A parameter's weight, gradient and AdamW's two moments; its weight alone. All float32."""


def matrix_rate(size: int = 384, seconds: float = 0.05) -> float:
    """Floating-point operations a second of one thread's matrix product, measured for a moment."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        left, right = torch.randn(size, size), torch.randn(size, size)
        left @ right
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            left @ right
            count += 1
        return 2 * size**3 * count / (time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)


def sampling_seconds(completions: int, limit: int, parameters: int, rate: float) -> float:
    """Seconds to sample: 2 N operations a token."""
    return completions * limit * LIKELY_LENGTH * 2 * parameters / (rate * SAMPLING_SHARE)


def training_seconds(tokens: float, parameters: int, rate: float) -> float:
    """Seconds to train on `tokens`: 6 N operations a token, forward and backward."""
    return tokens * 6 * parameters / (rate * TRAINING_SHARE)


def memory_gb(parameters: int, processes: int, batch_tokens: int = 0) -> float:
    """GB over all processes. batch_tokens: of a training micro-batch, whose activations are kept; 0 only samples."""
    trained = batch_tokens > 0
    each = parameters * (BYTES_TRAINED if trained else BYTES_READ) + 4 * batch_tokens * KEPT * parameters**0.5
    return processes * (RUNTIME_GB + each / 1e9)
