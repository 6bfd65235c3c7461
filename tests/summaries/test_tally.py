"""Tallies against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bgsim.summaries.tally import Tally

_RNG = np.random.default_rng(11)

_COLUMNS = {
    "normal": _RNG.normal(size=1001),
    "tiny": _RNG.random(500) * 1e-310,
    "single": _RNG.normal(size=500).astype(np.float32),
    "small integers": _RNG.integers(-40_000, 40_000, 1000),
    "large integers": _RNG.integers(-(2**63), 2**63 - 1, 500),
    "unsigned": _RNG.integers(0, 2**64 - 1, 500, dtype=np.uint64),
    "boolean": _RNG.random(500) < 0.3,
}


@pytest.mark.parametrize("name", _COLUMNS)
def test_mean_and_variance_are_the_exact_ones_rounded_once(name):
    """They equal what fractions give, to the last bit."""
    column = _COLUMNS[name]
    values = [Fraction(value) for value in column.tolist()]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    tally = Tally(column.dtype)
    tally.add(column)
    assert (tally.mean, tally.variance) == (float(mean), float(variance))
    assert (tally.minimum, tally.maximum) == (float(column.min()), float(column.max()))


@pytest.mark.parametrize("name", _COLUMNS)
def test_parts_merge_to_the_same_bytes_as_the_whole(name):
    """Any order gives one state, which comes back from its bytes."""
    column = _COLUMNS[name]
    whole, even, odd = (Tally(column.dtype) for _ in range(3))
    whole.add(column)
    even.add(column[::2])
    odd.add(column[1::2])
    odd.merge(even)
    assert odd.to_bytes() == whole.to_bytes()
    assert Tally.from_bytes(column.dtype, (), whole.to_bytes()) == whole


@pytest.mark.parametrize("name", _COLUMNS)
@pytest.mark.parametrize("q", [0, 0.01, 0.5, 0.99, 1])
def test_the_bounds_of_a_quantile_hold_that_of_numpy(name, q):
    """Bucket by bucket."""
    column = _COLUMNS[name]
    tally = Tally(column.dtype)
    tally.add(column)
    found = tally.quantile(q)
    assert found.low <= np.quantile(column.astype(np.float64), q) <= found.high
    assert found.low <= found.value <= found.high
