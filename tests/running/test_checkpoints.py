"""What is finished of a running job is in the store before the job ends, and the journal says how far it is."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_kernels import HOOKS, hooked

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import InvalidInputError, StoreError
from bgsim.job import JobState
from bgsim.storage import ResultStore
from bgsim.testing import Gate, SteppedEngine, parts, run_all, tick

INTERVAL_S = 30.0


class SlowStore(ResultStore):
    """A store that takes the worker's time by the engine's clock."""

    TAKES_S = 10.0
    clock: ManualClock
    times = 0

    def store(self, *given: Any, **more: Any) -> None:
        self.times += 1
        super().store(*given, **more)
        self.clock.advance(self.TAKES_S)


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with SteppedEngine(tmp_path / "s.db", checkpoint_interval_s=INTERVAL_S, chunk_target_ms=1) as engine:
        yield engine


def stored(engine: bgsim.Engine, job: bgsim.Job) -> int:
    """Return how many replicates of a job's result are durable."""
    engine.store.flush()
    return engine.store.count(job.request.key)


def test_the_finished_replicates_are_stored_after_each_interval(engine: SteppedEngine) -> None:
    job = engine.submit(hooked, replicates=100_000, seed=3)
    for _ in range(3):
        engine.step()
    assert stored(engine, job) == 0
    engine.clock.advance(INTERVAL_S)
    engine.step()
    first = job.status().replicates_completed
    assert 0 < stored(engine, job) == first < 100_000
    engine.step()
    assert stored(engine, job) == first < job.status().replicates_completed
    engine.clock.advance(INTERVAL_S)
    engine.step()
    assert first < stored(engine, job) == job.status().replicates_completed
    assert job.state is JobState.RUNNING
    run_all(engine)
    whole = bgsim.run(hooked, replicates=100_000, seed=3, immediate=True)
    assert all(np.array_equal(job.result()[name], whole[name]) for name in whole)
    assert job.status().from_store == 0, "what it has stored itself did not come from the store"
    kept = engine.store.load(job.request.key)
    assert all(np.array_equal(kept[name], whole[name]) for name in whole)
    assert engine.store.check().ok


def test_a_job_that_is_suspended_is_stored_too(engine: SteppedEngine) -> None:
    """A pause of hours must not cost what was computed before it."""
    job = engine.submit(hooked, replicates=100_000)
    for _ in range(3):
        engine.step()
    job.pause()
    engine.clock.advance(INTERVAL_S)
    run_all(engine)
    assert stored(engine, job) == job.status().replicates_completed > 0
    job.cancel()


@pytest.mark.parametrize("setting", [{"checkpoint_interval_s": None}, {"auto_store_completed": False}])
def test_nothing_is_stored_before_the_end_where_that_is_not_wanted(tmp_path: Path, setting: dict[str, Any]) -> None:
    with SteppedEngine(tmp_path / "s.db", chunk_target_ms=1, **setting) as engine:
        job = engine.submit(hooked, replicates=1000)
        engine.step()
        engine.clock.advance(3600.0)
        engine.step()
        assert job.state is JobState.RUNNING
        assert stored(engine, job) == 0
        job.cancel()


def test_a_job_that_uses_no_store_is_not_stored(engine: SteppedEngine) -> None:
    job = engine.submit(hooked, replicates=1000, cache="off")
    engine.step()
    engine.clock.advance(INTERVAL_S)
    engine.step()
    assert stored(engine, job) == 0
    job.cancel()


def test_the_journal_knows_how_far_a_job_is_and_counts_crashes_from_there(engine: SteppedEngine) -> None:
    """A job of days that gets further between crashes is not given up after three."""
    job = engine.submit(hooked, replicates=1000)
    job.crashes = 2
    engine.step()
    engine.clock.advance(INTERVAL_S)
    engine.step()
    stored(engine, job)  # the journal is told once the rows are durable
    engine.store.journal.flush()
    with engine.store.database() as database:
        (row,) = database.query("SELECT id, stored, crashes, started FROM requests JOIN checkpoints USING (id)")
    done = job.status().replicates_completed
    assert row == {"id": job.id, "stored": done, "crashes": 0, "started": 1}
    job.cancel()


def test_a_result_that_was_asked_for_anew_goes_on_after_a_crash(tmp_path: Path) -> None:
    """``cache="refresh"`` deletes what another job has stored, and not what this one has."""
    path = tmp_path / "s.db"
    left = SteppedEngine(path, checkpoint_interval_s=INTERVAL_S, chunk_target_ms=1)
    job = left.submit(hooked, replicates=1000, cache="refresh")
    left.step()
    left.clock.advance(INTERVAL_S)
    left.step()
    done = stored(left, job)
    left.store.journal.flush()
    assert done
    store = ResultStore(path)
    store._file.run(lambda connection: connection.execute("DELETE FROM owners"))  # as if its process had ended
    with bgsim.Engine(store, immediate=True) as engine:
        (again,) = engine.recover()
        assert again.result().replicates == 1000
        assert again.status().from_store == done
    store.close()
    left.close(cancel=True)


def test_checkpoints_take_a_fiftieth_of_the_time_at_most(tmp_path: Path) -> None:
    """The next one waits for 49 times as long as a worker was busy with the one before."""
    store = SlowStore(tmp_path / "s.db")
    with SteppedEngine(store, checkpoint_interval_s=INTERVAL_S, chunk_target_ms=1) as engine:
        store.clock = engine.clock
        job = engine.submit(hooked, replicates=10**6)
        engine.step()
        for wait_s, times in ((INTERVAL_S, 1), (SlowStore.TAKES_S * 49 - 1, 1), (2.0, 2)):
            engine.clock.advance(wait_s)
            engine.step()
            engine.step()
            assert store.times == times, wait_s
            stored(engine, job)
        job.cancel()
    store.close()


def test_a_store_that_fails_holds_nothing_up_and_is_tried_again(
    engine: SteppedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, on_stored: Any, **more: Any) -> None:
        on_stored(StoreError("the disk is full"))

    job = engine.submit(hooked, replicates=10**6)
    engine.step()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "bgsim"):
        patch.setattr(engine.store, "store", refuse)
        for _ in range(3):
            engine.clock.advance(INTERVAL_S)
            engine.step()
            engine.step()
            assert engine.health().store_error == "the disk is full"
    assert [record.getMessage() for record in caplog.records] == [
        f"what is finished of {hooked.name} is not stored yet: the disk is full"
    ]
    engine.clock.advance(INTERVAL_S)
    engine.step()
    assert stored(engine, job) > 0
    assert engine.health().ok
    job.cancel()


def test_a_result_that_was_deleted_after_its_checkpoint_is_stored_whole(engine: SteppedEngine) -> None:
    job = engine.submit(hooked, replicates=1000)
    engine.step()
    engine.clock.advance(INTERVAL_S)
    engine.step()
    assert stored(engine, job) > 0
    engine.store.delete(job.request.key.hash)
    run_all(engine)
    assert stored(engine, job) == 1000
    assert np.array_equal(engine.store.load(job.request.key)["x"], job.result()["x"])


def test_rows_of_a_kernel_that_runs_on_are_stored(tmp_path: Path) -> None:
    """A replicate in the middle of a chunk takes long: this thread stores those before it, as another worker would."""
    inside, count, clock = Gate(), itertools.count(1), ManualClock()
    with bgsim.Engine(tmp_path / "s.db", workers=1, clock=clock, checkpoint_interval_s=INTERVAL_S) as engine:
        HOOKS.append(lambda: inside.stop_here() if next(count) == 10 else None)
        try:
            job = engine.submit(hooked, replicates=20)  # a chunk of 1, and one of more
            inside.wait_until_reached()
            clock.advance(INTERVAL_S)
            tick(engine)
            with parts(engine).lock:
                checkpoint = parts(engine).checkpoints.take(clock.monotonic())
            parts(engine).checkpoints.store(checkpoint)
            assert stored(engine, job) == 9
        finally:
            HOOKS.clear()
            inside.open()
        assert job.result().replicates == 20


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "30", True])
def test_odd_intervals_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="checkpoint_interval_s must be a number above 0, or None"):
        bgsim.Engine(checkpoint_interval_s=value)


def test_a_young_job_has_checkpoints_more_often(tmp_path: Path) -> None:
    """So that a crash after 20 s does not cost 20 s."""
    times: list[float] = []
    with SteppedEngine(tmp_path / "s.db", chunk_target_ms=0.1) as engine:
        job, began, held = engine.submit(hooked, replicates=10**6), engine.clock.monotonic(), 0
        for _ in range(400):
            engine.step()
            if (found := stored(engine, job)) > held:
                held = found
                times.append(engine.clock.monotonic() - began)
            engine.clock.advance(0.25)
        job.cancel()
    assert times[0] <= 1.5
    assert times[-1] >= 60.0
    waits = np.diff(times)
    assert all(waits <= INTERVAL_S + 1)
    assert all(later <= 0.5 * (earlier + 1) + 1 for earlier, later in zip(times, waits, strict=False))
