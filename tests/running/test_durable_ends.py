"""What a caller is told of a job is in the store's file by then: its request with ``durable=True``, and every end."""

from __future__ import annotations

import concurrent.futures
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from kernels import Fragile, fragile, one_draw

import bgsim
from bgsim.errors import InvalidInputError, StoreError
from bgsim.job import JobState
from bgsim.progress import UpdateType
from bgsim.storage import ResultStore
from bgsim.testing import Gate, gate, gated, parts


def pending(path: Path) -> set[str]:
    """Return the ids that another process would find in the journal."""
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM requests")}


class Halting:
    """Stops the writer within a transaction, before it writes the journal."""

    def __init__(self, store: ResultStore) -> None:
        self.gate = Gate()
        write = store.journal.write

        def wait_and_write(connection: sqlite3.Connection, ended: Any) -> None:
            self.gate.stop_here()
            write(connection, ended)

        store.journal.write = wait_and_write


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with bgsim.Engine(tmp_path / "s.db", workers=1, max_concurrent_simulations=1) as engine:
        yield engine


def test_a_durable_request_is_in_the_file_when_submit_returns(engine: bgsim.Engine, tmp_path: Path) -> None:
    engine.pause()
    job = engine.submit(one_draw, replicates=3, durable=True)
    assert pending(tmp_path / "s.db") == {job.id}
    engine.resume()


def test_a_durable_request_that_cannot_be_written_is_refused_and_cancelled(
    engine: bgsim.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StoreError("the disk is full")

    engine.pause()
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="the disk is full"):
        patch.setattr(engine.store.journal, "flush", fail)
        engine.submit(one_draw, replicates=3, durable=True)
    engine.store.flush()
    assert engine.jobs() == []
    engine.resume()


@pytest.mark.parametrize("options", [{}, {"journal": False}])
def test_durable_needs_a_file_and_a_journal(tmp_path: Path, options: dict[str, Any]) -> None:
    store = tmp_path / "s.db" if options else None
    with (
        bgsim.Engine(store, **options) as engine,
        pytest.raises(InvalidInputError, match="give the engine a store in a file, and journal=True"),
    ):
        engine.submit(one_draw, replicates=3, durable=True)


def wait(job: bgsim.Job) -> None:
    """Wait for the end of a job, whatever it is."""
    assert concurrent.futures.wait([job], HANDSHAKE_S).done


def test_a_cancel_is_told_when_it_is_written(engine: bgsim.Engine, tmp_path: Path) -> None:
    """A kill before would leave the job pending, and the next engine would run it."""
    with gate("a") as held:
        running = engine.submit(gated, {"name": "a"}, replicates=1)
        held.wait_until_reached()
        job = engine.submit(one_draw, replicates=3, seed=1, durable=True)
        halting = Halting(engine.store)
        assert job.cancel()
        halting.gate.wait_until_reached()
        assert not job.done()
        assert job.state is JobState.CANCELLING
        assert job in engine.jobs()
        assert pending(tmp_path / "s.db") >= {job.id}
        halting.gate.open()
        wait(job)
        assert pending(tmp_path / "s.db") == {running.id}
        assert job.state is JobState.CANCELLED
        assert job not in engine.jobs()


def test_a_failure_is_told_when_its_dead_letter_is_written(engine: bgsim.Engine, tmp_path: Path) -> None:
    engine.pause()
    job = engine.submit(fragile, Fragile(fails_at=1.0), replicates=3, durable=True)
    engine.resume()
    assert job.exception(HANDSHAKE_S) is not None
    assert pending(tmp_path / "s.db") == set()
    with engine.store.database() as database:
        assert [letter["id"] for letter in database.query("SELECT id FROM dead_letters")] == [job.id]


def test_a_failure_in_memory_is_told_when_its_dead_letter_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sees that a job has failed finds its letter."""
    with bgsim.Engine(workers=1) as engine:
        journal, halt = parts(engine).events.journal, Gate()
        add = journal.add_dead_letter

        def wait_and_add(letter: Any) -> None:
            halt.stop_here()
            add(letter)

        monkeypatch.setattr(journal, "add_dead_letter", wait_and_add)
        job = engine.submit(fragile, Fragile(fails_at=1.0), replicates=3)
        halt.wait_until_reached()
        assert parts(engine).bus.current(job.id).update_type is not UpdateType.FAILED
        assert (job.done(), job.state, job in engine.jobs()) == (False, JobState.CANCELLING, True)
        halt.open()
        assert job.exception(HANDSHAKE_S) is not None
        assert [letter.id for letter in engine.dead_letters()] == [job.id]
        assert parts(engine).bus.current(job.id).update_type is UpdateType.FAILED


def test_a_job_that_stores_nothing_is_told_when_it_has_left_the_journal(engine: bgsim.Engine, tmp_path: Path) -> None:
    engine.pause()
    job = engine.submit(one_draw, replicates=3, cache="off", durable=True)
    engine.resume()
    assert job.result(HANDSHAKE_S).replicates == 3
    assert pending(tmp_path / "s.db") == set()


def test_an_end_is_told_although_the_journal_cannot_be_written(
    engine: bgsim.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.pause()
    job = engine.submit(one_draw, replicates=3, durable=True)

    def refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(engine.store.journal, "write", refuse)
    assert job.cancel()
    wait(job)
    assert job.cancelled()
    engine.resume()


def test_an_immediate_engine_ends_what_it_cancels(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db", immediate=True) as engine:
        engine.pause()
        job = engine.submit(one_draw, replicates=3, durable=True)
        job.cancel()
        engine.drain()
        assert job.cancelled()
        assert pending(tmp_path / "s.db") == set()


def test_slots_show_what_a_stored_answer_has_placed(tmp_path: Path) -> None:
    """However long the writer takes: `result` has returned, so the slot is in use."""
    with bgsim.Engine(tmp_path / "s.db") as engine:
        for seed in (1, 2):
            engine.submit(one_draw, replicates=3, seed=seed).result(HANDSHAKE_S)
        for number in range(5):
            for seed in (1, 2):
                assert engine.submit(one_draw, replicates=3, seed=seed, workspace=f"w{number}").done()
            assert len(engine.store.compare(f"w{number}").outputs) == 1
            assert f"w{number}" in engine.store.workspaces()
