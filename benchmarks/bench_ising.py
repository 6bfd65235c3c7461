"""Metropolis sweeps of the Ising model on one core: ours and a C loop with the same algorithm and generator."""

from __future__ import annotations

import ctypes

import numpy as np

from benchmarks.harness import Case, compare
from benchmarks.native import bit_generator_address, compile_c
from bgsim.control import new_control_block
from bgsim.kernels.stream import WorkerStream
from bgsim.models.ising import Ising, ising
from bgsim.streams import generator_at, stream_key

C_SOURCE = """
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include "numpy/random/bitgen.h"

int ising(bitgen_t *bits, int64_t rows, int64_t columns, double temperature, int64_t burn_in, int64_t sweeps,
          double *energy, double *magnetisation)
{
    int64_t sites = rows * columns, bonds = 0, up = 0;
    int8_t *spins = malloc(sites);
    uint32_t *near = malloc(4 * sites * sizeof *near);
    double accept[9];
    if (!spins || !near) return 1;
    for (int h = -4; h <= 4; h++) accept[h + 4] = h <= 0 ? 1.0 : exp(-2.0 * h / temperature);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            uint32_t *to = near + 4 * (i * columns + j);
            to[0] = i * columns + (j + 1) % columns;
            to[1] = (i + 1) % rows * columns + j;
            to[2] = i * columns + (j + columns - 1) % columns;
            to[3] = (i + rows - 1) % rows * columns + j;
        }
    for (int64_t s = 0; s < sites; s++) {
        spins[s] = bits->next_double(bits->state) < 0.5 ? -1 : 1;
        up += spins[s];
    }
    for (int64_t s = 0; s < sites; s++) bonds += spins[s] * (spins[near[4 * s]] + spins[near[4 * s + 1]]);
    for (int64_t sweep = 0; sweep < burn_in + sweeps; sweep++) {
        for (int64_t k = 0; k < sites; k++) {
            double x = bits->next_double(bits->state) * sites;
            uint32_t site = (uint32_t)x;
            uint32_t *to = near + 4 * (int64_t)site;
            int field = spins[site] * (spins[to[0]] + spins[to[1]] + spins[to[2]] + spins[to[3]]);
            if (x - site < accept[field + 4]) {
                bonds -= 2 * field;
                up -= 2 * spins[site];
                spins[site] = -spins[site];
            }
        }
        if (sweep >= burn_in) {
            energy[sweep - burn_in] = -(double)bonds / sites;
            magnetisation[sweep - burn_in] = (double)up / sites;
        }
    }
    free(spins);
    free(near);
    return 0;
}
"""


def ours(p: Ising) -> tuple[np.ndarray, np.ndarray]:
    """Run one replicate as a worker does, in this thread."""
    bound = ising.bind(p)
    columns = ising.new_columns(bound, 1)
    assert ising.prepare(bound)(WorkerStream(), stream_key(1), 0, columns, new_control_block()) == 1
    return columns[0][0], columns[1][0]


def c_loop(p: Ising, function: ctypes._CFuncPtr) -> tuple[np.ndarray, np.ndarray]:
    """Run one chain with the stream of replicate 0."""
    energy, magnetisation = np.empty(p.sweeps), np.empty(p.sweeps)
    rng = generator_at(stream_key(1), 0)
    failed = function(
        bit_generator_address(rng),
        ctypes.c_int64(p.rows),
        ctypes.c_int64(p.columns),
        ctypes.c_double(p.temperature),
        ctypes.c_int64(p.burn_in),
        ctypes.c_int64(p.sweeps),
        energy.ctypes.data_as(ctypes.c_void_p),
        magnetisation.ctypes.data_as(ctypes.c_void_p),
    )
    assert not failed
    return energy, magnetisation


def main() -> None:
    library = compile_c(C_SOURCE)
    for size, temperature in ((32, 2.0), (32, 3.0), (256, 2.5)):
        p = Ising(rows=size, columns=size, temperature=temperature, burn_in=0, sweeps=2**20 // size**2)
        cases = [Case("bgsim ising", lambda p=p: ours(p), size * size * p.sweeps)]
        if library is not None:
            assert all(map(np.array_equal, ours(p), c_loop(p, library.ising))), "the two chains differ"
            cases.append(Case("C -O3", lambda p=p: c_loop(p, library.ising), size * size * p.sweeps))
        title = f"Metropolis, {size} x {size}, T = {temperature}, one thread (ratios above 1: ours is ahead)"
        compare(title, cases, rounds=30, unit="ns")


if __name__ == "__main__":
    main()
