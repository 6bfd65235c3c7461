"""Results of a batch as a list that shows what differs, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bgsim.analysis.dataset import variables_of
from bgsim.analysis.points import Point, Points
from bgsim.analysis.summary import mean_with_error
from bgsim.tables import MOST_ROWS, Listing, Table

if TYPE_CHECKING:
    from bgsim.analysis.dataset import Variable
    from bgsim.summaries.of_columns import AnyResult

MOST_OUTPUTS = 4
"""Outputs that a row shows the mean of."""


def listed(results: Sequence[AnyResult]) -> Listing[Any]:
    """Return results as a list; shown, each has a row with the parameters that differ, and means of its outputs."""
    return Listing(results, _table)


def _table(results: Sequence[AnyResult]) -> Table:
    first = results[0]
    points = [Point(result.parameters, "completed", "", result) for result in results]
    varied = Points(first.simulation, first.fingerprint, 0, first.replicates, points, {}, {}).varied()
    outputs = [output for output in first.simulation.outputs if output.is_real_number][:MOST_OUTPUTS]
    variables = {variable.label: variable for variable in variables_of(outputs)}
    counts = {result.replicates for result in results}
    rows = [
        [
            number,
            *(values[number] for values in varied.values()),
            *(_mean(result, variable) for variable in variables.values()),
            *([result.replicates] if len(counts) > 1 else []),
        ]
        for number, result in enumerate(results[:MOST_ROWS])
    ]
    left_out = len(results) - len(rows)
    title = f"{len(results):,} {'result' if len(results) == 1 else 'results'} of {first.simulation.name}"
    remark = f"... and {left_out:,} more" if left_out else ""
    headings = ["job", *varied, *variables, *(["replicates"] if len(counts) > 1 else [])]
    return Table(headings, rows, title=title, remark=remark)


def _mean(result: AnyResult, variable: Variable) -> str:
    found = result.distribution(variable)
    return mean_with_error(float(found.statistic("mean")), float(found.statistic("standard_error")))
