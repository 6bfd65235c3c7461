"""A result's columns, which can be stored, and the statistics that are stored with them.

A result keeps the rows of its replicates, as arrays, or a summary of them, as `TallyColumn`s: never both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bgsim.environment import Versions, versions_of
from bgsim.errors import StoreError, brief
from bgsim.summaries.column import TallyColumn, is_summary
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

ROWS, TALLY, PAIRS = "rows", "tally", "pairs"
"""Forms of a column: an array, a `TallyColumn` of `Tally`s, and one of `PairTally`s."""

_PIECE = 8192
"""Values that `moments` works on at a time."""


class Columns(dict[str, Any]):
    """Output name to column, in the order of the outputs, from replicate 0 on.

    All columns are arrays, whose first axis is the replicates, or all are `bgsim.summaries.column.TallyColumn`s.

    Attributes
    ----------
    versions : tuple of (int, int, str)
        The NumPy and numba that computed each run of rows; see `bgsim.environment.Versions`. Until it is set, and of a
        plain dict, `versions_of` says that they are unknown.
    """

    __slots__ = ("versions",)  # a dict of attributes would cost a hit from a slot a tenth

    versions: Versions

    def copy(self) -> Columns:
        """Return the same columns in another dict, with their versions."""
        found = Columns(self)
        found.versions = getattr(self, "versions", ())
        return found

    def first(self, replicates: int) -> Columns:
        """Return the first replicates, with their versions; the columns must have that many.

        Of a summary, those of the segments that lie within them: these may be fewer, and if there are none, no column
        is returned.
        """
        if not is_summary(self):
            found = Columns({name: column[:replicates] for name, column in self.items()})
            found.versions = versions_of(self, replicates)
            return found
        tallies = {name: column.whole(replicates) for name, column in self.items()}
        covered = len(next(iter(tallies.values())))
        found = Columns(tallies if covered else {})
        found.versions = versions_of(self, covered) if covered else ()
        return found


def kept_of_outputs(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is kept of each output: its rows, or the tally of all its replicates."""
    if not is_summary(columns):
        return columns
    return {name: column.tally() for name, column in columns.items() if form_of(column) != PAIRS}


def is_cut_at(columns: Mapping[str, Any], replicates: int) -> bool:
    """Tell whether as many first replicates can be had: a tally is not cut."""
    return not is_summary(columns) or replicates in next(iter(columns.values())).ends


def checked_columns(columns: Mapping[str, Any], max_bytes: float, *, is_kept: bool = True) -> Columns:
    """Return the columns, with their versions; arrays read-only, those to be kept without the rest of a larger one.

    Raises
    ------
    StoreError
        If there are none, or they are empty, of different lengths, of objects, or larger than the limit; if some are
        arrays and others tallies, or tallies that do not end at the same replicates.
    """
    tallied = any(isinstance(column, TallyColumn) for column in columns.values())
    for name, column in columns.items():
        if not isinstance(column, TallyColumn if tallied else np.ndarray) or column.ndim == 0:
            what = "tally as the others are" if tallied else "array with a row for each replicate"
            raise StoreError(f"column {brief(name)} is no {what}")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise StoreError(f"a result needs columns of one length of 1 or more; got the lengths {sorted(lengths)}")
    for name, column in columns.items():
        if column.dtype.hasobject:
            raise StoreError(f"column {name!r} of dtype {column.dtype} cannot be stored; use numbers")
    if tallied:
        _check_ends(columns)
    size = sum([column.nbytes for column in columns.values()])
    if size > max_bytes:
        raise too_large(size, max_bytes)
    found = Columns()
    found.versions = versions_of(columns, lengths.pop())
    if tallied:
        found.update(columns)
        return found
    for name, column in columns.items():
        shares = is_kept and getattr(column.base, "nbytes", 0) > 2 * column.nbytes + 4096
        lone = column.copy() if shares else column
        lone.flags.writeable = False
        found[name] = lone
    return found


def too_large(size_bytes: int, max_bytes: float) -> StoreError:
    """Return the error that refuses a result that is larger than the limit."""
    return StoreError(
        f"a result of {size_bytes:,} bytes is larger than max_storage_bytes={max_bytes:,}; raise that, or ask for "
        "fewer replicates"
    )


def _check_ends(columns: Mapping[str, TallyColumn]) -> None:
    """Refuse tallies that end at different replicates, or within one of which the versions change.

    Raises
    ------
    StoreError
    """
    name, first = next(iter(columns.items()))
    for other, column in columns.items():
        if column.ends != first.ends:
            raise StoreError(
                f"the tallies of one result end at the same replicates; those of {name!r} end at {brief(first.ends)}, "
                f"those of {other!r} at {brief(column.ends)}"
            )
    changes = {begin + count for begin, count, _ in versions_of(columns, len(first))}
    if not changes <= {*first.ends}:
        raise StoreError(f"the versions change at {sorted(changes)}, and a tally is of one; it ends at {first.ends}")


def form_of(column: Any) -> str:
    """Return the form of a column: `ROWS`, `TALLY` or `PAIRS`."""
    if not isinstance(column, TallyColumn):
        return ROWS
    return PAIRS if isinstance(column.segments[0].tally, PairTally) else TALLY


def kinds(columns: Mapping[str, Any]) -> list[tuple[str, np.dtype[Any], tuple[int, ...], str]]:
    """Return name, dtype in the machine's byte order, shape of one replicate's value, and form of each column."""
    return [(name, c.dtype.newbyteorder("="), c.shape[1:], form_of(c)) for name, c in columns.items()]


def other_columns(result_hash: str) -> StoreError:
    """Return the error that refuses columns from a file for a result that is stored with others."""
    return StoreError(
        f"result {result_hash} is stored with columns of other names, dtypes or shapes; it is kept, this one is not "
        "stored. Delete it first, if it is the wrong one"
    )


def moments(values: Any) -> tuple[float | None, ...]:
    """Return mean, sum of squared differences from it, minimum and maximum of a column, an array or a `TallyColumn`.

    None unless of real scalars, and finite.
    """
    if isinstance(values, TallyColumn):
        return tally_moments(values.tally()) if values.ndim == 1 else (None, None, None, None)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        return (None, None, None, None)
    if len(values) == 1:
        only = float(values[0])
        return (only, 0.0, only, only) if math.isfinite(only) else (None, None, None, None)
    with np.errstate(all="ignore"):
        mean = float(values.mean(dtype=np.float64))
        squares = 0.0
        for start in range(0, len(values), _PIECE):  # in pieces that stay in the cache
            centred = values[start : start + _PIECE] - mean
            squares += float(centred @ centred)
        found = (mean, squares, float(values.min()), float(values.max()))
    return tuple(value if math.isfinite(value) else None for value in found)


def block_moments(column: Any, first: int, count: int) -> tuple[float | None, ...]:
    """Return what `moments` returns of a block of a column: of rows, or of the tally that begins at `first`."""
    if isinstance(column, TallyColumn):
        return tally_moments(next(each.tally for each in column.segments if each.first == first))
    return moments(column[first : first + count])


def tally_moments(tally: Tally | PairTally) -> tuple[float | None, ...]:
    """Return what `moments` returns of the values that a tally has."""
    if isinstance(tally, PairTally) or tally.shape or tally.valid != tally.count:
        return (None, None, None, None)
    squares = tally.variance * (tally.count - 1) if tally.count > 1 else 0.0 * tally.mean
    found = (float(tally.mean), float(squares), float(tally.minimum), float(tally.maximum))
    return tuple(value if math.isfinite(value) else None for value in found)
