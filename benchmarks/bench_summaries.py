"""What it costs to keep a summary instead of rows: to add a value, to merge, to ask, to store.

The peers of an addition are what gives a part of it from rows: NumPy's mean and standard deviation, `math.fsum` for an
exact sum, `numpy.histogram` for counts, and `numpy.sort` for quantiles.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.harness import Case, compare, cpu_seconds
from bgsim.live.results import Reader
from bgsim.models.options import asian_call
from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.result import SummaryResult
from bgsim.summaries.tally import Tally

VALUES = 1_000_000
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


def result_of(tally: Tally) -> SummaryResult:
    columns = {"payoff": TallyColumn([Segment(0, tally.count, tally)])}
    return SummaryResult(asian_call, asian_call.bind(), 1, columns, asian_call.fingerprint)


def main() -> None:
    additions()
    questions()


_LIST = _COLUMNS["normal"].tolist()

if __name__ == "__main__":
    main()
