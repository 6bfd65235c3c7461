"""A summary as arrays of bytes, for a ``.npz`` file, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.errors import StoreError, brief
from bgsim.storage.codec.codec import dtype_text
from bgsim.storage.codec.columns import Columns, form_of
from bgsim.storage.codec.tallies import FORMS, read_tally
from bgsim.summaries.column import Segment, TallyColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def to_arrays(columns: Columns) -> tuple[dict[str, NDArray[np.uint8]], list[dict[str, Any]]]:
    """Return the bytes of each tally by a name of its own, and a description of each, for JSON."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    described: list[dict[str, Any]] = []
    for name, column in columns.items():
        of_all = {"name": name, "form": form_of(column), "dtype": dtype_text(column.dtype.newbyteorder("<"))}
        for segment in column.segments:
            array = f"{name}.{segment.first}"
            arrays[array] = np.frombuffer(segment.tally.to_bytes(), np.uint8)
            place = {"first": segment.first, "count": segment.count, "shape": column.shape[1:]}
            described.append({"array": array, **of_all, **place})
    return arrays, described


def from_arrays(arrays: Mapping[str, NDArray[Any]], described: Any) -> Columns:
    """Return the columns of which `to_arrays` returned these.

    Raises
    ------
    StoreError, ValueError, KeyError, TypeError
        If it did not.
    """
    segments: dict[str, list[Segment]] = {}
    for each in described:
        array, name, form, shape = arrays[each["array"]], each["name"], each["form"], each["shape"]
        if array.dtype != np.uint8 or array.ndim != 1 or type(name) is not str or form not in FORMS:
            raise StoreError(f"there is no {brief(form)} of {brief(name)} in {brief(each['array'])}")
        if type(each["dtype"]) is not str or not all(type(length) is int for length in shape):
            raise StoreError(f"the tally {brief(name)} is of {brief(each['dtype'])} {brief(shape)}")
        tally = read_tally(form, each["dtype"], tuple(shape), array.tobytes())
        segments.setdefault(name, []).append(Segment(each["first"], each["count"], tally))
    if not segments:
        raise StoreError("there is no tally in it")
    return Columns({name: TallyColumn(found) for name, found in segments.items()})
