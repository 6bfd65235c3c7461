"""What a store keeps, what its limits remove, and how it tells."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
import tracemalloc
from contextlib import closing
from functools import partial

import numpy as np
import pytest
from odd_rows import execute_unchecked
from store_helpers import columns, key, opened_by, request, store_now

import bgsim
from bgsim.errors import InvalidInputError
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.limits import Limits
from bgsim.storage.sqlite import writer
from bgsim.storage.sqlite.eviction import EMPTY_BYTES

DAY_S = 24 * 3600.0


@pytest.fixture(params=["file", "memory"])
def make(request, tmp_path):
    """Return a function that opens a store; what it opened is closed in the end."""
    kinds = {"file": partial(ResultStore, tmp_path / "s.db"), "memory": MemoryStore}
    with opened_by(kinds[request.param]) as open_store:
        yield open_store


def later(monkeypatch, seconds: float) -> None:
    """Set the clock on."""
    then = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: then)


def evictions(caplog) -> list[tuple[int, str]]:
    return [(r.levelno, r.getMessage()) for r in caplog.records if "results were removed" in r.getMessage()]


# ---- age -----------------------------------------------------------------------------------------


def test_a_store_keeps_results_however_old_they_are(tmp_path, monkeypatch, caplog) -> None:
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        for x in range(5):
            store_now(store, key(x), 10)
    later(monkeypatch, 3650 * DAY_S)
    with bgsim.Engine(store=path) as engine:
        store_now(engine.store, key(9), 10)
        assert engine.store.cleanup().removed == ()
        assert len(engine.store.results()) == 6
        assert engine.health().evicted == 0
    assert evictions(caplog) == []


def test_an_age_limit_removes_what_is_older_and_says_which_setting_did(tmp_path, monkeypatch, caplog) -> None:
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        for x in range(3):
            store_now(store, key(x), 10)
    later(monkeypatch, 8 * DAY_S)
    with bgsim.Engine(store=path, max_age_seconds=7 * DAY_S) as engine:
        engine.store.flush()
        assert engine.store.results() == []
        assert engine.health().evicted == 3
    ((level, text),) = evictions(caplog)
    assert level == logging.WARNING
    assert "3 results were last used longer ago than max_age_s=604800" in text
    assert str(path) in text


# ---- what is told --------------------------------------------------------------------------------


def test_the_first_eviction_is_a_warning_and_later_ones_are_not(make, caplog) -> None:
    caplog.set_level(logging.INFO, "bgsim.storage")
    store = make()
    for x in range(4):
        store_now(store, key(x), 1000)
    store.max_storage_bytes = 30_000
    for x in range(10, 13):
        store_now(store, key(x), 1000)
    told = evictions(caplog)
    assert [level for level, _ in told] == [logging.WARNING, logging.INFO, logging.INFO]
    assert "results, the least recently used, made room: max_storage_bytes=30,000" in told[0][1]
    assert store.evicted == 6


def test_health_counts_what_the_limits_have_removed(make) -> None:
    with bgsim.Engine(make()) as engine:
        assert str(engine.health()) == "all is well"
        for x in range(3):
            store_now(engine.store, key(x), 1000)
        engine.store.max_storage_bytes = 1
        report = engine.store.cleanup()
        assert report.reasons == ("3 results, the least recently used, made room: max_storage_bytes=1",)
        assert engine.health().evicted == 3
        assert str(engine.health()) == "all is well; the store's limits have removed 3 results"


def test_what_slots_keep_beyond_the_limit_is_an_alert_until_they_are_cleared(make, caplog) -> None:
    with bgsim.Engine(make()) as engine:
        store = engine.store
        for x in range(2):
            store_now(store, key(x), 3000, "w")
        store.max_storage_bytes = 1
        store.cleanup()
        assert len(store.results()) == 2
        (alert,) = engine.health().alerts
        assert "beyond max_storage_bytes=1" in alert
        assert "store.clear" in alert
        store.cleanup()
        assert sum("beyond max_storage_bytes" in r.getMessage() for r in caplog.records) == 1
        store.max_storage_bytes = 2**30
        store.cleanup()
        assert engine.health().ok


def test_a_handler_of_the_log_may_use_the_store(make) -> None:
    """It is called without a lock; in the writer's thread a read is allowed."""
    store, found = make(), []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(store.size()[0])

    handler, logger = Handler(), logging.getLogger("bgsim.storage")
    logger.addHandler(handler)
    try:
        store_now(store, key(1), 1000)
        store.max_storage_bytes = 35_000
        store_now(store, key(2), 1000)
    finally:
        logger.removeHandler(handler)
    assert found == [1]


# ---- odd values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "1", None, 1.5, 10**30, np.float64(5.5)])
def test_a_limit_of_bytes_that_makes_no_sense_is_refused_by_name(make, value) -> None:
    with pytest.raises(InvalidInputError, match="max_storage_bytes must be a number of bytes"):
        make(max_storage_bytes=value)
    store = make()
    with pytest.raises(InvalidInputError, match="max_storage_bytes"):
        store.max_storage_bytes = value
    with pytest.raises(InvalidInputError, match="max_storage_bytes"):
        bgsim.Engine(max_storage_bytes=value)
    assert store.max_storage_bytes == 2**30


@pytest.mark.parametrize("value", [-1, math.nan, -math.inf, True, "1", None])
def test_a_limit_of_age_that_makes_no_sense_is_refused_by_name(make, value) -> None:
    with pytest.raises(InvalidInputError, match="max_age_s must be a number of seconds"):
        make(max_age_s=value)
    store = make()
    with pytest.raises(InvalidInputError, match="max_age_s"):
        store.max_age_s = value
    with pytest.raises(InvalidInputError, match="max_age_seconds"):
        bgsim.Engine(max_age_seconds=value)


def test_a_huge_age_is_no_limit(make) -> None:
    for age in (1e30, math.inf, 1e308, 10**400):
        store = make(max_age_s=age)
        store.store(key(1), columns(key(1), 10))
        store.flush()
        assert store.cleanup().removed == ()


def test_limits_are_integers_also_of_numpy() -> None:
    assert Limits(np.int64(5), np.float32(2.0)).max_storage_bytes == 5


# ---- bytes ---------------------------------------------------------------------------------------

LIMIT = 600_000
SMALL = {"x": np.zeros(2)}


def store_small(store, count: int, workspace: str | None = None, **more) -> None:
    for number in range(count):
        place = None if workspace is None else f"{workspace}{number}"
        store.store(key(float(number), **more), SMALL, workspace=place)
        if number % 50 == 0:
            store.flush()
    store.flush()


def test_the_file_of_small_results_stays_within_the_limit(tmp_path) -> None:
    """But for the 408 KiB of an empty store, and what one transaction adds."""
    path = tmp_path / "s.db"
    with closing(ResultStore(path, max_storage_bytes=LIMIT)) as store:
        store_small(store, 1500)
        assert path.stat().st_size <= LIMIT + EMPTY_BYTES + 2**19
        assert 300 < len(store.results()) < 1500
        assert store.check().ok
    assert path.stat().st_size <= LIMIT + EMPTY_BYTES


def test_results_that_are_handed_over_at_once_do_not_pile_up_in_the_file(tmp_path) -> None:
    path = tmp_path / "s.db"
    with closing(ResultStore(path, max_storage_bytes=LIMIT)) as store:
        for number in range(40):
            store.store(key(float(number)), {"x": np.random.default_rng(number).random(12_000)})
        store.flush()
        assert path.stat().st_size <= LIMIT + EMPTY_BYTES + 2**19 + 100_000


@pytest.mark.parametrize("shared", [True, False])
def test_array_parameters_count(make, shared) -> None:
    store = make(max_storage_bytes=LIMIT)
    for number in range(30):
        data = np.random.default_rng(0 if shared else number).random(5_000)
        store.store(key(float(number), data=data), SMALL)
        store.flush()
    assert len(store.results()) == 30 if shared else 3 <= len(store.results()) < 12


def test_results_that_share_a_value_beyond_the_limit_all_go(make) -> None:
    store = make(max_storage_bytes=100_000)
    data = np.random.default_rng(0).random(20_000)
    for number in range(5):
        store.store(key(float(number), data=data), SMALL)
        store.flush()
    assert len(store.results()) == 1
    assert "beyond max_storage_bytes=100,000" in store.alerts()[0]


def test_small_results_take_the_memory_of_the_limit() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        store = MemoryStore(1_500_000)
        for number in range(3_000):
            store.store(key(float(number), a=1.0, b=2.0), {"x": np.zeros(2), "n": np.zeros(2, int)})
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 300 < len(store.results()) < 3000
    assert 0.5 * 1_500_000 < used < 1.2 * 1_500_000


def test_the_journal_counts(make) -> None:
    """Its arrays once each; results make room for it."""
    store = make(max_storage_bytes=LIMIT)
    store_small(store, 20)
    for number in range(30):
        array = np.random.default_rng(number).random(5_000)
        store.journal.add(request(number, parameters=ParameterSet({"data": array}).to_json()))
        store.journal.flush()
    store_now(store, key(99), 10)
    assert len(store.results()) == 1
    assert "the journal" in store.alerts()[0]
    assert len(store.journal.interrupted()) == 30


def test_slots_count_and_are_kept(make) -> None:
    store = make(max_storage_bytes=LIMIT)
    store_small(store, 1500, "w")
    assert len(store.results()) == 1500
    assert "slots" in store.alerts()[0]
    for workspace in store.workspaces():
        store.clear(workspace)
    store.cleanup()
    assert len(store.results()) < 1500
    assert store.alerts() == ()


def test_a_reader_that_keeps_the_log_long_is_an_alert_until_it_ends(tmp_path, caplog) -> None:
    with bgsim.Engine(store=tmp_path / "s.db", max_storage_bytes=4_000_000) as engine:
        store = engine.store
        with store.database() as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM results").fetchone()
            for number in range(40):
                store_now(store, key(float(number)), 4000)
            (alert,) = engine.health().alerts
            assert "-wal has" in alert
            assert "let that reader end" in alert
        store_now(store, key(99), 4000)
        store.flush()  # the writer looks at the log after it has called back
        assert engine.health().ok
    assert 1 <= sum("-wal has" in r.getMessage() for r in caplog.records) <= 3
    assert store.evicted == 0


def test_a_log_that_a_reader_has_kept_is_short_again_before_the_store_is_idle(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "IDLE_S", 1000.0)
    path = tmp_path / "s.db"
    with closing(ResultStore(path, max_storage_bytes=4_000_000)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM results").fetchone()
        for number in range(40):
            store_now(store, key(float(number)), 4000)
        log = tmp_path / "s.db-wal"
        assert log.stat().st_size > 2_000_000
        other.rollback()
        for number in range(3):
            store_now(store, key(100.0 + number), 10)
        store.flush()
        assert log.stat().st_size <= 2**19


def test_a_journal_beyond_the_limit_is_an_alert(tmp_path) -> None:
    """Though it grows without a new result, after which the store would look."""
    with closing(ResultStore(tmp_path / "s.db", max_storage_bytes=10_000)) as store:
        assert store.alerts() == ()
        store.journal.add(request(1, "a", options='{"x": "' + "y" * 600_000 + '"}'))
        store.journal.flush()
        (alert,) = store.alerts()
        assert "beyond max_storage_bytes=10,000" in alert


@pytest.mark.parametrize("table", ["results", "slots"])
def test_a_hash_that_damage_has_taken_keeps_no_other_result(tmp_path, table) -> None:
    """Neither is nothing removed because of it, nor is it removed without end."""
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        for x in range(4):
            store_now(store, key(x), 4000, "w" if x == 0 else None)
    execute_unchecked(path, f"UPDATE {table} SET hash = NULL WHERE rowid = 1")
    with closing(ResultStore(path, max_storage_bytes=1)) as store:
        store.cleanup()
        assert all(store.count(key(x)) == 0 for x in range(1, 4))
