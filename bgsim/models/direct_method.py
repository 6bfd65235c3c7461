"""The event loop of Gillespie's (1977) direct method, driven by tables: one compilation for all networks.

An event takes two draws: the wait for it, exponential with the sum of the propensities, and which reaction it is. A
propensity is ``rate * product over the reactants of x * (x - 1) ... / coefficient!``, so it is exactly zero where a
reactant is missing, and no count becomes negative. Counts are doubles, exact up to 2**53.

- `fire_few` computes every propensity anew for each event, without a branch that depends on the draws.
- `fire_many` keeps them in a tree of sums and computes only those that an event has changed (the dependency graph of
  Gibson and Bruck 2000): an event costs the logarithm of the number of reactions. Every inner node is the sum of its
  two children at all times, so no error accumulates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

FEW_REACTIONS = 48
"""Up to so many reactions computing all propensities anew is the faster way (measured on chains and rings)."""


@njit
def first_counts(p: Any) -> Any:
    """Return the counts at the start as doubles, and after them a 1 that stands for a reactant that is not there."""
    counts = np.ones(len(p.initial) + 1)
    for s in range(len(p.initial)):
        counts[s] = p.initial[s]
    return counts


@njit
def propensity_tables(p: Any) -> Any:
    """Return for each reaction the factor of its propensity, and what to subtract from the count of each reactant."""
    factors = p.rates.copy()
    offsets = np.zeros(p.reactants.shape)
    for k in range(len(factors)):
        for i in range(1, p.reactants.shape[1]):
            if p.reactants[k, i] == p.reactants[k, i - 1] and p.reactants[k, i] < p.species:
                offsets[k, i] = offsets[k, i - 1] + 1.0
                factors[k] /= offsets[k, i] + 1.0
    return factors, offsets


@njit
def propensity(k: int, counts: Any, reactants: Any, factors: Any, offsets: Any) -> float:
    """Return the propensity of one reaction, in events per unit of time."""
    return float(
        factors[k]
        * counts[reactants[k, 0]]
        * (counts[reactants[k, 1]] - offsets[k, 1])
        * (counts[reactants[k, 2]] - offsets[k, 2])
    )


@njit
def record(counts: Any, found: Any, row: int) -> None:
    """Write the counts to a row of what is found."""
    for s in range(found.shape[1]):
        found[row, s] = int(counts[s])


@njit
def fire_few(
    p: Any, factors: Any, offsets: Any, counts: Any, time: float, row: int, found: Any, events: int, rng: Any
) -> tuple[float, int]:
    """Let some events happen, recording the counts at each observation time that they pass.

    Parameters
    ----------
    p : parameters
        With ``reactants``, ``changed``, ``changes`` and ``times`` of `bgsim.models.reactions.Reactions`.
    factors, offsets : ndarray
        From `propensity_tables`.
    counts : ndarray of float, shape (species + 1,)
        From `first_counts`; changed in place.
    time, row : float, int
        The time now, and how many observations are made.
    found : ndarray of int64, shape (observations, species)
        The observations; written in place.
    events : int
        How many; fewer if the last observation comes first.

    Returns
    -------
    time : float
        Of the last event; infinite when no reaction can happen any more.
    row : int
        Observations made: all when the replicate is done.

    Raises
    ------
    OverflowError
        If the propensities are infinite.
    """
    reactants, changed, changes, times = p.reactants, p.changed, p.changes.astype(np.float64), p.times
    reactions, width, last = len(factors), changed.shape[1], len(times)
    sums = np.empty(reactions)
    due = times[row]
    for _ in range(events):
        wait = rng.standard_exponential()
        choice = rng.random()
        total = 0.0
        for k in range(reactions):
            total += propensity(k, counts, reactants, factors, offsets)
            sums[k] = total
        if not 0.0 < total < math.inf:
            _record_the_rest(total, counts, row, found)
            return math.inf, last
        time += wait / total
        while time > due:
            record(counts, found, row)
            row += 1
            if row == last:
                return time, row
            due = times[row]
        choice *= total  # below the last sum, so the reaction that is found has a propensity above zero
        chosen = np.uint32(0)
        for k in range(reactions - 1):
            chosen += np.uint32(choice >= sums[k])
        for i in range(width):
            counts[changed[chosen, i]] += changes[chosen, i]
    return time, row


@njit
def _record_the_rest(total: float, counts: Any, row: int, found: Any) -> None:
    """Record the counts for the rest of the times: no reaction can happen, so they stay as they are."""
    if not total < math.inf:
        raise OverflowError("the sum of the propensities is infinite; rates and counts are too large")
    for later in range(row, len(found)):
        record(counts, found, later)


@njit
def dependents(p: Any) -> Any:
    """Return the dependency graph: the reactions that need each species, and where each species' part begins."""
    starts = np.zeros(p.species + 2, np.int64)
    for k in range(len(p.reactants)):
        for i in range(p.reactants.shape[1]):
            if _needs_first(p, k, i):
                starts[p.reactants[k, i] + 2] += 1
    for s in range(2, len(starts)):
        starts[s] += starts[s - 1]
    needing = np.empty(starts[-1], np.int64)
    for k in range(len(p.reactants)):
        for i in range(p.reactants.shape[1]):
            if _needs_first(p, k, i):
                species = p.reactants[k, i]
                needing[starts[species + 1]] = k
                starts[species + 1] += 1
    return needing, starts


@njit
def _needs_first(p: Any, k: int, i: int) -> bool:
    """Tell whether this is a species that the reaction needs, and the first mention of it."""
    species = p.reactants[k, i]
    return bool(species < p.species and (i == 0 or species != p.reactants[k, i - 1]))


@njit
def sum_tree(p: Any, factors: Any, offsets: Any, counts: Any) -> Any:
    """Return all propensities as the leaves of a binary tree of sums; node i has the children 2 i and 2 i + 1."""
    leaves = 1
    while leaves < len(factors):
        leaves *= 2
    tree = np.zeros(2 * leaves)
    for k in range(len(factors)):
        tree[leaves + k] = propensity(k, counts, p.reactants, factors, offsets)
    for node in range(leaves - 1, 0, -1):
        tree[node] = tree[2 * node] + tree[2 * node + 1]
    return tree


@njit
def fire_many(
    p: Any,
    factors: Any,
    offsets: Any,
    counts: Any,
    time: float,
    row: int,
    found: Any,
    events: int,
    rng: Any,
    tree: Any,
    needing: Any,
    starts: Any,
) -> tuple[float, int]:
    """Do what `fire_few` does, for many reactions, with a `sum_tree` and the `dependents`."""
    reactants, changed, changes, times = p.reactants, p.changed, p.changes.astype(np.float64), p.times
    width, last, leaves = changed.shape[1], len(times), len(tree) // 2
    due = times[row]
    for _ in range(events):
        wait = rng.standard_exponential()
        choice = rng.random()
        total = tree[1]
        if not 0.0 < total < math.inf:
            _record_the_rest(total, counts, row, found)
            return math.inf, last
        time += wait / total
        while time > due:
            record(counts, found, row)
            row += 1
            if row == last:
                return time, row
            due = times[row]
        chosen = _find(tree, leaves, choice * total)
        for i in range(width):
            counts[changed[chosen, i]] += changes[chosen, i]
        for i in range(width):
            species = changed[chosen, i]
            for d in range(starts[species], starts[species + 1]):
                k = needing[d]
                node = leaves + k
                tree[node] = propensity(k, counts, reactants, factors, offsets)
                while node > 1:
                    node //= 2
                    tree[node] = tree[2 * node] + tree[2 * node + 1]
    return time, row


@njit
def _find(tree: Any, leaves: int, choice: float) -> int:
    """Return the reaction in whose part of the sum the choice falls; its propensity is above zero."""
    node = 1
    while node < leaves:
        node *= 2
        if choice >= tree[node] and tree[node + 1] > 0.0:  # rounding must not lead to an empty half
            choice -= tree[node]
            node += 1
    return node - leaves
