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
    with bgsim.Engine(workers=1, store=None) as engine:

        def run(looks_s: float) -> float:
            """Run a job, looked at so often a second; return the looks' part of a core."""
            job = engine.submit(asian_call, replicates=REPLICATES, cache="off")
            began, used = time.perf_counter(), time.thread_time()
            for now in engine.watch(job, every_s=1 / looks_s) if looks_s else ():
                now.estimate("payoff")
                now.histogram("payoff")
            assert job.result().replicates == REPLICATES
            return (time.thread_time() - used) / (time.perf_counter() - began)

        parts: dict[float, list[float]] = {looks: [] for looks in (0.0, 2.0, LOOKS_S)}
        cases = [
            Case(name, lambda looks=looks: parts[looks].append(run(looks)))
            for name, looks in (("not watched", 0.0), ("as by default", 2.0), ("30 times a second", LOOKS_S))
        ]
        title = f"Processor time of a job of {REPLICATES:,} Asian calls, and of who looks at it"
        compare(title, cases, rounds=9, warmup=1, unit="s", clock=cpu_seconds)
    for looks, found in parts.items():
        print(f"  {looks:4.0f} looks a second: {100 * float(np.median(found)):.2f} % of a core")


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
