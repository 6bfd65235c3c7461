"""A file that another process keeps locked: it is waited for once, and then hardly, until it answers."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store_helpers import columns, key

from bgsim.errors import StoreError
from bgsim.storage import ResultStore
from bgsim.storage.sqlite import database, writer

LONG_MS, SHORT_MS = 30, 7
"""What the time-outs are in these tests: the first ends here, since nothing else would."""


@pytest.fixture(autouse=True)
def timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (database, writer):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", LONG_MS)
        monkeypatch.setattr(module, "LOCKED_TIMEOUT_MS", SHORT_MS)
    monkeypatch.setattr("bgsim.storage.sqlite.readers.LOCKED_TIMEOUT_MS", SHORT_MS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Return another program's connection."""
    ResultStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        yield connection


def attempt(store: ResultStore, number: int) -> Exception | None:
    """Store a result; return what became of it."""
    told: list[Exception | None] = []
    there = threading.Event()
    store.store(key(number), columns(key(number), 5), on_stored=lambda error: (told.append(error), there.set()))
    assert there.wait(30)
    return told[0]


def patience_ms(store: ResultStore) -> int:
    """Return how long the writer's connection waits."""
    return store._file.run(lambda connection: connection.execute("PRAGMA busy_timeout").fetchone()[0], alone=True)


def test_the_writer_waits_once_and_then_hardly_until_the_file_answers(path: Path, other: sqlite3.Connection) -> None:
    with closing(ResultStore(path)) as store:
        assert patience_ms(store) == LONG_MS
        other.execute("BEGIN IMMEDIATE")
        for number in range(3):
            error = attempt(store, number)
            assert isinstance(error, StoreError)
            assert "another process keeps it locked" in str(error)
            assert patience_ms(store) in (LONG_MS, SHORT_MS)
        assert patience_ms(store) == SHORT_MS
        other.execute("ROLLBACK")
        assert attempt(store, 3) is None
        assert patience_ms(store) == LONG_MS
        assert [store.count(key(number)) for number in range(4)] == [0, 0, 0, 5]


def test_readers_wait_once_too(path: Path, other: sqlite3.Connection) -> None:
    """Where the log cannot be shared, as on a network drive, a writer keeps readers out."""
    with closing(ResultStore(path)) as store:
        assert attempt(store, 1) is None
        store.flush()

        def reader_ms() -> int:
            with store._readers.reading() as connection:
                return connection.execute("PRAGMA busy_timeout").fetchone()[0]

        assert reader_ms() == LONG_MS
        busy = sqlite3.OperationalError("database is locked")
        busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
        with pytest.raises(StoreError, match="another process keeps it locked"), store._readers.reading():
            raise busy
        assert reader_ms() == SHORT_MS
        assert reader_ms() == LONG_MS
        assert store.load(key(1)) is not None


def test_a_file_that_stays_locked_is_not_opened(path: Path, other: sqlite3.Connection) -> None:
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="another process keeps it locked"):
        ResultStore(path)
    other.execute("ROLLBACK")
    ResultStore(path).close()
