"""One self-contained HTML page per run."""

from ponder.report.page import build_report

__all__ = ["build_report"]
