"""Why a job waits, in words, in each of the ways in which one can; and what each worker does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import HANDSHAKE_S, Gate
from engine_model import World
from kernels import one_draw

import bgsim
from bgsim.job import JobState
from bgsim.retry import Retry
from bgsim.testing import SteppedEngine, gated, run_all


def stepped(**settings: Any) -> SteppedEngine:
    return SteppedEngine(max_concurrent_simulations=1, **settings)


@pytest.fixture
def engine() -> Iterator[SteppedEngine]:
    found = stepped(limits={"gpu": 1}, rate_limits={"web": (1, 10.0)})
    yield found
    found.close(cancel=True)


def submit(engine: SteppedEngine, seed: int = 0, **options: Any) -> bgsim.Job:
    return engine.submit(one_draw, replicates=1, seed=seed, **options)


def test_a_place(engine: SteppedEngine) -> None:
    first, second = submit(engine, 1), submit(engine, 2)
    assert first.status().waiting_for is None
    assert second.status().waiting_for == "a place: 1 of 1 job runs"
    run_all(engine)
    assert second.status().waiting_for is None
    assert engine.status(second.id).waiting_for is None


def test_its_delay_and_its_time(engine: SteppedEngine) -> None:
    at = datetime.fromtimestamp(engine.clock.time() + 100.0, UTC)
    delayed, timed = submit(engine, 1, delay_s=60.0), submit(engine, 2, at=at)
    assert delayed.status().waiting_for == "its delay, 1 min 00 s more"
    assert timed.status().waiting_for == f"its time, {at.isoformat(timespec='seconds')}"
    engine.clock.advance(57.5)
    assert delayed.status().waiting_for == "its delay, 2.5 s more"


def test_a_burst(engine: SteppedEngine) -> None:
    job = submit(engine, supersede="w", debounce_s=2.0)
    assert job.status().waiting_for == "whether a newer one comes within 2.0 s"


def test_a_pause_of_its_own_and_of_the_engine(engine: SteppedEngine) -> None:
    held, other = submit(engine, 1), submit(engine, 2, priority="low")
    held.pause()
    assert (held.state, held.status().waiting_for) == (JobState.SUSPENDED, "paused by hand")
    engine.pause()
    assert (other.state, other.status().waiting_for) == (JobState.SUSPENDED, "the engine is paused")
    assert submit(engine, 3).status().waiting_for == "the engine is paused"
    delayed = submit(engine, 4, delay_s=1.0)
    assert delayed.status().waiting_for == "its delay, 1.0 s more"
    delayed.pause()
    assert delayed.status().waiting_for == "paused by hand"
    engine.resume()
    held.resume()
    delayed.resume()


def test_a_more_urgent_job(engine: SteppedEngine) -> None:
    job = submit(engine, 1, priority="low")
    submit(engine, 2, priority="critical")
    assert (job.state, job.status().waiting_for) == (JobState.SUSPENDED, "overtaken by a more urgent job")


def test_its_group() -> None:
    engine = SteppedEngine(max_concurrent_simulations=3, limits={"gpu": 1}, rate_limits={"web": (1, 10.0)})
    for group in ("gpu", "web"):
        submit(engine, 1, group=group, allow_deduplication=False)
    limited, rated = submit(engine, 2, group="gpu"), submit(engine, 3, group="web")
    assert limited.status().waiting_for == "its group 'gpu': 1 of 1 run"
    engine.clock.advance(4.0)
    assert rated.status().waiting_for == "its group 'web': 1 have started within 10 s, the next may in 6.0 s"
    engine.close(cancel=True)


def test_its_retry() -> None:
    world = World(places=1)
    world.arm(0, 0, OSError("it may pass"))
    job = world.submit(0, 1, retry=Retry(retries=1, delay_s=5.0)).job
    world.step()
    assert job.state is JobState.DELAYED
    assert job.status().waiting_for == "its retry in 5.0 s"
    world.close(cancel=True)


def test_it_is_in_the_table_of_a_status(engine: SteppedEngine) -> None:
    submit(engine, 1)
    text = submit(engine, 2).status()._repr_html_()
    assert "waiting for" in text
    assert "1 of 1 job runs" in text


# ---- what each worker does ---------------------------------------------------------------------------


def test_workers_run_call_and_rest(hold: Gate) -> None:
    called, let_go = threading.Event(), threading.Event()

    def call() -> None:
        called.set()
        assert let_go.wait(HANDSHAKE_S)

    with bgsim.Engine(workers=3) as engine:
        assert [(one.worker, one.job, one.phase) for one in engine.at_work()] == [(n, None, "idle") for n in range(3)]
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        with engine.executor() as executor:
            executor.submit(call)
            assert called.wait(HANDSHAKE_S)
            found = engine.at_work()
            assert sorted((one.job or "", one.phase) for one in found) == [
                ("", "calling"),
                ("", "idle"),
                (job.id, "running"),
            ]
            assert job.id in str(found)
            let_go.set()
        hold.open()
        job.result(HANDSHAKE_S)


def test_a_worker_compiles_and_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at from within: what a worker calls asks what it does."""
    engine = bgsim.Engine(immediate=True)
    seen: list[tuple[str | None, str]] = []

    def look() -> None:
        (one,) = engine.at_work()
        seen.append((one.job, one.phase))

    simulation, store = type(one_draw), engine.store
    prepare, put = simulation.prepare, store.store

    def prepare_seen(*arguments: Any) -> Any:
        look()
        return prepare(*arguments)

    def put_seen(*arguments: Any, **options: Any) -> Any:
        look()
        return put(*arguments, **options)

    monkeypatch.setattr(simulation, "prepare", prepare_seen)
    monkeypatch.setattr(store, "store", put_seen)
    job = engine.submit(gated, replicates=1)
    job.result()
    look()
    engine.close()
    assert seen == [(job.id, "compiling"), (job.id, "storing"), (None, "idle")]
