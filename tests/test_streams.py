"""Streams: the public definition, and that placing a generator in place equals it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgsim.errors import InvalidInputError
from bgsim.kernels.stream import WorkerStream, place, placing_works
from bgsim.streams import replicate_rng, stream_key


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


def test_placing_works_with_this_numpy() -> None:
    """Where it does not, results stay right and slow; on the versions we test it must work."""
    assert placing_works()


@settings(max_examples=200)
@given(
    st.integers(0, 2**64),
    st.integers(0, 2**63 - 1),
    st.lists(st.sampled_from(["random", "normal", "exponential", "u32", "i64", "f4"]), max_size=9),
)
def test_a_placed_generator_equals_a_new_one(seed: int, index: int, before: list[str]) -> None:
    """Whatever was drawn before, placing forgets it: buffered words and half words too."""
    draws = {
        "random": lambda g: g.random(),
        "normal": lambda g: g.standard_normal(),
        "exponential": lambda g: g.standard_exponential(),
        "u32": lambda g: g.integers(0, 1000, dtype=np.uint32),
        "i64": lambda g: g.integers(0, 10**12),
        "f4": lambda g: g.random(dtype=np.float32),
    }
    stream = WorkerStream()
    for name in before:
        draws[name](stream.rng)
    key = stream_key(seed)
    place(np.uint64(stream.state), key[0], key[1], np.uint64(index))
    fresh = replicate_rng(seed, index)
    for name in (*draws, *draws):
        assert draws[name](stream.rng) == draws[name](fresh)
