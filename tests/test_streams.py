"""Streams: the public definition; `tests/kernels/test_draws.py` holds compiled kernels to it."""

from __future__ import annotations

import numpy as np
import pytest

from bgsim.errors import InvalidInputError
from bgsim.streams import replicate_rng


def test_the_definition_is_philox_with_the_index_in_the_counter() -> None:
    """As the design states it, with a value that must never change."""
    key = np.random.SeedSequence(7).generate_state(2, np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 3, 0])).random(4)
    assert np.array_equal(replicate_rng(7, 3).random(4), expected)
    assert replicate_rng(7, 3).random() == 0.07259019372480391


def test_streams_of_different_replicates_and_seeds_differ() -> None:
    draws = {replicate_rng(seed, i).random() for seed in (0, 1, 2**100) for i in range(100)}
    assert len(draws) == 300


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_a_seed_must_be_an_integer_of_zero_or_more(seed: object) -> None:
    with pytest.raises(InvalidInputError, match="seed must be an integer of 0 or more"):
        replicate_rng(seed, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [-1, 2**63, 0.5, False])
def test_an_index_must_be_in_range(index: object) -> None:
    with pytest.raises(InvalidInputError, match="index must be an integer"):
        replicate_rng(0, index)  # type: ignore[arg-type]
