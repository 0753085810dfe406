"""What a plan may be made for besides this machine: GPUs by name, with the rates and memory that their makers state."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch

from ponder.core.errors import PonderError, nearest
from ponder.core.records import memory_gb, usable_cores

THIS = "this"


@dataclass(frozen=True)
class Hardware:
    """matmul: bfloat16 matrix operations a second of one device, without sparsity, as its maker states; 0: measured
    where it is needed. bandwidth: bytes a second between a device and its memory. memory_gb: of one device, 10^9 bytes
    (of a CPU, of the machine)."""

    name: str
    title: str
    matmul: float
    bandwidth: float
    memory_gb: float
    devices: int = 1
    gpu: bool = True


def _gpu(name: str, title: str, tera: float, terabytes: float, memory: float) -> Hardware:
    return Hardware(name, title, tera * 1e12, terabytes * 1e12, memory)


GPUS = {
    one.name: one
    for one in (
        _gpu("h200", "NVIDIA H200 SXM", 989, 4.8, 141),
        _gpu("h100", "NVIDIA H100 SXM", 989, 3.35, 80),
        _gpu("a100-80gb", "NVIDIA A100 80 GB SXM", 312, 2.04, 80),
        _gpu("a100-40gb", "NVIDIA A100 40 GB SXM", 312, 1.56, 40),
        _gpu("l40s", "NVIDIA L40S", 362, 0.864, 48),
        _gpu("l4", "NVIDIA L4", 121, 0.3, 24),
        _gpu("a10g", "NVIDIA A10G", 70, 0.6, 24),
        _gpu("rtx4090", "NVIDIA RTX 4090", 165, 1.01, 24),
        _gpu("rtx3090", "NVIDIA RTX 3090", 71, 0.936, 24),
    )
}
"""Dense rates from the makers' data sheets (RTX and A10G: with float32 accumulation). `h100x8` is eight of a kind."""


def hardware_of(name: str) -> Hardware:
    """`this` (the machine at hand), a row of `GPUS`, or one with a number: `h100x8`. Raises PonderError for others."""
    if name == THIS:
        return this_machine()
    match = re.fullmatch(r"(.+)x([1-9]\d{0,4})", name.lower())
    bare, devices = (match[1], int(match[2])) if match and name.lower() not in GPUS else (name.lower(), 1)
    if bare not in GPUS:
        near = nearest(bare, GPUS)
        raise PonderError(f"no hardware is called {name!r}{near or ';'} known: {THIS}, {', '.join(GPUS)}; x8 is eight")
    return replace(GPUS[bare], name=name.lower(), devices=devices)


def this_machine() -> Hardware:
    """The machine at hand: its first GPU (a pipeline uses one, but under torchrun), or its cores."""
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        known = next((one for one in GPUS.values() if one.title.split()[1].lower() in about.name.lower()), None)
        bandwidth = known.bandwidth if known else 1e12
        return Hardware(THIS, about.name, 0.0, bandwidth, about.total_memory / 1e9)
    return Hardware(THIS, "this machine", 0.0, 0.0, memory_gb(), usable_cores(), gpu=False)
