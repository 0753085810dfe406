"""The three wire formats: how each service is asked to run a program, and how its answer reads as an `Outcome`.

Sources: bytedance/SandboxFusion `sandbox/server/sandbox_api.py` (`POST /run_code`), engineer-man/piston
`docs/api-v2.md` (`POST /api/v2/execute`), e2b-dev/code-interpreter `template/server` (`POST /execute`, NDJSON) and
e2b-dev/E2B `spec/openapi.yml` (`POST /sandboxes`, `DELETE /sandboxes/{id}`).
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.sandbox.limits import STDERR_TAIL, Limits, Outcome, Status
from ponder.sandbox.remote.exchange import Exchange, Trouble, read_json
from ponder.sandbox.remote.programs import cell

SLACK_S = 15.0  # beside the program's own wall clock: queueing, starting, the network
E2B_PORT = 49999
E2B_TEMPLATE = "code-interpreter-v1"
FUSION_CUT = 1 << 20  # SandboxFusion drops what is printed after this, silently
LOAD_ERRORS = ("SyntaxError", "IndentationError", "TabError")
CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


@dataclass(frozen=True)
class Wire:
    """A service.

    Args:
        key_env: environment variable with its key, and the header that the key goes into.
        execute: runs a program text on one endpoint.
        check: raises PonderError where the endpoint is no such service or lacks what is needed.
        remedy: how to get one going, for messages.
    """

    name: str
    key_env: str
    header: Callable[[str], dict[str, str]]
    execute: Callable[[Exchange, str, str, bytes, Limits], Outcome]
    check: Callable[[Exchange, str], None]
    remedy: str


def outcome(
    code: int | None, stdout: bytes, stderr: str, limits: Limits, *, cpu_s: float, wall_s: float, late: bool = False,
    status: Status | None = None, note: str = "",
) -> Outcome:  # fmt: skip
    """An `Outcome` from what services report; `code` is negative, or 128 + n, for signal n."""
    if code is not None and 128 < code <= 192:  # a shell in between
        code = 128 - code
    last = stderr.rstrip().rpartition("\n")[2]
    if status is None:
        if late:
            status = "timeout-wall"
        elif len(stdout) > limits.output_bytes:
            status = "output-limit"
        elif code == 0:
            status = "ok"
        elif code is not None and code < 0:
            status = "killed"
            if -code == signal.SIGXCPU:
                status = "timeout-cpu"
            elif -code == signal.SIGXFSZ:
                status = "output-limit"
            elif -code in CRASHES:
                status = "crash"
        elif last.startswith("MemoryError"):
            status = "memory"
        else:
            status = "load-error" if last.startswith(LOAD_ERRORS) and '"<program>"' in stderr[-2000:] else "raised"
    return Outcome(status, stdout[: limits.output_bytes], stderr[-STDERR_TAIL:], cpu_s, wall_s, code, note)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def _coded(stdin: bytes) -> str:
    """Standard input as the text that JSON can carry. Raises ValueError where it is not UTF-8."""
    return stdin.decode("utf-8")


def run_fusion(exchange: Exchange, base: str, program: str, stdin: bytes, limits: Limits) -> Outcome:
    """SandboxFusion's `/run_code`. It tells neither CPU time nor bytes: time is wall time, text is decoded by it."""
    url, wall_s = f"{base}/run_code", limits.wall
    body = {
        "code": program, "language": "python", "stdin": _coded(stdin), "run_timeout": wall_s, "compile_timeout": wall_s,
        "memory_limit_MB": 2 * limits.memory_mb, "files": {}, "fetch_files": [],
    }  # fmt: skip
    answer = read_json(url, exchange.ask("POST", url, body, timeout_s=wall_s + SLACK_S))
    run = answer.get("run_result")
    if answer.get("status") == "SandboxError" or not isinstance(run, dict) or run.get("status") == "Error":
        raise Trouble(f"{url}: SandboxError: {_text(answer.get('message'))[:300]}")
    late, code = run.get("status") == "TimeLimitExceeded", run.get("return_code")
    if not late and not isinstance(code, int):
        raise Trouble(f"{url} answered without a return code")
    stdout = _text(run.get("stdout")).encode("utf-8", "replace")
    cut = len(stdout) >= FUSION_CUT
    spent_s = _number(run.get("execution_time"), 0.0)
    return outcome(
        None if late else code, stdout, _text(run.get("stderr")), limits, cpu_s=spent_s, wall_s=spent_s, late=late,
        status="output-limit" if cut else None,
    )  # fmt: skip


def check_fusion(exchange: Exchange, base: str) -> None:
    """It answers a ping, and what one program leaves in the temporary folder is gone for the next (isolation: lite)."""
    exchange.ask("GET", f"{base}/v1/ping", timeout_s=SLACK_S)
    name = f"ponder-{os.getpid()}-{time.time_ns()}"
    program = f"import os, tempfile\np = os.path.join(tempfile.gettempdir(), {name!r})\nprint(os.path.exists(p))\n"
    for look in (program + "open(p, 'w').close()\n", program + "if os.path.exists(p): os.unlink(p)\n"):
        told = run_fusion(exchange, base, look, b"", Limits())
    if told.stdout.strip() == b"True":
        raise PonderError(
            f"SandboxFusion at {base} runs programs without isolation: one saw the file of another. Set "
            f"`sandbox: isolation: lite` in its configuration, or write fusion-open:{base} to accept this"
        )


def run_piston(exchange: Exchange, base: str, program: str, stdin: bytes, limits: Limits) -> Outcome:
    """Piston's `/api/v2/execute`. Its ceilings (PISTON_RUN_TIMEOUT ...) must be as high as `limits`, or it refuses."""
    url, wall_s = f"{base}/api/v2/execute", limits.wall
    body = {
        "language": "python", "version": ">=3.0.0", "files": [{"name": "main.py", "content": program}],
        "stdin": _coded(stdin), "run_timeout": int(wall_s * 1000), "run_cpu_time": int(limits.cpu_s * 1000) + 1000,
        "run_memory_limit": 2 * limits.memory_mb << 20,
    }  # fmt: skip
    begin = time.monotonic()
    try:
        text = exchange.ask("POST", url, body, timeout_s=wall_s + SLACK_S)
    except PonderError as error:
        if "cannot exceed" in str(error):
            remedy = "raise PISTON_RUN_TIMEOUT, PISTON_RUN_CPU_TIME, PISTON_RUN_MEMORY_LIMIT there or lower the limits"
            raise PonderError(f"{error}; {remedy}") from error
        raise
    spent_s = time.monotonic() - begin
    run = read_json(url, text).get("run")
    if not isinstance(run, dict) or run.get("status") == "XX":
        raise Trouble(f"{url}: internal error: {text[:200]}")
    code, name = run.get("code"), run.get("signal")
    if not isinstance(code, int):
        if not isinstance(name, str):
            raise Trouble(f"{url} answered with neither code nor signal")
        code = -int(getattr(signal, name, signal.SIGKILL))
    stdout = _text(run.get("stdout")).encode("utf-8", "replace")
    cpu_s = _number(run.get("cpu_time"), 0.0) / 1000
    cpu_out = cpu_s >= limits.cpu_s
    # Older servers give no status: a SIGKILL at the end of the time is theirs.
    late = run.get("status") == "TO" or (run.get("status") is None and code == -signal.SIGKILL and spent_s >= wall_s)
    full = run.get("status") in ("OL", "EL") or "length exceeded" in _text(run.get("message"))
    status: Status | None = "output-limit" if full else "timeout-cpu" if late and cpu_out else None
    return outcome(
        code, stdout, _text(run.get("stderr")), limits, cpu_s=cpu_s, late=late,
        wall_s=_number(run.get("wall_time"), spent_s * 1000) / 1000,
        status=status, note="its PISTON_OUTPUT_MAX_SIZE is reached" if full else "",
    )  # fmt: skip


def check_piston(exchange: Exchange, base: str) -> None:
    """It has a Python 3, lets a program print 64 KiB, and accepts the default limits."""
    url = f"{base}/api/v2/runtimes"
    try:
        known = json.loads(exchange.ask("GET", url, timeout_s=SLACK_S))
    except ValueError as error:
        raise PonderError(f"{url} answered what is not JSON; is this a Piston server?") from error
    versions = [str(row.get("version")) for row in known if isinstance(row, dict) and row.get("language") == "python"]
    if not any(version.startswith("3.") for version in versions):
        remedy = """curl -X POST /api/v2/packages -d '{"language":"python","version":"3.x"}'"""
        raise PonderError(f"Piston at {base} has no Python 3 (python: {versions or 'none'}); install it: {remedy}")
    told = run_piston(exchange, base, "print('x' * 65535)", b"", Limits())
    if len(told.stdout) != 65536:
        raise PonderError(
            f"Piston at {base} cuts output at {len(told.stdout)} of 65536 bytes ({told.status}): right programs would "
            f"fail. Start it with PISTON_OUTPUT_MAX_SIZE=1048576"
        )


def _e2b_boxes(exchange: Exchange, base: str) -> dict[str, Any]:
    url = f"{base}/sandboxes"
    body: dict[str, Any] = {
        "templateID": os.environ.get("E2B_TEMPLATE", E2B_TEMPLATE),
        "secure": True,
        "allow_internet_access": False,
    }
    box = read_json(url, exchange.ask("POST", url, {**body, "timeout": 120}, timeout_s=60.0))
    if not isinstance(box.get("sandboxID"), str):
        raise Trouble(f"{url} answered without a sandboxID")
    return box


def run_e2b(exchange: Exchange, base: str, program: str, stdin: bytes, limits: Limits) -> Outcome:
    """A box of its own for the program, and killed after it: made at `base`, then asked through its own address."""
    wall_s = limits.wall
    box = _e2b_boxes(exchange, base)
    headers = {"E2b-Sandbox-Id": box["sandboxID"], "E2b-Sandbox-Port": str(E2B_PORT)}
    if isinstance(box.get("envdAccessToken"), str):
        headers["X-Access-Token"] = box["envdAccessToken"]
    try:
        url = f"{_e2b_address(base, box)}/execute"
        ask: dict[str, Any] = {
            "code": cell(program, stdin, wall_s, limits.output_bytes),
            "context_id": None,
            "env_vars": {},
        }
        text = exchange.ask("POST", url, ask, timeout_s=wall_s + SLACK_S, headers=headers)
    finally:
        try:
            exchange.ask("DELETE", f"{base}/sandboxes/{box['sandboxID']}", timeout_s=SLACK_S)
        except (Trouble, PonderError):
            pass  # it ends by itself when its time is up
    return _read_cell(url, text, limits)


def _e2b_address(base: str, box: dict[str, Any]) -> str:
    """Where the box's own server is: its host in E2B's cloud; one shared address, told by headers, elsewhere."""
    if os.environ.get("E2B_SANDBOX_URL"):
        return os.environ["E2B_SANDBOX_URL"].rstrip("/")
    if not base.startswith("https://api."):
        return base
    domain = box.get("domain") if isinstance(box.get("domain"), str) else base.removeprefix("https://api.")
    return f"https://{E2B_PORT}-{box['sandboxID']}.{domain}"


def _read_cell(url: str, text: str, limits: Limits) -> Outcome:
    """The report that the cell printed last. A stream that breaks off is trouble; a report that is none is a fail."""
    printed, ended, said = [], False, ""
    for line in text.splitlines():
        if line.strip():
            event = read_json(url, line)
            kind = event.get("type")
            printed += [_text(event.get("text"))] if kind == "stdout" else []
            said = f"{event.get('name')}: {event.get('value')}" if kind == "error" else said
            ended = ended or kind == "end_of_execution"
    if not ended:
        raise Trouble(f"{url} broke off its answer")
    try:
        report = json.loads("".join(printed).rstrip().rpartition("\n")[2])
        stdout = base64.b64decode(report["stdout"], validate=True)
        code = None if report["late"] else int(report["code"])
        cpu_s, wall_s, stderr = float(report["cpu_s"]), float(report["wall_s"]), _text(report["stderr"])
    except (ValueError, TypeError, KeyError, RecursionError):
        note = f"the box gave no report of the program {said}".strip()
        return Outcome("protocol", b"", "", 0.0, 0.0, None, note[:300])
    return outcome(code, stdout, stderr, limits, cpu_s=cpu_s, wall_s=wall_s, late=bool(report["late"]))


def check_e2b(exchange: Exchange, base: str) -> None:
    """The key opens a box and a program prints in it."""
    if "X-API-Key" not in exchange.headers:
        raise PonderError(f"E2B at {base} needs a key: put it in the environment variable E2B_API_KEY")
    told = run_e2b(exchange, base, "print(1)", b"", Limits())
    if told.stdout != b"1\n":
        raise PonderError(f"E2B at {base} ran a first program and got {told.status}: {told.note or told.stderr[-200:]}")


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


WIRES = {
    "fusion": Wire(
        "fusion", "SANDBOX_FUSION_API_KEY", _bearer, run_fusion, check_fusion,
        "start SandboxFusion: docker run --privileged -p 8080:8080 volcengine/sandbox-fusion",
    ),
    "piston": Wire(
        "piston", "PISTON_API_KEY", _bearer, run_piston, check_piston,
        "start Piston: docker run --privileged -p 2000:2000 -e PISTON_OUTPUT_MAX_SIZE=1048576 "
        "-e PISTON_RUN_TIMEOUT=20000 -e PISTON_RUN_CPU_TIME=20000 ghcr.io/engineer-man/piston",
    ),
    "e2b": Wire(
        "e2b", "E2B_API_KEY", lambda key: {"X-API-Key": key}, run_e2b, check_e2b, "see https://e2b.dev/docs for a key",
    ),
}  # fmt: skip
WIRES["fusion-open"] = Wire(
    "fusion-open", "SANDBOX_FUSION_API_KEY", _bearer, run_fusion,
    lambda exchange, base: None if exchange.ask("GET", f"{base}/v1/ping", timeout_s=SLACK_S) is not None else None,
    WIRES["fusion"].remedy,
)  # fmt: skip
