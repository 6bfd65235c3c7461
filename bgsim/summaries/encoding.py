"""A tally as bytes, in one way only, and back.

All integers are little-endian. ``1`` (a byte, the version), the replicates (8 bytes), and for each element NaNs, least
and greatest order (8 bytes each); the number of blocks (8), the owner of each (8), in rising order; the sums of those
that have sums (5 words of 8 each); for each block 128 bits that say which counts are not 0; the bytes of a count (1),
and those counts, the lowest byte of all of them first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.errors import DamagedResultError, InvalidInputError
from bgsim.summaries.layout import COUNTS, SLOTS, WORDS, has_sums, key_count
from bgsim.summaries.validity import State, inconsistency

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 1
_ENDS = 3
_SUMS = 5


class Reader:
    """Reads arrays one after the other, and none beyond the end.

    Parameters
    ----------
    data : bytes
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        """Return so many values.

        Raises
        ------
        DamagedResultError
            If there are fewer.
        """
        size = count * np.dtype(dtype).itemsize
        if not 0 <= size <= len(self._data):
            raise damaged("ends early")
        part, self._data = self._data[:size], self._data[size:]
        return np.frombuffer(part, dtype).astype(np.dtype(dtype).newbyteorder("="))

    def close(self) -> None:
        """Check that nothing is left.

        Raises
        ------
        DamagedResultError
        """
        if len(self._data):
            raise damaged("goes on behind its end")


def damaged(how: str) -> DamagedResultError:
    """Return the error that refuses bytes."""
    return DamagedResultError(f"the state of a summary {how}, so its bytes are not those that were stored")


def checked(kind: Callable[..., Any], *what: Any) -> Any:
    """Return an empty tally of a stored description.

    Raises
    ------
    DamagedResultError
        If there is none.
    """
    try:
        return kind(*what)
    except (InvalidInputError, TypeError, ValueError) as error:
        raise damaged("has a description of no summary") from error


def encode(
    count: int,
    ends: NDArray[np.int64],
    owners: NDArray[np.int64],
    sums: NDArray[np.uint64],
    counts: NDArray[np.uint64],
) -> bytes:
    """Return the bytes of a state whose blocks are in rising order of their owners."""
    there = counts != 0
    values = counts[there].astype("<u8")
    width = max(1, (int(values.max(initial=0)).bit_length() + 7) // 8)
    planes = values.view(np.uint8).reshape(-1, 8)[:, :width].T
    parts = (
        np.array([_VERSION], np.uint8),
        np.array([count], "<i8"),
        ends.astype("<i8"),
        np.array([len(owners)], "<i8"),
        owners.astype("<i8"),
        sums.astype("<u8"),
        np.packbits(there, axis=1),
        np.array([width], np.uint8),
        planes,
    )
    return b"".join([part.tobytes() for part in parts])


def decode(data: bytes, kind: str, elements: int) -> State:
    """Return the state that has these bytes.

    Parameters
    ----------
    data : bytes
    kind : str
        As `bgsim.summaries.layout` has it.
    elements : int
        Of one replicate's value.

    Raises
    ------
    DamagedResultError
    """
    reader = Reader(data)
    if reader.take("u1", 1)[0] != _VERSION:
        raise damaged("is of a version that this bgsim does not know")
    keys = key_count(kind)
    count = int(reader.take("<i8", 1)[0])
    ends = reader.take("<i8", _ENDS * elements).reshape(elements, _ENDS)
    owners = reader.take("<i8", int(reader.take("<i8", 1)[0]))
    if len(owners) and not (owners[0] >= 0 and owners[-1] < elements * keys and (np.diff(owners) > 0).all()):
        raise damaged("has blocks in no order")
    has = has_sums(kind, owners % keys)
    sums = reader.take("<u8", _SUMS * int(has.sum())).reshape(-1, _SUMS)
    there = np.unpackbits(reader.take("u1", len(owners) * SLOTS // 8)).reshape(len(owners), SLOTS).astype(bool)
    width, total = int(reader.take("u1", 1)[0]), int(there.sum())
    if not 1 <= width <= 8:
        raise damaged("has counts of no size")
    raw = np.zeros((total, 8), np.uint8)
    raw[:, :width] = reader.take("u1", width * total).reshape(width, total).T
    reader.close()
    counts = raw.view("<u8").reshape(-1).astype(np.uint64)
    blocks = np.zeros((len(owners), WORDS), np.uint64)
    blocks[:, COUNTS:][there] = counts
    blocks[has, :_SUMS] = sums
    if width != max(1, (int(counts.max(initial=0)).bit_length() + 7) // 8) or not counts.all():
        raise damaged("has counts of another size")
    state = State(count, ends, owners, blocks)
    reason = inconsistency(kind, state)
    if reason:
        raise damaged(reason)
    return state
