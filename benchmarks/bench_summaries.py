"""What it costs to keep a summary instead of rows: to add a value, to merge, to ask, to store.

The peers of an addition are what gives a part of it from rows: NumPy's mean and standard deviation, `math.fsum` for an
exact sum, `numpy.histogram` for counts, and `numpy.sort` for quantiles.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np

import bgsim
from benchmarks.harness import Case, compare, cpu_seconds
from bgsim.control import new_control_block
from bgsim.kernels.stream import WorkerStream
from bgsim.live.results import Reader
from bgsim.models.options import asian_call, european_call
from bgsim.streams import stream_key
from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.result import SummaryResult
from bgsim.summaries.tally import Tally

VALUES = 1_000_000
RUN = 8192 * 1000
ELEMENTS = 100

_RNG = np.random.default_rng(1)
_COLUMNS = {
    "normal": _RNG.normal(size=VALUES),
    "exponential": _RNG.exponential(size=VALUES),
    "normal, single precision": _RNG.normal(size=VALUES).astype(np.float32),
    "Poisson of mean 10": _RNG.poisson(10.0, VALUES),
    "integers up to 10**12": _RNG.integers(-(10**12), 10**12, VALUES),
    "boolean": _RNG.random(VALUES) < 0.3,
    "rows of 100 normals": _RNG.normal(size=(VALUES // ELEMENTS, ELEMENTS)),
}


def tally_of(values: np.ndarray) -> Tally:
    found = Tally(values.dtype, values.shape[1:])
    found.add(values)
    assert found.count == len(values)
    return found


def additions() -> None:
    cases = [Case(name, lambda values=values: tally_of(values), VALUES) for name, values in _COLUMNS.items()]
    compare("Add a value to a tally", cases, rounds=15, unit="ns", clock=cpu_seconds)

    normal = _COLUMNS["normal"]

    def pairs() -> None:
        found = PairTally()
        found.add(normal, _COLUMNS["exponential"])
        assert found.valid == VALUES

    cases = [
        Case("exact sums, buckets and ends", lambda: tally_of(normal), VALUES),
        Case("exact sums of a pair", pairs, VALUES),
        Case("numpy mean and std", lambda: (normal.mean(), normal.std(ddof=1)), VALUES),
        Case("numpy.histogram of 64 bins", lambda: np.histogram(normal, 64), VALUES),
        Case("numpy.sort", lambda: np.sort(normal), VALUES),
        Case("math.fsum of a list", lambda: math.fsum(_LIST), VALUES),
    ]
    compare(
        "What a normal costs, and what gives a part of it from rows",
        cases,
        rounds=9,
        warmup=1,
        unit="ns",
        clock=cpu_seconds,
    )


def questions() -> None:
    tally = tally_of(_COLUMNS["normal"])
    half = tally_of(_COLUMNS["normal"][::2])
    data = tally.to_bytes()
    print(f"\n  {VALUES:,} normals are {len(data):,} bytes, and {tally.nbytes:,} in memory")

    def estimate() -> None:
        assert reader.estimate(result_of(tally.copy()), "payoff").count == VALUES  # of a copy no sums are known

    known, reader = result_of(tally), Reader()
    cases = [
        Case("copy, and the mean with its error", estimate),
        Case("histogram of 64 bins", lambda: reader.histogram(known, "payoff")),
        Case("three quantiles", lambda: tally.quantiles((0.05, 0.5, 0.95))),
        Case("merge", lambda: half.copy().merge(half)),
        Case("to bytes", tally.to_bytes),
        Case("from bytes", lambda: Tally.from_bytes("f8", (), data)),
    ]
    compare(f"A summary of {VALUES:,} normals", cases, rounds=30, clock=cpu_seconds)
    many = tally_of(_COLUMNS["rows of 100 normals"])
    cases = [
        Case("means and errors", lambda: (many.copy().mean, many.standard_error)),
        Case("three quantiles", lambda: many.quantiles((0.05, 0.5, 0.95))),
    ]
    compare(f"A summary of rows of {ELEMENTS} numbers", cases, rounds=9, warmup=1, unit="ms", clock=cpu_seconds)


def runs() -> None:
    """Compare jobs of one worker with the kernel alone, which writes its rows into a buffer that stays in the cache."""
    bound = european_call.bind()
    runner, stream, key = european_call.prepare(bound), WorkerStream(), stream_key(1)
    buffer, control = european_call.new_columns(bound, 8192), new_control_block()

    def kernel() -> None:
        for first in range(0, RUN, 8192):
            assert runner(stream, key, first, buffer, control) == 8192

    with bgsim.Engine(workers=1, max_result_bytes=2**34) as engine:

        def job(keep: str) -> None:
            found = engine.submit(european_call, replicates=RUN, seed=1, keep=keep, cache="off").result()
            assert found.replicates == RUN

        cases = [
            Case("the kernel alone", kernel, RUN),
            Case('a job, keep="summary"', lambda: job("summary"), RUN),
            Case('a job, keep="columns"', lambda: job("columns"), RUN),
        ]
        compare(f"{RUN:,} European calls by one worker", cases, rounds=9, warmup=1, unit="ns", clock=cpu_seconds)


def billion() -> None:
    """Keep a summary of 10**9 replicates, and say how much more memory the process has than before."""
    with bgsim.Engine() as engine:
        engine.submit(european_call, replicates=10**6, seed=2, keep="summary").result()
        before, began = resident(), time.perf_counter()
        job = engine.submit(european_call, replicates=10**9, seed=1, keep="summary")
        most = before
        while not job.done():
            most = max(most, resident())
            time.sleep(0.05)
        took_s = time.perf_counter() - began
        print(f"\n{job.result()!r}")
        print(
            f"  {took_s:.1f} s, {took_s:.1f} ns a replicate by {engine.config.workers} workers; "
            f"{(most - before) / 2**20:.1f} MiB more than before, {most / 2**20:.0f} MiB in all"
        )


def resident() -> int:
    """Return the memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def result_of(tally: Tally) -> SummaryResult:
    columns = {"payoff": TallyColumn([Segment(0, tally.count, tally)])}
    return SummaryResult(asian_call, asian_call.bind(), 1, columns, asian_call.fingerprint)


def main() -> None:
    additions()
    questions()
    runs()
    billion()


_LIST = _COLUMNS["normal"].tolist()

if __name__ == "__main__":
    main()
