"""Rewards as a recipe names them: `accuracy`, `{name: length, weight: 0.1, target: 200}`, `path/to/file.py:name`.

Any of them may be kept to some kinds of problems: `{name: language, tasks: [requests, ordering]}`. Parts that need a
model (`outcome_model`, `process_model`, `judge`) are added by `ponder.pipelines.reward_parts`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_type_hints

import pydantic

from ponder.core.errors import PonderError, nearest
from ponder.rewards.adopt import load_function, parameters
from ponder.rewards.combine import RewardPart
from ponder.rewards.form import format, format_parts, steps, tags
from ponder.rewards.parts import accuracy, accuracy_is_slow, code
from ponder.rewards.prose import check_target, language, length, overlong, readability, repetition
from ponder.tasks import TASKS

BUILT_IN: dict[str, Callable[..., Any]] = {
    "accuracy": accuracy, "code": code, "format": format, "format_parts": format_parts, "tags": tags, "steps": steps,
    "length": length, "overlong": overlong, "repetition": repetition, "language": language, "readability": readability,
}  # fmt: skip

NEED_A_MODEL = ("outcome_model", "process_model", "judge")
"""Parts that `ponder.pipelines.reward_parts` knows."""

WEIGHTS = {"accuracy": 1.0, "code": 1.0, "format": 0.2, "format_parts": 0.2, "tags": 0.2}
"""Weights of built-in parts in a recipe, 0.1 where not named: form helps but never outweighs a right answer."""

_SLOW: dict[str, Any] = {"accuracy": accuracy_is_slow, "code": True}
_CHECKS: dict[Any, Callable[..., None]] = {language: check_target, readability: check_target}
"""What can be found wrong with the options of a part before any answer is graded."""

_GIVEN = {"problems", "completions", "prompts", "verdicts", "opened"}
_KEYS = ("name", "label", "weight", "none", "slow", "cap_s", "tasks")

Entry = str | Mapping[str, Any]


def reward_part(
    spec: str | Callable[..., Any],
    weight: float = 1.0,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    none: str = "unknown",
    slow: bool | None = None,
    cap_s: float | None = None,
    tasks: Sequence[str] = (),
) -> RewardPart:
    """A part from the name of a built-in one (`BUILT_IN`), from "path/to/file.py:function", or from a function.

    options: the function's own parameters. none, slow, cap_s, tasks: as `RewardPart` has them.
    Raises PonderError for an unknown name or option (with the nearest known one), and for a value that does not fit.
    """
    function = _function(spec)
    name = name or _name(spec)
    if cap_s is not None and function in BUILT_IN.values():
        raise PonderError(f"reward {name!r}: cap_s is for functions of your own; the built-in parts keep their limits")
    known = [key for key, parameter in parameters(function).items() if _is_option(key, parameter)]
    if options:
        checked = _checked(name, function, options, known)
        if function in _CHECKS:
            _CHECKS[function](**checked)
        function = partial(function, **checked)
    known_slow = _SLOW.get(spec, False) if isinstance(spec, str) else False
    if none not in ("unknown", "skip"):
        raise PonderError(f"reward {name!r}: none is {none!r}; it is one of unknown, skip")
    return RewardPart(name, function, weight, none, known_slow if slow is None else slow, cap_s, tuple(tasks))  # type: ignore[arg-type]


def parts_of(entries: Sequence[Entry], opened: bool = False) -> list[RewardPart]:
    """The parts of a recipe's `rewards`.

    An entry is a name, or a mapping with `name` and any of `weight`, `label` (what it is logged as), `none`, `slow`,
    `cap_s`, `tasks` (the kinds of problems it applies to; elsewhere the sum goes without it); all its other keys are
    the function's own parameters. opened: the prompt's template wrote `<think>`.
    Raises PonderError as `reward_part` does.
    """
    return [_opened(_part(entry), opened) for entry in entries]


def _part(entry: Entry) -> RewardPart:
    given: dict[str, Any] = {"name": entry} if isinstance(entry, str) else dict(entry)
    spec = given.pop("name", None)
    if not isinstance(spec, str):
        raise PonderError(f"rewards: {entry!r} has no name; write it as {{name: length, weight: 0.1}}")
    common = common_of(spec, given, WEIGHTS.get(spec, 0.1 if spec in BUILT_IN else 1.0))
    return reward_part(
        spec, common.weight, common.label, given, none=common.none, slow=common.slow, cap_s=common.cap_s,
        tasks=common.tasks,
    )  # fmt: skip


@dataclass(frozen=True)
class Common:
    """What every entry of a recipe's `rewards` may say."""

    weight: float
    label: str | None
    none: Literal["unknown", "skip"]
    slow: bool | None
    cap_s: float | None
    tasks: tuple[str, ...]


def common_of(spec: str, given: dict[str, Any], weight: float) -> Common:
    """Take out of the entry `given` what every entry may say. weight: where it names none.

    Raises PonderError naming the key, its value, and what it should be.
    """
    weight = given.pop("weight", weight)
    label, none = given.pop("label", None), given.pop("none", "unknown")
    slow, cap_s = given.pop("slow", None), given.pop("cap_s", None)
    tasks = given.pop("tasks", None)
    if not _is_number(weight):
        raise PonderError(f"reward {spec!r}: weight is {weight!r}, not a number")
    if not (label is None or (isinstance(label, str) and label)):
        raise PonderError(f"reward {spec!r}: label is {label!r}, not a name")
    if none not in ("unknown", "skip"):
        raise PonderError(f"reward {label or spec!r}: none is {none!r}; it is one of unknown, skip")
    if not (slow is None or isinstance(slow, bool)):
        raise PonderError(f"reward {spec!r}: slow is {slow!r}, not true or false")
    if cap_s is not None and not (_is_number(cap_s) and cap_s > 0):
        raise PonderError(f"reward {spec!r}: cap_s is {cap_s!r}, not a number of seconds above 0")
    return Common(weight, label, none, slow, cap_s, _tasks(spec, tasks))


def _tasks(spec: str, tasks: Any) -> tuple[str, ...]:
    if tasks is None:
        return ()
    listed = [tasks] if isinstance(tasks, str) else tasks
    if not isinstance(listed, (list, tuple)) or not listed or not all(isinstance(t, str) and t for t in listed):
        raise PonderError(f"reward {spec!r}: tasks is {tasks!r}, not a list of tasks such as [requests]")
    for task in listed:
        if task not in TASKS and (near := nearest(task, list(TASKS))):  # rows of files may be of any task
            raise PonderError(f"reward {spec!r}: tasks has {task!r}, which is unknown{near}")
    return tuple(listed)


def _opened(part: RewardPart, opened: bool) -> RewardPart:
    """A built-in part that is told that the template opened the thought."""
    function = part.fn.func if isinstance(part.fn, partial) else part.fn
    if not opened or function not in BUILT_IN.values() or "opened" not in parameters(function):
        return part
    return replace(part, fn=partial(part.fn, opened=True))


def _function(spec: str | Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(spec, str):
        return spec
    if spec in BUILT_IN:
        return BUILT_IN[spec]
    if ":" in spec:
        return load_function(spec)
    if spec in NEED_A_MODEL:
        raise PonderError(f"reward {spec!r} needs a model: make it with ponder.pipelines.reward_parts.parts_of_recipe")
    known = [*BUILT_IN, *NEED_A_MODEL]
    raise PonderError(
        f"reward {spec!r} is unknown; it is one of {', '.join(known)}, or path/to/file.py:function"
        + nearest(spec, known)
    )


def _name(spec: str | Callable[..., Any]) -> str:
    if isinstance(spec, str):
        return spec if spec in BUILT_IN else spec.rpartition(":")[2]
    return str(getattr(spec, "__name__", type(spec).__name__))


def _is_option(key: str, parameter: inspect.Parameter) -> bool:
    """What a recipe may set: the keyword-only parameters of a built-in part; of other functions, all with a default."""
    if key in _GIVEN or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
        return False
    return parameter.default is not parameter.empty


def _checked(
    name: str, function: Callable[..., Any], options: Mapping[str, Any], known: Sequence[str]
) -> dict[str, Any]:
    checked = {}
    for key, value in options.items():
        if key not in known:
            where = f"its parameters are {', '.join(known)}" if known else "it has no parameters of its own"
            raise PonderError(f"reward {name!r}: {key} is unknown{nearest(str(key), [*known, *_KEYS])} ({where})")
        checked[key] = _fitting(name, function, key, value)
    return checked


def _fitting(name: str, function: Callable[..., Any], key: str, value: Any) -> Any:
    """The value as the parameter's annotation wants it; as it is where a user's function has none that can be read."""
    try:
        hint = get_type_hints(function, include_extras=True).get(key, Any)
        adapter = pydantic.TypeAdapter(hint)
    except Exception:  # annotations are the user's own, and may name anything
        return value
    try:
        if isinstance(value, bool) and hint is not Any and isinstance(adapter.validate_python(value), float):
            raise PonderError(f"reward {name!r}: {key} is {value!r}: should be a number")
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Input ")
        raise PonderError(f"reward {name!r}: {key} is {value!r}: {why}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
