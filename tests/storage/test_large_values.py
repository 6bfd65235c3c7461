"""Large values of parameters: each is stored once, and read as it was given."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_store import read_store
from store_helpers import columns, key, letter, request, same, schedule, store_now

from bgsim.parameters.parameter_set import ParameterSet
from bgsim.storage import Record, ResultStore
from bgsim.storage.large_values import LARGE, MARK, SharedValues, shortened, whole
from bgsim.storage.memory_journal import MemoryJournal

DATA = np.random.default_rng(0).random(1000)
PARAMETERS = ParameterSet({"x": 1.0, "data": DATA}).to_json()

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just("v" * LARGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("__value__"), inner),
    max_leaves=5,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.db"


def count(path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM parameter_values").fetchone()[0]


@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_what_is_shortened_is_made_whole(parameters) -> None:
    """Also what looks like a reference."""
    text = json.dumps(parameters)
    short, found = shortened(text)
    assert whole(short, found.__getitem__) == text
    assert len(short) < len(parameters) * (LARGE + 100) + 10


@pytest.mark.parametrize("text", ["", "[]", "{", "7", '{"a": 1, "a": ' + "9" * LARGE + "}", '{"a":' + "[1]," * LARGE])
def test_what_is_no_object_as_bgsim_writes_it_is_kept_as_it_is(text) -> None:
    assert shortened(text) == (text, {})
    assert shortened(text + MARK)[1] == {}


def test_a_small_value_is_no_reference() -> None:
    text = ParameterSet({"x": 1.0, "name": 'MARK {"__value__": "' + "0" * 64 + '"}'}).to_json()
    assert shortened(text) == (text, {})


def test_results_share_one_copy_of_an_array(path) -> None:
    keys = [key(1.0, seed, data=DATA) for seed in range(5)] + [key(2.0, data=DATA)]
    with closing(ResultStore(path)) as store:
        for of in keys:
            store_now(store, of, 10)
        assert count(path) == 1
        assert {r.record for r in store.results()} == {Record.of(of) for of in keys}
        assert all((result.parameters["data"] == DATA).all() for result in store.results())
        assert all(same(store.load(of), columns(of, 10)) for of in keys)
        assert store.check().ok
    assert {row["parameters"] for row, _ in read_store(path)} == {Record.of(of).parameters for of in keys}


def test_the_last_result_takes_its_value_with_it(path) -> None:
    keys = [key(1.0, seed, data=DATA) for seed in range(2)] + [key(2.0, data=DATA + 1)]
    with closing(ResultStore(path)) as store:
        for of in keys:
            store_now(store, of, 10)
        for of, left in ((keys[0], 2), (keys[1], 1), (keys[2], 0)):
            store.delete(of.hash)
            store.cleanup()
            assert count(path) == left


def test_the_journal_shares_values_with_the_results(path) -> None:
    large = {"parameters": PARAMETERS}
    with closing(ResultStore(path)) as store:
        journal = store.journal
        store_now(store, key(1.0, data=DATA), 10)
        requests = [request(number, **large) for number in range(20)]
        for each in requests:
            journal.add(each)
        journal.add_dead_letter(replace(letter(0), **large))
        journal.put_schedule(schedule(**large))
        journal.flush()
        assert count(path) == 1
        assert path.stat().st_size < 436_000
        store.delete(key(1.0, data=DATA).hash)
        store.cleanup()
        assert journal.interrupted() == requests
        journal.register("new")
        assert [r.parameters for r in journal.claim("new")] == [PARAMETERS] * 20
        assert store.check().ok
        for each in requests:
            journal.remove(each.id)
        journal.flush()
        store.cleanup()
        assert count(path) == 1
        assert journal.schedules()[0].parameters == PARAMETERS
        assert journal.take_dead_letter("d0").parameters == PARAMETERS
        journal.remove_schedule("s")
        store.cleanup()
        assert count(path) == 0


def test_an_imported_store_brings_its_values(path, tmp_path) -> None:
    with closing(ResultStore(path)) as store:
        store_now(store, key(1.0, data=DATA), 10)
    with closing(ResultStore(tmp_path / "other.db")) as other:
        other.import_(path)
        assert other.results()[0].record == Record.of(key(1.0, data=DATA))
        assert count(other.path) == 1


def test_a_rebuilt_store_keeps_values(path) -> None:
    with closing(ResultStore(path)) as store:
        store_now(store, key(1.0, data=DATA), 10, "w")
        store.journal.put_schedule(schedule(parameters=PARAMETERS))
        store._file.rebuild()
        assert store.results()[0].record == Record.of(key(1.0, data=DATA))
        assert store.journal.schedules()[0].parameters == PARAMETERS
        assert count(path) == 1


def test_a_value_that_is_missing_is_damage_of_its_results_alone(path) -> None:
    with closing(ResultStore(path)) as store:
        store_now(store, key(1.0, data=DATA), 10)
        store_now(store, key(2.0), 10)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM parameter_values")
    with closing(ResultStore(path)) as store:
        assert len(store.results()) == 2
        (problem,) = store.check().problems
        assert key(1.0, data=DATA).hash in problem
        store.check(repair=True)
        assert [r.hash for r in store.results()] == [key(2.0).hash]


def test_a_journal_in_memory_has_one_copy() -> None:
    journal = MemoryJournal()
    requests = [request(number, parameters=PARAMETERS[:-1] + " }") for number in range(3)]
    requests += [request(number, parameters=PARAMETERS) for number in range(3, 6)]
    for each in requests:
        journal.add(each)
    journal.add_dead_letter(replace(letter(0), parameters=PARAMETERS))
    journal.put_schedule(schedule(parameters=PARAMETERS))
    assert journal.interrupted() == requests
    assert journal.dead_letters()[0].parameters == PARAMETERS
    assert journal.schedules()[0].parameters == PARAMETERS
    assert len(shortened(PARAMETERS)[1]) == 1
    assert journal.values.size_bytes == len(*shortened(PARAMETERS)[1].values())
    for each in requests:
        journal.remove(each.id)
    assert journal.take_dead_letter("d0").parameters == PARAMETERS
    assert journal.values.size_bytes > 0
    journal.remove_schedule("s")
    assert journal.values.size_bytes == 0


def test_shared_values_go_with_their_last_use() -> None:
    shared = SharedValues()
    shorts = [shared.add(PARAMETERS), shared.add(PARAMETERS)]
    assert [shared.whole(short) for short in shorts] == [PARAMETERS] * 2
    shared.remove(shorts[0])
    assert shared.whole(shorts[1]) == PARAMETERS
    shared.remove(shorts[1])
    assert shared.size_bytes == 0
