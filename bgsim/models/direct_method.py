"""The event loop of Gillespie's (1977) direct method, driven by tables: one compilation for all networks.

An event takes two draws: the wait for it, exponential with the sum of the propensities, and which reaction it is. A
propensity is ``rate * product over the reactants of x * (x - 1) ... / coefficient!``, so it is exactly zero where a
reactant is missing, and no count becomes negative. Counts are doubles, exact up to 2**53.

- `fire_few` computes every propensity anew for each event, and adds a row of a dense matrix to the counts: no branch
  depends on which reaction it is. Each event writes the counts to the next observation, which the last event before its
  time leaves as they are then; a branch would be mispredicted at most observations of a short path.
- `fire_many` keeps them in a tree of sums and computes only those that an event has changed (the dependency graph of
  Gibson and Bruck 2000): an event costs the logarithm of the number of reactions. Every inner node is the sum of its
  two children at all times, so no error accumulates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

FEW_REACTIONS, FEW_SPECIES = 48, 200
"""Up to these `fire_few` is faster (measured on rings of reactions of first and of second order);
with more species the rows that it adds would be long."""

MAX_TOTAL = 1e300
"""Events per unit of time; a sum of propensities above it counts as infinite. (A comparison with infinity itself is
compiled to tests of the bits; with it, paths in `bench_models` took 1 to 8 % longer.)"""

SUM = 3
"""Column of the terms that has, in `fire_few`, the sum of the propensities up to that of the row."""


@njit
def is_small(p: Any) -> bool:
    """Tell whether `fire_few` is the way to go."""
    return bool(len(p.rates) <= FEW_REACTIONS and p.species <= FEW_SPECIES)


@njit
def first_counts(p: Any) -> Any:
    """Return the counts at the start as doubles, and after them a 1 that stands for a reactant that is not there."""
    initial = p.initial
    counts = np.ones(len(initial) + 1)
    for s in range(len(initial)):
        counts[s] = initial[s]
    return counts


@njit
def propensity_terms(p: Any) -> Any:
    """Return, for each reaction, the rate over the factorials, and what to take from the second and the third count.

    Shape (reactions, 4), with room for `SUM`.
    """
    reactants, rates, none = p.reactants, p.rates, p.species
    terms = np.zeros((len(reactants), SUM + 1))
    for k in range(len(terms)):
        rate, taken = rates[k], 0.0
        for i in range(1, reactants.shape[1]):
            same = reactants[k, i] == reactants[k, i - 1] and reactants[k, i] < none
            taken = taken + 1.0 if same else 0.0
            rate /= taken + 1.0
            terms[k, i] = taken
        terms[k, 0] = rate
    return terms


@njit
def propensity(k: int, counts: Any, reactants: Any, terms: Any) -> float:
    """Return the propensity of one reaction, in events per unit of time."""
    return float(
        terms[k, 0]
        * counts[reactants[k, 0]]
        * ((counts[reactants[k, 1]] - terms[k, 1]) * (counts[reactants[k, 2]] - terms[k, 2]))
    )


@njit
def dense_changes(p: Any) -> Any:
    """Return what each reaction adds to each species, as doubles of shape (reactions, species)."""
    changed, changes, none = p.changed, p.changes, p.species
    steps = np.zeros((len(changed), none))
    for k in range(len(changed)):
        for i in range(changed.shape[1]):
            if changed[k, i] < none:
                steps[k, changed[k, i]] = changes[k, i]
    return steps


@njit
def record(counts: Any, found: Any, row: int) -> None:
    """Write the counts to a row of `found`."""
    for s in range(found.shape[1]):
        found[row, s] = counts[s]


@njit
def whole(found: Any) -> Any:
    """Turn `found` into integers in its own memory, and return it as such."""
    integers = found.view(np.int64)
    for row in range(found.shape[0]):
        for s in range(found.shape[1]):
            integers[row, s] = int(found[row, s])
    return integers


@njit
def fire_few(
    p: Any, terms: Any, steps: Any, counts: Any, time: float, row: int, found: Any, events: int, rng: Any
) -> tuple[float, int]:
    """Let some events happen, recording the counts at each observation time that they pass.

    Parameters
    ----------
    p : parameters
        With the tables of `bgsim.models.reactions.Reactions`.
    terms, steps : ndarray
        From `propensity_terms` and `dense_changes`.
    counts : ndarray of float, shape (species + 1,)
        From `first_counts`; changed in place.
    time, row : float, int
        The time now, and how many observations are made.
    found : ndarray of float, shape (observations, species)
        The observations; written in place, the row after the last one, too.
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
    reactants, times = p.reactants, p.times
    reactions, species, last = steps.shape[0], steps.shape[1], len(times)
    for _ in range(events):
        wait = rng.standard_exponential()
        choice = rng.random()
        total = 0.0
        for k in range(reactions):
            total += propensity(k, counts, reactants, terms)
            terms[k, SUM] = total
        if not 0.0 < total < MAX_TOTAL:
            _record_the_rest(total, counts, row, found)
            return math.inf, last
        choice *= total  # below the last sum, so the reaction that is found has a propensity above zero
        chosen = np.uint32(0)
        for k in range(reactions - 1):  # counting them is vectorised, and 7 % slower for the Oregonator
            if choice >= terms[k, SUM]:
                chosen = np.uint32(k + 1)
        for s in range(species):
            found[row, s] = counts[s]
            counts[s] += steps[chosen, s]
        time += wait / total
        row += int(time > times[row])
        while row < last and time > times[row]:
            found[row] = found[row - 1]
            row += 1
        if row == last:
            return time, row
    return time, row


@njit
def _record_the_rest(total: float, counts: Any, row: int, found: Any) -> None:
    """Record the counts for the rest of the times: no reaction can happen, so they stay as they are."""
    if not total < MAX_TOTAL:
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
def sum_tree(p: Any, terms: Any, counts: Any) -> Any:
    """Return all propensities as the leaves of a binary tree of sums; node i has the children 2 i and 2 i + 1."""
    leaves = 1
    while leaves < len(terms):
        leaves *= 2
    tree = np.zeros(2 * leaves)
    for k in range(len(terms)):
        tree[leaves + k] = propensity(k, counts, p.reactants, terms)
    for node in range(leaves - 1, 0, -1):
        tree[node] = tree[2 * node] + tree[2 * node + 1]
    return tree


@njit
def fire_many(
    p: Any,
    terms: Any,
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
        if not 0.0 < total < MAX_TOTAL:
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
                tree[node] = propensity(k, counts, reactants, terms)
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
