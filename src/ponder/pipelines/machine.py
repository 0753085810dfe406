"""What a pipeline asks of a machine before it begins: how many processes, whether programs can run, about how long."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ponder.core.errors import PonderError
from ponder.core.records import usable_cores
from ponder.core.store import NotReady, Run
from ponder.models.load import parameter_count
from ponder.models.size import model_size
from ponder.pipelines import Plan
from ponder.pipelines.estimate import (
    BATCH_TOKENS,
    LIKELY_LENGTH,
    current_target,
    matrix_rate,
    memory_gb,
    sampling_seconds,
    training_seconds,
)
from ponder.sandbox.choice import VARIABLE
from ponder.tasks import PROGRAMS, runnable
from ponder.training.distributed import World, launch, under_torchrun

S = TypeVar("S")

SMALL_MODEL = 50_000_000
"""Parameters up to which, on a CPU, one process a core beats one process with all the cores (threads of a small model
spin at barriers)."""

STAGE_S = 1.0
"""What a stage takes besides its work: loading a model, drawing problems, grading, writing."""

WITH_PROMPT = 1.5
"""Tokens of prompt and completion together, as a multiple of the completion's."""


@dataclass(frozen=True)
class Machine:
    """parameters: of the model. processes: that share the work. rate: matrix operations a second, of all of them.
    active: parameters that a token meets, where experts take turns; 0: all."""

    parameters: int
    processes: int
    rate: float = 0.0
    active: int = 0

    @classmethod
    def of(cls, model: str, processes: int = 0) -> Machine:
        """What a plan is for: the hardware that `ponder.pipelines.estimate.planned_for` names, one process a device, or
        this machine, as `processes_for`, with its speed measured for a moment. Reads no weights and asks no network
        where the model's name tells its size."""
        size, hardware = model_size(model), current_target().hardware
        if hardware.matmul:
            count = hardware.devices
        else:
            small = size.total <= SMALL_MODEL and not hardware.gpu
            count = max(1, processes) if processes or under_torchrun() else usable_cores() if small else 1
        return cls(size.total, count, matrix_rate() * count, size.active)

    def launch(self, fn: Callable[..., Any], args: Sequence[Any]) -> Any:
        """`ponder.training.distributed.launch` on so many processes."""
        return launch(fn, self.processes, args)

    @staticmethod
    def length(limit: int) -> float:
        """Tokens that a completion is guessed to have."""
        return limit * LIKELY_LENGTH


def processes_for(model: str, processes: int = 0) -> int:
    """`processes`, or for 0: one a core for a small model on a CPU, else one."""
    if processes or under_torchrun():
        return max(1, processes)
    if torch.cuda.is_available():
        return 1
    return usable_cores() if parameter_count(model) <= SMALL_MODEL else 1


def start(settings: Any, where: str) -> tuple[Any, Machine]:
    """Settings for this machine, and the machine: says on stderr what was chosen.

    settings: with `model`, `processes`, `sandbox` and `data` (a `MixSettings`). Kinds of problem that need a sandbox
    are left out where there can be none, with a line that says so; they are an error where they were asked for.
    """
    os.environ[VARIABLE] = settings.sandbox
    if settings.sandbox == "weak":
        print(f"{where}: sandbox=weak: programs run behind limits but no walls", file=sys.stderr)
    data = settings.data
    kinds, why = runnable(data.reasoning) if data.train_file is None else (data.reasoning, "")
    if why:
        if "reasoning" in data.model_fields_set:
            raise PonderError(why)
        print(f"{where}: {', '.join(PROGRAMS)} left out: {why}", file=sys.stderr)
        settings = settings.model_copy(update={"data": data.model_copy(update={"reasoning": kinds})})
    machine = Machine(parameter_count(settings.model), processes_for(settings.model, settings.processes))
    threads = "one thread each" if machine.processes > 1 else f"{torch.get_num_threads()} threads"
    if not under_torchrun():
        told = f"{machine.processes} {'process' if machine.processes == 1 else 'processes'}, {threads}"
        print(f"{where}: {told}", file=sys.stderr)
    return settings, machine


def reported(fn: Callable[..., Any], settings: Any, out: Path, machine: Machine) -> Path:
    """Do what is left of `fn(world, settings, out, ready_only)` and draw the report; returns its path.

    Where everything is done already, no process is started and the page stays as it is.
    """
    page = out / "report.html"
    try:
        fn(World(), settings, out, ready_only=True)
        if page.exists():
            return page
    except NotReady:
        machine.launch(fn, (settings, out))
    if os.environ.get("RANK", "0") != "0":  # under torchrun: one rank draws the page
        return page
    from ponder.report import build_report

    return build_report(out)


def planned(
    run: Run, name: str, what: str, of: Machine, samples: int = 0, limit: int = 0, trained: float = 0.0
) -> Plan:
    """A row of a plan. samples, limit: completions that are sampled, and their tokens at most. trained: tokens of
    completions; their prompts are added."""
    active = of.active or of.parameters
    seconds = STAGE_S + (sampling_seconds(samples, limit, active, of.rate) if samples else 0.0)
    seconds += training_seconds(trained * WITH_PROMPT, active, of.rate) if trained else 0.0
    memory = memory_gb(of.parameters, of.processes, BATCH_TOKENS if trained else 0)
    return Plan(name, run.state(name), what, seconds, memory)
