"""The comparison of the results in two slots: of rows, of summaries, or of one and the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.analysis import statistics
from bgsim.analysis.comparison import Comparison, compared, independent, parameter_differences
from bgsim.errors import StoreError
from bgsim.storage.codec.columns import PAIRS, form_of, is_summary
from bgsim.summaries.column import TallyColumn

if TYPE_CHECKING:
    from bgsim.storage.codec.columns import Columns
    from bgsim.storage.records import StoredResult


def compared_slots(
    primary: tuple[StoredResult, Columns], secondary: tuple[StoredResult, Columns], *, confidence: float
) -> Comparison:
    """Compare two stored results with their columns. Where one keeps a summary, the interval is Welch's.

    Raises
    ------
    StoreError
        If one keeps a summary, and both are of one simulation and seed: how much of the variance their common random
        numbers take away is known from the rows alone.
    """
    (a, left), (b, right) = primary, secondary
    if not (is_summary(left) or is_summary(right)):
        return compared(primary, secondary, confidence=confidence)
    if (a.simulation, a.seed) == (b.simulation, b.seed):
        raise StoreError(
            f"results {a.hash[:12]} and {b.hash[:12]} have the same seed, so their replicates share random numbers, "
            "and a summary does not tell how much of the difference that takes away: compare them with "
            "engine.compare(a, b, replicates=...), or run one of them with another seed"
        )
    outputs = {
        name: independent(
            _known(column), _known(right[name]), replicates=_fewer(column, right[name]), confidence=confidence
        )
        for name, column in left.items()
        if name in right and _are_comparable(column, right[name])
    }
    return Comparison(a, b, parameter_differences(a.parameters, b.parameters), outputs, confidence)


def _known(column: Any) -> tuple[Any, Any, Any]:
    """Return the mean of a column, its standard error, and the number of valid replicates."""
    if isinstance(column, TallyColumn):
        tally: Any = column.tally()
        return tally.mean, tally.standard_error, tally.valid
    values = statistics.numbers(column)
    with statistics.quiet():
        return statistics.mean(values), statistics.standard_error(values), statistics.valid(values)


def _fewer(a: Any, b: Any) -> int:
    return min(len(a), len(b))


def _are_comparable(a: Any, b: Any) -> bool:
    real = all(each.dtype.kind in "biuf" and form_of(each) != PAIRS for each in (a, b))
    return bool(real and a.shape[1:] == b.shape[1:])
