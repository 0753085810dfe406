"""What the two reward models are worth in the miniature world, where every verdict can be computed.

    .venv/bin/python benchmarks/reward_models.py [--problems 520] [--held-out 320] [--solutions 800] [--processes 2]
        [--r1-zero runs/r1-zero] [--out DIR]

Outcome model: trained on pairs (right above wrong) of the base's own samples; on held-out problems its pick among N=8
samples is compared with chance, with the highest mean log-probability and with the best possible. Process model: steps
of the base's samples, labelled by rollouts of the base; labels and trained scores are compared with exact step labels,
on held-out problems, for the base's samples and, where a model is given, R1-Zero's. Prints two tables.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ponder.core.records import read_jsonl
from ponder.core.seeds import random_of
from ponder.core.types import Completion, Problem, SamplingParams
from ponder.data.step_labels import StepLabelSettings, label_steps
from ponder.data.trace import trace_of
from ponder.evals.calibration import pick_table, step_agreement
from ponder.mini.step_truth import step_truth, takes_back
from ponder.models.chat import renderer
from ponder.models.heads import load_head, new_outcome_model, new_process_model
from ponder.models.load import load_model
from ponder.models.scorers import OutcomeScorer, StepScorer
from ponder.sampling.local import LocalSampler
from ponder.tasks import KINDS, draw_mix
from ponder.tasks.shapes import Preference
from ponder.training.distributed import World, launch, unshare
from ponder.training.process_reward import PRMSettings, read_step_rows, train_process_model
from ponder.training.reward_model import RewardSettings, train_reward_model

N = 8
PAIRS_A_PROBLEM = 2
SAMPLING = SamplingParams(n=N, max_completion_length=160)
OUTCOME = RewardSettings(num_train_epochs=2, learning_rate=5e-4, batch_size=32, logging_steps=10, save_steps=10**6)
PROCESS = PRMSettings(num_train_epochs=6, learning_rate=1e-3, batch_size=32, logging_steps=10, save_steps=10**6)
LABELS = StepLabelSettings(num_rollouts=8, max_completion_length=160)


def traces_of(sampler: LocalSampler, problems: Sequence[Problem], world: World, render: Any, seed: int) -> list[Any]:
    """N graded samples of each problem, on every rank, problem by problem: (trace, mean log-probability)."""
    mine = world.share(problems)
    found = sampler.sample([render(problem) for problem in mine], SAMPLING, seed)
    groups = [
        [(graded(p, c, at, render), sum(c.logprobs) / len(c.logprobs)) for at, c in enumerate(found[k * N : k * N + N])]
        for k, p in enumerate(mine)
    ]
    return unshare(world.gather(groups))


def graded(problem: Problem, completion: Completion, sample: int, render: Any) -> dict[str, Any]:
    """The trace of one sample; right means right wherever the answer stands."""
    return trace_of(problem, completion, prompt=render(problem), sample=sample, provenance={"teacher": "mini"})


def pairs_of(groups: Sequence[Any]) -> list[Preference]:
    """A few pairs of each problem, a right answer above a wrong one."""
    pairs: list[Preference] = []
    for group in groups:
        right = sorted({t["completion"] for t, _ in group if t["correct_lenient"]})
        wrong = sorted({t["completion"] for t, _ in group if t["correct_lenient"] is False})
        both = [(a, b) for a in right for b in wrong if a.strip() and b.strip()]
        rng = random_of("pairs", group[0][0]["id"])
        prompt = group[0][0]["prompt"]
        pairs += [Preference(prompt, a, b, len(pairs) + k) for k, (a, b) in enumerate(pick(rng, both))]
    return pairs


def pick(rng: random.Random, both: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """PAIRS_A_PROBLEM of them, or all."""
    return rng.sample(both, min(PAIRS_A_PROBLEM, len(both)))


def outcome(world: World, base: Any, train: Sequence[Any], held: Sequence[Any], out: Path) -> None:
    """Train on pairs; print pair accuracy, calibration and picks."""
    began, head = time.monotonic(), new_outcome_model(base)
    told = train_reward_model(OUTCOME, head.model, head.tokenizer, pairs_of(train), out / "outcome", world,
                              validation=pairs_of(held))  # fmt: skip
    if not world.first:
        return
    seconds = time.monotonic() - began
    correct = [[bool(t["correct_lenient"]) for t, _ in group] for group in held]
    scorer = OutcomeScorer(load_head(out / "outcome" / "model", "outcome"))
    scores = [scorer.score([t["prompt"] for t, _ in group], [t["completion"] for t, _ in group]) for group in held]
    table = pick_table(
        {"mean log-probability": [[lp for _, lp in group] for group in held], "outcome model": scores}, correct
    )
    print(f"\nOutcome model: {len(pairs_of(train))} pairs of {len(train)} problems, {seconds:.0f} s. Held-out pairs: "
          f"accuracy {told['eval_accuracy']:.3f}, ECE {told['eval_ece']:.3f}.")  # fmt: skip
    print(f"Picks among {N} samples of the base on {len(held)} held-out problems, with 95 % intervals:\n")
    print("| picked by | right | above chance | above mean log-probability |\n|---|---|---|---|")
    for row in table:
        print(f"| {row.name} | {shown(row.right)} | {shown(row.above.get('chance'))} "
              f"| {shown(row.above.get('mean log-probability'))} |")  # fmt: skip


def process(world: World, base: Any, sampler: LocalSampler, train: Sequence[Any], held: Sequence[Any],
            zero: Sequence[Any], render: Any, solutions: int, out: Path) -> None:  # fmt: skip
    """Label by rollouts, train, print how far labels and scores agree with exact ones."""
    began = time.monotonic()
    some = [t for group in train for t, _ in group[:2]][:solutions]
    told = label_steps(sampler, some, render, LABELS, 0, out / "steps.jsonl", takes_back=takes_back, world=world,
                       progress=False)  # fmt: skip
    fresh = [t for group in held for t, _ in group[:1]][: solutions // 8]
    label_steps(sampler, fresh, render, LABELS, 0, out / "held.jsonl", takes_back=takes_back, world=world,
                progress=False)  # fmt: skip
    naive = [t for group in held for t, _ in group[:1]][: solutions // 8]
    label_steps(sampler, naive, render, LABELS, 0, out / "naive.jsonl", world=world, progress=False)
    labelled, head = time.monotonic() - began, new_process_model(base)
    train_process_model(
        PROCESS, head.model, head.tokenizer, read_step_rows(out / "steps.jsonl"), out / "process", world
    )
    if not world.first:
        return
    seconds = time.monotonic() - began - labelled
    print(f"\nProcess model: {told['labelled']} solutions, {told['steps']} steps, {told['rollouts']} rollouts "
          f"({labelled:.0f} s), trained in {seconds:.0f} s. Against exact labels, with 95 % intervals:\n")  # fmt: skip
    print("| who | of whose steps | steps | agreement | without answers | blind | AUC | ECE |")
    print("|---|---|---|---|---|---|---|---|")
    known = {t["id"]: t for group in [*train, *held] for t, _ in group}
    for name, file in (("rollout labels", "steps"), ("rollout labels, held out", "held"),
                       ("the same, taking back counted as right", "naive")):  # fmt: skip
        rows = read_jsonl(out / f"{file}.jsonl")
        truths = [step_truth(problem_in(known[row["id"]]), row["completions"]) for row in rows]
        line(name, "base", step_agreement([row["labels"] for row in rows], truths))
    scorer = StepScorer(load_head(out / "process" / "model", "process"))
    untrained = StepScorer(new_process_model(base))
    for name, judge, groups, whose in (
        ("process model", scorer, held, "base"), ("process model", scorer, zero, "R1-Zero"),
        ("before training", untrained, held, "base"),
    ):  # fmt: skip
        if not groups:
            continue
        rows = [t for group in groups for t, _ in group[:2]]
        steps = [judge.split(t["completion"]) for t in rows]
        truths = [step_truth(problem_in(t), own) for t, own in zip(rows, steps, strict=True)]
        line(name, whose, step_agreement(judge.score([t["prompt"] for t in rows], steps), truths))


def problem_in(trace: Any) -> Problem:
    """The problem of a trace."""
    return Problem(trace["task"], trace["problem"], trace["answer"], trace["data"])


def line(name: str, whose: str, found: Any) -> None:
    """A row of the second table."""
    told = found.calibration
    auc = "-" if told.auc is None else f"{told.auc:.3f}"
    print(f"| {name} | {whose} | {told.n} | {shown(found.all_steps)} | {shown(found.but_the_last)} | {found.blind:.3f} "
          f"| {auc} | {told.ece:.3f} |")  # fmt: skip


def shown(estimate: Any) -> str:
    """0.856 [0.82, 0.89], or a dash."""
    if estimate is None or estimate.value is None:
        return "-"
    interval = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.3f}{interval}"


def measure(world: World, told: argparse.Namespace, out: Path) -> None:
    """Everything, on every rank."""
    began = time.monotonic()
    base = load_model("mini", device="cpu")
    render, sampler = renderer(base.tokenizer, "chat"), LocalSampler(base.model, base.tokenizer)
    train = traces_of(sampler, draw_mix(KINDS, "train", told.problems, "rm"), world, render, 1)
    problems = draw_mix(KINDS, "test", told.held_out, "rm")
    held = traces_of(sampler, problems, world, render, 2)
    zero: list[Any] = []
    if told.r1_zero:
        grown = load_model(told.r1_zero, device="cpu")
        zero = traces_of(LocalSampler(grown.model, grown.tokenizer), problems[: told.held_out // 2], world, render, 3)
    if world.first:
        seconds = time.monotonic() - began
        print(f"Samples: {N} each of {len(train)} and {len(held)} problems of {len(KINDS)} kinds, {seconds:.0f} s.")
    outcome(world, base, train, held, out)
    process(world, base, sampler, train, held, zero, render, told.solutions, out)
    if world.first:
        print(f"\nIn all {time.monotonic() - began:.0f} s on {world.size} processes.")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", type=int, default=520)
    parser.add_argument("--held-out", type=int, default=320)
    parser.add_argument("--solutions", type=int, default=800)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--r1-zero", default="", help="a model trained by `ponder run r1-zero`")
    parser.add_argument("--out", default="", help="where models and labels are kept; a temporary folder if not given")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(told.out or folder)
        out.mkdir(parents=True, exist_ok=True)
        launch(measure, told.processes, (told, out))


if __name__ == "__main__":
    main()
