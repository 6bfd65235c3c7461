"""The error of a mean over a series whose values are correlated, as those of a Markov chain are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bgsim.errors import InvalidInputError

WINDOW = 6.0
"""How many autocorrelation times the sum of correlations goes on: a balance of bias and noise."""


def autocorrelation_time(series: ArrayLike) -> float:
    """Return the integrated autocorrelation time: how many values of the series weigh as much as one independent one.

    It is 1 plus twice the sum of the autocorrelations over all lags; the sum ends at the first lag that is `WINDOW`
    times what it has come to (Madras and Sokal 1988, appendix C).

    Parameters
    ----------
    series : array_like of float, shape (n,) or (chains, n), n >= 2
        One series in equilibrium, or several of one kind, whose autocorrelations are averaged about their common mean.

    Returns
    -------
    float
        1.0 for a constant series. Trust it for n of more than about 50 times the returned value.

    Raises
    ------
    InvalidInputError
        If the series has another shape.
    """
    chains = np.atleast_2d(np.asarray(series, float))
    if chains.ndim != 2 or chains.shape[1] < 2:
        raise InvalidInputError(
            f"a series must have the shape (n,) or (chains, n) with n of 2 or more; got {np.shape(series)}",
            field="series",
            value=np.shape(series),
        )
    length = chains.shape[1]
    spectrum = np.fft.rfft(chains - chains.mean(), 2 * length, axis=1)
    covariance = np.fft.irfft((np.abs(spectrum) ** 2).mean(axis=0))[:length] / np.arange(length, 0, -1)
    if covariance[0] <= 0.0:
        return 1.0
    times = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    ends = np.arange(length) >= WINDOW * times
    return float(times[np.argmax(ends) if ends.any() else -1])


def standard_error(series: ArrayLike) -> float:
    """Return the standard error of the mean over a correlated series, or over all of several chains.

    Raises
    ------
    InvalidInputError
        As `autocorrelation_time` does.
    """
    values = np.asarray(series, float)
    return float(values.std()) * math.sqrt(max(autocorrelation_time(values), 1.0 / values.size) / values.size)
