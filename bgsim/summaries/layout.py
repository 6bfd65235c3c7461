"""The buckets of a tally: which block and which slot a value falls in, and the values that a slot holds.

A block is a range of values, cut into `SLOTS` slots of equal width. Of floats a block is a sign and an exponent, so a
slot is a sign, an exponent and the 7 highest bits of the mantissa. Of integers from -2**15 to 2**15 - 1 a block is 128
of them, each in a slot of its own; beyond, it is a sign and a number of bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOTS = 128

COUNTS = 8
"""The word of a block at which its counts begin. Before them: the sum of the magnitudes (2 words), and that of their
squares (3)."""

WORDS = COUNTS + SLOTS

SMALL_BITS = 16
"""Integers of so many bits have exact counts."""

LARGE = 2**SMALL_BITS // SLOTS
"""The key of the first block of large integers: the positive ones of 1 bit."""

NOTHING = (0, 2**63 - 1, -(2**63))
"""NaNs, and the least and the greatest order, of no value."""

_SIGN = np.uint64(2**63)
_MAGNITUDE = np.uint64(2**63 - 1)


def key_count(kind: str) -> int:
    """Return how many blocks a kind of dtype has."""
    return 4096 if kind == "f" else LARGE + 128


def has_sums(kind: str, keys: NDArray[np.int64]) -> Any:
    """Tell which blocks have sums: those of infinities and of small integers have none."""
    if kind == "f":
        return np.not_equal(keys & 2047, 2047)
    return np.greater_equal(keys, LARGE)


def magnitudes(kind: str, keys: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest magnitude of each slot of blocks that have sums; of floats, the mantissas."""
    slots = np.arange(SLOTS, dtype=np.float64)
    if kind == "f":
        hidden = np.where(keys & 2047 != 0, 2.0**52, 0.0)[:, np.newaxis]
        return hidden + slots * 2.0**45, hidden + (slots + 1) * 2.0**45
    width = np.exp2((keys - LARGE) % 64 - 7.0)[:, np.newaxis]
    return (SLOTS + slots) * width, (SLOTS + slots + 1) * width


def limits(kind: str, keys: NDArray[np.int64], slots: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the least and the greatest value of slots, as doubles."""
    if kind == "f":
        return _float_limits(keys, slots)
    small = (keys * SLOTS + slots - 2 ** (SMALL_BITS - 1)).astype(np.float64)
    large = keys >= LARGE
    length = np.where(large, (keys - LARGE) % 64 + 1, 8)
    width = np.uint64(1) << (length - 8).astype(np.uint64)
    inner = (SLOTS + slots).astype(np.uint64) * width
    near, far = inner.astype(np.float64), (inner + (width - np.uint64(1))).astype(np.float64)
    negative = keys >= LARGE + 64
    low, high = np.where(negative, -far, near), np.where(negative, -near, far)
    return np.where(large, low, small), np.where(large, high, small)


def _float_limits(keys: NDArray[np.int64], slots: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    near = (keys.astype(np.uint64) << np.uint64(52)) | (slots.astype(np.uint64) << np.uint64(45))
    far = np.where(keys & 2047 == 2047, near, near | np.uint64(2**45 - 1))  # infinity alone
    negative = keys >= 2048
    low, high = np.where(negative, far, near), np.where(negative, near, far)
    return low.view(np.float64), high.view(np.float64)


def ordered(kind: str, keys: NDArray[np.int64], slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return integers that order slots by their values; -0.0 comes before 0.0."""
    place = keys * SLOTS + slots
    if kind == "f":
        sign, magnitude = place // (2048 * SLOTS), place % (2048 * SLOTS)
        return np.where(sign == 1, -1 - magnitude, magnitude)
    large = keys >= LARGE
    beyond = np.where(keys >= LARGE + 64, 64 * SLOTS - 1 - place, place)  # by amount more than every small one
    return np.where(large, beyond, place - 2 ** (SMALL_BITS - 1))


def value_of(kind: str, key: int, magnitude: int) -> float:
    """Return the value in a block that has sums, from its mantissa or magnitude."""
    if kind != "f":
        return float(magnitude if key < LARGE + 64 else -magnitude)
    size = math.ldexp(magnitude, max(key & 2047, 1) - 1075)
    return size if key < 2048 else -size


def value_of_order(kind: str, order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the values whose order a tally keeps for its minimum and maximum."""
    if kind == "f":
        bits = order.astype(np.uint64)
        return np.where(order < 0, bits ^ _MAGNITUDE, bits).view(np.float64)
    if kind == "u":
        return (order.astype(np.uint64) ^ _SIGN).astype(np.float64)
    return order.astype(np.float64)
