"""The tests that every backend passes, for authors of backends.

Derive from `BackendContract`, and say how a backend is made. pytest collects the tests:

    from contextlib import contextmanager
    from bgsim.testing import backends


    class TestMyBackend(backends.BackendContract):
        @contextmanager
        def make_backend(self):
            yield MyBackend()

Each compares, bit for bit, with what one thread computes. Another test runner calls each method whose name begins with
``test_``, with the path of an empty directory that the backend's workers see, too; `unittest.SkipTest` says that a
backend cannot do what a test is about.
"""

from __future__ import annotations

import concurrent.futures
from pathlib import Path
from typing import Any

from bgsim.errors import JobTimeoutError, ReplicateError
from bgsim.job import JobState
from bgsim.parameters.keep import KEEPS
from bgsim.precision import Precision
from bgsim.retry import Retry
from bgsim.testing.backend_examples import (
    WAIT_S,
    BackendMaker,
    Limit,
    Walk,
    assert_same,
    fragile,
    go,
    has_moved,
    long,
    of_one_thread,
    plain_long,
    plain_walk,
    refused_while_absent,
    scaled,
    states_of,
    talkative,
    wait_until,
    walk,
)
from bgsim.testing.backend_losses import LossContract
from bgsim.testing.engines import workers_on

__all__ = ["BackendContract"]

_MANY = 10**7
"""Replicates of a job that a test cancels: it would take minutes."""

_SLOW = Walk(steps=2, work=2_000)
"""Of about 20 microseconds."""


class BackendContract(LossContract, BackendMaker):
    """The tests of bytes, orders, views, failures and losses. Override `make_backend`."""

    # ---- the same bytes ------------------------------------------------------------------------------

    def test_compiled_code_has_the_same_bytes(self, tmp_path: Path) -> None:
        """Several outputs, also of more than one element; more replicates than one chunk has, and one alone."""
        with self.opened() as engine:
            for replicates, seed in ((20_000, 7), (1, 8)):
                job = engine.submit(walk, Walk(5), replicates=replicates, seed=seed)
                assert_same(job.result(WAIT_S), of_one_thread(walk, Walk(5), replicates=replicates, seed=seed))

    def test_plain_python_has_the_same_bytes(self, tmp_path: Path) -> None:
        """As compiled code."""
        with self.opened() as engine:
            job = engine.submit(plain_walk, Walk(5), replicates=500, seed=7)
            assert_same(job.result(WAIT_S), of_one_thread(plain_walk, Walk(5), replicates=500, seed=7))

    def test_tiny_chunks_have_the_same_bytes(self, tmp_path: Path) -> None:
        """A chunk has a replicate or two, so that all lanes take from all places of the result."""
        with self.opened() as engine:
            engine.backend.chunk_s = 1e-6  # type: ignore[misc] # the protocol has it read-only; an engine reads it anew
            for kernel in (walk, plain_walk):
                job = engine.submit(kernel, Walk(3), replicates=300, seed=1)
                assert_same(job.result(WAIT_S), of_one_thread(kernel, Walk(3), replicates=300, seed=1))

    def test_more_replicates_extend_a_stored_result(self, tmp_path: Path) -> None:
        """The first ones come from the store."""
        expected = of_one_thread(walk, replicates=5_000, seed=3)
        with self.opened(store=tmp_path / "s.db") as engine:
            assert_same(engine.submit(walk, replicates=1_000, seed=3).result(WAIT_S), expected)
            job = engine.submit(walk, replicates=5_000, seed=3)
            assert_same(job.result(WAIT_S), expected)
            assert len(job.result()["end"]) == 5_000
            assert job.status().from_store == 1_000

    def test_code_of_this_process_alone_is_computed(self, tmp_path: Path) -> None:
        """What no module has: a function that another one has made, with what it closes over."""
        with self.opened() as engine:
            for compiles in (True, False):
                kernel = scaled(2.5, compile=compiles)
                job = engine.submit(kernel, replicates=300, seed=2)
                assert_same(job.result(WAIT_S), of_one_thread(kernel, replicates=300, seed=2))

    def test_jobs_at_once_have_the_same_bytes(self, tmp_path: Path) -> None:
        """They share the lanes."""
        with self.opened() as engine:
            jobs = [engine.submit(kernel, replicates=400, seed=5) for kernel in (walk, plain_walk)]
            for job in jobs:
                assert_same(job.result(WAIT_S), of_one_thread(job.simulation, replicates=400, seed=5))

    def test_many_small_jobs_have_the_same_bytes(self, tmp_path: Path) -> None:
        """Each with a seed of its own."""
        with self.opened() as engine:
            jobs = [engine.submit(walk, replicates=3, seed=seed) for seed in range(300)]
            for job in jobs:
                job.result(WAIT_S)
        with self.one_thread() as engine:
            for job in jobs:
                assert_same(job.result(), engine.submit(walk, replicates=3, seed=job.seed).result(WAIT_S))

    def test_summaries_have_the_same_bytes(self, tmp_path: Path) -> None:
        """The exact state of each output, and what is stored of it is extended."""
        with self.opened(store=tmp_path / "s.db") as engine:
            for kernel, replicates in ((walk, 30_000), (plain_walk, 500)):
                for part in (replicates // 3, replicates):
                    job = engine.submit(kernel, replicates=part, seed=4, keep="summary")
                    found = states_of(job.result(WAIT_S))
                    with self.one_thread() as one:
                        alone = one.submit(kernel, replicates=part, seed=4, keep="summary")
                        assert found == states_of(alone.result(WAIT_S))
                assert job.status().from_store == replicates // 3

    def test_a_precision_ends_at_the_same_number(self, tmp_path: Path) -> None:
        """Wherever the chunks are computed."""
        wanted = Precision("end", standard_error=0.02, minimum=300)
        for keep in KEEPS:
            with self.opened() as engine, self.one_thread() as one:
                ends = [
                    each.submit(walk, replicates=wanted, seed=4, keep=keep).result(WAIT_S) for each in (engine, one)
                ]
            assert ends[0].stopping == ends[1].stopping
            assert ends[0].replicates == ends[1].replicates

    # ---- orders --------------------------------------------------------------------------------------

    def test_a_cancelled_job_keeps_its_first_replicates(self, tmp_path: Path) -> None:
        """Cancelled while all lanes compute it."""
        with self.opened() as engine:
            job = engine.submit(walk, _SLOW, replicates=_MANY, seed=1)
            has_moved(job)
            assert job.cancel()
            self.has_first_replicates(job)
            assert job.partial().replicates > 0

    def test_a_long_replicate_stops_within(self, tmp_path: Path) -> None:
        """Compiled and plain; one of hours would not come back."""
        self.needs_orders()
        with self.opened() as engine:
            for kernel in (long, plain_long):
                job = engine.submit(kernel, replicates=1)
                self.has_begun(job)
                assert job.cancel()
                assert _ends(job) is JobState.CANCELLED
                assert job.status().replicates_completed == 0

    def test_progress_moves_within_a_replicate(self, tmp_path: Path) -> None:
        """The fraction that a kernel reports, while its chunk is in hand."""
        self.needs_orders()
        with self.opened() as engine:
            job = engine.submit(long, replicates=1)
            for _ in range(3):
                self.has_begun(job, above=job.status().fraction)
            assert job.status().fraction < 1

    def test_progress_moves_within_a_chunk(self, tmp_path: Path) -> None:
        """Replicates count before the chunk has come back: its end is hours away."""
        self.needs_orders()
        with self.opened() as engine:
            engine.backend.chunk_s = 1e6  # type: ignore[misc] # as above
            job = engine.submit(walk, _SLOW, replicates=_MANY)
            seen = 0
            for _ in range(5):
                has_moved(job, above=seen)
                seen = job.status().replicates_completed
            assert job.cancel()
            self.has_first_replicates(job)

    def test_an_urgent_job_overtakes(self, tmp_path: Path) -> None:
        """The one that runs goes on where it was."""
        with self.opened(max_concurrent_simulations=1) as engine:
            job = engine.submit(walk, _SLOW, replicates=_MANY, priority="low", seed=1)
            has_moved(job)
            urgent = engine.submit(walk, replicates=1_000, priority="high", seed=2)
            assert_same(urgent.result(WAIT_S), of_one_thread(walk, replicates=1_000, seed=2))
            assert not job.done()
            has_moved(job, above=job.status().replicates_completed)
            assert job.cancel()
            self.has_first_replicates(job)

    def test_a_paused_job_goes_on_where_it_was(self, tmp_path: Path) -> None:
        """Nothing computes while it is paused."""
        with self.opened() as engine:
            job = engine.submit(walk, _SLOW, replicates=_MANY, seed=4)
            has_moved(job)
            assert job.pause()
            wait_until(lambda: workers_on(job) == 0, "the workers have left the paused job")
            before = job.status().replicates_completed
            assert job.state is JobState.SUSPENDED
            assert all(status.job is None for status in engine.at_work())
            assert job.status().replicates_completed == before
            assert job.resume()
            has_moved(job, above=before)
            assert job.cancel()
            self.has_first_replicates(job)

    def test_a_job_that_takes_too_long_fails(self, tmp_path: Path) -> None:
        """Its kernel stops."""
        self.needs_orders()
        with self.opened() as engine:
            job = engine.submit(long, replicates=1, timeout_s=0.5)
            assert isinstance(job.exception(WAIT_S), JobTimeoutError)
            assert len(engine.submit(walk, replicates=5).result(WAIT_S)["end"]) == 5

    def test_closing_stops_what_runs(self, tmp_path: Path) -> None:
        """Within the time that an engine waits for kernels."""
        self.needs_orders()
        with self.opened() as engine:
            jobs = [engine.submit(kernel, replicates=1, seed=2) for kernel in (long, plain_long)]
            for job in jobs:
                self.has_begun(job)
            assert engine.close(cancel=True, timeout_s=WAIT_S) == []
            assert [_ends(job) for job in jobs] == [JobState.CANCELLED] * 2

    # ---- failures ------------------------------------------------------------------------------------

    def test_a_replicate_that_raises_is_named(self, tmp_path: Path) -> None:
        """The lowest one, with what it raised, and where if that was in another process."""
        with self.one_thread() as engine:
            expected = engine.submit(fragile, Limit(0.001), replicates=5_000, seed=1).exception(WAIT_S)
        with self.opened() as engine:
            error = engine.submit(fragile, Limit(0.001), replicates=5_000, seed=1).exception(WAIT_S)
            assert isinstance(error, ReplicateError)
            assert isinstance(expected, ReplicateError)
            assert error.replicate == expected.replicate
            assert str(error) == str(expected)
            assert type(error.__cause__) is ValueError
            notes = "".join(getattr(error.__cause__, "__notes__", ()))
            assert engine.backend.is_here or "the draw is too small" in notes
            assert engine.backend.is_here or "raised in process" in notes
            assert len(engine.submit(walk, replicates=5).result(WAIT_S)["end"]) == 5

    def test_what_may_pass_is_tried_again(self, tmp_path: Path) -> None:
        """Until it has passed."""
        path = tmp_path / "there"
        with self.opened() as engine:
            retry = Retry(retries=1000, delay_s=0.05, backoff="fixed")
            job = engine.submit(refused_while_absent, {"path": str(path)}, replicates=50, retry=retry)
            wait_until(lambda: job.status().attempts, "the job has failed once")
            go(path)
            expected = of_one_thread(refused_while_absent, {"path": str(path)}, replicates=50)
            assert_same(job.result(WAIT_S), expected)

    # ---- views ---------------------------------------------------------------------------------------

    def test_logs_of_plain_python_arrive_once(self, tmp_path: Path) -> None:
        """All of them, with the id of the job."""
        with self.one_thread() as engine:
            job = engine.submit(talkative, replicates=100, seed=3)
            job.result(WAIT_S)
            expected = sorted(record.getMessage() for record in job.logs())
        assert len(expected) == 100
        with self.opened() as engine:
            job = engine.submit(talkative, replicates=100, seed=3)
            job.result(WAIT_S)
            assert sorted(record.getMessage() for record in job.logs()) == expected
            assert {record.job_id for record in job.logs()} == {job.id}  # type: ignore[attr-defined]

    def test_partial_results_have_finished_rows_alone(self, tmp_path: Path) -> None:
        """At every look while it runs."""
        slow = Walk(steps=2, work=200)
        expected = of_one_thread(walk, slow, replicates=200_000, seed=6)
        with self.opened() as engine:
            engine.backend.chunk_s = 0.02  # type: ignore[misc] # as above
            job = engine.submit(walk, slow, replicates=200_000, seed=6)
            seen = [0]
            while not job.done():
                found = job.partial()
                assert found.replicates >= seen[-1]
                if found.replicates > seen[-1]:
                    assert_same(found, expected)
                    seen.append(found.replicates)
            assert_same(job.result(), expected)

    def test_an_engine_says_what_it_does(self, tmp_path: Path) -> None:
        """While a kernel runs, and when all is done."""
        self.needs_orders()
        with self.opened() as engine:
            assert engine.health().ok
            job = engine.submit(long, replicates=1)
            self.has_begun(job)
            (busy,) = [status for status in engine.at_work() if status.phase == "running"]
            assert busy.job == job.id
            assert bool(busy.place) is not engine.backend.is_here
            assert engine.stats().states[JobState.RUNNING] == 1
            assert engine.health().ok
            assert job.status().waiting_for is None
            assert job.cancel()
            assert _ends(job) is JobState.CANCELLED
            engine.submit(walk, replicates=100).result(WAIT_S)
            assert engine.drain(WAIT_S)
            stats = engine.stats()
            assert (stats.states[JobState.CANCELLED], stats.states[JobState.COMPLETED]) == (1, 1)
            assert 0 <= stats.utilisation <= 1
            assert {status.job for status in engine.at_work()} <= {None}
            assert engine.health().ok


def _ends(job: Any) -> JobState:
    """Wait until a job has ended, in whatever way; return its state."""
    concurrent.futures.wait([job], WAIT_S)
    return job.state  # type: ignore[no-any-return]
