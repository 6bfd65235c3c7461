"""Estimates and histograms of rows that become more: each a function of the rows alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bgsim.live import estimates, histograms
from bgsim.live.estimates import mean_with_error

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
COLUMNS = st.one_of(
    npst.arrays(np.float64, st.integers(0, 60), elements=FLOATS),
    npst.arrays(np.float32, st.integers(0, 60), elements=st.floats(width=32)),
    npst.arrays(np.int64, st.integers(0, 60), elements=st.integers(-(2**53), 2**53)),
    npst.arrays(np.uint8, st.integers(0, 60)),
    npst.arrays(np.bool_, st.integers(0, 60)),
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "BLOCK", 7)
    monkeypatch.setattr(histograms, "BLOCK", 7)


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True) for x, y in zip(a, b, strict=True))


def of(estimate: estimates.Estimate) -> tuple[Any, ...]:
    return estimate.mean, estimate.standard_error, estimate.count, estimate.valid


@settings(max_examples=300, deadline=None)
@given(COLUMNS, st.lists(st.integers(0, 60), max_size=5))
def test_what_was_asked_before_changes_no_number(column: Any, cuts: list[int]) -> None:
    moments = bins = None
    for cut in cuts:  # also backwards, as an older snapshot asks
        moments, _ = estimates.advanced(moments, column[:cut], None)
        bins, _ = histograms.advanced(bins, column[:cut], None)
    asked, fresh = estimates.advanced(moments, column, None)[1], estimates.advanced(None, column, None)[1]
    assert same(of(asked), of(fresh))
    asked_bins, fresh_bins = (histograms.advanced(b, column, None)[1].histogram(20) for b in (bins, None))
    assert same((asked_bins.edges, asked_bins.counts), (fresh_bins.edges, fresh_bins.counts))


@settings(max_examples=300, deadline=None)
@given(COLUMNS)
def test_an_estimate_is_what_numpy_says(column: Any) -> None:
    _, found = estimates.advanced(None, column, None)
    values = column[~np.isnan(column)].astype(float)
    assert (found.count, found.valid) == (len(column), len(values))
    with np.errstate(all="ignore"):
        mean = values.mean() if len(values) else math.nan
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    if math.isfinite(mean) and math.isfinite(error) and np.abs(values).max(initial=0) < 1e150:
        scale = np.abs(values).max(initial=0)
        assert found.mean == pytest.approx(mean, rel=1e-9, abs=1e-12 * scale)
        assert found.standard_error == pytest.approx(error, rel=1e-6, abs=1e-9 * scale)
    elif math.isinf(mean) and np.isinf(values).any():
        assert found.mean == mean


@settings(max_examples=300, deadline=None)
@given(COLUMNS, st.integers(2, 512))
def test_a_histogram_counts_each_finite_value_in_its_bin(column: Any, bins: int) -> None:
    found = histograms.advanced(None, column, None)[1].histogram(bins)
    values = column.astype(float)
    values = values[np.isfinite(values)]
    assert found.count == len(column)
    assert len(found.counts) <= bins
    assert found.counts.sum() == len(values)
    if len(values):
        places = np.searchsorted(found.edges, values, side="right") - 1
        assert np.array_equal(np.bincount(places, minlength=len(found.counts)), found.counts)
        assert found.counts[0] and found.counts[-1]


def test_arrays_have_an_estimate_for_each_element() -> None:
    column = np.array([[1.0, np.nan], [3.0, 4.0], [5.0, np.nan]])
    _, found = estimates.advanced(None, column, None)
    assert found.mean.tolist() == [3.0, 4.0]
    assert found.valid.tolist() == [3, 1]
    assert found.standard_error[0] == pytest.approx(2 / math.sqrt(3))
    assert math.isnan(found.standard_error[1])
    assert str(found) == "an array of (2,) each, from 3 replicates"


def test_complex_numbers_have_an_estimate() -> None:
    _, found = estimates.advanced(None, np.array([1 + 2j, 3 + 0j] * 9), None)
    assert found.mean == 2 + 1j
    assert found.standard_error == pytest.approx(np.sqrt(2 * 18 / 17 / 18))


def test_infinities_give_what_numpy_gives() -> None:
    for values in ([math.inf, 1.0] * 8, [1.0] * 9 + [-math.inf] * 9, [math.inf, -math.inf] * 8):
        with np.errstate(all="ignore"):
            expected = np.mean(values)
        found = estimates.advanced(None, np.array(values), None)[1].mean
        assert found == expected or math.isnan(found) == math.isnan(expected)


def test_no_more_rows_are_read_than_wanted() -> None:
    """By whole blocks; the next call goes on where this one ended."""
    column = np.arange(100.0)
    moments, first = estimates.advanced(None, column, 15)
    _, second = estimates.advanced(moments, column, 15)
    assert (first.count, second.count) == (15, 29)
    bins, counted = histograms.advanced(None, column, 15)
    assert (counted.rows, histograms.advanced(bins, column, 15)[1].rows) == (15, 29)
    assert estimates.advanced(None, column, 1)[1].count == 7  # one block at least, or nothing would ever be read


def test_whole_numbers_have_a_bin_each() -> None:
    found = histograms.advanced(None, np.array([1, 2, 2, 6]), None)[1].histogram(64)
    assert found.edges.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert found.counts.tolist() == [1, 2, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("mean", "error", "percent", "text"),
    [
        (10.6345, 0.147869, False, "10.63 ± 0.15"),
        (0.25, 0.00123, True, "25.00 ± 0.12 %"),
        (3.0, 0.0, False, "3"),
        (3.0, math.nan, False, "3"),
        (123456.0, 2000.0, False, "123456 ± 2000"),
    ],
)
def test_a_mean_is_written_to_two_digits_of_its_error(mean: float, error: float, percent: bool, text: str) -> None:
    assert mean_with_error(mean, error, percent=percent) == text
