"""Reward functions written for TRL, taken as they are: `f(prompts, completions, **columns) -> list[float | None]`.

TRL hands completions over as strings, or as message lists (`[{"role": "assistant", "content": text}]`) where the data
set is conversational. Which of the two a function wants is read from a `conversational` attribute or parameter default;
where it says nothing, strings are tried first, and message lists if the function cannot index those.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of
from ponder.core.types import Completion, Problem
from ponder.rewards.caps import wait_for

_WRONG_SHAPE = (TypeError, IndexError, KeyError, AttributeError)
"""What a function raises that was given strings and expected messages."""

_RESERVED = {"prompts", "completions", "completion_ids"}


def load_function(spec: str) -> Callable[..., Any]:
    """The function named by `path/to/file.py:function`. Raises PonderError where there is no such file or function."""
    path_text, _, name = spec.rpartition(":")
    path = Path(path_text)
    if not path_text or not name:
        raise PonderError(f"reward {spec!r}: write it as path/to/file.py:function")
    if not path.is_file():
        raise PonderError(f"reward {spec!r}: there is no file {path}")
    module_name = f"ponder_reward_{path.stem}_{seed_of(str(path.resolve())):x}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise PonderError(f"reward {spec!r}: {path} is not a Python file; write it as path/to/file.py:function")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # dataclasses and pickle look a module up by name
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # the user's own file: anything may go wrong in it
        raise PonderError(f"reward {spec!r}: importing {path} raised {describe(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise PonderError(f"reward {spec!r}: {path} has no function {name!r}")
    return function


class Adopted:
    """A TRL-style function as a part: `(problems, completions) -> list[float | None]`."""

    def __init__(self, name: str, function: Callable[..., Any], conversational: bool | None = None) -> None:
        self.name = name
        self.function = function
        self.conversational = _declared_shape(function) if conversational is None else conversational
        self.takes = accepted_columns(function)
        # What a recipe has bound stays bound, though a row may have a field of that name.
        self.bound = set(function.keywords) if isinstance(function, functools.partial) else set()

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float | None]:
        """One value a completion, None where there is no verdict. Raises PonderError naming function and row."""
        if not completions:
            return []
        if self.conversational is not None:
            returned = self._call(problems, completions, self.conversational)
        else:
            returned = self._find_shape(problems, completions)
        return _checked(self.name, problems, returned)

    def _find_shape(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> Any:
        try:
            returned = self._call(problems, completions, conversational=False)
        except _UserError as error:
            if not isinstance(error.__cause__, _WRONG_SHAPE):
                raise
            try:
                returned = self._call(problems, completions, conversational=True)
            except _UserError as second:
                wanted_messages = "indices must be" in str(error.__cause__)
                raise (second if wanted_messages else error) from None
            self.conversational = True
            return returned
        self.conversational = False
        return returned

    def _call(self, problems: Sequence[Problem], completions: Sequence[Completion], conversational: bool) -> Any:
        try:
            return self._run(problems, completions, conversational)
        except Exception as error:  # a user's function: anything may go wrong in it
            row = self._failing_row(problems, completions, conversational)
            raise _UserError(f"reward {self.name!r} raised {describe(error)} on {row}") from error

    def _run(self, problems: Sequence[Problem], completions: Sequence[Completion], conversational: bool) -> Any:
        arguments = _columns(problems, completions, conversational)
        if self.takes is not None:
            arguments = {key: value for key, value in arguments.items() if key in self.takes}
        returned = self.function(**{key: value for key, value in arguments.items() if key not in self.bound})
        return wait_for(returned) if inspect.iscoroutine(returned) else returned

    def _failing_row(self, problems: Sequence[Problem], completions: Sequence[Completion], conversational: bool) -> str:
        for row, (problem, completion) in enumerate(zip(problems, completions, strict=True)):
            try:
                self._run([problem], [completion], conversational)
            except Exception:
                return f"row {row} (problem {problem.id}, completion {shorten(completion.text)})"
        return f"{len(problems)} rows, though on each of them alone it does not"


class _UserError(PonderError):
    """What a user's function raised, as our message; the original is its `__cause__`."""


def _declared_shape(function: Callable[..., Any]) -> bool | None:
    declared = getattr(function, "conversational", None)
    if declared is None:
        parameter = parameters(function).get("conversational")
        declared = None if parameter is None or parameter.default is parameter.empty else parameter.default
    return None if declared is None else bool(declared)


def accepted_columns(function: Callable[..., Any]) -> set[str] | None:
    """The names a function takes; None where it takes them all."""
    known = parameters(function)
    return None if not known or any(p.kind is p.VAR_KEYWORD for p in known.values()) else set(known)


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters by name; {} for a callable without a signature."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some built-in callables have no signature
        return {}


def _columns(problems: Sequence[Problem], completions: Sequence[Completion], conversational: bool) -> dict[str, Any]:
    """The keyword arguments of a TRL reward function; a field of the problem's data wins over our own names."""
    columns: dict[str, Any] = {
        "task": [problem.task for problem in problems],
        "problem": [problem.prompt for problem in problems],
        "problem_id": [problem.id for problem in problems],
    }
    for name in ("answer", "solution", "ground_truth"):
        columns[name] = [problem.answer for problem in problems]
    for name in sorted({key for problem in problems for key in problem.data} - _RESERVED):
        columns[name] = [problem.data.get(name) for problem in problems]
    prompts: list[Any] = [problem.prompt for problem in problems]
    texts: list[Any] = [completion.text for completion in completions]
    if conversational:
        prompts = [[{"role": "user", "content": prompt}] for prompt in prompts]
        texts = [[{"role": "assistant", "content": text}] for text in texts]
    ids = [list(completion.token_ids) for completion in completions]
    return {"prompts": prompts, "completions": texts, "completion_ids": ids, **columns}


def _checked(name: str, problems: Sequence[Problem], returned: Any) -> list[float | None]:
    if isinstance(returned, (str, bytes, dict)) or not hasattr(returned, "__len__"):
        kind = type(returned).__name__
        raise PonderError(f"reward {name!r} returned a {kind}; it must return a list of floats or None")
    if len(returned) != len(problems):
        raise PonderError(
            f"reward {name!r} returned {len(returned)} values for {len(problems)} completions; "
            "it must return one value a completion (None where it has no verdict)"
        )
    return [number(name, f"row {row} (problem {problems[row].id})", value) for row, value in enumerate(returned)]


def number(name: str, where: str, value: Any) -> float | None:
    """What function `name` returned for one completion, as a number; None and NaN are unknown."""
    if value is None:
        return None
    read = None
    if not isinstance(value, (str, bytes)):
        try:
            read = float(value)
        except (TypeError, ValueError):
            read = None
    if read is None or abs(read) == float("inf"):
        raise PonderError(f"reward {name!r}, {where}: returned {value!r}, not a finite number or None")
    return None if read != read else read  # TRL leaves NaN out as it does None


def describe(error: BaseException) -> str:
    """An exception as one short line."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def shorten(text: str) -> str:
    """A completion's beginning, as Python writes it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
