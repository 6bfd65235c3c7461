"""Who is told of each job that comes: whoever asks for it, in order, in the callback thread, and before its updates."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from kernels import Fragile, fragile, one_draw

import bgsim
from bgsim.errors import InvalidInputError, NotPicklableError, QueueFullError
from bgsim.job import Job
from bgsim.testing import Gate, SteppedEngine, parts, run_all


@pytest.fixture
def engine() -> Iterator[SteppedEngine]:
    found = SteppedEngine()
    yield found
    found.close(cancel=True)


def test_each_job_is_told_whoever_asks_for_it() -> None:
    """Queued, joined, from the store, of a batch, of a dead letter."""
    seen: list[Job] = []
    with bgsim.Engine(immediate=True) as engine:
        engine.on_submit(seen.append)
        engine.pause()
        asked = [engine.submit(one_draw, replicates=2), engine.submit(one_draw, replicates=1)]
        engine.resume()
        asked.append(engine.submit(one_draw, replicates=2))
        asked += engine.submit_many(one_draw, [None], replicates=1, seed=2).submitted()
        asked.append(engine.submit(fragile, Fragile(2.0), replicates=1))
        asked.append(engine.retry(engine.dead_letters()[0].id, parameters={"fails_at": 0.0}))
        assert [job.status().from_store for job in asked] == [0, 0, 2, 0, 0, 0]
    assert seen == asked


def test_what_was_recovered_is_told(tmp_path: Path) -> None:
    engine = SteppedEngine(tmp_path / "s.db")
    job = engine.submit(one_draw, replicates=2)
    bgsim.Engine.close(engine, timeout_s=0)
    seen: list[str] = []
    with bgsim.Engine(tmp_path / "s.db", immediate=True) as again:
        again.on_submit(lambda job: seen.append(job.id))
        again.recover()
    assert seen == [job.id]


def test_what_is_refused_is_not_told(engine: SteppedEngine) -> None:
    full = SteppedEngine(max_queue_size=1, max_concurrent_simulations=1)
    seen: list[Job] = []
    full.on_submit(seen.append)
    taken = [full.submit(one_draw, replicates=1, seed=seed) for seed in (1, 2)]
    with pytest.raises(QueueFullError):
        full.submit(one_draw, replicates=1, seed=3)
    full.close(cancel=True)
    assert seen == taken


def test_it_comes_in_the_callback_thread_and_ends_when_that_is_said() -> None:
    seen: list[tuple[str, str]] = []
    told = threading.Event()

    def note(job: Job) -> None:
        seen.append((job.id, threading.current_thread().name))
        told.set()

    with bgsim.Engine(workers=1) as engine:
        submissions = engine.on_submit(note)
        first = engine.submit(one_draw, replicates=1)
        assert told.wait(HANDSHAKE_S)
        submissions.unsubscribe()
        submissions.unsubscribe()
        engine.submit(one_draw, replicates=1, seed=1).result(HANDSHAKE_S)
        assert parts(engine).state.submissions == ()
    assert [job_id for job_id, _ in seen] == [first.id]
    assert seen[0][1].startswith("bgsim-callbacks")


def test_a_subscriber_that_asks_has_each_job_before_its_updates(hold: Gate) -> None:
    """Its own turn comes before that of the job: the thread of the callbacks is held up while both arrive."""
    known: list[str] = []
    seen: list[str] = []
    ended = threading.Event()
    with bgsim.Engine(workers=1) as engine:
        submissions = engine.on_submit(lambda job: known.append(job.id))

        def update(update: Any) -> None:
            if not seen:
                hold.stop_here()
            submissions.tell()
            seen.append(update.simulation_id)
            assert update.simulation_id in known
            if update.simulation_id == last and update.update_type.is_terminal:
                ended.set()

        last = ""
        engine.subscribe(update)
        engine.submit(one_draw, replicates=1)
        hold.wait_until_reached()
        last = engine.submit(one_draw, replicates=1, seed=1).id
        hold.open()
        assert ended.wait(HANDSHAKE_S)
    assert known == list(dict.fromkeys(seen))


def test_one_that_raises_costs_nobody_else(caplog: pytest.LogCaptureFixture, engine: SteppedEngine) -> None:
    seen: list[Job] = []

    def fail(job: Job) -> None:
        raise ValueError(job.id)

    engine.on_submit(fail)
    engine.on_submit(seen.append)
    with caplog.at_level(logging.ERROR):
        jobs = [engine.submit(one_draw, replicates=1, seed=seed) for seed in (1, 2)]
        run_all(engine)
    assert seen == jobs
    assert sum("on_submit raised" in record.getMessage() for record in caplog.records) == 2
    assert all(job.done() for job in jobs)


def test_one_that_submits_has_its_own_jobs_told_after(engine: SteppedEngine) -> None:
    seen: list[int] = []

    def again(job: Job) -> None:
        seen.append(job.seed)
        submissions.tell()  # it is told already: no second thread of calls begins here
        if job.seed < 3:
            engine.submit(one_draw, replicates=1, seed=job.seed + 1)

    submissions = engine.on_submit(again)
    engine.submit(one_draw, replicates=1, seed=1)
    run_all(engine)
    assert seen == [1, 2, 3]


def test_what_is_no_callback_is_refused(engine: SteppedEngine) -> None:
    with pytest.raises(InvalidInputError, match="callback must be callable; got 3"):
        engine.on_submit(3)  # type: ignore[arg-type]
    with pytest.raises(NotPicklableError):
        engine.on_submit(print).__reduce_ex__(2)
