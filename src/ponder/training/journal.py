"""What a step leaves behind: its row in `metrics.jsonl`, its page of `samples/`, and why groups were dropped."""

from __future__ import annotations

import json
import logging
import resource
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ponder.core.records import JsonlWriter, explained, finite, read_jsonl, write_atomic, write_json_atomic
from ponder.core.types import Group, Problem
from ponder.objectives.policy import summarise
from ponder.rewards.alarms import ALARMS, ROWS_NEEDED
from ponder.rewards.cases import CASES
from ponder.training.batch import Batch, is_trained
from ponder.training.distributed import World
from ponder.training.settings import GRPOSettings
from ponder.training.step import Update
from ponder.training.trackers import Trackers

if TYPE_CHECKING:
    from ponder.training.collect import Collected

CASES_FILE = "reward_cases.jsonl"
MOST_CASES = 50
"""Samples of a case that are kept, one a step: of a rare one all, of a common one the first."""

log = logging.getLogger("ponder")


@dataclass(frozen=True)
class Observer:
    """Behaviour metrics, injected: `sums` of a rank's groups add up key by key, `metrics` reads the whole step's."""

    sums: Callable[[Sequence[Group]], Mapping[str, float]]
    metrics: Callable[[Mapping[str, float]], Mapping[str, float]]

    def step(self, groups: Sequence[Group | None], world: World) -> dict[str, float]:
        """The metrics of all ranks' groups; None stands for another rank's."""
        whole: dict[str, float] = {}
        for sums in world.gather(dict(self.sums([group for group in groups if group is not None]))):
            for name, value in sums.items():
                whole[name] = whole.get(name, 0.0) + value
        return dict(self.metrics(whole))


@dataclass(frozen=True)
class Answer:
    """A completion as every rank knows it: what the journal needs, without the tokens."""

    reward: float | None
    correct: bool | None
    parts: Mapping[str, float | None]
    note: str
    length: int
    finish: str
    text: str


@dataclass(frozen=True)
class Record:
    """A group as every rank knows it."""

    problem: Problem
    prompt_length: int
    answers: tuple[Answer, ...]

    @classmethod
    def of(cls, group: Group) -> Record:
        """What there is to tell of `group`."""
        answers = []
        for rollout in group.rollouts:
            score, completion = rollout.score, rollout.completion
            answers.append(
                Answer(
                    reward=score.value,
                    correct=score.correct,
                    parts=dict(score.parts),
                    note=score.note,
                    length=len(completion.token_ids),
                    finish=completion.finish,
                    text=completion.text,
                )
            )
        prompt_length = len(group.rollouts[0].completion.prompt_ids) if group.rollouts else 0
        return cls(group.problem, prompt_length, tuple(answers))

    @property
    def rewards(self) -> list[float]:
        """The known rewards."""
        return [answer.reward for answer in self.answers if answer.reward is not None]

    def trained_lengths(self, mask_truncated: bool) -> list[int]:
        """One number a completion of known reward: its tokens in the loss, 0 where it is left out."""
        return [
            answer.length if is_trained(answer.finish, answer.length, mask_truncated) else 0
            for answer in self.answers
            if answer.reward is not None
        ]

    def has_trained(self, mask_truncated: bool) -> bool:
        """Whether any token of the group is in the loss."""
        return any(self.trained_lengths(mask_truncated))

    @property
    def tokens(self) -> int:
        """Tokens read and written for the group, the prompt once a completion."""
        return sum(self.prompt_length + answer.length for answer in self.answers)


def mean(values: Iterable[float]) -> float | None:
    """The mean, or None of nothing."""
    known = list(values)
    return statistics.fmean(known) if known else None


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def rollout_metrics(records: Sequence[Record]) -> dict[str, float | None]:
    """The metrics of a step's completions, under the names that TRL uses; None where there is nothing to speak of."""
    answers = [answer for record in records for answer in record.answers]
    rewards = [reward for record in records for reward in record.rewards]
    deviations = [_spread(record.rewards) for record in records if record.rewards]
    verdicts = [answer.correct for answer in answers if answer.correct is not None]
    lengths = [answer.length for answer in answers]
    wrong = [answer.length for answer in answers if answer.correct is False]
    metrics: dict[str, float | None] = {
        "reward": mean(rewards),
        "reward_std": mean(deviations),
        "frac_reward_zero_std": mean(deviation < 1e-8 for deviation in deviations),
        "frac_reward_unknown": mean(answer.reward is None for answer in answers),
        "accuracy": mean(verdicts),
        "frac_accuracy_unknown": mean(answer.correct is None for answer in answers),
    }
    for task in sorted({record.problem.task for record in records}):
        told = [a.correct for r in records if r.problem.task == task for a in r.answers if a.correct is not None]
        metrics[f"accuracy/{task}"] = mean(told)
    for name in sorted({name for answer in answers for name in answer.parts}):
        values = [value for answer in answers if (value := answer.parts.get(name)) is not None]
        metrics[f"rewards/{name}/mean"], metrics[f"rewards/{name}/std"] = mean(values), _spread(values)
    for name, applies in CASES.items():
        metrics[f"rewards/{name}"] = mean(applies(answer) for answer in answers)
    if lengths:
        metrics["completions/mean_length"] = mean(lengths)
        metrics["completions/mean_length/wrong"] = mean(wrong)
        metrics["completions/min_length"], metrics["completions/max_length"] = min(lengths), max(lengths)
        metrics["completions/mean_terminated_length"] = mean(a.length for a in answers if a.finish == "stop")
        metrics["completions/clipped_ratio"] = mean(a.finish == "length" for a in answers)
    return metrics


def update_metrics(updates: Sequence[Update]) -> dict[str, float]:
    """The metrics of a step's optimiser updates: their mean, or their maximum where the name says so."""
    told = []
    for done in updates:
        entropy = float(done.stats["entropy"]) / max(float(done.stats["tokens"]), 1.0)
        told.append({**summarise(done.stats), "entropy": entropy, "grad_norm": done.grad_norm})
    row = {"loss": 0.0, "grad_norm": 0.0, "updates": float(len(updates))}
    for name in told[0] if told else ():
        values = [metrics[name] for metrics in told]
        row[name] = max(values) if name.endswith("/max") else statistics.fmean(values)
    return row | {"updates_skipped": float(sum(not done.applied for done in updates))}


def batch_metrics(parts: Sequence[Batch]) -> dict[str, float]:
    """How well this rank's micro-batches were filled."""
    places = sum(part.input_ids_BT.numel() for part in parts)
    tokens = sum(int(part.attention_mask_BT.sum()) for part in parts)
    return {"batch/micro_batches": float(len(parts)), "batch/pad_frac": 1 - tokens / places if places else 0.0}


def machine_metrics(tokens: int, seconds: float, device: torch.device) -> dict[str, float]:
    """Speed in tokens a second (read and written, over all processes), and this process's peak of memory in GB."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 1e9
    else:  # kilobytes, but bytes on macOS
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    return {"perf/throughput": tokens / max(seconds, 1e-9), "perf/max_memory_allocated_gb": peak}


def write_samples(path: Path, step: int, records: Sequence[Record], advantages: Sequence[Sequence[float]]) -> None:
    """All completions of a step as JSON lines, worst first; those of unknown reward before all.

    advantages: one list a record, in the order of its known rewards.
    """
    rows: list[dict[str, Any]] = []
    for record, values in zip(records, advantages, strict=True):
        known = iter(values)
        for index, answer in enumerate(record.answers):
            rows.append(
                {
                    "step": step,
                    "problem_id": record.problem.id,
                    "task": record.problem.task,
                    "prompt": record.problem.prompt,
                    "answer": record.problem.answer,
                    "index": index,
                    "reward": answer.reward,
                    "correct": answer.correct,
                    "advantage": None if answer.reward is None else next(known),
                    "parts": dict(answer.parts),
                    "note": answer.note,
                    "length": answer.length,
                    "finish": answer.finish,
                    "completion": answer.text,
                }
            )
    rows.sort(key=lambda row: (row["reward"] is not None, row["reward"] or 0.0, row["problem_id"], row["index"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(finite(row), ensure_ascii=False) + "\n" for row in rows))


class Journal:
    """The files of a run that grow. Rows that a stopped run wrote behind its last checkpoint are dropped."""

    def __init__(
        self, out_dir: Path, settings: GRPOSettings, frontier: int, config: Mapping[str, Any] | None = None
    ) -> None:
        self.out_dir, self.settings = out_dir, settings
        with explained(out_dir):
            out_dir.mkdir(parents=True, exist_ok=True)
        config = config or settings.model_dump(mode="json")
        write_json_atomic(out_dir / "config.json", config)
        self.trackers = Trackers(settings.report_to, out_dir, config, frontier)
        self.files = {"metrics": JsonlWriter(out_dir / "metrics.jsonl"), "cases": JsonlWriter(out_dir / CASES_FILE)}
        if settings.dynamic_sampling:
            self.files["dropped"] = JsonlWriter(out_dir / "dropped.jsonl")
        for file in self.files.values():
            file.truncate_after("step", frontier)
        rows = read_jsonl(out_dir / "metrics.jsonl")
        self.recent: list[Mapping[str, Any]] = [*rows[-ROWS_NEEDED:]]
        self.fired = {name for name in ALARMS if any(row.get(f"alarm/{name}") for row in rows)}
        self.cases = Counter(row.get("case") for row in read_jsonl(out_dir / CASES_FILE))

    def write(self, metrics: Mapping[str, Any], collected: Collected, advantages: Sequence[Sequence[float]]) -> None:
        """Write down a step."""
        step, settings = metrics["step"], self.settings
        if step % settings.logging_steps == 0 or step == settings.max_steps:
            metrics = {**metrics, **self._alarms(metrics)}
            self.files["metrics"].write(metrics)
            self.trackers.write(metrics)
        self._write_cases(step, collected.records)
        for problem_id, reason in collected.dropped:
            self.files["dropped"].write({"step": step, "problem_id": problem_id, "reason": reason})
        if settings.sample_steps and (step % settings.sample_steps == 0 or step == 1):
            with explained(self.out_dir):
                write_samples(self.out_dir / "samples" / f"step-{step:06d}.jsonl", step, collected.records, advantages)

    def _alarms(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """The alarms over the rows that are logged; each is told once a run."""
        self.recent = [*self.recent, metrics][-ROWS_NEEDED:]
        told = {name: alarm(self.recent) for name, alarm in ALARMS.items()}
        for name, text in told.items():
            if text and name not in self.fired:
                self.fired.add(name)
                log.warning("step %d: %s", metrics["step"], text)
        return {f"alarm/{name}": float(bool(text)) for name, text in told.items()}

    def _write_cases(self, step: int, records: Sequence[Record]) -> None:
        """One answer a step of each case that a reward report shows, and not too many in all."""
        for name, applies in CASES.items():
            if self.cases[name] >= MOST_CASES:
                continue
            found = next(((r.problem, a) for r in records for a in r.answers if applies(a)), None)
            if found is None:
                continue
            problem, answer = found
            row = {"step": step, "case": name, "prompt": problem.prompt, "task": problem.task, "gold": problem.answer}
            row |= {"reward": answer.reward, "correct": answer.correct, "parts": dict(answer.parts)}
            self.files["cases"].write(row | {"note": answer.note, "completion": answer.text})
            self.cases[name] += 1

    def sync(self) -> None:
        """Return once all rows would survive a power cut."""
        for file in self.files.values():
            file.sync()

    def close(self) -> dict[str, Any]:
        """Close the files; returns the last row of metrics."""
        self.trackers.close()
        for file in self.files.values():
            file.close()
        rows = read_jsonl(self.out_dir / "metrics.jsonl")
        return rows[-1] if rows else {}
