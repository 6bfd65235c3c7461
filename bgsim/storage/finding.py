"""The question of `Store.find`: which stored results are meant."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.comparison import parameter_differences
from bgsim.checks import check_integer, check_text, is_number, normal_name, normal_names, refused
from bgsim.errors import InvalidInputError, brief, nearest
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.storage.explain import json_of
from bgsim.storage.points import COMPOUND, words_of
from bgsim.storage.times import moment_of, time_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.storage.records import StoredResult

Moment = datetime | timedelta | str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a parameter has to be.

    Attributes
    ----------
    value : object
        As a store returns it.
    word : int
        That of the value; see `bgsim.storage.points`.
    bounds : (float, float) or None
        Between which a number has to be, where the value is a pair.
    """

    value: Any
    word: int
    bounds: tuple[float, float] | None

    @classmethod
    def of(cls, name: str, given: Any) -> Wanted:
        """Read what a caller gives for a parameter."""
        text = json_of({name: given})
        value = ParameterSet.values_from_json(text)[name]
        return cls(value, int.from_bytes(words_of([json.loads(text)[name]]), "little"), _bounds(value))

    def takes(self, value: Any) -> bool:
        """Tell whether a stored value is meant."""
        if _is_number(value):
            if self.bounds is not None:
                return bool(self.bounds[0] <= value <= self.bounds[1])
            return _is_number(self.value) and bool(value == self.value)
        if _is_number(self.value) or isinstance(value, bool) is not isinstance(self.value, bool):
            return False
        return not parameter_differences({"": value}, {"": self.value})

    def may_take(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell of the words of stored values which may be meant."""
        numbers = words.view(float)
        if self.bounds is not None:
            return ((numbers >= self.bounds[0]) & (numbers <= self.bounds[1])) | _are_compound(words)
        if _is_number(self.value):
            found: NDArray[np.bool_] = numbers == np.array([self.word], np.uint64).view(float)
            return found
        return _are_compound(words) if self.word & COMPOUND else words == np.uint64(self.word)


@dataclass(frozen=True, slots=True)
class Query:
    """Which stored results are meant, the newest first; see `Store.find`.

    Attributes
    ----------
    simulation : str or None
        Its name, or the last part of it.
    values : mapping of str to Wanted
    seed : int or None
    replicates : int
        At least so many.
    since, until : str
        When it was first stored, as a store writes times.
    limit : int or None
    """

    simulation: str | None
    values: Mapping[str, Wanted]
    seed: int | None
    replicates: int
    since: str
    until: str
    limit: int | None

    @classmethod
    def of(
        cls,
        simulation: Any,
        values: Mapping[str, Any],
        *,
        seed: int | None,
        replicates: int,
        since: Moment | None,
        until: Moment | None,
        limit: int | None,
    ) -> Query:
        """Check what a caller asks for.

        Raises
        ------
        InvalidInputError
            Naming the argument, what was given, and what is allowed.
        """
        name = getattr(simulation, "name", simulation)
        began = "" if since is None else time_text(moment_of("since", since))
        ended = "~" if until is None else time_text(moment_of("until", until))  # after all digits
        if ended < began:
            raise refused("until", until, f"no earlier than since, which is {brief(since)}")
        return cls(
            None if name is None else normal_name(check_text("simulation", name, allowed="a simulation or its name")),
            {name: Wanted.of(name, value) for name, value in normal_names("parameters", values).items()},
            None if seed is None else check_integer("seed", seed, least=0),
            min(check_integer("replicates", replicates, least=0), _MOST),
            began,
            ended,
            None if limit is None else min(check_integer("limit", limit), _MOST),
        )

    def is_of(self, simulation: str) -> bool:
        """Tell whether the results of a simulation are meant."""
        return self.simulation in (None, simulation, simulation.rpartition(".")[2])

    def is_in_time(self, created_at: str) -> bool:
        """Tell whether a result that was first stored then is meant."""
        return self.since <= created_at <= self.until

    def takes(self, values: Mapping[str, Any]) -> bool:
        """Tell whether results with these parameters are meant."""
        return all(name in values and wanted.takes(values[name]) for name, wanted in self.values.items())

    def check_names(self, known: Iterable[str]) -> None:
        """Refuse a parameter that no stored result of the simulation has; if there is none, nothing is known.

        Raises
        ------
        InvalidInputError
        """
        names = sorted(set(known))
        for name in self.values:
            if names and name not in names:
                of = "" if self.simulation is None else f" of {brief(self.simulation)}"
                raise InvalidInputError(
                    f"no stored result{of} has a parameter {name!r}{nearest(name, names)}; there are "
                    f"{', '.join(names[:_MOST_NAMES])}",
                    field=name,
                )

    def chosen(self, results: Iterable[StoredResult]) -> list[StoredResult]:
        """Return the results that are meant, the newest first, of any number."""
        of_it = [r for r in results if self.is_of(r.simulation)]
        self.check_names(name for r in of_it for name in r.parameters)
        found = [
            r
            for r in of_it
            if self.seed in (None, r.seed)
            and r.replicates >= self.replicates
            and self.is_in_time(r.created_at)
            and self.takes(r.parameters)
        ]
        return newest_first(found)


_MOST = 2**63 - 1
"""Replicates of a result, and results of a store; SQLite compares with no larger integer."""

_MOST_NAMES = 30
"""Names in an error."""


def newest_first(results: Iterable[StoredResult]) -> list[StoredResult]:
    """Return results in the order of a listing: of those that were stored at one moment by their hashes."""
    return sorted(sorted(results, key=lambda r: r.hash), key=lambda r: r.created_at, reverse=True)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool | enum.Enum)


def _are_compound(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isnan(words.view(float)) & ((words & np.uint64(COMPOUND)) != 0)
    return found


def _bounds(value: Any) -> tuple[float, float] | None:
    """Return what a pair of numbers means for a number; None is no bound."""
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(v is None or is_number(v) for v in value):
        return None
    low, high = value
    return (-np.inf if low is None else low, np.inf if high is None else high)
