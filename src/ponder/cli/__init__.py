"""The command line: a command parses, then calls one public function. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script `ponder`."""
    from ponder.cli.app import run_app

    sys.exit(run_app(sys.argv[1:]))
