"""Pairs of outputs against exact arithmetic."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bgsim.summaries.pairs import PairTally

_DTYPES = st.sampled_from(["f8", "f4", "i8", "u8", "?"])
_RNG = np.random.default_rng(21)


@st.composite
def any_pair(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    count = draw(st.integers(0, 30))
    x, y = (
        draw(arrays.arrays(kind, count, elements=arrays.from_dtype(np.dtype(kind), allow_infinity=False)))
        for kind in (draw(_DTYPES), draw(_DTYPES))
    )
    return x, y


def pair_of(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> PairTally:
    found = PairTally()
    found.add(x, y)
    return found


@given(any_pair())
def test_the_covariance_is_the_exact_one_rounded_once(columns: tuple[Any, Any]) -> None:
    x, y = columns
    pair = pair_of(x, y)
    known = [
        (Fraction(a), Fraction(b))
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
        if a == a and b == b  # noqa: PLR0124
    ]
    n = len(known)
    assert (pair.count, pair.valid) == (len(x), n)
    if n < 2:
        assert math.isnan(pair.covariance)
        return
    mean_x, mean_y = (sum([both[side] for both in known], Fraction()) / n for side in (0, 1))
    covariance = sum([(a - mean_x) * (b - mean_y) for a, b in known], Fraction()) / (n - 1)
    try:
        assert pair.covariance == float(covariance)
    except OverflowError:
        assert pair.covariance == (math.inf if covariance > 0 else -math.inf)
    varied = [sum([(both[side] - mean) ** 2 for both in known]) for side, mean in ((0, mean_x), (1, mean_y))]
    if all(varied):
        assert -1 <= pair.correlation <= 1
        square = covariance**2 * (n - 1) ** 2 / (varied[0] * varied[1])
        assert pair.correlation**2 == pytest.approx(float(square), rel=1e-14, abs=1e-300)
    else:
        assert math.isnan(pair.correlation)


@given(any_pair(), st.data())
def test_parts_of_pairs_merge_to_the_bytes_of_the_whole(columns: tuple[Any, Any], data: st.DataObject) -> None:
    x, y = columns
    order = data.draw(st.permutations(range(len(x))))
    cut = data.draw(st.integers(0, len(x)))
    first, second = (pair_of(x[part], y[part]) for part in (order[:cut], order[cut:]))
    second.merge(first)
    whole = pair_of(x, y)
    assert second.to_bytes() == whole.to_bytes()
    assert (
        PairTally.from_bytes("f8", (), whole.to_bytes()) == whole == pickle.loads(pickle.dumps(whole)) == whole.copy()
    )


def test_numbers_that_move_together_are_known_to() -> None:
    x = _RNG.normal(size=1000)
    assert pair_of(x, x * 3).correlation == pytest.approx(1, abs=1e-15)
    assert pair_of(x, -x).correlation == -1
    assert pair_of(x, x).covariance == pytest.approx(np.var(x, ddof=1))


def test_infinities_leave_a_mean_and_no_spread() -> None:
    pair = pair_of(np.array([np.inf, 1.0, 2.0]), np.array([1.0, 2.0, 4.0]))
    assert pair.valid == 3
    assert math.isnan(pair.covariance)
    assert math.isnan(pair.correlation)


def test_columns_of_two_lengths_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="one length"):
        PairTally().add(np.zeros(2), np.zeros(3))
