"""The test's side of the split judge: runs the test's own code; the function under test is a proxy.

payload: {"src", "setup", "entry", "exports", "stop"}. Frames out: {"static": number of asserts}, then any number of
asks {"n", "op", ..., "p": asserts passed, "t": asserts reached}, each answered by the program's reply, and at last
{"done": true, "p", "t", "error": null or text}. Asserts are rewritten so that each is counted, and so that one that
fails does not hide the rest; {"bad": text} says that the test itself cannot be compiled.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
from collections.abc import Callable
from typing import Any

from ponder.sandbox.codec import Uncrossable, decode, encode, pack

NOTE = "__ponder_note__"


class Stop(BaseException):
    """An assert failed, and the rest is not wanted."""


class Handle:
    """An object of an exported class, which lives with the program. Its == is identity, never the program's own."""

    def __init__(self, number: int, ask: Callable[..., Any]) -> None:
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_ask", ask)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", self._number, None, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = self._ask("get", self._number, name)
        if "value" in found:
            return found["value"]
        return lambda *args, **kwargs: self._ask("call", self._number, name, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", self._number, name, (value,))

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return self._ask("call", self._number, "__len__")

    def __iter__(self) -> Any:
        return iter(list(self._ask("call", self._number, "__iter__")))

    def __getitem__(self, key: Any) -> Any:
        return self._ask("call", self._number, "__getitem__", (key,))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("call", self._number, "__setitem__", (key, value))

    def __str__(self) -> str:
        return self._ask("call", self._number, "__str__")

    def __repr__(self) -> str:
        return self._ask("call", self._number, "__repr__")


class Counted(ast.NodeTransformer):
    """Rewrites asserts: `assert X` becomes `try: note(X)` `except Exception as e: note(False, e)`.

    Inside the body of a `try` a failed one still raises AssertionError, for the test may want to catch it. A constant
    one counts only in an `except` block, where reaching it says something.
    """

    def __init__(self) -> None:
        self.found = self.tries = self.handlers = 0

    def visit_Try(self, node: ast.Try) -> ast.Try:
        self.tries += 1
        node.body = self._all(node.body)
        self.tries -= 1
        self.handlers += 1
        for handler in node.handlers:
            handler.body = self._all(handler.body)
        self.handlers -= 1
        node.orelse, node.finalbody = self._all(node.orelse), self._all(node.finalbody)
        return node

    def _all(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(statement) for statement in body]

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        empty = isinstance(node.test, ast.Constant) and bool(node.test.value)
        if empty and not self.handlers:
            return ast.copy_location(ast.Pass(), node)
        self.found += 1
        if self.tries or self.handlers:
            text = f"if {NOTE}(X): pass\nelse: raise AssertionError"
        else:
            text = f"try: {NOTE}(X)\nexcept Exception as __ponder_error__: {NOTE}(False, __ponder_error__)"
        (new,) = ast.parse(text).body
        for part in ast.walk(new):
            if isinstance(part, ast.Call):
                part.args = [node.test if getattr(arg, "id", "") == "X" else arg for arg in part.args]
        return ast.fix_missing_locations(ast.copy_location(new, node))


def serve(payload: bytes, read_frame: Callable[[], bytes | None], write_frame: Callable[[bytes], None]) -> None:
    """Runs the test once and reports."""
    job = json.loads(payload)
    state = {"n": 0, "p": 0, "t": 0}
    handles: dict[int, Handle] = {}
    first: list[str] = []

    def note(outcome: Any, error: Exception | None = None) -> bool:
        held = bool(outcome)
        state["t"] += 1
        if held:
            state["p"] += 1
            return True
        first.append(f"assert {state['t']} failed" + (f", {type(error).__name__}: {error}"[:300] if error else ""))
        if job["stop"]:
            raise Stop
        return False

    def given(number: Any) -> Handle:
        if type(number) is not int:
            raise Uncrossable("not a handle")
        if number not in handles:
            handles[number] = Handle(number, ask)
        return handles[number]

    def number_of(value: Any) -> int | None:
        return object.__getattribute__(value, "_number") if type(value) is Handle else None

    def ask(op: str, number: int = 0, name: str | None = None, args: Any = (), kwargs: Any = None) -> Any:
        state["n"] += 1
        message = {"op": op, "h": number, "m": name, "a": [encode(value, number_of) for value in args]}
        message["k"] = {key: encode(value, number_of) for key, value in (kwargs or {}).items()}
        write_frame(pack({**state, **message}))
        frame = read_frame()
        if frame is None:
            os._exit(0)
        reply = json.loads(frame)
        if "v" in reply:
            return decode(reply["v"], given if job["exports"] else None)
        if "e" in reply:
            raise raised(*reply["e"])
        raise TypeError(reply["x"])

    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        tree = ast.parse(job["src"], "<test>")
        last = calls_check(tree)
        counted = Counted()
        tree = counted.visit(tree)
        ready = compile(tree, "<test>", "exec", dont_inherit=True)
        setup = compile(job["setup"], "<setup>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return write_frame(pack({"bad": f"{type(error).__name__}: {error}"[:300]}))
    write_frame(pack({"static": counted.found}))
    wrong: str | None = None
    try:
        exec(setup, names)
        names[NOTE] = note
        entry = names["candidate"] = names[job["entry"]] = lambda *args, **kwargs: ask("call", 0, None, args, kwargs)
        for name in job["exports"]:
            names[name] = ask("export", 0, name)
            if name == job["entry"]:
                entry = names["candidate"] = names[name]
        exec(ready, names)
        if last:
            names["check"](entry)
    except Stop:
        pass
    except SystemExit as leaving:
        wrong = None if leaving.code in (None, 0) else "SystemExit"
    except BaseException as failure:
        wrong = f"{type(failure).__name__}: {failure}"[:300]
    write_frame(pack({"done": True, "p": state["p"], "t": state["t"], "error": wrong, "first": first[:1]}))


def calls_check(tree: ast.Module) -> bool:
    """Whether the test defines `check` and leaves its call to us."""
    outside = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    used = any(isinstance(part, ast.Name) and part.id == "check" for node in outside for part in ast.walk(node))
    return not used and any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body)


def raised(classes: list[str], text: str) -> Exception:
    """The program's exception, by the name of its nearest builtin class.

    Never StopIteration: out of a `map` it would end the comparison without a word.
    """
    if "StopIteration" in classes or "StopAsyncIteration" in classes:
        return RuntimeError("the program raised StopIteration")
    for name in classes:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(text)
            except TypeError:  # UnicodeDecodeError and its like want more than a text
                continue
    return RuntimeError(text)
