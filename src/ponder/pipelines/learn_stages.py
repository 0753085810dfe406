"""Stages that train on rows that are there: supervised fine-tuning, and reward models of what people prefer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.records import environment, read_jsonl, write_json_atomic
from ponder.core.seeds import random_of
from ponder.data.rows import write_rows
from ponder.data.trace import Trace, read_traces
from ponder.models.heads import new_outcome_model
from ponder.models.load import load_model
from ponder.pipelines.data_stages import SFT_ROWS, TRACES, answer_of
from ponder.rewards.language import share_of_language
from ponder.tasks.shapes import Example, Preference, read_examples
from ponder.training.distributed import World
from ponder.training.reward_model import RewardSettings, train_reward_model
from ponder.training.sft import SFTSettings, train_sft
from ponder.training.supervised import HARMLESS, SupervisedSettings

PAIRS = "pairs.jsonl"

LEAST_DIFFERENCE = 0.2
"""Of taste, between two answers that make a pair: people agree on those, and smaller ones are mostly noise."""


def lasting_rows(settings: SupervisedSettings) -> dict[str, Any]:
    """The settings that make the stage what it is: how often to save or log is not among them."""
    kept = {name: type(settings).model_fields[name].default for name in HARMLESS}
    return settings.model_copy(update=kept).model_dump(mode="json")


def fine_tune(
    cfg: Mapping[str, Any], folder: Path, *, world: World, sft: SFTSettings, model: Path | str, **data: Path
) -> Mapping[str, Any]:
    """SFT of `model` on the rows of every folder (`sft.jsonl` in it) or file in `data`.

    cfg: `sft` (what `lasting_rows` gives). sft: the same with what may change between a stop and a start.
    """
    loaded = load_model(str(model), dtype="float32")
    rows: list[Example] = []
    for path in data.values():
        rows += read_examples(path / SFT_ROWS if path.is_dir() else path)
    if world.first:
        write_json_atomic(folder / "environment.json", {**environment(), "processes": world.size})
    return train_sft(sft, loaded.model, loaded.tokenizer, rows, folder, world)


fine_tune.version = 1  # type: ignore[attr-defined]


def make_pairs(cfg: Mapping[str, Any], folder: Path, *, world: World, traces: Path, **more: Path) -> Mapping[str, Any]:
    """`pairs.jsonl`: of a general request's sampled answers, one that people like better and one that they like less.

    People are stood in for by `taste`. cfg: `kinds` (of general request), `pairs_per_problem`, `half` (`even` or `odd`
    problems, so that two reward models can know nothing of each other's), `seed`, or `file`: preference rows that
    people made, used as they are. The two sides are answers as a person reads them, without their thought.
    """
    if not world.first:
        return {}
    if cfg.get("file"):
        pairs = [row for row in read_examples(cfg["file"], "preference") if isinstance(row, Preference)]
        rows = [{"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected} for row in pairs]
        rows = [row for at, row in enumerate(rows) if at % 2 == (cfg["half"] == "odd")]
        write_rows(folder / PAIRS, rows)
        return {"pairs": len(rows)}
    samples: dict[str, list[Trace]] = {}
    for place in (traces, *more.values()):
        for row in read_traces(place / TRACES):
            if row["task"] in cfg["kinds"] and row["correct_lenient"] is not None:
                samples.setdefault(str(row["id"]), []).append(row)
    rows = []
    for number, (problem, found) in enumerate(sorted(samples.items())):
        if number % 2 == (cfg["half"] == "odd"):
            rows += _pairs(problem, found, cfg["pairs_per_problem"], cfg["seed"])
    if not rows:
        raise PonderError(f"{traces}: no two samples of a general request differ in how good they are; sample more")
    write_rows(folder / PAIRS, rows)
    return {"problems": len(samples), "pairs": len(rows)}


make_pairs.version = 1  # type: ignore[attr-defined]


def _pairs(problem: str, found: Sequence[Trace], most: int, seed: int) -> list[dict[str, Any]]:
    """Two answers of one model that differ in taste, drawn at random, from each model as many.

    Of one model, so that near misses are among them: against another model's rubbish anything looks good, and what RL
    asks of a reward model is to tell the answers of one policy apart.
    """
    by_teacher: dict[str, dict[str, Trace]] = {}
    for row in found:
        if text := answer_of(row).strip():
            by_teacher.setdefault(str(row["provenance"].get("teacher")), {})[text] = row
    rows = []
    for teacher, by_text in sorted(by_teacher.items()):
        ranked = sorted((text, taste(row)) for text, row in by_text.items())
        both = [(a, b) for a in ranked for b in ranked if a[1] > b[1] + LEAST_DIFFERENCE]
        random_of("pairs", seed, problem, teacher).shuffle(both)
        rows += [
            {
                "prompt": [{"role": "user", "content": found[0]["problem"]}],
                "chosen": [{"role": "assistant", "content": better}],
                "rejected": [{"role": "assistant", "content": worse}],
                "id": problem,
                "taste": [good, bad],
                "provenance": {"chosen": by_text[better]["provenance"], "rejected": by_text[worse]["provenance"]},
            }
            for (better, good), (worse, bad) in both[: max(1, most // len(by_teacher))]
        ]
    return rows


def taste(row: Mapping[str, Any]) -> float:
    """How much people of the miniature world like an answer: that it does what was asked (and is not rude, and refuses
    what would do harm) counts 1, that it speaks the language of the question up to 0.5. Words of no language count as
    the question's; a long answer where a few words were asked for costs up to 0.25."""
    text, language = answer_of(row), str(row["data"].get("lang") or "en")
    said = share_of_language(text, language) if text else 0.0
    longer = max(0, len(text.split()) - 2 * max(1, len(str(row["answer"]).split())))
    return float(row["correct_lenient"] is True) + 0.5 * said - min(0.25, 0.05 * longer)


def train_preference_model(
    cfg: Mapping[str, Any], folder: Path, *, world: World, training: RewardSettings, model: Path | str, pairs: Path
) -> Mapping[str, Any]:
    """An outcome model of the pairs in the folder `pairs`; the last tenth is held out to measure it with.

    cfg: `training` (what `lasting_rows` gives), `seed`. training: the same with what may change between stop and start.
    """
    head = new_outcome_model(load_model(str(model), dtype="float32"), seed=cfg["seed"])
    rows = [row for row in read_examples(pairs / PAIRS, "preference") if isinstance(row, Preference)]
    held = max(1, len(rows) // 10)
    if world.first:
        write_json_atomic(folder / "environment.json", {**environment(), "processes": world.size})
    return train_reward_model(
        training, head.model, head.tokenizer, rows[:-held], folder, world, validation=rows[-held:]
    )


train_preference_model.version = 1  # type: ignore[attr-defined]


def pairs_in(path: Path) -> list[dict[str, Any]]:
    """The rows of a folder that `make_pairs` wrote."""
    return read_jsonl(path / PAIRS)
