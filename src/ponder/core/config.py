"""Settings: frozen pydantic models, recipes in YAML, and errors that name the key, the value and the remedy.

An unknown key is an error that suggests the nearest known one; nothing that was written is ever ignored.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

import pydantic
import yaml
from pydantic import ConfigDict, ValidationInfo, field_validator

from ponder.core.errors import PonderError, nearest


class Settings(pydantic.BaseModel):
    """Base of every settings class: frozen, no unknown keys, no infinite or undefined numbers, no bool for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and info.field_name is not None:
            annotation = cls.model_fields[info.field_name].annotation
            kinds = {annotation, *get_args(annotation)}
            if bool not in kinds and kinds & {int, float}:
                raise ValueError("should be a number, not true or false")
        return value


S = TypeVar("S", bound=Settings)


def parse_settings(
    cls: type[S], values: Mapping[str, Any], aliases: Mapping[str, str] | None = None, where: str = "settings"
) -> S:
    """Build `cls` from a (nested) mapping.

    aliases: other tools' dotted names for our dotted names, e.g. `{"rollout.n": "num_generations"}`.
    where: what the keys belong to, for messages, e.g. the recipe's name.
    Raises PonderError, one line: the key, the value, what was expected or the nearest known name.
    """
    values = _rename(values, aliases or {}, where)
    try:
        return cls.model_validate(values)
    except pydantic.ValidationError as error:
        faults = [_explain(cls, values, fault, where) for fault in error.errors()]
    # An unknown key often causes the other faults (a misspelt required key is also missing): name it first.
    faults.sort(key=lambda line: "is unknown" not in line)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    raise PonderError(faults[0] + more)


def merge_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `values` with each `a.b=value` set; the value is read as YAML (`1e-6`, `true`, `[a, b]`, `null`)."""
    merged = copy.deepcopy(dict(values))
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise PonderError(f"{override!r} is not a setting; write key=value, such as learning_rate=1e-6")
        _put(merged, key, read_yaml(text, where=key))
    return merged


def load_recipe(name_or_path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, given by its path, or by the name of a recipe that comes with Ponder (`r1-zero`)."""
    path = find_recipe(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PonderError(f"{path} cannot be read: {error}") from error
    values = read_yaml(text, where=str(path))
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise PonderError(f"{path} holds no settings: a recipe is a YAML mapping such as 'pipeline: r1-zero'")
    return values


def find_recipe(name_or_path: str | Path) -> Path:
    """The recipe's file. A bare name (`r1-zero`) is looked for in `mini` first, then in the other folders; a name with
    its folder (`single-gpu/r1-zero`) there alone. Raises PonderError with the nearest known name."""
    name = str(name_or_path)
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise PonderError(f"{name}: no such file")
        return path
    known = recipe_names()
    hits = [key for key in known if name == key or name == key.rpartition("/")[2]]
    hits.sort(key=lambda key: not key.startswith("mini/"))
    if not hits:
        short = sorted(known if "/" in name else {key.rpartition("/")[2] for key in known})
        hint = nearest(name, short) or f"; known: {', '.join(short) or 'none'}"
        raise PonderError(f"no recipe is called {name!r}{hint}")
    if len(hits) > 1 and not hits[0].startswith("mini/"):
        raise PonderError(f"several recipes are called {name!r}: {', '.join(hits)}; write one of these names")
    return known[hits[0]]


def recipe_label(name_or_path: str | Path) -> str:
    """What messages and folders call a recipe: `r1` of the embedded size, `single-gpu/r1` of another, a file's stem."""
    path = find_recipe(name_or_path)
    for name, known in recipe_names().items():
        if known == path and not str(name_or_path).endswith((".yaml", ".yml")):
            return name.removeprefix("mini/")
    return path.stem


def recipe_names() -> dict[str, Path]:
    """Every recipe that comes with Ponder: `folder/name` to its file."""
    packaged = Path(str(resources.files("ponder"))) / "recipes"
    source = Path(__file__).resolve().parents[2]
    checkout = [source.parent / "recipes"] if source.name == "src" else []  # an editable install reads the repository's
    found: dict[str, Path] = {}
    for folder in (*checkout, packaged):
        for path in sorted(folder.glob("**/*.yaml")):
            found[path.relative_to(folder).with_suffix("").as_posix()] = path
    return found


# YAML -------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars, merge keys (`<<: *name`), and no repeated key.

    (In PyYAML's own 1.1, 1e-6 is text, `no` is false, 1:30 is 90.)
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("merge", r"^<<$", ["<"]),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML text; PonderError naming `where` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise PonderError(f"{where}{line}: {error.problem or 'not YAML'}") from error
    except yaml.YAMLError as error:
        raise PonderError(f"{where}: {' '.join(str(error).split())}") from error


# Dotted keys and messages -----------------------------------------------------------------------------------


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for depth, group in enumerate(groups):
        inner = values.get(group)
        if inner is None:
            inner = values[group] = {}
        if not isinstance(inner, dict):
            group = ".".join(groups[: depth + 1])
            raise PonderError(f"{key} cannot be set: {group} is {inner!r}, not a group of settings")
        values = inner
    values[last] = value


def _rename(values: Mapping[str, Any], aliases: Mapping[str, str], where: str) -> dict[str, Any]:
    """Move each aliased (dotted) key to our name; a group left empty by it goes."""
    renamed = copy.deepcopy(dict(values))
    for theirs, ours in aliases.items():
        trail: list[dict[str, Any]] = [renamed]
        *groups, last = theirs.split(".")
        for group in groups:
            inner = trail[-1].get(group)
            if not isinstance(inner, dict):
                break
            trail.append(inner)
        if len(trail) <= len(groups) or last not in trail[-1]:
            continue
        value = trail[-1].pop(last)
        for depth in range(len(groups) - 1, -1, -1):
            if not trail[depth + 1]:
                del trail[depth][groups[depth]]
        if _has(renamed, ours):
            raise PonderError(f"{where}: {ours} is given twice, once as {theirs}")
        _put(renamed, ours, value)
    return renamed


def _has(values: Mapping[str, Any], key: str) -> bool:
    inner: Any = values
    for part in key.split("."):
        if not isinstance(inner, Mapping) or part not in inner:
            return False
        inner = inner[part]
    return True


def _explain(cls: type[Settings], values: Mapping[str, Any], fault: Any, where: str) -> str:
    kind, path, inner = fault["type"], [], values
    for part in fault["loc"]:
        inside = isinstance(inner, Mapping) and part in inner
        if inside or (isinstance(inner, (list, tuple)) and isinstance(part, int) and part < len(inner)):
            path.append(str(part))
            inner = inner[part]
        elif kind == "missing":
            path.append(str(part))
            break
        # Anything else is pydantic's own label for a member of a union: it names no key.
    key = ".".join([where, *path])
    if kind == "extra_forbidden":
        return f"{key} is unknown{_suggest(cls, path)}"
    if kind == "missing":
        return f"{key} is missing"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not path:
        return f"{where}: {message}"
    if kind == "literal_error":
        expected = fault["ctx"]["expected"]
        message = f"should be one of {expected}" + nearest(str(inner), _literals(expected))
    if kind in ("tuple_type", "list_type"):
        message = f"should be a list, such as [{inner}]"
    if isinstance(inner, Mapping) and kind == "value_error":  # a rule over a group's keys: its message names them
        return f"{key}: {message}"
    return f"{key} is {inner!r}: {message}"


def _literals(expected: str) -> list[str]:
    return re.findall(r"'([^']*)'", expected)


def _suggest(cls: type[Settings], path: list[str]) -> str:
    """The nearest name among the neighbours of an unknown key, else among all keys of the tree."""
    neighbours: list[str] = []
    model: Any = cls
    for part in path[:-1]:
        model = _nested(model.model_fields[part].annotation) if model and part in model.model_fields else None
    if model:
        neighbours = list(model.model_fields)
    everywhere = list(_leaves(cls))
    by_last = {key.rpartition(".")[2]: key for key in everywhere}
    exact = by_last.get(path[-1])
    if exact:
        return f"; did you mean {exact}?"
    near = nearest(path[-1], neighbours)
    if near:
        return near
    close = difflib.get_close_matches(path[-1], by_last, n=1)
    return f"; did you mean {by_last[close[0]]}?" if close else f"; known here: {', '.join(neighbours or everywhere)}"


def _nested(annotation: Any) -> type[Settings] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Settings):
            return kind
    return None


def _leaves(cls: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, field in cls.model_fields.items():
        inner = _nested(field.annotation)
        yield from _leaves(inner, f"{prefix}{name}.") if inner else iter([f"{prefix}{name}"])
