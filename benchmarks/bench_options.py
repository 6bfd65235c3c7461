"""An arithmetic Asian option with 252 dates on one core: ours, vectorised NumPy, and a C loop on the same generator."""

from __future__ import annotations

import ctypes
import math

import numpy as np

from benchmarks.harness import Case, compare
from benchmarks.native import bit_generator_address, compile_c
from bgsim.control import new_control_block
from bgsim.kernels.stream import WorkerStream
from bgsim.models.options import AsianCall, AsianOption, asian_call, asian_option
from bgsim.simulation import Simulation
from bgsim.streams import generator_at, stream_key

PATHS = 20_000
NUMPY_BLOCKS = (250, 1000, 4000)
"""Paths at a time; the block that fits the caches best is the peer that counts."""

C_SOURCE = """
#include <math.h>
#include <stdint.h>
#include "numpy/random/distributions.h"

/* All paths draw from one stream, one after the other. */
void asian(bitgen_t *bits, int64_t paths, double spot, double strike, double rate, double volatility,
           double maturity, int64_t steps, double *payoffs)
{
    for (int64_t i = 0; i < paths; i++) {
        double step = maturity / steps;
        double drift = (rate - 0.5 * volatility * volatility) * step, scale = volatility * sqrt(step);
        double logarithm = log(spot), total = 0.0;
        for (int64_t k = 0; k < steps; k++) {
            logarithm += drift + scale * random_standard_normal(bits);
            total += exp(logarithm);
        }
        payoffs[i] = exp(-rate * maturity) * fmax(total / steps - strike, 0.0);
    }
}
"""


def ours(simulation: Simulation, parameters: object, paths: int) -> np.ndarray:
    """Run one chunk as a worker does, in this thread."""
    bound = simulation.bind(parameters)
    columns = simulation.new_columns(bound, paths)
    runner, stream, key = simulation.prepare(bound), WorkerStream(), stream_key(1)
    assert runner(stream, key, 0, columns, new_control_block()) == paths
    return columns[0]


def vectorised(p: AsianCall, paths: int, block: int, rng: np.random.Generator) -> np.ndarray:
    """Return payoffs by NumPy, block by block, in place."""
    step = p.maturity / p.steps
    payoffs = np.empty(paths)
    growth = np.empty((block, p.steps))
    for start in range(0, paths, block):
        rng.standard_normal(out=growth)
        growth *= p.volatility * math.sqrt(step)
        growth += (p.rate - 0.5 * p.volatility**2) * step
        np.cumsum(growth, axis=1, out=growth)
        np.exp(growth, out=growth)
        payoffs[start : start + block] = np.maximum(p.spot * growth.mean(axis=1) - p.strike, 0.0)
    return math.exp(-p.rate * p.maturity) * payoffs


def c_loop(p: AsianCall, paths: int, asian: ctypes._CFuncPtr) -> np.ndarray:
    """Return payoffs by the C loop."""
    payoffs = np.empty(paths)
    rng = generator_at(stream_key(1), 0)
    asian(
        bit_generator_address(rng),
        ctypes.c_int64(paths),
        *map(ctypes.c_double, (p.spot, p.strike, p.rate, p.volatility, p.maturity)),
        ctypes.c_int64(p.steps),
        payoffs.ctypes.data_as(ctypes.c_void_p),
    )
    return payoffs


def main() -> None:
    p = AsianCall()
    check = ours(asian_call, p, PATHS)
    cases = [Case("bgsim asian_call", lambda: ours(asian_call, p, PATHS), PATHS)]
    rng = np.random.Generator(np.random.Philox(1))
    for block in NUMPY_BLOCKS:
        cases.append(Case(f"NumPy, {block} at a time", lambda b=block: vectorised(p, PATHS, b, rng), PATHS))
    library = compile_c(C_SOURCE)
    if library is not None:
        library.asian.restype = None
        cases.append(Case("C -O3", lambda: c_loop(p, PATHS, library.asian), PATHS))
    cases.append(Case("bgsim asian_option, with its control", lambda: ours(asian_option, AsianOption(), PATHS), PATHS))
    for case in cases:  # the work is done: each mean is the price, within 5 standard errors
        payoffs = np.asarray(case.run())
        assert abs(payoffs.mean() - 5.78182441) < 5 * check.std() / math.sqrt(PATHS), case.name
    if library is not None:  # the first path draws from the same stream, so it is the same
        assert math.isclose(c_loop(p, 1, library.asian)[0], check[0], rel_tol=1e-9)
    compare("Asian option, 252 dates, one thread (ratios above 1: ours is ahead)", cases, rounds=30, unit="us")


if __name__ == "__main__":
    main()
