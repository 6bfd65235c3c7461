"""What becomes of a sweep: a dataset of means, beside the same by hand with NumPy and xarray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import bgsim
from benchmarks.harness import Case, compare, installed

POINTS = 200


@dataclass(frozen=True)
class Curve:
    x: float = 1.0
    points: int = 160


@bgsim.simulation(outputs={"a": "f8", "b": "f8", "c": "f8", "curve": ("f8", "points")})
def curve(p: Curve, rng: Any) -> Any:
    found = np.zeros(p.points)
    for i in range(p.points):
        found[i] = rng.random()
    return p.x, 1.0, 2.0, found


def datasets(replicates: int, points: int) -> None:
    """Compare `Sweep.to_xarray` with means that are stacked by hand, of the same finished results."""
    import xarray

    grid = {"x": [float(i) for i in range(POINTS)]}
    with bgsim.Engine(max_queue_size=POINTS) as engine:
        sweep = engine.sweep(curve, grid, {"points": points}, replicates=replicates)
        results = sweep.results()

        def by_hand() -> Any:
            means = {name: np.stack([r[name].mean(axis=0) for r in results]) for name in results[0]}
            return xarray.Dataset({n: (["x", "points"][: m.ndim], m) for n, m in means.items()}, coords=grid)

        assert all((sweep.to_xarray()[name] == by_hand()[name]).all() for name in results[0])
        compare(
            f"a dataset of means: {POINTS} points, {replicates:,} replicates, arrays of {points}",
            [Case("sweep.to_xarray()", sweep.to_xarray), Case("by hand, NumPy and xarray", by_hand)],
            unit="ms",
        )


def main() -> None:
    if installed("xarray"):
        datasets(1000, 160)
        datasets(1000, 10)


if __name__ == "__main__":
    main()
