"""Addition of unsigned integers of several words, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def add_words(target: NDArray[np.uint64], addend: NDArray[np.uint64]) -> None:
    """Add integers of 64-bit words, the lowest first, to others in place; both of shape (n, words)."""
    carry = np.zeros(len(target), np.uint64)
    for word in range(target.shape[1]):
        added = target[:, word] + addend[:, word]
        overflows = added < addend[:, word]
        target[:, word] = added + carry
        carry = (overflows | (target[:, word] < added)).astype(np.uint64)
