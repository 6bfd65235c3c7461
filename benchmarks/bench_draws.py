"""Draws in compiled kernels: those of bgsim's rng, and of numba's own Generator with the same bits.

An operation is one draw in a loop that sums 200,000 of them; both sums are the same. Then short replicates: a stream is
put at its start, and some numbers are drawn. numba alone cannot do that, so its replicates share one generator. Times
are of the processor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from benchmarks.harness import Case, compare, cpu_seconds
from bgsim.kernels.draws import rng_of_replicate
from bgsim.kernels.stream import WorkerStream
from bgsim.streams import generator_at, stream_key

DRAWS = 200_000
REPLICATES = 20_000

METHODS = (
    "random()",
    "standard_normal()",
    "standard_exponential()",
    "uniform(1.0, 3.0)",
    "normal(1.0, 2.0)",
    "exponential(2.0)",
    "integers(0, 100)",
    "integers(0, 2**40)",
    "integers(0, 100, dtype=np.int32)",
    "poisson(4.0)",
    "poisson(40.0)",
    "negative_binomial(3.0, 0.4)",
    "beta(2.0, 3.0)",
    "wald(1.0, 2.0)",
    "standard_t(5.0)",
    "f(3.0, 5.0)",
    "noncentral_chisquare(3.0, 2.0)",
    "gamma(2.5, 1.0)",
    "binomial(100, 0.4)",
    "geometric(0.2)",
    "lognormal(0.0, 1.0)",
    "random(dtype=np.float32)",
)
OTHERWISE = ("poisson(40.0)", "negative_binomial(3.0, 0.4)", "beta(2.0, 3.0)", "wald(1.0, 2.0)")
"""Of these numba may compute other numbers than NumPy and bgsim do."""


def summing(draw: str) -> Any:
    """Return a function that sums draws by a method of its first argument."""
    names: dict[str, Any] = {"np": np}
    exec(
        f"def total(rng, n):\n    s = 0.0\n    for _ in range(n):\n        s += rng.{draw}\n    return s\n", names
    )  # the method's name is all that differs
    return njit(nogil=True)(names["total"])


def one_method(draw: str, stream: WorkerStream, key: Any) -> None:
    total, found = summing(draw), {}

    @njit(nogil=True)
    def of_stream(state: Any, key0: Any, key1: Any, n: Any) -> float:
        return total(rng_of_replicate(state, key0, key1, np.uint64(11)), n)

    def ours() -> None:
        found["ours"] = of_stream(stream.state, *key, DRAWS)

    def numbas() -> None:
        found["numba"] = total(generator_at(key, 11), DRAWS)

    compare(draw, [Case("bgsim", ours, DRAWS), Case("numba", numbas, DRAWS)], rounds=15, unit="ns", clock=cpu_seconds)
    assert draw in OTHERWISE or found["ours"] == found["numba"], draw


@njit(nogil=True)
def short_replicates(state: Any, key0: Any, key1: Any, replicates: Any, draws: Any) -> float:
    total = 0.0
    for i in range(replicates):
        rng = rng_of_replicate(state, key0, key1, np.uint64(i))
        for _ in range(draws):
            total += rng.random()
    return total


@njit(nogil=True)
def shared_generator(rng: Any, replicates: Any, draws: Any) -> float:
    total = 0.0
    for _ in range(replicates):
        for _ in range(draws):
            total += rng.random()
    return total


def main() -> None:
    stream, key = WorkerStream(), stream_key(7)
    for draw in METHODS:
        one_method(draw, stream, key)
    rng = np.random.Generator(np.random.Philox(7))
    for draws in (1, 5, 13, 100, 300):
        cases = [
            Case("bgsim", lambda n=draws: short_replicates(stream.state, *key, REPLICATES, n), REPLICATES * draws),
            Case("numba, one generator", lambda n=draws: shared_generator(rng, REPLICATES, n), REPLICATES * draws),
        ]
        compare(f"replicates of {draws} random()", cases, rounds=15, unit="ns", clock=cpu_seconds)


if __name__ == "__main__":
    main()
