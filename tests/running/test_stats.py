"""Statistics and alerts: counts by state, waits and runs, what has stalled, what is overdue, a store that refuses."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from engine_model import World
from kernels import one_draw

import bgsim
from bgsim import testing
from bgsim.errors import StoreError
from bgsim.job import JobState
from bgsim.retry import Retry
from bgsim.running.stats import Quantiles
from bgsim.storage import MemoryStore
from bgsim.testing import Gate, gated


@pytest.fixture
def world() -> Iterator[World]:
    found = World(places=1)
    yield found
    found.close(cancel=True)


def test_quantiles() -> None:
    assert Quantiles.of(range(101)) == Quantiles(50.0, 90.0, 99.0)
    assert all(math.isnan(q) for q in (Quantiles.of([]).p50, Quantiles.of([]).p90, Quantiles.of([]).p99))
    assert Quantiles.of([3.0]) == Quantiles(3.0, 3.0, 3.0)


def test_all_is_well_with_an_engine_that_has_done_nothing() -> None:
    with bgsim.Engine(immediate=True) as engine:
        health, stats = engine.health(), engine.stats()
        assert health.ok
        assert str(health) == "all is well"
        assert set(stats.states) == set(JobState)
        assert set(stats.states.values()) == {0}
        assert stats.replicates_per_second == stats.utilisation == 0.0
        assert (stats.joined, stats.from_store, stats.retries, stats.stored_results) == (0, 0, 0, 0)


def test_every_job_is_counted_in_one_state(world: World) -> None:
    world.arm(2, 0, ValueError("it will not pass"))
    world.submit(2, 1)
    world.step()  # fails
    world.submit(0, 2, priority="low")
    world.submit(0, 2, priority="low")  # joins
    world.step(4)  # completes
    world.submit(0, 2)  # from the store
    world.submit(1, priority="low")
    world.submit(2, priority="high")
    world.submit(0, 6, delay_s=60.0)
    states = {s.name: n for s, n in world.engine.stats().states.items() if n}
    assert states == {"FAILED": 1, "COMPLETED": 3, "SUSPENDED": 1, "RUNNING": 1, "DELAYED": 1}
    stats = world.engine.stats()
    assert (stats.joined, stats.from_store, stats.retries, stats.stored_results) == (1, 1, 0, 1)
    assert (stats.queue.waiting, stats.queue.delayed, stats.queue.processing) == (2, 1, 1)


def test_waits_and_runs_are_measured_by_the_engines_clock(world: World) -> None:
    world.pause_engine()
    world.submit(0, 2)
    world.advance(4.0)
    world.resume_engine()
    world.step()
    world.advance(6.0)
    world.step(2)
    stats = world.engine.stats()
    assert stats.queue_wait_s.p50 == 4.0
    assert stats.run_time_s.p50 == 6.0
    assert 0.0 < stats.utilisation <= 1.0


def test_the_rate_is_that_of_the_running_jobs(world: World) -> None:
    world.submit(0)
    world.step()
    world.advance(1.0)
    world.step()  # the first look, and a replicate
    world.advance(0.5)
    world.step()
    assert world.engine.stats().replicates_per_second == pytest.approx(2.0)
    assert world.asked[0].job.status().estimated_time_remaining_s is not None


def test_retries_are_counted(world: World) -> None:
    world.arm(0, 0, OSError("it may pass"))
    world.submit(0, retry=Retry(backoff="fixed", delay_s=5.0))
    world.step()
    assert world.engine.stats().retries == 1
    assert world.asked[0].job.status().attempts == 1


# ---- alerts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [1, 2])
def test_failures_and_waiting_jobs_alert_above_their_limits(allowed: int) -> None:
    world = World(places=1, alert_failed=allowed, alert_waiting=allowed)
    for seed in (1, 2):
        world.arm(seed, 0, ValueError("it will not pass"))
        world.submit(seed, 1)
        world.step()
    world.pause_engine()
    for seed in (1, 2):
        world.submit(seed)
    health = world.engine.health()
    assert (health.failed, health.waiting) == (2, 2)
    assert health.ok is (allowed == 2)
    assert len(health.alerts) == (2 if allowed == 1 else 0)
    if allowed == 1:
        assert str(health) == "2 jobs failed; engine.dead_letters() says which, and why; 2 jobs are waiting"
        assert [(alert.kind, alert.is_error) for alert in health.alerts] == [("failed", False), ("waiting", False)]
    assert health.healthy, "a warning is no error"
    world.resume_engine()
    world.advance(1.0)
    assert world.engine.clean() == 2
    assert world.engine.health().failed == 0
    world.engine.close(cancel=True)


def test_a_job_that_does_not_move_is_stalled_until_it_does(caplog: pytest.LogCaptureFixture) -> None:
    world = World(stalled_after_s=60.0)
    asked = world.submit(0)
    assert asked is not None
    world.step()
    tick = functools.partial(testing.tick, world.engine)
    world.advance(1.0)
    tick()
    world.advance(60.0)
    tick()
    messages: tuple[str, ...] = ()
    while not messages:
        update = world.updates.get(timeout_s=HANDSHAKE_S)
        assert update is not None
        messages = update.messages
    assert messages == ("stalled: no progress for 1 min 00 s",)
    assert world.engine.health().stalled == (asked.job.id,)
    assert world.engine.health().alerts == (f"{asked.job.id} has stalled: no progress for 60 s or more",)
    assert world.engine.health().alerts[0].job == asked.job.id
    world.advance(60.0)
    tick()  # it is said once
    world.step()
    world.advance(1.0)
    tick()
    assert world.engine.health().ok
    world.step(10)
    world.engine.close()
    assert [m for update in world.updates for m in update.messages] == []
    assert caplog.text.count("stalled") == 1


@pytest.mark.parametrize("by", ["job", "engine"])
def test_a_pause_is_no_stall(by: str, world: World) -> None:
    asked = world.submit(0)
    assert asked is not None
    tick = functools.partial(testing.tick, world.engine)
    world.step()
    world.advance(1.0)
    tick()
    world.pause(asked) if by == "job" else world.pause_engine()
    world.advance(600.0)
    world.resume(asked) if by == "job" else world.resume_engine()
    tick()
    world.advance(59.0)
    tick()
    assert world.engine.health().stalled == ()
    world.advance(1.0)
    tick()
    assert world.engine.health().stalled == (asked.job.id,)


def test_a_pause_ends_the_stall_of_a_run_that_no_worker_has_prepared() -> None:
    with testing.SteppedEngine(stalled_after_s=60.0) as engine:
        job = engine.submit(gated, replicates=1)
        for seconds in (0.0, 60.0):
            engine.clock.advance(seconds + 1.0)
            testing.tick(engine)
        assert engine.health().stalled == (job.id,)
        engine.pause()
        engine.resume()
        assert engine.health().stalled == ()


def test_a_kernel_that_does_not_let_go_is_overdue(hold: Gate) -> None:
    """In the job's status at once, in health after a second, on the bus with each sample."""
    clock = bgsim.clock.ManualClock()
    with bgsim.Engine(workers=1, clock=clock) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        updates = job.updates()
        assert hold.reached.wait(HANDSHAKE_S)
        assert job.status().overdue_s is None
        job.cancel()
        assert job.status().overdue_s == 0.0
        assert engine.health().overdue == ()
        clock.advance(5.0)
        testing.tick(engine)
        assert job.status().overdue_s == 5.0
        assert "asked to stop 5.0 s ago" in str(job.status())
        assert engine.health().overdue == (job.id,)
        assert engine.health().alerts == (f"{job.id} was asked to stop and has not let go",)
        hold.go_on.set()
        messages = [m for update in updates for m in update.messages]
        assert "has not let go for 5.0 s" in messages
        assert engine.health().ok


class Refusing(MemoryStore):
    """Refuses while it is told to."""

    refuses = True

    def store(self, key: Any, columns: Any, *, on_stored: Any = None, **kwargs: Any) -> None:
        if self.refuses:
            on_stored(StoreError("the disk is full"))
        else:
            super().store(key, columns, on_stored=on_stored, **kwargs)


def test_a_store_that_refuses_is_an_alert_until_it_takes_a_result() -> None:
    store = Refusing()
    with bgsim.Engine(store, immediate=True) as engine:
        job = engine.submit(one_draw, replicates=1)
        assert job.result().replicates == 1
        assert job.status().store_error == "the disk is full"
        assert engine.health().store_error == "the disk is full"
        assert not engine.health().healthy
        assert engine.health().alerts == ("the store refuses: the disk is full",)
        store.refuses = False
        engine.submit(one_draw, replicates=1).result()
        assert engine.health().ok
