"""Models that grade, as parts of a reward hold them: by name, loaded in each process when they are first used.

All of them can be pickled. A model is loaded once a process, and again where its files were written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ponder.core.types import Completion, Problem, SamplingParams
from ponder.models.chat import renderer
from ponder.models.files import resolve_model


@dataclass(frozen=True)
class Prompts:
    """A problem as the prompt that a reward model was trained with. Known by its path, so that it can be pickled."""

    path: str
    style: str

    def __call__(self, problem: Problem) -> str:
        """The rendered prompt."""
        return _render(self.path, _stamp(self.path), self.style)(problem)


@dataclass(frozen=True)
class OutcomeModel:
    """`ponder.models.scorers.OutcomeScorer`, loaded when first used."""

    path: str

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """One number a response; NaN (an unknown reward) for one beyond the model's context."""
        from ponder.models.scorers import OutcomeScorer, tokens_of

        head = head_of(self.path, _stamp(self.path), "outcome")
        rows = list(zip(prompts, responses, strict=True))
        fits = [len(tokens_of(head.tokenizer, *row)) <= head.context_length for row in rows]
        kept = [row for row, whole in zip(rows, fits, strict=True) if whole]
        told = iter(OutcomeScorer(head).score([p for p, _ in kept], [r for _, r in kept]) if kept else [])
        return [next(told) if whole else float("nan") for whole in fits]


@dataclass(frozen=True)
class ProcessModel:
    """`ponder.models.scorers.StepScorer`, loaded when first used."""

    path: str

    def split(self, response: str) -> list[str]:
        """The steps of a response, by the model's own separator."""
        from ponder.models.scorers import split_steps

        return split_steps(response, head_of(self.path, _stamp(self.path), "process").step_separator)

    def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float]]:
        """A number a step; none (an unknown reward) for a response beyond the model's context."""
        from ponder.models.scorers import StepScorer, tokens_of_steps

        head = head_of(self.path, _stamp(self.path), "process")
        rows = list(zip(prompts, steps, strict=True))
        separator, most = head.step_separator, head.context_length
        fits = [len(tokens_of_steps(head.tokenizer, *row, separator).ids) <= most for row in rows]
        kept = [row for row, whole in zip(rows, fits, strict=True) if whole]
        told = iter(StepScorer(head).score([p for p, _ in kept], [s for _, s in kept]) if kept else [])
        return [next(told) if whole else [] for whole in fits]


@dataclass(frozen=True)
class LocalJudge:
    """A local model as a judge: a `Sampler` of bare questions, loaded when first used."""

    model: str
    style: str = "chat"

    def sample(self, prompts: Sequence[str], params: SamplingParams, seed: int) -> list[Completion]:
        """As `Sampler.sample`; a question that leaves no room in the context is given up (`abort`)."""
        loaded, sampler, render = _sampler(self.model, _stamp(self.model), self.style)
        ids = [loaded.tokenizer(render(text), add_special_tokens=False)["input_ids"] for text in prompts]
        fits = [len(row) + 1 < loaded.context_length for row in ids]  # a token to begin the text with may come before
        kept = [render(text) for text, whole in zip(prompts, fits, strict=True) if whole]
        told = iter(sampler.sample(kept, params, seed))
        lost = Completion((), (), (), "", "abort")
        return [next(told) if whole else lost for whole in fits for _ in range(params.n)]


@dataclass(frozen=True)
class EndpointJudge:
    """A server's model as a judge: a `Sampler` of bare questions; its connections are made when first used."""

    base_url: str
    model: str
    at_once: int = 8
    timeout_s: float = 120.0
    api_key_env: str = "OPENAI_API_KEY"

    def sample(self, prompts: Sequence[str], params: SamplingParams, seed: int) -> list[Completion]:
        """As `Sampler.sample`."""
        return list(endpoint_of(self).sample(prompts, params, seed))


@cache
def head_of(path: str, stamp: tuple[int, ...], kind: Literal["outcome", "process"]) -> Any:
    """The reward model at `path`, loaded once a process. stamp: `_stamp` of it."""
    from ponder.models.heads import load_head

    return load_head(path, kind)


@cache
def _render(path: str, stamp: tuple[int, ...], style: str) -> Callable[[Problem | str], str]:
    return renderer(tokenizer_of(path), style)


@cache
def _sampler(model: str, stamp: tuple[int, ...], style: str) -> Any:
    from ponder.models.load import load_model
    from ponder.sampling.local import LocalSampler

    loaded = load_model(model)
    sampler = LocalSampler(loaded.model, loaded.tokenizer, eos_ids=loaded.eos_ids)
    return loaded, sampler, renderer(loaded.tokenizer, style)


@cache
def endpoint_of(judge: EndpointJudge) -> Any:
    """The endpoint's sampler, one a process. Raises PonderError for an address that is none."""
    from ponder.sampling.endpoint import EndpointSampler

    return EndpointSampler(
        judge.base_url, judge.model, api_key_env=judge.api_key_env, at_once=judge.at_once, timeout_s=judge.timeout_s
    )


def _stamp(path: str) -> tuple[int, ...]:
    """When the files of a model were written: one that was trained again in the same place is loaded again."""
    place = resolve_model(path)
    if not isinstance(place, Path):
        return ()
    return tuple(file.stat().st_mtime_ns for file in sorted(place.iterdir()) if file.is_file())


def tokenizer_of(path: str) -> Any:
    """The tokenizer of any sort of model; no weights are read."""
    from transformers import AutoTokenizer

    from ponder.models.files import fetch, one_line

    place = resolve_model(path)
    with one_line(path):
        return AutoTokenizer.from_pretrained(str(place if isinstance(place, Path) else fetch(place)))
