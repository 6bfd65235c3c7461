"""Clusters of Dask that lose workers and their scheduler, and workers that do not fit."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import Any

import far
import kernels
import pytest
from dask_processes import DaskProcesses, bytes_of, local_cluster, wait_for_workers

import bgsim
from bgsim.backends import dask_link
from bgsim.errors import BackendError, ReplicateError, WorkerMismatchError
from bgsim.testing import HANDSHAKE_S

pytest_plugins = ["clusters"]
pytestmark = pytest.mark.usefixtures("dask_errors")

STORM_S = float(os.environ.get("BGSIM_STORM_S", "12"))
"""How long workers are killed; a minute with 60."""

JOB_S = 90.0
"""How long a job may take whose workers begin anew again and again."""


class TestWorkers:
    def test_are_killed_in_mid_chunk_again_and_again(self, on, in_threads_of_this_process):
        expected = in_threads_of_this_process(far.grind, replicates=4000, seed=1)
        with local_cluster(processes=True) as cluster:
            job = on(cluster, chunk_target_ms=300).submit(far.grind, replicates=4000, seed=1)
            for number in range(4):
                _wait_for_progress(job, 150)
                _kill(cluster, number)
            assert bytes_of(job.result(JOB_S)) == expected

    @pytest.mark.stress
    @pytest.mark.timeout(180 + 3 * STORM_S)
    def test_are_killed_every_three_seconds(self, on, in_threads_of_this_process):
        rng, ends_at, kills = random.Random(4), time.monotonic() + STORM_S, 0
        jobs: list[Any] = []
        with local_cluster(processes=True) as cluster:
            engine = on(cluster)
            while time.monotonic() < ends_at:
                while sum(not job.done() for job in jobs) < 2:
                    jobs.append(engine.submit(far.grind, replicates=1500, seed=len(jobs)))
                threading.Event().wait(3.0)
                _kill(cluster, rng.randrange(2))
                kills += 1
            results = [bytes_of(job.result(JOB_S)) for job in jobs]
        assert kills >= STORM_S / 6
        for seed, result in enumerate(results):
            assert result == in_threads_of_this_process(far.grind, replicates=1500, seed=seed)

    def test_are_restarted_by_a_client(self, on, in_threads_of_this_process):
        from distributed import Client

        expected = in_threads_of_this_process(far.grind, replicates=4000, seed=2)
        with local_cluster(processes=True) as cluster, Client(cluster, set_as_default=False) as client:
            job = on(cluster).submit(far.grind, replicates=4000, seed=2)
            _wait_for_progress(job, 200)
            client.restart()
            assert bytes_of(job.result(JOB_S)) == expected

    @pytest.mark.parametrize("processes", [True, False], ids=["processes", "threads"])
    def test_join_and_leave_in_the_midst(self, on, in_threads_of_this_process, processes):
        with local_cluster(processes=processes, n_workers=1) as cluster:
            engine, jobs = on(cluster, chunk_target_ms=100), []
            for seed, count in enumerate((3, 1, 2)):
                jobs.append(engine.submit(far.grind, replicates=1500, seed=seed))
                _wait_for_progress(jobs[-1], 50)
                cluster.scale(count)
                wait_for_workers(cluster, count)
                far.wait_until(lambda count=count: engine.backend.cores == count, f"{count} cores")
            for seed, job in enumerate(jobs):
                expected = in_threads_of_this_process(far.grind, replicates=1500, seed=seed)
                assert bytes_of(job.result(JOB_S)) == expected
            far.wait_until(lambda: not cluster.scheduler.tasks, "no task is left")

    @pytest.mark.parametrize("how", ["retired", "killed"])
    def test_one_that_leaves_blames_no_replicate(self, on, tmp_path, monkeypatch, how):
        """One that is asked to leave takes its chunk along: that is no reason to compute the chunk alone."""
        from bgsim.running.run import Run

        blamed, lose = [], Run.lose
        monkeypatch.setattr(Run, "lose", lambda run, *arguments: blamed.append(arguments) or lose(run, *arguments))
        with local_cluster(processes=how == "killed", n_workers=2) as cluster:
            engine = on(cluster, bits="trust")
            job = engine.submit(far.held, {"folder": str(tmp_path)}, replicates=2, seed=3)
            far.wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2, "two replicates begun")
            address = next(iter(cluster.scheduler.workers))
            if how == "killed":
                _kill(cluster, 0)
            else:
                cluster.sync(cluster.scheduler.retire_workers, workers=[address])
            at_work = lambda: {worker.place for worker in engine.at_work() if worker.job}  # noqa: E731
            far.wait_until(lambda: address not in at_work(), "the chunk has left it")
            (tmp_path / "go on").touch()
            assert len(job.result(HANDSHAKE_S)["x"]) == 2
        assert len(blamed) == (how == "killed")

    def test_one_killed_is_named_by_dask_itself(self, on, in_threads_of_this_process, dask_errors):
        """A scheduler that allows no failure says so of the task; the chunk counts as lost."""
        import dask

        expected = in_threads_of_this_process(far.grind, replicates=2000, seed=4)
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}), local_cluster(processes=True) as cluster:
            job = on(cluster, chunk_target_ms=300).submit(far.grind, replicates=2000, seed=4)
            _wait_for_progress(job, 150)
            _kill(cluster, 0)
            assert bytes_of(job.result(JOB_S)) == expected
        assert any("marked as failed because 1 workers died" in error for error in dask_errors)
        dask_errors.clear()


class TestTheScheduler:
    def test_is_killed_and_comes_back(self, on, in_threads_of_this_process, tmp_path):
        expected = in_threads_of_this_process(far.grind, replicates=6000, seed=5)
        with DaskProcesses(tmp_path) as dask:
            engine, job = _job_without_scheduler(dask, on, replicates=6000)
            far.wait_until(lambda: "has gone away; jobs wait until it is back" in str(engine.health()), "the alert")
            assert not job.done()
            dask.scheduler()
            dask.worker()
            assert bytes_of(job.result(JOB_S)) == expected
            assert engine.health().ok
            progress = engine.submit(far.grind, replicates=3000, seed=6)
            _wait_for_progress(progress, 1500)  # the topics are subscribed to again

    def test_is_gone_for_good(self, on, tmp_path, monkeypatch):
        monkeypatch.setattr(dask_link, "RECONNECT_S", 1.0)
        with DaskProcesses(tmp_path) as dask:
            engine, job = _job_without_scheduler(dask, on, replicates=1_000_000)
            with pytest.raises(
                BackendError, match=f"scheduler at {dask.address} has gone away, and has not come back in 1 s"
            ):
                job.result(HANDSHAKE_S)
            assert "nothing is computed any more: the Dask scheduler at " in str(engine.health())
            assert "has no workers" not in str(engine.health())
            with pytest.raises(BackendError, match="has gone away"):
                engine.submit(kernels.one_draw, replicates=10).result(HANDSHAKE_S)
            engine.close()
            assert "bgsim-dask" not in {thread.name for thread in threading.enumerate()}

    def test_is_gone_when_the_engine_is_closed(self, on, tmp_path):
        with DaskProcesses(tmp_path) as dask:
            engine, job = _job_without_scheduler(dask, on, replicates=1_000_000)
            far.wait_until(lambda: not engine.health().ok, "the alert")
            engine.close(cancel=True)
            assert job.done()
            far.wait_until(
                lambda: "bgsim-dask" not in {thread.name for thread in threading.enumerate()}, "the thread has ended"
            )

    def test_is_closed_before_the_engine(self, on):
        """The user's blocks end in the wrong order."""
        with local_cluster(processes=True, n_workers=1) as cluster:
            engine = on(cluster)
            job = engine.submit(far.grind, replicates=1_000_000, seed=5)
            _wait_for_progress(job, 200)
        engine.close(cancel=True)
        assert job.done()


class TestAttestation:
    @pytest.fixture
    def odd(self, processes):
        """A function that makes one worker odd, and returns its address and the other's; undone in the end."""
        from distributed import Client

        with Client(processes, set_as_default=False) as client:
            first, second = processes.scheduler.workers

            def make(function, *arguments, workers=None):
                client.run(function, *arguments, workers=workers or [first])
                return first, second

            yield make
            client.run(far.pretend, None)
            client.run(far.skew, "")

    def test_another_version_is_shut_out_and_named(self, processes, odd, on, in_threads_of_this_process):
        first, second = odd(far.pretend, "0.1")
        expected = in_threads_of_this_process(far.grind, replicates=500, seed=21)
        engine = on(processes)
        assert bytes_of(engine.submit(far.grind, replicates=500, seed=21).result(HANDSHAKE_S)) == expected
        text = _alert_on(engine, first)
        assert "it has other versions than this process of numba" in text
        assert "there python" in text
        assert "numba 0.1" in text
        assert "; here python" in text
        assert second not in str(engine.health())

    @pytest.mark.parametrize(
        ("simulation", "function", "arguments"),
        [(far.skewed, far.skew, ("0.5",)), (far.grind, far.pretend, (None, 1))],
        ids=["plain", "compiled"],
    )
    def test_other_bits_are_shut_out_and_named(
        self, processes, odd, on, in_threads_of_this_process, simulation, function, arguments
    ):
        first, second = odd(function, *arguments)
        expected = in_threads_of_this_process(simulation, replicates=400, seed=22)
        engine = on(processes)
        assert bytes_of(engine.submit(simulation, replicates=400, seed=22).result(HANDSHAKE_S)) == expected
        text = _alert_on(engine, first)
        assert f"it computes other bits of {simulation.name} than this process: there python" in text
        assert second not in str(engine.health())

    def test_if_all_are_shut_out_the_job_fails(self, processes, odd, on):
        odd(far.pretend, "0.1", workers=list(processes.scheduler.workers))
        job = on(processes).submit(far.grind, replicates=100, seed=23)
        with pytest.raises(WorkerMismatchError, match="no worker can compute far.grind; of .*: it has other versions"):
            job.result(HANDSHAKE_S)

    def test_who_trusts_takes_their_bits(self, processes, odd, on):
        odd(far.skew, "0.5", workers=list(processes.scheduler.workers))
        engine = on(processes, bits="trust")
        x = engine.submit(far.skewed, replicates=100, seed=24).result(HANDSHAKE_S)["x"]
        with bgsim.Engine() as here:
            mine = here.submit(far.skewed, replicates=100, seed=24).result()["x"]
        assert (x == mine + 0.5).all()
        assert engine.health().ok

    def test_a_worker_that_comes_again_is_asked_again(self, on, in_threads_of_this_process):
        from distributed import Client

        expected = in_threads_of_this_process(far.grind, replicates=300, seed=26)
        with local_cluster(processes=True) as cluster, Client(cluster, set_as_default=False) as client:
            first = next(iter(cluster.scheduler.workers))
            client.run(far.pretend, "0.1", workers=[first])
            engine = on(cluster)
            engine.submit(far.grind, replicates=300, seed=25).result(HANDSHAKE_S)
            _alert_on(engine, first)
            client.restart()
            far.wait_until(lambda: engine.health().ok, "the alert is gone")
            assert bytes_of(engine.submit(far.grind, replicates=300, seed=26).result(HANDSHAKE_S)) == expected

    def test_a_replicate_that_ends_every_worker_is_named(self, on):
        """It is a probe, too: this process does not end."""
        with bgsim.Engine() as here:
            draws = here.submit(far.deadly, replicates=20, seed=27).result()["x"]
        with local_cluster(processes=True) as cluster:
            job = on(cluster).submit(far.deadly, {"draw": float(draws[0])}, replicates=20, seed=27)
            with pytest.raises(ReplicateError, match="replicate 0 of far.deadly ended the process that computed it"):
                job.result(JOB_S)


def test_a_worker_without_bgsim_is_shut_out(on, tmp_path, in_threads_of_this_process):
    """It is told to install it; the other one computes everything."""
    expected = in_threads_of_this_process(far.grind, replicates=300, seed=28)
    preload = tmp_path / "without.py"
    preload.write_text("import sys\nsys.modules['bgsim'] = None\n")
    with DaskProcesses(tmp_path) as dask:
        dask.scheduler()
        dask.worker("--preload", str(preload), "--name", "without")
        dask.worker("--name", "with")
        engine = on(dask.address)
        far.wait_until(lambda: engine.backend.cores == 2, "two workers")
        assert bytes_of(engine.submit(far.grind, replicates=300, seed=28).result(HANDSHAKE_S)) == expected
        text = str(engine.health())
        assert "is shut out: it cannot compute chunks: ModuleNotFoundError" in text
        assert "install it there: pip install bgsim==" in text
        assert text.count("is shut out") == 1


def test_a_backend_says_what_it_waits_for(on, tmp_path):
    """A scheduler without workers, from its first moment on."""
    with DaskProcesses(tmp_path) as dask:
        dask.scheduler()
        engine = on(dask.address)
        assert f"the Dask cluster at {dask.address} has no workers" in str(engine.health())
        job = engine.submit(kernels.one_draw, replicates=10)
        far.wait_until(lambda: job.status().waiting_for == "a worker: the backend has none", "that it waits")
        dask.worker()
        assert len(job.result(HANDSHAKE_S)["x"]) == 10


def _job_without_scheduler(dask: DaskProcesses, on: Any, replicates: int) -> tuple[bgsim.Engine, Any]:
    """Return an engine and a job whose scheduler was killed while a worker computed it."""
    scheduler, _ = dask.scheduler(), dask.worker()
    engine = on(dask.address)
    job = engine.submit(far.grind, replicates=replicates, seed=5)
    _wait_for_progress(job, 200)
    dask.kill(scheduler)
    return engine, job


def _wait_for_progress(job: Any, count: int) -> None:
    """Wait until so many more replicates are done."""
    done = job.status().replicates_completed
    far.wait_until(lambda: job.status().replicates_completed >= done + count or job.done(), "progress", JOB_S)
    assert not job.done(), job.exception()


def _kill(cluster: Any, number: int) -> None:
    """Kill a worker that is there, and wait until the scheduler has noticed."""
    workers = far.wait_until(lambda: list(cluster.scheduler.workers.values()), "a worker")
    worker = workers[number % len(workers)]
    os.kill(worker.pid, signal.SIGKILL)
    far.wait_until(lambda: cluster.scheduler.workers.get(worker.address) is not worker, "it is noticed")


def _alert_on(engine: bgsim.Engine, place: str) -> str:
    alerts = [str(alert) for alert in engine.health().alerts if place in alert]
    assert len(alerts) == 1
    return alerts[0]
