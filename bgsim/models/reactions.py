"""Exact stochastic simulation of reaction networks, by Gillespie's (1977) direct method.

Molecules of a well-mixed volume meet at random. A reaction fires after exponential waits at the rate
``k * product of binomial(count, coefficient)`` over its reactants, and a replicate is one path of the counts, looked at
at given times (Gillespie 1977, "Exact Stochastic Simulation of Coupled Chemical Reactions"). It has no error but that
of sampling.

The loops are in `bgsim.models.direct_method`, networks in `bgsim.models.network`, and `bgsim.models.tau_leaping` is an
approximation that is faster where counts are large.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bgsim.control import Control, report_fraction, stop_requested
from bgsim.errors import ParameterError, ScenarioError
from bgsim.models.direct_method import (
    dense_changes,
    dependents,
    fire_few,
    fire_many,
    first_counts,
    is_small,
    propensity_terms,
    sum_tree,
    whole,
)
from bgsim.models.network import MAX_CHANGE, MAX_COUNT, MAX_ORDER, Network
from bgsim.models.network_file import read_network_file
from bgsim.parameters.fields import brief, parameter
from bgsim.simulation import simulation
from bgsim.streams import Rng

OUTPUTS = {"counts": ("i8", ("observations", "species"))}
"""Molecules of each species at each time."""

EVENTS_A_POLL = 1024
"""Events between two looks at the control block and at the size of the counts."""


@dataclass(frozen=True)
class Reactions:
    """A network as tables, one row a reaction, and the times to look at it; `of` and `from_file` make one.

    A species is a number, in the order of `names`; the number of species stands for none.
    """

    names: tuple[str, ...] = parameter(doc="of the species, in the order of the counts")
    initial: NDArray[np.int64] = parameter(unit="molecules", shape=("species",), ge=0, le=MAX_COUNT, doc="at time 0")
    rates: NDArray[np.float64] = parameter(ge=0, lt=np.inf, doc="k, with what is fixed in it")
    reactants: NDArray[np.uint32] = parameter(
        shape=(None, MAX_ORDER), doc="species that meet, in increasing order, one entry a molecule"
    )
    changed: NDArray[np.uint32] = parameter(shape=(None, None), doc="species that an event changes")
    changes: NDArray[np.int64] = parameter(shape=(None, None), doc="by how much it changes them")
    times: NDArray[np.float64] = parameter(
        unit="units of time", shape=("observations",), ge=0, lt=np.inf, doc="of the observations, increasing"
    )
    species: int = parameter(ge=1, doc="how many there are")
    observations: int = parameter(ge=1, doc="how many there are")

    @classmethod
    def of(cls, network: Network, times: Iterable[float], **settings: Any) -> Self:
        """Return the parameters for a network and the times to look at it.

        Parameters
        ----------
        network : Network
        times : iterable of float
            0 or more, increasing, in the unit of time of the rates.
        **settings
            Further fields of the class.

        Raises
        ------
        ParameterError
            Naming what is wrong with the network or the times.
        """
        return cls(**network.tables(times), **settings)

    @classmethod
    def from_file(cls, path: str | Path, times: Iterable[float] | None = None) -> Self:
        """Read a network from a TOML or an SBML file; see `bgsim.models.network_file.read_network_file`.

        Parameters
        ----------
        path : path-like
            Ending in .toml, .xml or .sbml.
        times : iterable of float, optional
            By default those of the file, and for SBML, which knows none, 0 to 50 in steps of 1.

        Raises
        ------
        ScenarioError
            Naming the file, the entry, what it says and what is allowed.
        MissingExtraError
            If it is SBML and python-libsbml is not installed.
        """
        own = set(cls.__dataclass_fields__) - set(Reactions.__dataclass_fields__)
        network, found, settings = read_network_file(path, own)
        times = found if times is None else times
        if times is None:
            raise ScenarioError(f"{path} says no times; it needs times = {{ stop = 50, points = 51 }}", field="times")
        try:
            return cls.of(network, times, **settings)
        except ParameterError as error:
            raise ScenarioError(f"{path}: {error}", field=error.field, value=error.value) from error

    def __post_init__(self) -> None:
        try:
            _check_times(np.asarray(self.times))
            _check_tables(self)
        except ParameterError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise ParameterError(
                f"{type(self).__name__} must have arrays of numbers, as {type(self).__name__}.of(network, times) makes "
                f"them: {error}",
                field="rates",
            ) from error


def _check_times(times: NDArray[np.float64]) -> None:
    good = times.ndim == 1 and len(times) > 0 and np.all(np.isfinite(times)) and times[0] >= 0
    if not good or np.any(np.diff(times) <= 0):
        raise ParameterError(
            f"times must be one or more finite numbers, 0 or more and increasing; got {brief(times)}",
            field="times",
            value=times,
        )


def _check_tables(p: Reactions) -> None:
    """Refuse tables with which the kernel would leave its arrays, or a count would become negative."""
    reactants, changed, changes = (np.asarray(t, np.int64) for t in (p.reactants, p.changed, p.changes))
    if len(p.names) != p.species or len(set(p.names)) != p.species:
        raise ParameterError(
            f"names must be {p.species} different ones, as species says; got {brief(p.names)}",
            field="names",
            value=p.names,
        )
    shapes = (np.shape(p.rates), reactants.shape[:1], changed.shape[:1], changes.shape[:1])
    if (
        len(set(shapes)) > 1
        or shapes[0] in ((), (0,))
        or reactants.shape[1:] != (MAX_ORDER,)
        or changed.shape != changes.shape
    ):
        raise ParameterError(
            f"rates, reactants, changed and changes must have a row for each reaction, one or more; got {shapes}",
            field="rates",
        )
    for name, table in (("reactants", reactants), ("changed", changed)):
        if table.size and (table.min() < 0 or table.max() > p.species):
            raise ParameterError(f"{name} must be numbers of species, 0 to {p.species}", field=name, value=table)
    if np.any(np.diff(reactants, axis=1) < 0):
        raise ParameterError("each row of reactants must increase", field="reactants", value=reactants)
    ordered = np.sort(changed, axis=1)
    if np.any((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] < p.species)):
        raise ParameterError("each row of changed must name a species once", field="changed", value=changed)
    if np.any(np.abs(changes) > MAX_CHANGE) or np.any(changes[changed == p.species]):
        raise ParameterError(
            f"changes must be -{MAX_CHANGE} to {MAX_CHANGE}, and 0 for no species", field="changes", value=changes
        )
    used = (reactants[:, None, :] == changed[:, :, None]).sum(axis=2)
    if np.any(changes < -used):
        k = int(np.argwhere(changes < -used)[0, 0])
        raise ParameterError(
            f"reaction {k} takes more molecules than meet in it, so a count could become negative",
            field="changes",
            value=changes,
        )


@simulation(outputs=OUTPUTS)
def reactions(p: Reactions, rng: Rng, control: Control) -> Any:
    """Simulate counts of each species at each time, of one exact path of a reaction network.

    Gillespie (1977), direct method. A species whose count passes 2**52 is an OverflowError: such a network explodes.
    """
    found = np.zeros((p.observations, p.species))
    counts = first_counts(p)
    terms = propensity_terms(p)
    time, row = 0.0, 0
    if is_small(p):
        steps = dense_changes(p)
        while row < p.observations and not stop_requested(control):
            time, row = fire_few(p, terms, steps, counts, time, row, found, EVENTS_A_POLL, rng)
            look_after(p, counts, time, row, control)
        return whole(found)
    tree = sum_tree(p, terms, counts)
    needing, starts = dependents(p)
    while row < p.observations and not stop_requested(control):
        time, row = fire_many(p, terms, counts, time, row, found, EVENTS_A_POLL, rng, tree, needing, starts)
        look_after(p, counts, time, row, control)
    return whole(found)


@njit
def look_after(p: Any, counts: Any, time: float, row: int, control: Control) -> None:
    """Say how far the replicate is, and refuse counts that doubles would soon no longer hold exactly."""
    if row == p.observations:
        return
    report_fraction(control, time / p.times[-1])
    for count in counts:
        if count > MAX_COUNT:
            raise OverflowError("a count has passed 2**52: the network grows without bound")
