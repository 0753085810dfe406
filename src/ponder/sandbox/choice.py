"""Which sandbox this process grades with, where the caller does not say."""

from __future__ import annotations

import os
from typing import Any

VARIABLE = "PONDER_SANDBOX"
"""An environment variable, so that the processes of a run all follow it."""


def default_sandbox() -> Any:
    """What `$PONDER_SANDBOX` names (auto, full, nons, weak or an endpoint), started at first use and shared after.

    Raises SandboxUnavailable where this machine cannot wall a program off.
    """
    from ponder.sandbox.remote import sandbox_of

    return sandbox_of(os.environ.get(VARIABLE) or "auto")
