"""Which optional fields a server takes: all that are wanted at first, fewer as it refuses them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

TOLD_LONG = ("context length", "context_length", "maximum context", "too long", "too large", "max_model_len")


@dataclass(frozen=True)
class Dialect:
    """use_n: several samples in one request. seed, logprobs: whether they are sent and asked for. limit: what the token
    limit is called."""

    use_n: bool = False
    seed: bool = True
    logprobs: bool = False
    limit: str = "max_tokens"

    def after(self, refusal: str, n: int) -> tuple[Dialect, str] | None:
        """The dialect to go on in after a request for `n` samples was refused, and what that changes; None where the
        refusal is about something else."""
        if is_long(refusal):
            return None
        if n > 1 and self.use_n:
            return replace(self, use_n=False), "n is not used: each sample is asked for on its own"
        if self.limit == "max_tokens" and _names("max_completion_tokens", refusal):
            return replace(self, limit="max_completion_tokens"), "the limit is sent as max_completion_tokens"
        if self.seed and _names("seed", refusal):
            return replace(self, seed=False), "seeds are not sent, so that no answer can be had again"
        if self.logprobs and _names("logprobs", refusal):
            return replace(self, logprobs=False), "there are no log-probabilities"
        return None


def is_long(refusal: str) -> bool:
    """Whether a request was refused for its length."""
    return any(words in refusal.lower() for words in TOLD_LONG)


def _names(field: str, text: str) -> bool:
    return re.search(rf"\b{field}\b", text) is not None
