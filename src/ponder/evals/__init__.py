"""Measuring: rows and figures of an evaluation, metrics with intervals, behaviours."""

from ponder.evals.behaviours import behaviour_metrics, behaviour_sums, group_sums, measure, spans
from ponder.evals.run import evaluate, merge, read_result, shard, spec_of, write_result
from ponder.evals.summary import compare, summary, validation_metrics

__all__ = [
    "behaviour_metrics", "behaviour_sums", "compare", "evaluate", "group_sums", "measure", "merge", "read_result",
    "shard", "spans", "spec_of", "summary", "validation_metrics", "write_result",
]  # fmt: skip
