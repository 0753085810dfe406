"""The shape of the house: imports only go down, floors 0 and 1 know no torch, and what is imported is declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "ponder"

FLOORS = (
    {"core"},
    {"tasks", "verify", "sandbox", "rewards"},
    {"objectives"},
    {"models", "sampling"},
    {"training", "search", "evals", "mini", "data"},
    {"pipelines", "report"},
    {"cli", "serve"},
)
FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}
APART = 4
"""On this floor siblings never import one another; they meet on the floor above."""

OPTIONAL = {
    "vllm", "tensorboard", "trackio", "wandb", "triton", "liger_kernel", "datasets", "pyarrow", "reasoning_gym",
    "py3langid",
}  # fmt: skip
"""Never imported at the top of a module: each is an extra, or what an extra brings along."""


def imports(source: str, package: str) -> Iterator[tuple[int, str, bool]]:
    """(line, dotted name, at the top of the module) of each import; relative ones are resolved against `package`."""
    tree = ast.parse(source, filename=package)
    top = {id(node) for node in _top_statements(tree.body)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from ponder import tasks` imports ponder.tasks.
                name = f"{module}.{alias.name}" if module == "ponder" else module
                yield node.lineno, name, id(node) in top


def _top_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        for inner in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _top_statements(getattr(node, inner, []))


def faults_of(name: str, source: str) -> list[str]:
    """What breaks the rules in the module `name` (`ponder.core.store`)."""
    faults = []
    parts = name.split(".")
    package = parts[1] if len(parts) > 2 else ""  # ponder itself and python -m ponder stand above the floors
    if package and package not in FLOOR:
        return [f"{name}: package {package} has no floor"]
    for line, target, top in imports(source, ".".join(parts[:-1])):
        head, *rest = target.split(".")
        if head in OPTIONAL and top:
            faults.append(f"{name}:{line} imports {head}, which is optional, at the top")
        if head in {"torch", "transformers"} and package and FLOOR[package] <= 1:
            faults.append(f"{name}:{line} imports {head} on floor {FLOOR[package]}")
        if head != "ponder" or not rest or rest[0] not in FLOOR or rest[0] == package or not package:
            continue
        here, there = FLOOR[package], FLOOR[rest[0]]
        if there > here:
            faults.append(f"{name}:{line} on floor {here} imports {target} on floor {there}")
        elif there == here == APART:
            faults.append(f"{name}:{line} imports its sibling {target}; they meet on floor {APART + 1}")
    return faults


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = ["ponder", *path.relative_to(SRC).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def test_imports_only_go_down():
    # An __init__ is a module inside its package: relative imports and the floor are the package's own.
    faults = [
        fault
        for name, path in modules().items()
        for fault in faults_of(
            f"{name}.__init__" if path.name == "__init__.py" and name != "ponder" else name, path.read_text()
        )
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "name, source, fault",
    [
        ("ponder.core.store", "from ponder.tasks import x", "on floor 0 imports ponder.tasks on floor 1"),
        (
            "ponder.core.store",
            "def f():\n    from ponder import models",
            "core.store:2 on floor 0 imports ponder.models",
        ),
        ("ponder.core.store", "def f():\n    import torch.nn", "imports torch on floor 0"),
        ("ponder.rewards.parts", "import ponder.objectives.credit", "on floor 1 imports ponder.objectives.credit"),
        ("ponder.training.grpo", "from ponder.evals.metrics import x", "imports its sibling"),
        ("ponder.evals.run", "from ..training import step", "imports its sibling ponder.training"),
        ("ponder.attic.old", "", "package attic has no floor"),
        ("ponder.sampling.vllm", "try:\n    import vllm\nexcept ImportError:\n    pass", "optional, at the top"),
    ],
)
def test_the_rules_catch(name, source, fault):
    assert [line for line in faults_of(name, source) if fault in line]


@pytest.mark.parametrize(
    "name, source",
    [
        ("ponder.cli.run", "from ponder.pipelines import x\nimport torch"),
        ("ponder.training.grpo", "from ponder.training.step import x\nfrom ponder.models import load"),
        ("ponder.rewards.parts", "from ponder.verify import numbers"),
        ("ponder.sampling.vllm", "def f():\n    import vllm"),
        ("ponder.core.store", "import ponder\nfrom ponder import __version__"),
    ],
)
def test_the_rules_let_pass(name, source):
    assert not faults_of(name, source)


def test_floors_0_and_1_import_without_torch():
    low = [name for name in modules() if len(name.split(".")) > 1 and FLOOR.get(name.split(".")[1], 9) <= 1]
    assert len(low) > 10
    script = (
        "import importlib, sys\n"
        f"for name in {low!r}:\n"
        "    importlib.import_module(name)\n"
        "    loaded = {'torch', 'transformers', 'tokenizers'} & set(sys.modules)\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_import_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=~! ;\[]", line)[0].lower().replace("-", "_") for line in project["dependencies"]}
    declared = {"yaml" if name == "pyyaml" else name for name in declared} | {"ponder"} | set(sys.stdlib_module_names)
    for name, path in modules().items():
        for line, target, _ in imports(path.read_text(), name.rpartition(".")[0]):
            head = target.split(".")[0]
            assert head in declared | OPTIONAL, f"{name}:{line} imports {head}, which pyproject.toml does not declare"
