"""Results of jobs that have not ended: partial, estimate, histogram, watch; and the engines of a process."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HANDSHAKE_S
from kernels import Fragile, Walk, fragile, one_draw, plain_walk, spin, walk

import bgsim
from bgsim.errors import InvalidInputError, JobTimeoutError
from bgsim.job import JobState
from bgsim.simulation import Simulation
from bgsim.testing import Gate, SteppedEngine, gate, gated, parts, run_all, tick

EXPECTED = bgsim.run(walk, Walk(), replicates=5000, seed=3)


def is_prefix(partial: Any, whole: Any) -> bool:
    return all(np.array_equal(partial[name], whole[name][: partial.replicates]) for name in whole)


def half_done(engine: SteppedEngine, replicates: int = 5000) -> Any:
    """Return a job of which some chunks, not all, are done."""
    job = engine.submit(walk, Walk(), replicates=replicates, seed=3)
    while not job.partial().replicates:
        assert engine.step()
    assert not job.done()
    return job


# ---- in every state ----------------------------------------------------------------------------------


def test_a_job_that_waits_has_no_row_yet() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(walk, Walk(steps=4), replicates=10)
        partial = job.partial()
        assert (partial.replicates, partial["path"].shape) == (0, (0, 4))
        assert job.estimate("end").count == 0
        assert np.isnan(job.estimate("end").mean)
        assert len(job.histogram("end").counts) == 0


def test_the_rows_of_a_running_job_are_the_first_of_its_result() -> None:
    with SteppedEngine() as engine:
        job = half_done(engine)
        seen = []
        while not job.done():
            seen.append(job.partial())
            engine.step()
        counts = [partial.replicates for partial in seen]
        assert counts == sorted(counts)
        assert 0 < counts[0] < 5000
        assert all(is_prefix(partial, EXPECTED) for partial in seen)  # also those taken long ago: no row changes
        assert job.partial().replicates == 5000
        assert is_prefix(job.partial(), job.result())


@pytest.mark.parametrize("stop", ["pause", "engine.pause", "cancel", "overtake"])
def test_a_job_that_does_not_run_keeps_what_is_finished(stop: str) -> None:
    with SteppedEngine(max_concurrent_simulations=1) as engine:
        job = half_done(engine)
        before = job.partial().replicates
        match stop:
            case "pause":
                job.pause()
            case "engine.pause":
                engine.pause()
            case "cancel":
                job.cancel()
                run_all(engine)
                assert job.state is JobState.CANCELLED
            case "overtake":
                engine.submit(one_draw, replicates=1, priority="critical")
                assert job.state is JobState.SUSPENDED
        partial = job.partial()
        assert partial.replicates == before
        assert is_prefix(partial, EXPECTED)
        assert job.estimate("end").count == before
        job.resume()
        engine.resume()


def test_a_job_that_failed_keeps_what_was_finished_before() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(fragile, Fragile(0.001), replicates=100_000, seed=1)
        run_all(engine)
        replicate = job.exception().replicate
        assert replicate > 0
        partial = job.partial()
        assert partial.replicates == replicate
        assert partial["x"].min() >= 0.001


def test_jobs_of_one_run_have_each_what_they_asked_for() -> None:
    with SteppedEngine() as engine:
        many = half_done(engine)
        few = engine.submit(walk, Walk(), replicates=2, seed=3)
        assert few.partial().replicates == min(2, many.partial().replicates)
        few.cancel()
        assert few.partial().replicates <= 2
        assert few.estimate("end").count == few.partial().replicates
        run_all(engine)
        assert many.partial().replicates == 5000


def test_what_was_stored_is_there_as_soon_as_it_is_loaded(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "runs.db") as engine:
        engine.submit(walk, Walk(), replicates=1000, seed=3).result()
    with SteppedEngine(tmp_path / "runs.db") as engine:
        hit = engine.submit(walk, Walk(), replicates=1000, seed=3)
        assert hit.partial().replicates == 1000
        assert hit.estimate("high").mean == EXPECTED["high"][:1000].mean()
        more = engine.submit(walk, Walk(), replicates=5000, seed=3)
        engine.step()
        assert more.partial().replicates >= 1000
        assert is_prefix(more.partial(), EXPECTED)
        assert more.partial().versions


def test_a_chunk_of_plain_python_counts_when_its_code_was_checked() -> None:
    with bgsim.Engine(workers=1) as engine, gate("g") as g:
        job = engine.submit(gated, {"name": "g"}, replicates=1)
        g.wait_until_reached()
        assert job.partial().replicates == 0
        g.open()
        assert job.result(HANDSHAKE_S).replicates == job.partial().replicates == 1


def test_plain_python_has_live_results() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(plain_walk, Walk(), replicates=40, seed=3)
        while not job.done():
            engine.step()
            assert is_prefix(job.partial(), EXPECTED)


# ---- from other threads ------------------------------------------------------------------------------


def test_threads_that_look_all_the_time_see_finished_rows_only(in_threads: Any) -> None:
    """Rows are NaN-free and those of the result, at whatever moment a thread looks at a kernel that runs."""
    with bgsim.Engine(workers=2, chunk_target_ms=5) as engine:
        job = engine.submit(walk, Walk(), replicates=300_000, seed=3)
        seen: list[list[Any]] = [[], []]

        def look(number: int) -> None:
            while not job.done():
                seen[number].append((job.partial(), job.estimate("end"), job.histogram("end")))

        in_threads(lambda: look(0), lambda: look(1))
        result = job.result()
        for partial, estimate, histogram in seen[0][::50] + seen[1][::50]:
            assert is_prefix(partial, result)
            assert estimate.mean == pytest.approx(
                result["end"][: estimate.count].mean() if estimate.count else np.nan, nan_ok=True
            )
            assert histogram.counts.sum() == histogram.count
        fresh = bgsim.live.results.Reader().estimate(result, "end")
        assert job.estimate("end") == fresh


def test_looking_waits_for_no_kernel() -> None:
    """A replicate that never ends holds nobody up."""
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(spin, replicates=1)
        snapshot = next(engine.watch(job))
        assert snapshot.partial.replicates == 0
        job.cancel()


def test_rows_cannot_be_written() -> None:
    with SteppedEngine() as engine:
        job = half_done(engine)
        with pytest.raises(ValueError, match="read-only"):
            job.partial()["end"][0] = 1.0
        run_all(engine)  # and the workers still can
        assert is_prefix(job.result(), EXPECTED)


# ---- what is refused ---------------------------------------------------------------------------------


@bgsim.simulation(outputs={"name": "U3", "z": "c16", "path": ("f8", 2)}, compile=False)
def odd_outputs(p: Any, rng: Any) -> Any:
    return "abc", 1j, (1.0, 2.0)


def test_what_has_no_mean_is_refused_by_name() -> None:
    with bgsim.Engine() as engine:
        job = engine.submit(odd_outputs, replicates=3)
        job.result()
        assert job.estimate("z").mean == 1j
        assert job.estimate("path").mean.tolist() == [1.0, 2.0]
        with pytest.raises(InvalidInputError, match=r"output must be an output of numbers, which <U3 is not"):
            job.estimate("name")
        with pytest.raises(InvalidInputError, match="real numbers"):
            job.histogram("z")
        with pytest.raises(InvalidInputError, match="this one has an array"):
            job.histogram("path")
        with pytest.raises(InvalidInputError, match="did you mean 'path'"):
            job.estimate("paht")
        with pytest.raises(InvalidInputError, match="output must be one of"):
            job.estimate(3)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="bins must be an integer from 2 to 512"):
            job.histogram("z", 1)
        with pytest.raises(InvalidInputError, match="further must be an integer of 1 or more"):
            job.estimate("z", further=0)
        with pytest.raises(InvalidInputError, match="every_s must be more than 0"):
            engine.watch(job, every_s=0)
        with pytest.raises(InvalidInputError, match="job must be a job"):
            engine.watch(job.id)  # type: ignore[arg-type]


# ---- watch -------------------------------------------------------------------------------------------


def test_watch_looks_at_once_and_at_the_end() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(walk, Walk(), replicates=5000, seed=3)
        snapshots = list(engine.watch(job))
        counts = [snapshot.partial.replicates for snapshot in snapshots]
        assert counts[0] == 0
        assert counts == sorted(counts)
        assert len(set(counts)) > 2
        assert counts[-1] == 5000
        assert snapshots[-1].status.state is JobState.COMPLETED
        assert [s.estimate("end").count for s in snapshots] == counts  # of its own rows, also when all has ended
        assert [s.histogram("end").count for s in snapshots] == counts
        assert "completed" in str(snapshots[-1])


def test_watch_of_a_job_that_has_ended_yields_once() -> None:
    with bgsim.Engine() as engine:
        job = engine.submit(one_draw, replicates=5)
        job.result()
        assert [s.partial.replicates for s in engine.watch(job)] == [5]


def test_watch_ends_as_soon_as_the_job_does() -> None:
    with bgsim.Engine(workers=1) as engine, gate("g") as g:
        job = engine.submit(gated, {"name": "g"}, replicates=1)
        watch = engine.watch(job, every_s=1000.0)
        assert next(watch).status.state in (JobState.QUEUED, JobState.RUNNING)
        g.wait_until_reached()
        g.open()
        assert next(watch).status.state is JobState.COMPLETED
        assert list(watch) == []


def test_watch_can_be_awaited() -> None:
    async def states() -> list[JobState]:
        with bgsim.Engine(workers=1) as engine, gate("g") as g:
            job = engine.submit(gated, {"name": "g"}, replicates=1)
            found = []
            async for snapshot in engine.watch(job, every_s=0.001):
                found.append(snapshot.status.state)
                if len(found) == 3:
                    g.open()
            return found

    found = asyncio.run(states())
    assert len(found) >= 4
    assert found[-1] is JobState.COMPLETED


def test_a_watch_goes_on_in_another_event_loop() -> None:
    """As where each cell of a program has an `asyncio.run` of its own; the end of the job reaches the newest."""
    with bgsim.Engine(workers=1) as engine, gate("g") as g:
        job = engine.submit(gated, {"name": "g"}, replicates=1)
        g.wait_until_reached()
        watch = engine.watch(job, every_s=0.001)

        async def two() -> list[JobState]:
            return [(await anext(watch)).status.state for _ in range(2)]

        async def last() -> JobState:
            await anext(watch)
            g.open()
            *_, snapshot = [snapshot async for snapshot in watch]
            return snapshot.status.state

        assert asyncio.run(two()) == [JobState.RUNNING] * 2
        assert next(watch).status.state is JobState.RUNNING  # and in none
        assert asyncio.run(last()) is JobState.COMPLETED


def test_watch_says_that_nothing_is_due() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(one_draw, replicates=1, delay_s=1.0)
        watch = engine.watch(job)
        next(watch)
        with pytest.raises(JobTimeoutError, match="nothing is due"):
            next(watch)
        engine.clock.advance(2.0)
        assert list(watch)[-1].partial.replicates == 1


# ---- while it compiles -------------------------------------------------------------------------------


def test_a_job_says_for_how_long_it_has_been_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do its updates, the bar of several jobs, and the text of both; no word of it before a second is over."""
    clock, compiling, prepare = bgsim.ManualClock(), Gate(), Simulation.prepare

    def slow(self: Simulation, *arguments: Any) -> Any:
        compiling.stop_here()
        return prepare(self, *arguments)

    monkeypatch.setattr(Simulation, "prepare", slow)
    with bgsim.Engine(workers=1, clock=clock) as engine:
        batch = engine.submit_many(plain_walk, [Walk(steps=3)], replicates=5)
        (job,), progress = batch, batch.progress()
        updates = job.updates()
        compiling.wait_until_reached()
        clock.advance(0.5)
        tick(engine)
        clock.advance(3.0)
        tick(engine)
        status = job.status()
        assert (status.phase, status.compiling_s) == ("compiling", 3.5)
        assert "compiling for 3.5 s" in str(status)
        texts = ("the first run compiles, 4 s so far; that happens once",)
        assert next(u for u in updates if u.messages).messages == texts
        assert next(u for u in progress if u.messages).messages == texts
        assert str(progress.current).endswith("; " + texts[0])
        compiling.open()
        assert job.result(HANDSHAKE_S).replicates == 5
        assert job.status().compiling_s is None


# ---- the engines of a process ------------------------------------------------------------------------


def test_engines_lists_those_that_are_open() -> None:
    before = bgsim.engines()
    with bgsim.Engine() as a, SteppedEngine() as b:
        assert [e for e in bgsim.engines() if e not in before] == [a, b]
    assert bgsim.engines() == before


def test_a_dropped_engine_is_listed_until_its_jobs_have_ended() -> None:
    before = len(bgsim.engines())
    with gate("g") as g:
        job = bgsim.Engine(workers=1).submit(gated, {"name": "g"}, replicates=1)
        gc.collect()
        g.wait_until_reached()
        (left,) = bgsim.engines()[before:]
        assert left.jobs() == [job]
        assert left.config.workers == 1
        g.open()
        left.close(cancel=True)
    assert job.done()
    assert len(bgsim.engines()) == before


def test_an_engine_whose_file_is_open_again_stops_when_it_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that is run again: the older engine does not compute beside the newer one, and nothing is lost."""
    monkeypatch.chdir(tmp_path)
    engine = bgsim.Engine("runs.db", workers=1)
    job = engine.submit(spin, replicates=3)
    with caplog.at_level(logging.WARNING, "bgsim.engine"):
        newer = bgsim.Engine(tmp_path / "runs.db", workers=1)  # the same file, by another name
        assert "another engine of this process is open" in caplog.text
        ended = threading.Event()
        job.add_done_callback(lambda _: ended.set())
        del engine
        gc.collect()
        assert ended.wait(HANDSHAKE_S)
        assert "its jobs stop" in caplog.text
    for thread in threading.enumerate():  # what closes the older engine tells the file last
        if thread.name == "close-bgsim":
            thread.join(HANDSHAKE_S)
    assert job.state is JobState.CANCELLED
    with newer:
        assert [request.id for request in newer.interrupted()] == [job.id]
        assert parts(newer).state.jobs == {}


def test_engines_with_other_files_or_without_do_not_matter_to_each_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with bgsim.Engine() as a, bgsim.Engine(tmp_path / "a.db") as b, gate("g") as g:
        jobs = [e.submit(gated, {"name": "g"}, replicates=1) for e in (a, b)]
        g.wait_until_reached()
        with bgsim.Engine(), bgsim.Engine(tmp_path / "b.db"):
            pass
        g.open()
        assert [job.result(HANDSHAKE_S).replicates for job in jobs] == [1, 1]
    assert caplog.text == ""
