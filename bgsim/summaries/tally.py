"""The exact state of one output over a set of replicates, in integers alone.

A value adds one to a count, its mantissa to a sum and the square of that to another sum, in the block of its sign and
exponent. Integers add up to the same in any order. So a tally is a function of the set of replicates: any workers,
chunks and order of merging give the same bytes. The sums are those of Neal (2015, "Fast exact summation using small and
large superaccumulators"), with one accumulator for each exponent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.bounded import Quantile
from bgsim.errors import InvalidInputError
from bgsim.summaries import encoding, exact
from bgsim.summaries.exact import Sums
from bgsim.summaries.layout import (
    COUNTS,
    LARGE,
    NOTHING,
    SLOTS,
    WORDS,
    has_sums,
    key_count,
    limits,
    ordered,
    value_of,
    value_of_order,
)
from bgsim.summaries.quantiles import Buckets, of_buckets
from bgsim.summaries.words import add_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

MOST_ELEMENTS = 16_384
"""Of one replicate's value."""

_FIRST_BLOCKS = 64

_PIECE = 2**16
"""Values that are added at a time; they stay in the cache."""

_LEAST_ROWS = 256
"""Of wide arrays more are, for each element's blocks are fetched from memory."""


_OFFSETS = np.arange(SLOTS, dtype=np.uint64)
_HALF = np.uint64(2**32 - 1)


class Tally:
    """The exact state of one output over a set of replicates.

    One thread at a time may add or merge; any number may read what nobody changes.

    Parameters
    ----------
    dtype : dtype
        Of the output: a boolean, integer or float of at most 8 bytes.
    shape : tuple of int
        Of one replicate's value.

    Attributes
    ----------
    dtype : dtype
        In the machine's byte order.
    shape : tuple of int
    count : int
        Replicates.

    Raises
    ------
    InvalidInputError
        If there is no tally of such values.
    """

    def __init__(self, dtype: Any, shape: tuple[int, ...] = ()) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.shape = tuple(shape)
        reason = why_not(self.dtype, self.shape)
        if reason:
            raise InvalidInputError(reason, field="dtype", value=dtype)
        self.count = 0
        self._kind = "i" if self.dtype.kind == "b" else self.dtype.kind
        self._elements = math.prod(self.shape)
        self._keys = key_count(self._kind)
        self._used = np.ones(1, np.int64)  # row 0 of the blocks stands for none
        room = _FIRST_BLOCKS + 8 * self._elements
        self._owners = np.zeros(room, np.int64)
        self._words = np.zeros(room * WORDS, np.uint64)
        self._index = np.zeros((self._elements, self._keys), np.uint32)
        self._ends = np.tile(np.array(NOTHING, np.int64), (self._elements, 1))

        self._known_sums: tuple[int, list[Sums]] = (0, [])  # each change raises the count

    def add(self, values: NDArray[Any]) -> None:
        r"""Add replicates, without the GIL.

        Parameters
        ----------
        values : ndarray, shape (rows, \*shape)
            Of the tally's dtype, or one that it holds.
        """
        from bgsim.summaries import loops  # noqa: PLC0415 - numba

        loop, more = (loops.add_floats, ()) if self._kind == "f" else (loops.add_integers, (self._kind == "i",))
        flat = values.reshape(len(values), self._elements)
        piece = max(_LEAST_ROWS, _PIECE // max(1, self._elements))
        with np.errstate(over="ignore"):  # where the loop runs as plain Python
            for begin in range(0, len(values), piece):
                self._add(loop, patterns(flat[begin : begin + piece], self.dtype).T, more)
        self.count += len(values)

    def _add(self, loop: Callable[..., int], bits: NDArray[np.uint64], more: tuple[bool, ...]) -> None:
        position = 0
        while position < bits.size:
            position = loop(bits, position, self._index, self._owners, self._words, self._ends, self._used, *more)
            if position < bits.size:
                self._reserve(len(self._owners))

    def _reserve(self, further: int) -> None:
        """Make room for so many blocks more."""
        used, size = int(self._used[0]), len(self._owners)
        if used + further > size:
            size = max(used + further, 2 * size)
            owners, words = (
                np.zeros(size, np.int64),
                np.zeros(size * WORDS, np.uint64),
            )  # what is not used takes no memory
            owners[:used], words[: used * WORDS] = self._owners[:used], self._words[: used * WORDS]
            self._owners, self._words = owners, words

    def merge(self, other: Tally) -> None:
        """Add the replicates of another tally of the same dtype and shape, which stays as it is."""
        if (self.dtype, self.shape) != (other.dtype, other.shape):
            raise ValueError(f"a tally of {other.dtype} {other.shape} cannot join one of {self.dtype} {self.shape}")
        self.count += other.count
        self._ends[:, 0] += other._ends[:, 0]
        np.minimum(self._ends[:, 1], other._ends[:, 1], out=self._ends[:, 1])
        np.maximum(self._ends[:, 2], other._ends[:, 2], out=self._ends[:, 2])
        used = slice(1, int(other._used[0]))
        self._add_blocks(other._owners[used], other._blocks[used])

    def _add_blocks(self, owners: NDArray[np.int64], blocks: NDArray[np.uint64]) -> None:
        flat = self._index.reshape(-1)
        missing = owners[flat[owners] == 0]
        self._reserve(len(missing))
        begin = int(self._used[0])
        flat[missing] = np.arange(begin, begin + len(missing)) * WORDS
        self._owners[begin : begin + len(missing)] = missing
        self._used[0] += len(missing)
        rows = flat[owners] // WORDS
        joined = self._blocks[rows]
        add_words(joined[:, 0:2], blocks[:, 0:2])
        add_words(joined[:, 2:5], blocks[:, 2:5])
        joined[:, COUNTS:] += blocks[:, COUNTS:]
        self._blocks[rows] = joined

    def copy(self) -> Tally:
        """Return another tally of the same replicates."""
        found = Tally(self.dtype, self.shape)
        found.merge(self)
        return found

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return int(self._used[0]) * (WORDS + 1) * 8 + self._index.nbytes + self._ends.nbytes

    @property
    def valid(self) -> Any:
        """Replicates whose value is not NaN: an int, or an ndarray of int64 for each element."""
        return self._shaped(self.count - self._ends[:, 0])

    @property
    def mean(self) -> Any:
        """The mean, rounded once; NaN of no value."""
        return self._of_sums(exact.mean)

    @property
    def variance(self) -> Any:
        """The variance with ``valid - 1`` in the denominator, rounded once; NaN of fewer than two values."""
        return self._of_sums(exact.variance)

    @property
    def sd(self) -> Any:
        """The standard deviation: the root of the exact variance, rounded once."""
        return self._of_sums(exact.sd)

    @property
    def standard_error(self) -> Any:
        """The standard error of the mean: the root of the exact variance over `valid`, rounded once."""
        return self._of_sums(exact.standard_error)

    @property
    def minimum(self) -> Any:
        """The least value; NaN of none."""
        return self._end(1)

    @property
    def maximum(self) -> Any:
        """The greatest value; NaN of none."""
        return self._end(2)

    def quantile(self, q: float) -> Quantile:
        """Return the quantile of the values that are not NaN, between bounds that hold it.

        Parameters
        ----------
        q : float
            From 0 to 1.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, wanted: Sequence[float]) -> list[Quantile]:
        """Return several quantiles, which takes little more time than one."""
        found = [of_buckets(self.buckets(element), wanted) for element in range(self._elements)]
        table = np.array(found, np.float64).reshape(self._elements, len(wanted), 3).T
        return [Quantile(*map(self._shaped, table[:, i])) for i in range(len(wanted))]

    def buckets(self, element: int = 0) -> Buckets:
        """Return how the values of an element are distributed.

        Parameters
        ----------
        element : int
            Its place in the flattened value of a replicate.
        """
        keys, blocks = self._blocks_of(element)
        place, slots = np.nonzero(blocks[:, COUNTS:])
        held = keys[place]
        order = np.argsort(ordered(self._kind, held, slots))
        low, high = limits(self._kind, held[order], slots[order])
        for key, value in self._atoms(keys, blocks):
            (at,) = np.flatnonzero(held[order] == key)
            low[at] = high[at] = value
        least, greatest = (float(value_of_order(self._kind, self._ends[element, [end]])[0]) for end in (1, 2))
        counts = blocks[place, COUNTS + slots][order].astype(np.int64)
        return Buckets(np.maximum(low, least), np.minimum(high, greatest), counts)

    def _atoms(self, keys: NDArray[np.int64], blocks: NDArray[np.uint64]) -> Iterator[tuple[int, float]]:
        """Yield the key of each block that has one value alone, however often, and that value.

        So it is if ``n * sum(m * m)`` is ``sum(m)**2``, which is smaller of values that differ (Cauchy and Schwarz).
        """
        lone = has_sums(self._kind, keys) & (np.count_nonzero(blocks[:, COUNTS:], axis=1) == 1)
        counts = blocks[lone, COUNTS:].max(axis=1)
        for key, count, words in zip(keys[lone].tolist(), counts.tolist(), blocks[lone, :5].tolist(), strict=True):
            total, squares = exact.joined(words[:2]), exact.joined(words[2:])
            if count * squares == total * total:
                yield key, value_of(self._kind, key, total // count)

    def sums(self) -> list[Sums]:
        """Return the exact sums of each element's values."""
        known, found = self._known_sums
        if known != self.count or not found:
            found = [self._sums_of(element) for element in range(self._elements)]
            self._known_sums = self.count, found
        return found

    def _sums_of(self, element: int) -> Sums:
        keys, blocks = self._blocks_of(element)
        valid = self.count - int(self._ends[element, 0])
        return (_sums_of_floats if self._kind == "f" else _sums_of_integers)(valid, keys, blocks)

    def to_bytes(self) -> bytes:
        """Return the state as bytes; equal states have equal bytes."""
        order, owners = self._ordered()
        blocks = self._blocks[order]
        summed = has_sums(self._kind, owners % self._keys)
        return encoding.encode(self.count, self._ends, owners, blocks[summed, :5], blocks[:, COUNTS:])

    @classmethod
    def from_bytes(cls, dtype: Any, shape: tuple[int, ...], data: bytes) -> Tally:
        """Return the tally that has these bytes.

        Raises
        ------
        DamagedResultError
            If no tally of this dtype and shape has them.
        """
        found: Tally = encoding.checked(cls, dtype, shape)
        found._take(data)
        return found

    def _take(self, data: bytes) -> None:
        state = encoding.decode(data, self._kind, self._elements)
        rows = 1 + len(state.owners)
        self._reserve(rows)
        self.count, self._ends, self._used[0] = state.count, state.ends, rows
        self._owners[1:rows], self._blocks[1:rows] = state.owners, state.blocks
        self._index.reshape(-1)[state.owners] = np.arange(1, rows) * WORDS

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return (self.dtype, self.shape) == (other.dtype, other.shape) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Tally.from_bytes, (self.dtype, self.shape, self.to_bytes())

    def __repr__(self) -> str:
        return f"<Tally: {self.count:,} replicates of {self.dtype} {self.shape}>"

    @property
    def _blocks(self) -> NDArray[np.uint64]:
        """The blocks, a row each."""
        return self._words.reshape(-1, WORDS)

    def _ordered(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the blocks by element and key, and their owners."""
        owners = self._owners[1 : int(self._used[0])]
        order = np.argsort(owners)
        return order + 1, owners[order]

    def _blocks_of(self, element: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        keys = np.nonzero(self._index[element])[0]
        return keys, self._blocks[self._index[element, keys] // WORDS]

    def _of_sums(self, statistic: Callable[[Sums], float]) -> Any:
        return self._shaped(np.array([statistic(sums) for sums in self.sums()]))

    def _end(self, column: int) -> Any:
        order = self._ends[:, column]
        return self._shaped(np.where(self.count > self._ends[:, 0], value_of_order(self._kind, order), math.nan))

    def _shaped(self, values: NDArray[Any]) -> Any:
        return values.reshape(self.shape) if self.shape else values[0].item()


def why_not(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """Say why there is no tally of such values; empty if there is one."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        return f"a summary is of booleans and of integers and floats of at most 8 bytes, which {dtype} is not"
    if math.prod(shape) > MOST_ELEMENTS:
        return f"a summary is of at most {MOST_ELEMENTS:,} elements a replicate; got {math.prod(shape):,}"
    return ""


def patterns(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.uint64]:
    """Return values as 64 bits each: floats as doubles, others as integers."""
    wide = np.dtype({"f": "f8", "u": "u8"}.get(dtype.kind, "i8"))
    return values.astype(wide, copy=False).view(np.uint64)


def _sums_of_floats(valid: int, keys: NDArray[np.int64], blocks: NDArray[np.uint64]) -> Sums:
    exponents = np.maximum(keys & 2047, 1)
    finite = exponents != 2047
    infinite = {int(key): int(count) for key, count in zip(keys[~finite], blocks[~finite, COUNTS], strict=True)}
    base = int(exponents[finite].min(initial=2047))
    total = squares = 0
    rows = zip(keys[finite].tolist(), (exponents[finite] - base).tolist(), blocks[finite, :5].tolist(), strict=True)
    for key, shift, words in rows:
        magnitude = exact.joined(words[:2]) << shift
        total += magnitude if key < 2048 else -magnitude
        squares += exact.joined(words[2:]) << 2 * shift
    return Sums(valid, total, squares, base - 1075, infinite.get(2047, 0), infinite.get(4095, 0))


def _sums_of_integers(valid: int, keys: NDArray[np.int64], blocks: NDArray[np.uint64]) -> Sums:
    total = squares = 0
    small, counts = keys < LARGE, blocks[:, COUNTS:][keys < LARGE]
    weights = np.stack([_OFFSETS**0, _OFFSETS, _OFFSETS**2], axis=1)
    parts = zip((counts & _HALF) @ weights, (counts >> np.uint64(32)) @ weights, strict=True)
    for key, (low, high) in zip(keys[small].tolist(), parts, strict=True):
        n, first, second = ((b << 32) + a for a, b in zip(low.tolist(), high.tolist(), strict=True))
        begin = (key - LARGE // 2) * SLOTS
        total += n * begin + first
        squares += n * begin * begin + 2 * begin * first + second
    for key, words in zip(keys[~small].tolist(), blocks[~small, :5].tolist(), strict=True):
        magnitude = exact.joined(words[:2])
        total += magnitude if key < LARGE + 64 else -magnitude
        squares += exact.joined(words[2:])
    return Sums(valid, total, squares, 0)
