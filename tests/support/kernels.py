"""Simulations that several tests run; in a module, so that numba caches them and other processes find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import bgsim


@dataclass(frozen=True)
class Walk:
    steps: int = 8
    scale: float = 1.0
    label: str = ""


@bgsim.simulation(outputs={"end": "f8", "path": ("f8", "steps"), "ups": "i4", "high": "?"})
def walk(p: Walk, rng: Any) -> Any:
    """A random walk: draws of several kinds, and outputs of several shapes."""
    path = np.empty(p.steps)
    position, ups = 0.0, 0
    for i in range(p.steps):
        step = p.scale * rng.standard_normal() + rng.random() - 0.5
        if rng.integers(0, 2) == 1:
            ups += 1
            position += step
        else:
            position -= step
        path[i] = position
    return position, path, ups, position > 0


@bgsim.simulation(outputs={"end": "f8", "path": ("f8", "steps"), "ups": "i4", "high": "?"}, compile=False)
def plain_walk(p: Walk, rng: Any) -> Any:
    """The same walk as plain Python."""
    return walk.function(p, rng)


@bgsim.simulation(outputs={"x": "f8"})
def one_draw(p: Any, rng: Any) -> float:
    """The cheapest kernel that draws."""
    return rng.random()


@dataclass(frozen=True)
class Spin:
    iterations: int = 3_000_000_000


@bgsim.simulation(outputs={"x": "i8"})
def spin(p: Spin, rng: Any, control: Any) -> int:
    """Registers only: no array is stored to, so nothing but the atomic load keeps the poll in the loop."""
    x = 1
    for _ in range(p.iterations):
        if bgsim.stop_requested(control):
            return -1
        x = x * 6364136223846793005 + 1442695040888963407
    return x


@dataclass(frozen=True)
class Fragile:
    fails_at: float = 0.5


@bgsim.simulation(outputs={"x": "f8"})
def fragile(p: Fragile, rng: Any) -> float:
    """Raises where its draw is below a limit."""
    x = rng.random()
    if x < p.fails_at:
        raise ValueError("the draw is too small")
    return x
