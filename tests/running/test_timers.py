"""What happens by time: time-outs that count running time, deadlines, delays by either clock, progress, chores."""

from __future__ import annotations

import gc
import itertools
import math
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from engine_model import RETRY_S, Asked, World
from kernels import Spin, one_draw, spin

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import JobTimeoutError
from bgsim.job import JobState
from bgsim.progress import UpdateType
from bgsim.retry import Retry
from bgsim.testing import Gate, SteppedEngine, clock_moved, gated, parts, run_all, tick


@pytest.fixture
def world() -> Iterator[World]:
    found = World(places=1)
    yield found
    if not found.closed:
        found.close(cancel=True)


def submit(world: World, seed: int = 0, **options: Any) -> Asked:
    asked = world.submit(seed, **options)
    assert asked is not None
    return asked


# ---- time-outs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pause", "pause_engine", "overtake", "back_off"])
def test_a_time_out_counts_the_time_in_which_the_job_runs(how: str, world: World) -> None:
    """Neither pauses nor preemption nor the wait for the next attempt."""
    asked = submit(world, timeout_s=10.0, priority="low", retry=Retry(backoff="fixed", delay_s=RETRY_S))
    world.step()
    world.advance(6.0)
    if how == "pause":
        world.pause(asked)
    elif how == "pause_engine":
        world.pause_engine()
    elif how == "overtake":
        submit(world, 1, priority="high")
    else:
        world.arm(0, 1, OSError("it may pass"))
    world.step()
    assert asked.job.state in (JobState.SUSPENDED, JobState.DELAYED)
    world.advance(RETRY_S if how == "back_off" else 100.0)
    if how == "pause":
        world.resume(asked)
    elif how == "pause_engine":
        world.resume_engine()
    for _ in range(10):
        if asked.job.state is JobState.RUNNING:
            break
        world.step()
    world.advance(3.0)
    world.step()
    assert asked.job.state is JobState.RUNNING
    world.advance(1.0)
    world.step(2)
    assert asked.job.state is JobState.FAILED
    with pytest.raises(JobTimeoutError, match=r"ran longer than timeout_s=10\.0"):
        asked.job.result()


def test_a_deadline_counts_every_second(world: World) -> None:
    asked = submit(world, deadline_s=10.0, timeout_s=9.0)
    world.step()
    world.pause(asked)
    world.advance(9.0)
    world.step()
    assert asked.job.state is JobState.SUSPENDED
    world.advance(1.0)
    world.step(2)
    with pytest.raises(JobTimeoutError, match=r"was not done within deadline_s=10\.0"):
        asked.job.result()


def test_one_of_two_jobs_of_a_run_times_out_alone(world: World) -> None:
    """Its failure is a dead letter; the other goes on."""
    short, long = submit(world, timeout_s=2.0), submit(world)
    world.step()
    world.advance(2.0)
    world.step()
    assert (short.job.state, long.job.state) == (JobState.FAILED, JobState.RUNNING)
    assert [letter.id for letter in world.engine.dead_letters()] == [short.job.id]


def test_the_limit_that_was_met_is_named(world: World) -> None:
    submit(world)
    first = submit(world, 1, queue_timeout_s=10.0, deadline_s=2.0)
    second = submit(world, 2, queue_timeout_s=2.0, deadline_s=10.0)
    world.advance(2.0)
    world.step()
    assert "waited longer than deadline_s=2.0" in str(first.job.exception())
    assert "waited longer than queue_timeout_s=2.0" in str(second.job.exception())


def test_no_time_out_keeps_a_result_alive() -> None:
    """The deadline of a job that has ended is known by its id alone."""
    with bgsim.Engine(immediate=True) as engine:
        job = engine.submit(one_draw, replicates=3, deadline_s=3600.0, queue_timeout_s=3600.0, timeout_s=3600.0)
        left = weakref.ref(job), weakref.ref(job.result())
        del job
        gc.collect()
        assert [reference() for reference in left] == [None, None]
        engine.clock.advance(4000.0)  # type: ignore[attr-defined]
        engine.step()
        assert engine.stats().states[JobState.COMPLETED] == 1


# ---- delays ------------------------------------------------------------------------------------------


def at(world: World, seconds: float) -> datetime:
    return datetime.fromtimestamp(world.clock.time() + seconds, UTC)


def test_a_delay_goes_by_the_monotonic_clock_and_a_time_by_the_wall_clock(world: World) -> None:
    delayed = submit(world, delay_s=3600.0)
    timed = submit(world, 1, priority="low")
    world.cancel(timed)
    timed = submit(world, 1)
    world.cancel(timed)
    job = world.engine.submit(one_draw, replicates=1, at=at(world, 3600.0))
    world.clock.set_time(world.clock.time() + 3599.0)
    world.step(5)
    assert (delayed.job.state, job.state) == (JobState.DELAYED, JobState.DELAYED)
    world.clock.set_time(world.clock.time() + 1.0)
    world.step(3)
    assert (delayed.job.state, job.state) == (JobState.DELAYED, JobState.COMPLETED)
    world.engine.close(cancel=True)
    world.closed = True


def test_a_time_that_is_paused_is_waited_for_by_the_wall_clock_all_the_same() -> None:
    """Resuming it does not turn it into a delay."""
    clock = bgsim.clock.ManualClock()
    with bgsim.Engine(immediate=True, clock=clock) as engine:
        job = engine.submit(one_draw, replicates=1, at=datetime.fromtimestamp(clock.time() + 3600.0, UTC))
        job.pause()
        job.resume()
        assert job.state is JobState.DELAYED
        clock.set_time(clock.time() - 7200.0)
        clock.advance(3600.0)
        run_all(engine)
        assert job.state is JobState.DELAYED
        clock.advance(7200.0)
        run_all(engine)
        assert job.state is JobState.COMPLETED


def test_resuming_one_of_two_keeps_the_delay_of_the_other(world: World) -> None:
    late, soon = submit(world, delay_s=60.0), submit(world, delay_s=10.0)
    world.pause(late)
    world.resume(late)
    world.advance(10.0)
    world.step()
    assert (late.job.state, soon.job.state) == (JobState.RUNNING, JobState.RUNNING)


def test_joining_a_paused_job_keeps_ones_own_delay(world: World) -> None:
    paused = submit(world)
    world.pause(paused)
    joined = submit(world, delay_s=10.0)
    world.step()
    assert joined.job.state is JobState.DELAYED
    world.advance(10.0)
    world.step()
    assert (paused.job.state, joined.job.state) == (JobState.SUSPENDED, JobState.RUNNING)


def test_a_run_that_has_started_waits_for_no_delay_of_a_job_that_has_joined() -> None:
    """Though the jobs that asked for it at once have left."""
    with SteppedEngine(max_concurrent_simulations=1) as engine:
        first = engine.submit(gated, replicates=3)
        engine.step()
        second = engine.submit(gated, replicates=3, delay_s=3600.0)
        first.cancel()
        engine.pause()
        engine.resume()
        run_all(engine)
        assert second.state is JobState.COMPLETED


def test_a_run_that_fails_while_it_is_suspended_waits_all_the_same() -> None:
    """The chunk in hand fails after the run was overtaken: it is tried again after the back-off, not before."""
    reached, go_on = threading.Event(), threading.Event()
    failures = iter([OSError("it may pass")])
    clock = bgsim.clock.ManualClock()

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def fails_once(p: Any, rng: Any) -> float:
        reached.set()
        assert go_on.wait(HANDSHAKE_S)
        for error in failures:
            raise error
        return 0.0

    with bgsim.Engine(workers=1, clock=clock, max_concurrent_simulations=1) as engine:
        job = engine.submit(fails_once, replicates=1, priority="low", retry=Retry(delay_s=60.0))
        assert reached.wait(HANDSHAKE_S)
        urgent = engine.submit(one_draw, replicates=1, priority="high")
        assert job.state is JobState.SUSPENDED
        go_on.set()
        assert urgent.result(HANDSHAKE_S).replicates == 1
        assert job.state is JobState.DELAYED
        clock.advance(60.0)
        tick(engine)
        assert job.result(HANDSHAKE_S).replicates == 1
        assert job.status().attempts == 1


# ---- progress and chores -------------------------------------------------------------------------------


def test_progress_comes_at_its_interval_and_only_while_something_runs(world: World) -> None:
    submit(world)
    updates = world.engine.subscribe()
    world.step()
    for _ in range(4):
        world.advance(0.25)
        tick(world.engine)
    world.step(10)
    world.advance(100.0)
    world.step()
    world.close(cancel=False)
    kinds = [u.update_type for u in updates]
    assert kinds.count(UpdateType.PROGRESS) in (1, 2)  # two, or the newer in the place of the older
    assert parts(world.engine).state.alarms.sample_at == math.inf


class Counting:
    """A chore that is due when it is told, and may be stopped where it says when."""

    def __init__(self) -> None:
        self.due_s = math.inf
        self.ran = threading.Event()
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def wait_s(self) -> float:
        due_s = self.due_s
        self.asked.set()
        assert self.go_on.wait(HANDSHAKE_S)
        return due_s

    def run(self) -> None:
        if self.due_s <= 0:
            self.due_s = math.inf
            self.ran.set()


def with_chore(engine: bgsim.Engine, chore: Counting) -> None:
    """Add a chore to an engine that runs."""
    parts(engine).timers.periodic.append(chore)
    clock_moved(engine)


def test_a_chore_that_changes_while_the_thread_asks_is_not_missed() -> None:
    """It has answered "never", the thread is about to wait, and then it is due."""
    chore = Counting()
    chore.go_on.clear()
    with bgsim.Engine(workers=1) as engine:
        with_chore(engine, chore)
        assert chore.asked.wait(HANDSHAKE_S)
        chore.due_s = 0.0
        clock_moved(engine)
        chore.go_on.set()
        assert chore.ran.wait(HANDSHAKE_S)


@pytest.mark.parametrize("limit", ["delay_s", "queue_timeout_s"])
def test_what_comes_due_while_the_thread_asks_is_not_missed(limit: str) -> None:
    """Another thread looks at the clock meanwhile, and the queue's timetable no longer says that there is something."""
    stop_second = Gate()
    asks = itertools.count()

    class Asked(Counting):
        def wait_s(self) -> float:
            if next(asks) == 1:  # the first was told to ask again
                stop_second.stop_here()
            return math.inf

    clock = ManualClock()
    with bgsim.Engine(workers=1, clock=clock) as engine:
        if limit == "queue_timeout_s":
            engine.pause()
        job = engine.submit(one_draw, None, replicates=1, **{limit: 1.0})
        with_chore(engine, Asked())
        stop_second.wait_until_reached()
        clock.advance(1.0)
        engine.stats()
        stop_second.open()
        assert (job.exception(HANDSHAKE_S) is None) is (limit == "delay_s")


def test_a_chore_that_raises_stops_neither_the_others_nor_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    chore = Counting()
    chore.due_s = 0.0
    calls = itertools.count()

    class Broken(Counting):
        def run(self) -> None:
            if next(calls) == 0:
                raise OSError("it may pass")

    with bgsim.Engine(workers=1) as engine:
        with_chore(engine, Broken())
        with_chore(engine, chore)
        assert chore.ran.wait(HANDSHAKE_S)
    assert caplog.text.count("a periodic task of the engine failed; it will be tried again") == 1


def test_a_time_out_counts_until_the_kernel_has_let_go_of_what_is_suspended() -> None:
    """A replicate without an end holds its worker, whatever the state of its job; nothing else would stop it."""
    spin.warmup()
    clock = bgsim.clock.ManualClock()
    with bgsim.Engine(workers=1, clock=clock, max_concurrent_simulations=1) as engine:
        job = engine.submit(spin, Spin(iterations=10**15), replicates=1, priority="low", timeout_s=10.0)
        while not any(chunk is not None for chunk in list(job.run.workers.values())):
            engine.status(job.id)  # until it is in its kernel
        urgent = engine.submit(one_draw, replicates=1, priority="high")
        assert job.state is JobState.SUSPENDED
        clock.advance(10.0)
        tick(engine)
        with pytest.raises(JobTimeoutError, match=r"ran longer than timeout_s=10\.0"):
            job.result(HANDSHAKE_S)
        assert urgent.result(HANDSHAKE_S).replicates == 1
