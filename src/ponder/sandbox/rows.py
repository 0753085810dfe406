"""Rows of data sets as tests, and what a model wrote as a program."""

from __future__ import annotations

import ast
import builtins
import json
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ponder.core.errors import PonderError
from ponder.sandbox.lower import parse

HOLDERS = (
    "tests", "test_cases", "input_output", "verification_info", "official_tests", "public_test_cases",
    "ground_truth", "reward_model",
)  # fmt: skip
"""Fields in which data sets keep inputs and outputs, in the order in which they are looked for."""

FUNCTIONAL = ("functional", "function_call", "function", "call", "fn_call")
STDIO = ("stdin_stdout", "stdin", "stdio", "standard_input")

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
_OUTSIDE = re.compile(r"^[^\s#)\]}]", re.MULTILINE)
_STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n```", "\n@", "\nassert ", "\nfrom ", "\nimport ")


def test_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The test of a row, as `run_tests` takes it: {"mode": "stdio" | "call" | "assert", ...}.

    Known rows: a test in this form under `test` (or the row itself); HumanEval (`test`, `entry_point`, `prompt`); MBPP
    (`test_list`, `test_setup_code`, `test_imports`, `challenge_test_list`); lists of {"input", "output", "type":
    "stdin_stdout"} under one of HOLDERS; {"inputs", "outputs", "fn_name"} as in APPS, TACO and verl's ground truth;
    LiveCodeBench's `public_test_cases` with `private_test_cases`. Raises PonderError that names what is missing.
    """
    test = row.get("test")
    if isinstance(test, Mapping):
        return dict(test)
    if "mode" in row:
        return dict(row)
    if isinstance(test, str) and "entry_point" in row:
        return {"mode": "assert", "entry": _name(row, "entry_point"), "src": test, "setup": _prompt(row)}
    if row.get("test_list"):
        return _assert_list(row)
    for holder in HOLDERS:
        if row.get(holder):
            return _held(row, holder)
    raise PonderError(
        "a code row needs its tests: `test` with `mode`, `test` and `entry_point` (HumanEval), `test_list` (MBPP), or "
        f"inputs and outputs under {', '.join(HOLDERS[:3])}; this one has {', '.join(map(str, row)) or 'no fields'}"
    )


def _name(row: Mapping[str, Any], field: str) -> str:
    value = row[field]
    if not isinstance(value, str) or not value:
        raise PonderError(f"{field} is {value!r}; it must name the function under test")
    return value


def _prompt(row: Mapping[str, Any]) -> str:
    """The row's prompt where it is code (HumanEval): its helpers belong to the test as well."""
    prompt = row.get("prompt", "")
    return _stub(prompt) if isinstance(prompt, str) else ""


def _stub(prompt: str) -> str:
    for source in (prompt, prompt.rstrip() + "\n    pass\n"):
        if _parses(source):
            return source + "\n"
    return ""


def _parses(source: str) -> bool:
    return _tree(source) is not None


def _tree(source: str) -> ast.Module | None:
    # The compiler's parser refuses what is too deep or too long; a model's text is only ever parsed, never run here.
    try:
        return parse(source) if len(source) <= 1 << 18 else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _assert_list(row: Mapping[str, Any]) -> dict[str, Any]:
    tests = [*row["test_list"], *(row.get("challenge_test_list") or [])]
    if not all(isinstance(test, str) for test in tests):
        raise PonderError("test_list must be a list of assert statements")
    imports = row.get("test_imports") or []
    setup = row.get("test_setup_code") or ""
    source = "\n".join([*imports, setup.replace("\r\n", "\n"), *tests])
    tree = _tree(source)
    if tree is None:
        raise PonderError("test_list does not parse as Python")
    entry = row.get("entry_point") or _entry(tree, row.get("code"))
    if entry is None:
        raise PonderError("test_list calls no function that it does not define; name it in `entry_point`")
    free = [name for name in _free(tree) if name != entry]
    modules = [name for name in free if name in sys.stdlib_module_names]
    exports = [name for name in free if name not in modules]
    test = {"mode": "assert", "entry": entry, "src": source, "setup": "".join(f"import {m}\n" for m in modules)}
    return {**test, "exports": exports} if exports else test


def _free(tree: ast.Module) -> list[str]:
    """Names that a test uses and neither defines nor finds among the builtins, outermost calls first."""
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    used = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in bound]
    return list(dict.fromkeys(used))


def _entry(tree: ast.Module, code: Any) -> str | None:
    """The function under test: the name that most asserts call, the outermost where several are.

    One that the reference solution defines comes first, then one that nothing defines, then a builtin's name.
    """
    calls: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            names = [n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
            calls.update(dict.fromkeys(names, 1))
    reference = _tree(code.replace("\r\n", "\n")) if isinstance(code, str) else None
    defined = {node.name for node in reference.body if isinstance(node, ast.FunctionDef)} if reference else set()
    for pool in (defined, set(_free(tree)) - sys.stdlib_module_names, set(dir(builtins)) - {"set", "sorted", "len"}):
        known = [name for name, _ in calls.most_common() if name in pool]
        if known:
            return known[0]
    return None


def _held(row: Mapping[str, Any], holder: str) -> dict[str, Any]:
    held = _json(row[holder], holder)
    if holder == "public_test_cases" and row.get("private_test_cases"):
        private = row["private_test_cases"]
        if isinstance(private, str) and not private.lstrip().startswith("["):
            raise PonderError(
                "private_test_cases is a compressed pickle, which is never loaded here; convert it to a JSON list first"
            )
        held = [*held, *_json(private, "private_test_cases")]
    for inner in ("ground_truth", "test_cases", "tests"):
        if isinstance(held, Mapping) and inner in held:
            held = _json(held[inner], f"{holder}.{inner}")
    metadata = _json(row.get("metadata") or {}, "metadata")
    function = next((box.get(name) for box in (held, metadata, row) if isinstance(box, Mapping)
                     for name in ("fn_name", "func_name", "entry_point") if box.get(name)), None)  # fmt: skip
    if isinstance(held, Mapping) and "inputs" in held and "outputs" in held:
        inputs, outputs = held["inputs"], held["outputs"]
        if len(inputs) != len(outputs):
            raise PonderError(f"{holder} has {len(inputs)} inputs and {len(outputs)} outputs")
        if function:
            cases = [[_arguments(given, holder), want] for given, want in zip(inputs, outputs, strict=True)]
            return {"mode": "call", "entry": function, "cases": cases, "wrapped": True}
        return {"mode": "stdio", "cases": [[_text(i), _text(o)] for i, o in zip(inputs, outputs, strict=True)]}
    if isinstance(held, str):
        return _assert_list({**row, "test_list": [held]})
    if isinstance(held, Sequence) and held and all(isinstance(test, str) for test in held):
        return _assert_list({**row, "test_list": list(held)})
    if not isinstance(held, Sequence) or not held:
        raise PonderError(f"{holder} holds no tests: neither a list nor inputs and outputs")
    return _listed(held, holder, function)


def _listed(held: Sequence[Any], holder: str, function: str | None) -> dict[str, Any]:
    cases: list[list[Any]] = []
    kinds = set()
    for number, item in enumerate(held, 1):
        if not isinstance(item, Mapping) or "input" not in item or "output" not in item:
            raise PonderError(f"{holder}: test {number} needs `input` and `output`")
        kind = str(item.get("type") or item.get("testtype") or ("functional" if function else "stdin"))
        if kind not in FUNCTIONAL + STDIO:
            raise PonderError(f"{holder}: test {number} has type {kind!r}; known are {', '.join(STDIO + FUNCTIONAL)}")
        kinds.add(kind in FUNCTIONAL)
        function = item.get("fn_name") or function
        cases.append([item["input"], item["output"]])
    if len(kinds) > 1:
        raise PonderError(f"{holder} mixes function calls and standard input")
    if kinds == {False}:
        return {"mode": "stdio", "cases": [[_text(given), _text(want)] for given, want in cases]}
    if not function:
        raise PonderError(f"{holder}: function calls need the function's name, as `fn_name` or metadata.func_name")
    calls = [[_arguments(given, holder), _value(want)] for given, want in cases]
    return {"mode": "call", "entry": function, "cases": calls}


def _text(value: Any) -> str:
    """Standard input or output: a text, or lines."""
    if isinstance(value, str):
        return value
    return "\n".join(map(str, value)) + "\n" if isinstance(value, (list, tuple)) else f"{value}\n"


def _arguments(given: Any, holder: str) -> list[Any] | dict[str, Any]:
    """A call's arguments: a list as it is, names and values, or LiveCodeBench's one JSON value on each line."""
    if isinstance(given, (list, dict)):
        return given
    try:
        return [json.loads(line) for line in str(given).split("\n") if line.strip()]
    except ValueError:
        raise PonderError(f"{holder}: the arguments {str(given)[:60]!r} are not JSON, one value to a line") from None


def _value(want: Any) -> Any:
    try:
        return json.loads(want) if isinstance(want, str) else want
    except ValueError:
        return want


def _json(value: Any, name: str) -> Any:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise PonderError(f"{name} is not valid JSON") from None


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block; one that is never closed goes to the end. Linear in the text."""
    found: list[tuple[str, str]] = []
    opened: tuple[str, str, int] | None = None
    for fence in _FENCE.finditer(text):
        marks, language = fence.group(1), fence.group(2).lower()
        if opened is None:
            opened = (marks, language, fence.end() + 1)
        elif not language and marks.startswith(opened[0]):
            found.append((opened[1], text[opened[2] : fence.start()]))
            opened = None
    if opened is not None:
        found.append((opened[1], text[opened[2] :]))
    return found


def code_of(text: str, row: Mapping[str, Any]) -> str:
    """The program in what a model wrote.

    The last ```python block (after </think>), or the last block of no language, or else the whole text; of several, the
    last that defines the row's function. Where the row has a HumanEval prompt the program begins with it: a whole
    function follows it, a body continues it (also where its first indentation was lost), cut where it stops being one.
    """
    text = text.rpartition("</think>")[2]
    entry = str(row.get("entry_point") or "").replace("()", "").split(".")[0]
    fenced = blocks(text)
    python = [body for language, body in fenced if language in ("python", "py", "python3")]
    chosen = python or [body for language, body in fenced if not language]
    code = next((body for body in reversed(chosen) if entry and _defines(body, entry)), chosen[-1] if chosen else text)
    prompt = row.get("prompt")
    if not (isinstance(prompt, str) and entry and isinstance(row.get("test"), str) and _stub(prompt)):
        return code
    if not python and _inside(text):
        code = text  # a body as it came from a base model, with whatever it went on to say
    if _defines(code, entry):
        return code if code.startswith(prompt) else _stub(prompt) + code
    return _continued(prompt, code)


def _defines(code: str, name: str) -> bool:
    return re.search(rf"^(async[ ]+def|def|class)[ ]+{re.escape(name)}\b", code, re.MULTILINE) is not None


def _continued(prompt: str, body: str) -> str:
    """The prompt with its function's body, in the first reading that parses; a body that does not, as it came.

    Readings: as it is; where the first line lost its indentation, with it back; where all lines did, all indented. Of
    each, the whole, then up to what usually follows a function, then up to the first line that is not indented.
    """
    first, _, rest = body.strip("\n").partition("\n")
    if _inside(first):
        readings = [body]
    elif all(line[:1] in ("", " ", "\t") for line in rest.split("\n")):
        readings = ["    " + first.lstrip() + "\n" + rest, textwrap.indent(body, "    ")]
    else:
        readings = [textwrap.indent(body, "    "), "    " + first.lstrip() + "\n" + rest]
    for reading in readings:
        ends = [reading.find(stop) for stop in _STOPS]
        outside = _OUTSIDE.search(reading, len(reading) - len(reading.lstrip("\n")))
        cuts = [len(reading), min((end for end in ends if end >= 0), default=0), outside.start() if outside else 0]
        for end in cuts:
            if reading[:end].strip() and _parses(prompt + reading[:end]):
                return prompt + reading[:end]
    return prompt + body


def _inside(body: str) -> bool:
    """Whether the first line of code is indented, as a body's is: otherwise the prompt alone would be the function."""
    first = next((line for line in body.split("\n") if line.strip()), "")
    return first[:1] in (" ", "\t")
