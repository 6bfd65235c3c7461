"""Why a store answers a request, or does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bgsim.analysis.comparison import parameter_differences
from bgsim.errors import ParameterError
from bgsim.identity.report import few_of, part_differences
from bgsim.kernels.outputs import unlike_declared
from bgsim.parameters.parameter_set import ParameterSet, ResultKey, similarity
from bgsim.summaries.column import is_summary
from bgsim.tables import Table, Tabular, in_short

if TYPE_CHECKING:
    from bgsim.simulation import Simulation
    from bgsim.storage.codec.columns import Columns
    from bgsim.storage.records import StoredResult

_SHOWN = 3
"""Names in a sentence."""

_KEPT = {"columns": "the rows are", "summary": "a summary is"}


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Tabular):
    """What the store would do for a request.

    Attributes
    ----------
    outcome : str
        ``"hit"``: exactly these replicates are stored. ``"slice"``: more are. ``"extend"``: some are, and the rest is
        computed. ``"miss"``: none are, or what is stored is not what the simulation declares. Of a summary only those
        tallies are of use that lie within the wanted replicates.
    hash : str
        The request's parameter hash.
    stored, wanted : int
        Replicates.
    reason : str
        A sentence.
    nearest : StoredResult or None
        Of a miss: the stored result of this simulation that is most like the request.
    differences : dict of str to (object, object)
        Of a miss: how the request differs from that result, wanted and stored: parameters by their names, ``seed``,
        ``fingerprint`` and ``keep``.
    changed : tuple of str
        Of a miss where the fingerprint differs: the dependencies that were changed, added or removed since the nearest
        result was stored, such as ``"mymodule.RATE changed"``. Empty where the dependencies of either are not known.
    """

    outcome: str
    hash: str
    stored: int
    wanted: int
    reason: str
    nearest: StoredResult | None = None
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"

    def __repr__(self) -> str:
        return in_short("Explanation", str(self))

    def _table(self) -> Table:
        rows = [(name, wanted, stored) for name, (wanted, stored) in self.differences.items()]
        if not rows:
            return Table((), [("stored", self.stored), ("wanted", self.wanted)], title=str(self))
        return Table(("", "here", "stored"), rows, title=str(self), remark=", ".join(self.changed))


def explain_found(key: ResultKey, stored: int, replicates: int, of_use: int) -> Explanation:
    """Explain a request of whose result some replicates are stored, and as many of these are of use."""
    if stored == replicates:
        return Explanation("hit", key.hash, stored, replicates, f"all {replicates:,} replicates are stored")
    if of_use == replicates:
        return Explanation("slice", key.hash, stored, replicates, f"the first {replicates:,} of {stored:,} are used")
    reason = f"{stored:,} are stored, {replicates - of_use:,} are computed"
    if of_use < min(stored, replicates):
        reason = (
            f"{stored:,} are stored, and the last tally within {replicates:,} of them ends at {of_use:,}; the others"
        )
        reason += " are computed"
    return Explanation("extend" if of_use else "miss", key.hash, stored, replicates, reason)


def why_not_used(simulation: Simulation, parameters: Mapping[str, Any], columns: Columns | None) -> str:
    """Say why the columns of a stored result are not used for a simulation; empty if they are, or are gone."""
    try:
        if columns is None:
            return ""
        pairs = simulation.pairs if is_summary(columns) else None
        return unlike_declared(simulation.outputs, parameters, columns, pairs)
    except ParameterError as error:  # of parameters that a file gives
        return str(error)


def explain_unused(key: ResultKey, replicates: int, why: str) -> Explanation:
    """Explain a request of whose result something is stored that is not what the simulation declares."""
    reason = f"what is stored is not used, since {why}; the computed result will replace it"
    return Explanation("miss", key.hash, 0, replicates, reason)


def explain_miss(key: ResultKey, replicates: int, results: Iterable[StoredResult]) -> Explanation:
    """Explain a request of whose result nothing is stored, by the nearest of these results."""
    candidates = [result for result in results if result.simulation == key.simulation]
    # Of equally similar parameters the same code counts more than the same seed.
    candidates.sort(key=lambda r: (r.record.fingerprint != key.fingerprint, r.seed != key.seed))
    found = most_similar(candidates, key.parameters)
    if found is None:
        return Explanation("miss", key.hash, 0, replicates, f"nothing of {key.simulation} is stored")
    nearest, _ = found
    differences = parameter_differences(_as_stored(key.parameters), nearest.parameters)
    names = list(differences)
    reasons = [f"{name} is {a!r} here and {b!r} there" for name, (a, b) in list(differences.items())[:_SHOWN]]
    if len(names) > len(reasons):
        reasons.append(f"{len(names) - len(reasons)} more parameters differ")
    if key.seed != nearest.seed:
        differences["seed"] = (key.seed, nearest.seed)
        reasons.append(f"the seed is {key.seed} here and {nearest.seed} there")
    changed: tuple[str, ...] = ()
    if key.fingerprint != nearest.record.fingerprint:
        differences["fingerprint"] = (key.fingerprint, nearest.record.fingerprint)
        changed = changed_parts(key.parts, nearest.record.parts)
        reasons.append(_code_reason(changed))
    if key.keep != nearest.keep:
        differences["keep"] = (key.keep, nearest.keep)
        reasons.append(f"{_KEPT[key.keep]} asked for here and {_KEPT[nearest.keep]} stored there")
    if not differences:
        reasons.append("its parameters have other types")
    reason = f"the nearest stored result is {nearest.hash[:12]}, but {', and '.join(reasons)}"
    return Explanation("miss", key.hash, 0, replicates, reason, nearest, differences, changed)


def most_similar(
    results: Iterable[StoredResult], parameters: Any, simulation: Simulation | str | None = None
) -> tuple[StoredResult, float] | None:
    """Return the result whose parameters are most like the given ones, and their similarity.

    Parameters
    ----------
    results : iterable of StoredResult
        Among equals the first wins.
    parameters : ParameterSet, mapping, or instance of a parameter class
    simulation : Simulation or str, optional
        Or its name: considers only its results.

    See Also
    --------
    bgsim.parameters.parameter_set.similarity : How it is measured.
    """
    name = getattr(simulation, "name", simulation)
    wanted = _as_stored(parameters)
    best: tuple[StoredResult, float] | None = None
    for result in results:
        if name in (None, result.simulation):
            alike = similarity(wanted, result.parameters)
            if best is None or alike > best[1]:
                best = (result, alike)
    return best


def changed_parts(wanted: Mapping[str, str], stored: Mapping[str, str]) -> tuple[str, ...]:
    """Return which dependencies of a simulation differ from those that a stored result was computed with.

    Parameters
    ----------
    wanted, stored : mapping of str to str
        The label of each dependency, and a short hash of it; empty if unknown.

    Returns
    -------
    tuple of str
        The labels, each followed by ``" changed"``, ``" added"`` or ``" removed"``, in this order. Empty if either is
        unknown.
    """
    if not wanted or not stored:
        return ()
    return tuple(f"{label} {how}" for label, how in part_differences(wanted, stored).items())


def _code_reason(changed: tuple[str, ...]) -> str:
    """Return the part of a sentence that says what has changed of the code; at most three names."""
    if not changed:
        return "the simulation's code, what it uses, or its version has changed"
    return f"its code has changed ({few_of(changed)})"


def _as_stored(parameters: Any) -> dict[str, Any]:
    """Return parameters in the form in which a store returns them."""
    return ParameterSet.values_from_json(json_of(parameters))


def json_of(parameters: Any) -> str:
    """Return parameters as a `Record` has them, given as for `most_similar`."""
    if not isinstance(parameters, ParameterSet):
        given = dataclasses.is_dataclass(parameters) or hasattr(parameters, "_fields")
        parameters = ParameterSet.of(parameters, type(parameters) if given else None)
    text: str = parameters.to_json()
    return text
