"""The rewards of a recipe, those among them that need a model: `outcome_model`, `process_model`, `judge`.

    rewards:
      - {name: accuracy, tasks: [arithmetic, equations]}
      - {name: outcome_model, path: runs/rm/outcome/model, tasks: [requests], on: response, normalise: sigmoid}
      - {name: process_model, path: runs/prm/model, how: min, weight: 0.5}
      - {name: judge, model: Qwen/Qwen3-4B, rubric: helpfulness, label: helpful}
      - {name: judge, endpoint: "http://localhost:8000/v1", model: judge, rubric: safety, label: safe}

Parts travel between processes as what was asked for; each process loads a model when it is first needed, and once. A
score is a function of the answer and the model alone, whatever is scored beside it (but for `normalise: batch`). A path
says nothing of what lies there: hand the folder to the stage as an input too, so that another model makes it run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ponder.core.config import Settings, parse_settings
from ponder.core.errors import PonderError
from ponder.core.steps import AGGREGATES
from ponder.core.types import SamplingParams
from ponder.models.chat import STYLES
from ponder.models.files import check_directory, resolve_model
from ponder.pipelines.reward_models import (
    EndpointJudge,
    LocalJudge,
    OutcomeModel,
    ProcessModel,
    Prompts,
    endpoint_of,
    tokenizer_of,
)
from ponder.rewards import RewardPart, parts_of
from ponder.rewards.judge import Judge
from ponder.rewards.recipe import Entry, common_of
from ponder.rewards.rubrics import On, Rubric, rubric_of
from ponder.rewards.scored import Normalise, Scored, ScoredSteps


class OutcomeEntry(Settings):
    """`outcome_model`: the score of a whole answer (`ponder.rewards.scored.Scored`)."""

    path: str
    """The model: a directory in Hugging Face layout, or a hub id."""
    on: On = "response"
    """What is scored: the whole response, or the answer with thought and tags removed."""
    style: str = "chat"
    """The prompt style it was trained with (`ponder.models.chat.STYLES`), in its own tokenizer's template."""
    normalise: Normalise = "none"
    """none, sigmoid, standard (by `mean` and `std`) or batch."""
    mean: float = 0.0
    """Of its scores on held-out answers, for `normalise: standard`."""
    std: float = Field(1.0, gt=0)
    """Of its scores on held-out answers, for `normalise: standard`."""
    clip: tuple[float, float] | None = None
    """Least and greatest value."""
    missing: float | None = None
    """What an absent answer gets; where not given, the least value there is, else what the model says of ""."""


class ProcessEntry(Settings):
    """`process_model`: the scores of an answer's steps, brought to one (`ponder.rewards.scored.ScoredSteps`)."""

    path: str
    """The model: a directory in Hugging Face layout, or a hub id."""
    how: str = "min"
    """min, mean, last or product of the steps' scores."""
    on: On = "response"
    """What is taken apart into steps."""
    style: str = "chat"
    """The prompt style it was trained with."""


class JudgeEntry(Settings):
    """`judge`: the verdict of a model that is shown a rubric and the answer (`ponder.rewards.judge.Judge`)."""

    model: str
    """The judge: `mini`, a directory, a hub id; or its name on the endpoint."""
    endpoint: str = ""
    """Address of an OpenAI-compatible server, such as http://localhost:8000/v1; a local model where empty."""
    rubric: str = "helpfulness"
    """helpfulness, safety, a file of text, or a sentence of your own."""
    on: On | None = None
    """What it is shown, instead of the rubric's own choice (the answer; for safety the whole response)."""
    low: float = 1.0
    """The worst score, where the rubric is your own."""
    high: float = 10.0
    """The best score, where the rubric is your own."""
    reference: bool = False
    """Whether it is shown the problem's gold answer."""
    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""
    max_completion_length: int = Field(1024, ge=1)
    """Tokens of its verdict, thought included."""
    retries: int = Field(1, ge=0)
    """How often a verdict that cannot be read is asked for again."""
    seed: int = 0
    """For sampling its verdicts."""
    at_once: int = Field(8, ge=1)
    """Requests in flight at an endpoint."""
    timeout_s: float = Field(120.0, gt=0)
    """Seconds for one request to an endpoint."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds an endpoint's key."""
    style: str = "chat"
    """The prompt style of a local judge; an endpoint has its own template."""


_Make = Callable[[dict[str, Any], bool], Callable[..., Any]]


def parts_of_recipe(entries: Sequence[Entry], opened: bool = False) -> list[RewardPart]:
    """The parts of a recipe's `rewards`: as `ponder.rewards.parts_of`, and those of `MODEL_PARTS`.

    opened: the policy's template wrote `<think>`. All entries take `weight` (1 for parts with a model), `label`,
    `none`, `tasks`, `slow` as the other parts do.
    Raises PonderError for whatever can be found wrong without loading a model: an unknown setting, a path where no
    model of the kind lies, a rubric that is missing, an address that is none.
    """
    parts = []
    for entry in entries:
        given = {"name": entry} if isinstance(entry, str) else dict(entry)
        name = given.get("name")
        if not (isinstance(name, str) and name in MODEL_PARTS):
            parts += parts_of([entry], opened)
            continue
        del given["name"]
        common = common_of(name, given, 1.0)
        if common.cap_s is not None:
            raise PonderError(
                f"reward {name!r}: cap_s is for functions of your own; limits of a model are its settings"
            )
        if common.slow and given.get("normalise") == "batch":
            raise PonderError(
                f"reward {name!r}: a slow part sees one answer at a time; normalise: batch wants them all"
            )
        function = MODEL_PARTS[name](given, opened)
        label = common.label or name
        parts.append(RewardPart(label, function, common.weight, common.none, bool(common.slow), None, common.tasks))
    return parts


def _outcome(given: dict[str, Any], opened: bool) -> Scored:
    entry = parse_settings(OutcomeEntry, given, where="reward 'outcome_model'")
    _check_head("outcome_model", entry.path, "outcome")
    _check_style("outcome_model", entry.style)
    try:
        return Scored(
            OutcomeModel(entry.path), entry.on, Prompts(entry.path, entry.style), entry.normalise, entry.mean,
            entry.std, entry.clip, entry.missing, opened,
        )  # fmt: skip
    except PonderError as error:
        raise PonderError(f"reward 'outcome_model': {error}") from error


def _process(given: dict[str, Any], opened: bool) -> ScoredSteps:
    entry = parse_settings(ProcessEntry, given, where="reward 'process_model'")
    if entry.how not in AGGREGATES:
        raise PonderError(f"reward 'process_model': how is {entry.how!r}; it is one of {', '.join(AGGREGATES)}")
    _check_head("process_model", entry.path, "process")
    _check_style("process_model", entry.style)
    model = ProcessModel(entry.path)
    return ScoredSteps(model, model.split, entry.how, entry.on, Prompts(entry.path, entry.style), opened)


def _judge(given: dict[str, Any], opened: bool) -> Judge:
    entry = parse_settings(JudgeEntry, given, where="reward 'judge'")
    if entry.low >= entry.high:
        raise PonderError(f"reward 'judge': low is {entry.low:g}, high {entry.high:g}; the worst score must be lower")
    try:
        rubric = rubric_of(entry.rubric, entry.on)
    except PonderError as error:
        raise PonderError(f"reward 'judge': {error}") from error
    if not rubric.labels:
        rubric = Rubric(rubric.name, rubric.text, rubric.on, entry.low, entry.high)
    params = SamplingParams(temperature=entry.temperature, max_completion_length=entry.max_completion_length)
    sampler: EndpointJudge | LocalJudge
    special: tuple[str, ...] = ()
    if entry.endpoint:
        sampler = EndpointJudge(entry.endpoint, entry.model, entry.at_once, entry.timeout_s, entry.api_key_env)
        endpoint_of(sampler)  # makes no request, but finds out whether the address is one
    else:
        _check_style("judge", entry.style)
        sampler = LocalJudge(entry.model, entry.style)
        special = _special_tokens(entry.model)
    return Judge(sampler, rubric, None, params, entry.retries, entry.seed, special, entry.reference, opened)


MODEL_PARTS: dict[str, _Make] = {"outcome_model": _outcome, "process_model": _process, "judge": _judge}


# ---- what can be found wrong before any training ----


def _check_head(name: str, path: str, kind: Literal["outcome", "process"]) -> None:
    from ponder.models.heads import _kind_of

    try:
        place = resolve_model(path)
        if isinstance(place, Path):
            check_directory(place)
            _kind_of(str(place), kind)
        elif "/" not in path:
            raise PonderError(f"{path}: no such directory")
    except PonderError as error:
        raise PonderError(f"reward {name!r}: {error}") from error


def _check_style(name: str, style: str) -> None:
    if style not in STYLES:
        raise PonderError(f"reward {name!r}: style is {style!r}; it is one of {', '.join(STYLES)}")


def _special_tokens(model: str) -> tuple[str, ...]:
    """What a judge's tokenizer reads as one token apart from text; the judged text may not contain it."""
    try:
        place = resolve_model(model)
        if isinstance(place, Path):
            check_directory(place)
        tokenizer = tokenizer_of(model)
    except PonderError as error:
        raise PonderError(f"reward 'judge': {error}") from error
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added]))
