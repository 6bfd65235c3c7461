"""Engines without threads: what a move of the clock, a question or another thread has them do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from kernels import Fragile, fragile, one_draw

import bgsim
from bgsim.clock import Clock
from bgsim.errors import InvalidInputError, JobTimeoutError
from bgsim.job import Job, JobState
from bgsim.retry import Retry


class HandClock(Clock):
    """A clock of a user's own, whose moves no engine is told of."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def debounced(engine: bgsim.Engine) -> Job:
    return engine.submit(one_draw, replicates=1, supersede="s", debounce_s=1.0)


def delayed(engine: bgsim.Engine) -> Job:
    return engine.submit(one_draw, replicates=1, delay_s=1.0)


def at_a_time(engine: bgsim.Engine) -> Job:
    return engine.submit(one_draw, replicates=1, at=datetime.fromtimestamp(engine.clock.time() + 1.0, UTC))


def rate_limited(engine: bgsim.Engine) -> Job:
    engine.submit(one_draw, replicates=1, seed=7, group="g")
    return engine.submit(one_draw, replicates=1, group="g")


DUE = (debounced, delayed, at_a_time, rate_limited)


@pytest.mark.parametrize("submit", DUE, ids=lambda submit: submit.__name__)
def test_advancing_the_clock_does_what_has_become_due(submit: Callable[..., Job]) -> None:
    done: list[Job] = []
    with bgsim.Engine(immediate=True, rate_limits={"g": (1, 1.0)}) as engine:
        job = submit(engine)
        job.add_done_callback(done.append)
        engine.clock.advance(0.5)
        assert not done
        engine.clock.advance(0.6)
        assert done == [job]
        assert job.state is JobState.COMPLETED
        assert not engine.step()


def test_advancing_the_clock_ends_what_has_no_time_left() -> None:
    with bgsim.Engine(immediate=True) as engine:
        engine.pause()
        jobs = [
            engine.submit(one_draw, replicates=1, seed=1, queue_timeout_s=1.0),
            engine.submit(one_draw, replicates=1, seed=2, deadline_s=1.0),
        ]
        engine.clock.advance(2.0)
        assert [type(job.exception()) for job in jobs] == [JobTimeoutError] * 2


def test_advancing_the_clock_tries_again() -> None:
    with bgsim.Engine(immediate=True) as engine:
        retry = Retry(retries=2, delay_s=1.0, retry_on=(ValueError,))
        job = engine.submit(fragile, Fragile(2.0), replicates=1, retry=retry)
        assert job.status().attempts == 1
        engine.clock.advance(1.0)
        assert job.status().attempts == 2
        engine.clock.advance(2.0)
        assert job.state is JobState.FAILED


def test_advancing_the_clock_runs_schedules() -> None:
    pytest.importorskip("cronsim")
    with bgsim.Engine(immediate=True) as engine:
        engine.schedule(one_draw, replicates=1, cron="* * * * *", name="each minute")
        engine.clock.advance(60.0)
        assert engine.stats().states[JobState.COMPLETED] == 1
        engine.clock.set_time(engine.clock.time() + 60.0)
        assert engine.stats().states[JobState.COMPLETED] == 2


def test_a_question_does_what_is_due_by_a_clock_that_tells_nothing() -> None:
    clock = HandClock()
    with bgsim.Engine(immediate=True, clock=clock) as engine:
        job = engine.submit(one_draw, replicates=1, delay_s=1.0)
        clock.now = 2.0
        assert engine.status(job.id).state is JobState.COMPLETED
        other = engine.submit(one_draw, replicates=2, delay_s=1.0)
        clock.now = 4.0
        assert other.status().state is JobState.COMPLETED


def test_several_engines_may_share_a_clock() -> None:
    """Also with one that has threads, and one that is closed."""
    clock = bgsim.ManualClock()
    bgsim.Engine(immediate=True, clock=clock).close()
    with (
        bgsim.Engine(immediate=True, clock=clock) as first,
        bgsim.Engine(immediate=True, clock=clock) as second,
        bgsim.Engine(workers=1, clock=clock) as third,
    ):
        jobs = [engine.submit(one_draw, replicates=1, delay_s=1.0) for engine in (first, second, third)]
        clock.advance(1.0)
        assert [job.done() for job in jobs[:2]] == [True, True]
        assert jobs[2].result(HANDSHAKE_S).replicates == 1


def test_a_callback_may_advance_the_clock() -> None:
    ended: list[int] = []
    with bgsim.Engine(immediate=True) as engine:
        for seed in range(5):
            job = engine.submit(one_draw, replicates=1, seed=seed, delay_s=seed + 1.0)
            job.add_done_callback(lambda job: (ended.append(job.seed), engine.clock.advance(1.0)))
        engine.subscribe(lambda update: engine.clock.advance(0.0))
        engine.clock.advance(1.0)
    assert ended == [0, 1, 2, 3, 4]


def test_what_a_worker_calls_may_advance_the_clock() -> None:
    with bgsim.Engine(immediate=True) as engine:
        late = engine.submit(one_draw, replicates=1, delay_s=1.0)
        assert engine.executor().submit(lambda: engine.clock.advance(1.0)).result(0) is None
        assert late.done()


def test_many_threads_may_use_an_immediate_engine(in_threads: Any) -> None:
    """Each result is there when `result` returns, whichever thread has computed it."""
    with bgsim.Engine(immediate=True) as engine:

        def use(number: int) -> list[float]:
            found = []
            for seed in range(25):
                job = engine.submit(one_draw, replicates=1, seed=100 * number + seed, delay_s=seed % 2)
                engine.clock.advance(1.0)
                found.append(float(job.result()["x"][0]))
            return found

        found = in_threads(*[lambda number=number: use(number) for number in range(4)])
    with bgsim.Engine(workers=1) as engine:
        for number, values in enumerate(found):
            jobs = [engine.submit(one_draw, replicates=1, seed=100 * number + seed) for seed in range(25)]
            assert [float(job.result(HANDSHAKE_S)["x"][0]) for job in jobs] == values


def test_a_thread_waits_for_the_one_that_computes_its_job(gate: Any) -> None:
    """It does not say that nothing is due."""
    with bgsim.Engine(immediate=True) as engine:
        found: list[Any] = []
        held = threading.Thread(target=lambda: engine.executor().submit(gate.stop_here))
        held.start()
        gate.wait_until_reached()
        other = threading.Thread(target=lambda: found.append(engine.submit(one_draw, replicates=1).result()))
        other.start()
        gate.open()
        held.join(HANDSHAKE_S)
        other.join(HANDSHAKE_S)
    assert found[0].replicates == 1


def test_time_that_does_not_pass_is_refused() -> None:
    with bgsim.Engine(immediate=True) as engine, pytest.raises(InvalidInputError, match="forwards"):
        engine.clock.advance(-1.0)
