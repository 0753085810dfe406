"""Optional trackers: TensorBoard, Weights & Biases, trackio. `metrics.jsonl` is always written; these are copies."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ponder.core.errors import PonderError

Tracker = Literal["tensorboard", "wandb", "trackio"]

_MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "trackio": "trackio"}
_REMEDY = {
    "tensorboard": "pip install 'ponder[track]'",
    "wandb": "pip install wandb",
    "trackio": "pip install 'ponder[track]'",
}


class Trackers:
    """Hands every row of metrics to each tracker in `names`.

    A tracker keeps its files under `out_dir/tracking` (W&B offline unless WANDB_MODE says otherwise).
    frontier: the step from which a stopped run goes on; the trackers' run goes on too.
    Raises PonderError, naming the remedy, where a tracker is not installed; before the first step.
    """

    def __init__(
        self, names: Sequence[Tracker], out_dir: Path, settings: Mapping[str, Any], frontier: int = 0
    ) -> None:
        self.names = tuple(names)
        self.folder = out_dir / "tracking"
        if "trackio" in self.names:  # read when it is imported
            os.environ.setdefault("TRACKIO_DIR", str(self.folder / "trackio"))
        self.modules = {name: _module(name) for name in self.names}
        self.board: Any = None
        name = hashlib.sha256(str(out_dir.resolve()).encode()).hexdigest()[:12]  # the same run at every start
        if self.names:
            self.folder.mkdir(parents=True, exist_ok=True)
        if "tensorboard" in self.modules:
            self.board = self.modules["tensorboard"].SummaryWriter(
                str(self.folder / "tensorboard"), purge_step=frontier + 1 if frontier else None
            )
        if "wandb" in self.modules:
            os.environ.setdefault("WANDB_MODE", "offline")
            self.modules["wandb"].init(
                project="ponder", dir=str(self.folder), config=dict(settings), id=name, resume="allow"
            )
        if "trackio" in self.modules:
            self.modules["trackio"].init(project="ponder", name=name, config=dict(settings), resume="allow")

    def write(self, row: Mapping[str, Any]) -> None:
        """Log one step's numbers."""
        step = int(row["step"])
        numbers = {k: float(v) for k, v in row.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()
        if "wandb" in self.modules:
            self.modules["wandb"].log(numbers, step=step)
        if "trackio" in self.modules:
            self.modules["trackio"].log(numbers, step=step)

    def close(self) -> None:
        """Finish every tracker's files."""
        if self.board is not None:
            self.board.close()
        for name in ("wandb", "trackio"):
            if name in self.modules:
                self.modules[name].finish()


def check_trackers(names: Sequence[Tracker]) -> None:
    """Raise PonderError, naming the remedy, where one of `names` is not installed; imports nothing."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise PonderError(f"report_to names {name}, which is not installed here: {_REMEDY[name]}")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(_MODULES[name])
    except ImportError as error:
        raise PonderError(f"report_to names {name}, which is not installed here: {_REMEDY[name]}") from error
