"""`python -m ponder`: the command line."""

from __future__ import annotations

from ponder.cli import main

if __name__ == "__main__":
    main()
