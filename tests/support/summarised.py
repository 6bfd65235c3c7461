"""Simulations whose summaries and precisions are tested; in a module, so that other processes find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bgsim


def left_behind(path: Path, submit: Callable[[bgsim.Engine], Any]) -> None:
    """Have an engine be asked for something that it does not begin, for the next one to find."""
    with bgsim.Engine(path) as engine:
        engine.pause()
        submit(engine)
        engine.close(timeout_s=0)


@dataclass(frozen=True)
class Mixed:
    steps: int = 3
    mean: float = 1.0
    fails_at: int = -1


@bgsim.simulation(
    outputs={"value": "f8", "twice": "f4", "count": "i4", "hit": "?", "path": ("f8", "steps")},
    pairs=[("value", "count")],
)
def mixed(p: Mixed, rng: Any) -> Any:
    """Outputs of several kinds: doubles of two shapes, floats, integers, booleans; now and then NaN."""
    path = np.empty(p.steps)
    value = p.mean + rng.standard_normal()
    for i in range(p.steps):
        path[i] = value * rng.random()
    count = rng.integers(0, 100)
    return (np.nan if count == 7 else value), np.float32(2 * value), count, value > 1.0, path


@bgsim.simulation(outputs={"value": "f8", "hit": "?"}, compile=False)
def plain(p: Mixed, rng: Any) -> Any:
    """As plain Python."""
    value = p.mean + rng.standard_normal()
    return value, value > 1.0


@bgsim.simulation(outputs={"value": "f8"})
def coin(p: Mixed, rng: Any) -> float:
    """A number that is known well soon."""
    return p.mean + rng.random()


@bgsim.simulation(outputs={"value": "f8"})
def apart(p: Mixed, rng: Any) -> float:
    """Numbers whose difference for two means is exact."""
    return p.mean + rng.integers(0, 100)


@bgsim.simulation(outputs={"k": "i8"})
def constant(p: Any, rng: Any) -> int:
    """The parameter."""
    return p.k


@bgsim.simulation(outputs={"name": "S3", "value": "f8"}, compile=False)
def named(p: Mixed, rng: Any) -> Any:
    """An output that is no number."""
    return b"abc", rng.random()
