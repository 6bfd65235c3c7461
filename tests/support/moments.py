"""The moments of values, made by NumPy, as a rule of `bgsim.Precision` gets them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bgsim.precision import Moments


def moments_of(values: Any) -> Moments:
    """Return the moments of values, without NaN."""
    values = np.asarray(values)
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    numbers = known.astype(float)
    variance = float(numbers.var(ddof=1)) if len(known) > 1 else math.nan
    mean, low, high = (float(f(numbers)) if len(known) else math.nan for f in (np.mean, np.min, np.max))
    return Moments(len(values), len(known), mean, variance, low, high, values.dtype.kind == "b")
