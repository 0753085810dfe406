"""The loop that trainers on rows share: which rows a step takes, how it is cut, going on after a stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import same_bits, weights_of
from transformers import Qwen3Config, Qwen3ForCausalLM

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.models.logprobs import token_logprobs
from ponder.training import supervised as module
from ponder.training.distributed import World, launch
from ponder.training.supervised import Lesson, SupervisedSettings, micro_batches, rows_of_step, train_supervised

ROWS = [tuple((3 * at + place) % 29 + 1 for place in range(4 + at % 7)) for at in range(23)]


@dataclass(frozen=True)
class Size:
    """The denominator of a step."""

    tokens: int


def model() -> Any:
    """Two layers, as small as they get."""
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                    num_key_value_heads=1, head_dim=8, max_position_embeddings=64)
    )  # fmt: skip


def lesson(net: Any, evaluate: Any = None) -> Lesson[tuple[int, ...], Size]:
    """Next-token prediction of every token but the first."""

    def loss(rows: Sequence[tuple[int, ...]], size: Size) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        real = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
        learnt = real & (torch.arange(width) > 0)
        logp, _ = token_logprobs(net, ids, real, learnt, 1.0)
        share = -(logp * learnt).sum() / size.tokens
        return share, {"loss": share.detach(), "rows": torch.tensor(float(len(rows)))}

    def metrics(sums: Mapping[str, float], size: Size) -> dict[str, float]:
        return {"loss": sums["loss"], "rows": sums["rows"], "size": size.tokens}

    return Lesson(ROWS, len, lambda rows: Size(sum(len(row) - 1 for row in rows)), loss, metrics, evaluate)


def run(world: World, out: Path, **changes: Any) -> dict[str, Any]:
    """A run of eight steps."""
    settings = SupervisedSettings(
        **{"max_steps": 8, "batch_size": 6, "learning_rate": 1e-2, "save_steps": 3, "warmup_steps": 2} | changes
    )
    net = model()
    return train_supervised(settings, lesson(net), net, None, out, world, identity={"rows": "r"})


def test_every_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    settings = SupervisedSettings(num_train_epochs=3, batch_size=5)
    steps = settings.steps_for(len(ROWS))
    taken = [row for step in range(1, steps + 1) for row in rows_of_step(ROWS, step, settings)]
    assert len(taken) == 3 * len(ROWS) and steps == 14
    epochs = [taken[at : at + len(ROWS)] for at in (0, len(ROWS), 2 * len(ROWS))]
    assert all(Counter(epoch) == Counter(ROWS) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    other = SupervisedSettings(num_train_epochs=3, batch_size=5, seed=1)
    assert rows_of_step(ROWS, 1, settings) != rows_of_step(ROWS, 1, other)


def test_half_an_epoch_and_a_number_of_steps() -> None:
    half = SupervisedSettings(num_train_epochs=0.5, batch_size=4)
    assert half.steps_for(23) == 3
    assert sum(len(rows_of_step(ROWS, step, half)) for step in (1, 2, 3)) == 12
    told = SupervisedSettings(max_steps=9, batch_size=4)
    assert told.steps_for(23) == 9 and len(rows_of_step(ROWS, 9, told)) == 4  # goes round as often as it must
    assert SupervisedSettings(batch_size=64).steps_for(3) == 1


def test_micro_batches_hold_every_row_within_the_budget() -> None:
    parts = micro_batches(ROWS, len, 24)
    assert Counter(row for part in parts for row in part) == Counter(ROWS)
    assert all(max(map(len, part)) * len(part) <= 24 for part in parts) and len(parts[0][0]) == max(map(len, ROWS))
    assert micro_batches([(1,) * 50], len, 24) == [[(1,) * 50]]


def test_the_split_into_micro_batches_does_not_matter(tmp_path: Path) -> None:
    run(World(), tmp_path / "whole", token_budget=10_000)
    run(World(), tmp_path / "split", token_budget=1)
    whole, split = (weights_of(tmp_path / name / "model") for name in ("whole", "split"))
    for name in whole:
        torch.testing.assert_close(whole[name], split[name], rtol=1e-4, atol=1e-5)
    assert {row["rows"] for row in read_jsonl(tmp_path / "split" / "metrics.jsonl")} == {6.0}


def test_it_learns_and_two_processes_learn_as_one(tmp_path: Path) -> None:
    one = run(World(), tmp_path / "one")
    two = launch(run, 2, (tmp_path / "two",))
    assert one["loss"] < read_jsonl(tmp_path / "one" / "metrics.jsonl")[0]["loss"] - 0.3
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_stopped_and_gone_on_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(World(), tmp_path / "whole")
    calls, real = 0, module.update

    def breaking(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "update", breaking)
    with pytest.raises(KeyboardInterrupt):
        run(World(), tmp_path / "stopped")
    monkeypatch.setattr(module, "update", real)
    run(World(), tmp_path / "stopped", logging_steps=1, eval_steps=4)  # what does not touch the weights may change
    assert same_bits(weights_of(tmp_path / "whole" / "model"), weights_of(tmp_path / "stopped" / "model"))
    assert [row["step"] for row in read_jsonl(tmp_path / "stopped" / "metrics.jsonl")] == list(range(1, 9))


def test_kill_9(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from test_supervised import module, run
        from ponder.training.distributed import World
        calls, real = 0, module.save_checkpoint
        def save(*args, **kwargs):
            global calls
            calls += 1
            path = real(*args, **kwargs)
            if sys.argv[2] == "kill" and calls == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return path
        module.save_checkpoint = save
        run(World(), Path(sys.argv[1]))
        """
    )
    here = str(Path(__file__).parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    for out, how in (("a", "kill"), ("a", "go on"), ("b", "whole")):
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path / out), how], env=env)
        assert done.returncode == (-signal.SIGKILL if how == "kill" else 0)
    assert same_bits(weights_of(tmp_path / "a" / "model"), weights_of(tmp_path / "b" / "model"))


def test_other_settings_or_rows_are_refused_when_going_on(tmp_path: Path) -> None:
    run(World(), tmp_path, max_steps=3)
    with pytest.raises(PonderError, match="learning_rate was 0.01 and is now 0.02"):
        run(World(), tmp_path, max_steps=3, learning_rate=2e-2)


def test_a_loss_that_is_not_finite_is_skipped_then_stops(tmp_path: Path) -> None:
    net = model()
    good = lesson(net)
    bad = Lesson(good.rows, good.length, good.extent, lambda rows, size: (good.loss(rows, size)[0] * float("nan"), {}),
                 lambda sums, size: {"loss": 0.0})  # fmt: skip
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(PonderError, match="not finite 2 times in a row"):
        train_supervised(
            SupervisedSettings(max_steps=5, max_nonfinite=2), bad, net, None, tmp_path, identity={"rows": "r"}
        )
    assert same_bits(before, net.state_dict())


def test_no_rows_are_one_line(tmp_path: Path) -> None:
    net = model()
    empty = Lesson((), len, lambda rows: Size(1), lesson(net).loss, lesson(net).metrics)
    with pytest.raises(PonderError, match="no rows to train on"):
        train_supervised(SupervisedSettings(), empty, net, None, tmp_path, identity={})


def test_validation_comes_when_asked_and_at_the_end(tmp_path: Path) -> None:
    net, seen = model(), []

    def evaluate(step: int) -> dict[str, float]:
        seen.append(step)
        return {"eval_loss": float(step)}

    settings = SupervisedSettings(max_steps=5, batch_size=4, eval_steps=2, learning_rate=1e-3)
    result = train_supervised(settings, lesson(net, evaluate), net, None, tmp_path, identity={"rows": "r"})
    assert seen == [2, 4, 5] and result["eval_loss"] == 5.0
