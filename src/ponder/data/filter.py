"""Which traces are good enough to learn from: named filters, one after another, and a table of what each of them took.

A trace is a row of `ponder.data.trace`. A filter looks at all that is left and names those that it takes, each with a
reason; what stays is passed on untouched, so every row keeps its provenance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ponder.core.errors import PonderError
from ponder.data.filter_settings import FilterSettings
from ponder.data.held_out import EvaluationSet
from ponder.data.sieves import FILTERS, Given, Trace, named, pass_rates, problem_id, verdict_of

__all__ = ["FilterSettings", "Took", "filter_traces", "pass_rates", "table_as_json", "verdict_of"]

EXAMPLES = 3


@dataclass(frozen=True)
class Took:
    """One row of the table: what a filter met, took and left. reasons: count by reason. examples: `id/sample`."""

    filter: str
    before: int
    taken: int
    after: int
    reasons: Mapping[str, int]
    examples: tuple[str, ...]


def filter_traces(
    traces: Sequence[Trace], settings: FilterSettings, against: Sequence[EvaluationSet] = ()
) -> tuple[list[Trace], list[Took]]:
    """The traces that pass every filter, in their order and untouched, and the table: one row a filter that was on.

    against: evaluation sets besides those that `settings.against` names (those are the caller's to load, with
        `ponder.data.held_out.evaluation_sets`). Raises PonderError where a row lacks what a filter needs.
    """
    rows = [_checked(number, trace) for number, trace in enumerate(traces, 1)]
    given = Given(settings, against, rows)
    table = []
    for name, (is_on, take) in FILTERS.items():
        if not is_on(given):
            continue
        taken = take(rows, given)
        examples = tuple(named(rows[place]) for place in list(taken)[:EXAMPLES])
        table.append(Took(name, len(rows), len(taken), len(rows) - len(taken), dict(Counter(taken.values())), examples))
        rows = [row for place, row in enumerate(rows) if place not in taken]
    return rows, table


def table_as_json(table: Sequence[Took], traces: Sequence[Trace], kept: Sequence[Trace]) -> dict[str, Any]:
    """For table.json: the table, problems before and after, and rows that came without provenance."""
    return {
        "rows": len(traces),
        "kept": len(kept),
        "problems": len({problem_id(row) for row in traces}),
        "problems_kept": len({problem_id(row) for row in kept}),
        "without_provenance": sum(not row.get("provenance") for row in kept),
        "filters": [asdict(row) for row in table],
    }


def _checked(number: int, trace: Trace) -> Trace:
    for name in ("problem", "completion"):
        if not isinstance(trace.get(name), str):
            found = ", ".join(map(str, trace)) or "nothing"
            raise PonderError(f"row {number}: no {name} that is text; a trace needs it (columns: {found})")
    if not isinstance(trace.get("data") or {}, Mapping):
        raise PonderError(f"row {number}: data is a {type(trace['data']).__name__}; give an object, or leave it out")
    return trace
