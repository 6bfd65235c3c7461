"""The random stream of one replicate.

Replicate *i* under a seed draws from Philox4x64-10, a counter-based generator (Salmon, Moraes,
Dror and Shaw 2011): the key comes from the seed, and the third word of the 256-bit counter is *i*.
So each replicate owns 2**128 draws, disjoint from all others by construction, and any of them can be
placed at once without the ones before it. The key depends on the seed alone, so two parameter
sets with one seed share common random numbers.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bgsim.checks import check_integer

if TYPE_CHECKING:
    from numpy.typing import NDArray


Rng: TypeAlias = np.random.Generator
"""The type of a replicate's stream, to annotate the second argument of a simulation."""

MAX_REPLICATES = 2**63 - 1
"""Replicate indices are int64 in the kernel."""


MAX_SEED = 10**4300 - 1
"""Python writes no longer integer down, as it must be in a store."""


def check_seed(seed: object) -> int:
    """Return the seed as an int.

    Raises
    ------
    InvalidInputError
        If it is no integer, or negative.
    """
    return check_integer(
        "seed", seed, least=0, most=MAX_SEED, allowed="an integer of 0 or more, of at most 4300 digits"
    )


@functools.lru_cache(maxsize=1024)
def stream_key(seed: int) -> NDArray[np.uint64]:
    """Return the Philox key of a seed, uint64 of shape (2,), read-only."""
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64).astype(np.uint64, copy=False)
    key.flags.writeable = False
    return key


def generator_at(key: NDArray[np.uint64], index: int) -> np.random.Generator:
    """Return a new generator at the start of replicate `index` under a stream key."""
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, index, 0]))


def replicate_rng(seed: int, index: int) -> np.random.Generator:
    """Return a generator at the start of a replicate's stream.

    This is the definition that compiled kernels, workers and replays all agree with.

    Parameters
    ----------
    seed : int
        0 or more, of at most 4300 digits.
    index : int
        Index of the replicate, 0 to 2**63 - 1.

    Returns
    -------
    numpy.random.Generator
        Independent of every other one; safe to use in the calling thread.

    Raises
    ------
    InvalidInputError
        If either is out of its range.

    Examples
    --------
    >>> from bgsim import replicate_rng
    >>> replicate_rng(seed=7, index=3).random() == replicate_rng(seed=7, index=3).random()
    True
    """
    index = check_integer("index", index, least=0, most=MAX_REPLICATES, allowed="an integer from 0 to 2**63 - 1")
    return generator_at(stream_key(check_seed(seed)), index)
