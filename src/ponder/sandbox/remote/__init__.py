"""Sandboxes elsewhere: SandboxFusion, Piston and E2B behind the face of `ponder.sandbox.jail.Sandbox`."""

from ponder.sandbox.remote.box import Remote, RemoteChild
from ponder.sandbox.remote.spec import sandbox_of

__all__ = ["Remote", "RemoteChild", "sandbox_of"]
