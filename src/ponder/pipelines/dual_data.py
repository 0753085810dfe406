"""The data of a model with two modes: both kinds of answers to a problem, rows of both in balance, pairs within each.

Stages of `ponder.pipelines.dual_mode`. Every row keeps its problem's id, its mode and where it comes from, and no
held-out problem passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ponder.core.config import Settings
from ponder.core.errors import PonderError
from ponder.core.records import write_json_atomic
from ponder.core.seeds import random_of, seed_of
from ponder.core.thinking import THINK_CLOSE, THINK_OPEN, parse
from ponder.core.types import SamplingParams
from ponder.data.filter import FilterSettings, filter_traces, table_as_json
from ponder.data.generate import generate
from ponder.data.held_out import assert_no_held_out
from ponder.data.pairs import PairSettings, pairs_of
from ponder.data.rows import write_rows
from ponder.data.trace import Trace, messages_of, read_traces
from ponder.evals.modes import MODES, Mode
from ponder.models.chat import knows_modes, renderer
from ponder.models.load import load_model
from ponder.pipelines.data_stages import FILTERS, SFT_ROWS
from ponder.pipelines.learn_stages import PAIRS
from ponder.pipelines.mix import MixSettings, held_out_of_mix, training_mix
from ponder.sampling.local import LocalSampler
from ponder.training.distributed import World

HELD_PAIRS, HELD_SHARE = "held_pairs.jsonl", 0.1
STYLE: dict[Mode, str] = {"think": "chat-think", "no_think": "chat-no-think"}
THOUGHT: dict[Mode, Literal["keep", "drop"]] = {"think": "keep", "no_think": "drop"}


class AnswerSettings(Settings):
    """How many answers of each mode are sampled."""

    problems: int = Field(1000, ge=1)
    general_share: float = Field(0.125, ge=0, le=1)
    """Share of the problems that are general requests."""
    n: int = Field(4, ge=1)
    """Samples a problem with thinking."""
    n_no_think: int = Field(4, ge=0)
    """Samples a problem without."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_completion_length: int = Field(160, ge=1)

    def count(self, mode: Mode) -> int:
        """Samples a problem in `mode`."""
        return self.n if mode == "think" else self.n_no_think


class BalanceSettings(Settings):
    """How much of each mode is trained on."""

    by: Literal["rows", "tokens", "none"] = "rows"
    """What is counted: rows, or tokens of their answers. none: all rows there are."""
    think_share: float = Field(0.5, gt=0, lt=1)
    """Of that, the share with thinking; the mode that has more than its share loses rows. SmolLM3: 0.44 of tokens."""


def sample_modes(cfg: Mapping[str, Any], folder: Path, *, world: World, model: Path | str) -> Mapping[str, Any]:
    """`think.jsonl` and `no_think.jsonl`: graded answers of `model` to the same training problems in either mode.

    cfg: `name` (keys the draw), `mix`, `answers` (`AnswerSettings`), `seed`, `modes`. A model whose template knows no
    modes is asked as it is, and not at all for answers without thinking. Goes on where it was stopped.
    """
    settings = AnswerSettings(**cfg["answers"])
    name = f"{cfg['name']} {cfg['seed']}"
    problems = training_mix(MixSettings(**cfg.get("mix", {})), settings.problems, name, settings.general_share)
    assert_no_held_out(problems, held_out_of_mix(MixSettings(**cfg.get("mix", {})))[0], str(cfg["name"]))
    loaded = load_model(str(model))
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    known = knows_modes(loaded.tokenizer)
    counts: dict[str, Any] = {}
    for mode in MODES:
        n = settings.count(mode)
        if mode not in cfg["modes"] or not n or (mode == "no_think" and not known):
            continue
        style = STYLE[mode] if known else "chat"
        params = SamplingParams(n, settings.max_completion_length, settings.temperature, settings.top_p)
        made = generate(
            sampler, problems, renderer(loaded.tokenizer, style), params, seed_of(cfg["seed"], cfg["name"], mode),
            folder / f"{mode}.jsonl", world=world,
            provenance={"teacher": cfg["teacher"], "stage": cfg["name"], "style": style, "mode": mode},
        )  # fmt: skip
        counts[mode] = {key: made[key] for key in ("problems", "right", "truncated") if key in made}
    return counts


sample_modes.version = 1  # type: ignore[attr-defined]


def graded_in(mode: Mode, trace: Trace, form: bool) -> Trace:
    """The trace with `correct` and `well_formed` as its mode means them: right and in its mode; form: well formed too.

    Without thinking the whole text is the response, so that a thought that leaked stays where it was written.
    """
    told = dict(trace)
    if mode == "no_think":
        text = str(trace["completion"])
        told |= {"reasoning": "", "response": text.strip(), "well_formed": parse(text, closed=True).well_formed}
        kept = THINK_OPEN not in text and THINK_CLOSE not in text
    else:
        kept = bool(str(trace["reasoning"]).strip())
    if told["correct"] is True:
        told["correct"] = kept and (bool(told["well_formed"]) or not form)
    return told


def answers_in(folder: Path, mode: Mode, form: bool) -> list[Trace]:
    """The answers of a mode that a folder of `sample_modes` holds, graded as the mode means it."""
    file = folder / f"{mode}.jsonl"
    return [graded_in(mode, trace, form) for trace in read_traces(file)] if file.exists() else []


def keep_thoughts(cfg: Mapping[str, Any], folder: Path, *, world: World, answers: Path) -> Mapping[str, Any]:
    """`sft.jsonl`, for mid-training: right answers with their thoughts, and what each filter took.

    cfg: `name`, `mix`, `filter` (`FilterSettings`).
    """
    if not world.first:
        return {}
    settings = FilterSettings(**cfg["filter"])
    traces = answers_in(answers, "think", settings.well_formed)
    held_out, sets = held_out_of_mix(MixSettings(**cfg.get("mix", {})), settings.against)
    kept, table = filter_traces(traces, settings, sets)
    assert_no_held_out(kept, held_out, str(cfg["name"]))
    _some(kept, answers, "right answer with a thought")
    write_rows(folder / SFT_ROWS, [{**messages_of(row, thought="keep"), "mode": "think"} for row in kept])
    write_json_atomic(folder / FILTERS, {"think": table_as_json(table, traces, kept)})
    return {"traces": len(traces), "kept": len(kept)}


keep_thoughts.version = 1  # type: ignore[attr-defined]


def balance_modes(cfg: Mapping[str, Any], folder: Path, *, world: World, answers: Path) -> Mapping[str, Any]:
    """`sft.jsonl`, for fine-tuning on both modes, in balance, and the gaps of the one mode filled.

    A problem that the teacher got right only by thinking is answered at once by what stood behind the thought. (The
    other gap, a problem got right only at once, stays: nobody has a thought for it.)
    cfg: `name`, `mix`, `filter`, `balance` (`BalanceSettings`), `seed`.
    """
    if not world.first:
        return {}
    settings = FilterSettings(**cfg["filter"])
    held_out, sets = held_out_of_mix(MixSettings(**cfg.get("mix", {})), settings.against)
    kept: dict[Mode, list[Trace]] = {}
    told: dict[str, Any] = {}
    for mode in MODES:
        traces = answers_in(answers, mode, settings.well_formed)
        passed, table = filter_traces(traces, settings, sets)
        kept[mode] = [dict(trace) for trace in passed]
        told[mode] = table_as_json(table, traces, kept[mode])
    _some(kept["think"], answers, "right answer with a thought")
    rows = {mode: [_row(mode, trace, "sampled") for trace in kept[mode]] for mode in MODES}
    answered = {str(trace["id"]) for trace in kept["no_think"]}
    gaps = {str(trace["id"]): trace for trace in reversed(kept["think"]) if str(trace["id"]) not in answered}
    rows["no_think"] += [_row("no_think", trace, "behind a thought of the teacher's") for trace in gaps.values()]
    balanced = in_balance(rows, BalanceSettings(**cfg["balance"]), cfg["seed"])
    both = [row for mode in MODES for row in balanced[mode]]
    random_of("both modes", cfg["seed"]).shuffle(both)
    assert_no_held_out([trace for mode in MODES for trace in kept[mode]], held_out, str(cfg["name"]))
    write_rows(folder / SFT_ROWS, both)
    write_json_atomic(folder / FILTERS, told)
    counts = {f"rows, {mode}": len(balanced[mode]) for mode in MODES}
    return {**counts, "gaps filled": len(gaps), "left out for balance": sum(map(len, rows.values())) - len(both)}


balance_modes.version = 1  # type: ignore[attr-defined]


def _row(mode: Mode, trace: Trace, source: str) -> dict[str, Any]:
    tokens = int(trace.get("completion_tokens") or 0)
    if mode == "no_think":  # what is learnt is the response; its share of the text is near its share of the tokens
        tokens = max(1, round(tokens * len(str(trace["response"])) / max(1, len(str(trace["completion"])))))
    messages = messages_of(trace, thought=THOUGHT[mode], flag="system")
    return {**messages, "mode": mode, "answer": source, "tokens": tokens}


def in_balance(
    rows: Mapping[Mode, Sequence[dict[str, Any]]], settings: BalanceSettings, seed: int
) -> dict[Mode, list[dict[str, Any]]]:
    """The rows of both modes, of the one that has more than its share only as many as its share."""
    if settings.by == "none":
        return {mode: list(rows[mode]) for mode in MODES}
    cost = (lambda row: 1) if settings.by == "rows" else (lambda row: int(row["tokens"]))
    share: dict[Mode, float] = {"think": settings.think_share, "no_think": 1 - settings.think_share}
    whole = min(sum(map(cost, rows[mode])) / share[mode] for mode in MODES)
    found: dict[Mode, list[dict[str, Any]]] = {}
    for mode in MODES:
        order = list(rows[mode])
        random_of("balance", seed, mode).shuffle(order)
        left, found[mode] = whole * share[mode] + 1e-6, []
        for row in order:
            if cost(row) <= left:
                left -= cost(row)
                found[mode].append(row)
    return found


def pair_modes(cfg: Mapping[str, Any], folder: Path, *, world: World, answers: Path) -> Mapping[str, Any]:
    """`pairs.jsonl`: within each mode a right answer that keeps to it, before one that is wrong, malformed or leaks.

    The pairs of about a tenth of the problems go to `held_pairs.jsonl`, to measure with.

    cfg: `name`, `mix`, `pairs` (`PairSettings`; its `modes`, `flag` and `any_form` are set here).
    """
    if not world.first:
        return {}
    rows: list[dict[str, Any]] = []
    counts: dict[str, Any] = {}
    for mode in MODES:
        settings = PairSettings(**{**cfg["pairs"], "any_form": True, "modes": (mode,), "flag": "system"})
        traces = answers_in(answers, mode, settings.well_formed)
        made = pairs_of(traces, settings)
        rows += made.rows
        counts[mode] = made.counts["pairs"]
    _some(rows, answers, "problem with a better and a worse answer")
    held_out, _ = held_out_of_mix(MixSettings(**cfg.get("mix", {})))
    assert_no_held_out(rows_with_problems(rows, answers), held_out, str(cfg["name"]))
    random_of("pairs of both modes", cfg["name"]).shuffle(rows)
    problems = sorted({str(row["id"]) for row in rows})
    held = {name for name in problems if random_of("held pairs", name).random() < HELD_SHARE}
    write_rows(folder / PAIRS, [row for row in rows if row["id"] not in held])
    write_rows(folder / HELD_PAIRS, [row for row in rows if row["id"] in held])
    return {f"pairs, {mode}": count for mode, count in counts.items()}


pair_modes.version = 1  # type: ignore[attr-defined]


def rows_with_problems(rows: Sequence[Mapping[str, Any]], answers: Path) -> list[Trace]:
    """One trace of each problem that the rows are of."""
    wanted = {str(row["id"]) for row in rows}
    found = {str(trace["id"]): trace for mode in MODES for trace in answers_in(answers, mode, False)}
    return [trace for name, trace in found.items() if name in wanted]


def _some(rows: Sequence[Any], answers: Path, what: str) -> None:
    if not rows:
        raise PonderError(f"{answers}: no {what}; sample more problems, or take another teacher")
