"""The split judge: a test's own code in one child, the program in another, and this process between them.

Only plain values pass, checked here on their way; the judge's interpreter never meets the program's objects, so a
patched builtin, an __eq__ that is always True or a frame walked up to the expected value finds nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ponder.sandbox.calls import Died, ask, loaded, payload
from ponder.sandbox.codec import Uncrossable, decode, pack, unpack
from ponder.sandbox.compare import clip
from ponder.sandbox.drivers import CANDIDATE, JUDGE
from ponder.sandbox.limits import Limits
from ponder.sandbox.tally import FATAL, Tally, ended

if TYPE_CHECKING:
    from ponder.sandbox.child import Child
    from ponder.sandbox.jail import Sandbox


def run_split(
    code: str, entry: str, source: str, sandbox: Sandbox, limits: Limits, *, setup: str = "",
    exports: tuple[str, ...] = (), stop_early: bool,
) -> Tally:  # fmt: skip
    """Runs the test `source` against the program `code`.

    setup: helpers that the test uses, run in the judge before it. exports: names of the program whose instances may
    be held by the test, as opaque handles.
    Status "test-error" means that the test failed by itself, before it ever asked the program.
    """
    job = {"src": source, "setup": setup, "entry": entry, "exports": list(exports), "stop": stop_early}
    candidate = sandbox.open(CANDIDATE, payload(code, entry, exports), limits)
    try:
        judge = sandbox.open(JUDGE, json.dumps(job).encode("ascii"), limits)
    except BaseException:
        candidate.close()
        raise
    try:
        return _converse(judge, candidate, bool(exports))
    finally:
        judge.close()
        candidate.close()


def _converse(judge: Child, candidate: Child, handles: bool) -> Tally:
    static = passed = total = asked = 0

    def tally(status: str, note: str) -> Tally:
        return Tally(passed, max(total, static, 1), status, clip(note, 240))

    try:
        loaded(candidate)
    except Died as died:
        frame = judge.receive()  # how many tests were lost
        static = _message(frame or b"").get("static", 0)
        return _died(candidate, died, passed, max(static, 1))
    while True:
        frame = judge.receive()
        if frame is None:
            outcome = judge.close()
            if outcome.status == "infra":
                return tally("infra", outcome.note)
            status = FATAL.get(outcome.status, outcome.status)
            return tally(status if asked else "test-error", f"the test's own code: {ended(outcome, 0).note}")
        message = _message(frame)
        if "bad" in message:
            return tally("test-error", str(message["bad"]))
        if "static" in message:
            static = message["static"]
            continue
        passed, total = message.get("p", 0), message.get("t", 0)
        if message.get("done"):
            return _verdict(message, static, asked)
        asked += 1
        try:
            reply = _checked(ask(candidate, {key: message[key] for key in ("n", "op", "h", "m", "a", "k")}), handles)
            judge.send(pack(reply))
        except Died as died:
            return _died(candidate, died, passed, max(total + 1, static))
        except (KeyError, Uncrossable):
            return tally("protocol", "a message that cannot be passed on")
        except OSError:
            continue  # the judge has ended: the next frame says so


def _checked(reply: dict[str, Any], handles: bool) -> dict[str, Any]:
    if "v" in reply:
        try:
            decode(reply["v"], (lambda number: number) if handles else None, guarded=True)
        except Uncrossable as error:
            raise Died("protocol", str(error)) from None
    return reply


def _message(frame: bytes) -> dict[str, Any]:
    try:
        return unpack(frame)
    except Uncrossable:
        return {}


def _died(candidate: Child, died: Died, passed: int, total: int) -> Tally:
    outcome = candidate.close()
    if outcome.status == "infra":
        return Tally(passed, total, "infra", outcome.note)
    status = died.status or FATAL.get(outcome.status, outcome.status)
    return Tally(passed, total, status, clip(died.note or ended(outcome, 0).note, 240))


def _verdict(message: dict[str, Any], static: int, asked: int) -> Tally:
    passed, total, error = message["p"], message["t"], message["error"]
    if error and not asked:
        return Tally(0, max(total, static, 1), "test-error", clip(f"the test's own code: {error}", 240))
    if error:
        return Tally(passed, max(total + 1, static), "raised", clip(error, 240))
    if not total:
        return Tally(0, max(static, 1), "no-asserts", "the test ended without reaching an assert")
    if passed < total:
        note = (message.get("first") or [""])[0]
        return Tally(passed, max(total, static), "wrong", clip(note, 240))
    return Tally(passed, total, "ok")
