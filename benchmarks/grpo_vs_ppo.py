"""GRPO beside PPO, which it replaced: the same model, prompts, completions, lengths, reward and steps, in turn.

    .venv/bin/python benchmarks/grpo_vs_ppo.py [--rounds 3] [--steps 20] [--random 512x8]

PPO trains a value model of the policy's size beside it. What that costs in time and memory, and what it buys in
held-out accuracy, is printed side by side, as ratios of neighbouring runs. Each run is a process of its own, of one
thread. GRPO leaves out the backward pass of groups whose rewards are all equal; PPO, whose critic learns from them,
cannot. `--random` takes a larger model of random weights: time and memory alone, at a size where the models and not
the interpreter are what fills the memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Completion, Problem, SamplingParams, Score

Row = dict[str, Any]
METHODS = ("grpo", "ppo")

# ---- one run, in a process of its own ----


def work(spec: Mapping[str, Any]) -> Row:
    """Train by `spec["method"]` (or only measure, for `base`) and say what it took and what it reached."""
    import torch

    from ponder.evals import evaluate
    from ponder.models.chat import renderer
    from ponder.models.heads import new_value_model
    from ponder.models.load import load_model
    from ponder.rewards import compose, parts_of
    from ponder.sampling.local import LocalSampler
    from ponder.tasks import KINDS, PROGRAMS, draw_mix
    from ponder.training.grpo import GRPOSettings, train_grpo
    from ponder.training.ppo import PPOSettings, train_ppo

    torch.set_num_threads(spec["threads"])
    loaded = load_model(spec["model"], "float32", "cpu")
    render = renderer(loaded.tokenizer, "chat")
    kinds = [kind for kind in KINDS if kind not in PROGRAMS]
    # Random weights are always wrong: equal rewards, from which GRPO, unlike a critic, learns nothing and at no cost.
    reward = compose(parts_of(("accuracy", "format"), False)) if spec["held_out"] else even_tokens
    told: Row = {"method": spec["method"], "loaded_mb": peak_mb()}
    if spec["method"] != "base":
        common: dict[str, Any] = {
            "max_steps": spec["warmup"] + spec["steps"], "questions_per_step": spec["questions"],
            "num_generations": spec["generations"], "max_completion_length": spec["length"],
            "learning_rate": spec["learning_rate"], "num_iterations": spec["iterations"], "warmup_steps": 2,
            "save_steps": 1_000_000, "sample_steps": 0, "seed": spec["round"],
        }  # fmt: skip
        problems = draw_mix(kinds, "train", 2000, seed="grpo_vs_ppo")
        tail: dict[str, Any] = {"context_length": loaded.context_length, "eos_ids": loaded.eos_ids}
        trained = sum(p.numel() for p in loaded.model.parameters())
        with tempfile.TemporaryDirectory() as folder:
            out, began = Path(folder), time.process_time()
            if spec["method"] == "ppo":
                critic = new_value_model(loaded)
                trained += sum(p.numel() for p in critic.parameters())
                settings = PPOSettings(**common, lam=spec["lam"], value_learning_rate=spec["value_learning_rate"])
                train_ppo(settings, loaded.model, critic, loaded.tokenizer, problems, reward, out, render, **tail)
            else:
                train_grpo(
                    GRPOSettings(loss_type=spec["loss_type"], **common),
                    loaded.model,
                    loaded.tokenizer,
                    problems,
                    reward,
                    out,
                    render,
                    **tail,
                )
            ended = time.process_time()
            rows = read_jsonl(out / "metrics.jsonl")[spec["warmup"] :]
        told |= {"trained": trained, "peak_mb": peak_mb(), **seconds_of(rows)}
        # Start and end of the run are in it too, but not what other work of the machine takes.
        told["cpu_s"] = (ended - began) / common["max_steps"]
        told["explained_variance"] = rows[-1].get("value/explained_variance")
    if spec["held_out"]:
        held_out = draw_mix(kinds, "test", spec["held_out"], seed="grpo_vs_ppo")
        sampler = LocalSampler(
            loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids
        )
        graded = evaluate(sampler, held_out, render, SamplingParams(4, spec["length"], 1.0), seed=0)
        verdicts = [float(row["correct"] is True) for row in graded]
        told["accuracy_P"] = [statistics.fmean(verdicts[at : at + 4]) for at in range(0, len(verdicts), 4)]
    return told


def even_tokens(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """The share of even token ids: costs nothing and differs within nearly every group."""
    shares = [statistics.fmean(token % 2 == 0 for token in one.token_ids) for one in completions]
    return [Score(share, None) for share in shares]


def peak_mb() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20


def seconds_of(rows: Sequence[Row]) -> Row:
    """Mean seconds a step: in all, sampling and grading, the policy's update, and all that only a critic needs."""

    def mean(*names: str) -> float:
        return statistics.fmean(sum(row.get(f"timing_s/{name}", 0.0) for name in names) for row in rows)

    return {
        "step_s": mean("step"),
        "rollout_s": mean("gen", "reward"),
        "policy_s": mean("update"),
        "value_s": mean("values", "update_critic"),
        "tokens": statistics.fmean(row["completions/mean_length"] for row in rows),
    }


def run(spec: Mapping[str, Any], folder: Path) -> Row:
    """`work(spec)` in a new process. Raises PonderError with the end of its output where it fails."""
    asked, answer, log = folder / "spec.json", folder / "told.json", folder / "log.txt"
    asked.write_text(json.dumps(spec))
    answer.unlink(missing_ok=True)
    threads = str(spec["threads"])
    env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    with open(log, "w") as stream:
        command = [sys.executable, __file__, "--work", str(asked), "--told", str(answer)]
        done = subprocess.run(command, env=env, stdout=stream, stderr=stream)
    if done.returncode or not answer.is_file():
        tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-8:]
        raise PonderError(f"{spec['method']} failed:\n" + "\n".join(tail))
    told: Row = json.loads(answer.read_text())
    return told


# ---- the table ----

QUANTITIES = (
    ("step, s of a core", "cpu_s", 2),
    ("step, s", "step_s", 2),
    ("  rollout and reward, s", "rollout_s", 2),
    ("  policy update, s", "policy_s", 2),
    ("  values and critic, s", "value_s", 2),
    ("peak memory, MB", "peak_mb", 0),
    ("  above the loaded model", "above_mb", 0),
    ("parameters trained, million", "trained_m", 2),
    ("training state, MB", "state_mb", 1),
    ("tokens a completion", "tokens", 1),
)


def spread(values: Sequence[float], digits: int) -> str:
    """`median (least to most)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def table(pairs: Sequence[Mapping[str, Row]]) -> list[str]:
    """A line a quantity. Ratios are taken within a round, so that what slows both of a pair cancels."""
    for pair in pairs:
        for row in pair.values():
            row["above_mb"] = row["peak_mb"] - row["loaded_mb"]
            row["trained_m"] = row["trained"] / 1e6
            row["state_mb"] = row["trained"] * 4 * 4 / 2**20  # weights, gradient, Adam's two moments: float32 each
    lines = [f"{'':28}{'GRPO':>28}{'PPO':>28}   PPO / GRPO"]
    for label, name, digits in QUANTITIES:
        columns = {method: [pair[method][name] for pair in pairs] for method in METHODS}
        ratios = [p / g for g, p in zip(columns["grpo"], columns["ppo"], strict=True) if g > 0]
        ratio = spread(ratios, 2) if ratios else "only PPO has it"
        shown = [spread(columns[method], digits) for method in METHODS]
        lines.append(f"{label:28}{shown[0]:>28}{shown[1]:>28}   {ratio}")
    return lines


def accuracies(base: Row, pairs: Sequence[Mapping[str, Row]]) -> list[str]:
    """Held-out accuracy with 95 % intervals over problems; a problem's accuracy is its mean over rounds."""
    from ponder.evals.metrics import bootstrap, paired_bootstrap

    def over_rounds(method: str) -> list[float]:
        columns = [pair[method]["accuracy_P"] for pair in pairs]
        return [statistics.fmean(values) for values in zip(*columns, strict=True)]

    told = {"before": base["accuracy_P"], **{method: over_rounds(method) for method in METHODS}}
    lines = []
    for name, values in told.items():
        one = bootstrap(values, "grpo_vs_ppo", name, proportion=True)
        rounds = "" if name == "before" else f"; by round {by_round(pairs, name)}"
        interval = f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
        lines.append(f"held-out accuracy, {name:7}{interval}, {one.n} problems{rounds}")
    gap = paired_bootstrap(told["grpo"], told["ppo"], "grpo_vs_ppo", "gap")
    lines.append(f"PPO less GRPO: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}], problem by problem")
    explained = [pair["ppo"]["explained_variance"] for pair in pairs if pair["ppo"]["explained_variance"] is not None]
    if explained:
        lines.append(f"the critic's explained variance in the last step: {spread(explained, 2)}")
    return lines


def by_round(pairs: Sequence[Mapping[str, Row]], method: str) -> str:
    """A method's accuracy in each round."""
    return ", ".join(f"{statistics.fmean(pair[method]['accuracy_P']):.3f}" for pair in pairs)


# ---- the command ----


def random_model(shape: str, folder: Path) -> str:
    """A model of the embedded one's kind, `HIDDENxLAYERS`, with random weights."""
    from ponder.mini.model import new_model
    from ponder.models.load import load_model

    try:
        hidden, layers = map(int, shape.split("x"))
    except ValueError as error:
        raise PonderError(f"--random is {shape!r}: should be HIDDENxLAYERS, such as 512x8") from error
    tokenizer = load_model("mini", "float32", "cpu").tokenizer
    new_model(tokenizer, 0, hidden, layers).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", default="mini", help="mini, a directory or a hub id (%(default)s)")
    add("--random", default="", help="HIDDENxLAYERS: random weights instead; as --held-out 0")
    add("--rounds", type=int, default=3, help="how often each method runs, each time with another seed (%(default)s)")
    add("--steps", type=int, default=20, help="measured steps a run (%(default)s)")
    add("--warmup", type=int, default=1, help="steps before them (%(default)s)")
    add("--questions", type=int, default=16, help="prompts a step (%(default)s)")
    add("--generations", type=int, default=8, help="completions a prompt, for both (%(default)s)")
    add("--length", type=int, default=160, help="tokens of a completion at most (%(default)s)")
    add("--iterations", type=int, default=1, help="passes over a rollout, for both (%(default)s)")
    add("--loss-type", default="grpo", help="GRPO's; dapo averages over tokens, as PPO does (%(default)s)")
    add("--learning-rate", type=float, default=3e-4, help="of both policies (%(default)s)")
    add("--value-learning-rate", type=float, default=1e-3, help="of the critic (%(default)s)")
    add("--lam", type=float, default=1.0, help="PPO's lambda (%(default)s)")
    add(
        "--held-out",
        type=int,
        default=280,
        help="problems to measure with, 4 samples each; 0: none, and a reward that only has to vary (%(default)s)",
    )
    add("--threads", type=int, default=1, help="threads of each run (%(default)s)")
    add("--out", type=Path, help="append one JSON line a run to this file")
    add("--work", type=Path, help=argparse.SUPPRESS)
    add("--told", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run both methods in turn and print the table."""
    args = parse_args(argv)
    if args.work:
        args.told.write_text(json.dumps(work(json.loads(args.work.read_text()))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, began = Path(name), time.monotonic()
        spec = {key: value for key, value in vars(args).items() if key not in ("out", "work", "told", "random")}
        if args.random:
            spec |= {"model": random_model(args.random, folder / "model"), "held_out": 0}
        print(
            f"{args.random or args.model}: {args.questions} prompts x {args.generations} completions of at most "
            f"{args.length} tokens, {args.steps} steps after {args.warmup}, {args.iterations} pass(es) a rollout, "
            f"{args.threads} thread(s); load before: {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        base = run({**spec, "method": "base", "round": 0}, folder) if spec["held_out"] else {}
        pairs: list[dict[str, Row]] = []
        for number in range(args.rounds):
            order = METHODS if number % 2 == 0 else METHODS[::-1]
            pair = {method: run({**spec, "method": method, "round": number}, folder) for method in order}
            pairs.append(pair)
            told = ", ".join(f"{method} {pair[method]['step_s']:.2f} s a step" for method in METHODS)
            print(f"round {number + 1}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
            if args.out:
                with open(args.out, "a") as file:
                    file.writelines(json.dumps({"round": number, **row}) + "\n" for row in pair.values())
        print("\n".join(table(pairs)))
        if spec["held_out"]:
            print("\n".join(accuracies(base, pairs)))


if __name__ == "__main__":
    try:
        main()
    except PonderError as error:
        sys.exit(f"grpo_vs_ppo: {error}")
