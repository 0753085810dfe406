"""Run untrusted programs behind walls, or not at all."""
