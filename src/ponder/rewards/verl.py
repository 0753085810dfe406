"""verl's reward functions, taken as they are: `compute_score(data_source, solution_str, ground_truth, extra_info)`.

One call a completion. It returns a number, or a mapping with `score`; the mapping's other numbers are logged as parts
of this part, and its `acc` is the verdict. `ground_truth` and `extra_info` are the row's own where it came in verl's
shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem, Score
from ponder.rewards.adopt import accepted_columns, describe, number, parameters, shorten
from ponder.rewards.caps import wait_for

NAMES = ("data_source", "solution_str", "ground_truth", "extra_info")


def is_compute_score(function: Callable[..., Any]) -> bool:
    """Whether a function is of verl's form, by the names of its parameters."""
    return {"solution_str", "ground_truth"} <= set(parameters(function))


class ComputeScore:
    """A verl-style function as a part: `(problems, completions) -> list[Score]`."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.takes = accepted_columns(function)

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
        """One score a completion, None where there is no verdict. Raises PonderError naming function and problem."""
        return [self._score(p, c) for p, c in zip(problems, completions, strict=True)]

    def _score(self, problem: Problem, completion: Completion) -> Score:
        values = dict(zip(NAMES, (*_row(problem)[:1], completion.text, *_row(problem)[1:]), strict=True))
        if self.takes is not None:
            values = {key: value for key, value in values.items() if key in self.takes}
        where = f"problem {problem.id}"
        try:
            returned = self.function(**values)
            if inspect.iscoroutine(returned):
                returned = wait_for(returned)
        except Exception as error:  # a user's function: anything may go wrong in it
            told = f"{where}, completion {shorten(completion.text)}"
            raise PonderError(f"reward {self.name!r} raised {describe(error)} on {told}") from error
        if not isinstance(returned, Mapping):
            return Score(number(self.name, where, returned), None)
        if "score" not in returned:
            keys = ", ".join(map(str, returned)) or "nothing"
            raise PonderError(f"reward {self.name!r}, {where}: returned a mapping without 'score' (it has {keys})")
        rest = {str(key): value for key, value in returned.items() if key != "score"}
        # Text (a prediction, say) cannot be averaged, and is left out.
        parts = {key: float(value) for key, value in rest.items() if isinstance(value, (bool, int, float))}
        return Score(number(self.name, where, returned["score"]), _verdict(rest.get("acc")), parts)


def _row(problem: Problem) -> tuple[str, Any, Mapping[str, Any]]:
    """data_source, ground_truth and extra_info of a problem."""
    data = problem.data
    model = data.get("reward_model")
    truth = model.get("ground_truth") if isinstance(model, Mapping) else data.get("ground_truth")
    extra = data.get("extra_info")
    source = str(data.get("data_source", problem.task))
    return source, problem.answer if truth is None else truth, extra if isinstance(extra, Mapping) else dict(data)


def _verdict(acc: Any) -> bool | None:
    return bool(acc) if isinstance(acc, (bool, int, float)) and acc in (0, 1) else None
