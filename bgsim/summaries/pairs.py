"""The exact state of two outputs that are looked at together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.summaries import encoding, exact
from bgsim.summaries.exact import Sums
from bgsim.summaries.tally import patterns
from bgsim.summaries.words import add_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE = 4096
"""Rows of one output's sums: a sign and a biased exponent of 11 bits."""

_PRODUCTS = 8192
"""Rows of the sums of products: a sign and a sum of two exponents."""

_KINDS = {"f": 0, "b": 1, "i": 1, "u": 2}


class PairTally:
    """The exact sums of x, y, x*x, y*y and x*y over the pairs in which neither is NaN.

    One thread at a time may add or merge; any number may read what nobody changes.

    Attributes
    ----------
    dtype : dtype
        float64.
    shape : tuple
        Empty: both outputs are real scalars.
    count : int
        Replicates.
    """

    dtype = np.dtype(np.float64)
    shape: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.count = 0
        # Sum of magnitudes (2 words) and of squares (3), of x and of y behind it; sum of magnitudes of products (3).
        self._sides = np.zeros((2 * _SIDE, 5), np.uint64)
        self._products = np.zeros((_PRODUCTS, 3), np.uint64)
        self._tail = np.zeros(5, np.int64)  # valid pairs; x above, x below, y above, y below every number

    def add(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Add replicates, without the GIL.

        Parameters
        ----------
        x, y : ndarray, shape (rows,)
            Of real numbers.
        """
        from bgsim.summaries import loops  # noqa: PLC0415 - numba

        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(f"a pair is of two columns of one length; got {x.shape} and {y.shape}")
        kinds = (_KINDS[column.dtype.kind] for column in (x, y))
        with np.errstate(over="ignore"):  # where the loop runs as plain Python
            loops.add_pairs(patterns(x, x.dtype), patterns(y, y.dtype), *kinds, *self._flat())
        self.count += len(x)

    def merge(self, other: PairTally) -> None:
        """Add the replicates of another one, which stays as it is."""
        self.count += other.count
        self._tail += other._tail
        add_words(self._sides[:, :2], other._sides[:, :2])
        add_words(self._sides[:, 2:], other._sides[:, 2:])
        add_words(self._products, other._products)

    def copy(self) -> PairTally:
        """Return another one of the same replicates."""
        found = PairTally()
        found.merge(self)
        return found

    def _flat(self) -> tuple[NDArray[Any], ...]:
        return self._sides.reshape(-1), self._products.reshape(-1), self._tail

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return self._sides.nbytes + self._products.nbytes + self._tail.nbytes

    @property
    def valid(self) -> int:
        """Pairs in which neither is NaN."""
        return int(self._tail[0])

    @property
    def x(self) -> Sums:
        """The sums of the first output over the valid pairs."""
        return self._side(0)

    @property
    def y(self) -> Sums:
        """The sums of the second one."""
        return self._side(1)

    @property
    def covariance(self) -> float:
        """The covariance, over ``valid - 1``, rounded once; NaN of fewer than two pairs or of infinities."""
        n = self.valid
        if n < 2 or self._tail[1:].any():
            return math.nan
        return exact.divided(self._deviations()[2], n * (n - 1), -2150)

    @property
    def correlation(self) -> float:
        """The correlation, rounded once; NaN if an output does not vary, and of infinities."""
        xx, yy, xy = self._deviations()
        if self._tail[1:].any() or not (xx and yy):
            return math.nan
        size = exact.root(xy * xy, xx * yy, 0)
        return size if xy >= 0 else -size

    def to_bytes(self) -> bytes:
        """Return the state as bytes; equal states have equal bytes.

        All integers are little-endian: ``1`` (a byte, the version); replicates, valid pairs, infinities of x above and
        below and of y, and how many rows of the sums of both outputs and of products are not 0 (8 bytes each); the
        numbers of those rows, in rising order (8 each); the rows (5 words of 8 of the outputs, 3 of the products).
        """
        rows = [np.flatnonzero(words.any(axis=1)) for words in (self._sides, self._products)]
        parts = (
            np.array([1], np.uint8),
            np.array([self.count, *self._tail, len(rows[0]), len(rows[1])], "<i8"),
            rows[0].astype("<i8"),
            rows[1].astype("<i8"),
            self._sides[rows[0]].astype("<u8"),
            self._products[rows[1]].astype("<u8"),
        )
        return b"".join([part.tobytes() for part in parts])

    @classmethod
    def from_bytes(cls, dtype: Any, shape: tuple[int, ...], data: bytes) -> PairTally:
        """Return the state that has these bytes; `dtype` and `shape` are those of every `PairTally`.

        Raises
        ------
        DamagedResultError
            If there is none.
        """
        if dtype != cls.dtype or tuple(shape) != cls.shape:
            raise encoding.damaged("has a description of no pair")
        found, reader = cls(), encoding.Reader(data)
        if reader.take("u1", 1)[0] != 1:
            raise encoding.damaged("is of a version that this bgsim does not know")
        count, *tail, sides, products = reader.take("<i8", 8).tolist()
        places = [reader.take("<i8", number) for number in (sides, products)]
        for place, table in zip(places, (found._sides, found._products), strict=True):
            if len(place) and not (place[0] >= 0 and place[-1] < len(table) and (np.diff(place) > 0).all()):
                raise encoding.damaged("has sums in no order")
            words = reader.take("<u8", len(place) * table.shape[1]).reshape(-1, table.shape[1])
            if not words.any(axis=1).all():
                raise encoding.damaged("has sums of nothing")
            table[place] = words
        reader.close()
        if min(count, *tail) < 0 or tail[0] > count or max(tail[1] + tail[2], tail[3] + tail[4]) > tail[0]:
            raise encoding.damaged("counts more pairs than it has")
        found.count, found._tail[:] = count, tail
        xx, yy, xy = found._deviations()
        if min(xx, yy) < 0 or xy * xy > xx * yy:
            raise encoding.damaged("has sums of no pairs")
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PairTally):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return PairTally.from_bytes, (self.dtype, self.shape, self.to_bytes())

    def __repr__(self) -> str:
        return f"<PairTally: {self.count:,} replicates>"

    def _side(self, side: int) -> Sums:
        total = squares = 0
        words = self._sides[side * _SIDE : (side + 1) * _SIDE]
        keys = np.flatnonzero(words.any(axis=1))
        for key, row in zip(keys.tolist(), words[keys].tolist(), strict=True):
            shift = key & 2047
            magnitude = exact.joined(row[:2]) << shift
            total += magnitude if key < _SIDE // 2 else -magnitude
            squares += exact.joined(row[2:]) << 2 * shift
        above, below = self._tail[1 + 2 * side : 3 + 2 * side].tolist()
        return Sums(self.valid, total, squares, -1075, above, below)

    def _product_sum(self) -> int:
        """Return the sum of x*y in units of 2**-2150."""
        total = 0
        keys = np.flatnonzero(self._products.any(axis=1))
        for key, words in zip(keys.tolist(), self._products[keys].tolist(), strict=True):
            magnitude = exact.joined(words) << (key & 4095)
            total += magnitude if key < _PRODUCTS // 2 else -magnitude
        return total

    def _deviations(self) -> tuple[int, int, int]:
        """Return ``n * sum(a*b) - sum(a) * sum(b)`` of x and x, y and y, and x and y, in units of ``2**-2150``."""
        n = self.valid
        x, y = self.x, self.y
        return (
            n * x.squares - x.total**2,
            n * y.squares - y.total**2,
            n * self._product_sum() - x.total * y.total,
        )
