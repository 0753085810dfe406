"""The program's side: loads it, then answers one call after another with what it returned.

It never learns what was expected. Whatever the program does to this code (they share an interpreter) changes only
what the program itself says.

payload: {"code": source, "entry": name, "exports": [names], "large": [arguments]}. First frame out:
{"load": null} or {"load": [names of the exception's classes, text]}. Then for each frame in, {"n": number, "op": ...},
one frame out with the same n and one of "v" (a value), "e" (an exception, [names, text]), "x" (why the value could
not cross), "fatal" (a name).
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from typing import Any

from ponder.sandbox.codec import Uncrossable, decode, encode, pack


def serve(payload: bytes, read_frame: Callable[[], bytes | None], write_frame: Callable[[bytes], None]) -> None:
    """Answers until there is nothing more to read."""
    job = json.loads(payload)
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    try:
        exec(compile(job["code"], "<solution>", "exec", dont_inherit=True), module.__dict__)
        target = find(module.__dict__, job["entry"])
    except BaseException as error:
        write_frame(pack({"load": told(error)}))
        return
    write_frame(pack({"load": None}))

    things: list[Any] = [target]
    numbers: dict[int, int] = {}
    exports = {name: module.__dict__[name] for name in job["exports"] if name in module.__dict__}
    classes = tuple(thing for thing in exports.values() if isinstance(thing, type))

    def keep(value: Any) -> int | None:
        """A handle for an instance of an exported class, or for an exported thing itself."""
        if not isinstance(value, classes) and not any(value is thing for thing in exports.values()):
            return None
        if id(value) not in numbers:
            numbers[id(value)] = len(things)
            things.append(value)
        return numbers[id(value)]

    def perform(ask: dict[str, Any]) -> Any:
        op, name = ask["op"], ask.get("m") or ""
        if op == "export":
            if name not in exports:
                raise NameError(f"name {name!r} is not defined")
            return exports[name]
        thing = things[ask.get("h", 0)]
        if op == "get":
            value = getattr(thing, name)
            return {"method": True} if callable(value) and keep(value) is None else {"value": value}
        args = [decode(item, things.__getitem__) for item in ask["a"]]
        if op == "set":
            return setattr(thing, name, args[0])
        kwargs = {key: decode(item, things.__getitem__) for key, item in ask.get("k", {}).items()}
        if not name:
            return thing(*args, **kwargs)
        owner = getattr(type(thing), name) if name.startswith("__") else None
        return owner(thing, *args, **kwargs) if owner else getattr(thing, name)(*args, **kwargs)

    watched = keep if exports else None
    while True:
        frame = read_frame()
        if frame is None:
            return
        ask = json.loads(frame)
        if "large" in ask:
            ask |= job["large"][ask["large"]]
        reply: dict[str, Any] = {"n": ask["n"]}
        try:
            value = perform(ask)
        except Exception as error:
            reply["e"] = told(error)
        except BaseException as error:
            reply["fatal"] = type(error).__name__
        else:
            try:
                reply["v"] = encode(value, watched)
                write_frame(pack(reply))
                continue
            except Uncrossable as error:
                reply = {"n": ask["n"], "x": str(error)}
            except BaseException as error:
                reply = {"n": ask["n"], "x": f"{type(error).__name__} while it was sent"}
        write_frame(pack(reply))


def find(names: dict[str, Any], entry: str) -> Any:
    """What `entry` names: f, Class.f, Class().f, or a method f of a class Solution."""
    owner, dot, method = entry.replace("()", "").rpartition(".")
    if dot:
        return getattr(names[owner](), method) if owner in names else missing(owner)
    if entry in names:
        return names[entry]
    if hasattr(names.get("Solution"), entry):
        return getattr(names["Solution"](), entry)
    return missing(entry)


def missing(name: str) -> Any:
    """Says so in the words of Python."""
    raise NameError(f"name {name!r} is not defined")


def told(error: BaseException) -> list[Any]:
    """[the builtin classes of an exception, nearest first; its text]"""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    try:
        text = str(error)[:300]
    except BaseException:
        text = ""
    return [names, text]
