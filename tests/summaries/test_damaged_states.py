"""Bytes that are no state are refused by name, and nothing else happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgsim.errors import DamagedResultError
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

_RNG = np.random.default_rng(41)

_COLUMNS = {
    "normals": _RNG.normal(size=200),
    "integers": _RNG.integers(-(10**6), 10**6, 200),
    "unsigned": _RNG.integers(0, 2**64 - 1, 50, dtype=np.uint64),
    "booleans": _RNG.random(20) < 0.5,
    "odd": np.array([np.inf, 1.0, np.nan, -np.inf, -0.0]),
    "arrays": _RNG.normal(size=(20, 3)),
    "nothing": np.zeros(0),
}


def _changed(draw: Any, whole: bytes) -> bytes:
    """Return bytes with some of them changed, left out or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["change", "change", "cut", "add"]))
        if how == "change":
            data[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[place + 1 :]
        else:
            data[place:place] = draw(st.binary(max_size=9))
    return bytes(data)


@given(st.data(), st.sampled_from(list(_COLUMNS)))
def test_a_changed_state_is_refused_or_a_state(data: st.DataObject, name: str) -> None:
    values = _COLUMNS[name]
    tally = Tally(values.dtype, values.shape[1:])
    tally.add(values)
    changed = _changed(data.draw, tally.to_bytes())
    try:
        found = Tally.from_bytes(tally.dtype, tally.shape, changed)
    except DamagedResultError:
        assert changed != tally.to_bytes()
        return
    assert found.to_bytes() == changed
    for statistic in ("mean", "variance", "sd", "standard_error", "minimum", "maximum"):
        assert np.shape(getattr(found, statistic)) == tally.shape
    cut = found.quantile(0.3)
    assert np.all((cut.low <= cut.high) | np.isnan(cut.low))


@given(st.data())
def test_a_changed_state_of_pairs_is_refused_or_a_state(data: st.DataObject) -> None:
    pair = PairTally()
    pair.add(_COLUMNS["normals"], _COLUMNS["normals"] ** 2)
    changed = _changed(data.draw, pair.to_bytes())
    try:
        found = PairTally.from_bytes("f8", (), changed)
    except DamagedResultError:
        assert changed != pair.to_bytes()
        return
    assert found.to_bytes() == changed
    assert not abs(found.correlation) > 1
    assert isinstance(found.covariance, float)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedResultError):
        Tally.from_bytes("f8", (), data)
    with pytest.raises(DamagedResultError):
        PairTally.from_bytes("f8", (), data)


def test_a_long_count_allocates_nothing() -> None:
    data = bytearray(Tally("f8").to_bytes())
    data[33:41] = (2**40).to_bytes(8, "little")  # the blocks
    with pytest.raises(DamagedResultError, match="ends early"):
        Tally.from_bytes("f8", (), bytes(data))


@pytest.mark.parametrize(("dtype", "shape"), [("O", ()), ("f8", (10**6,)), ("c16", ()), ("f8", (-1,))])
def test_a_description_of_no_summary_is_damaged(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(DamagedResultError, match="summary"):
        Tally.from_bytes(dtype, shape, Tally("f8").to_bytes())
    with pytest.raises(DamagedResultError, match="pair"):
        PairTally.from_bytes("f8", (2,), PairTally().to_bytes())
