"""Tests of bgsim.models.series."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bgsim.errors import InvalidInputError
from bgsim.models.series import autocorrelation_time, standard_error


def autoregressive(chains, length, memory, seed=1):
    """Return stationary first-order autoregressive series of variance 1, whose time is (1 + memory) / (1 - memory)."""
    rng = np.random.default_rng(seed)
    found = np.empty((chains, length))
    found[:, 0] = rng.standard_normal(chains)
    noise = math.sqrt(1 - memory**2) * rng.standard_normal((chains, length))
    for i in range(1, length):
        found[:, i] = memory * found[:, i - 1] + noise[:, i]
    return found


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_time_of_an_autoregressive_series(memory):
    """It is known exactly; 20 chains of 20,000 give it within a tenth."""
    assert autocorrelation_time(autoregressive(20, 20_000, memory)) == pytest.approx(
        (1 + memory) / (1 - memory), rel=0.1
    )


def test_standard_error_is_the_spread_of_means():
    """The error told from one series is the spread over many; the naive one is four times too small."""
    series = autoregressive(400, 4000, 0.9, seed=2)
    spread = series.mean(axis=1).std()
    told = [standard_error(one) for one in series[:50]]
    assert np.median(told) == pytest.approx(spread, rel=0.15)
    assert series.std() / math.sqrt(4000) < spread / 4
    assert standard_error(series) == pytest.approx(spread / math.sqrt(400), rel=0.15)


def test_constant_series():
    """It has no noise."""
    assert autocorrelation_time(np.ones(10)) == 1.0
    assert standard_error(np.ones(10)) == 0.0


@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (2, 2, 2)])
def test_bad_shape(shape):
    """A series needs two values."""
    with pytest.raises(InvalidInputError, match="n of 2 or more"):
        autocorrelation_time(np.ones(shape))
