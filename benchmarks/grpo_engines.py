"""One engine of the GRPO benchmark in a process of its own: `grpo_engines.py ponder|trl SPEC OUT` (see grpo_step.py).

Both engines train SPEC's model on the same prompts, a step for each entry of `plan`. Rank 0 writes one JSON line a step
to OUT, and a last one about the process. A step that is "recorded" replays SPEC's tokens: `forced` leaves each row one
token to draw, so both engines draw, and pay for drawing, the very same completions.
All times are of CLOCK_MONOTONIC, which the processes of a machine share.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from ponder.core.types import Completion, Problem, SamplingParams, Score
from ponder.models.load import load_model
from ponder.rewards import compose, reward_part
from ponder.sampling import local, schedule
from ponder.sampling.local import LocalSampler
from ponder.sampling.pick import choose
from ponder.training.distributed import World, launch

Spec = dict[str, Any]
Row = dict[str, Any]

# ---- what both engines share ----


def forced(scores_BV: torch.Tensor, token_B: torch.Tensor) -> torch.Tensor:
    """Scores under which nothing but `token_B` can be drawn."""
    return torch.full_like(scores_BV, -torch.inf).scatter_(1, token_B[:, None], 0.0)


def record_of(spec: Spec) -> torch.Tensor:
    """The recorded tokens, [questions * generations, limit]; filled with an end token behind each row's own."""
    rows = [row for group in spec["record"] for row in group]
    return torch.tensor([[*row, *[spec["eos_id"]] * (spec["limit"] - len(row))] for row in rows])


def reward_of(spec: Spec) -> Callable[[Sequence[Problem], Sequence[Completion]], list[Score]]:
    """`varied`: the share of even token ids. It differs within every group, so that no engine can skip one.
    `task`: the reward of `ponder run r1-zero`."""
    if spec["reward"] == "task":
        return compose([reward_part("accuracy"), reward_part("format", weight=0.2)])
    return lambda problems, completions: [Score(even(completion.token_ids), None) for completion in completions]


def even(token_ids: Sequence[int]) -> float:
    """The share of even ids."""
    return sum(token % 2 == 0 for token in token_ids) / max(len(token_ids), 1)


def problems_of(spec: Spec) -> list[Problem]:
    """The step's questions; every step asks them all."""
    return [Problem(**problem) for problem in spec["problems"]]


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    """JSON lines."""
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))


def peak_gb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


# ---- Ponder ----


class TimedSampler(LocalSampler):
    """The local sampler; notes when each call began and ended, and replays where `record` is given."""

    record: torch.Tensor | None = None
    places: dict[tuple[int, ...], int]
    spans: list[tuple[float, float]]

    def sample(
        self, prompts: Sequence[str], params: SamplingParams, seed: int, on_finish: Any = None
    ) -> list[Completion]:
        """As `LocalSampler.sample`."""
        begin = time.monotonic()
        with nullcontext() if self.record is None else replay(self.record, self.places):
            completions = super().sample(prompts, params, seed, on_finish)
        self.spans.append((begin, time.monotonic()))
        return completions


@contextmanager
def replay(record_RT: torch.Tensor, places: dict[tuple[int, ...], int]) -> Iterator[None]:
    """Have the schedule draw the recorded tokens: a row's key is its place in the record."""

    def keys(seed: int, prompt_ids: Sequence[int], n: int) -> list[int]:
        first = places[tuple(prompt_ids)] * n
        return list(range(first, first + n))

    def choose_recorded(
        logits_BV: torch.Tensor, key_B: torch.Tensor, position_B: torch.Tensor, params: SamplingParams
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return choose(forced(logits_BV, record_RT[key_B, position_B]), key_B, position_B, params)

    with mock.patch.object(local, "row_keys", keys), mock.patch.object(schedule, "choose", choose_recorded):
        yield


def run_ponder(world: World, spec: Spec, out: Path) -> None:
    """`train_grpo`, as `ponder run r1-zero` calls it; the step's end is where it would evaluate."""
    from ponder.training.grpo import train_grpo
    from ponder.training.questions import encoder
    from ponder.training.settings import GRPOSettings

    torch.set_num_threads(spec["threads"])
    loaded, problems, plan = load_model(spec["model"], "float32", "cpu"), problems_of(spec), spec["plan"]
    texts = {problem.id: text for problem, text in zip(problems, spec["prompts"], strict=True)}
    record = record_of(spec)
    stamps: list[float] = []
    spans: list[tuple[float, float]] = []
    places = {tuple(ids): place for place, ids in enumerate(encoder(loaded.tokenizer)(spec["prompts"]))}

    def sampler_of(step: int) -> TimedSampler:
        sampler = TimedSampler(
            loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids, version=step
        )
        sampler.record = record if plan[step] == "recorded" else None
        sampler.places, sampler.spans = places, spans
        return sampler

    settings = GRPOSettings(
        loss_type=spec["loss_type"],
        scale_rewards="group",
        max_steps=len(plan),
        questions_per_step=len(problems),
        num_generations=spec["generations"],
        max_completion_length=spec["limit"],
        learning_rate=spec["learning_rate"],
        max_grad_norm=1.0,
        token_budget=spec["token_budget"],
        processes=world.size,
        seed=spec["seed"],
        save_steps=len(plan),
        eval_steps=1,
        sample_steps=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(world.broadcast(folder))
        train_grpo(
            settings, loaded.model, loaded.tokenizer, problems, reward_of(spec), shared,
            lambda problem: texts[problem.id], world, evaluate=lambda step: stamps.append(time.monotonic()),
            sampler_of=sampler_of, context_length=loaded.context_length, eos_ids=loaded.eos_ids,
        )  # fmt: skip
        everyones_spans, peaks = world.gather(spans), world.gather(peak_gb())
        if not world.first:
            return
        metrics = [json.loads(line) for line in (shared / "metrics.jsonl").read_text().splitlines()]
    sampled = len(problems) * spec["generations"]
    rows: list[Row] = []
    for at, (setting, row) in enumerate(zip(plan, metrics, strict=True)):
        begun, ended = (edge(spans[at][i] for spans in everyones_spans) for i, edge in enumerate((min, max)))
        rows.append(
            {
                "setting": setting,
                "step_s": stamps[at] - stamps[at - 1] if at else None,
                "rollout_s": ended - begun,
                "update_s": row["timing_s/update"],
                "completion_tokens": round(row["completions/mean_length"] * sampled),
                "grad_norm": row["grad_norm"],
                "micro_batches": row["batch/micro_batches"],
            }
        )
    about = {"prompt_tokens": sum(map(len, places)) * spec["generations"], "peak_gb": sum(peaks)}
    write_rows(out, [*rows, {**about, "threads": torch.get_num_threads(), "processes": world.size}])


# ---- TRL ----


def run_trl(spec: Spec, out: Path) -> None:
    """`GRPOTrainer.train`; a group of processes where the environment says so, as `accelerate launch` sets it."""
    from accelerate.utils import gather_object
    from datasets import Dataset
    from transformers import LogitsProcessor, LogitsProcessorList, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(spec["threads"])
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    loaded, problems, plan = load_model(spec["model"], "float32", "cpu"), problems_of(spec), spec["plan"]
    record, reward, generations = record_of(spec), reward_of(spec), spec["generations"]
    local_rows = len(problems) * generations // processes
    micro_batch = max(size for size in range(1, spec["micro_batch"] + 1) if local_rows % size == 0)
    notes: list[Row] = [{"setting": setting} for setting in plan]
    stamps: list[float] = []

    class Replay(LogitsProcessor):
        """Row i of the batch draws the tokens of row `rows[i]` of the record."""

        def __init__(self, rows: list[int]) -> None:
            self.tokens_BT, self.start = record[rows], -1

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if self.start < 0:
                self.start = input_ids.shape[1]
            return forced(scores, self.tokens_BT[:, input_ids.shape[1] - self.start])

    class TimedTrainer(GRPOTrainer):
        """The trainer; notes when generating and scoring began and ended, and replays where the plan says so."""

        places: list[int]

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
            self.places = [row["place"] for row in inputs]
            batch = super()._generate_and_score_completions(inputs)
            notes[self.state.global_step]["completion_tokens"] = int(batch["num_items_in_batch"])
            notes[self.state.global_step]["scored"] = time.monotonic()
            return batch

        def _generate(self, prompts: list[str]) -> Any:
            begin = time.monotonic()
            result = super()._generate(prompts)
            notes[self.state.global_step]["rollout_s"] = time.monotonic() - begin
            return result

        def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
            notes[self.state.global_step]["prompt_tokens"] = sum(map(len, prompt_ids))
            if plan[self.state.global_step] != "recorded":
                return super()._generate_single_turn(prompt_ids, *args, **kwargs)
            model = self.accelerator.unwrap_model(self.model_wrapped)
            rows = [place * generations + at % generations for at, place in enumerate(self.places)]
            generate = partial(model.generate, logits_processor=LogitsProcessorList([Replay(rows)]))
            with mock.patch.object(model, "generate", generate):
                return super()._generate_single_turn(prompt_ids, *args, **kwargs)

    class Stamp(TrainerCallback):
        """The step's end, and the norm of its gradient."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stamps.append(time.monotonic())

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if logs and "grad_norm" in logs:
                notes[state.global_step - 1]["grad_norm"] = float(logs["grad_norm"])

    def score(
        completions: list[str], completion_ids: list[list[int]], place: list[int], **_: Any
    ) -> list[float | None]:
        answers = [
            Completion((), tuple(ids), (), text, "stop") for text, ids in zip(completions, completion_ids, strict=True)
        ]
        return [score.value for score in reward([problems[at] for at in place], answers)]

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            ddp_backend="gloo" if processes > 1 else None,
            ddp_find_unused_parameters=False if processes > 1 else None,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=local_rows // micro_batch,
            num_generations=generations,
            max_completion_length=spec["limit"],
            temperature=1.0,
            loss_type=spec["loss_type"],
            scale_rewards="group",
            beta=0.0,
            gradient_checkpointing=False,
            learning_rate=spec["learning_rate"],
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            max_steps=len(plan),
            shuffle_dataset=False,
            seed=spec["seed"],
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        rows = [{"prompt": text, "place": place} for place, text in enumerate(spec["prompts"])]
        trainer = TimedTrainer(
            model=loaded.model,
            reward_funcs=score,
            args=config,
            train_dataset=Dataset.from_list(rows * len(plan)),
            processing_class=loaded.tokenizer,
            callbacks=[Stamp()],
        )
        trainer.train()
    peaks, prompt_tokens = gather_object([peak_gb()]), gather_object([notes[0]["prompt_tokens"]])
    if not trainer.accelerator.is_main_process:
        return
    for at, note in enumerate(notes):
        note["step_s"] = stamps[at] - stamps[at - 1] if at else None
        note["update_s"] = stamps[at] - note.pop("scored")
        note["micro_batches"] = config.gradient_accumulation_steps
        del note["prompt_tokens"]
    about = {"prompt_tokens": sum(prompt_tokens), "peak_gb": sum(peaks)}
    write_rows(out, [*notes, {**about, "threads": torch.get_num_threads(), "processes": processes}])


def main() -> None:
    """The command line: the engine, the spec's file, the file to write."""
    engine, spec, out = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    if engine == "ponder":
        launch(run_ponder, spec["processes"], (spec, out))
    else:
        run_trl(spec, out)


if __name__ == "__main__":
    main()
