"""Function-call tests: the program answers calls in a child, the answers are compared out here.

One child answers all tests in turn; it is asked for one answer at a time and never learns what was expected, so a
forged frame must hold the right value. A test in which the child dies is lost and the rest goes to a new child; where
the child had already answered others, a limit that strikes is first tried again in a child that has it all to itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ponder.sandbox.codec import MAX_FRAME, Uncrossable, decode, encode, pack, unpack
from ponder.sandbox.compare import clip, show
from ponder.sandbox.drivers import CANDIDATE
from ponder.sandbox.limits import Limits
from ponder.sandbox.lower import Call, Case
from ponder.sandbox.tally import FATAL, MAX_LOST, Tally, ended

if TYPE_CHECKING:
    from ponder.sandbox.child import Child
    from ponder.sandbox.jail import Sandbox

MAX_CHILDREN = 16
"""All told for one program: what a program that dies after each answer can cost."""

STRUCK = ("timeout-cpu", "timeout-wall", "memory", "output-limit")


class Died(Exception):
    """The child ended, or broke the protocol (then `status` says so and it must be ended)."""

    def __init__(self, status: str = "", note: str = "") -> None:
        super().__init__(note)
        self.status, self.note = status, note


def ask(child: Child, message: dict[str, Any]) -> dict[str, Any]:
    """One call and the program's reply to it. Raises Died."""
    try:
        child.send(pack(message))
    except OSError:
        raise Died from None
    frame = child.receive()
    if frame is None:
        raise Died
    try:
        reply = unpack(frame)
    except Uncrossable as error:
        raise Died("protocol", str(error)) from None
    if type(reply.get("n")) is not int or reply["n"] != message["n"] or len(reply) != 2:
        raise Died("protocol", "an answer to another question")
    if "fatal" in reply:
        raise Died("raised", f"{clip(str(reply['fatal']), 60)} inside a call")
    if "e" in reply and not _exception(reply["e"]):
        raise Died("protocol", "not an exception")
    if not ({"v", "e", "x"} & reply.keys()) or ("x" in reply and type(reply["x"]) is not str):
        raise Died("protocol", "neither a value nor an exception")
    return reply


def _exception(told: Any) -> bool:
    return (
        type(told) is list
        and len(told) == 2
        and type(told[0]) is list
        and all(type(name) is str for name in told[0])
        and type(told[1]) is str
    )


def loaded(child: Child) -> None:
    """Waits until the program is loaded. Raises Died, with status load-error where it raised or lacks the function."""
    frame = child.receive()
    if frame is None:
        raise Died
    try:
        load = unpack(frame).get("load", "nothing")
    except Uncrossable as error:
        raise Died("protocol", str(error)) from None
    if load is not None:
        raise Died("load-error", _text(load) if _exception(load) else "the program did not load")


def _text(told: list[Any]) -> str:
    names, text = told
    return clip(f"{names[0] if names else 'Exception'}: {text}")


def payload(code: str, entry: str, exports: Sequence[str] = (), large: Sequence[Any] = ()) -> bytes:
    """What the CANDIDATE driver wants. large: arguments of calls that are too long for a frame."""
    return json.dumps({"code": code, "entry": entry, "exports": list(exports), "large": list(large)}).encode("ascii")


def run_calls(
    code: str, entry: str, cases: Sequence[Case], sandbox: Sandbox, limits: Limits, *, stop_early: bool
) -> Tally:
    """Asks the program for every case and checks the answers."""
    state = _Progress()
    large: list[dict[str, Any]] = []
    asks = [[_message(call, large) for call in case.calls] for case in cases]
    children = 0
    while state.index < len(cases) and state.lost <= MAX_LOST and children < MAX_CHILDREN:
        children += 1
        child = sandbox.open(CANDIDATE, payload(code, entry, large=large), limits)
        start = state.index
        try:
            loaded(child)
            while state.index < len(cases):
                _one(child, cases[state.index], asks[state.index], state)
                state.index += 1
                if stop_early and state.status != "ok":
                    break
            child.close()
        except Died as died:
            outcome = child.close()
            if outcome.status == "infra":
                return Tally(state.passed, len(cases), "infra", outcome.note)
            status = died.status or FATAL.get(outcome.status, outcome.status)
            note = died.note or ended(outcome, 0).note
            if status == "load-error" or (died.status == "" and state.index == start == 0 and not state.asked):
                return Tally(0, len(cases), status, clip(note))
            if status in STRUCK and state.index > start:
                continue  # it may have been the sum of the others: once more, alone
            state.fail(status, note)
            state.lost += 1
            state.index += 1
        if stop_early and state.status != "ok":
            break
    if state.status == "ok" and state.index < len(cases):
        state.fail("crash", f"ended {children} times")
    return Tally(state.passed, len(cases), state.status, state.note)


class _Progress:
    """Where a run of cases stands."""

    def __init__(self) -> None:
        self.index = self.passed = self.lost = self.asked = 0
        self.status, self.note = "ok", ""

    def fail(self, status: str, note: str) -> None:
        if self.status == "ok":
            self.status, self.note = status, clip(f"test {self.index + 1}: {note}", 240)


def _one(child: Child, case: Case, asks: Sequence[dict[str, Any]], state: _Progress) -> None:
    answers = []
    for message in asks:
        state.asked += 1
        reply = ask(child, {"n": state.asked, **message})
        if "v" not in reply:
            return state.fail("raised" if "e" in reply else "wrong", _text(reply["e"]) if "e" in reply else reply["x"])
        try:
            answers.append(decode(reply["v"], guarded=True))
        except Uncrossable as error:
            raise Died("protocol", str(error)) from None
    if case.check(answers):
        state.passed += 1
    else:
        got = ", ".join(show(answer, 80) for answer in answers)
        state.fail("wrong", f"returned {got}, expected {case.want}")


def _message(call: Call, large: list[dict[str, Any]]) -> dict[str, Any]:
    """What to ask for a call; arguments that no frame can hold go into `large`, which travels with the program."""
    given = {"a": [encode(value) for value in call.args], "k": {name: encode(value) for name, value in call.kwargs}}
    if len(json.dumps(given)) < MAX_FRAME - 1000:
        return {"op": "call", **given}
    large.append(given)
    return {"op": "call", "large": len(large) - 1}
