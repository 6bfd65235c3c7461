"""Results of a batch as a list that shows what differs, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bgsim.analysis import statistics
from bgsim.analysis.points import Point, Points
from bgsim.analysis.summary import mean_with_error
from bgsim.tables import MOST_ROWS, Listing, Table

if TYPE_CHECKING:
    from bgsim.result import SimulationResult

MOST_OUTPUTS = 4
"""Outputs that a row shows the mean of."""


def listed(results: Sequence[SimulationResult]) -> Listing[SimulationResult]:
    """Return results as a list; shown, each has a row with the parameters that differ, and means of its outputs."""
    return Listing(results, _table)


def _table(results: Sequence[SimulationResult]) -> Table:
    first = results[0]
    points = [Point(result.parameters, "completed", "", result) for result in results]
    varied = Points(first.simulation, first.fingerprint, first.seed, first.replicates, points, {}, {}).varied()
    names = [output.name for output in first.simulation.outputs if output.is_real_number][:MOST_OUTPUTS]
    rows = [
        [number, *(values[number] for values in varied.values()), *(_mean(result, name) for name in names)]
        for number, result in enumerate(results[:MOST_ROWS])
    ]
    left_out = len(results) - len(rows)
    title = f"{len(results):,} {'result' if len(results) == 1 else 'results'} of {first.simulation.name}"
    remark = f"... and {left_out:,} more" if left_out else ""
    return Table(["job", *varied, *names], rows, title=title, remark=remark)


def _mean(result: SimulationResult, name: str) -> str:
    with statistics.quiet():
        values = statistics.numbers(result[name])
        return mean_with_error(float(statistics.mean(values)), float(statistics.standard_error(values)))
