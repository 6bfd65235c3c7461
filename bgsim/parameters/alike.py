"""How alike two values of parameters are."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from bgsim.parameters.encoding import MemberName, encode


def alike(a: Any, b: Any) -> float:
    """Return how alike two values are, from 0 to 1; see `bgsim.parameters.parameter_set.similarity`."""
    if _is_number(a) and _is_number(b):
        a, b = np.asarray(_as_double(a)), np.asarray(_as_double(b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape:
            return 0.0
        if a.dtype.kind in "fiu" and b.dtype.kind in "fiu" and a.size:
            a, b = a.astype(float), b.astype(float)
            scale = np.maximum(np.abs(a), np.abs(b))
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                distance = np.where(a == b, 0.0, np.abs(a - b) / scale)
            return float(np.mean(1.0 - np.clip(np.nan_to_num(distance, nan=1.0), 0.0, 1.0)))
        return float(np.array_equal(a, b))
    is_name = isinstance(a, MemberName) or isinstance(b, MemberName)  # the other may be typed by a user
    return float((is_name or type(a) is type(b)) and are_equal(a, b))


def are_equal(a: Any, b: Any) -> bool:
    """Tell whether two values are equal, also if they are lists of arrays."""
    try:
        return bool(a == b)
    except ValueError:  # an array in a list has no truth
        parts: tuple[list[bytes], list[bytes]] = [], []
        encode(a, parts[0])
        encode(b, parts[1])
        return parts[0] == parts[1]


def _as_double(value: float) -> float:
    """Return a number as a double; an integer beyond all doubles is infinite."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool | enum.Enum)
