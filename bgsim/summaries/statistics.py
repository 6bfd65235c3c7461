"""What is said of a tally: the summary of a column, and the interval of its mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from bgsim.analysis.intervals import half_width, wilson
from bgsim.analysis.summary import ColumnSummary, plain
from bgsim.summaries.tally import Tally


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
