"""Whether a tally that was read can be one that values were added to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bgsim.summaries.layout import (
    COUNTS,
    NOTHING,
    has_sums,
    key_count,
    limits,
    magnitudes,
    value_of_order,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE = 256
"""Blocks that are looked at at a time; they stay in the cache."""

_SLACK = 1e-9
"""Of sums that are compared as doubles."""


@dataclass(frozen=True, slots=True)
class State:
    """The arrays of a tally, its blocks in rising order of their owners."""

    count: int
    ends: NDArray[np.int64]
    owners: NDArray[np.int64]
    blocks: NDArray[np.uint64]


def inconsistency(kind: str, state: State) -> str:
    """Say what in a state cannot be; empty if all can."""
    nan, counts = state.ends[:, 0], state.blocks[:, COUNTS:]
    if state.count < 0 or (nan < 0).any() or (nan > state.count).any() or (counts > state.count).any():
        return "has counts of more replicates than it has"
    if not counts.any(axis=1).all():
        return "has a block of no value"
    valid = (state.count - nan).astype(np.uint64)
    if not _count_once(valid, state.owners // key_count(kind), counts):
        return "does not count each replicate once"
    pieces = (slice(begin, begin + _PIECE) for begin in range(0, len(state.owners), _PIECE))
    if not all(_sums_fit(kind, state.owners[piece], state.blocks[piece]) for piece in pieces):
        return "has sums that its counts cannot have"
    return "" if _ends_fit(kind, state, valid) else "has a least or greatest value that its counts cannot have"


def _count_once(valid: NDArray[np.uint64], elements: NDArray[np.int64], counts: NDArray[np.uint64]) -> bool:
    about, exactly = np.zeros(len(valid)), np.zeros(len(valid), np.uint64)
    np.add.at(about, elements, counts.sum(axis=1, dtype=np.float64))
    np.add.at(exactly, elements, counts.sum(axis=1))
    return bool((about < 2.0**63).all() and (exactly == valid).all())  # less than where 64 bits overflow


def _sums_fit(kind: str, owners: NDArray[np.int64], blocks: NDArray[np.uint64]) -> bool:
    keys = owners % key_count(kind)
    there = has_sums(kind, keys)
    words = blocks[there].astype(np.float64)
    counts, (low, high) = words[:, COUNTS:], magnitudes(kind, keys[there])
    total = words[:, 0] + words[:, 1] * 2.0**64
    squares = words[:, 2] + words[:, 3] * 2.0**64 + words[:, 4] * 2.0**128
    pairs = ((total, low, high), (squares, low**2, high**2))
    fits = [
        ((counts * least).sum(axis=1) * (1 - _SLACK) <= found) & (found <= (counts * most).sum(axis=1) * (1 + _SLACK))
        for found, least, most in pairs
    ]
    return bool(np.all(fits))


def _ends_fit(kind: str, state: State, valid: NDArray[np.uint64]) -> bool:
    empty = valid == 0
    if (state.ends[empty, 1:] != NOTHING[1:]).any():
        return False
    if empty.all():
        return True
    place, slots = np.nonzero(state.blocks[:, COUNTS:])
    elements, keys = np.divmod(state.owners[place], key_count(kind))
    low, high = limits(kind, keys, slots)
    starts = np.flatnonzero(np.diff(elements, prepend=-1))
    for column, first in ((1, np.minimum), (2, np.maximum)):
        values = value_of_order(kind, state.ends[elements[starts], column])
        if not ((first.reduceat(low, starts) <= values) & (values <= first.reduceat(high, starts))).all():
            return False
    return True
