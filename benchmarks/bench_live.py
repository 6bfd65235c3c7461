"""What looking at a running job costs its kernel, and what a look costs.

The peer of an accumulated estimate is NumPy's mean and standard deviation over all rows so far.
"""

from __future__ import annotations

import time

import numpy as np

import bgsim
from benchmarks.harness import Case, compare, cpu_seconds
from bgsim.live.results import Reader
from bgsim.models.options import asian_call
from bgsim.result import SimulationResult

REPLICATES = 400_000
LOOKS_S = 30.0
LARGE = 10_000_000


@bgsim.simulation(outputs={"x": "f8"})
def draw(p, rng):
    return rng.random()


def kernel() -> None:
    looked_s: list[float] = []
    with bgsim.Engine(workers=1, store=None) as engine:

        def alone() -> None:
            engine.submit(asian_call, replicates=REPLICATES, cache="off").result()

        def watched() -> None:
            job = engine.submit(asian_call, replicates=REPLICATES, cache="off")
            began, used = time.perf_counter(), time.thread_time()
            for now in engine.watch(job, every_s=1 / LOOKS_S):
                now.estimate("payoff")
                now.histogram("payoff")
            looked_s.append((time.thread_time() - used) / (time.perf_counter() - began))
            assert job.estimate("payoff").count == REPLICATES

        cases = [Case("watched 30 times a second", watched), Case("not watched", alone)]
        title = f"Processor time of a job of {REPLICATES:,} Asian calls, and of who looks at it"
        compare(title, cases, rounds=12, warmup=1, unit="s", clock=cpu_seconds)
    print(f"  of the watching thread's core: {100 * float(np.median(looked_s)):.2f} %")


def looks() -> None:
    columns = {"x": np.random.default_rng(1).lognormal(size=LARGE)}
    result = SimulationResult(draw, draw.bind(), 0, columns, draw.fingerprint)
    reader = Reader()
    assert reader.estimate(result, "x").count == LARGE

    def again() -> None:
        assert abs(np.mean(columns["x"]) / reader_mean - 1) < 1e-9
        np.std(columns["x"], ddof=1)

    reader_mean = reader.estimate(result, "x").mean
    reader.histogram(result, "x")
    cases = [
        Case("estimate", lambda: reader.estimate(result, "x")),
        Case("histogram", lambda: reader.histogram(result, "x")),
        Case("NumPy's mean and sd of all", again),
    ]
    compare(f"One more look at {LARGE:,} replicates", cases, rounds=20)
    cases = [
        Case("estimate", lambda: Reader().estimate(result, "x"), LARGE),
        Case("histogram", lambda: Reader().histogram(result, "x"), LARGE),
        Case("NumPy's mean and sd", again, LARGE),
    ]
    compare("The first look, a replicate", cases, rounds=5, warmup=1, unit="ns")


def main() -> None:
    kernel()
    looks()


if __name__ == "__main__":
    main()
