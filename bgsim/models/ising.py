"""The two-dimensional Ising model without a field: Metropolis and Wolff.

Spins of +1 and -1 sit on a rectangular lattice with periodic boundaries; a pair of neighbours s, t has the energy
-J s t. Energies are in units of J, temperatures in J / k. A replicate is one Markov chain: it starts hot or cold, runs
`burn_in` sweeps, and then records energy and magnetisation after each of `sweeps` sweeps. Values within a chain are
correlated, and those of two replicates are independent, so an error is best taken from the means of the replicates.

- `ising` (Metropolis et al. 1953, "Equation of State Calculations by Fast Computing Machines"): attempts to flip a
  spin chosen at random. A sweep is one attempt a site.
- `ising_wolff` (Wolff 1989, "Collective Monte Carlo Updating for Spin Systems"): flips a cluster of like spins that
  grows from a site chosen at random. A sweep is a fixed number of clusters, since one that ended when some number of
  spins have flipped would bias the averages. It is the one to use near the critical temperature,
  `CRITICAL_TEMPERATURE`, where Metropolis needs about (length of the lattice)**2.2 sweeps for an independent value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from bgsim.checks import is_integer
from bgsim.control import Control, report_fraction, stop_requested
from bgsim.errors import ParameterError
from bgsim.parameters.fields import brief, parameter
from bgsim.simulation import simulation
from bgsim.streams import Rng

CRITICAL_TEMPERATURE = 2.0 / math.log(1.0 + math.sqrt(2.0))
"""Of the infinite lattice, in J / k (Onsager 1944)."""

MAX_SITES = 2**24
"""Of a lattice; it takes 17 bytes a site."""

MAX_SWEEPS = 10_000_000
"""Recorded ones; each takes 16 bytes."""

OUTPUTS = {
    "energy": ("f8", "sweeps"),
    "magnetisation": ("f8", "sweeps"),
    "spins": ("i1", ("rows", "columns")),
}
"""Energy and magnetisation, a site, after each recorded sweep; the spins at the end."""


@dataclass(frozen=True)
class Ising:
    """A lattice, its temperature, and the length of the chain."""

    rows: int = parameter(32, unit="sites", ge=2, le=32_768, doc="of the lattice")
    columns: int = parameter(32, unit="sites", ge=2, le=32_768, doc="of the lattice")
    temperature: float = parameter(2.5, unit="J / k", gt=0, doc="of the heat bath; may be infinite")
    cold: bool = parameter(False, doc="start with all spins up, not with random ones")
    burn_in: int = parameter(200, unit="sweeps", ge=0, le=2**53, doc="before the first that is recorded")
    sweeps: int = parameter(200, unit="sweeps", ge=1, le=MAX_SWEEPS, doc="recorded")

    def __post_init__(self) -> None:
        if all(map(is_integer, (self.rows, self.columns))) and self.rows * self.columns > MAX_SITES:
            raise ParameterError(
                f"rows * columns must be at most {MAX_SITES:,} sites; got rows={brief(self.rows)} and "
                f"columns={brief(self.columns)}",
                field="rows",
                value=self.rows,
            )


@dataclass(frozen=True)
class IsingWolff(Ising):
    """The same, for cluster flips; cold by default, since from a hot start the first clusters are small."""

    cold: bool = parameter(True, doc="start with all spins up, not with random ones")
    clusters: int = parameter(1, unit="clusters a sweep", ge=1, le=2**53, doc="flipped between two recorded values")


@simulation(outputs=OUTPUTS)
def ising(p: Ising, rng: Rng, control: Control) -> Any:
    """Energy and magnetisation a site of one Metropolis chain, and its last spins.

    Metropolis et al. (1953); the spin to flip is chosen at random, so every attempt is in detailed balance.
    """
    neighbours = _neighbours(p.rows, p.columns)
    spins = _first_spins(p, rng)
    acceptance = _acceptance(p.temperature)
    energy, magnetisation = np.zeros(p.sweeps), np.zeros(p.sweeps)
    sites, total = p.rows * p.columns, p.burn_in + p.sweeps
    bonds, up = _bonds(spins, neighbours), _sum(spins)
    for sweep in range(total):
        for _ in range(p.rows):
            if stop_requested(control):
                return energy, magnetisation, spins.reshape(p.rows, p.columns)
            change = _attempt_flips(spins, neighbours, acceptance, p.columns, rng)
            bonds += change[0]
            up += change[1]
        if sweep >= p.burn_in:
            energy[sweep - p.burn_in] = -bonds / sites
            magnetisation[sweep - p.burn_in] = up / sites
        report_fraction(control, (sweep + 1) / total)
    return energy, magnetisation, spins.reshape(p.rows, p.columns)


@simulation(outputs=OUTPUTS)
def ising_wolff(p: IsingWolff, rng: Rng, control: Control) -> Any:
    """Energy and magnetisation a site of one chain of Wolff's cluster flips, and its last spins.

    Wolff (1989).
    """
    neighbours = _neighbours(p.rows, p.columns)
    spins = _first_spins(p, rng)
    joining = -math.expm1(-2.0 / p.temperature)
    energy, magnetisation = np.zeros(p.sweeps), np.zeros(p.sweeps)
    sites, total = p.rows * p.columns, p.burn_in + p.sweeps
    stack = np.empty(sites, np.uint32)
    up = _sum(spins)
    for sweep in range(total):
        for _ in range(p.clusters):
            up += _flip_cluster(spins, neighbours, joining, stack, rng, control)
            if stop_requested(control):
                return energy, magnetisation, spins.reshape(p.rows, p.columns)
        if sweep >= p.burn_in:
            energy[sweep - p.burn_in] = -_bonds(spins, neighbours) / sites
            magnetisation[sweep - p.burn_in] = up / sites
        report_fraction(control, (sweep + 1) / total)
    return energy, magnetisation, spins.reshape(p.rows, p.columns)


@njit
def _neighbours(rows: int, columns: int) -> Any:
    """Return the neighbours of each site, uint32 of shape (sites, 4): right, below, left, above."""
    found = np.empty((rows * columns, 4), np.uint32)
    for i in range(rows):
        for j in range(columns):
            site = i * columns + j
            found[site, 0] = i * columns + (j + 1) % columns
            found[site, 1] = (i + 1) % rows * columns + j
            found[site, 2] = i * columns + (j + columns - 1) % columns
            found[site, 3] = (i + rows - 1) % rows * columns + j
    return found


@njit
def _first_spins(p: Any, rng: Rng) -> Any:
    """Return the spins at the start, int8 of shape (sites,)."""
    spins = np.ones(p.rows * p.columns, np.int8)
    if not p.cold:
        for site in range(len(spins)):
            if rng.random() < 0.5:
                spins[site] = -1
    return spins


@njit
def _acceptance(temperature: float) -> Any:
    """Return the probability of a flip by (spin times the sum of its neighbours) plus 4."""
    found = np.empty(9)
    for field in range(-4, 5):
        found[field + 4] = math.exp(min(-2.0 * field / temperature, 0.0))
    return found


@njit
def _sum(spins: Any) -> int:
    total = 0
    for spin in spins:
        total += int(spin)  # the scalars of an int8 array overflow in plain Python
    return total


@njit
def _bonds(spins: Any, neighbours: Any) -> int:
    """Return the sum of s t over all pairs of neighbours: minus the energy."""
    total = 0
    for site in range(len(spins)):
        total += int(spins[site] * (spins[neighbours[site, 0]] + spins[neighbours[site, 1]]))
    return total


@njit
def _attempt_flips(spins: Any, neighbours: Any, acceptance: Any, attempts: int, rng: Rng) -> tuple[int, int]:
    """Attempt some flips; return the changes of the sum over bonds and of the sum of spins.

    One uniform number serves an attempt: times the number of sites, its whole part is the site and its fraction
    decides. The fraction is uniform and independent of the site; its resolution is 2**-53 times the number of sites.
    """
    bonds, up = 0, 0
    for _ in range(attempts):
        x = rng.random() * len(spins)
        site = np.uint32(x)
        spin = int(spins[site])
        near = neighbours[site]
        field = spin * int(spins[near[0]] + spins[near[1]] + spins[near[2]] + spins[near[3]])
        if x - site < acceptance[field + 4]:
            spins[site] = -spin
            bonds -= 2 * field
            up -= 2 * spin
    return bonds, up


@njit
def _flip_cluster(spins: Any, neighbours: Any, joining: float, stack: Any, rng: Rng, control: Control) -> int:
    """Grow a cluster of like spins from a random site, flipping as it grows; return the change of the sum of spins.

    Parameters
    ----------
    joining : float
        Probability that a like neighbour joins, ``1 - exp(-2 / temperature)``.
    stack : ndarray of uint32, shape (sites,)
        Room for the sites whose neighbours are to be looked at.
    """
    seed = np.uint32(rng.random() * len(spins))
    spin = int(spins[seed])
    spins[seed] = -spin
    stack[0] = seed
    waiting, size = 1, 1
    while waiting > 0 and not stop_requested(control):
        waiting -= 1
        near = neighbours[stack[waiting]]
        for k in range(4):
            site = near[k]
            if spins[site] == spin and rng.random() < joining:
                spins[site] = -spin
                stack[waiting] = site
                waiting += 1
                size += 1
    return -2 * spin * size
