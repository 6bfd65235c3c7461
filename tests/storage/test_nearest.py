"""The most similar stored result, against the comparison with every one."""

from __future__ import annotations

import enum
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import store_now

from bgsim.parameters.parameter_set import ParameterSet, ResultKey, similarity
from bgsim.storage import MemoryStore, ResultStore, Store, nearest
from bgsim.storage.explain import explain_miss, json_of, most_similar
from bgsim.storage.nearest import Wanted


class Kind(enum.Enum):
    A = 1
    B = 2


numbers = st.sampled_from([0.0, -0.0, 1.0, 1, 2, 2.5, -3.0, 1e308, -1e308, float("inf"), 2**60 + 1])
others = st.sampled_from([None, True, False, "", "A", "a" * 2000, b"x", Kind.A, Kind.B, 1 + 2j])
arrays = st.sampled_from(
    [np.array([1.0, 2.0]), np.array([1.0, 2.5]), np.arange(300.0), np.arange(300.0) + 1, np.array([np.nan])]
)
compounds = st.sampled_from([(1, 2.0), (1.0, 2), (1, "x"), ()])
sets = st.dictionaries(st.sampled_from("abc"), numbers | others | arrays | compounds, max_size=3)
stored = st.lists(st.tuples(sets, st.sampled_from("mn"), st.sampled_from("fg"), st.integers(0, 1)), max_size=12)


def key_of(values, simulation="m", code="f", seed=0) -> ResultKey:
    return ResultKey(f"tests.{simulation}", code * 32, seed, ParameterSet(allowed(values)))


def allowed(values):
    """Without NaN, which a mapping may not have."""
    return {n: v for n, v in values.items() if not (isinstance(v, np.ndarray) and np.isnan(v).any())}


def check(store: Store, rows, wanted) -> None:
    for values, simulation, code, seed in rows:
        store_now(store, key_of(values, simulation, code, seed), 2)
    for simulation in (None, "tests.m"):
        expected = most_similar(store.results(), allowed(wanted), simulation)
        found = store.most_similar(allowed(wanted), simulation=simulation)
        assert (found is None) == (expected is None)
        if found is not None:
            assert (found[0].hash, found[1]) == (expected[0].hash, expected[1])
    key = key_of(wanted, code="g", seed=1)
    if not store.count(key):
        request = Wanted(json_of(allowed(wanted)), "tests.m", key.fingerprint, 1)
        found, expected = explain_miss(key, 5, store.alike(request)), explain_miss(key, 5, store.results())
        assert (found.reason, list(found.differences)) == (expected.reason, list(expected.differences))


@settings(max_examples=150, deadline=None)
@given(stored, sets)
def test_memory_finds_what_the_comparison_with_all_finds(rows, wanted) -> None:
    check(MemoryStore(), rows, wanted)


@settings(max_examples=50, deadline=None)
@given(stored, sets)
def test_a_file_finds_what_the_comparison_with_all_finds(rows, wanted) -> None:
    with TemporaryDirectory() as folder, closing(ResultStore(Path(folder) / "s.db")) as store:
        check(store, rows, wanted)


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    with closing(ResultStore(tmp_path / "s.db") if request.param == "file" else MemoryStore()) as opened:
        yield opened


def fill(store, sets_of_values) -> None:
    for values in sets_of_values:
        store.store(key_of(values), {"x": np.zeros(1)})
    store.flush()


def test_of_many_equal_ones_the_last_used_is_found(store) -> None:
    fill(store, ({"a": text} for text in map(str, range(300))))
    store.load(key_of({"a": "7"}))
    store.cleanup()  # which writes that it was used
    found, alike = store.most_similar({"a": "none of them"})
    assert (found.parameters["a"], alike) == ("7", 0.0)


def test_few_results_are_read(store) -> None:
    fill(store, ({"a": float(a), "b": float(b)} for a in range(1, 20) for b in range(1, 20)))
    wanted = Wanted(json_of({"a": 7.2, "b": 3.9}))
    (found,) = store.alike(wanted)
    assert found.parameters == {"a": 7.0, "b": 4.0}


def test_of_arrays_that_all_differ_a_hundred_are_compared(store) -> None:
    fill(store, ({"a": float(a), "b": np.full(3, a + 1.0)} for a in range(150)))
    found = store.alike(Wanted(json_of({"a": 99.0, "b": np.full(3, 0.5)})))
    assert len(found) == nearest.MOST
    assert any(result.parameters["a"] == 99.0 for result in found)


def test_parameters_beyond_those_of_a_point_are_compared_too(store) -> None:
    names = [f"p{n:03}" for n in range(70)]
    fill(store, ({name: float(n + (name == "p069") * k) for n, name in enumerate(names)} for k in range(5)))
    wanted = {name: float(n + (name == "p069") * 3) for n, name in enumerate(names)}
    found, alike = store.most_similar(wanted)
    assert (found.parameters["p069"], alike) == (72.0, 1.0)


def test_lists_of_arrays_are_compared(store) -> None:
    lists = [(np.arange(3.0), np.arange(2.0) + k) for k in range(3)]
    fill(store, ({"a": values} for values in lists))
    found, alike = store.most_similar({"a": lists[1]})
    assert alike == 1.0
    assert (found.parameters["a"][1] == lists[1][1]).all()
    assert similarity({"a": list(lists[0])}, {"a": list(lists[1])}) == 0.0
