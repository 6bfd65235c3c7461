"""Tallies against exact arithmetic."""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bgsim.errors import InvalidInputError
from bgsim.summaries.tally import MOST_ELEMENTS, Tally

_DTYPES = ["f8", "f4", "f2", "i8", "i2", "u8", "u1", "?", ">f8", ">i4"]


def _columns(dtype: str) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Any values, and such as are near each other, so that buckets are shared."""
    kind = np.dtype(dtype)
    near = {
        "f": st.floats(-4, 4, width=8 * kind.itemsize),
        "b": st.booleans(),
        "i": st.integers(-120, 120),
        "u": st.integers(0, 255),
    }[kind.kind]
    return arrays.arrays(kind, st.integers(0, 40), elements=arrays.from_dtype(kind) | near)


any_column = st.sampled_from(_DTYPES).flatmap(_columns)


def tally_of(values: np.ndarray[Any, Any]) -> Tally:
    found = Tally(values.dtype, values.shape[1:])
    found.add(values)
    return found


def _root(value: Fraction) -> float:
    """Return the square root of a fraction, rounded once."""
    if not value:
        return 0.0
    shift = 2 * max(0, 700 + (value.denominator.bit_length() - value.numerator.bit_length()) // 2)
    scaled = (value.numerator << 2 * shift) // value.denominator
    return float(Fraction(2 * math.isqrt(scaled) + 1, 2 << shift))  # no root ends there but that of a square


@given(any_column)
def test_statistics_are_the_exact_ones_rounded_once(values: np.ndarray[Any, Any]) -> None:
    tally = tally_of(values)
    known = [value for value in values.tolist() if value == value]  # noqa: PLR0124 - NaN
    assert (tally.count, tally.valid) == (len(values), len(known))
    if not known:
        assert math.isnan(tally.mean)
        assert math.isnan(tally.minimum)
        assert math.isnan(tally.maximum)
        return
    assert (tally.minimum, tally.maximum) == (float(min(known)), float(max(known)))
    if any(map(math.isinf, known)):
        total = sum([float(value) for value in known if math.isinf(value)])
        assert tally.mean == total or (math.isnan(tally.mean) and math.isnan(total))
        assert math.isnan(tally.variance)
        return
    exact = [Fraction(value) for value in known]
    mean = sum(exact, Fraction()) / len(exact)
    assert tally.mean == float(mean)
    if len(exact) == 1:
        assert math.isnan(tally.sd)
        return
    variance = sum([(value - mean) ** 2 for value in exact], Fraction()) / (len(exact) - 1)
    try:
        assert tally.variance == float(variance)
    except OverflowError:
        assert tally.variance == math.inf
    near = pytest.approx(_root(variance), rel=3e-16, abs=5e-324)
    assert tally.sd == near
    assert tally.standard_error == pytest.approx(_root(variance / len(exact)), rel=3e-16, abs=5e-324)


@given(any_column, st.data())
def test_any_split_and_order_of_merging_gives_the_same_bytes(values: np.ndarray[Any, Any], data: st.DataObject) -> None:
    whole = tally_of(values)
    shuffled = values[data.draw(st.permutations(range(len(values))))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))
    parts = [tally_of(part) for part in np.split(shuffled, cuts)]
    while len(parts) > 1:
        other = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        before = other.to_bytes()
        parts[data.draw(st.integers(0, len(parts) - 1))].merge(other)
        assert other.to_bytes() == before
    assert parts[0].to_bytes() == whole.to_bytes()


@given(any_column)
def test_a_state_comes_back_from_its_bytes(values: np.ndarray[Any, Any]) -> None:
    whole = tally_of(values)
    found = Tally.from_bytes(values.dtype, (), whole.to_bytes())
    assert found == whole
    assert (found.dtype, found.shape, found.count) == (values.dtype.newbyteorder("="), (), len(values))
    found.add(values)
    assert found.count == 2 * len(values)
    assert (found == whole) is (len(values) == 0)
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert copy.deepcopy(whole) == whole == whole.copy()


@given(any_column, st.floats(0, 1))
def test_the_bounds_of_a_quantile_hold_that_of_numpy(values: np.ndarray[Any, Any], q: float) -> None:
    doubles = values.astype(np.float64)
    doubles = doubles[np.abs(doubles) < 8e307]  # where numpy's own does not overflow
    found = tally_of(doubles).quantile(q)
    if not len(doubles):
        assert math.isnan(found.value)
        return
    with np.errstate(under="ignore"):
        expected = np.quantile(doubles, q)
    assert found.low <= expected <= found.high
    assert found.low <= found.value <= found.high


@given(arrays.arrays(np.int64, st.integers(1, 60), elements=st.integers(-(2**15), 2**15 - 1)), st.floats(0, 1))
def test_the_quantile_of_small_integers_is_that_of_numpy(values: np.ndarray[Any, Any], q: float) -> None:
    expected = np.quantile(values.astype(np.float64), q)
    assert tally_of(values).quantile(q) == (expected, expected, expected)


def test_a_bucket_is_as_wide_as_is_said() -> None:
    values = np.random.default_rng(3).normal(size=20_000)
    buckets = tally_of(values).buckets()
    assert buckets.counts.sum() == len(values)
    assert ((buckets.high - buckets.low) <= np.maximum(abs(buckets.low), abs(buckets.high)) / 128).all()
    assert (buckets.low[1:] > buckets.high[:-1]).all()
    held = np.searchsorted(buckets.low, values, side="right") - 1
    assert (np.bincount(held, minlength=len(buckets.low)) == buckets.counts).all()
    for q in (0.001, 0.05, 0.5, 0.77, 0.999):
        found = tally_of(values).quantile(q)
        assert found.value == pytest.approx(np.quantile(values, q), rel=1 / 128, abs=1e-3)


def test_zeros_of_a_payoff_are_zero() -> None:
    values = np.maximum(np.random.default_rng(4).normal(size=1000), 0.0)
    assert tally_of(values).quantile(0.2) == (0.0, 0.0, 0.0)
    assert tally_of(np.repeat([-1e300, 3.0, 3e200], 10)).quantile(0.5) == (3.0, 3.0, 3.0)


def test_one_slot_with_several_values_is_no_value() -> None:
    values = np.array([-1e300, 1.001, 1.002, 1.0035, 1e300])
    assert tally_of(values).quantile(0.5) == (pytest.approx(1.002, rel=1 / 128), 1.0, np.nextafter(1 + 2**-7, 0))


def test_the_bounds_of_a_quantile_hold_what_numpy_rounds() -> None:
    """NumPy takes the difference of two values, which loses more of the smaller one than a bucket is wide."""
    values = np.array([0.5, 1.003, 1.005, 2.0**54, 1e300])
    for q in np.linspace(0.51, 0.74, 60):
        found = tally_of(values).quantile(q)
        assert found.low <= np.quantile(values, q) <= found.high


def test_minus_zero_is_less_than_zero() -> None:
    both = tally_of(np.array([0.0, -0.0]))
    assert (math.copysign(1, both.minimum), math.copysign(1, both.maximum)) == (-1, 1)
    assert both != tally_of(np.array([0.0, 0.0]))


def test_arrays_have_statistics_of_each_element() -> None:
    values = np.random.default_rng(5).normal(size=(70_000, 3))[:, ::-1]  # more than are added at a time
    values[7, 1] = np.nan
    tally = tally_of(values)
    columns = [tally_of(values[:, i]) for i in range(3)]
    assert tally.valid.tolist() == [70_000, 69_999, 70_000]
    for name in ("mean", "variance", "sd", "standard_error", "minimum", "maximum"):
        assert getattr(tally, name).tolist() == [getattr(column, name) for column in columns]
    assert tally.quantile(0.3).low.tolist() == [column.quantile(0.3).low for column in columns]
    assert Tally.from_bytes("f8", (3,), tally.to_bytes()) == tally
    assert tally_of(np.zeros((5, 0))).mean.shape == (0,)


def test_the_state_of_many_normals_is_small() -> None:
    values = np.random.default_rng(6).normal(size=300_000)
    tally = tally_of(values)
    assert tally.mean == math.fsum(values) / len(values)
    assert tally.nbytes < 300_000
    assert len(tally.to_bytes()) < 20_000


def test_more_blocks_than_there_was_room_for() -> None:
    values = np.ldexp(1.5, np.random.default_rng(7).integers(-1000, 1000, 5000)).reshape(2500, 2)
    tally = tally_of(values)
    assert tally.mean.tolist() == [float(sum(map(Fraction, values[:, i].tolist())) / 2500) for i in range(2)]


def test_plain_python_gives_the_same_bytes() -> None:
    """Where numba compiles nothing."""
    code = (
        "import numpy as np; from bgsim.summaries.tally import Tally; from bgsim.summaries.pairs import PairTally\n"
        "rng = np.random.default_rng(8); pair = PairTally(); x = rng.normal(size=300); pair.add(x, x * x)\n"
        "print(pair.to_bytes().hex())\n"
        "for values in (x, rng.integers(-2**63, 2**63 - 1, 300), rng.integers(-9, 9, 300), x > 0):\n"
        "    tally = Tally(values.dtype); tally.add(values); print(tally.to_bytes().hex())\n"
    )
    texts = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        texts.append(done.stdout)
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == 5


def test_numba_is_imported_by_the_first_value() -> None:
    code = (
        "import sys, numpy; import bgsim.summaries.result; from bgsim.summaries.tally import Tally; t = Tally('f8')\n"
        "assert t.mean != t.mean and 'numba' not in sys.modules\n"
        "t.add(numpy.ones(1)); assert 'numba' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).returncode == 0


@pytest.mark.parametrize(
    ("dtype", "shape", "words"),
    [
        ("c16", (), "complex128"),
        ("U3", (), "at most 8 bytes"),
        ("g", (), np.dtype("g").name),
        ("M8[s]", (), "datetime64"),
        ("f8", (MOST_ELEMENTS + 1,), "16,385"),
    ],
)
def test_what_has_no_tally_is_refused(dtype: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        Tally(dtype, shape)


def test_another_dtype_or_shape_does_not_merge() -> None:
    with pytest.raises(ValueError, match="cannot join"):
        Tally("f8").merge(Tally("f4"))
    with pytest.raises(ValueError, match="cannot join"):
        Tally("f8").merge(Tally("f8", (2,)))
