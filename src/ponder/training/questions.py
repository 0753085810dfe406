"""Which problems can be trained on, and in which order they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.seeds import random_of
from ponder.core.types import Problem
from ponder.tasks import TASKS

log = logging.getLogger("ponder")


@dataclass(frozen=True)
class Intake:
    """The problems that can be trained on, and how many went, for which reason."""

    problems: tuple[Problem, ...]
    dropped: dict[str, int] = field(default_factory=dict)


def usable(problems: Sequence[Problem], enough: int = 1) -> Intake:
    """Drop (and count) problems without an answer, repeated ones, and those whose own grader rejects their gold answer.

    enough: how many must be left. Raises PonderError where the set is empty, or too few are left.
    A task without an entry in TASKS has no grader to ask; its answers are taken on trust.
    """
    if not problems:
        raise PonderError("the problem set is empty; give at least one problem with an answer")
    kept: dict[str, Problem] = {}
    dropped = {"no answer": 0, "gold answer rejected": 0, "repeated": 0}
    for problem in problems:
        reason = _fault(problem, kept)
        if reason:
            dropped[reason] += 1
        else:
            kept[problem.id] = problem
    dropped = {reason: count for reason, count in dropped.items() if count}
    told = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    if len(kept) < enough:
        raise PonderError(
            f"{len(kept)} of {len(problems)} problems can be trained on ({told or 'nothing dropped'}), fewer than the "
            f"{enough} of a step; add problems or lower questions_per_step"
        )
    if dropped:
        log.warning("%d of %d problems dropped: %s", len(problems) - len(kept), len(problems), told)
    return Intake(tuple(kept.values()), dropped)


def _fault(problem: Problem, kept: Collection[str]) -> str:
    if not problem.answer.strip():
        return "no answer"
    if problem.id in kept:
        return "repeated"
    task = TASKS.get(problem.task)
    if task is not None and task.grade(problem, problem.answer).correct is not True:
        return "gold answer rejected"
    return ""


def check_lengths(
    problems: Sequence[Problem],
    render: Callable[[Problem], str],
    encode: Callable[[list[str]], Sequence[Sequence[int]]],
    max_completion_length: int,
    context_length: int,
) -> int:
    """The longest prompt, in tokens. Raises PonderError where a prompt and its completion may not fit the context."""
    lengths = [len(ids) for ids in encode([render(problem) for problem in problems])]
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    if lengths[longest] + max_completion_length > context_length:
        room = context_length - lengths[longest]
        remedy = f"lower max_completion_length to {room} or less" if room > 0 else "leave that problem out"
        raise PonderError(
            f"problem {problems[longest].id} has {lengths[longest]} prompt tokens; with max_completion_length "
            f"{max_completion_length} that is beyond the model's context of {context_length}: {remedy}"
        )
    return lengths[longest]


def encoder(tokenizer: Any) -> Callable[[list[str]], list[list[int]]]:
    """Prompts as the local sampler reads them: with a beginning-of-text token only where the tokenizer puts one."""
    bos: Any = getattr(tokenizer, "bos_token_id", None)
    puts_bos = bos is not None and tokenizer("")["input_ids"][:1] == [bos]

    def encode(texts: list[str]) -> list[list[int]]:
        all_ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [[bos, *ids] if puts_bos and ids[:1] != [bos] else ids for ids in all_ids]

    return encode


def draw(
    problems: Sequence[Problem], seed: Any, cursor: int, count: int, taken: Collection[str] = ()
) -> tuple[list[Problem], int]:
    """`count` problems from place `cursor` of the endless order, and the place behind them.

    The order is one permutation an epoch, each keyed by its name. A problem in `taken`, or already drawn by this call
    (a draw across the end of an epoch may meet one again), is passed over, so a step never asks a question twice;
    fewer than `count` come back where the set holds no more.
    """
    seen = set(taken)
    drawn: list[Problem] = []
    while len(drawn) < count and len(seen) < len(problems):
        epoch, place = divmod(cursor, len(problems))
        problem = problems[_order(len(problems), seed, epoch)[place]]
        cursor += 1
        if problem.id not in seen:
            seen.add(problem.id)
            drawn.append(problem)
    return drawn, cursor


@lru_cache(maxsize=4)
def _order(size: int, seed: Any, epoch: int) -> tuple[int, ...]:
    order = list(range(size))
    random_of(seed, "epoch", epoch).shuffle(order)
    return tuple(order)
