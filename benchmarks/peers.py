"""bgsim and its peers behind one interface: start, run many no-ops, run one, stop. Each has two workers.

Peers are set for speed where they have settings: queues are polled every millisecond, and completion is heard from the
peer's own signal, where there is one, rather than by polling.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import bgsim
from benchmarks.harness import installed

WORKERS = 2
_WAIT_S = 300.0


def noop(n: int) -> int:
    """Return what it is given, so that work can be proved."""
    return n


@bgsim.simulation(outputs={"x": "i8"})
def noop_simulation(p: Any, rng: Any) -> int:
    """Do the same, compiled."""
    return p.n


class Peer:
    """One contender.

    Attributes
    ----------
    name : str
    modules : tuple of str
        What has to be installed.
    jobs : int
        How many no-ops a round of throughput has: fewer for the slow, so that a round takes seconds.
    singles : int
        How many no-ops are run one by one in a round of latency.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()
    jobs: ClassVar[int] = 20_000
    singles: ClassVar[int] = 200

    @classmethod
    def available(cls) -> bool:
        """Tell whether it is installed, and say so if it is not."""
        return installed(*cls.modules)

    def start(self) -> None:
        """Make everything ready; not measured."""
        raise NotImplementedError

    def run_many(self, n: int) -> int:
        """Run the no-ops 0 to n - 1, each a job of its own, and return the sum of what came back."""
        raise NotImplementedError

    def run_one(self) -> None:
        """Run one no-op and wait for it."""
        assert self.run_many(1) == 0

    def stop(self) -> None:
        """Leave nothing running; not measured."""
        raise NotImplementedError


class Bgsim(Peer):
    """A simulation of one replicate, each with its own parameters, hashed and deduplicated, progress published."""

    name = "bgsim"
    cache = "off"
    seed = 0

    def start(self) -> None:
        self.engine = bgsim.Engine(self.store(), workers=WORKERS, max_queue_size=100_000)

    def store(self) -> Path | None:
        return None

    def run_many(self, n: int) -> int:
        self.seed += 1  # so that nothing is in the store
        jobs = [
            self.engine.submit(noop_simulation, {"n": i}, replicates=1, seed=self.seed, cache=self.cache)
            for i in range(n)
        ]
        return sum(int(job.result(_WAIT_S)["x"][0]) for job in jobs)

    def stop(self) -> None:
        self.engine.close()


class BgsimStored(Bgsim):
    """The same, each result durable when it is delivered: it survives the end of the process."""

    name = "bgsim, SQLite store"
    cache = "use"

    def store(self) -> Path:
        self.directory = tempfile.TemporaryDirectory()
        return Path(self.directory.name) / "runs.db"

    def start(self) -> None:
        super().start()
        self.expected = 0

    def run_many(self, n: int) -> int:
        self.expected += n
        return super().run_many(n)

    def stop(self) -> None:
        assert len(self.engine.store.results()) == self.expected
        super().stop()
        self.directory.cleanup()


class Pool(Peer):
    """An executor of the standard library's kind."""

    name = "ThreadPoolExecutor"

    def make(self) -> Executor:
        return ThreadPoolExecutor(WORKERS)

    def start(self) -> None:
        self.executor = self.make()

    def run_many(self, n: int) -> int:
        futures = [self.executor.submit(noop, i) for i in range(n)]
        return sum(future.result(_WAIT_S) for future in futures)

    def stop(self) -> None:
        self.executor.shutdown()


class Loky(Pool):
    name = "loky"
    modules = ("loky",)
    jobs = 2000

    def make(self) -> Executor:
        import loky

        return loky.ProcessPoolExecutor(WORKERS)


class Pebble(Peer):
    name = "pebble, threads"
    modules = ("pebble",)

    def start(self) -> None:
        import pebble

        self.pool = pebble.ThreadPool(max_workers=WORKERS)

    def run_many(self, n: int) -> int:
        futures: list[Future[int]] = [self.pool.schedule(noop, args=(i,)) for i in range(n)]
        return sum(future.result(_WAIT_S) for future in futures)

    def stop(self) -> None:
        self.pool.close()
        self.pool.join()


class JoblibThreads(Peer):
    name = "joblib, threads"
    modules = ("joblib",)
    singles = 20

    def start(self) -> None:
        import joblib

        self.parallel = joblib.Parallel(n_jobs=WORKERS, backend="threading")
        self.delayed: Callable[..., Any] = joblib.delayed(noop)
        self.parallel.__enter__()

    def run_many(self, n: int) -> int:
        return sum(self.parallel(self.delayed(i) for i in range(n)))

    def stop(self) -> None:
        self.parallel.__exit__(None, None, None)


class DaskThreads(Peer):
    name = "dask.distributed, threads"
    modules = ("distributed",)
    jobs = 500
    singles = 20

    def start(self) -> None:
        import distributed

        self.client = distributed.Client(
            processes=False,
            n_workers=1,
            threads_per_worker=WORKERS,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        )

    def run_many(self, n: int) -> int:
        return sum(self.client.gather(self.client.map(noop, range(n), pure=False)))

    def stop(self) -> None:
        self.client.close()
        self.client.cluster.close()


class Huey(Peer):
    """A consumer with threads; a job is done when its result is in the storage."""

    name = "huey, memory"
    modules = ("huey",)

    def make(self) -> Any:
        import huey

        return huey.MemoryHuey(immediate=False)

    def start(self) -> None:
        logging.getLogger("huey").setLevel(logging.ERROR)
        self.huey, self.expected = self.make(), 0
        self.task = self.huey.task()(noop)
        self.huey.signal("complete")(self.completed)
        self.consumer = self.huey.create_consumer(
            workers=WORKERS, periodic=False, initial_delay=0.001, backoff=1.0, max_delay=0.001
        )
        self.consumer._set_signal_handlers = lambda: None  # noqa: SLF001 - Ctrl-C stays with the benchmark
        self.consumer.start()

    def completed(self, _: str, task: Any) -> None:
        with self.counting:
            self.left -= 1
            self.total += task.args[0]
            if not self.left:
                self.done.set()

    def run_many(self, n: int) -> int:
        self.counting, self.done = threading.Lock(), threading.Event()
        self.left, self.total = n, 0
        self.expected += n
        for i in range(n):
            self.task(i)
        assert self.done.wait(_WAIT_S)
        return self.total

    def stop(self) -> None:
        assert self.huey.result_count() == self.expected
        self.consumer.stop(graceful=True)


class HueySqlite(Huey):
    """As huey comes: each transaction waits for the disk."""

    name = "huey, SQLite"
    jobs = 500
    singles = 50
    options: ClassVar[dict[str, Any]] = {}

    def make(self) -> Any:
        import huey

        self.directory = tempfile.TemporaryDirectory()
        return huey.SqliteHuey(
            filename=str(Path(self.directory.name) / "huey.db"), immediate=False, timeout=60, **self.options
        )

    def stop(self) -> None:
        super().stop()
        self.huey.storage.close()
        self.directory.cleanup()


class HueySqliteUnsynced(HueySqlite):
    """Transactions that survive the end of the process, not a loss of power: nearest to what bgsim's store does."""

    name = "huey, SQLite, fsync=False"
    options: ClassVar[dict[str, Any]] = {"fsync": False}


class Apscheduler(Peer):
    name = "apscheduler"
    modules = ("apscheduler",)
    jobs = 5000

    def start(self) -> None:
        from apscheduler.events import EVENT_JOB_EXECUTED
        from apscheduler.executors.pool import ThreadPoolExecutor as Threads
        from apscheduler.schedulers.background import BackgroundScheduler

        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self.scheduler = BackgroundScheduler(
            executors={"default": Threads(WORKERS)}, job_defaults={"misfire_grace_time": None}, timezone="UTC"
        )
        self.scheduler.add_listener(self.executed, EVENT_JOB_EXECUTED)
        self.scheduler.start()

    def executed(self, event: Any) -> None:
        with self.counting:
            self.left -= 1
            self.total += event.retval
            if not self.left:
                self.done.set()

    def run_many(self, n: int) -> int:
        self.counting, self.done = threading.Lock(), threading.Event()
        self.left, self.total = n, 0
        for i in range(n):
            self.scheduler.add_job(noop, args=(i,))
        assert self.done.wait(_WAIT_S)
        return self.total

    def stop(self) -> None:
        self.scheduler.shutdown()


class Ray(Peer):
    """Not in the ``bench`` extra, for its size."""

    name = "ray"
    jobs = 2000

    @classmethod
    def available(cls) -> bool:
        found = importlib.util.find_spec("ray") is not None
        if not found:
            print("  (skipped: ray is measured where `pip install ray` has been run)")
        return found

    def start(self) -> None:
        import ray

        self.ray = ray
        ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level=logging.ERROR)
        self.remote = ray.remote(noop)

    def run_many(self, n: int) -> int:
        return sum(self.ray.get([self.remote.remote(i) for i in range(n)]))

    def stop(self) -> None:
        self.ray.shutdown()


PEERS: tuple[type[Peer], ...] = (
    Bgsim,
    Pool,
    Pebble,
    JoblibThreads,
    Huey,
    Apscheduler,
    Loky,
    Ray,
    DaskThreads,
)

DURABLE_PEERS: tuple[type[Peer], ...] = (BgsimStored, HueySqlite, HueySqliteUnsynced)
"""Those whose results survive the end of the process."""
