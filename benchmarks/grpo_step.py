"""A GRPO step of Ponder and one of TRL's GRPOTrainer, in turn, on the same model, prompts, lengths, dtype and cores.

    .venv/bin/python benchmarks/grpo_step.py [--model DIR|mini|random] [--processes 2] [--rounds 3] [--steps 2]

Two settings: "recorded", where both engines draw the same recorded tokens, of lengths with a long tail; and "free",
where both sample until an end token or the limit. What is equal, what is not, and how to read it: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from ponder.core.errors import PonderError
from ponder.core.records import environment, usable_cores
from ponder.core.seeds import random_of

ENGINES = Path(__file__).with_name("grpo_engines.py")
LIBC = ctypes.CDLL(None)
QUANTITIES = (
    ("rollout tokens/s", lambda r: r["completion_tokens"] / r["rollout_s"]),
    ("train tokens/s", lambda r: r["all_tokens"] / r["update_s"]),
    ("step tokens/s", lambda r: r["completion_tokens"] / r["step_s"]),
    ("step time, s", lambda r: r["step_s"]),
)

Spec = dict[str, Any]
Row = dict[str, Any]

# ---- the work ----


def make_spec(args: argparse.Namespace, folder: Path) -> Spec:
    """All that both engines are told; written to a file, so that they read the same."""
    from ponder.models.chat import renderer
    from ponder.models.load import load_model
    from ponder.tasks import KINDS, draw_mix

    model = random_model(folder / "model") if args.model == "random" else local_model(args.model)
    loaded = load_model(model, "float32", "cpu")
    render = renderer(loaded.tokenizer, "chat" if loaded.tokenizer.chat_template else "qa")
    problems = draw_mix(KINDS, "train", args.questions, seed="grpo_step")
    special = {*loaded.tokenizer.all_special_ids, *loaded.eos_ids}
    ordinary = [token for token in range(len(loaded.tokenizer)) if token not in special]
    lengths = recorded_lengths(args.questions * args.generations, args.max_completion_length)
    rng = random_of("grpo_step", "tokens")
    rows = [record_row(rng.choices(ordinary, k=n), args.max_completion_length, loaded.eos_ids[0]) for n in lengths]
    return {
        "model": str(model),
        "problems": [asdict(problem) for problem in problems],
        "prompts": [render(problem) for problem in problems],
        "record": [rows[at : at + args.generations] for at in range(0, len(rows), args.generations)],
        "eos_id": loaded.eos_ids[0],
        "generations": args.generations,
        "limit": args.max_completion_length,
        "loss_type": args.loss_type,
        "learning_rate": args.learning_rate,
        "reward": args.reward,
        "token_budget": args.token_budget,
        "micro_batch": args.micro_batch[0],
    }


def local_model(model: str) -> Path:
    """The directory that holds `model`; one of the hub is fetched."""
    from ponder.models.files import fetch, resolve_model

    source = resolve_model(model)
    return source if isinstance(source, Path) else fetch(source)


def random_model(folder: Path) -> Path:
    """The embedded model's shape and tokenizer, with random weights."""
    from ponder.mini.corpus import documents
    from ponder.mini.model import CONTEXT_LENGTH, new_model
    from ponder.mini.tokenizer import train_tokenizer

    tokenizer = train_tokenizer((document.text for document in islice(documents("tokenizer"), 3000)), CONTEXT_LENGTH)
    new_model(tokenizer, 0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recorded_lengths(rows: int, limit: int) -> list[int]:
    """Lengths with a long tail, as a base model's: log-normal, cut at `limit`. With 160: median 20, mean 28."""
    rng = random_of("grpo_step", "lengths")
    return [min(limit, max(2, round(rng.lognormvariate(math.log(limit / 8), 0.9)))) for _ in range(rows)]


def record_row(tokens: list[int], limit: int, eos_id: int) -> list[int]:
    """A completion that ends with an end token, or is cut off at the limit."""
    return tokens if len(tokens) == limit else [*tokens[:-1], eos_id]


# ---- running an engine ----


def run_engine(engine: str, spec: Spec, layout: tuple[int, int], cores: Sequence[int], folder: Path) -> list[Row]:
    """Run `engine` as (processes, threads of each) on `cores`; its rows, each with what else the machine did meanwhile.

    Raises PonderError with the end of its output where it fails.
    """
    processes, threads = layout
    spec_file, out, log = folder / "spec.json", folder / "rows.jsonl", folder / "log.txt"
    spec_file.write_text(json.dumps({**spec, "processes": processes, "threads": threads}))
    out.unlink(missing_ok=True)
    command = [sys.executable, str(ENGINES), engine, str(spec_file), str(out)]
    launcher = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    base = {name: value for name, value in os.environ.items() if name not in launcher}
    base |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    base |= {"HF_HUB_OFFLINE": "1"}
    environments = [base]
    if engine == "trl" and processes > 1:  # what `accelerate launch --cpu` and torchrun tell each process
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
        group |= {"LOCAL_WORLD_SIZE": str(processes), "GLOO_SOCKET_IFNAME": "lo"}
        environments = [base | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    start, busy, own = time.monotonic(), machine_seconds(), children_seconds()
    with open(log, "w") as stream:
        started = [
            subprocess.Popen(command, env=env, stdout=stream, stderr=stream, preexec_fn=lambda: settle(cores))
            for env in environments
        ]
        try:
            wait_for(started)
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                process.wait()
    wall = time.monotonic() - start
    if any(process.returncode for process in started) or not out.is_file():
        tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-12:]
        raise PonderError(f"{engine} {name_of(layout)} failed:\n" + "\n".join(tail))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    others = max(0.0, (machine_seconds() - busy) - (children_seconds() - own)) / wall
    about = {"engine": engine, "layout": name_of(layout), "others_cores": round(others, 2), **rows.pop()}
    return [{**about, **row, "all_tokens": row["completion_tokens"] + about["prompt_tokens"]} for row in rows]


def wait_for(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Return when all have ended, or one has failed."""
    while any(process.poll() is None for process in processes):
        if any(process.returncode for process in processes):
            return
        time.sleep(0.05)


def settle(cores: Sequence[int]) -> None:
    """In a new engine's process: run on `cores` alone, and end with the process that started it."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)
        os.sched_setaffinity(0, cores)


def machine_seconds() -> float:
    """Seconds that all cores together have been busy."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def children_seconds() -> float:
    """Seconds of cores that the engines that have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def name_of(layout: tuple[int, int]) -> str:
    """`2x1`: two processes of one thread."""
    return f"{layout[0]}x{layout[1]}"


# ---- the benchmark ----


def choose_trl(
    layouts: Sequence[tuple[int, int]],
    micro_batches: Sequence[int],
    spec: Spec,
    plan: Sequence[str],
    cores: Sequence[int],
    folder: Path,
) -> tuple[tuple[int, int], int]:
    """TRL's fastest layout, then its fastest micro-batch in it, by one step of each; what does not run is left out."""
    seconds: dict[tuple[tuple[int, int], int], float] = {}

    def trial(layout: tuple[int, int], micro_batch: int) -> None:
        told = f"trial: TRL as {name_of(layout)}, micro-batches of {micro_batch} rows"
        asked = {**spec, "micro_batch": micro_batch, "plan": [*plan, plan[-1]], "seed": 0}
        try:
            row = run_engine("trl", asked, layout, cores, folder)[-1]
        except PonderError as error:
            print(f"{told} does not run here: {error}", flush=True)
            return
        seconds[layout, micro_batch] = row["step_s"]
        print(f"{told}: {row['step_s']:.2f} s a step{noise([row])}", flush=True)

    if len(layouts) == len(micro_batches) == 1:
        return layouts[0], micro_batches[0]
    for layout in layouts:
        trial(layout, micro_batches[0])
    if not seconds:
        raise PonderError("TRL runs in no layout here; see above")
    best, _ = min(seconds, key=seconds.__getitem__)
    for micro_batch in micro_batches[1:]:
        trial(best, micro_batch)
    return min(seconds, key=seconds.__getitem__)


def noise(rows: Sequence[Row]) -> str:
    """What to say where other work ran beside."""
    others = max(row["others_cores"] for row in rows)
    return f"  (other work took {others:.1f} cores: not a quiet machine)" if others > 0.15 else ""


def summed(rows: Sequence[Row]) -> Row:
    """The steps of one run in one setting as one: totals, but the mean of the step's time."""
    totals = {name: sum(row[name] for row in rows) / len(rows) for name in ("step_s", "rollout_s", "update_s")}
    tokens = {name: sum(row[name] for row in rows) / len(rows) for name in ("completion_tokens", "all_tokens")}
    return totals | tokens


def spread(values: Sequence[float], digits: int = 0) -> str:
    """`median (least to most)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def table(runs: Sequence[Mapping[str, list[Row]]], setting: str) -> list[str]:
    """The lines of one setting. Ratios are taken within a round, so that what slows both of a pair cancels."""
    pairs = []
    for run in runs:
        sides = {engine: summed([row for row in run[engine] if row["setting"] == setting]) for engine in run}
        pairs.append((sides["ponder"], sides["trl"]))
    lengths = [[side["completion_tokens"] for side in pair] for pair in pairs]
    lines = [f"{'':18}{'Ponder':>28}{'TRL':>28}   Ponder is faster by a factor of"]
    for name, measure in QUANTITIES:
        time_like = name.endswith("s") and "/s" not in name
        values = [(measure(ponder), measure(trl)) for ponder, trl in pairs]
        ratios = [trl / ponder if time_like else ponder / trl for ponder, trl in values]
        columns = [spread([value[i] for value in values], 2 if time_like else 0) for i in (0, 1)]
        lines.append(f"{name:18}{columns[0]:>28}{columns[1]:>28}   {spread(ratios, 2)}")
    tokens = [f"{statistics.median(column):,.0f}" for column in zip(*lengths, strict=True)]
    lines.append(f"{'tokens sampled':18}{tokens[0]:>28}{tokens[1]:>28}")
    return lines


def same_work(runs: Sequence[Mapping[str, list[Row]]]) -> str:
    """Whether the recorded steps were the same work: same tokens, and gradients of the same norm."""
    pairs = [
        (a, b)
        for run in runs
        for a, b in zip(run["ponder"], run["trl"], strict=True)
        if a["setting"] == b["setting"] == "recorded"
    ]
    if not pairs:
        return ""
    apart = max(abs(a["grad_norm"] - b["grad_norm"]) / max(b["grad_norm"], 1e-12) for a, b in pairs)
    equal = all(a["all_tokens"] == b["all_tokens"] for a, b in pairs)
    verdict = "the same work" if equal and apart < 0.01 else "NOT THE SAME WORK: do not use these figures"
    return f"recorded: tokens {'equal' if equal else 'differ'}, gradient norms differ by at most {apart:.1e}: {verdict}"


def described(engine: str, rows: Sequence[Row]) -> str:
    """How an engine ran."""
    row = rows[0]
    return (
        f"{engine}: {row['processes']} process(es) of {row['threads']} thread(s), {row['micro_batches']:.0f} micro-"
        f"batches a process and step, peak memory {max(r['peak_gb'] for r in rows):.2f} GB over all processes"
    )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from ponder.models.files import mini_weights

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_model = "mini" if mini_weights() is not None else "random"
    add = parser.add_argument
    add("--model", default=default_model, help="directory, hub id, mini, or random: mini's shape (%(default)s)")
    add("--processes", type=int, default=usable_cores(), help="cores that either engine may use (%(default)s)")
    add("--rounds", type=int, default=3, help="how often each engine runs (%(default)s)")
    add("--steps", type=int, default=2, help="measured steps a setting, round and engine (%(default)s)")
    add("--warmup", type=int, default=1, help="steps before them (%(default)s)")
    add("--settings", default="recorded,free", help="recorded, free, or both (%(default)s)")
    add("--questions", type=int, default=32, help="prompts a step (%(default)s)")
    add("--generations", type=int, default=8, help="completions a prompt (%(default)s)")
    add("--max-completion-length", type=int, default=160, help="tokens at most (%(default)s)")
    add("--loss-type", choices=("dapo", "grpo"), default="dapo")
    add("--learning-rate", type=float, default=1e-6, help="small: the lengths should not drift (%(default)s)")
    add("--reward", choices=("varied", "task"), default="varied", help="varied differs in every group (%(default)s)")
    add("--token-budget", type=int, default=0, help="Ponder: padded tokens a micro-batch; 0 is its own choice")
    add("--micro-batch", default="32", help="TRL: rows a micro-batch at most; 32,16,64 tries each (%(default)s)")
    add("--trl-layout", default="", help="processes x threads, e.g. 2x1; a trial of each where not given")
    add("--out", type=Path, help="append one JSON line a step to this file")
    args = parser.parse_args(argv)
    args.settings = args.settings.split(",")
    try:
        args.micro_batch = [int(size) for size in args.micro_batch.split(",")]
        layouts = [args.trl_layout] if args.trl_layout else ["1x1", f"1x{args.processes}", f"{args.processes}x1"]
        args.layouts = list(dict.fromkeys(tuple(map(int, layout.split("x"))) for layout in layouts))
        processes, threads = zip(*args.layouts, strict=True)
    except ValueError:
        parser.error("--micro-batch is a number or several (32,16), --trl-layout processes x threads (2x1)")
    if set(args.settings) - {"recorded", "free"}:
        parser.error("--settings is recorded, free, or recorded,free")
    if args.warmup < 1 or args.steps < 1 or args.rounds < 1:
        parser.error("--warmup, --steps and --rounds are at least 1")
    if args.processes < 1 or args.processes > usable_cores():
        parser.error(f"--processes is {args.processes}; this machine lets us use 1 to {usable_cores()}")
    if min(*args.micro_batch, *processes, *threads) < 1:
        parser.error("--micro-batch and both numbers of --trl-layout are at least 1")
    if any(args.questions % count for count in (args.processes, *processes)):
        parser.error(f"--questions is {args.questions}; every process must get equally many whole groups")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its tables; 2 for a mistake of the user's."""
    args = parse_args(argv)
    try:
        benchmark(args)
    except PonderError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def benchmark(args: argparse.Namespace) -> None:
    """All rounds, and the tables."""
    cores = sorted(os.sched_getaffinity(0))[: args.processes] if sys.platform == "linux" else []
    n = args.processes
    plan = [args.settings[0]] * args.warmup
    runs: list[dict[str, list[Row]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = make_spec(args, folder)
        lengths = [len(row) for group in spec["record"] for row in group]
        print(
            f"{args.model}, {args.questions} prompts x {args.generations}, at most {args.max_completion_length} tokens "
            f"(recorded: mean {statistics.fmean(lengths):.0f}, median {statistics.median(lengths):.0f}, longest "
            f"{max(lengths)}), float32, {args.loss_type}, {n} cores; Ponder {version('ponder')}, TRL {version('trl')}, "
            f"torch {version('torch')}, transformers {version('transformers')}, Python {platform.python_version()}",
            flush=True,
        )
        layout, micro_batch = choose_trl(args.layouts, args.micro_batch, spec, plan, cores, folder)
        spec["micro_batch"] = micro_batch
        full = [*plan, *(setting for setting in args.settings for _ in range(args.steps))]
        for number in range(args.rounds):
            sides = [("ponder", (n, 1)), ("trl", layout)]
            run: dict[str, list[Row]] = {}
            for engine, engine_layout in sides:
                rows = run_engine(engine, {**spec, "plan": full, "seed": number}, engine_layout, cores, folder)
                run[engine] = rows = rows[args.warmup :]
                told = ", ".join(
                    f"{setting} {summed([r for r in rows if r['setting'] == setting])['step_s']:.2f} s a step"
                    for setting in args.settings
                )
                print(f"round {number + 1}, {engine} as {name_of(engine_layout)}: {told}{noise(rows)}", flush=True)
                if args.out:
                    record(args.out, number, rows)
            runs.append(run)
    for setting in args.settings:
        print("\n" + "\n".join([f"{setting}: median (least to most) over {args.rounds} rounds", *table(runs, setting)]))
    print("\n" + "\n".join(filter(None, [same_work(runs), described("Ponder", runs[0]["ponder"]),
                                         described("TRL", runs[0]["trl"])])))  # fmt: skip


def record(path: Path, number: int, rows: Sequence[Row]) -> None:
    """Append a run's steps, and on what machine."""
    about = {"round": number + 1, "environment": environment()}
    with open(path, "a") as stream:
        stream.writelines(json.dumps({**about, **row}) + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
