"""Jobs that a precision ends: where they end depends on simulation, parameters, seed and precision alone."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels import Walk, walk
from summarised import Mixed, coin, left_behind, mixed, named, plain

import bgsim
from bgsim.errors import InvalidInputError, NotStoredError, OutputError
from bgsim.job import JobState
from bgsim.precision import Precision
from bgsim.running.looks import Looks, stopping_of
from bgsim.summaries.tally import Tally
from bgsim.testing import SteppedEngine, run_all

SEED = 11
WANTED = Precision("value", standard_error=0.0024, minimum=500)
"""Reached by `coin`, whose standard deviation is 0.29, at 16,000."""


@pytest.fixture(scope="module")
def expected() -> Any:
    found = bgsim.run(coin, replicates=WANTED, seed=SEED, workers=1)
    assert found.replicates == 16_000
    assert found.stopping.reached
    assert [look.replicates for look in found.stopping.looks] == [500, 1000, 2000, 4000, 8000, 16_000]
    return found


@pytest.mark.parametrize("keep", ["columns", "summary"])
@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("chunk_target_ms", [0.05, 5, 200])
def test_any_workers_and_chunks_end_at_the_same_number(
    keep: str, workers: int, chunk_target_ms: float, expected: Any
) -> None:
    with bgsim.Engine(workers=workers, chunk_target_ms=chunk_target_ms) as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED, keep=keep)
        found = job.result()
        assert found.stopping == expected.stopping
        assert found.replicates == job.replicates == job.status().total_replicates == 16_000
        assert job.status().replicates_completed == 16_000
        if keep == "columns":
            assert np.array_equal(found["value"], expected["value"])
        assert found.summary()["value"].mean == pytest.approx(expected.summary()["value"].mean, rel=1e-12)


def test_plain_python_too() -> None:
    wanted = Precision("hit", half_width=0.05, minimum=200)
    ends = {bgsim.run(plain, replicates=wanted, seed=SEED, workers=n).replicates for n in (1, 3)}
    assert len(ends) == 1


def test_the_maximum_ends_a_job_that_does_not_reach_its_precision() -> None:
    wanted = Precision("value", standard_error=1e-9, minimum=100, maximum=1500)
    found = bgsim.run(coin, replicates=wanted, seed=SEED)
    assert (found.replicates, found.stopping.reached) == (1500, False)
    assert [look.replicates for look in found.stopping.looks] == [100, 200, 400, 800, 1500]


@pytest.mark.parametrize("keep", ["columns", "summary"])
def test_what_is_stored_answers_at_once(keep: str, tmp_path: Path, expected: Any) -> None:
    """Also another precision, which the stored replicates satisfy; and one that they do not goes on from them."""
    with bgsim.Engine(tmp_path / "s.db") as engine:
        first = engine.submit(coin, replicates=WANTED, seed=SEED, keep=keep)
        first.result()
        engine.store.flush()
        assert engine.store.count(first.request.key) >= 16_000
        again = engine.submit(coin, replicates=WANTED, seed=SEED, keep=keep, cache="only")
        assert again.done()
        assert again.result().stopping == expected.stopping
        assert again.status().from_store == again.result().replicates == 16_000
        coarser = engine.submit(
            coin, replicates=Precision("value", standard_error=0.01, minimum=500), seed=SEED, keep=keep, cache="only"
        )
        assert coarser.result().replicates == 1000
        with pytest.raises(NotStoredError, match="are stored"):
            beyond = Precision("value", standard_error=1e-7, minimum=500)
            engine.submit(coin, replicates=beyond, seed=SEED, keep=keep, cache="only")
        finer = Precision("value", standard_error=0.0009, minimum=500)
        job = engine.submit(coin, replicates=finer, seed=SEED, keep=keep)
        assert job.result().replicates == 128_000
        assert job.status().from_store >= 16_000


def test_what_is_done_beyond_the_end_is_stored_and_not_in_the_result(tmp_path: Path) -> None:
    with SteppedEngine(tmp_path / "s.db", chunk_target_ms=2) as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED, workspace="w")
        run_all(engine)
        assert job.result().replicates == 16_000
        assert len(job.result()["value"]) == 16_000
        engine.store.flush()
        assert engine.store.count(job.request.key) >= 16_000
        assert engine.store.slots("w").primary.replicates == 16_000


def test_a_job_that_was_cancelled_goes_on_to_the_same_end(tmp_path: Path, expected: Any) -> None:
    with SteppedEngine(tmp_path / "s.db", chunk_target_ms=0.2) as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED)
        while job.partial().replicates < 3000:
            assert engine.step()
        job.cancel()
        run_all(engine)
        assert job.state is JobState.CANCELLED
        assert job.partial().replicates >= 3000
        job = engine.submit(coin, replicates=WANTED, seed=SEED)
        run_all(engine)
        assert job.result().stopping == expected.stopping
        assert job.status().from_store >= 3000


@pytest.mark.parametrize("keep", ["columns", "summary"])
def test_another_process_goes_on_to_the_same_end(keep: str, tmp_path: Path, expected: Any) -> None:
    """The journal keeps the precision."""
    left_behind(tmp_path / "s.db", lambda engine: engine.submit(coin, replicates=WANTED, seed=SEED, keep=keep))
    with bgsim.Engine(tmp_path / "s.db") as engine:
        (job,) = engine.recover()
        assert job.result().stopping == expected.stopping


@pytest.mark.parametrize("keep", ["columns", "summary"])
def test_workers_do_not_run_far_ahead_of_a_look(keep: str, monkeypatch: Any) -> None:
    """However long a look takes, as the first one does, for which the tally's loop may have to be compiled."""
    judging, judge, ready = threading.Event(), Looks.judge, threading.Event()

    def slow(self: Looks, columns: Any) -> Any:
        judging.set()
        assert ready.wait(60)
        return judge(self, columns)

    monkeypatch.setattr(Looks, "judge", slow)
    with bgsim.Engine(workers=2) as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED, keep=keep)
        assert judging.wait(60)
        while job.run.has_pending or job.partial().replicates < 2000:
            assert not job.done()
        assert job.partial().replicates == 2000  # two looks beyond the first
        ready.set()
        assert job.result().replicates == 16_000


def test_a_suspended_job_goes_on(expected: Any) -> None:
    with SteppedEngine(max_concurrent_simulations=1, chunk_target_ms=0.2) as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED)
        while job.partial().replicates < 3000:
            assert engine.step()
        engine.submit(walk, Walk(), replicates=100, priority="critical")
        run_all(engine)
        assert job.result().stopping == expected.stopping


def test_jobs_of_one_precision_share_a_run_and_its_end(expected: Any) -> None:
    """Also one that joins when it is known, before the run has ended."""
    with SteppedEngine(chunk_target_ms=0.2) as engine:
        jobs = [engine.submit(coin, replicates=WANTED, seed=SEED) for _ in range(2)]
        other = engine.submit(coin, replicates=16_000, seed=SEED)
        assert jobs[0].run is jobs[1].run is not other.run
        run = jobs[0].run
        while run.looks.stopping is None:
            assert engine.step()
        if run.members:  # it is being stored
            jobs.append(engine.submit(coin, replicates=WANTED, seed=SEED))
        run_all(engine)
        assert {job.result().replicates for job in jobs} == {16_000}
        assert all(job.result().stopping == expected.stopping for job in jobs)
        assert np.array_equal(other.result()["value"], jobs[0].result()["value"])


def test_each_point_of_a_sweep_has_its_own_number() -> None:
    with bgsim.Engine() as engine:
        wanted = Precision("value", relative=0.005, minimum=500)
        sweep = engine.sweep(coin, {"mean": [0.5, 2.0, 50.0]}, replicates=wanted, seed=SEED)
        numbers = [result.replicates for result in sweep.results()]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 3


def test_progress_is_towards_the_precision() -> None:
    with SteppedEngine(chunk_target_ms=0.05) as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED)
        fractions, totals = [], set()
        while not job.done():
            status = job.status()
            fractions.append(status.fraction)
            if status.replicates_completed >= 1000 and status.state is JobState.RUNNING:
                totals.add(status.total_replicates)
            engine.step()
    assert max(fractions[:-1]) < 1.0
    assert totals <= {8000, 16_000, 32_000}
    assert 16_000 in totals


@pytest.mark.parametrize("minimum", [2, 100, 3000, 5000, 7000])
def test_a_stored_summary_that_has_no_cut_at_a_look_is_used_up_to_there(minimum: int, tmp_path: Path) -> None:
    wanted = Precision("value", standard_error=0.0035, minimum=minimum, maximum=20_000)
    alone = bgsim.run(coin, replicates=wanted, seed=SEED, keep="summary")
    with bgsim.Engine(tmp_path / "s.db") as engine:
        for stored in (5000, 30_000):
            engine.submit(coin, replicates=stored, seed=SEED, keep="summary").result()
            found = engine.submit(coin, replicates=wanted, seed=SEED, keep="summary").result()
            assert found.stopping == alone.stopping
            assert found.tally("value") == alone.tally("value")


@pytest.mark.parametrize("times", [1, 3])
def test_a_look_that_fails_is_taken_again(times: int, monkeypatch: Any, expected: Any) -> None:
    judge, left = Looks.judge, [times]

    def failing(self: Looks, columns: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise MemoryError
        return judge(self, columns)

    monkeypatch.setattr(Looks, "judge", failing)
    with SteppedEngine() as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED, retry=bgsim.Retry(2, delay_s=1.0))
        for _ in range(4):
            run_all(engine)
            engine.clock.advance(2.0)
        if times == 1:
            assert job.result().stopping == expected.stopping
            assert job.status().attempts == 1
        else:
            assert isinstance(job.exception(), MemoryError)


def test_rows_that_a_failed_look_has_counted_are_counted_once(monkeypatch: Any, expected: Any) -> None:
    add, calls = Tally.add, itertools.count()

    def failing(self: Tally, values: Any) -> None:
        add(self, values)
        if next(calls) == 3:
            self.count -= len(values)  # as where there is no memory in the middle of it
            raise MemoryError

    monkeypatch.setattr(Tally, "add", failing)
    with SteppedEngine() as engine:
        job = engine.submit(coin, replicates=WANTED, seed=SEED, retry=bgsim.Retry(1, delay_s=0.0))
        run_all(engine)
        assert job.status().attempts == 1
        assert job.result().stopping == expected.stopping


# ---- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("simulation", "precision", "field"),
    [
        (named, Precision("name", standard_error=1.0), "output"),
        (mixed, Precision("path", standard_error=1.0), "output"),
        (mixed, Precision("valeu", standard_error=1.0), "output"),
        (mixed, Precision("value", standard_error=1.0, rule="anytime"), "bounds"),
    ],
)
def test_a_precision_of_what_is_no_number_is_refused(simulation: Any, precision: Precision, field: str) -> None:
    with SteppedEngine() as engine, pytest.raises(InvalidInputError) as caught:
        engine.submit(simulation, replicates=precision)
    assert caught.value.field == field


def test_a_value_beyond_the_bounds_fails_the_job() -> None:
    wanted = Precision("value", half_width=0.1, rule="anytime", bounds=(0.0, 1.5), minimum=500)
    with SteppedEngine() as engine:
        job = engine.submit(coin, Mixed(mean=1.0), replicates=wanted)
        run_all(engine)
        error = job.exception()
    assert isinstance(error, OutputError)
    assert "outside of bounds" in str(error)


@pytest.mark.parametrize("seed", range(4))
def test_anytime_ends_at_the_same_number_for_any_workers(seed: int) -> None:
    wanted = Precision("hit", half_width=0.03, rule="anytime", minimum=200)
    ends = {
        bgsim.run(mixed, replicates=wanted, seed=seed, workers=n, keep=k).replicates
        for n in (1, 2)
        for k in ("columns", "summary")
    }
    assert len(ends) == 1


def test_a_worker_that_looks_at_a_run_is_seen_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    judge = bgsim.Precision.judge

    def watched(self: bgsim.Precision, n: int, moments: Any) -> Any:
        seen.extend(engine.at_work())
        return judge(self, n, moments)

    monkeypatch.setattr(bgsim.Precision, "judge", watched)
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(plain, replicates=bgsim.Precision("value", standard_error=1.0, minimum=16))
        job.result()
    assert {(one.worker, one.job, one.phase) for one in seen} == {(0, job.id, "running")}


def test_what_is_stored_is_looked_at_as_far_as_it_has_the_looks(tmp_path: Path) -> None:
    """Of a summary that was not made for this precision, some looks may not be there."""
    wanted = Precision("value", standard_error=0.0035, minimum=3000, maximum=20_000)
    with bgsim.Engine(tmp_path / "s.db") as engine:
        job = engine.submit(coin, replicates=30_000, seed=SEED, keep="summary")
        job.result()
        engine.store.flush()
        stored = engine.store.load(job.request.key)
    assert stopping_of(wanted, stored) is None
    assert stopping_of(replace(wanted, minimum=1024), stored).replicates == 8192
