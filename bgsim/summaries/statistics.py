"""What is said of a tally: the summary of a column, and the difference of two outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.comparison import around
from bgsim.analysis.intervals import check_confidence, half_width, wilson
from bgsim.analysis.summary import ColumnSummary, plain
from bgsim.summaries import exact
from bgsim.summaries.tally import Tally

if TYPE_CHECKING:
    from bgsim.analysis.comparison import Difference
    from bgsim.summaries.pairs import PairTally


def column_summary(tally: Tally, quantiles: tuple[float, ...], confidence: float | None) -> ColumnSummary:
    """Return the statistics of an output; all but the quantiles are exact, rounded once."""
    low, high = (None, None) if confidence is None else interval(tally, confidence)
    return ColumnSummary(
        count=tally.count,
        mean=tally.mean,
        sd=tally.sd,
        standard_error=tally.standard_error,
        minimum=tally.minimum,
        maximum=tally.maximum,
        quantiles={q: found.value for q, found in zip(quantiles, tally.quantiles(quantiles), strict=True)},
        valid=tally.valid,
        low=low,
        high=high,
    )


def interval(tally: Tally, confidence: float) -> tuple[Any, Any]:
    """Return the bounds of the interval of the mean: Wilson's of booleans, else Student's."""
    if tally.dtype.kind == "b":
        successes = np.reshape([sums.total for sums in tally.sums()], tally.shape)
        low, high = wilson(successes, tally.count, confidence)
    else:
        half = half_width(tally.standard_error, np.subtract(tally.valid, 1), confidence)
        low, high = tally.mean - half, tally.mean + half
    return plain(np.asarray(low)), plain(np.asarray(high))


def paired_difference(pair: PairTally, confidence: float) -> Difference:
    """Return the mean of x less y over the pairs in which neither is NaN, with its interval.

    Parameters
    ----------
    pair : PairTally
        Of one output of two runs that share their random numbers: x of the primary, y of the secondary.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Difference
        Mean and standard error are exact, rounded once: the variance is ``var(x) + var(y) - 2 cov(x, y)``.

    Raises
    ------
    InvalidInputError
        If the confidence is not between 0 and 1.
    """
    check_confidence(confidence)
    sums, valid = pair.difference, pair.valid
    return around(
        exact.mean(sums),
        exact.standard_error(sums),
        valid - 1,
        replicates=pair.count,
        paired=True,
        valid=valid,
        confidence=confidence,
    )
