"""An engine on clusters of Dask: what is computed, seen and left behind."""

from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import CancelledError
from typing import Any

import far
import kernels
import numpy as np
import pytest
from dask_processes import bytes_of, local_cluster

import bgsim
from bgsim.backends import DaskBackend, dask_link
from bgsim.errors import BackendError, ChunkTooLargeError, InvalidInputError, MissingExtraError, ShippingError
from bgsim.testing import HANDSHAKE_S

pytest_plugins = ["clusters"]
pytestmark = pytest.mark.usefixtures("dask_errors")


@pytest.mark.parametrize("simulation", [kernels.walk, kernels.plain_walk], ids=["compiled", "plain"])
def test_a_cluster_computes_the_same_bytes_as_a_thread(cluster, on, in_threads_of_this_process, simulation):
    expected = in_threads_of_this_process(simulation, {"steps": 5}, replicates=3000, seed=11)
    engine = on(cluster)
    assert engine.backend.cores == 2
    job = engine.submit(simulation, {"steps": 5}, replicates=3000, seed=11)
    assert bytes_of(job.result(HANDSHAKE_S)) == expected
    assert engine.health().ok


def test_an_address_does_as_well_as_a_client(client, on):
    x = on(client.scheduler.address).submit(kernels.one_draw, replicates=50, seed=4).result(HANDSHAKE_S)["x"]
    y = on(client).submit(kernels.one_draw, replicates=50, seed=4).result(HANDSHAKE_S)["x"]
    assert (x == y).all()


def test_what_a_replicate_raises_comes_back_with_its_index(cluster, on):
    with bgsim.Engine() as here:
        draws = here.submit(kernels.one_draw, replicates=400, seed=2).result()["x"]
    limit = float(np.sort(draws)[0]) + 1e-12
    job = on(cluster).submit(kernels.fragile, {"fails_at": limit}, replicates=400, seed=2)
    with pytest.raises(
        bgsim.errors.ReplicateError, match=f"replicate {draws.argmin()} of kernels.fragile raised Value"
    ):
        job.result(HANDSHAKE_S)


class TestOrders:
    def test_a_cancelled_kernel_stops(self, cluster, on, tmp_path):
        """The simulation itself says on the worker that it has stopped."""
        job = on(cluster, bits="trust").submit(far.held, {"folder": str(tmp_path)}, replicates=10)
        far.wait_until(lambda: len(list(tmp_path.glob("begun-*"))) >= 2, "two replicates begun")
        job.cancel()
        assert _is_cancelled(job)
        far.wait_until(lambda: _names(tmp_path, "stopped") == _names(tmp_path, "begun"), "all have stopped")

    def test_a_cancelled_compiled_kernel_stops(self, cluster, on):
        """The workers are free again for something else."""
        engine = on(cluster)
        job = engine.submit(kernels.spin, replicates=4)
        far.wait_until(lambda: _is_computing(engine, job), "a worker computes")
        job.cancel()
        assert _is_cancelled(job)
        assert len(engine.submit(kernels.one_draw, replicates=100).result(HANDSHAKE_S)) == 1

    def test_the_finished_prefix_of_a_cancelled_job_is_kept(self, cluster, on, in_threads_of_this_process):
        engine = on(cluster, chunk_target_ms=20)
        job = engine.submit(far.grind, replicates=100_000, seed=6)
        far.wait_until(lambda: len(job.partial()["x"]) >= 20, "some replicates")
        job.cancel()
        assert _is_cancelled(job)
        kept = job.partial()
        assert 0 < len(kept["x"]) < 100_000
        count = len(kept["x"])
        assert bytes_of(kept) == in_threads_of_this_process(far.grind, replicates=count, seed=6)

    def test_an_urgent_job_goes_before(self, cluster, on):
        """One chunk has all the replicates, so that only its kernels can make room."""
        engine = on(cluster, chunk_target_ms=600_000)
        slow = _long_job(engine, priority="low")
        urgent = engine.submit(kernels.one_draw, replicates=100, priority="critical")
        assert len(urgent.result(HANDSHAKE_S)["x"]) == 100
        assert not slow.done()
        slow.cancel()
        assert _is_cancelled(slow)

    def test_a_paused_job_leaves_the_workers_and_goes_on(self, cluster, on):
        engine = on(cluster, chunk_target_ms=600_000)
        job = _long_job(engine)
        job.pause()
        far.wait_until(lambda: not any(worker.job for worker in engine.at_work()), "nobody is at work")
        done = job.status().replicates_completed
        assert 0 < done < job.status().total_replicates
        job.resume()
        far.wait_until(lambda: job.status().replicates_completed > done, "it goes on")
        job.cancel()
        assert _is_cancelled(job)

    def test_a_chunk_behind_other_tasks_is_taken_back(self, cluster, client, on, tmp_path):
        """A cancel does not wait for what others have given to the workers, and leaves no task there."""
        others = [
            client.submit(far.occupy, str(tmp_path), number, pure=False, workers=[address])
            for number, address in enumerate(cluster.scheduler.workers)
        ]
        try:
            far.wait_until(lambda: len(_names(tmp_path, "begun")) == 2, "busy workers")
            job = on(cluster).submit(kernels.one_draw, replicates=1000)
            far.wait_until(lambda: _tasks_of_bgsim(cluster), "a chunk that waits")
            job.cancel()
            assert _is_cancelled(job)
            far.wait_until(lambda: not _tasks_of_bgsim(cluster), "no task of ours")
        finally:
            (tmp_path / "go on").touch()
        assert client.gather(others) == [0, 1]

    def test_an_order_comes_before_the_chunk_has_a_name(self, threads, on, monkeypatch, hold):
        """The order is written while the lane makes the call; the lane finds it then, and sends it."""
        begin = DaskBackend.begin

        def slow(backend, lane, task):
            hold.stop_here()
            return begin(backend, lane, task)

        monkeypatch.setattr(DaskBackend, "begin", slow)
        engine = on(threads)
        job = engine.submit(kernels.spin, replicates=2)
        hold.wait_until_reached()
        job.cancel()
        hold.open()
        assert _is_cancelled(job)

    def test_an_order_comes_before_the_chunk_has_begun(self, threads, on, monkeypatch, hold):
        """The worker has the order when the chunk begins, and computes nothing."""
        from bgsim.backends import dask_worker

        computed = []
        monkeypatch.setattr(dask_worker.remote, "compute", lambda task, control: computed.append(task))
        looked = dask_worker.new_control_block

        def slow():
            hold.stop_here()
            return looked()

        monkeypatch.setattr(dask_worker, "new_control_block", slow)
        job = on(threads).submit(kernels.spin, replicates=2)
        hold.wait_until_reached()
        job.cancel()
        assert _is_cancelled(job)
        hold.open()
        far.wait_until(lambda: not _tasks_of_bgsim(threads), "no task of ours")
        assert not computed


def test_two_long_replicates_go_to_two_workers(cluster, on, tmp_path):
    """None waits behind the other while a worker has nothing to do."""
    job = on(cluster, bits="trust").submit(far.held, {"folder": str(tmp_path)}, replicates=2)
    far.wait_until(lambda: len(_names(tmp_path, "begun")) == 2, "both have begun")
    (tmp_path / "go on").touch()
    assert len(job.result(HANDSHAKE_S)["x"]) == 2


class TestWatching:
    def test_progress_moves_within_a_chunk(self, cluster, on):
        """One chunk has all the replicates, so the count moves by what the worker tells."""
        job = _long_job(on(cluster, chunk_target_ms=600_000))
        seen = set()
        far.wait_until(lambda: seen.add(job.status().replicates_completed) or len(seen) > 3 or job.done(), "progress")
        job.cancel()
        assert _is_cancelled(job)
        assert len(seen) > 3

    def test_a_worker_is_named(self, cluster, on, tmp_path):
        engine = on(cluster, bits="trust")
        job = engine.submit(far.held, {"folder": str(tmp_path)}, replicates=4)
        far.wait_until(lambda: len(list(tmp_path.glob("begun-*"))) >= 2, "two replicates begun")
        busy = {worker.place for worker in engine.at_work() if worker.job == job.id}
        assert busy == set(cluster.scheduler.workers)

    def test_logs_come_once(self, cluster, on, caplog):
        with caplog.at_level(logging.WARNING):
            job = on(cluster).submit(far.talkative, replicates=20, seed=3)
            draws = job.result(HANDSHAKE_S)["x"]
        said = sorted(f"drew {x:.17g}" for x in draws)
        assert sorted(record.getMessage() for record in job.logs()) == said
        here = sorted(r.getMessage() for r in caplog.records if r.name == "far")
        assert set(here) == set(said)
        probed = [line for line in here if here.count(line) > 1]
        assert len(set(probed)) <= 4, "but the probes"

    def test_the_callers_client_keeps_its_subscriptions(self, client, on):
        """The backend subscribes in a client of its own."""
        told, came = [], threading.Event()

        def handler(event):
            told.append(event[1])
            came.set()

        client.subscribe_topic("all", handler)
        client.subscribe_topic("mine", handler)
        engine = on(client)
        engine.submit(kernels.one_draw, replicates=10).result(HANDSHAKE_S)
        engine.close()
        came.clear()
        client.log_event("mine", {"still": "there"})
        far.wait_until(lambda: {"still": "there"} in told, "the event")
        assert client.submit(int, "7").result(HANDSHAKE_S) == 7
        client.unsubscribe_topic(
            "all"
        )  # or the scheduler tells a client that leaves that it leaves, and prints an error

    def test_odd_events_do_no_harm(self, client, on):
        """Anybody may log anything under the topic that the backend reads."""
        engine = on(client)
        for event in ("text", 7, ["a", "list"], {"action": "remove-worker", "worker": "tcp://no.such:1"}):
            client.log_event("all", event)
        assert len(engine.submit(kernels.one_draw, replicates=10).result(HANDSHAKE_S)["x"]) == 10
        assert engine.health().ok


class TestTwoEngines:
    def test_share_a_cluster(self, cluster, on, in_threads_of_this_process):
        first, second = on(cluster), on(cluster)
        jobs = [engine.submit(kernels.walk, replicates=2000, seed=seed) for seed, engine in enumerate((first, second))]
        for seed, job in enumerate(jobs):
            expected = in_threads_of_this_process(kernels.walk, replicates=2000, seed=seed)
            assert bytes_of(job.result(HANDSHAKE_S)) == expected
        first.close()
        assert len(second.submit(kernels.one_draw, replicates=10).result(HANDSHAKE_S)["x"]) == 10

    def test_each_has_a_backend_of_its_own(self, threads):
        backend = DaskBackend(threads.scheduler_address)
        expected = pytest.raises(BackendError, match="belongs to an engine already; make one for each")
        with bgsim.Engine(backend=backend), expected:
            bgsim.Engine(backend=backend)


class TestWhatIsLeftBehind:
    def test_a_closed_engine_leaves_nothing(self, cluster, on):
        threads_before = {thread.name for thread in threading.enumerate()}
        clients_before = set(cluster.scheduler.clients)
        engine = on(cluster)
        engine.submit(kernels.walk, replicates=2000).result(HANDSHAKE_S)
        topic = engine.backend._topic
        engine.close()
        assert "bgsim-dask" not in {thread.name for thread in threading.enumerate()} - threads_before
        far.wait_until(lambda: set(cluster.scheduler.clients) == clients_before, "no client of ours")
        far.wait_until(lambda: not _tasks_of_bgsim(cluster), "no task of ours")
        assert not cluster.scheduler._broker._topics[topic].subscribers

    def test_an_engine_closed_in_the_midst_stops_the_kernels(self, cluster, on, tmp_path):
        engine = on(cluster, bits="trust")
        engine.submit(far.held, {"folder": str(tmp_path)}, replicates=10)
        far.wait_until(lambda: len(list(tmp_path.glob("begun-*"))) >= 2, "two replicates begun")
        engine.close(cancel=True)
        far.wait_until(lambda: _names(tmp_path, "stopped") == _names(tmp_path, "begun"), "all have stopped")
        far.wait_until(lambda: not _tasks_of_bgsim(cluster), "no task of ours")

    def test_what_a_run_has_sent_goes_with_it(self, threads, on):
        import gc

        engine = on(threads)
        engine.submit(kernels.one_draw, replicates=10).result(HANDSHAKE_S)

        def is_gone():
            gc.collect()
            return not engine.backend.senders._senders

        far.wait_until(is_gone, "the run is kept")

    def test_a_backend_that_no_engine_opens_ends_by_itself(self, threads):
        backend = DaskBackend(threads.scheduler_address)
        thread = next(thread for thread in threading.enumerate() if thread.name == "bgsim-dask")
        del backend
        thread.join(HANDSHAKE_S)
        assert not thread.is_alive()

    def test_workers_stop_telling(self, threads, on):
        on(threads).submit(kernels.one_draw, replicates=10).result(HANDSHAKE_S)
        workers = threads.workers.values()
        far.wait_until(
            lambda: not any("bgsim-progress" in worker.periodic_callbacks for worker in workers), "nothing to tell"
        )


class TestShipping:
    def test_a_file_that_the_workers_do_not_have(self, processes, on, tmp_path, monkeypatch):
        """The code itself travels."""
        module = _module(tmp_path, monkeypatch, "only_here", 1.0)
        result = on(processes).submit(module.plus, replicates=20, seed=5).result(HANDSHAKE_S)
        with bgsim.Engine() as here:
            expected = here.submit(module.plus, replicates=20, seed=5).result()["x"]
        assert (result["x"] == expected).all()

    def test_a_file_that_was_edited_since_the_workers_imported_it(self, on, tmp_path, monkeypatch):
        """The fingerprint tells, and the code itself travels."""
        sys.path.insert(0, str(tmp_path))
        try:
            module = _module(tmp_path, monkeypatch, "edited_since", 1.0)
            with local_cluster(processes=True, n_workers=1) as cluster:
                before = on(cluster).submit(module.plus, replicates=20, seed=5).result(HANDSHAKE_S)["x"]
                module = _module(tmp_path, monkeypatch, "edited_since", 2.0)
                after = on(cluster).submit(module.plus, replicates=20, seed=5).result(HANDSHAKE_S)["x"]
        finally:
            sys.path.remove(str(tmp_path))
        assert np.allclose(after - before, 1.0)

    def test_a_lock_among_the_globals(self, processes, on, tmp_path, monkeypatch):
        module = _module(
            tmp_path, monkeypatch, "has_a_lock", 1.0, "import threading\nLOCK = threading.Lock()\n", "LOCK.locked()"
        )
        with pytest.raises(ShippingError, match=r"has_a_lock.plus cannot be sent .*lock.* keep what cannot be pickled"):
            on(processes).submit(module.plus, replicates=20).result(HANDSHAKE_S)

    def test_a_large_payload_travels_once_a_worker(self, threads, on, monkeypatch):
        """And none of the tasks has it, though each lane was given its chunk before any answer had come."""
        from bgsim.backends import dask_worker, sending

        kept, keep, sizes = [], dask_worker.remote.keep, []
        compute, task_of = dask_worker.remote.compute, sending.Sender.task

        def note(task, control):
            sizes.append(len(task.payload))
            return compute(task, control)

        def before_any_answer(sender, chunk, place):
            sender._known_at.clear()
            return task_of(sender, chunk, place)

        monkeypatch.setattr(
            dask_worker.remote, "keep", lambda key, payload: kept.append(len(payload)) or keep(key, payload)
        )
        monkeypatch.setattr(dask_worker.remote, "compute", note)
        monkeypatch.setattr(sending.Sender, "task", before_any_answer)
        table = np.random.default_rng(1).random(400_000)
        engine = on(threads, chunk_target_ms=1)
        result = engine.submit(far.look_up, {"table": table}, replicates=20_000, seed=3).result(HANDSHAKE_S)
        assert len(kept) == 2
        assert min(kept) > 3_000_000
        assert len(sizes) > 4
        assert not any(sizes)
        assert np.isin(result["x"], table).all()
        dask_worker.remote._programs.clear()  # as of workers that keep no more than the latest
        result = engine.submit(far.look_up, {"table": table}, replicates=20_000, seed=4).result(HANDSHAKE_S)
        assert len(kept) > 2
        assert np.isin(result["x"], table).all()

    def test_a_payload_larger_than_dask_likes_is_sent_without_a_warning(self, cluster, on):
        table = np.random.default_rng(1).random(2_000_000)
        result = on(cluster).submit(far.look_up, {"table": table}, replicates=20, seed=3).result(HANDSHAKE_S)
        assert np.isin(result["x"], table).all()

    def test_a_row_that_is_too_large(self, threads, on):
        job = on(threads, max_chunk_bytes=1000).submit(far.wide, {"width": 200}, replicates=3)
        with pytest.raises(
            ChunkTooLargeError, match=r"1,600 bytes.*sends 1,000 at a time: give it a larger max_chunk_by"
        ):
            job.result(HANDSHAKE_S)

    def test_rows_that_are_large_come_in_small_chunks(self, cluster, on, in_threads_of_this_process):
        expected = in_threads_of_this_process(far.wide, {"width": 1000}, replicates=50, seed=8)
        job = on(cluster, max_chunk_bytes=8000).submit(far.wide, {"width": 1000}, replicates=50, seed=8)
        assert bytes_of(job.result(HANDSHAKE_S)) == expected


class TestScaling:
    def test_a_cluster_is_asked_for_cores(self, on):
        from distributed import Client

        with local_cluster(processes=False, n_workers=1, threads_per_worker=2) as cluster, Client(cluster) as client:
            backend = DaskBackend(client)
            with bgsim.Engine(backend=backend) as engine:
                backend.want(5)
                far.wait_until(lambda: backend.cores == 6, "three workers of two threads")
                assert len(engine.submit(kernels.one_draw, replicates=100).result(HANDSHAKE_S)["x"]) == 100
                backend.want(1)
                far.wait_until(lambda: backend.cores == 2, "one worker")

    def test_a_cluster_without_a_number_of_cores_is_asked_for_workers(self, threads):
        asked = []

        class Other:
            def scale(self, n):
                asked.append(n)

        backend = DaskBackend(threads.scheduler_address)
        backend._cluster = Other()
        with bgsim.Engine(backend=backend):
            backend.want(3)
        assert asked == [3]

    def test_an_address_alone_cannot_be_scaled(self, threads):
        backend = DaskBackend(threads.scheduler_address)
        with bgsim.Engine(backend=backend), pytest.raises(BackendError, match=r"DaskBackend\(Client\(cluster\)\)"):
            backend.want(3)

    def test_a_job_waits_for_the_first_worker(self, on, in_threads_of_this_process):
        expected = in_threads_of_this_process(kernels.walk, replicates=500, seed=1)
        with local_cluster(processes=False, n_workers=0) as cluster:
            engine = on(cluster)
            job = engine.submit(kernels.walk, replicates=500, seed=1)
            far.wait_until(lambda: job.status().waiting_for == "a worker: the backend has none", "that it waits")
            assert "has no workers; jobs wait until one comes" in str(engine.health())
            cluster.scale(1)
            assert bytes_of(job.result(HANDSHAKE_S)) == expected
            far.wait_until(lambda: engine.health().ok, "all is well")


class TestWhatIsRefused:
    def test_no_scheduler(self, monkeypatch):
        monkeypatch.setattr(dask_link, "CONNECT_S", 0.5)
        with pytest.raises(BackendError, match="no Dask scheduler answers at 'tcp://127.0.0.1:1'.* Is it running"):
            DaskBackend("tcp://127.0.0.1:1")
        assert "bgsim-dask" not in {thread.name for thread in threading.enumerate() if thread.is_alive()}

    @pytest.mark.parametrize("address", ["no-such-scheme://127.0.0.1:1", "", "tcp://"])
    def test_an_address_that_is_none(self, monkeypatch, address):
        monkeypatch.setattr(dask_link, "CONNECT_S", 0.5)
        with pytest.raises(BackendError, match="no Dask scheduler answers at "):
            DaskBackend(address)

    def test_a_client_that_is_closed(self, threads):
        from distributed import Client

        with Client(threads, set_as_default=False) as client:
            pass
        with pytest.raises(BackendError, match="the Dask client is closed; make another"):
            DaskBackend(client)

    def test_something_else(self):
        with pytest.raises(InvalidInputError, match=r"client.*a distributed.Client, or the address of a scheduler"):
            DaskBackend(7)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"bits": "guess"}, "bits.*attest.*trust"),
            ({"chunk_target_ms": 0}, "chunk_target_ms.*a number above 0"),
            ({"max_chunk_bytes": 0}, "max_chunk_bytes"),
        ],
    )
    def test_options(self, threads, options, text):
        with pytest.raises(InvalidInputError, match=text):
            DaskBackend(threads.scheduler_address, **options)

    def test_without_distributed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(MissingExtraError, match="pip install distributed"):
            DaskBackend("tcp://127.0.0.1:1")


def _long_job(engine: bgsim.Engine, **options: Any) -> Any:
    """Submit a job of minutes, whose chunks are as long, and wait until the workers tell of its progress."""
    engine.submit(far.grind, replicates=200, seed=1).result(HANDSHAKE_S)  # its speed is known
    job = engine.submit(far.grind, replicates=1_000_000, seed=2, **options)
    far.wait_until(lambda: job.status().replicates_completed > 200, "progress within a chunk")
    return job


def _is_cancelled(job: Any) -> bool:
    with pytest.raises(CancelledError):
        job.result(HANDSHAKE_S)
    return True


def _names(folder: Any, kind: str) -> set[str]:
    return {path.name.partition("-")[2] for path in folder.glob(f"{kind}-*")}


def _is_computing(engine: bgsim.Engine, job: Any) -> bool:
    return any(worker.job == job.id and worker.phase == "running" for worker in engine.at_work())


def _tasks_of_bgsim(cluster: Any) -> list[str]:
    return [key for key in list(cluster.scheduler.tasks) if str(key).startswith("bgsim-")]


def _module(folder: Any, monkeypatch: Any, name: str, number: float, head: str = "", more: str = "0") -> Any:
    """Write a module with a simulation, and import it."""
    import importlib

    (folder / f"{name}.py").write_text(
        f"import bgsim\n{head}\n\n@bgsim.simulation(outputs={{'x': 'f8'}}, compile=False)\n"
        f"def plus(p, rng):\n    return rng.random() + {number} + {more}\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return importlib.import_module(name)
