"""Done-callbacks: in which thread they come, in which order, and what they cannot hold up."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S, Gate
from kernels import Fragile, fragile, one_draw
from new_process import printed

import bgsim
from bgsim.errors import InvalidInputError
from bgsim.job import Job
from bgsim.testing import SteppedEngine, gated, run_all

CALLBACK_THREAD = "bgsim-callbacks-0"


class Noted:
    """A callback that notes for what, and in which threads, it comes."""

    def __init__(self, wanted: int = 1) -> None:
        self.threads: list[str] = []
        self.futures: list[Any] = []
        self._wanted = wanted
        self._enough = threading.Event()

    def __call__(self, future: Any) -> None:
        self.threads.append(threading.current_thread().name)
        self.futures.append(future)
        if len(self.futures) == self._wanted:
            self._enough.set()

    def wait(self) -> None:
        assert self._enough.wait(HANDSHAKE_S)


def completed(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(gated, {"name": "a"}, replicates=1).add_done_callback(note)


def failed(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(gated, {"name": "a"}, replicates=1)
    engine.submit(fragile, Fragile(2.0), replicates=1).add_done_callback(note)


def cancelled(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(gated, {"name": "a"}, replicates=1)
    job = engine.submit(one_draw, replicates=1)
    job.add_done_callback(note)
    job.cancel()


def superseded(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(one_draw, replicates=1, supersede="s", debounce_s=3600.0).add_done_callback(note)
    engine.submit(one_draw, replicates=1, seed=1, supersede="s")


def superseded_by_what_is_stored(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(one_draw, replicates=1, seed=1).result(HANDSHAKE_S)
    engine.submit(one_draw, replicates=1, supersede="s", debounce_s=3600.0).add_done_callback(note)
    engine.submit(one_draw, replicates=1, seed=1, supersede="s")


def stored(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(one_draw, replicates=1).result(HANDSHAKE_S)
    job = engine.submit(one_draw, replicates=1)
    assert job.done()
    job.add_done_callback(note)


def timed_out(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(one_draw, replicates=1, delay_s=3600.0, deadline_s=0.01).add_done_callback(note)


def called(engine: bgsim.Engine, note: Noted) -> Any:
    engine.executor().submit(int).add_done_callback(note)


def call_withdrawn(engine: bgsim.Engine, note: Noted) -> Any:
    engine.submit(gated, {"name": "a"}, replicates=1)
    executor = engine.executor()
    executor.submit(int).add_done_callback(note)
    executor.shutdown(wait=False, cancel_futures=True)


ENDS = (
    completed, failed, cancelled, superseded, superseded_by_what_is_stored, stored, timed_out, called, call_withdrawn
)  # fmt: skip


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("in_file", [False, True], ids=["memory", "file"])
def test_every_done_callback_comes_in_the_thread_of_the_callbacks(
    end: Callable[..., Any], in_file: bool, tmp_path: Path, hold: Gate
) -> None:
    note = Noted()
    with bgsim.Engine(tmp_path / "s.db" if in_file else None, workers=1) as engine:
        hold.open()
        end(engine, note)
        note.wait()
    assert note.threads == [CALLBACK_THREAD]


def test_a_callback_of_a_job_that_closing_ends_comes_there_too(hold: Gate) -> None:
    note = Noted()
    engine = bgsim.Engine(workers=1)
    engine.submit(one_draw, replicates=1, delay_s=3600.0).add_done_callback(note)
    engine.close(cancel=True)
    assert note.threads == [CALLBACK_THREAD]


@pytest.mark.parametrize("of", ["job", "call"])
def test_a_callback_of_a_closed_engine_comes_in_a_new_thread(of: str) -> None:
    note = Noted()
    with bgsim.Engine(workers=1) as engine:
        future: Any = engine.submit(one_draw, replicates=1) if of == "job" else engine.executor().submit(int)
    future.add_done_callback(note)
    note.wait()
    assert note.threads[0].startswith("bgsim-callbacks-")
    assert note.futures == [future]


def test_callbacks_come_in_the_order_of_adding_and_of_ends() -> None:
    order: list[Any] = []
    jobs: list[Job] = []
    with bgsim.Engine(workers=1) as engine:
        engine.pause()
        for seed in range(20):
            jobs.append(engine.submit(one_draw, replicates=1, seed=seed))
            for number in range(3):
                jobs[-1].add_done_callback(lambda job, number=number: order.append((job.seed, number)))  # type: ignore[misc]
        ended = engine.subscribe(completions_only=True)
        engine.resume()
        concurrent.futures.wait(jobs, HANDSHAKE_S)
        seeds = [next(ended).simulation_id for _ in jobs]
    by_id = {job.id: job.seed for job in jobs}
    assert order == [(by_id[job_id], number) for job_id in seeds for number in range(3)]


def test_the_terminal_update_comes_first() -> None:
    told: list[str] = []
    with bgsim.Engine(workers=1) as engine:
        engine.subscribe(lambda update: told.append(f"update {update.simulation_id}"), completions_only=True)
        for seed in range(20):
            job = engine.submit(one_draw, replicates=1, seed=seed)
            job.add_done_callback(lambda job: told.append(f"callback {job.id}"))
    assert len(told) == 40
    for job_id in {line.split()[1] for line in told}:
        assert told.index(f"update {job_id}") < told.index(f"callback {job_id}")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_callback_raises_is_logged_and_holds_nothing_up(
    error: type[BaseException], hold: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Any) -> None:
        raise error("from the callback")

    async def wait(job: Job) -> tuple[Any, Any]:
        waits = [asyncio.ensure_future(_awaited(job)), asyncio.wrap_future(job)]
        hold.open()
        first, second = await asyncio.wait_for(asyncio.gather(*waits), HANDSHAKE_S)
        return first, second

    note = Noted()
    with bgsim.Engine(workers=1) as engine:
        batch = engine.submit_many(gated, [{"name": "a"}, {"name": "b"}], replicates=1)
        for job in batch:
            job.add_done_callback(fail)
            job.add_done_callback(note)
        first, second = asyncio.run(wait(batch[0]))
        assert first is second is batch[0].result(HANDSHAKE_S)
        assert {job.id for job in engine.as_completed(batch, timeout_s=HANDSHAKE_S)} == {job.id for job in batch}
        assert batch.wait(HANDSHAKE_S)
        assert len(batch.results()) == 2
    assert note.futures == list(batch)
    assert caplog.text.count("from the callback") >= 2


async def _awaited(job: Job) -> Any:
    return await job


def test_a_callback_that_does_not_return_delays_neither_await_nor_the_batch_nor_other_jobs(gate: Gate) -> None:
    """Nor for long the callbacks of other jobs, and its own job's."""

    async def wait(job: Job) -> Any:
        return await asyncio.wait_for(_awaited(job), HANDSHAKE_S)

    note = Noted(wanted=2)
    with bgsim.Engine(workers=1) as engine:
        first = engine.submit(one_draw, replicates=1)
        first.add_done_callback(gate.stop_here)
        first.add_done_callback(note)
        gate.wait_until_reached()
        batch = engine.submit_many(one_draw, [None], replicates=1, seed=1)
        assert batch.wait(HANDSHAKE_S)
        second = engine.submit(one_draw, replicates=1, seed=2)
        second.add_done_callback(note)
        assert asyncio.run(wait(second)).replicates == 1
        note.wait()
        gate.open()
    assert note.futures == [first, second]
    assert CALLBACK_THREAD not in note.threads


def test_a_callback_may_do_what_any_thread_may() -> None:
    """Submit, wait, cancel, pause, drain, add callbacks, close."""
    done = threading.Event()
    found: dict[str, Any] = {}
    engine = bgsim.Engine(workers=1, max_concurrent_simulations=1)

    def use(job: Job) -> None:
        other = engine.submit(one_draw, replicates=2, seed=9)
        found["other"] = other.result(HANDSHAKE_S).replicates
        found["itself"] = job.result(HANDSHAKE_S).replicates
        found["await"] = asyncio.run(_awaited(engine.submit(one_draw, replicates=3, seed=9))).replicates
        found["batch"] = len(engine.submit_many(one_draw, [None] * 3, replicates=1, cache="off").results())
        found["map"] = len(list(engine.map(one_draw, [None] * 3, replicates=1, cache="off")))
        found["call"] = engine.executor().submit(int).result(HANDSHAKE_S)
        late = engine.submit(one_draw, replicates=1, seed=5, delay_s=3600.0)
        found["cancel"] = late.cancel()
        found["drain"] = engine.drain(HANDSHAKE_S)
        job.add_done_callback(lambda _: found.update(added=True))
        job.add_done_callback(lambda _: done.set())
        found["close"] = engine.close()

    engine.submit(one_draw, replicates=1).add_done_callback(use)
    assert done.wait(HANDSHAKE_S)
    engine.close()
    assert found == {
        "other": 2, "itself": 1, "await": 3, "batch": 3, "map": 3, "call": 0, "cancel": True, "drain": True,
        "added": True, "close": [],
    }  # fmt: skip


@pytest.mark.parametrize("close", ["engine.close()", "engine.close(cancel=True)", "pass"])
@pytest.mark.parametrize("of", ["engine.submit(european_call, replicates=1)", "engine.executor().submit(int)"])
def test_a_callback_that_never_returns_keeps_no_process(close: str, of: str) -> None:
    code = f"""
        import threading, bgsim
        from bgsim.models.options import european_call
        import bgsim.running.shutdown
        bgsim.running.shutdown.CALLBACKS_S = 0.1
        engine, reached = bgsim.Engine(workers=1), threading.Event()
        future = {of}
        future.add_done_callback(lambda _: (reached.set(), threading.Event().wait()))
        reached.wait()
        {close}
        print("closed")
    """
    assert printed(code) == "closed\n"


def test_what_cannot_be_called_is_refused() -> None:
    with bgsim.Engine(immediate=True) as engine:
        for future in (engine.submit(one_draw, replicates=1), engine.executor().submit(int)):
            with pytest.raises(InvalidInputError, match="fn must be callable; got 3"):
                future.add_done_callback(3)  # type: ignore[arg-type]


# ---- engines without threads -------------------------------------------------------------------------


def test_in_an_immediate_engine_callbacks_come_in_the_thread_that_steps() -> None:
    note = Noted()
    main = threading.current_thread().name
    with bgsim.Engine(immediate=True) as engine:
        job = engine.submit(one_draw, replicates=1, supersede="s", debounce_s=1.0)
        job.add_done_callback(note)
        newer = engine.submit(one_draw, replicates=1, supersede="s", debounce_s=1.0)
        assert note.futures == [job]
        newer.add_done_callback(note)
        newer.cancel()
        assert note.futures == [job, newer]
        newer.add_done_callback(note)
        engine.executor().submit(int).add_done_callback(note)
    assert len(note.futures) == 4
    assert set(note.threads) == {main}


def test_in_a_stepped_engine_callbacks_wait_for_the_step() -> None:
    note = Noted()
    with SteppedEngine() as engine:
        job = engine.submit(one_draw, replicates=1)
        job.add_done_callback(note)
        assert not note.futures
        run_all(engine)
        assert note.futures == [job]


def test_a_callback_of_an_immediate_engine_may_wait_for_other_jobs() -> None:
    found: list[Any] = []
    with bgsim.Engine(immediate=True) as engine:

        def use(job: Job) -> None:
            other = engine.submit(one_draw, replicates=2, seed=3)
            other.add_done_callback(lambda _: found.append("after it"))
            found.append(other.result().replicates)
            found.append(job.result().replicates)

        engine.pause()
        engine.submit(one_draw, replicates=1).add_done_callback(use)
        engine.resume()
        assert found == [2, 1, "after it"]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_what_a_callback_of_an_immediate_engine_raises_is_logged(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Any) -> None:
        raise error("from the callback")

    note = Noted()
    with bgsim.Engine(immediate=True) as engine:
        job = engine.submit(one_draw, replicates=1)
        job.add_done_callback(fail)
        job.add_done_callback(note)
    assert note.futures == [job]
    assert "from the callback" in caplog.text
