"""What the tests of the models share: reference values, how many paths to run, and the rule of three standard errors.

`BGSIM_FULL=1` runs every comparison with a reference at 4,000,000 paths (some minutes); without it a comparison takes
as many of them as its part of the tests' time allows.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np
from paths import REFERENCES

FULL_PATHS = 4_000_000
DRAWS = 60_000_000
"""Random numbers that one comparison may take."""


def reference(name: str) -> Any:
    """Return the exact and published values of `tests/references`, each with its source."""
    return json.loads((REFERENCES / f"{name}.json").read_text(encoding="utf-8"))


def paths(draws_a_path: int) -> int:
    return FULL_PATHS if os.environ.get("BGSIM_FULL") else min(FULL_PATHS, DRAWS // draws_a_path)


def mean_and_error(column: np.ndarray) -> tuple[float, float]:
    return float(column.mean()), float(column.std(ddof=1)) / math.sqrt(len(column))


def assert_agrees(mean: float, error: float, exact: float, bias: float = 0.0) -> None:
    """Fail when the mean is further than three standard errors, and the bias that is known, from the exact value."""
    assert error > 0.0
    assert abs(mean - exact) <= 3.0 * error + bias, (
        f"{mean:.6g} +- {error:.2g} is {abs(mean - exact) / error:.1f} standard errors from {exact:.8g}"
    )
