"""The trusted code that runs inside a child, as source text: the codec, then one side of the conversation.

A child holds either the program (`candidate`) or the test (`judge`), never both; the expected values stay with the
test or outside. A driver is read as text and not imported here, so nothing of Ponder is needed behind the walls.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent


def driver(name: str) -> str:
    """The whole text for `Sandbox.open` of drivers/{name}.py, codec included."""
    codec = (HERE.parent / "codec.py").read_text(encoding="utf-8")
    side = (HERE / f"{name}.py").read_text(encoding="utf-8")
    lines = [line for line in side.splitlines() if not line.startswith(("from __future__", "from ponder"))]
    return codec + "\n" + "\n".join(lines) + "\nserve(payload, read_frame, write_frame)\n"


CANDIDATE = driver("candidate")
JUDGE = driver("judge")
