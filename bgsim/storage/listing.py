"""Stored results as a table: what tells them apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bgsim.parameters.fields import brief
from bgsim.storage.times import ago
from bgsim.tables import Listing, Table, shown

if TYPE_CHECKING:
    from bgsim.storage.records import StoredResult

MOST_PARAMETERS = 6
"""Columns of parameters; the remark says how many more differ."""


def listing(results: Iterable[StoredResult]) -> Listing[StoredResult]:
    """Return stored results as a list that shows itself as a table."""
    return Listing(results, results_table)


def results_table(results: Sequence[StoredResult], *, most: int | None = 20) -> Table:
    """Return a table of stored results, with the parameters that differ, or all of a single one."""
    names = differing(results) if len(results) > 1 else [name for result in results for name in result.parameters]
    seeds = len({result.record.seed for result in results}) > 1
    kept = any(result.keep != "columns" for result in results)
    rows = []
    for result in results:
        values = [_cell(result.parameters.get(name)) for name in names[:MOST_PARAMETERS]]
        seed = [result.record.seed] if seeds else []
        what = result.hash[:12], result.simulation.rpartition(".")[2], result.replicates
        rows.append([*what, *([result.keep] if kept else []), *seed, *values, ago(result.created_at)])
    extra = [*(["keep"] if kept else []), *(["seed"] if seeds else [])]
    headings = ["result", "simulation", "replicates", *extra, *names[:MOST_PARAMETERS], "stored"]
    more = len(names) - MOST_PARAMETERS
    return Table(headings, rows, remark=f"{more} more parameters" if more > 0 else "", most=most)


def differing(results: Iterable[StoredResult]) -> list[str]:
    """Return the parameters whose values differ among the results of one simulation, in the simulations' order."""
    first: dict[tuple[str, str], str] = {}
    found: dict[str, bool] = {}
    for result in results:
        for name, value in result.parameters.items():
            text = brief(value)
            differs = first.setdefault((result.simulation, name), text) != text
            found[name] = found.get(name, False) or differs
    return [name for name, differs in found.items() if differs]


def _cell(value: object) -> str:
    return shown(value) if isinstance(value, int | float) else "" if value is None else brief(value)
