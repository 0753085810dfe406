"""The local sampler: completions from a Hugging Face causal language model's own weights, in this process."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ponder.core.errors import PonderError
from ponder.core.types import Completion, SamplingParams
from ponder.sampling import forward, weights
from ponder.sampling.decode import FusedSession
from ponder.sampling.forward import ForwardSession, evaluating
from ponder.sampling.pick import row_keys
from ponder.sampling.schedule import Ended, Job, Schedule, Session
from ponder.sampling.stopping import StopText, decode, token_flags

OnFinish = Callable[[int, Completion], None]
_MEMORY_SHARE = 0.4  # of the memory that is free when a call begins, for keys and values


class LocalSampler:
    """Samples from `model` itself: it reads the very tensors that an optimiser updates, so nothing can be stale.

    Llama-, Mistral-, Qwen2-, Qwen3- and SmolLM3-shaped models run through a decode loop of their own; every other causal model runs
    through its own forward (`fused` says which). For the former, `q_proj`, `k_proj`, `v_proj` (and `gate_proj`,
    `up_proj`) come to lie next to one another in memory: values, names and shapes stay as they were.

    max_batch_rows: rows in flight at most; fewer where memory is short.
    context_length: prompt and completion together, at most; the model's own by default.
    eos_ids: what ends a completion; by default those of the model's generation config and of the tokenizer.
    version: the training step of the weights, stamped on every completion; the trainer sets it.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        max_batch_rows: int = 256,
        context_length: int | None = None,
        eos_ids: Sequence[int] | None = None,
        version: int = 0,
    ) -> None:
        if max_batch_rows < 1:
            raise PonderError(f"max_batch_rows is {max_batch_rows}; at least one row must be in flight")
        if reason := forward.why_not(model):
            raise PonderError(f"the local sampler cannot run {type(model).__name__}: {reason}")
        self.model, self.tokenizer, self.version = model, tokenizer, version
        self.max_batch_rows = max_batch_rows
        self.context_length = _context_length(model, context_length)
        self.eos_ids = _eos_ids(model, tokenizer) if eos_ids is None else tuple(eos_ids)
        self._bos_id = _bos_id(tokenizer)

    @property
    def fused(self) -> bool:
        """Whether the model runs through the decode loop; else through its own forward."""
        return not weights.why_not(self.model)

    def sample(
        self, prompts: Sequence[str], params: SamplingParams, seed: int, on_finish: OnFinish | None = None
    ) -> list[Completion]:
        """`params.n` completions of each prompt, prompt-major.

        Prompts are rendered texts: special tokens in them are read as such, and none is added, but for the beginning-of-text token where
        the tokenizer wants one and the text does not begin with it. See `sample_ids` for the rest.
        """
        return self.sample_ids([self._encode(prompt) for prompt in prompts], params, seed, on_finish)

    def sample_ids(
        self,
        prompt_ids: Sequence[Sequence[int]],
        params: SamplingParams,
        seed: int,
        on_finish: OnFinish | None = None,
    ) -> list[Completion]:
        """`params.n` completions of each prompt given as tokens, prompt-major.

        The random number behind each token is a function of (seed, prompt, index of the sample, position) alone: not of the other
        prompts, their order or how many rows are in flight. (The logits it meets are the same up to the rounding of
        matrix products of other sizes.) Equal prompts get equal samples.

        `logprobs` are those of the whole distribution at the temperature, float32, whatever the filters; at
        temperature 0, those at temperature 1. A completion ends with an end token or a stop string ("stop"), or
        at `max_completion_length` or the end of the context ("length").

        on_finish(index, completion) is called as each ends, with its place in the list that is returned.
        Raises PonderError for a prompt that is empty or leaves no room, and for weights that give no finite numbers.
        """
        _check(params)
        if not prompt_ids:
            return []
        n = 1 if params.temperature == 0.0 else params.n  # greedy samples are all alike
        jobs = [self._job(at, ids, params, n, seed) for at, ids in enumerate(prompt_ids)]
        results: list[Completion | None] = [None] * (len(jobs) * params.n)
        stop = StopText(self.tokenizer, params.stop) if params.stop else None

        def on_end(ended: Ended) -> None:
            job = jobs[ended.index // params.n]
            completion = self._completion(job, ended, stop)
            for index in range(ended.index, ended.index + params.n // n):
                results[index] = completion
                if on_finish is not None:
                    on_finish(index, completion)

        fused = self.fused
        rows = self._rows(jobs)
        with torch.inference_mode(), contextlib.nullcontext() if fused else evaluating(self.model):
            session: Session = FusedSession(self.model, rows) if fused else ForwardSession(self.model, rows)
            vocabulary = self.model.get_output_embeddings().weight.shape[0]
            flags_V = token_flags(vocabulary, self.eos_ids, stop, session.device)
            Schedule(session, jobs, params, rows, flags_V, stop, on_end).run()
        return [completion for completion in results if completion is not None]

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return [self._bos_id, *ids] if self._bos_id is not None and ids[:1] != [self._bos_id] else ids

    def _job(self, at: int, prompt_ids: Sequence[int], params: SamplingParams, n: int, seed: int) -> Job:
        length = len(prompt_ids)
        if not length:
            raise PonderError(f"prompt {at} is empty: give at least one token (a beginning-of-text token, say)")
        room = self.context_length - length
        if room < 1:
            raise PonderError(
                f"prompt {at} has {length} tokens and the model's context is {self.context_length}: shorten the prompt "
                f"to at most {self.context_length - 1} tokens"
            )
        ids = tuple(map(int, prompt_ids))
        indices = range(at * params.n, at * params.n + n)
        return Job(ids, min(room, params.max_completion_length), indices, row_keys(seed, ids, n))

    def _completion(self, job: Job, ended: Ended, stop: StopText | None) -> Completion:
        if not all(map(math.isfinite, ended.logprobs)):
            raise PonderError(
                "the model's logits are not finite: its weights hold NaN or infinity; go back to an earlier checkpoint"
            )
        ends = ended.token_ids[-1] in self.eos_ids
        text = decode(self.tokenizer, ended.token_ids[:-1] if ends else ended.token_ids)
        if ended.by_text and stop is not None:
            text = stop.cut(text) or ""
        return Completion(
            tuple(job.prompt_ids), tuple(ended.token_ids), tuple(ended.logprobs), text, ended.finish, self.version
        )

    def _rows(self, jobs: Sequence[Job]) -> int:
        """Rows in flight: no more than there is work, or than memory holds if all of them grow as long as they may."""
        config = self.model.config.get_text_config()
        heads = config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        parameter = next(self.model.parameters())
        per_position = 2 * config.num_hidden_layers * kv_heads * head_size * parameter.element_size()
        longest = max(len(job.prompt_ids) + job.limit for job in jobs)
        affordable = int(_MEMORY_SHARE * _free_memory(parameter.device) / (per_position * longest))
        return max(1, min(self.max_batch_rows, affordable, sum(len(job.indices) for job in jobs)))


def _check(params: SamplingParams) -> None:
    for name, value, good, wanted in (
        ("n", params.n, params.n >= 1, "at least 1"),
        ("max_completion_length", params.max_completion_length, params.max_completion_length >= 1, "at least 1"),
        ("temperature", params.temperature, 0.0 <= params.temperature < math.inf, "0 (greedy) or more"),
        ("top_p", params.top_p, 0.0 < params.top_p <= 1.0, "above 0 and at most 1 (1 switches it off)"),
        ("top_k", params.top_k, params.top_k >= 0, "0 (off) or more"),
        ("min_p", params.min_p, 0.0 <= params.min_p <= 1.0, "from 0 (off) to 1"),
        ("stop", params.stop, not isinstance(params.stop, str) and all(params.stop), "a tuple of non-empty strings"),
    ):
        if not good:
            raise PonderError(f"sampling: {name} is {value!r}; it must be {wanted}")


def _context_length(model: nn.Module, wanted: int | None) -> int:
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if wanted is not None and own is not None and wanted > own:
        raise PonderError(f"context_length is {wanted}, but the model's context is {own}: ask for at most {own}")
    if wanted is not None and wanted < 2:
        raise PonderError(f"context_length is {wanted}; it must hold a prompt and a token, so at least 2")
    return wanted or own or 1 << 31  # a model without position embeddings has no end of its own


def _eos_ids(model: nn.Module, tokenizer: Any) -> tuple[int, ...]:
    found: list[int] = []
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        ids = getattr(source, "eos_token_id", None)
        found += [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
    if not found:
        raise PonderError("neither the model nor the tokenizer names an end token: pass eos_ids (or () for none)")
    return tuple(dict.fromkeys(found))


def _bos_id(tokenizer: Any) -> int | None:
    """The beginning-of-text token that the tokenizer puts before a text, if it does."""
    bos: int | None = getattr(tokenizer, "bos_token_id", None)
    return bos if bos is not None and tokenizer("")["input_ids"][:1] == [bos] else None


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        # What the allocator holds but does not use is free to us as well.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + idle
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as lines:
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30
