"""`ponder doctor`: what is there, what is not, and the line that installs it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

EXTRAS = {
    "vllm": ("vllm",),
    "gpu": ("triton", "liger_kernel"),
    "track": ("tensorboard", "trackio"),
    "data": ("datasets", "pyarrow"),
    "gym": ("reasoning_gym",),
    "dev": ("pytest", "hypothesis", "ruff", "mypy", "trl"),
}

Row = tuple[str, str, str]
"""What, what was found, and the remedy ("" where nothing is amiss)."""


def doctor() -> None:
    """Check this machine: versions, cores, memory, GPU, optional parts, the embedded model."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    for name, found, remedy in rows():
        table.add_row(name, escape(found), f"[yellow]{escape(remedy)}[/]")
    Console(soft_wrap=False).print(table)


def rows() -> Iterator[Row]:
    """The table's rows."""
    from ponder.core.records import memory_gb, usable_cores

    yield "ponder", f"{importlib.metadata.version('ponder')} in {Path(__file__).resolve().parents[1]}", ""
    yield "python", platform.python_version(), ""
    yield from _libraries()
    yield "cores", str(usable_cores()), ""
    memory = memory_gb()
    yield "memory", f"{memory} GB", "" if memory >= 4 else "the main job needs 3 GB free"
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield "disk", f"{free:.1f} GB free here", "" if free >= 1 else "a run needs about 0.5 GB; use --out on another disk"
    yield from _gpus()
    yield from _extras()
    yield _mini()
    yield _namespaces()
    yield _folder()


def _libraries() -> Iterator[Row]:
    for name in ("torch", "transformers"):
        try:
            yield name, importlib.metadata.version(name), ""
        except importlib.metadata.PackageNotFoundError:
            yield name, "absent", f"pip install {name}"


def _gpus() -> Iterator[Row]:
    try:
        import torch
    except ImportError as error:
        yield "GPU", f"unknown: torch cannot be imported ({error})", "install torch again"
        return
    if not torch.cuda.is_available():
        remedy = ""
        if shutil.which("nvidia-smi") and torch.version.cuda is None:
            remedy = "this torch is a CPU build: install one with CUDA to use the GPU"
        yield "GPU", "none: the CPU is used", remedy
        return
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16: float32 is used"
        yield f"GPU {index}", f"{about.name}, {about.total_memory / 1e9:.0f} GB, {bf16}", ""


def _extras() -> Iterator[Row]:
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        found = "present" if not missing else f"absent: {', '.join(missing)}"
        yield f"extra {extra}", found, f"pip install 'ponder[{extra}]'" if missing else ""


def _mini() -> Row:
    from ponder.models.files import mini_weights

    weights = mini_weights()
    if weights is None:
        return "model mini", "absent", "ponder run mini-base"
    size = sum(file.stat().st_size for file in weights.iterdir() if file.is_file()) / 1e6
    return "model mini", f"present, {size:.1f} MB", ""


def _namespaces() -> Row:
    """Whether an untrusted program can be given a world of its own (Linux: user, mount, process and network)."""
    flags = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000
    script = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({flags:#x}) != 0)"
    usable = sys.platform == "linux" and subprocess.run([sys.executable, "-c", script]).returncode == 0
    return "namespaces", "usable" if usable else "not usable", "" if usable else "allow unprivileged user namespaces"


def _folder() -> Row:
    here = Path("runs") if Path("runs").is_dir() else Path.cwd()
    writable = os.access(here, os.W_OK)
    return "runs/", "writable" if writable else "not writable", "" if writable else "use --out with another folder"
