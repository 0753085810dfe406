"""What can be asked of a trace before it is learnt from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ponder.core.config import Settings
from ponder.tasks.audit import NGRAM


class FilterSettings(Settings):
    """What a trace must be. Every filter but those of the first group is off until it is set."""

    right: bool = True
    """Keep right answers only; unknown verdicts are taken with a reason of their own."""
    reading: Literal["strict", "lenient"] = "strict"
    """Which verdict counts: `correct` (well formed and right), or `correct_lenient`."""
    well_formed: bool = False
    finished: bool = True
    """Take what was cut at the limit of tokens, or given up by the sampler."""
    deduplicate: Literal["none", "exact", "normalised", "near"] = "normalised"
    """Completions of one question that say the same."""
    deduplicate_questions: Literal["none", "exact", "normalised", "near"] = "none"
    """Also take all traces of a question that says the same as an earlier one with another id."""
    near_similarity: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity from which `near` texts are duplicates."""
    near_ngram: int = Field(5, ge=1)
    """Words and signs in a row that `near` compares."""

    against: tuple[str, ...] = ()
    """Evaluation sets (suite names, files, hub ids) that no kept trace may overlap with."""
    ngram: int = Field(NGRAM, ge=1)
    """Words in a row that a question must share with one of an evaluation set to overlap."""
    pass_rate_above: float | None = Field(None, ge=0, le=1)
    """Keep problems of which a larger share of samples is right (of all that were given in, verdict known)."""
    pass_rate_below: float | None = Field(None, ge=0, le=1)
    """Keep problems of which a smaller share is right: 0 and 1 keep what is neither never nor always solved."""
    language: str | None = None
    """A language's code, or `problem` for each problem's own (`data["lang"]`, English where it has none)."""
    min_language_share: float = Field(0.9, ge=0, le=1)
    """Words of that language over all words whose language is known."""
    min_tokens: int = Field(0, ge=0)
    max_tokens: int = Field(0, ge=0)
    """Of the completion; 0: no bound. So with characters."""
    min_characters: int = Field(0, ge=0)
    max_characters: int = Field(0, ge=0)
    min_readability: float | None = Field(None, ge=0, le=1)
    """`ponder.rewards.readability`, 0 to 1."""
    max_per_problem: int = Field(0, ge=0)
    """Traces of one problem at most; 0: all."""
    which: Literal["first", "shortest", "best", "random"] = "shortest"
    """Which of them stay: first sampled, fewest tokens, highest score, or by `seed`."""
    seed: int = 0

    @model_validator(mode="after")
    def _bounds_fit(self) -> FilterSettings:
        for unit in ("tokens", "characters"):
            low, high = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if high and low > high:
                raise ValueError(f"min_{unit} is {low}, more than max_{unit} ({high})")
        low, high = self.pass_rate_above, self.pass_rate_below
        if low is not None and high is not None and low >= high:
            raise ValueError(f"pass_rate_above is {low}, not below pass_rate_below ({high})")
        return self
