"""A store that is locked, full, read-only, deleted or gone, and stores that break their contract: jobs run and deliver."""

from __future__ import annotations

import concurrent.futures
import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from kernels import Fragile, fragile, one_draw, walk

import bgsim
from bgsim.errors import NotStoredError, StoreError
from bgsim.job import JobState
from bgsim.storage import MemoryStore, Store
from bgsim.storage.journal import Journal
from bgsim.storage.memory_journal import MemoryJournal


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite wait for a lock as briefly as it can."""
    monkeypatch.setattr("bgsim.storage.sqlite.database.BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr("bgsim.storage.sqlite.writer.BUSY_TIMEOUT_MS", 1)


def deliver(engine: bgsim.Engine, seed: int, **options: Any) -> Any:
    """Run a job to its end and see that it has delivered, stored or not; return its status."""
    job = engine.submit(one_draw, replicates=4, seed=seed, **options)
    values = job.result(HANDSHAKE_S)["x"].tolist()
    assert values == [bgsim.replicate_rng(seed, i).random() for i in range(4)]
    assert job.state is JobState.COMPLETED
    return job.status()


def see_refusal(engine: bgsim.Engine, caplog: pytest.LogCaptureFixture, text: str, seed: int = 1) -> None:
    """See that a job delivers, and that its status, the engine's health and a warning say that it is not stored."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "bgsim"):
        status = deliver(engine, seed)
    assert text in status.store_error
    assert text in str(status)
    health = engine.health()
    assert not health.ok
    assert text in health.store_error
    assert "the store refuses" in str(health)
    assert any("delivered but not stored" in record.getMessage() for record in caplog.records)


def see_recovery(engine: bgsim.Engine, seed: int = 2) -> None:
    """See that the next job is stored, and that the engine says that all is well."""
    assert deliver(engine, seed).store_error is None
    assert engine.health().store_error is None
    assert engine.health().ok
    assert deliver(engine, seed, cache="only").from_store == 4


# ---- the file ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_store_that_another_process_keeps_locked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.db"
    with bgsim.Engine(path, workers=1) as engine:
        see_recovery(engine, 0)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        see_refusal(engine, caplog, "database is locked")
        assert deliver(engine, 0, cache="only").from_store == 4, "what is stored can be read"
        other.execute("ROLLBACK")
        other.close()
        see_recovery(engine)
        assert engine.interrupted() == []


@pytest.mark.usefixtures("impatient")
def test_an_engine_closes_while_its_store_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    engine = bgsim.Engine(path, workers=1)
    deliver(engine, 0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    deliver(engine, 1)
    assert engine.close(timeout_s=1.0) == []
    other.execute("ROLLBACK")
    other.close()
    engine.close()


def test_close_does_not_wait_for_a_lock_beyond_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite waits a minute; the rest is left to a thread."""
    monkeypatch.setattr("bgsim.running.shutdown.CLOSE_GRACE_S", 0.01)
    path = tmp_path / "s.db"
    engine = bgsim.Engine(path, workers=1)
    deliver(engine, 0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    job = engine.submit(one_draw, replicates=4, seed=1)
    assert engine.close(cancel=True) in ([job], [])
    assert not job.done() or job.cancelled()
    other.execute("ROLLBACK")
    other.close()
    concurrent.futures.wait([job], HANDSHAKE_S)
    assert job.done()
    engine.close()


LIMITS = {
    "full": ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1073741823", "the disk is full"),
    "read-only": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "readonly"),
}


@pytest.mark.parametrize(("close", "open_", "text"), LIMITS.values(), ids=LIMITS.keys())
def test_a_store_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, close: str, open_: str, text: str
) -> None:
    """Nothing that is stored is lost, and it goes on when there is room, or leave, again."""
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        see_recovery(engine, 0)
        fill = engine.submit(walk, {"steps": 500}, replicates=200, seed=5)  # leaves no free page to write to
        assert fill.result(HANDSHAKE_S) is not None
        engine.store._file.run(lambda connection: connection.execute(close).fetchall(), alone=True)
        with caplog.at_level(logging.WARNING, "bgsim"):
            job = engine.submit(walk, {"steps": 500}, replicates=200, seed=6)
            assert job.result(HANDSHAKE_S)["path"].shape == (200, 500)
        assert text in job.status().store_error
        assert text in engine.health().store_error
        assert "delivered but not stored" in caplog.text
        assert text in list(job.updates())[-1].messages[-1]
        engine.store._file.run(lambda connection: connection.execute(open_).fetchall(), alone=True)
        see_recovery(engine, 3)
        assert deliver(engine, 0, cache="only").from_store == 4
        assert engine.store.check().ok


def test_a_store_that_is_deleted_while_it_is_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is not made anew behind the caller's back; another engine makes a new one."""
    path = tmp_path / "s.db"
    with bgsim.Engine(path, workers=1) as engine:
        see_recovery(engine, 0)
        for file in tmp_path.iterdir():
            file.unlink()
        see_refusal(engine, caplog, "was deleted or replaced")
        see_refusal(engine, caplog, "was deleted or replaced", seed=3)
        assert not path.exists()
    with bgsim.Engine(path, workers=1) as engine:
        see_recovery(engine)


def test_a_store_whose_directory_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "runs"
    directory.mkdir()
    with bgsim.Engine(directory / "s.db", workers=1, recover=True) as engine:
        see_recovery(engine, 0)
        shutil.rmtree(directory)
        see_refusal(engine, caplog, "was deleted or replaced")
        failed = engine.submit(fragile, Fragile(fails_at=2.0), replicates=1)
        assert "too small" in str(failed.exception(HANDSHAKE_S))
        with pytest.raises((StoreError, NotStoredError)):
            engine.submit(one_draw, replicates=4, seed=9, cache="only")
        engine.submit(one_draw, replicates=4, seed=8, cache="refresh").result(HANDSHAKE_S)


def test_what_cannot_be_loaded_and_is_then_stored_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that passes leaves no false report behind."""
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        engine.submit(one_draw, replicates=2, seed=1).result(HANDSHAKE_S)
        load = engine.store.load

        def fail_once(*arguments: Any) -> Any:
            monkeypatch.setattr(engine.store, "load", load)
            raise StoreError("not now")

        monkeypatch.setattr(engine.store, "load", fail_once)
        job = engine.submit(one_draw, replicates=4, seed=1)
        job.result(HANDSHAKE_S)
        assert job.status().store_error is None
        assert engine.health().ok
        assert deliver(engine, 1, cache="only").from_store == 4


# ---- stores that break their contract ----------------------------------------------------------------


class Broken(Store):
    """Raises from every method, and not a StoreError."""

    max_storage_bytes = 2**30
    location = "nowhere"

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal = journal or MemoryJournal()

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("it is broken")

    find = load = parts = store = results = size = get = delete = place = slots = workspaces = swap = clear = _raise
    change_slots = evict = cleanup = check = flush = count = _raise

    def close(self) -> None:
        """Never called: the engine did not open it."""
        raise AssertionError("it was closed")


class BrokenJournal(Journal):
    """Raises from every method, which no journal may."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("the journal is broken")

    register = heartbeat = release = add = start = remove = interrupted = claim = _raise
    add_dead_letter = dead_letters = take_dead_letter = _raise
    put_schedule = schedules = remove_schedule = mark_schedule_run = flush = _raise


@pytest.mark.parametrize("immediate", [False, True])
def test_a_store_that_raises_from_every_method(caplog: pytest.LogCaptureFixture, immediate: bool) -> None:
    with bgsim.Engine(Broken(), workers=1, immediate=immediate) as engine:
        see_refusal(engine, caplog, "it is broken")
        for mode in ("refresh", "use", "off"):
            assert deliver(engine, 2, cache=mode).replicates_completed == 4
        with pytest.raises(RuntimeError, match="it is broken"):
            engine.submit(one_draw, replicates=4, cache="only")
        job = engine.submit(fragile, Fragile(fails_at=2.0), replicates=3)
        assert job.exception(HANDSHAKE_S) is not None
        assert [letter.id for letter in engine.dead_letters()] == [job.id]


@pytest.mark.parametrize("immediate", [False, True])
def test_a_journal_that_raises_from_every_method(caplog: pytest.LogCaptureFixture, immediate: bool) -> None:
    """Jobs run, fail, are cancelled and closed; health and a warning say what a crash would lose."""
    with bgsim.Engine(Broken(BrokenJournal()), workers=1, immediate=immediate, recover=True) as engine:
        assert "cannot be recovered now" in caplog.text
        assert deliver(engine, 1).replicates_completed == 4
        assert "broken" in engine.health().store_error
        assert "the journal refuses" in caplog.text
        job = engine.submit(fragile, Fragile(fails_at=2.0), replicates=3)
        assert "too small" in str(job.exception(HANDSHAKE_S))
        delayed = engine.submit(one_draw, replicates=3, delay_s=3600.0)
        assert delayed.cancel()
        for ask in (engine.interrupted, engine.dead_letters, engine.recover):
            with pytest.raises(RuntimeError, match="the journal is broken"):
                ask()
    assert delayed.cancelled()


class Silent(MemoryStore):
    """Takes results and never says what became of them."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []
        self.took = threading.Event()

    def store(self, key: Any, columns: Any, *, on_stored: Any = None, **more: Any) -> None:
        self.taken.append(on_stored)
        self.took.set()


@pytest.fixture
def silent() -> Iterator[Silent]:
    store = Silent()
    yield store
    store.close()


def test_a_store_that_never_answers_keeps_no_close_with_a_time_out(silent: Silent) -> None:
    """The job is storing, too late to be cancelled; when the answer comes at last, it is done."""
    engine = bgsim.Engine(silent, workers=1)
    job = engine.submit(one_draw, replicates=4)
    assert silent.took.wait(HANDSHAKE_S)
    assert job.status().phase == "storing"
    assert not job.cancel()
    assert engine.close(cancel=True, timeout_s=0) == [job]
    assert not job.done()
    silent.taken[0](None)
    assert job.result(HANDSHAKE_S).replicates == 4
    assert engine.close() == []


def test_a_store_that_never_answers_does_not_keep_an_immediate_engine_busy(silent: Silent) -> None:
    engine = bgsim.Engine(silent, immediate=True)
    job = engine.submit(one_draw, replicates=4)
    assert job.status().phase == "storing"
    assert not engine.step()
    assert engine.close() == [job]
    silent.taken[0](StoreError("too late"))
    assert job.result().replicates == 4
    assert job.status().store_error == "too late"


class Twice(MemoryStore):
    """Says twice what became of a result, and raises on top."""

    def store(self, key: Any, columns: Any, *, on_stored: Any = None, **more: Any) -> None:
        on_stored(StoreError("it does not fit"))
        on_stored(None)
        raise RuntimeError("it is broken")


def test_a_store_that_answers_twice_ends_a_job_once() -> None:
    ended: list[Any] = []
    with bgsim.Engine(Twice(), workers=1) as engine:
        engine.subscribe(ended.append, completions_only=True)
        assert deliver(engine, 1).store_error == "it does not fit"
        assert deliver(engine, 2).replicates_completed == 4
    assert [update.update_type.name for update in ended] == ["COMPLETED", "COMPLETED"]
