"""Functions that workers run and that wait for the same engine: what would have no end is refused, and nothing else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import HANDSHAKE_S, Gate
from kernels import one_draw

import bgsim
from bgsim.errors import DeadlockError, ReplicateError
from bgsim.job import Job, JobState
from bgsim.testing import GATES, gated

HOOKS: dict[str, Callable[[], object]] = {}
"""What `hooked` calls, by the name in its parameters."""


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=(), version="1")
def hooked(p: Any, rng: Any) -> float:
    HOOKS["hook"]()
    return float(rng.random())


@pytest.fixture(autouse=True)
def no_hooks() -> Any:
    yield
    HOOKS.clear()


async def awaited(job: Job) -> Any:
    return await job


def submit(engine: bgsim.Engine, **options: Any) -> Job:
    return engine.submit(one_draw, replicates=2, cache="off", **options)


def end_executor(engine: bgsim.Engine) -> None:
    executor = engine.executor()
    executor.submit(int)
    executor.shutdown()


WAITS: dict[str, Callable[[bgsim.Engine], Any]] = {
    "result": lambda engine: submit(engine).result(HANDSHAKE_S),
    "exception": lambda engine: submit(engine).exception(HANDSHAKE_S),
    "await": lambda engine: asyncio.run(awaited(submit(engine))),
    "wait": lambda engine: concurrent.futures.wait([submit(engine)], HANDSHAKE_S),
    "as_completed": lambda engine: list(engine.as_completed([submit(engine)], timeout_s=HANDSHAKE_S)),
    "in order": lambda engine: list(engine.as_completed([submit(engine)], order="submission", timeout_s=HANDSHAKE_S)),
    "batch": lambda engine: engine.submit_many(one_draw, [None], replicates=2, cache="off").wait(HANDSHAKE_S),
    "results": lambda engine: engine.submit_many(one_draw, [None], replicates=2, cache="off").results(),
    "map": lambda engine: list(engine.map(one_draw, [None], replicates=2, cache="off")),
    "drain": lambda engine: engine.drain(HANDSHAKE_S),
    "call": lambda engine: engine.executor().submit(int).result(HANDSHAKE_S),
    "wait for a call": lambda engine: concurrent.futures.wait([engine.executor().submit(int)], HANDSHAKE_S),
    "shutdown": end_executor,
    "calls": lambda engine: list(engine.executor().map(abs, [1, 2])),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_function_that_would_wait_for_ever_is_told(wait: Callable[[bgsim.Engine], Any]) -> None:
    with bgsim.Engine(workers=1) as engine:
        call = engine.executor().submit(wait, engine)
        with pytest.raises(DeadlockError, match="without end"):
            call.result(HANDSHAKE_S)
        assert submit(engine, seed=1).result(HANDSHAKE_S).replicates == 2


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_simulation_that_would_wait_for_ever_is_told(wait: Callable[[bgsim.Engine], Any]) -> None:
    with bgsim.Engine(workers=1) as engine:
        HOOKS["hook"] = lambda: wait(engine)
        error = engine.submit(hooked, replicates=1).exception(HANDSHAKE_S)
        assert isinstance(error, ReplicateError)
        assert isinstance(error.__cause__, DeadlockError)


@pytest.mark.parametrize("wait", [wait for name, wait in WAITS.items() if name != "drain"])
def test_a_wait_that_ends_is_not_refused(wait: Callable[[bgsim.Engine], Any]) -> None:
    """Another worker is free."""
    with bgsim.Engine(workers=2) as engine:
        engine.executor().submit(wait, engine).result(HANDSHAKE_S)
        HOOKS["hook"] = lambda: wait(engine)
        assert engine.submit(hooked, replicates=1).result(HANDSHAKE_S).replicates == 1


def test_the_last_worker_that_begins_to_wait_is_refused_and_the_others_get_their_results() -> None:
    barrier = threading.Barrier(3)

    def wait(seed: int) -> int:
        barrier.wait(HANDSHAKE_S)  # from now on no worker is free
        job = submit(engine, seed=seed)
        return job.result(HANDSHAKE_S).replicates

    with bgsim.Engine(workers=3) as engine:
        calls = [engine.executor().submit(wait, seed) for seed in range(3)]
        errors = [call.exception(HANDSHAKE_S) for call in calls]
        assert sorted(type(error).__name__ for error in errors) == ["DeadlockError", "NoneType", "NoneType"]


def test_a_job_that_runs_elsewhere_may_be_waited_for(hold: Gate) -> None:
    """Its worker does not wait, and will end it."""
    with bgsim.Engine(workers=2) as engine:
        running = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        begun = threading.Event()
        call = engine.executor().submit(lambda: (begun.set(), running.result(HANDSHAKE_S).replicates))
        assert begun.wait(HANDSHAKE_S)
        hold.open()
        assert call.result(HANDSHAKE_S) == (None, 1)


def test_what_the_store_has_may_be_waited_for() -> None:
    with bgsim.Engine(workers=1) as engine:
        engine.submit(one_draw, replicates=2).result(HANDSHAKE_S)
        found = engine.executor().submit(lambda: engine.submit(one_draw, replicates=2).result(HANDSHAKE_S))
        assert found.result(HANDSHAKE_S).replicates == 2


def test_a_look_is_no_wait() -> None:
    def look() -> tuple[bool, Any]:
        job = submit(engine)
        with pytest.raises(TimeoutError):
            job.result(0)
        call = engine.executor().submit(int)
        with pytest.raises(TimeoutError):
            call.result(0)
        return engine.drain(0), engine.submit_many(one_draw, [None], replicates=2, seed=4).done()

    with bgsim.Engine(workers=1) as engine:
        assert engine.executor().submit(look).result(HANDSHAKE_S) == (False, False)


def test_a_simulation_that_waits_for_itself_is_told() -> None:
    """It joins its own run, though another worker is free."""
    with bgsim.Engine(workers=2) as engine:
        HOOKS["hook"] = lambda: engine.submit(hooked, replicates=1).result(HANDSHAKE_S)
        error = engine.submit(hooked, replicates=1).exception(HANDSHAKE_S)
        assert error is not None
        assert isinstance(error.__cause__, DeadlockError)
        assert "needs the end, or the running place, of that function" in str(error.__cause__)


@pytest.mark.parametrize("limit", ["places", "group"])
def test_a_simulation_that_holds_what_its_job_needs_is_told(limit: str) -> None:
    settings: Any = {"max_concurrent_simulations": 1} if limit == "places" else {"limits": {"g": 1}}
    group = None if limit == "places" else "g"
    with bgsim.Engine(workers=2, **settings) as engine:
        HOOKS["hook"] = lambda: submit(engine, group=group).result(HANDSHAKE_S)
        error = engine.submit(hooked, replicates=1, group=group).exception(HANDSHAKE_S)
        assert error is not None
        assert isinstance(error.__cause__, DeadlockError)


def test_a_more_urgent_job_gets_the_place_of_the_simulation_that_waits_for_it() -> None:
    with bgsim.Engine(workers=2, max_concurrent_simulations=1) as engine:
        HOOKS["hook"] = lambda: submit(engine, priority="high").result(HANDSHAKE_S)
        assert engine.submit(hooked, replicates=1).result(HANDSHAKE_S).replicates == 1


def test_two_simulations_that_wait_for_each_other_are_told() -> None:
    met = threading.Barrier(2)
    jobs: list[Job] = []

    def wait_for_the_other() -> None:
        other = jobs[1 - met.wait(HANDSHAKE_S)]
        me = next(job for job in jobs if job is not other)
        assert me is not other
        other.result(HANDSHAKE_S)

    GATES.clear()
    with bgsim.Engine(workers=3) as engine:
        HOOKS["hook"] = wait_for_the_other
        engine.pause()
        jobs += [engine.submit(hooked, replicates=1, seed=seed) for seed in range(2)]
        engine.resume()
        errors = [job.exception(HANDSHAKE_S) for job in jobs]
    causes = [error.__cause__ for error in errors if error is not None]
    assert any(isinstance(cause, DeadlockError) for cause in causes)


def test_a_function_of_an_immediate_engine_is_told() -> None:
    with bgsim.Engine(immediate=True) as engine:
        for wait in WAITS.values():
            with pytest.raises(DeadlockError):
                engine.executor().submit(wait, engine).result(HANDSHAKE_S)


def test_room_in_the_queue_may_be_waited_for_in_vain() -> None:
    with bgsim.Engine(workers=1, max_concurrent_simulations=1, max_queue_size=1) as engine:

        def fill() -> None:
            for seed in range(3):
                submit(engine, seed=seed, block=True)

        with pytest.raises(DeadlockError, match="room in the queue"):
            engine.executor().submit(fill).result(HANDSHAKE_S)


def test_another_engine_may_be_waited_for() -> None:
    with bgsim.Engine(workers=1) as first, bgsim.Engine(workers=1) as second:
        assert first.executor().submit(lambda: submit(second).result(HANDSHAKE_S)).result(HANDSHAKE_S).replicates == 2
        run = first.executor().submit(bgsim.run, one_draw, replicates=2)
        assert run.result(HANDSHAKE_S).replicates == 2


def test_close_within_a_function_returns() -> None:
    engine = bgsim.Engine(workers=1)
    assert engine.executor().submit(engine.close).result(HANDSHAKE_S) == []
    engine.close()


def test_what_was_refused_leaves_nothing_behind() -> None:
    with bgsim.Engine(workers=1) as engine:
        for _ in range(3):
            with pytest.raises(DeadlockError):
                engine.executor().submit(lambda: submit(engine).result()).result(HANDSHAKE_S)
        engine.drain(HANDSHAKE_S)
        assert engine.stats().states[JobState.COMPLETED] == 3
