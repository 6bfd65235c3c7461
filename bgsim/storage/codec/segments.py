"""A result's columns as rows of the file, and back."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.environment import first_rows, joined, versions_of
from bgsim.errors import DamagedResultError
from bgsim.parameters.fields import brief
from bgsim.storage.codec.codec import (
    BLOCK_BYTES,
    MAX_BLOCK_BYTES,
    Layout,
    decode,
    encode_block,
    layout_of,
    rows_per_block,
)
from bgsim.storage.codec.columns import Columns, moments
from bgsim.storage.codec.parallel import CORES, MAX_HELPERS, for_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSERT = (
    "INSERT INTO blocks (hash, position, first, count, name, dtype, shape, filter, raw_bytes, checksum, mean, squares, "
    "minimum, maximum, data, versions)"
)
"""Of rows as `split` makes them."""

SELECT = (
    "SELECT r.identity, r.replicates, r.outputs, b.position, b.first, b.count, b.name, b.dtype, b.shape, b.filter, "
    "b.raw_bytes, b.checksum, b.data, b.versions, (SELECT count(*) FROM blocks WHERE hash = ?1) "
    "FROM results r JOIN blocks b ON b.hash = r.hash WHERE r.hash = ?1 AND b.first < ?2 ORDER BY b.position, b.first"
)
"""The rows of a result's first replicates, as `join` takes them: columns of the result, then of the block, and last how
many blocks the whole result has."""

MOST = 2**62
"""More replicates than there are."""

_PARALLEL_BYTES = 2 * BLOCK_BYTES
"""The other cores help from this size on: their threads take 0.1 ms to start."""


_SHAPE = re.compile(r"\[[0-9]{1,19}(?:, ?[0-9]{1,19}){0,31}\]")
"""Replicates first, then the lengths of an array output."""

_TYPES = (int, int, int, int, int, str, str, str, str, int, int, bytes, str, int)
"""Of the columns of `SELECT` but the identity."""

_DATA = -2
"""Where the bytes stand in a row."""


@dataclass(frozen=True, slots=True)
class Segments:
    """The rows of a result's replicates from `first` on, and the size of their data."""

    first: int
    rows: list[tuple[Any, ...]]
    size_bytes: int


def split(columns: Columns, first: int, result_hash: str) -> Segments:
    """Encode the replicates from `first` on, in blocks of one version each; large ones on all cores.

    Raises
    ------
    StoreError
        If a column cannot be stored.
    """
    versions = versions_of(columns, len(next(iter(columns.values()))))
    jobs = []
    for position, (name, column) in enumerate(columns.items()):
        rows = rows_per_block(column.dtype, column.shape[1:])
        for begin, count, text in versions:
            end = begin + count
            for start in range(max(first, begin), end, rows):
                jobs.append((position, name, start, column[start : min(start + rows, end)], text))
    found: list[Any] = [None] * len(jobs)

    def encode(index: int) -> None:
        position, name, start, values, text = jobs[index]
        block, data = encode_block(values, _label(result_hash, position, name, start))
        described = (block.dtype, json.dumps(block.shape), block.filter, block.raw_bytes, block.checksum)
        found[index] = (result_hash, position, start, len(values), name, *described, *moments(values), data, text)

    for_each(encode, range(len(jobs)), helpers=_helpers(sum(job[3].nbytes for job in jobs)))
    return Segments(first, found, sum(len(row[_DATA]) for row in found))


def join(rows: Iterator[tuple[Any, ...]], result_hash: str, replicates: int) -> Columns:
    """Decode rows of `SELECT` into the first `replicates` of each column.

    Parameters
    ----------
    rows : iterator of tuple
        Drawn one at a time, as needed; by all cores where a column has several blocks.
    result_hash : str
    replicates : int
        At most those that are stored.

    Returns
    -------
    Columns
        Read-only.

    Raises
    ------
    DamagedResultError
        If one is damaged or missing.
    """
    columns = Columns()
    runs: list[tuple[int, str]] = []
    decodings = _decodings(rows, columns, runs, result_hash, replicates)
    first = next(decodings, None)
    if first is not None:  # a column of several blocks
        for_each(_call, chain((first,), decodings), helpers=_helpers(_PARALLEL_BYTES))
    for column in columns.values():
        column.flags.writeable = False
    columns.versions = first_rows(joined(runs), replicates)
    return columns


def _decodings(
    rows: Iterable[tuple[Any, ...]],
    columns: Columns,
    runs: list[tuple[int, str]],
    result_hash: str,
    replicates: int,
) -> Iterator[Callable[[], object]]:
    """Decode columns of one block, and yield for each block of a longer column a function that decodes it into place.

    Checks that the rows follow each other, and adds the versions of the first column's blocks to `runs`.
    """
    filled: list[int] = []  # replicates of each column so far
    outputs, current = 0, None  # the column that rows are of
    for row in rows:
        check_types(row[1:], _TYPES)
        _, _, declared, position, first, count, name, dtype, shape, kind, raw_bytes, checksum, data, text, blocks = row
        layout = layout_of(dtype, shape_of(shape))
        if position == len(filled) and name not in columns:
            filled.append(0)
            current = name
            if count < replicates:
                _check_room(layout, replicates, blocks)
                columns[name] = np.empty((replicates, *layout.shape[1:]), layout.dtype.newbyteorder("="))
        expected = len(filled) - 1, current
        if (position, name) != expected or first != filled[position] or layout.shape[0] != count:
            raise DamagedResultError(f"replicates {first} to {first + count} of column {name!r} are out of place")
        filled[position] += count
        if not position:
            runs.append((count, text))
        outputs = declared
        label = f"{result_hash} {position} {name} {first} {layout.text} {kind}"
        block = (layout, kind, raw_bytes, checksum, data, zlib.crc32(label.encode()))
        if not first and count >= replicates:
            columns[name] = decode(*block)[:replicates]
        else:
            yield partial(_decode_into, columns[name][first : first + count], *block)
    if not filled or min(filled) < replicates:
        raise DamagedResultError(f"only {min(filled, default=0)} of {replicates} replicates are there")
    if len(filled) != outputs:
        raise DamagedResultError(f"{len(filled)} of {outputs} columns are there")


def check_types(values: Sequence[object], types: tuple[type, ...]) -> None:
    """Refuse values that are not of these types; damage may have put anything in the place of any.

    Raises
    ------
    DamagedResultError
    """
    for value, of in zip(values, types, strict=True):
        if type(value) is not of:
            raise DamagedResultError(f"a block's description has {brief(value)} in the place of {of.__name__}")


def _check_room(layout: Layout, replicates: int, blocks: int) -> None:
    """Refuse a number of replicates that so few blocks cannot hold, before there is room made for them."""
    row_bytes = layout.dtype.itemsize * math.prod(layout.shape[1:])
    if replicates * row_bytes > blocks * MAX_BLOCK_BYTES:
        raise DamagedResultError(f"{blocks} blocks cannot hold {replicates:,} replicates of {row_bytes:,} bytes each")


def _decode_into(
    target: NDArray[Any], layout: Layout, kind: str, raw_bytes: int, checksum: int, data: bytes, begun: int
) -> None:
    if layout.dtype.newbyteorder("=") != target.dtype or layout.shape[1:] != target.shape[1:]:
        raise DamagedResultError("a column's blocks are of different types")
    if len(target) == layout.shape[0] and target.size:
        decode(layout, kind, raw_bytes, checksum, data, begun, target)
    else:
        target[...] = decode(layout, kind, raw_bytes, checksum, data, begun)[: len(target)]


def _call(function: Callable[[], object]) -> None:
    function()


@lru_cache(maxsize=256)
def shape_of(text: str) -> tuple[int, ...]:
    """Return the shape that a description names.

    Raises
    ------
    DamagedResultError
        If bgsim never writes it.
    """
    if _SHAPE.fullmatch(text) is None:
        raise DamagedResultError(f"a block cannot have the shape {brief(text)}")
    return tuple(json.loads(text))


def _label(result_hash: str, position: int, name: str, first: int) -> str:
    return f"{result_hash} {position} {name} {first}"


def _helpers(raw_bytes: int) -> int:
    return min(CORES - 1, MAX_HELPERS) if raw_bytes >= _PARALLEL_BYTES else 0
