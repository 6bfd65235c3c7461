"""Where chunks are computed: processes and a local Dask cluster against threads of this process, and Dask by hand."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

import bgsim
from benchmarks.bench_engine import spin
from benchmarks.harness import Case, compare, installed, report
from bgsim.backends import Backend, DaskBackend, ExecutorBackend

WORKERS = min(2, len(os.sched_getaffinity(0)))
CANCELS = 30
STORM_S = 60.0
KILL_EVERY_S = 3.0


@dataclass(frozen=True)
class Walk:
    steps: int = 1


@bgsim.simulation(outputs={"x": "f8"})
def walk(p: Walk, rng: Any) -> float:
    """Add up draws."""
    x = 0.0
    for _ in range(p.steps):
        x += rng.random()
    return x


@numba.njit(nogil=True)
def _by_hand(first: int, count: int, steps: int) -> Any:  # what a user of Dask writes: a seed for each chunk
    np.random.seed(first)  # numba has no other way to seed in a task
    rows = np.empty(count)
    for row in range(count):
        x = 0.0
        for _ in range(steps):
            x += np.random.random()
        rows[row] = x
    return rows


def chunk_by_hand(first: int, count: int, steps: int) -> Any:
    """Compute some replicates in a task of Dask."""
    return _by_hand(first, count, steps)


@contextmanager
def dask_cluster() -> Iterator[Any]:
    """Start workers of one thread each, in processes of their own."""
    import dask
    import distributed

    # A LocalCluster gives up a worker that is beginning anew 15 s after an earlier loss; the storm needs them all.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"})
    options: dict[str, Any] = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def steps_for(seconds: float) -> int:
    """Return how many steps a replicate of so many seconds has, here."""
    with bgsim.Engine(workers=1) as engine:
        engine.submit(walk, Walk(1000), replicates=100, cache="off").result()
        began = time.perf_counter()
        engine.submit(walk, Walk(1000), replicates=20_000, cache="off").result()
        step_s = (time.perf_counter() - began) / 20_000_000
    return max(1, round(seconds / step_s))


def speed(client: Any) -> None:
    """Compare one job on threads, processes and Dask."""
    ten_us, one_us = steps_for(10e-6), steps_for(1e-6)
    for steps, replicates, title in (
        (ten_us, 400_000, "400,000 replicates of 10 us"),
        (one_us, 1_000_000, "1,000,000 replicates of 1 us"),
    ):
        seeds = itertools.count(1)

        def job(engine: bgsim.Engine, steps: int = steps, replicates: int = replicates, seeds: Any = seeds) -> None:
            result = engine.submit(walk, Walk(steps), replicates=replicates, seed=next(seeds), cache="off").result()
            assert len(result["x"]) == replicates

        def by_hand(steps: int = steps, replicates: int = replicates, seeds: Any = seeds) -> None:
            size = replicates // (8 * WORKERS)
            offset = next(seeds) * replicates
            futures = [
                client.submit(chunk_by_hand, offset + first, size, steps, pure=False)
                for first in range(0, replicates, size)
            ]
            assert sum(map(len, client.gather(futures))) == replicates

        with (
            bgsim.Engine(workers=WORKERS) as threads,
            bgsim.Engine(backend=ExecutorBackend(workers=WORKERS)) as processes,
            bgsim.Engine(backend=DaskBackend(client)) as dask,
        ):
            cases = [
                Case(f"{WORKERS} threads", lambda: job(threads)),
                Case(f"{WORKERS} processes", lambda: job(processes)),
                Case(f"Dask, {WORKERS} workers of one thread", lambda: job(dask)),
                Case("Dask by hand: numba in 16 tasks, no progress", by_hand),
            ]
            compare(title, cases, rounds=9, warmup=2, unit="ms")


def cancel_latency(make_backend: Callable[[], Backend | None], name: str) -> Case:
    """Measure from `cancel` until the job has ended, its kernel in the middle of a long replicate."""
    case = Case(name, lambda: None)
    with bgsim.Engine(workers=WORKERS, backend=make_backend()) as engine:
        for number in range(CANCELS):
            job = engine.submit(spin, replicates=1, seed=number, cache="off")
            while not any(one.phase == "running" for one in engine.at_work()):
                time.sleep(0.001)
            time.sleep(0.3 if number else 3.0)  # compiled there, and in the loop
            began = time.perf_counter()
            job.cancel()
            with suppress(concurrent.futures.CancelledError):
                job.result()
            case.seconds.append(time.perf_counter() - began)
            assert job.cancelled()
    return case


def digest(result: bgsim.SimulationResult) -> str:
    """Return a hash of the bytes of a result."""
    return hashlib.sha256(result["x"].tobytes()).hexdigest()[:16]


def storm(client: Any) -> None:
    """Kill a worker every few seconds for a minute while jobs run; the bytes are those of one thread."""
    steps, replicates = steps_for(10e-6), 1_000_000
    with bgsim.Engine(workers=1) as engine:
        wanted = [digest(engine.submit(walk, Walk(steps), replicates=replicates, seed=n).result()) for n in range(2)]
    ended = threading.Event()
    kills = 0

    def kill() -> None:
        nonlocal kills
        while not ended.wait(KILL_EVERY_S):
            pids = list(client.run(os.getpid, on_error="ignore").values())
            if pids:
                os.kill(pids[kills % len(pids)], signal.SIGKILL)
                kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    jobs, began = 0, time.monotonic()
    with bgsim.Engine(backend=DaskBackend(client)) as engine:
        while time.monotonic() < began + STORM_S:
            seed = jobs % 2
            found = engine.submit(walk, Walk(steps), replicates=replicates, seed=seed, cache="off").result()
            assert digest(found) == wanted[seed]
            jobs += 1
    ended.set()
    killer.join()
    print(
        f"\nin {STORM_S:g} s {kills} workers were killed; {jobs} jobs of {replicates:,} replicates of 10 us had the "
        "bytes of one thread"
    )


def main() -> None:
    walk.warmup()
    spin.warmup()
    cancels = [
        cancel_latency(lambda: None, "threads"),
        cancel_latency(lambda: ExecutorBackend(workers=WORKERS), "processes"),
    ]
    if installed("distributed"):
        with dask_cluster() as client:
            cancels.append(cancel_latency(lambda: DaskBackend(client), "Dask"))
            speed(client)
            storm(client)
    report("from cancel() to the end of the job, in a long replicate", cancels, unit="ms")


if __name__ == "__main__":
    multiprocessing.freeze_support()
    main()
