"""`--sandbox SPEC` as an object."""

from __future__ import annotations

import os

from ponder.core.errors import PonderError
from ponder.sandbox.jail import Sandbox, get_sandbox
from ponder.sandbox.remote.box import Remote
from ponder.sandbox.remote.wires import WIRES

LOCAL = ("auto", "full", "nons", "weak")


def sandbox_of(spec: str, *, check: bool = True) -> Sandbox | Remote:
    """The sandbox that a word names.

    Args:
        spec: "auto", "full", "nons" or "weak" for this machine; "fusion:URL", "fusion-open:URL", "piston:URL",
            "e2b" (its cloud) or "e2b:URL" for a service. Several addresses are parted by commas.
        check: ask the service at once whether it is fit for use, so that a mistake is told before any work.
    Raises:
        PonderError: an unknown word, an address that is none, a service that is not usable; SandboxUnavailable, a
            PonderError too, where this machine cannot isolate.
    """
    if spec in LOCAL:
        return get_sandbox(spec)
    service, _, addresses = spec.partition(":")
    if service not in WIRES:
        known = ", ".join([*LOCAL, *(f"{name}:http://..." for name in WIRES), "e2b"])
        raise PonderError(f"sandbox {spec!r} is unknown; known are {known}")
    bases = [address.strip() for address in addresses.split(",") if address.strip()]
    if service == "e2b" and not bases:
        bases = [f"https://api.{os.environ.get('E2B_DOMAIN', 'e2b.app')}"]
    remote = Remote(service, bases)
    if check:
        remote.check()
    return remote
