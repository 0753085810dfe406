"""Stages that make training data from a model's own samples: generate, grade, filter, keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.records import write_json_atomic
from ponder.core.seeds import seed_of
from ponder.core.types import SamplingParams
from ponder.data.filter import FilterSettings, filter_traces, table_as_json
from ponder.data.generate import generate
from ponder.data.held_out import EvaluationSet, HeldOut, assert_no_held_out, evaluation_sets, held_out_of
from ponder.data.rows import write_rows
from ponder.data.trace import Trace, messages_of, problem_of, read_traces
from ponder.models.chat import asked_in, renderer
from ponder.models.load import load_model
from ponder.models.scorers import OutcomeScorer
from ponder.pipelines.mix import HELD_OUT_SAMPLE, MixSettings, held_out_of_mix, training_mix
from ponder.rewards.judge import judged_text
from ponder.sampling.local import LocalSampler
from ponder.training.distributed import World

TRACES, KEPT, SFT_ROWS, FILTERS = "traces.jsonl", "kept.jsonl", "sft.jsonl", "filters.json"


class SampleSettings(Settings):
    """How many traces of how many problems."""

    problems: int = Field(1000, ge=1)
    general_share: float = Field(0.0, ge=0, le=1)
    """Share of the problems that are general requests."""
    n: int = Field(4, ge=1)
    """Samples a problem."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_completion_length: int = Field(160, ge=1)

    @property
    def params(self) -> SamplingParams:
        """What the sampler sees."""
        return SamplingParams(self.n, self.max_completion_length, self.temperature, self.top_p)


def sample_traces(cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str) -> Mapping[str, Any]:
    """`traces.jsonl`: graded samples of `model` on training problems.

    cfg: `name` (keys the draw), `mix`, `sample` (`SampleSettings`), `prompt_style`, `seed`. Goes on where it was
    stopped. Raises PonderError where a problem is held out.
    """
    settings, mix = SampleSettings(**cfg["sample"]), MixSettings(**cfg["mix"])
    problems = training_mix(mix, settings.problems, f"{cfg['name']} {cfg['seed']}", settings.general_share)
    assert_no_held_out(problems, held_out_of_mix(mix)[0], str(cfg["name"]))
    loaded = load_model(str(model))
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    render = renderer(loaded.tokenizer, cfg["prompt_style"])
    provenance = {"teacher": str(cfg.get("teacher", cfg["name"])), "source": "local", "style": cfg["prompt_style"],
                  "temperature": settings.temperature, "stage": cfg["name"]}  # fmt: skip
    counts = generate(
        sampler, problems, render, settings.params, seed_of(cfg["seed"], cfg["name"]), folder / TRACES, world=world,
        provenance=provenance,
    )  # fmt: skip
    return dict(counts)


sample_traces.version = 1  # type: ignore[attr-defined]


def import_traces(cfg: Mapping[str, Any], folder: Path, *, world: World, file: Path) -> Mapping[str, Any]:
    """`traces.jsonl`: traces that were made elsewhere.

    cfg: `mix` and `measured` (how many held-out problems models are measured on).
    Raises PonderError for a row that is none, or is held out: also one that tells nothing but its question.
    """
    if not world.first:
        return {}
    rows = read_traces(file)
    if not rows:
        raise PonderError(f"{file} holds no rows; make traces with `ponder data generate` or `ponder data import`")
    assert_no_held_out(rows, _held_out(cfg)[0], str(file))
    write_rows(folder / TRACES, rows)
    return {"traces": len(rows)}


import_traces.version = 2  # type: ignore[attr-defined]


def keep_traces(
    cfg: Mapping[str, Any], folder: Path, *, world: World, traces: Path, scorer: Path | None = None
) -> Mapping[str, Any]:
    """`kept.jsonl` and `sft.jsonl` (conversations) of the traces in the folder `traces`, and what each filter took.

    cfg: `filter` (for reasoning), `general` (for general requests, kept by what `scorer`, an outcome model, says of
    their answers), `general_kinds`, `rows` (at most, of each; 0: all), `name`, `prompt_style`; and where the traces
    come from elsewhere `mix` and `measured`.
    Raises PonderError where a held-out problem is among those that are kept, or none is kept.
    """
    if not world.first:
        return {}
    rows = read_traces(traces / TRACES)
    kinds = set(cfg.get("general_kinds", ()))
    parts = {
        "reasoning": [row for row in rows if row["task"] not in kinds],
        "general": [row for row in rows if row["task"] in kinds],
    }
    if scorer is not None and parts["general"]:
        parts["general"] = scored(parts["general"], scorer, cfg["prompt_style"])
    held_out, sets = _held_out(cfg)
    kept: list[Trace] = []
    told: dict[str, Any] = {}
    for name, part in parts.items():
        if not part:
            continue
        settings = FilterSettings(**cfg["filter" if name == "reasoning" else "general"])
        passed, table = filter_traces(part, settings, (*sets, *evaluation_sets(settings.against)))
        passed = passed[: cfg.get("rows") or None]
        told[name] = table_as_json(table, part, passed)
        kept += [dict(row) for row in passed]
    assert_no_held_out(kept, held_out, str(cfg["name"]))
    write_json_atomic(folder / FILTERS, told)
    if not kept:
        every = [one for part in told.values() for one in part["filters"]]
        took = max(every, key=lambda one: int(one["taken"]), default={"filter": "empty", "taken": 0})
        raise PonderError(
            f"{cfg['name']}: none of {len(rows)} traces is left to learn from; the filter {took['filter']!r} took "
            f"{took['taken']} (the table is in {folder / FILTERS}): ask for less in its settings, or for more traces"
        )
    write_rows(folder / KEPT, kept)
    write_rows(folder / SFT_ROWS, [lesson_of(row, cfg["prompt_style"]) for row in kept])
    return {"traces": len(rows), "kept": len(kept), **{name: part["kept"] for name, part in told.items()}}


keep_traces.version = 1  # type: ignore[attr-defined]


def _held_out(cfg: Mapping[str, Any]) -> tuple[HeldOut, tuple[EvaluationSet, ...]]:
    """What the stage's mix holds out, and its test files; without a mix what is known by a problem's content alone."""
    if "mix" not in cfg:
        return held_out_of(()), ()
    return held_out_of_mix(MixSettings(**cfg["mix"]), (), cfg.get("measured", HELD_OUT_SAMPLE))


def lesson_of(row: Trace, prompt_style: str) -> dict[str, Any]:
    """A trace as a row to fine-tune on, in the form in which the model is asked later on: a conversation for chat
    styles (a trace without a thought is learnt with an empty one), prompt and completion for plain ones."""
    asked = asked_in(prompt_style, problem_of(row))
    if prompt_style.startswith("chat"):
        told = messages_of(row, thought="keep" if _thinks(row) else "empty")
        return {**told, "messages": [*asked, told["messages"][-1]]}
    told = {name: row.get(name) for name in ("id", "task", "sample", "provenance")}
    return {"prompt": asked[-1]["content"], "completion": str(row["completion"]), **told}


def _thinks(row: Mapping[str, Any]) -> bool:
    return bool(str(row.get("reasoning") or "").strip())


def scored(rows: Sequence[Trace], scorer: Path, prompt_style: str) -> list[Trace]:
    """The rows with an outcome model's score of their answers (what follows the thought) as `score`."""
    model = OutcomeScorer(scorer)
    render = renderer(model.head.tokenizer, prompt_style)
    scores = model.score([render(str(row["problem"])) for row in rows], [answer_of(row) for row in rows])
    return [{**row, "score": score} for row, score in zip(rows, scores, strict=True)]


def answer_of(row: Mapping[str, Any]) -> str:
    """What a person reads of a trace, and what the reward model is shown: its answer, without thought and tags."""
    return judged_text(str(row["completion"]), "answer")
