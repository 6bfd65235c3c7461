"""Approximate simulation of reaction networks by tau-leaping, for counts that are large.

One leap lets every reaction fire a Poisson number of times, as if the propensities stayed as they are (Gillespie 2001).
How long it may be is chosen by Cao, Gillespie and Petzold (2006, "Efficient Step Size Selection for the Tau-Leaping
Simulation Method"): no propensity changes by more than about `epsilon` of itself, in the mean and in the standard
deviation of the change. A reaction that could use up a reactant within `critical` firings is critical: a leap fires at
most one of these, once. Where a leap would be worth less than `LEAP_EVENTS` events, `EXACT_EVENTS` are simulated
exactly instead; small networks with few molecules so become exact.

The approximation error of the means and standard deviations is of order `epsilon`, and goes to zero with it. A leap
that would make a count negative is thrown away and tried at half its length, which adds a bias that is far smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from bgsim.control import Control, stop_requested
from bgsim.models.direct_method import (
    dense_changes,
    dependents,
    fire_few,
    fire_many,
    first_counts,
    is_small,
    propensity,
    propensity_terms,
    record,
    sum_tree,
    whole,
)
from bgsim.models.network import MAX_COUNT, MAX_ORDER
from bgsim.models.poisson import MAX_MEAN, poisson_number
from bgsim.models.reactions import OUTPUTS, Reactions, look_after
from bgsim.parameters.fields import parameter
from bgsim.simulation import simulation
from bgsim.streams import Rng

LEAP_EVENTS = 10.0
"""A leap must be longer than the mean time of this many events (10 in section IV of the paper)."""

EXACT_EVENTS = 100
"""Events that are simulated exactly when it is not."""


@dataclass(frozen=True)
class TauLeaping(Reactions):
    """The same network, and how much error a leap may bring."""

    epsilon: float = parameter(0.03, gt=0, lt=1, doc="relative change of a propensity that a leap allows")
    critical: int = parameter(
        10, ge=1, le=1_000_000, doc="firings from using up a reactant at which a reaction becomes critical"
    )


@simulation(outputs=OUTPUTS)
def tau_leaping(p: TauLeaping, rng: Rng, control: Control) -> Any:
    """Simulate counts of each species at each time, of one path of a reaction network by tau-leaping.

    Cao, Gillespie and Petzold (2006). A species whose count passes 2**52 is an OverflowError.
    """
    found = np.zeros((p.observations, p.species))
    counts = first_counts(p)
    terms = propensity_terms(p)
    small = is_small(p)
    steps = dense_changes(p) if small else np.empty((0, 0))
    needing, starts = dependents(p)
    orders = _highest_orders(p)
    propensities = np.empty(len(terms))
    critical = np.empty(len(terms), np.bool_)
    trial = counts.copy()
    time, row = 0.0, 0
    while row < p.observations and not stop_requested(control):
        total = 0.0
        for k in range(len(terms)):
            propensities[k] = propensity(k, counts, p.reactants, terms)
            critical[k] = _is_critical(p, k, counts)
            total += propensities[k]
        longest = _longest_leap(p, counts, propensities, critical, orders)
        leapt, time, row = _leap(p, counts, trial, propensities, critical, total, longest, time, row, found, rng)
        if not leapt and small:
            time, row = fire_few(p, terms, steps, counts, time, row, found, EXACT_EVENTS, rng)
        elif not leapt:
            tree = sum_tree(p, terms, counts)
            time, row = fire_many(p, terms, counts, time, row, found, EXACT_EVENTS, rng, tree, needing, starts)
        look_after(p, counts, time, row, control)
    return whole(found)


@njit
def _highest_orders(p: Any) -> Any:
    """Return, for each species, the order of the highest reaction that needs it and how many of it that takes.

    Shape (species, 2); zeros for a species that no reaction needs.
    """
    found = np.zeros((p.species, 2), np.int64)
    for k in range(len(p.reactants)):
        order = 0
        for i in range(MAX_ORDER):
            order += p.reactants[k, i] < p.species
        for i in range(order):
            species = p.reactants[k, i]
            times = 0
            for j in range(order):
                times += p.reactants[k, j] == species
            if order > found[species, 0]:
                found[species, 0], found[species, 1] = order, times
            elif order == found[species, 0]:
                found[species, 1] = max(found[species, 1], times)
    return found


@njit
def _is_critical(p: Any, k: int, counts: Any) -> bool:
    """Tell whether fewer than `critical` firings of a reaction use up what it takes."""
    for i in range(p.changed.shape[1]):
        if p.changes[k, i] < 0 and counts[p.changed[k, i]] < -p.changes[k, i] * p.critical:
            return True
    return False


@njit
def _relative_order(count: float, order: int, times: int) -> float:
    """Return g: by how much more than a count the propensities that need it change, relatively (equation 27)."""
    if order == 3 and times == 3:
        return 3.0 + 1.0 / max(count - 1.0, 1.0) + 2.0 / max(count - 2.0, 1.0)
    if times == 2:
        return 0.5 * order * (2.0 + 1.0 / max(count - 1.0, 1.0))
    return float(order)


@njit
def _longest_leap(p: Any, counts: Any, propensities: Any, critical: Any, orders: Any) -> float:
    """Return the longest leap that changes no propensity too much (after equation 33); infinite if none changes."""
    gain, loss, variance = np.zeros(p.species + 1), np.zeros(p.species + 1), np.zeros(p.species + 1)  # per unit of time
    for k in range(len(propensities)):
        if not critical[k]:
            for i in range(p.changed.shape[1]):
                change = float(p.changes[k, i])
                gain[p.changed[k, i]] += max(change, 0.0) * propensities[k]
                loss[p.changed[k, i]] += max(-change, 0.0) * propensities[k]
                variance[p.changed[k, i]] += change * change * propensities[k]
    longest = math.inf
    for s in range(p.species):
        if orders[s, 0] > 0 and variance[s] > 0.0:
            allowed = max(p.epsilon * counts[s] / _relative_order(counts[s], orders[s, 0], orders[s, 1]), 1.0)
            longest = min(longest, allowed * allowed / variance[s], allowed / max(gain[s], loss[s]))
    return longest


@njit
def _leap(
    p: Any,
    counts: Any,
    trial: Any,
    propensities: Any,
    critical: Any,
    total: float,
    longest: float,
    time: float,
    row: int,
    found: Any,
    rng: Rng,
) -> tuple[bool, float, int]:
    """Leap once, at most to the next observation; return whether it did, the time, and the observations made.

    It does not where a leap is not worth it, for it would be short, or make a count negative unless it were; nor where
    nothing can happen, or the sum of the propensities is infinite.
    """
    rare = 0.0  # the sum of the critical propensities
    for k in range(len(propensities)):
        if critical[k]:
            rare += propensities[k]
    while longest * total >= LEAP_EVENTS:
        length, fired = min(longest, p.times[row] - time), -1
        if rare > 0.0:
            wait = rng.standard_exponential() / rare
            if wait < length:
                length, fired = wait, _choose_critical(propensities, critical, rare * rng.random())
        if _try_leap(p, counts, trial, propensities, critical, length, fired, rng):
            counts[:] = trial
            if fired < 0 and length < longest:  # it reached the observation
                record(counts, found, row)
                return True, p.times[row], row + 1
            return True, time + length, row
        longest *= 0.5
    return False, time, row


@njit
def _choose_critical(propensities: Any, critical: Any, choice: float) -> int:
    """Return the critical reaction in whose part of their sum the choice falls."""
    chosen = -1
    for k in range(len(propensities)):
        if critical[k] and propensities[k] > 0.0:
            chosen = k
            choice -= propensities[k]
            if choice < 0.0:
                break
    return chosen


@njit
def _try_leap(
    p: Any, counts: Any, trial: Any, propensities: Any, critical: Any, length: float, fired: int, rng: Rng
) -> bool:
    """Write to `trial` the counts after a leap; tell whether none is negative."""
    trial[:] = counts
    for k in range(len(propensities)):
        times = 1.0 if k == fired else 0.0
        if not critical[k]:
            mean = propensities[k] * length
            if mean > MAX_MEAN:
                raise OverflowError("a count has passed 2**52: the network grows without bound")
            times = poisson_number(mean, rng)
        if times > 0.0:
            for i in range(p.changed.shape[1]):
                trial[p.changed[k, i]] += times * p.changes[k, i]
    if trial.max() > MAX_COUNT:
        raise OverflowError("a count has passed 2**52: the network grows without bound")
    return bool(trial.min() >= 0.0)
