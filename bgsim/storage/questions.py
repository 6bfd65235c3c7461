"""What people ask a store: which results there are, why a request hits or misses, and how two results differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bgsim.checks import check_integer, check_word, refused
from bgsim.errors import InvalidInputError, StoreError
from bgsim.parameters.keep import KEEPS
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage.records import StoredResult

if TYPE_CHECKING:
    from bgsim.analysis.comparison import Comparison
    from bgsim.parameters.parameter_class import P
    from bgsim.result import SimulationResult
    from bgsim.simulation import Simulation
    from bgsim.storage.codec.columns import Columns
    from bgsim.storage.explain import Explanation
    from bgsim.storage.finding import Moment, Query
    from bgsim.storage.nearest import Wanted
    from bgsim.storage.slots import SlotPair
    from bgsim.tables import Listing

_SHOWN = 5
"""Workspaces that an error names."""


class Questions:
    """What `Store` answers by its other methods; a store overrides `find_all` and `alike` where it is faster."""

    location: Any
    count: Callable[[ResultKey], int]
    load: Callable[..., Columns | None]
    get: Callable[[str], StoredResult | None]
    resolve: Callable[[str], str]
    results: Callable[[], list[StoredResult]]
    slots: Callable[[str], SlotPair]
    workspaces: Callable[[], list[str]]

    def find(
        self,
        simulation: Simulation | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        seed: int | None = None,
        replicates: int = 1,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
        **values: Any,
    ) -> Listing[StoredResult]:
        """Return the stored results that are meant, the newest first; the list shows the parameters that differ.

        Parameters
        ----------
        simulation : Simulation or str, optional
            Or its name, or the last part of that.
        parameters : mapping of str to object, optional
            Parameters whose names are arguments of this method: ``find(parameters={"limit": 3})``.
        seed : int, optional
        replicates : int
            At least so many.
        since, until : datetime, timedelta or str, optional
            When a result was first stored: a time, without a time zone by the local clock; how long ago; or either as
            text: ``"2026-10-01"``, ``"2026-10-01 14:30"``, ``"20 min"``, ``"3 h"``, ``"2 days"``.
        limit : int, optional
            The newest so many.
        **values
            What parameters have to be: ``strike=95``. Of a number a pair gives a range, both ends included:
            ``strike=(90, 100)``, ``(90, None)``.

        Raises
        ------
        InvalidInputError
            Naming the argument; for a parameter that no stored result of the simulation has, with the nearest name.
        StoreError
            If the store cannot be read.
        """
        from bgsim.storage.finding import Query  # noqa: PLC0415 - most callers never ask
        from bgsim.storage.listing import listing  # noqa: PLC0415

        if not isinstance(parameters, Mapping | None):
            raise refused("parameters", parameters, "a mapping of names to values")
        wanted = {**(parameters or {}), **values}
        times = {"since": since, "until": until}
        query = Query.of(simulation, wanted, seed=seed, replicates=replicates, limit=limit, **times)
        return listing(self.find_all(query)[:limit])

    def find_all(self, query: Query) -> list[StoredResult]:
        """Return the results that a query means, the newest first; those beyond its limit may be among them."""
        return query.chosen(self.results())

    def load_result(
        self, result: StoredResult | str, simulation: Simulation | None = None, *, replicates: int | None = None
    ) -> SimulationResult:
        """Load a stored result as a job returns it, with summary and replay.

        Parameters
        ----------
        result : StoredResult or str
            Or the first digits of its hash.
        simulation : Simulation, optional
            By default the one of this name among bgsim's own models and the modules that this process has imported: a
            store does not choose what is imported. Without one the result has columns and summary, and its `replay`
            says what is missing.
        replicates : int, optional
            The first so many, or as many as there are; by default all of them. Of a summary, those of the tallies that
            lie within them.

        Returns
        -------
        SimulationResult or SummaryResult

        Raises
        ------
        InvalidInputError
            If it is none of the two, or the simulation has another name than the result's.
        StoreError
            If the result is gone or cannot be read.
        """
        from bgsim.storage.loaded import loaded_result  # noqa: PLC0415 - for people

        if not isinstance(result, str | StoredResult):
            raise refused("result", result, "one stored result, such as found[0], or the first digits of its hash")
        found = self.get(self.resolve(result)) if isinstance(result, str) else result
        columns = None if found is None else self.load(found.hash, replicates or found.replicates)
        if found is not None and columns is None and found.keep == "summary" and self.get(found.hash) is not None:
            raise StoreError(
                f"result {found.hash[:12]} keeps a summary, of which no tally lies within {replicates:,} replicates; "
                f"ask for up to {found.replicates:,}, or submit it with so many"
            )
        if found is None or columns is None:
            name = result if isinstance(result, str) else result.hash
            raise StoreError(f"result {name} is no longer in {self.location}; run it again")
        return loaded_result(found, columns, simulation)

    def compare(self, workspace: str, *, confidence: float = 0.95) -> Comparison:
        """Compare the workspace's slots: parameters, and the differences of the outputs' means.

        Raises
        ------
        InvalidInputError
            If the confidence is not between 0 and 1.
        StoreError
            If a slot is empty, or its result cannot be loaded; if one of them keeps a summary, and both have the same
            seed.
        """
        from bgsim.analysis.comparison import compared  # noqa: PLC0415 - most callers never compare
        from bgsim.analysis.intervals import check_confidence  # noqa: PLC0415
        from bgsim.storage.codec.columns import kept_of_outputs  # noqa: PLC0415

        check_confidence(confidence)
        pair = self.slots(workspace)
        if pair.primary is None or pair.secondary is None:
            known = self.workspaces()
            others = "" if workspace in known else f"; the store has {', '.join(known[:_SHOWN]) or 'no workspaces'}"
            raise StoreError(
                f"workspace {workspace!r} has {len(list(pair))} of 2 slots in use; run it with two sets of parameters"
                + others
            )
        found = []
        for slot in (pair.primary, pair.secondary):
            result, columns = self.get(slot.hash), self.load(slot.hash, slot.replicates)
            if result is None or columns is None:
                raise StoreError(f"result {slot.hash} of workspace {workspace!r} is gone; run it again")
            found.append((result, kept_of_outputs(columns)))
        try:
            return compared(*found, confidence=confidence)
        except InvalidInputError as error:
            raise StoreError(f"workspace {workspace!r} cannot be compared: {error}") from error

    def most_similar(
        self, parameters: object, *, simulation: Simulation | str | None = None
    ) -> tuple[StoredResult, float] | None:
        """Return the stored result whose parameters are most like these, and how alike, from 0 to 1; None if none.

        See `bgsim.storage.explain.most_similar`.
        """
        from bgsim.storage.explain import json_of, most_similar  # noqa: PLC0415 - most callers never ask
        from bgsim.storage.nearest import Wanted  # noqa: PLC0415

        name = simulation if isinstance(simulation, str | None) else simulation.name
        return most_similar(self.alike(Wanted(json_of(parameters), name)), parameters, simulation)

    def alike(self, wanted: Wanted) -> list[StoredResult]:  # noqa: ARG002 - all are
        """Return results among which is the one whose parameters are most like the wanted ones, the last used first.

        A store returns fewer than all where it finds them faster than by reading all.
        """
        return self.results()

    def explain(
        self,
        simulation: Simulation[P],
        parameters: P | Mapping[str, Any] | None = None,
        *,
        replicates: int,
        seed: int = 0,
        keep: str = "columns",
    ) -> Explanation:
        """Say whether a request would hit, be cut, extended or computed, and why.

        Parameters
        ----------
        simulation : Simulation
        parameters, seed, keep
            As for `Engine.submit`.
        replicates : int
            For a `bgsim.Precision`, one of the numbers at which it looks.

        Raises
        ------
        ParameterError
            If the simulation refuses the parameters.
        InvalidInputError
            If `keep` is something else, or `replicates` is no integer.
        """
        from bgsim.storage import explain  # noqa: PLC0415 - most callers never ask
        from bgsim.storage.nearest import Wanted  # noqa: PLC0415

        allowed = "an integer of 1 or more; for a Precision, one of its looks()"
        replicates = check_integer("replicates", replicates, allowed=allowed)
        bound = simulation.bind(parameters)
        check_word("keep", keep, KEEPS)
        key = ResultKey(simulation.name, simulation.fingerprint, seed, bound, simulation.parts, keep=keep)
        stored = self.count(key)
        if stored:
            rows = keep == "columns"
            why = explain.why_not_used(simulation, bound, self.load(key, 1 if rows else None))
            if why:
                return explain.explain_unused(key, replicates, why)
            used = None if rows else self.load(key, replicates)
            of_use = min(stored, replicates) if rows else len(next(iter(used.values()))) if used else 0
            return explain.explain_found(key, stored, replicates, of_use)
        wanted = Wanted(bound.to_json(), key.simulation, key.fingerprint, key.seed)
        return explain.explain_miss(key, replicates, self.alike(wanted))
