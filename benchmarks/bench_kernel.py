"""The chunk loop: what streams, progress and cancel cost a kernel.

Peers are the chunk loop without counter and flag, and loops that a user would write with numba herself: the kernel
inlined, which lets LLVM move what does not change out of the loop, and one Generator for all without streams.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import njit, types

from benchmarks.harness import Case, compare
from bgsim.control import new_control_block
from bgsim.kernels.draws import RNG, rng_of_replicate
from bgsim.kernels.stream import WorkerStream
from bgsim.models.options import AsianCall, asian_call
from bgsim.simulation import simulation
from bgsim.streams import stream_key

REPLICATES = 5_000
CHEAP_REPLICATES = 500_000


@njit(nogil=True)
def loop_without(kernel: Any, p: Any, state: Any, key0: Any, key1: Any, first: Any, columns: Any) -> None:
    """Do what `run_chunk` does, without counter and flag."""
    for i in range(len(columns[0])):
        columns[0][i] = kernel(p, rng_of_replicate(state, key0, key1, np.uint64(first + i)))


@njit(nogil=True)
def inlined_loop(p: Any, state: Any, key0: Any, key1: Any, out: Any) -> None:
    """Run the Asian call in a loop of its own."""
    for i in range(len(out)):
        rng = rng_of_replicate(state, key0, key1, np.uint64(i))
        step = p.maturity / p.steps
        drift = (p.rate - 0.5 * p.volatility**2) * step
        scale = p.volatility * math.sqrt(step)
        logarithm = math.log(p.spot)
        total = 0.0
        for _ in range(p.steps):
            logarithm += drift + scale * rng.standard_normal()
            total += math.exp(logarithm)
        out[i] = math.exp(-p.rate * p.maturity) * max(total / p.steps - p.strike, 0.0)


@simulation(outputs={"x": "f8"})
def one_draw(p: Any, rng: Any) -> float:
    return rng.random()


@njit(nogil=True)
def shared_generator(rng: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = rng.random()


@njit(nogil=True)
def placed_generator(state: Any, key0: Any, key1: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = rng_of_replicate(state, key0, key1, np.uint64(i)).random()


def as_first_class(view: Any) -> tuple[Any, Any]:
    """Return the Asian call, and `loop_without` compiled to take it as a first-class function."""
    kernel = njit(nogil=True)(asian_call.function)
    arguments = (numba.typeof(view), RNG)
    kernel_type = types.FunctionType(types.float64(*arguments))
    words = (types.uint64, types.uint64, types.uint64, types.int64)
    layout = (kernel_type, arguments[0], *words, types.Tuple([types.float64[::1]]))
    loop_without.compile(layout)
    return kernel, loop_without.overloads[layout].entry_point


def main() -> None:
    key, stream, control = stream_key(7), WorkerStream(), new_control_block()
    state, rng = stream.state, np.random.Generator(np.random.Philox(7))

    bound = asian_call.bind(AsianCall())
    view, runner = bound.kernel_view(), asian_call.prepare(bound)
    ours, without, theirs = (np.empty(REPLICATES) for _ in range(3))
    kernel, loop = as_first_class(view)
    compare(
        "Asian call of 252 steps: one replicate",
        [
            Case("bgsim, with progress and cancel", lambda: runner(stream, key, 0, (ours,), control), REPLICATES),
            Case("the same loop without", lambda: loop(kernel, view, state, *key, 0, (without,)), REPLICATES),
            Case(
                "a loop with the kernel inlined",
                lambda: inlined_loop(view, state, *key, theirs),
                REPLICATES,
            ),
        ],
        rounds=100,
    )
    assert np.array_equal(ours, without)
    assert np.array_equal(ours, theirs)

    cheap = one_draw.prepare(one_draw.bind())
    ours, theirs, shared = (np.empty(CHEAP_REPLICATES) for _ in range(3))
    compare(
        "the cheapest kernel, one draw: one replicate",
        [
            Case("bgsim, with progress and cancel", lambda: cheap(stream, key, 0, (ours,), control), CHEAP_REPLICATES),
            Case(
                "a loop that places the stream",
                lambda: placed_generator(state, *key, theirs),
                CHEAP_REPLICATES,
            ),
            Case("a loop over one generator, no streams", lambda: shared_generator(rng, shared), CHEAP_REPLICATES),
        ],
        unit="ns",
    )
    assert np.array_equal(ours, theirs)


if __name__ == "__main__":
    main()
