"""One look at a simulation: its identity, and whether it still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bgsim.identity.ownership import Ownership, own_modules
from bgsim.identity.walk import Walk


@dataclass(frozen=True, slots=True)
class Identity:
    """What a simulation's results depend on, as it was at one moment.

    Attributes
    ----------
    fingerprint : str
        32 hexadecimal digits over all of it.
    parts : mapping of str to str
        Of each dependency, by a name for people, a short hash.
    limits : tuple of str
        What cannot be followed, each with where it is used and why.
    draws : tuple of str
        What draws random numbers from other streams than the replicate's.
    stale : tuple of str
        Machine code that numba keeps and that is older than what it was compiled from.
    attributes : frozenset of str
        Every attribute that the code reads of anything.
    is_unchanged : callable
        Tells, in microseconds, whether nothing of it has changed since; see `Watch.is_unchanged`. Any thread may call.
    """

    fingerprint: str
    parts: Mapping[str, str]
    limits: tuple[str, ...]
    draws: tuple[str, ...]
    stale: tuple[str, ...]
    attributes: frozenset[str]
    is_unchanged: Callable[[], bool]


def look(
    label: str,
    module: str | None,
    values: tuple[Any, ...],
    *,
    compiled: bool,
    settings: Mapping[str, Any] | None = None,
    declared: tuple[Any, ...] | None = None,
    own: tuple[str, ...] = (),
) -> Identity:
    """Look at all that some values reach.

    Parameters
    ----------
    label : str
        For people.
    module : str or None
        Whose package is followed wherever it is installed.
    values : tuple
        The first is a function.
    compiled : bool
        Whether numba compiles them.
    settings : mapping of str to object, optional
        What counts besides, each a part of its own by this name.
    declared : tuple, optional
        What the author says that counts, besides code and constants.
    own : tuple of str
        Further packages and modules to follow.
    """
    walk = Walk(Ownership((*own_modules(module), *own)), compiled=compiled)
    found = walk.root(label, *values, settings=settings, declared=declared)
    return Identity(
        found.digest,
        found.parts,
        tuple(dict.fromkeys(map(str, found.limits))),
        tuple(dict.fromkeys(f"{problem.what} in {problem.where.label}" for problem in found.draws)),
        tuple(dict.fromkeys(map(str, found.stale))),
        frozenset(found.attributes),
        found.watch.is_unchanged,
    )
