"""Merging: the formulas against slow loops and peft's, whole models on disk, memory, and models that do not match."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ponder.cli.merge import merge as merge_command
from ponder.core.errors import PonderError
from ponder.models.load import load_model, resolve_model
from ponder.models.merge import METHODS, merge
from ponder.models.merge_formulas import dropped, elected, linear, slerp, summed, trimmed

MINI = Path(str(resolve_model("mini")))


def normal(name: str, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    return torch.randn(*shape, generator=generator)


def neighbour(folder: Path, name: str, size: float = 0.02, dtype: torch.dtype = torch.float32) -> Path:
    """A model near `mini`, as fine-tuning leaves one."""
    path = folder / name
    shutil.copytree(MINI, path)
    weights = {key: value + size * normal(name + key, *value.shape) for key, value in weights_of(MINI).items()}
    save_file({key: value.to(dtype) for key, value in weights.items()}, path / "model.safetensors")
    return path


def weights_of(path: Path) -> dict[str, Tensor]:
    return {name: value for file in sorted(path.glob("*.safetensors")) for name, value in load_file(file).items()}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return neighbour(folder, "a"), neighbour(folder, "b")


# ---- the formulas ----


def slow_ties(deltas: Sequence[Tensor], weights: Sequence[float], density: float) -> list[float]:
    """TIES number by number (arXiv 2306.01708, algorithm 1), weights as mergekit has them."""
    rows = []
    for delta in deltas:
        row = delta.flatten().tolist()
        kept = sorted(range(len(row)), key=lambda i: -abs(row[i]))[: int(density * len(row))]
        rows.append([value if i in kept else 0.0 for i, value in enumerate(row)])
    merged = []
    for place in zip(*rows, strict=True):
        total = sum(w * v for w, v in zip(weights, place, strict=True))
        sign = 1 if total >= 0 else -1
        agreeing = [(w, v) for w, v in zip(weights, place, strict=True) if v * w * sign > 0]
        merged.append(sum(w * v for w, v in agreeing) / sum(w for w, _ in agreeing) if agreeing else 0.0)
    return merged


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.7, 0.2, 1.3)])
def test_ties_is_the_papers_loop(weights: tuple[float, ...]) -> None:
    deltas = [normal(name, 7, 9) for name in ("x", "y", "z")]
    merged = elected([trimmed(delta, 0.4) for delta in deltas], weights, normalize=True)
    torch.testing.assert_close(merged.flatten(), torch.tensor(slow_ties(deltas, weights, 0.4)))


def test_ties_and_task_arithmetic_are_pefts() -> None:
    theirs = pytest.importorskip("peft.utils.merge_utils")
    deltas, ones = [normal(name, 30, 11) for name in ("x", "y", "z")], torch.ones(3)
    ours = elected([trimmed(delta, 0.3) for delta in deltas], [1, 1, 1], normalize=True)
    torch.testing.assert_close(ours, theirs.ties(deltas, ones, density=0.3))
    weights = [0.5, 0.3, -0.4]
    torch.testing.assert_close(summed(deltas, weights), theirs.task_arithmetic(deltas, torch.tensor(weights)))
    pruned = theirs.magnitude_prune(deltas, torch.tensor(weights), density=0.3)
    torch.testing.assert_close(summed([trimmed(delta, 0.3) for delta in deltas], weights), pruned)


def test_dare_keeps_the_mean_and_a_share() -> None:
    delta = normal("d", 400, 500)
    thin = dropped(delta, 0.25, torch.Generator().manual_seed(1))
    kept = thin != 0
    assert abs(float(kept.float().mean()) - 0.25) < 0.005
    torch.testing.assert_close(thin[kept], delta[kept] / 0.25)
    assert not torch.equal(kept, dropped(delta, 0.25, torch.Generator().manual_seed(2)) != 0)
    assert dropped(delta, 1.0, torch.Generator()) is delta


def test_slerp_stays_on_the_arc() -> None:
    one, two = normal("x", 8, 8), normal("y", 8, 8)
    one, two = one / one.norm(), two / two.norm()
    whole = math.acos(float((one * two).sum()))
    for t in (0.0, 0.3, 1.0):
        found = slerp(one, two, t)
        assert float(found.norm()) == pytest.approx(1, abs=1e-5)
        assert math.acos(min(1.0, float((one * found).sum()))) == pytest.approx(t * whole, abs=1e-3)
    torch.testing.assert_close(slerp(one, one * 1.0001, 0.5), one * 1.00005)  # no sine to divide by
    torch.testing.assert_close(slerp(one, torch.zeros_like(one), 0.25), one * 0.75)


def test_linear_is_a_sum() -> None:
    one, two = normal("x", 5), normal("y", 5)
    torch.testing.assert_close(linear([one, two], [0.9, 0.1]), 0.9 * one + 0.1 * two)


# ---- whole models ----

LOOPS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "linear": lambda a, b, base: 0.9 * a + 0.1 * b,
    "slerp": lambda a, b, base: slerp(a, b, 0.1),
    "ties": lambda a, b, base: (
        base + torch.tensor(slow_ties([a - base, b - base], (0.9, 0.1), 0.5)).view_as(base) if base.numel() < 200 else a
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_merged_model_loads_and_is_what_the_formula_says(
    method: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    based: dict[str, Any] = {} if method in ("linear", "slerp") else {"base": MINI, "density": 0.5}
    told = merge(pair, tmp_path / "out", method, [0.9, 0.1], **based)
    ours, (a, b, base) = weights_of(tmp_path / "out"), map(weights_of, (*pair, MINI))
    assert ours.keys() == a.keys() and told["parameters"] == sum(map(Tensor.numel, a.values()))
    for name, value in ours.items() if method in LOOPS else ():
        if method != "ties" or value.numel() < 200:
            torch.testing.assert_close(value, LOOPS[method](a[name], b[name], base[name]))
    loaded = load_model(tmp_path / "out")
    assert loaded.tokenizer.chat_template == load_model(pair[0]).tokenizer.chat_template
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "merge.json",
    } <= names and "README.md" not in names
    assert json.loads((tmp_path / "out" / "merge.json").read_text())["weights"] == [0.9, 0.1]
    assert not (tmp_path / ".out.merging").exists()


def test_the_ends_are_the_models_and_dare_repeats(pair: tuple[Path, Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "end", "linear", [1.0, 0.0])
    for name, value in weights_of(pair[0]).items():
        assert torch.equal(weights_of(tmp_path / "end")[name], value)
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        merge(pair, tmp_path / name, "dare_linear", [0.5, 0.5], base=MINI, density=0.5, seed=seed)
    one, two, three = (weights_of(tmp_path / name) for name in ("one", "two", "three"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["model.norm.weight"], three["model.norm.weight"])


@pytest.mark.parametrize("method", ["linear", "slerp", "ties", "dare_linear", "dare_ties"])
def test_parity_with_mergekit(method: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("mergekit", reason="mergekit is not installed here")
    from mergekit.config import MergeConfiguration  # type: ignore[import-not-found, unused-ignore]
    from mergekit.merge import run_merge  # type: ignore[import-not-found, unused-ignore]
    from mergekit.options import MergeOptions  # type: ignore[import-not-found, unused-ignore]

    density = 0.3 if method == "ties" else 1.0  # DARE's draws are its own
    parameters = [{"weight": 0.7, "density": density}, {"weight": 0.3, "density": density}]
    models = [{"model": str(path), "parameters": p} for path, p in zip(pair, parameters, strict=True)]
    asked: dict[str, Any] = {"merge_method": method, "dtype": "float32", "models": models}
    if method == "slerp":
        models = [{"model": str(path)} for path in pair]
        asked = {**asked, "models": models, "base_model": str(pair[0]), "parameters": {"t": 0.3}}
    elif method != "linear":
        asked["base_model"] = str(MINI)
    run_merge(MergeConfiguration.model_validate(asked), str(tmp_path / "theirs"), MergeOptions(quiet=True))
    based: dict[str, Any] = {} if method in ("linear", "slerp") else {"base": MINI, "density": density}
    merge(pair, tmp_path / "ours", method, [0.7, 0.3], **based)
    theirs = weights_of(tmp_path / "theirs")
    for name, value in weights_of(tmp_path / "ours").items():
        torch.testing.assert_close(value, theirs[name], atol=1e-6, rtol=1e-6)


def test_number_format_and_shards_are_the_first_models(tmp_path: Path) -> None:
    """bfloat16 stays, the arithmetic is wide, and a model in several files merges with one in a single file."""
    one, two = (neighbour(tmp_path, name, dtype=torch.bfloat16) for name in ("a", "b"))
    loaded = load_model(one, dtype="bfloat16")
    shutil.copytree(one, tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors").unlink()
    loaded.model.save_pretrained(tmp_path / "shards", max_shard_size="600KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    merge([tmp_path / "shards", two], tmp_path / "out", "linear", [0.9, 0.1])
    merge([two, tmp_path / "shards"], tmp_path / "whole", "linear", [0.1, 0.9])
    shards = {file.name for file in (tmp_path / "shards").glob("model*")}
    assert {file.name for file in (tmp_path / "out").glob("model*")} == shards
    a, b, found, whole = map(weights_of, (one, two, tmp_path / "out", tmp_path / "whole"))
    for name, value in found.items():
        assert value.dtype == torch.bfloat16
        wide = (0.9 * a[name].float() + 0.1 * b[name].float()).bfloat16()
        assert float((value == wide).float().mean()) > 0.99  # but for the last bit where a product is fused
        torch.testing.assert_close(value, wide, atol=1e-6, rtol=1e-2)
        torch.testing.assert_close(whole[name], value, atol=1e-6, rtol=1e-2)
    load_model(tmp_path / "out")


PEAK = """
import sys
import ponder.models.merge as merging
held, kept = [], merging._merged
def watched(*arguments):
    result = kept(*arguments)
    held.append(sum(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024)
    return result
merging._merged = watched
merging.merge(sys.argv[1:3], sys.argv[3])
print(max(held[:4]), max(held))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_is_that_of_a_tensor_not_of_a_model(tmp_path: Path) -> None:
    """Forty tensors of 4 MB each in two models (320 MB): after the first four, memory grows no more."""
    weights = {f"model.layers.{i}.weight": normal(str(i), 1024, 1024) for i in range(40)}
    for name in ("a", "b"):
        shutil.copytree(MINI, tmp_path / name)
        save_file(weights, tmp_path / name / "model.safetensors")
    command = [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in ("a", "b", "out"))]
    grown = []
    for _ in range(3):  # the system counts pages as it pleases while others work: the least of three is the merge's own
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        early, all_the_way = map(float, done.stdout.split())
        grown.append(all_the_way - early)
        if grown[-1] < 20:
            break
    assert min(grown) < 20, grown  # what is left is 144 MB of each model


# ---- what does not fit ----


def edited(folder: Path, change: Callable[[Path], None]) -> Path:
    path = folder / "other"
    shutil.copytree(MINI, path)
    change(path)
    return path


def set_config(**values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        file = path / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def set_weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        weights = load_file(path / "model.safetensors")
        change(weights)
        save_file(weights, path / "model.safetensors")

    return apply


def swap_tokens(path: Path) -> None:
    file = path / "tokenizer.json"
    held = json.loads(file.read_text())
    vocabulary = held["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(held))


NORM = "model.norm.weight"
MISFITS = [
    (set_config(model_type="llama"), "model_type is 'llama' in the one, 'qwen3' in the other"),
    (set_config(num_attention_heads=8), "num_attention_heads is 8 in the one, 4 in the other"),
    (swap_tokens, "tokenizers differ .token 'a' is number"),
    (set_weights(lambda held: held.update({NORM: torch.ones(64)})), f"{NORM} is 64 in the one, 128 in the other"),
    (set_weights(lambda held: held.pop(NORM)), f"only .*weights has the tensor {NORM}"),
    (set_weights(lambda held: held.update({"extra": torch.ones(2)})), "only .*other has the tensor extra"),
    (set_weights(lambda held: held[NORM].fill_(math.nan)), f"{NORM}: the merged tensor is not finite"),
    (lambda path: (path / "config.json").unlink(), "has no config.json"),
]


@pytest.mark.parametrize(("change", "line"), MISFITS, ids=[line[:20] for _, line in MISFITS])
def test_models_that_do_not_match(change: Callable[[Path], None], line: str, tmp_path: Path) -> None:
    other = edited(tmp_path, change)
    with pytest.raises(PonderError, match=line) as caught:
        merge([MINI, other], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


ASKED: list[tuple[dict[str, Any], str]] = [
    ({"method": "mean"}, "unknown merge method 'mean': one of linear, slerp, ties"),
    ({"weights": [0.9, 0.2]}, r"weights 0.9 0.2 sum to 1.1, not 1"),
    ({"weights": [0.9]}, "1 weights for 2 models"),
    ({"weights": [math.nan, 1.0]}, "finite"),
    ({"method": "ties"}, "name the model that all come from"),
    ({"base": "mini"}, "base is for ties, dare_linear and dare_ties; linear does not use it"),
    ({"density": 0.5}, "density is for ties"),
    ({"method": "ties", "base": "mini", "density": 0.0}, "density is 0.0"),
    ({"method": "slerp", "models": ["mini", "mini", "mini"]}, "slerp goes from one model to another"),
    ({"models": ["mini"]}, "linear needs two models at least; 1 given"),
    ({"weights": [1.0, -1.0], "normalize": True}, "sum to 0"),
]


@pytest.mark.parametrize(("settings", "line"), ASKED)
def test_settings_that_do_not_fit(settings: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(PonderError, match=line):
        merge(settings.pop("models", ["mini", "mini"]), tmp_path / "out", **settings)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_and_a_stopped_merge(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes").write_text("mine")
    with pytest.raises(PonderError, match="used is in use; choose another folder"):
        merge(pair, tmp_path / "used")
    (tmp_path / ".out.merging").mkdir()
    (tmp_path / ".out.merging" / "rest").write_text("of a merge that was stopped")
    (tmp_path / "out").mkdir()
    merge(pair, tmp_path / "out")
    assert not (tmp_path / "out" / "rest").exists()


def test_normalised_weights(pair: tuple[Path, Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "one", weights=[9, 1], normalize=True)
    merge(pair, tmp_path / "two", weights=[0.9, 0.1])
    torch.testing.assert_close(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"))


# ---- the command ----


@pytest.mark.parametrize("weights", [["--weights", "0.9", "0.1"], ["--weights", "0.9,0.1"]])
def test_the_command(
    weights: list[str], pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    alone = typer.Typer()
    alone.command("merge")(merge_command)
    asked = [*map(str, pair), "--method", "linear", *weights, "--out", str(tmp_path / "out")]
    alone(asked, standalone_mode=False)
    assert "46 tensors, 1,181,056 parameters, by linear" in capsys.readouterr().out
    merge(pair, tmp_path / "same", weights=[0.9, 0.1])
    assert (tmp_path / "same" / "model.safetensors").read_bytes() == (
        tmp_path / "out" / "model.safetensors"
    ).read_bytes()
    with pytest.raises(PonderError, match="--weights half 0.1: should be numbers"):
        alone([*map(str, pair), "--weights", "half", "0.1", "--out", str(tmp_path / "x")], standalone_mode=False)
