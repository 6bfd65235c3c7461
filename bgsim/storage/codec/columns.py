"""A result's columns, which can be stored, and the statistics that are stored with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.environment import Versions, versions_of
from bgsim.errors import StoreError, brief

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE = 8192
"""Values that `moments` works on at a time."""


class Columns(dict[str, "NDArray[Any]"]):
    """Output name to values, in the order of the outputs; the first axis is the replicates, from 0 on.

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
        """Return the first replicates, with their versions; the columns must have that many."""
        found = Columns({name: column[:replicates] for name, column in self.items()})
        found.versions = versions_of(self, replicates)
        return found


def checked_columns(columns: Mapping[str, NDArray[Any]], max_bytes: int, *, is_kept: bool = True) -> Columns:
    """Return the columns read-only, with their versions; those to be kept without the rest of a larger array.

    Raises
    ------
    StoreError
        If there are none, or they are empty, of different lengths, of objects, or larger than the limit.
    """
    for name, column in columns.items():
        if not isinstance(column, np.ndarray) or column.ndim == 0:
            raise StoreError(f"column {brief(name)} is no array with a row for each replicate")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise StoreError(f"a result needs columns of one length of 1 or more; got the lengths {sorted(lengths)}")
    for name, column in columns.items():
        if column.dtype.hasobject:
            raise StoreError(f"column {name!r} of dtype {column.dtype} cannot be stored; use numbers")
    size = sum([column.nbytes for column in columns.values()])
    if size > max_bytes:
        raise StoreError(
            f"a result of {size:,} bytes is larger than max_storage_bytes={max_bytes:,}; raise that, or ask for fewer "
            "replicates"
        )
    found = Columns()
    found.versions = versions_of(columns, lengths.pop())
    for name, column in columns.items():
        shares = is_kept and getattr(column.base, "nbytes", 0) > 2 * column.nbytes + 4096
        lone = column.copy() if shares else column
        lone.flags.writeable = False
        found[name] = lone
    return found


def kinds(columns: Mapping[str, NDArray[Any]]) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
    """Return name, dtype in the machine's byte order, and shape of a row of each column."""
    return [(name, column.dtype.newbyteorder("="), column.shape[1:]) for name, column in columns.items()]


def other_columns(result_hash: str) -> StoreError:
    """Return the error that refuses columns from a file for a result that is stored with others."""
    return StoreError(
        f"result {result_hash} is stored with columns of other names, dtypes or shapes; it is kept, this one is not "
        "stored. Delete it first, if it is the wrong one"
    )


def moments(values: NDArray[Any]) -> tuple[float | None, ...]:
    """Return mean, sum of squared differences from it, minimum and maximum; None unless real scalars, and finite."""
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
