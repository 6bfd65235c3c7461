"""A result's columns, and which can be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Columns: TypeAlias = "dict[str, NDArray[Any]]"
"""Output name to values, in the order of the outputs; the first axis is the replicates, from 0 on."""


def checked_columns(columns: Columns, max_bytes: int) -> Columns:
    """Return the columns read-only, without memory that they do not use.

    Raises
    ------
    StoreError
        If they cannot be stored: none, of different lengths, empty, of objects, or more than the limit.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise StoreError(f"a result needs columns of one length of 1 or more; got the lengths {sorted(lengths)}")
    for name, column in columns.items():
        if column.dtype.hasobject:
            raise StoreError(f"column {name!r} of dtype {column.dtype} cannot be stored; use numbers")
    size = sum(column.nbytes for column in columns.values())
    if size > max_bytes:
        raise StoreError(
            f"a result of {size:,} bytes is larger than max_storage_bytes={max_bytes:,}; raise that, or ask for fewer "
            "replicates"
        )
    found = {}
    for name, column in columns.items():
        base = column.base
        lone = column.copy() if getattr(base, "nbytes", 0) > 2 * column.nbytes + 4096 else column
        lone.flags.writeable = False
        found[name] = lone
    return found
