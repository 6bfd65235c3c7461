"""Comparing slots: the right interval, and what common random numbers gain."""

from __future__ import annotations

import numpy as np
import pytest
from kernels import Walk, plain_walk, walk
from store_helpers import columns, key, store_now

import bgsim
from bgsim.analysis.comparison import difference, parameter_differences
from bgsim.analysis.intervals import t_quantile
from bgsim.errors import InvalidInputError, StoreError
from bgsim.storage import MemoryStore


@pytest.mark.parametrize(
    ("p", "degrees", "expected"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 3, 3.182446),
        (0.975, 4, 2.776445),
        (0.975, 5, 2.570582),
        (0.95, 10, 1.812461),
        (0.995, 30, 2.749996),
        (0.975, 120, 1.979930),
        (0.975, 201, 1.971837),
        (0.975, 10**9, 1.959964),
        (0.5, 7, 0.0),
    ],
)
def test_quantiles_of_student_s_t(p, degrees, expected) -> None:
    """Against the printed tables."""
    assert t_quantile(p, degrees) == pytest.approx(expected, abs=2e-6)


def test_the_series_and_the_expansion_meet() -> None:
    for p in (0.9, 0.975, 0.999):
        assert t_quantile(p, 200) == pytest.approx(t_quantile(p, 201), rel=1e-4)
        assert t_quantile(p, 200) > t_quantile(p, 201)


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_covers_as_often_as_it_says(paired) -> None:
    """Of 2,000 intervals of 90 %, 1,800 hold the true difference, up to four standard errors (54)."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(2000):
        shared = rng.standard_normal(8)
        a = 1.0 + shared + 0.3 * rng.standard_normal(8)
        b = (shared if paired else rng.standard_normal(8)) + 0.3 * rng.standard_normal(8)
        found = difference(a, b, paired=paired, confidence=0.9)
        covered += found.low <= 1.0 <= found.high
    assert covered == pytest.approx(1800, abs=60)


def test_paired_differences_are_narrower() -> None:
    rng = np.random.default_rng(1)
    shared = rng.standard_normal(1000)
    a, b = shared + 0.1, 1.01 * shared
    paired = difference(a, b, paired=True, confidence=0.95)
    independent = difference(a, b, paired=False, confidence=0.95)
    assert paired.mean == pytest.approx(independent.mean)
    assert paired.standard_error < independent.standard_error / 20
    assert paired.significant
    assert paired.replicates == 1000


def test_arrays_booleans_and_different_lengths() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((50, 3)), rng.random((80, 3))
    found = difference(a, b, paired=True, confidence=0.95)
    assert np.allclose(found.mean, (a - b[:50]).mean(axis=0))
    assert found.low.shape == (3,)
    won = difference(np.array([True, False, True]), np.array([False, False, True]), paired=True, confidence=0.95)
    assert won.mean == pytest.approx(1 / 3)
    assert difference(a, b, paired=False, confidence=0.95).low.shape == (3,)
    one = difference(np.array([1.0]), np.array([2.0]), paired=True, confidence=0.95)
    assert one.mean == -1.0
    assert np.isnan(one.low)


def test_equal_columns_differ_by_nothing() -> None:
    values = np.arange(10.0)
    for paired in (True, False):
        found = difference(values, values, paired=paired, confidence=0.95)
        assert found.mean == 0.0
        assert not found.significant


def test_parameters_that_differ_are_named() -> None:
    a = {"x": 1, "same": np.arange(3.0), "array": np.arange(3.0), "only": 2, "nan": np.array([np.nan])}
    b = {"x": 2, "same": np.arange(3.0), "array": np.arange(4.0), "nan": np.array([np.nan])}
    found = parameter_differences(a, b)
    assert list(found) == ["array", "only", "x"]
    assert found["x"] == (1, 2)
    assert found["only"] == (2, None)


def test_compare_takes_the_slots() -> None:
    store = MemoryStore()
    with pytest.raises(StoreError, match="0 of 2 slots.*the store has no workspaces"):
        store.compare("w")
    store_now(store, key(1), 100, "w")
    with pytest.raises(StoreError, match="1 of 2 slots in use; run it with two sets of parameters$"):
        store.compare("w")
    with pytest.raises(StoreError, match="0 of 2 slots.*the store has w$"):
        store.compare("W")
    store_now(store, key(2), 80, "w")
    found = store.compare("w")
    assert dict(found.parameters) == {"x": (2.0, 1.0)}
    assert list(found.outputs) == ["value", "count", "won", "path"]
    value = found.outputs["value"]
    assert value.paired
    assert value.replicates == 80
    assert value.mean == pytest.approx((columns(key(2), 80)["value"] - columns(key(1), 80)["value"]).mean())
    for confidence in (0.0, 1.0, 95):
        with pytest.raises(InvalidInputError, match="between 0 and 1"):
            store.compare("w", confidence=confidence)


def test_two_results_are_compared_in_pairs() -> None:
    a = bgsim.run(walk, Walk(steps=3, scale=2.0), replicates=300, seed=4)
    b = bgsim.run(walk, Walk(steps=3), replicates=200, seed=4)
    found = a.compare(b)
    assert dict(found.parameters) == {"scale": (2.0, 1.0)}
    assert list(found.outputs) == ["end", "path", "ups", "high"]
    end = found.outputs["end"]
    assert (end.paired, end.replicates, end.valid) == (True, 200, 200)
    d = a["end"][:200] - b["end"]
    assert (end.mean, end.standard_error) == (d.mean(), d.std(ddof=1) / np.sqrt(200))
    assert end.high - end.mean == pytest.approx(t_quantile(0.975, 199) * end.standard_error)
    assert found.outputs["path"].low.shape == (3,)
    assert (found.primary, found.secondary) == (a, b)
    assert "scale 2.0 instead of 1.0" in repr(found)
    wide = a.compare(bgsim.run(walk, Walk(steps=3), replicates=200, seed=5), confidence=0.99).outputs["end"]
    assert not wide.paired
    assert wide.standard_error > end.standard_error
    assert not a.compare(bgsim.run(plain_walk, Walk(steps=3), replicates=20, seed=4)).outputs["end"].paired
    for bad in (None, dict(a), "a"):
        with pytest.raises(InvalidInputError, match="other must be a SimulationResult"):
            a.compare(bad)
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        a.compare(b, confidence=95)


def test_pairs_without_a_difference_are_left_out() -> None:
    a, b = np.arange(6.0), np.arange(6.0)[::-1].copy()
    a[0], b[1] = np.nan, np.nan
    found = difference(a, b, paired=True, confidence=0.9)
    alone = difference(a[2:], b[2:], paired=True, confidence=0.9)
    assert (found.replicates, found.valid) == (6, 4)
    assert (found.mean, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high))
    welch = difference(a, b, paired=False, confidence=0.9)
    expected = difference(a[1:], np.delete(b, 1), paired=False, confidence=0.9)
    assert (welch.valid, welch.low, welch.high) == (5, pytest.approx(expected.low), pytest.approx(expected.high))


def test_other_seeds_are_not_paired() -> None:
    store = MemoryStore()
    store_now(store, key(1, seed=1), 100, "w")
    store_now(store, key(1, seed=2), 100, "w")
    assert not store.compare("w").outputs["value"].paired
