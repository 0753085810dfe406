"""Estimates against runs that were timed; sizes by name; hardware by name; what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from ponder.core.errors import PonderError
from ponder.models import files, load, size
from ponder.models.load import parameter_count
from ponder.models.size import ModelSize, model_size, size_in_name
from ponder.pipelines import Plan, estimate
from ponder.pipelines.estimate import (
    Target,
    current_target,
    matrix_rate,
    memory_gb,
    planned_for,
    sampling_seconds,
    training_seconds,
)
from ponder.pipelines.hardware import GPUS, Hardware, hardware_of
from ponder.pipelines.machine import STAGE_S, WITH_PROMPT, Machine
from ponder.pipelines.planning import _unfit, target_of
from ponder.training.settings import GRPOSettings
from ponder.training.sft import SFTSettings

MINI, RATE = 1_180_000, 2 * 195e9
"""The embedded model; the matrix rate of the two cores on which the runs below were timed."""


def of_rl(steps: int, each: int, limit: int) -> float:
    count = steps * each
    tokens = count * limit * estimate.LIKELY_LENGTH * WITH_PROMPT
    return sampling_seconds(count, limit, MINI, RATE) + training_seconds(tokens, MINI, RATE)


@pytest.mark.parametrize(
    "timed, estimated",
    [
        (119.9, lambda: of_rl(80, 256, 160)),  # r1-zero on a quiet machine: 2 min 34 s in all
        (12.9, lambda: sampling_seconds(5600, 160, MINI, RATE)),  # its base measured in two ways
        (8.6, lambda: sampling_seconds(2800, 160, MINI, RATE)),  # and what came out
        (6.5, lambda: training_seconds(44_260, MINI, RATE) + STAGE_S),  # a reward model of 403 pairs
        (17.4, lambda: training_seconds(130_584, MINI, RATE) + STAGE_S),  # SFT of 600 rows, the machine busy
        (8.0, lambda: sampling_seconds(2000, 160, MINI, RATE) + STAGE_S),  # 1000 problems x 2, the machine busy
    ],
)
def test_estimates_are_within_a_factor_of_three_of_timed_runs(timed: float, estimated: object) -> None:
    cpu = Hardware("two", "two cores", 0.0, 0.0, 8.0, 2, gpu=False)
    with planned_for(Target(cpu)):
        assert timed / 3 < estimated() < timed * 3  # type: ignore[operator]


@pytest.mark.parametrize(
    "name, total, active",
    [
        ("Qwen/Qwen2.5-1.5B", 1.5e9, 1.5e9), ("EleutherAI/gpt-j-6b", 6e9, 6e9), ("x/Big-671B-A37B", 671e9, 37e9),
        ("Qwen/Qwen3-30B-A3B-Instruct", 30e9, 3e9), ("Qwen/Qwen2.5-7B-Instruct-1M", 7e9, 7e9),
        ("mistralai/Mixtral-8x7B-v0.1", 56e9, 14e9), ("deepseek-ai/DeepSeek-V3-Base", 671e9, 37e9),
        ("HuggingFaceTB/SmolLM2-360M", 360e6, 360e6), ("runs/DeepSeek-R1-Distill-Qwen-1.5B/", 1.5e9, 1.5e9),
    ],
)  # fmt: skip
def test_sizes_that_names_tell(name: str, total: float, active: float) -> None:
    assert size_in_name(name) == ModelSize(int(total), int(active), "name")


@pytest.mark.parametrize("name", ["gpt-neox", "x/Foo-4bit", "x/llama-128k", "x/v1.5", "x/3Bold", ""])
def test_names_that_tell_no_size(name: str) -> None:
    assert size_in_name(name) is None


def test_a_model_that_is_not_here_is_as_large_as_its_name_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parameter_count("Qwen/Qwen2.5-1.5B") == 1_500_000_000
    assert model_size("x/Big-671B-A37B") == ModelSize(671_000_000_000, 37_000_000_000, "name")
    assert model_size("mini") == ModelSize(parameter_count("mini"), parameter_count("mini"), "files")
    with pytest.raises(PonderError, match=r"nobody/nothing could not be loaded.*nor does its name tell its size"):
        model_size("nobody/nothing")
    # What the cache holds goes before the name; active parameters only a name tells.
    mini = load.resolve_model("mini")
    assert isinstance(mini, Path)
    monkeypatch.setattr(size, "cached", lambda hub_id, file: mini / file)
    monkeypatch.setattr(load, "fetch", lambda hub_id, patterns: mini)
    count = parameter_count("mini")
    assert model_size("x/Tiny-9B") == ModelSize(count, count, "cache")
    assert model_size("x/Tiny-9B-A1M") == ModelSize(count, 1_000_000, "cache")


def test_the_cache_is_looked_at_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *what: asked.append(what) or "/x/config.json")
    assert files.cached("a/b", "config.json") == Path("/x/config.json") and asked == [("a/b", "config.json")]
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *what: object())  # known not to exist
    assert files.cached("a/b", "config.json") is None


def test_hardware_by_name() -> None:
    assert hardware_of("h100") == GPUS["h100"] and hardware_of("RTX4090").memory_gb == 24
    eight = hardware_of("a100-80gbx8")
    assert (eight.devices, eight.name, eight.matmul) == (8, "a100-80gbx8", 312e12)
    assert hardware_of("rtx4090x2").devices == 2 and hardware_of("this").name == "this"
    for name, near in (("h10", "h100"), ("rtx409x2", "rtx4090"), ("a100-80g", "a100-80gb")):
        with pytest.raises(PonderError, match=f"no hardware is called '{name}'; did you mean {near}?") as caught:
            hardware_of(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(PonderError, match="no hardware is called 'h100x0'"):
        hardware_of("h100x0")


def test_a_plan_for_hardware_uses_its_figures_and_only_inside() -> None:
    here = current_target()
    with planned_for(Target(hardware_of("h100x8"))):
        machine = Machine.of("x/Foo-7B")
        assert (machine.processes, machine.rate, machine.parameters) == (8, 8 * 989e12, 7_000_000_000)
        assert matrix_rate() == 989e12
        one = sampling_seconds(10_000, 1000, 7_000_000_000, 989e12)
        assert sampling_seconds(20_000, 1000, 7_000_000_000, 989e12) == pytest.approx(2 * one)
    assert current_target() == here and Machine.of("mini").rate < 1e13
    with planned_for(Target(hardware_of("h100"))):  # bound by memory or by launching kernels, not by arithmetic
        assert sampling_seconds(256, 1000, 1_000_000_000, 989e12) == pytest.approx(300 * estimate.DECODE_STEP_S)
        assert sampling_seconds(1, 1000, 1_000_000_000, 989e12) == pytest.approx(300 * estimate.DECODE_STEP_S)


def test_memory_follows_the_settings() -> None:
    h100, billion = hardware_of("h100"), 10**9
    full = _memory(Target(h100), billion)
    half = _memory(Target(h100, bf16=True), billion)
    assert full > half > _memory(Target(h100, bf16=True, checkpointing=True), billion)
    assert _memory(Target(h100, references=1), billion) == pytest.approx(full + 4)
    assert _memory(Target(h100, lora=True), billion) == pytest.approx(full - 12)
    assert _memory(Target(h100, batch_tokens=1 << 15), billion) > full
    with planned_for(Target(h100)):
        assert memory_gb(7 * billion, 8) == memory_gb(7 * billion, 1) == pytest.approx(14 + estimate.GPU_RUNTIME_GB)
    here = Hardware("cpu", "cores", 0.0, 0.0, 8.0, 2, gpu=False)
    with planned_for(Target(here)):
        assert memory_gb(billion, 2) == 2 * memory_gb(billion, 1)


def _memory(target: Target, parameters: int) -> float:
    with planned_for(target):
        return memory_gb(parameters, 1, estimate.BATCH_TOKENS)


def test_the_dearest_of_the_trainings_counts() -> None:
    from ponder.pipelines.sft_rl import SFTRLSettings

    part = SFTRLSettings.model_validate(
        {"rl": {"grpo": {"beta": 0.1, "token_budget": 9000, "bf16": True, "gradient_checkpointing": True}},
         "start": {"sft": {"token_budget": 5000, "bf16": True}}}
    )  # fmt: skip
    found = target_of(part, hardware_of("h100"))
    assert (found.batch_tokens, found.bf16, found.checkpointing, found.references) == (9000, True, False, 1)
    assert isinstance(part.rl.grpo, GRPOSettings) and isinstance(part.start.sft, SFTSettings)
    assert target_of(SFTRLSettings(), hardware_of("h100")).batch_tokens == 0, "what is not set is the machine's choice"


def test_what_does_not_fit_is_one_line() -> None:
    rows = [Plan(name, "to do", "", 1.0, memory) for name, memory in (("small", 10), ("large", 100), ("mid", 90))]
    assert list(_unfit(rows, hardware_of("h100x8"))) == [
        "does not fit: large needs about 100 GB, each device has 80 GB (and 1 more stages); every process holds the "
        "whole model"
    ]
    assert list(_unfit(rows, hardware_of("h200"))) == [] and list(_unfit([], hardware_of("h100"))) == []
