"""Results found by what they are of, against a plain filter over all; and loaded as a job returns them."""

from __future__ import annotations

import enum
import itertools
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import kernels
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import store_now

import bgsim
from bgsim.errors import InvalidInputError, SimulationChangedError, SimulationNotFoundError, StoreError
from bgsim.models.options import european_call
from bgsim.parameters.parameter_set import ParameterSet, ResultKey
from bgsim.storage import MemoryStore, ResultStore, Store, times


class Kind(enum.Enum):
    A = 1
    B = 2


values = st.sampled_from([
    0.0, -0.0, 1.0, 1, 2, 2.5, -3.0, 1e308, 2**60 + 1, 2**60 + 2, None, True, False, "", "A", "a" * 2000, b"x", Kind.A,
    1 + 2j, (1, 2.0), (1.0, 2), (), np.array([1.0, 2.0]), np.arange(300.0),
])  # fmt: skip
sets = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
stored = st.lists(st.tuples(sets, st.sampled_from(["tests.m", "tests.n", "other.m"]), st.integers(0, 1)), max_size=12)
wanted = st.dictionaries(st.sampled_from("ab"), values | st.sampled_from([(0, 1), (None, 2), (1.5, None)]), max_size=2)
names = st.sampled_from([None, "tests.m", "m", "nobody"])
counts = st.integers(1, 3)


@pytest.fixture
def clock(monkeypatch):
    """Let a store's times go on by a second with each look."""
    ticks = itertools.count(1_700_000_000.0)
    monkeypatch.setattr(times.time, "time", lambda: next(ticks))


def is_wanted(value, condition) -> bool:
    """Tell it as the documentation does."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and isinstance(condition, tuple) and len(condition) == 2:
        low, high = condition
        return (low is None or low <= value) and (high is None or value <= high)
    if isinstance(value, str) and isinstance(condition, Kind):
        condition = condition.name
    if number != (isinstance(condition, int | float) and not isinstance(condition, bool)):
        return False
    if isinstance(value, np.ndarray) or isinstance(condition, np.ndarray):
        return np.shape(value) == np.shape(condition) and np.array_equal(value, condition)
    return (isinstance(value, bool) == isinstance(condition, bool)) and value == condition


def check(store: Store, rows, simulation, conditions, seed, replicates, limit) -> None:
    for number, (given_values, name, its_seed) in enumerate(rows):
        store_now(store, ResultKey(name, "f" * 32, its_seed, ParameterSet(given_values)), 1 + number % 3)
    all_of_it = [r for r in store.results() if simulation in (None, r.simulation, r.simulation.rpartition(".")[2])]
    known = {name for r in all_of_it for name in r.parameters}
    ask = {"seed": seed, "replicates": replicates, "limit": limit, **conditions}
    if known and not conditions.keys() <= known:
        with pytest.raises(InvalidInputError, match=r"no stored result.* has a parameter"):
            store.find(simulation, **ask)
        return
    expected = [
        r
        for r in all_of_it
        if seed in (None, r.seed)
        and r.replicates >= replicates
        and all(n in r.parameters and is_wanted(r.parameters[n], c) for n, c in conditions.items())
    ]
    expected.sort(key=lambda r: r.hash)
    expected.sort(key=lambda r: r.created_at, reverse=True)
    assert [r.hash for r in store.find(simulation, **ask)] == [r.hash for r in expected][:limit]


@settings(max_examples=200, deadline=None)
@given(stored, names, wanted, st.none() | st.integers(0, 1), counts, st.none() | counts)
def test_memory_finds_what_a_filter_over_all_finds(rows, simulation, conditions, seed, replicates, limit) -> None:
    check(MemoryStore(), rows, simulation, conditions, seed, replicates, limit)


@settings(max_examples=60, deadline=None)
@given(stored, names, wanted, st.none() | st.integers(0, 1), counts, st.none() | counts)
def test_a_file_finds_what_a_filter_over_all_finds(rows, simulation, conditions, seed, replicates, limit) -> None:
    with TemporaryDirectory() as folder, closing(ResultStore(Path(folder) / "s.db")) as store:
        check(store, rows, simulation, conditions, seed, replicates, limit)


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    with closing(ResultStore(tmp_path / "s.db") if request.param == "file" else MemoryStore()) as opened:
        yield opened


def key(strike: float, **more) -> ResultKey:
    return ResultKey("models.call", "f" * 32, 0, ParameterSet({"strike": strike, "spot": 100.0, **more}))


def strikes(found) -> list[float]:
    return [r.parameters["strike"] for r in found]


def test_the_newest_first_with_the_parameters_that_differ(store) -> None:
    for strike in (90.0, 95.0, 100.0):
        store_now(store, key(strike), 10)
    assert strikes(store.find("call", strike=(92, 100))) == [100.0, 95.0]
    found = store.find("models.call")
    assert strikes(found) == [100.0, 95.0, 90.0]
    assert repr(found).splitlines()[0].split() == ["result", "simulation", "replicates", "strike", "stored"]
    assert strikes(store.find(limit=1)) == [100.0]
    assert strikes(store.find(parameters={"strike": 95}, replicates=10)) == [95.0]
    assert store.find(replicates=11) == store.find("nobody", strike=1.0) == []


def test_a_misspelt_parameter_is_refused_with_the_nearest(store) -> None:
    assert store.find(strke=95) == []  # of an empty store no name is known
    store_now(store, key(95.0), 10)
    with pytest.raises(
        InvalidInputError, match=r"no stored result of 'call' has a parameter 'strke'; did you mean 'str"
    ):
        store.find("call", strke=95)


def test_by_when_it_was_first_stored(store, clock) -> None:
    for strike in (1.0, 2.0, 3.0):
        store_now(store, key(strike), 10)
    middle = store.find(strike=2.0)[0].created_at
    at = datetime.fromisoformat(middle)
    assert strikes(store.find(since=at)) == [3.0, 2.0]
    assert strikes(store.find(until=at)) == [2.0, 1.0]
    assert strikes(store.find(since=middle, until=middle)) == [2.0]
    assert strikes(store.find(since=at.astimezone().replace(tzinfo=None), until=at)) == [2.0]  # the local clock
    for ago in (
        timedelta(days=1),
        "2 days",
        "2 days ago",
        "1 h",
        "20 min",
        "2023-01-01",
        datetime(2023, 1, 1, tzinfo=UTC),
    ):
        assert len(store.find(since=ago)) == 3
        assert store.find(until=ago) == []
    for bad in ("yesterday", "3", "", 7, "inf days", "nan h"):
        with pytest.raises(
            InvalidInputError, match=r'since must be a datetime, a timedelta, or a text such as "2026-10-01"'
        ):
            store.find(since=bad)


def test_a_moment_at_an_end_of_the_calendar_is_before_or_after_all_results(store, clock) -> None:
    """In some time zone it is in no year of the calendar."""
    store_now(store, key(1.0), 10)
    east, west = (timezone(timedelta(hours=h)) for h in (14, -14))
    for first in (datetime.min, datetime(1, 1, 1, tzinfo=east), timedelta.max, "0001-01-01", datetime(1960, 1, 1)):
        assert len(store.find(since=first)) == 1, first
        assert store.find(until=first) == [], first
    for last in (datetime.max, datetime(9999, 12, 31, 23, tzinfo=west), timedelta.min, "9999-12-31T23:59-12:00"):
        assert store.find(since=last) == [], last
        assert len(store.find(until=last)) == 1, last


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"since": "1 h", "until": "3 h"}, "until must be no earlier than since, which is '1 h'; got '3 h'"),
        ({"parameters": 5}, "parameters must be a mapping of names to values; got 5"),
        ({"parameters": [("strike", 1)]}, "parameters must be a mapping of names to values"),
        ({"parameters": {1: 1}}, "parameter names must be Python names"),
    ],
)
def test_what_is_no_question_is_refused(store, given, text) -> None:
    with pytest.raises(InvalidInputError, match=text):
        store.find(**given)


def test_no_result_has_more_replicates_than_an_integer_of_64_bits(store) -> None:
    store_now(store, key(1.0), 10)
    assert store.find(replicates=2**70) == store.find(replicates=2**70, strike=1.0) == []
    assert len(store.find(limit=2**70)) == 1


def test_many_parameters_are_found(store) -> None:
    """Beyond those that the index of points has."""
    for last in (1.0, 2.0):
        store_now(store, key(5.0, **{f"p{n:03}": 0.0 for n in range(70)}, zz=last), 10)
    assert [r.parameters["zz"] for r in store.find(zz=2.0)] == [2.0]
    assert len(store.find(zz=(1, 2), p069=0)) == 2


# ---- loading -----------------------------------------------------------------------------------------


def test_a_result_is_loaded_with_summary_and_replay(store) -> None:
    with bgsim.Engine(store) as engine:
        result = engine.submit(kernels.walk, kernels.Walk(steps=3), replicates=50, seed=4).result()
    [found] = store.find(kernels.walk)
    for loaded in (store.load_result(found), store.load_result(found.hash[:9]), store.load_result(found, kernels.walk)):
        assert loaded.simulation is kernels.walk
        assert loaded.parameters == result.parameters
        assert (loaded.seed, loaded.replicates, loaded.versions) == (4, 50, result.versions)
        assert repr(loaded) == repr(result)
        assert loaded.replay(7)[0] == result["end"][7]
    with pytest.raises(
        InvalidInputError, match="simulation must be the simulation kernels.walk; got <simulation bgsim"
    ):
        store.load_result(found, european_call)
    store.delete(found.hash)
    with pytest.raises(StoreError, match="is no longer in"):
        store.load_result(found)


def test_a_built_in_model_is_found_and_other_code_is_not_imported(store, monkeypatch) -> None:
    """A store's file may name any module: naming one imports nothing."""
    with bgsim.Engine(store) as engine:
        engine.submit(european_call, replicates=5).result()
    assert store.load_result(store.find("european_call")[0]).replay(2) >= 0.0
    store_now(store, ResultKey("antigravity.fly", "f" * 32, 0, ParameterSet({"x": 1.0})), 10)
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"imports {name}"))
    loaded = store.load_result(store.find("fly")[0])
    assert loaded.parameters["x"] == 1.0
    assert "antigravity.fly: 10 replicates" in repr(loaded)
    assert loaded.summary()["value"].count == 10
    with pytest.raises(
        SimulationNotFoundError, match=r"antigravity.fly is not known in this process.*load_result\(found"
    ):
        loaded.replay(0)


def test_code_that_has_changed_is_not_replayed(store) -> None:
    store_now(store, ResultKey(kernels.walk.name, "f" * 32, 0, kernels.walk.bind()), 10)
    loaded = store.load_result(store.find(kernels.walk)[0])
    assert loaded.parameters == kernels.walk.bind()
    with pytest.raises(SimulationChangedError, match="is no longer what computed this result"):
        loaded.replay(0)


def test_parameters_of_a_class_that_has_changed_stay_as_they_were(store) -> None:
    store_now(store, ResultKey(kernels.walk.name, "f" * 32, 0, ParameterSet({"gone": 1.0})), 10)
    loaded = store.load_result(store.find(kernels.walk)[0])
    assert dict(loaded.parameters) == {"gone": 1.0}
    assert loaded.parameters.parameters_class is None


def test_a_list_of_results_is_no_result(tmp_path):
    with closing(ResultStore(tmp_path / "s.db")) as store:
        for wrong in (store.find("european_call"), None):
            with pytest.raises(InvalidInputError, match=r"must be one stored result, such as found\[0\]"):
                store.load_result(wrong)
