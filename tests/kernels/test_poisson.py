"""Tests of bgsim.models.poisson: against the exact probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from montecarlo import assert_agrees, mean_and_error
from scipy.stats import chisquare, norm, poisson

import bgsim
from bgsim.models.poisson import poisson_number


@bgsim.simulation(outputs={"number": "f8"})
def draw(p, rng):
    """Draw one Poisson number."""
    return poisson_number(p.mean, rng)


@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 9.99, 10.0, 11.3, 12.5, 14.99, 15.0, 31.4, 200.0])
def test_small_means(mean):
    """400,000 numbers by chi-square, at 1 in 1,000."""
    numbers = bgsim.run(draw, {"mean": mean}, replicates=400_000, seed=61)["number"].astype(int)
    expected = 400_000 * poisson.pmf(np.arange(numbers.max() + 200), mean)
    observed = np.bincount(numbers, minlength=len(expected))
    often = expected >= 10
    observed, expected = (np.append(x[often], x[~often].sum()) for x in (observed, expected))
    assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize("mean", [1e3, 1e6, 1e9, 1e12, 1e15])
def test_large_means(mean):
    """Intervals by chi-square, exact or where that is as good those of the normal law; mean and variance."""
    numbers = bgsim.run(draw, {"mean": mean}, replicates=400_000, seed=62)["number"]
    assert np.all(numbers == np.floor(numbers))
    if mean < 1e10:
        edges = np.unique(poisson.ppf(np.arange(1, 50) / 50, mean))
        chances = np.diff(np.concatenate([[0.0], poisson.cdf(edges, mean), [1.0]]))
    else:
        edges, chances = mean + math.sqrt(mean) * norm.ppf(np.arange(1, 50) / 50), np.full(50, 1 / 50)
    observed = np.bincount(np.searchsorted(edges, numbers), minlength=len(chances))
    assert chisquare(observed, 400_000 * chances).pvalue > 1e-3
    assert_agrees(*mean_and_error((numbers - mean) / math.sqrt(mean)), 0.0)
    assert_agrees(*mean_and_error((numbers - mean) ** 2 / mean), 1.0)


def test_a_mean_of_zero():
    assert not bgsim.run(draw, {"mean": 0.0}, replicates=100)["number"].any()
