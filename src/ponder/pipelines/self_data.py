"""The data stages of self-improvement: failed problems tried again with a hint, and what is kept to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import write_json_atomic
from ponder.core.seeds import random_of, seed_of
from ponder.core.types import Problem, SamplingParams
from ponder.data.filter import FilterSettings, table_as_json, verdict_of
from ponder.data.generate import generate
from ponder.data.held_out import assert_no_held_out, problem_in
from ponder.data.rejection import Scorer, keep_best, lessons
from ponder.data.rows import write_rows
from ponder.data.star import failed, hint_renderer, other_answers, without_hint
from ponder.data.trace import Trace, read_traces
from ponder.evals.metrics import paired_bootstrap, wilson
from ponder.models.chat import renderer
from ponder.models.load import load_model, load_tokenizer
from ponder.models.scorers import OutcomeScorer
from ponder.pipelines.data_stages import FILTERS, KEPT, SFT_ROWS, TRACES
from ponder.pipelines.mix import MixSettings, held_out_of_mix
from ponder.sampling.local import LocalSampler
from ponder.training.distributed import World

HINTS_FILE = "hints.json"
CONTROLS = ("answer", "other", "none")
"""The hint is the right answer, that of another problem, or there is none (and the thought is opened all the same)."""


def rationalise(
    cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str, traces: Path
) -> Mapping[str, Any]:
    """`traces.jsonl`: the problems that were failed in `traces`, tried again with their answer as a hint.

    cfg: as `sample_traces` has it, and `hint` (form, open_thought, n, temperature, control). What the hint is worth is
    measured on up to `control` of the problems, beside another problem's answer and no hint: `hints.json`.
    """
    hint, limit = cfg["hint"], cfg["sample"]["max_completion_length"]
    rows = read_traces(traces / TRACES)
    problems = list({row["id"]: problem_in(row) for row in rows}.values())
    tried = [problem for problem in failed(problems, rows) if problem.answer.strip()]
    if not tried:
        write_rows(folder / TRACES, []) if world.first else None
        return {"tried": 0}
    assert_no_held_out(tried, held_out_of_mix(MixSettings(**cfg["mix"]))[0], str(cfg["name"]))
    loaded = load_model(str(model))
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    render = renderer(loaded.tokenizer, cfg["prompt_style"])

    def ask(name: str, part: Sequence[Problem], answers: Mapping[str, str] | None, n: int, file: str) -> Any:
        form = "none" if name == "none" else hint["form"]
        with_hint = hint_renderer(render, form, hint["open_thought"], answers)
        params = SamplingParams(n, limit, hint["temperature"], cfg["sample"]["top_p"])
        provenance = {"teacher": cfg["teacher"], "style": cfg["prompt_style"], "stage": cfg["name"], "hint": form}
        return generate(
            sampler, part, with_hint, params, seed_of(cfg["seed"], cfg["name"], name), folder / file, world=world,
            provenance=provenance, progress=name == "answer",
        )  # fmt: skip

    counts = ask("answer", tried, None, hint["n"], TRACES)
    others = other_answers(tried, cfg["seed"])
    control = [problem for problem in tried if problem.id in others]
    random_of(cfg["seed"], cfg["name"], "control").shuffle(control)
    control = control[: hint["control"]]
    if control:
        ask("other", control, others, 1, "control-other.jsonl")
        ask("none", control, None, 1, "control-none.jsonl")
        if world.first:
            write_json_atomic(folder / HINTS_FILE, _worth(folder, [problem.id for problem in control]))
    return {"tried": len(tried), **{name: counts[name] for name in ("samples", "right", "well_formed")}}


rationalise.version = 1  # type: ignore[attr-defined]


def _worth(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """How often a try is well formed and right with the answer as the hint, with another answer, and with none."""
    files = dict(zip(CONTROLS, (TRACES, "control-other.jsonl", "control-none.jsonl"), strict=True))
    right = {}
    for name, file in files.items():
        first = {row["id"]: _usable(row) for row in read_traces(folder / file) if row["sample"] == 0}
        right[name] = [float(first[one]) for one in names]
    told: dict[str, Any] = {name: asdict(wilson(round(sum(found)), len(found))) for name, found in right.items()}
    for other in ("other", "none"):
        told[f"answer - {other}"] = asdict(paired_bootstrap(right[other], right["answer"], "hint", other))
    return told


def _usable(row: Mapping[str, Any]) -> bool:
    return verdict_of(row) is True and bool(row["well_formed"])


def keep_own(
    cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str, traces: Path, hints: Path | None = None,
    scorer: Path | None = None,
) -> Mapping[str, Any]:  # fmt: skip
    """`kept.jsonl`, `sft.jsonl` (prompt and completion, without any hint) and `filters.json` from a round's traces.

    cfg: `mix`, `prompt_style`, `filter`, `against` (more evaluation sets), `n` (samples a problem in `traces`),
    `name`. model: whose tokenizer renders prompts. hints: rationalised traces. scorer: an outcome model for
    `which=best`. Raises PonderError where a held-out problem is among the traces.
    """
    if not world.first:
        return {}
    tokenizer, _ = load_tokenizer(str(model))
    render = renderer(tokenizer, cfg["prompt_style"])
    rows = read_traces(traces / TRACES)
    told: dict[str, Any] = {"traces": len(rows), "problems": len({row["id"] for row in rows})}
    told["right"] = sum(map(_usable, rows))
    told["solved"] = len({row["id"] for row in rows if _usable(row)})
    second: list[Trace] = []
    if hints is not None:
        again = read_traces(hints / TRACES)
        second, gave_away = without_hint(again, render)
        second = [{**row, "sample": cfg["n"] + row["sample"]} for row in second]
        told |= {"tried_again": len({row["id"] for row in again}), "gave_the_hint_away": gave_away}
        told["rationalised"] = len({row["id"] for row in second if _usable(row)})
    held_out, sets = held_out_of_mix(MixSettings(**cfg["mix"]), cfg["against"])
    settings = FilterSettings(**cfg["filter"])
    score = _scores(scorer) if scorer is not None else None
    kept, table = keep_best(
        [*rows, *second], settings, held_out, against=sets, scorer=score, scored_by=scorer.name if scorer else ""
    )
    write_json_atomic(folder / FILTERS, table_as_json(table, [*rows, *second], kept))
    if not kept:
        most = max(table, key=lambda took: took.taken)
        raise PonderError(
            f"{cfg['name']}: none of {len(rows) + len(second)} traces is left to learn from (the filter "
            f"{most.filter!r} took {most.taken}; {FILTERS} has all): raise sample.n, or ask for less in filter"
        )
    write_rows(folder / KEPT, kept)
    write_rows(folder / SFT_ROWS, lesson_rows(kept, render))
    return {**told, "kept": len(kept), "kept_rationalised": sum(row["sample"] >= cfg["n"] for row in kept)}


keep_own.version = 1  # type: ignore[attr-defined]


def lesson_rows(kept: Sequence[Mapping[str, Any]], render: Any) -> list[dict[str, Any]]:
    """Rows for SFT: prompt and completion as texts, the trace's id and provenance beside them."""
    pairs = zip(kept, lessons(kept, render), strict=True)
    return [
        {"prompt": one.prompt, "completion": one.completion, **{k: row.get(k) for k in ("id", "sample", "provenance")}}
        for row, one in pairs
    ]


def _scores(scorer: Path) -> Scorer:
    model = OutcomeScorer(scorer)
    return lambda prompts, responses: model.score(list(prompts), list(responses))
