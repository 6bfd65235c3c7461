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
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bgsim.environment import first_rows, joined, versions_of
from bgsim.errors import DamagedResultError
from bgsim.parameters.fields import brief
from bgsim.storage.codec.codec import (
    BLOCK_BYTES,
    MAX_BLOCK_BYTES,
    Block,
    Layout,
    decode,
    encode_block,
    layout_of,
    rows_per_block,
)
from bgsim.storage.codec.columns import Columns, is_cut_at, moments, tally_moments
from bgsim.storage.codec.parallel import CORES, MAX_HELPERS, for_each
from bgsim.storage.codec.tallies import FORMS, decode_tally, encode_tally
from bgsim.summaries.column import Segment, TallyColumn, is_summary

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

_FILTER = 9
"""Where the filter stands in a row of `SELECT`."""


@dataclass(frozen=True, slots=True)
class Segments:
    """The rows of a result's replicates from `first` on, and the size of their data."""

    first: int
    rows: list[tuple[Any, ...]]
    size_bytes: int


def split(columns: Columns, first: int, result_hash: str) -> Segments:
    """Encode the replicates from `first` on, in blocks of one version each; large ones on all cores.

    Of a summary each tally is a block. If none of them begins at `first`, all are encoded, from 0 on.

    Raises
    ------
    StoreError
        If a column cannot be stored.
    """
    if 0 < first < len(next(iter(columns.values()))) and not is_cut_at(columns, first):
        first = 0
    pieces: list[_Piece] = list(_tallies(columns, first) if is_summary(columns) else _blocks(columns, first))
    found: list[Any] = [None] * len(pieces)

    def encode(index: int) -> None:
        position, name, start, values, text = pieces[index]
        label = _label(result_hash, position, name, start)
        if isinstance(values, np.ndarray):
            (block, data), statistics = encode_block(values, label), moments(values)
        else:
            (block, data), statistics = encode_tally(values, label), tally_moments(values)
        described = (block.dtype, json.dumps(block.shape), block.filter, block.raw_bytes, block.checksum)
        found[index] = (result_hash, position, start, block.shape[0], name, *described, *statistics, data, text)

    for_each(encode, range(len(pieces)), helpers=_helpers(sum([piece[3].nbytes for piece in pieces])))
    return Segments(first, found, sum(len(row[_DATA]) for row in found))


_Piece: TypeAlias = tuple[int, str, int, Any, str]
"""Position and name of a column, the first replicate of a block, its values or tally, and its versions."""


def _blocks(columns: Columns, first: int) -> Iterator[_Piece]:
    """Yield the values of each block from a replicate on."""
    versions = versions_of(columns, len(next(iter(columns.values()))))
    for position, (name, column) in enumerate(columns.items()):
        rows = rows_per_block(column.dtype, column.shape[1:])
        for begin, count, text in versions:
            end = begin + count
            for start in range(max(first, begin), end, rows):
                yield position, name, start, column[start : min(start + rows, end)], text


def _tallies(columns: Columns, first: int) -> Iterator[_Piece]:
    """Yield each tally from a replicate on."""
    versions = versions_of(columns, len(next(iter(columns.values()))))
    for position, (name, column) in enumerate(columns.items()):
        for segment in column.segments:
            if segment.first >= first:
                text = next(text for begin, count, text in versions if segment.first < begin + count)
                yield position, name, segment.first, segment.tally, text


def join(rows: Iterator[tuple[Any, ...]], result_hash: str, replicates: int) -> Columns:
    """Decode rows of `SELECT` into the first `replicates` of each column.

    Of a summary, into the tallies that lie within them.

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
        Read-only; none if no tally lies within them.

    Raises
    ------
    DamagedResultError
        If one is damaged or missing.
    """
    row = next(rows, None)
    rows = rows if row is None else chain((row,), rows)
    if row is not None and row[_FILTER] in FORMS:
        return _join_tallies(rows, result_hash, replicates)
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


def join_all(rows: Iterator[tuple[Any, ...]], result_hash: str, replicates: int) -> Columns:
    """Return what `join` returns, and refuse a result that has no column then.

    Raises
    ------
    DamagedResultError
    """
    columns = join(rows, result_hash, replicates)
    if not columns:
        raise DamagedResultError(f"its first tally covers more than the {replicates:,} replicates that it has")
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
    order = _Order()
    for row in rows:
        check_types(row[1:], _TYPES)
        _, _, declared, position, first, count, name, dtype, shape, kind, raw_bytes, checksum, data, text, blocks = row
        layout = layout_of(dtype, shape_of(shape))
        if order.begins(position, name, declared) and count < replicates:
            _check_room(layout, replicates, blocks)
            columns[name] = np.empty((replicates, *layout.shape[1:]), layout.dtype.newbyteorder("="))
        order.add(position, name, first, count, layout.shape[0])
        if not position:
            runs.append((count, text))
        label = f"{_label(result_hash, position, name, first)} {layout.text} {kind}"
        block = (layout, kind, raw_bytes, checksum, data, zlib.crc32(label.encode()))
        if not first and count >= replicates:
            columns[name] = decode(*block)[:replicates]
        else:
            yield partial(_decode_into, columns[name][first : first + count], *block)
    order.check(replicates)


class _Order:
    """Blocks as they come: column after column, each from replicate 0 on without a gap."""

    def __init__(self) -> None:
        self._filled: dict[str, int] = {}  # replicates of each column so far; the rows are of the last one
        self._last = ""
        self._outputs = 0

    def begins(self, position: int, name: str, outputs: int) -> bool:
        """Tell whether the next block begins a column; `outputs` is the number of columns that there should be."""
        self._outputs = outputs
        if position != len(self._filled) or name in self._filled:
            return False
        self._filled[name], self._last = 0, name
        return True

    def add(self, position: int, name: str, first: int, count: int, rows: int) -> None:
        """Add a block, whose shape has this number of rows.

        Raises
        ------
        DamagedResultError
            If it does not come next.
        """
        expected = len(self._filled) - 1, self._last
        if (position, name) != expected or first != self._filled[name] or rows != count:
            raise DamagedResultError(f"replicates {first} to {first + count} of column {name!r} are out of place")
        self._filled[name] += count

    def check(self, replicates: int) -> None:
        """Refuse the blocks if replicates or columns are missing.

        Raises
        ------
        DamagedResultError
        """
        least = min(self._filled.values(), default=0)
        if not self._filled or least < replicates:
            raise DamagedResultError(f"only {least} of {replicates} replicates are there")
        if len(self._filled) != self._outputs:
            raise DamagedResultError(f"{len(self._filled)} of {self._outputs} columns are there")


def _join_tallies(rows: Iterator[tuple[Any, ...]], result_hash: str, replicates: int) -> Columns:
    """Return the tallies that lie within the first `replicates`, of rows of a summary."""
    order, segments = _Order(), dict[str, list[Segment]]()
    runs: list[tuple[int, str]] = []
    for row in rows:
        check_types(row[1:], _TYPES)
        _, _, declared, position, first, count, name, dtype, text, kind, raw_bytes, checksum, data, versions, _ = row
        shape = shape_of(text)
        if order.begins(position, name, declared):
            segments[name] = []
        order.add(position, name, first, count, shape[0])
        if first + count <= replicates:
            block = Block(dtype, shape, kind, raw_bytes, checksum)
            tally = decode_tally(block, data, _label(result_hash, position, name, first))
            segments[name].append(Segment(first, count, tally))
            if not position:
                runs.append((count, versions))
    order.check(replicates)
    columns = Columns()
    columns.versions = joined(runs)
    if runs:
        columns.update({name: _tally_column(found) for name, found in segments.items()})
    if len({column.ends for column in columns.values()}) > 1:
        raise DamagedResultError("the tallies of its columns end at different replicates")
    return columns


def _tally_column(segments: list[Segment]) -> TallyColumn:
    kinds = {(type(each.tally), each.tally.dtype, each.tally.shape) for each in segments}
    if len(kinds) != 1:
        raise DamagedResultError("a column's tallies are of different types")
    return TallyColumn(segments)


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
