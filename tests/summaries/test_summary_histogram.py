"""Histograms from buckets, beside those of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bgsim.summaries.histogram import even_edges, histogram
from bgsim.summaries.tally import Tally

_VALUES = arrays.arrays(np.float64, st.integers(1, 50), elements=st.floats(-8, 8) | st.floats(-1e100, 1e100))
_EDGES = st.lists(st.floats(-20, 20), min_size=2, max_size=6, unique=True).map(sorted)


def _buckets(values: np.ndarray[Any, Any]) -> Any:
    tally = Tally(values.dtype)
    tally.add(values)
    return tally.buckets()


@given(_VALUES, _EDGES)
def test_the_count_of_each_bin_is_between_its_bounds(values: np.ndarray[Any, Any], edges: list[float]) -> None:
    found = histogram(_buckets(values), np.array(edges), len(values))
    expected = np.histogram(values, edges)[0]
    assert (found.low <= expected).all()
    assert (expected <= found.high).all()
    assert (found.low <= found.counts).all()
    assert (found.counts <= found.high).all()


@given(arrays.arrays(np.int16, st.integers(1, 50)), _EDGES)
def test_small_integers_are_counted_exactly(values: np.ndarray[Any, Any], edges: list[float]) -> None:
    found = histogram(_buckets(values), np.array(edges), len(values))
    assert found.counts.tolist() == np.histogram(values, edges)[0].tolist()
    assert found.low.tolist() == found.high.tolist() == found.counts.tolist()


@given(_VALUES, st.integers(2, 100))
def test_even_bins_hold_every_value(values: np.ndarray[Any, Any], bins: int) -> None:
    edges = even_edges(_buckets(values), bins, whole=False)
    found = histogram(_buckets(values), edges, len(values))
    assert found.counts.sum() == len(values)
    assert 1 <= len(found.counts) <= bins
    assert edges[0] <= values.min()
    assert values.max() < edges[-1]
    widths = np.unique(np.diff(edges))
    assert len(widths) == 1
    assert np.frexp(widths[0])[0] == 0.5


def test_even_bins_cut_no_bucket_of_positive_values() -> None:
    values = np.random.default_rng(51).exponential(size=5000)
    edges = even_edges(_buckets(values), 64, whole=False)
    found = histogram(_buckets(values), edges, len(values))
    assert len(found.counts) > 32
    assert found.counts.tolist() == np.histogram(values, edges)[0].tolist() == found.low.tolist() == found.high.tolist()


@pytest.mark.parametrize("values", [np.zeros(0), np.array([np.nan, np.inf])])
def test_no_number_has_no_bins(values: np.ndarray[Any, Any]) -> None:
    buckets = _buckets(values)
    found = histogram(buckets, even_edges(buckets, 8, whole=False), len(values))
    assert (len(found.counts), found.count) == (0, len(values))
    assert "0 bins" in repr(found)


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, -5e-324, 0.0, 1.7e308])
def test_one_number_at_an_end_of_doubles_has_a_bin(value: float) -> None:
    buckets = _buckets(np.array([value]))
    found = histogram(buckets, even_edges(buckets, 8, whole=False), 1)
    assert found.counts.sum() == 1
    assert len(found.counts) == 1
