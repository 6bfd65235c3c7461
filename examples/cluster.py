"""A cluster of two processes computes a sweep, one of them is killed, and the bytes are those of one thread.

Run ``python examples/cluster.py``; it needs ``pip install distributed`` and ten seconds. For a cluster of other
machines, give ``DaskBackend`` the address of its scheduler: all else stays.
"""

from __future__ import annotations

import hashlib
import os
import signal
from dataclasses import dataclass

from distributed import Client, LocalCluster

import bgsim
from bgsim.backends import DaskBackend
from bgsim.jobs.batch import Batch

DRIFTS = {"drift": [-0.02, 0.0, 0.02]}
REPLICATES = 200_000


@dataclass(frozen=True)
class Walk:
    """A random walk between two walls."""

    drift: float = 0.0
    wall: float = 20.0


@bgsim.simulation(outputs={"steps": "i8", "is_up": "?"})
def walk(p: Walk, rng: bgsim.Rng) -> tuple[int, bool]:
    """Walk until a wall is met, and say after how many steps, and which."""
    place, steps = 0.0, 0
    while abs(place) < p.wall:
        place += p.drift + rng.normal()
        steps += 1
    return steps, place > 0.0


def digest(sweep: Batch[Walk]) -> str:
    """Return a hash of all that a sweep has computed."""
    columns = [result[name].tobytes() for result in sweep.results() for name in ("steps", "is_up")]
    return hashlib.sha256(b"".join(columns)).hexdigest()


def on_the_cluster() -> str:
    """Compute on two processes, one of which is killed in the middle."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="ERROR") as cluster,
        Client(cluster) as client,
        bgsim.Engine(backend=DaskBackend(client)) as engine,
    ):
        victim = min(client.run(os.getpid).values())
        sweep = engine.sweep(walk, DRIFTS, replicates=REPLICATES, seed=7)
        shown = -1.0
        for update in sweep.progress():
            if update.fraction > shown:
                print(update, flush=True)
                shown = update.fraction
            if victim and 0.2 < update.fraction < 1.0:
                os.kill(victim, signal.SIGKILL)
                print(f"killed process {victim}", flush=True)
                victim = 0
        for job, result in zip(sweep, sweep.results(), strict=True):
            print(f"drift {job.parameters['drift']:5.2f}: {result['is_up'].mean():.1%} end up")
        return digest(sweep)


def on_one_thread() -> str:
    """Compute the same in this process."""
    with bgsim.Engine(workers=1) as engine:
        return digest(engine.sweep(walk, DRIFTS, replicates=REPLICATES, seed=7))


if __name__ == "__main__":  # the processes of the cluster import this file, and must not begin one of their own
    found = {"cluster": on_the_cluster(), "one thread": on_one_thread()}
    for where, text in found.items():
        print(f"{where:10}  sha256 {text}")
    assert len(set(found.values())) == 1, "the bytes differ"
