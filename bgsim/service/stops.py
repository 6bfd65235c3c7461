"""Where a precision has ended a job, for a job that memory has, and for one of an earlier service."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from bgsim.precision import Precision
from bgsim.result import SimulationResult
from bgsim.running.looks import stopping_of
from bgsim.service.views import plain, read_object

if TYPE_CHECKING:
    from bgsim.precision import Stopping
    from bgsim.storage.base import Store
    from bgsim.storage.history import JobRow
    from bgsim.summaries.of_columns import AnyResult


class StoppingView(msgspec.Struct):
    """Where a precision has ended a job, and what it saw at each look."""

    replicates: int
    reached: bool
    looks: list[dict[str, Any]]


def stopping_view(store: Store, row: JobRow, result: AnyResult) -> StoppingView | None:
    """Return where a precision has ended a job; None if none was asked for, or it has not."""
    text = read_object(row.options).get("precision")
    if text is None or row.state != "completed":
        return None
    found = result.stopping or _looked_again(store, row, result, Precision.from_json(text))
    if found is None:
        return None
    looks = [
        {
            "replicates": look.replicates,
            "reached": look.reached,
            "outputs": {name: plain(asdict(seen)) for name, seen in look.outputs.items()},
        }
        for look in found.looks
    ]
    return StoppingView(found.replicates, found.reached, looks)


def _looked_again(store: Store, row: JobRow, result: AnyResult, precision: Precision) -> Stopping | None:
    """Return the same of what is stored: where a precision stops is a function of the replicates."""
    rows: Any = result if isinstance(result, SimulationResult) else store.load(row.result_hash, result.replicates)
    return None if rows is None else stopping_of(precision, rows)
